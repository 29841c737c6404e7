//! Traces of routes.

use envoy_api::{
    route::Tracing as Message,
    tracing::{CustomTag, custom_tag},
    types::{FractionalPercent, fractional_percent::DenominatorType},
};
use ir::traffic::{Tag, Tracing};

use super::command;

/// What a route says of traces.
pub(super) fn of_route(tracing: &Tracing) -> Message {
    let none = FractionalPercent { numerator: 0, denominator: DenominatorType::Hundred.into() };
    Message {
        // Envoy's default is all, with which clients could have any request traced.
        client_sampling: Some(tracing.client_sampling.map_or(none, share)),
        random_sampling: tracing.sampling.map(share),
        overall_sampling: tracing.overall_sampling.map(share),
        custom_tags: tracing.tags.iter().map(|(name, tag)| custom_tag(name, tag)).collect(),
        operation: command::escape(&tracing.operation).into_owned(),
        upstream_operation: command::escape(&tracing.upstream_operation).into_owned(),
    }
}

/// A share in Envoy's terms, which has three denominators.
fn share((part, whole): (u32, u32)) -> FractionalPercent {
    let (numerator, denominator) = match whole {
        100 => (u64::from(part), DenominatorType::Hundred),
        1_000 | 10_000 => (u64::from(part) * u64::from(10_000 / whole), DenominatorType::TenThousand),
        // The product of a 32-bit number and a million fits.
        _ => (u64::from(part) * 1_000_000 / u64::from(whole.max(1)), DenominatorType::Million),
    };
    FractionalPercent {
        numerator: u32::try_from(numerator).unwrap_or(u32::MAX),
        denominator: denominator.into(),
    }
}

fn custom_tag(name: &str, tag: &Tag) -> CustomTag {
    CustomTag {
        tag: name.to_owned(),
        r#type: Some(match tag {
            Tag::Literal(value) => {
                custom_tag::Type::Literal(custom_tag::Literal { value: value.to_string() })
            }
            Tag::Environment { name, default } => {
                let (name, default_value) = (name.to_string(), default.to_string());
                custom_tag::Type::Environment(custom_tag::Environment { name, default_value })
            }
            Tag::Header { name, default } => {
                let (name, default_value) = (name.to_string(), default.to_string());
                custom_tag::Type::RequestHeader(custom_tag::Header { name, default_value })
            }
            Tag::Format(value) => custom_tag::Type::Value(command::escape(value).into_owned()),
        }),
    }
}
