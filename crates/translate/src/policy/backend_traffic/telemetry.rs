//! Traces and metrics of routes.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    backendtrafficpolicy::BackendTracing,
    envoyproxy::{CustomTag, CustomTagType, LookedUpTag},
};
use ir::traffic::{STAT_NAME_TOKENS, Tag, Tracing};

use super::{Findings, fraction};

pub(super) fn tracing(spec: &BackendTracing) -> Tracing {
    let names = spec.span_name.as_ref();
    Tracing {
        sampling: spec.sampling_fraction.as_ref().map(fraction),
        client_sampling: spec.client_sampling_fraction.as_ref().map(fraction),
        overall_sampling: spec.overall_sampling_fraction.as_ref().map(fraction),
        tags: tags(&spec.custom_tags, &spec.tags),
        operation: names.map_or_else(|| "".into(), |names| names.client.as_str().into()),
        upstream_operation: names.map_or_else(|| "".into(), |names| names.server.as_str().into()),
    }
}

/// Tags, by name, ascending. Of two of a name, the one in the newer form counts.
pub(crate) fn tags(
    older: &BTreeMap<String, CustomTag>,
    tags: &BTreeMap<String, String>,
) -> Box<[(Arc<str>, Tag)]> {
    let older = older.iter().filter_map(|(name, tag)| Some((name.as_str(), self::tag(tag)?)));
    let tags = tags.iter().map(|(name, value)| (name.as_str(), Tag::Format(value.as_str().into())));
    let all: BTreeMap<&str, Tag> = older.chain(tags).collect();
    all.into_iter().map(|(name, tag)| (name.into(), tag)).collect()
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
    if let Err(message) = check_tokens(text, &STAT_NAME_TOKENS) {
        findings.add("spec.telemetry.metrics.routeStatName", message);
        return None;
    }
    (!text.is_empty()).then(|| text.into())
}

/// Whether a name in statistics is made of text and these tokens alone.
///
/// # Errors
/// A sentence that names the tokens.
pub(crate) fn check_tokens(text: &str, tokens: &[&str]) -> Result<(), String> {
    let left = tokens.iter().fold(text.to_owned(), |text, token| text.replace(token, ""));
    if left.contains('%') {
        return Err(format!("{text:?} may hold no % but in {}", tokens.join(", ")));
    }
    Ok(())
}
