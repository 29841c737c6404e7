//! Traces and metrics of routes.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    backendtrafficpolicy::BackendTracing,
    envoyproxy::{CustomTag, CustomTagType, LookedUpTag},
};
use ir::traffic::{STAT_NAME_TOKENS, Tag, Tracing};

use super::{Findings, fraction};

pub(super) fn tracing(spec: &BackendTracing) -> Tracing {
    let older = spec.custom_tags.iter().filter_map(|(name, tag)| Some((name.as_str(), self::tag(tag)?)));
    let tags = spec.tags.iter().map(|(name, value)| (name.as_str(), Tag::Format(value.as_str().into())));
    // Of two tags of a name, the one in the newer form counts.
    let all: BTreeMap<&str, Tag> = older.chain(tags).collect();
    let span = |name: Option<&str>| Arc::from(name.unwrap_or_default());
    let names = spec.span_name.as_ref();
    Tracing {
        sampling: spec.sampling_fraction.as_ref().map(fraction),
        client_sampling: spec.client_sampling_fraction.as_ref().map(fraction),
        overall_sampling: spec.overall_sampling_fraction.as_ref().map(fraction),
        tags: all.into_iter().map(|(name, tag)| (name.into(), tag)).collect(),
        operation: span(names.map(|names| names.client.as_str())),
        upstream_operation: span(names.map(|names| names.server.as_str())),
    }
}

/// A tag in the older form; `None` for one without what its type asks for.
fn tag(spec: &CustomTag) -> Option<Tag> {
    let looked_up = |tag: &LookedUpTag| -> (Arc<str>, Arc<str>) {
        (tag.name.as_str().into(), tag.default_value.as_deref().unwrap_or_default().into())
    };
    Some(match spec.type_ {
        CustomTagType::Literal => Tag::Literal(spec.literal.as_ref()?.value.as_str().into()),
        CustomTagType::Environment => {
            let (name, default) = looked_up(spec.environment.as_ref()?);
            Tag::Environment { name, default }
        }
        CustomTagType::RequestHeader => {
            let (name, default) = looked_up(spec.request_header.as_ref()?);
            Tag::Header { name, default }
        }
    })
}

/// The name of a route in statistics; `None` for an empty one, and for one with tokens that there are not.
pub(super) fn stat_name(text: &str, findings: &mut Findings) -> Option<Arc<str>> {
    let left = STAT_NAME_TOKENS.iter().fold(text.to_owned(), |text, token| text.replace(token, ""));
    if left.contains('%') {
        let message = format!("{text:?} may hold no % but in {}", STAT_NAME_TOKENS.join(", "));
        findings.add("spec.telemetry.metrics.routeStatName", message);
        return None;
    }
    (!text.is_empty()).then(|| text.into())
}
