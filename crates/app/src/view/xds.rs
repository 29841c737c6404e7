//! Resources of fleets in protobuf's JSON mapping.

use std::collections::BTreeMap;

use ::ir::resource::ResourceType;
use pipeline::Fleet;
use serde_json::{Map, Value, json};

/// The key of a resource type in the output.
fn key(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::Secret => "secrets",
        ResourceType::Cluster => "clusters",
        ResourceType::Endpoints => "endpoints",
        ResourceType::Listener => "listeners",
        ResourceType::Route => "routes",
    }
}

/// All fleets: resources by type, ordered by name. Secrets are redacted unless asked for.
pub(crate) fn fleets<'a>(
    fleets: impl Iterator<Item = (&'a str, &'a Fleet)>,
    show_secrets: bool,
) -> anyhow::Result<Value> {
    let mut out = Map::new();
    for (name, fleet) in fleets {
        let mut types: BTreeMap<&str, Vec<Value>> =
            ResourceType::ALL.into_iter().map(|kind| (key(kind), Vec::new())).collect();
        for ((kind, _), resource) in &fleet.resources {
            let body = resource.body();
            let value = if show_secrets {
                envoy_api::json::to_value(kind.type_url(), &body)?
            } else {
                envoy_api::json::to_redacted_value(kind.type_url(), &body)?
            };
            types.entry(key(*kind)).or_default().push(value);
        }
        out.insert(name.to_owned(), json!(types));
    }
    Ok(Value::Object(out))
}
