//! Changes of users to the bootstrap, and what they must leave alone.

use api::envoyproxy::{BootstrapType, JsonPatchOperation, ProxyBootstrap};
use envoy_api::{
    bootstrap::Bootstrap,
    json::{message_from_value, message_to_value},
};
use serde_json::Value;

use bootstrap::XDS_CLUSTER;

/// The bootstrap after a user's change; an error is a sentence.
pub(crate) fn changed(base: &Value, change: &ProxyBootstrap) -> Result<Value, String> {
    let given = || yaml(change.value.as_deref().unwrap_or_default());
    let changed = match change.type_ {
        BootstrapType::Replace => given()?,
        BootstrapType::Merge => merged(base, &given()?)?,
        BootstrapType::JSONPatch => {
            let mut changed = base.clone();
            patch::json_patch(&mut changed, &change.json_patches.iter().map(operation).collect::<Vec<_>>())?;
            changed
        }
    };
    judge(base, &changed)?;
    Ok(changed)
}

/// A bootstrap in YAML or JSON as a message.
pub(super) fn parse_text(text: &str) -> Result<Bootstrap, String> {
    read(&yaml(text)?)
}

fn yaml(text: &str) -> Result<Value, String> {
    let mut documents = admission::documents(text).map_err(|error| error.to_string())?.into_iter();
    match (documents.next(), documents.next()) {
        (Some(only), None) if only.value.is_object() => Ok(only.value),
        _ => Err("the bootstrap must be one YAML mapping".to_owned()),
    }
}

fn read(value: &Value) -> Result<Bootstrap, String> {
    message_from_value(value).map_err(|error| format!("not a bootstrap of Envoy: {error}"))
}

/// One message over the other as protobuf merges: messages field by field, lists one after the other, all else the
/// later. Reading two messages from one row of bytes is just that.
fn merged(base: &Value, change: &Value) -> Result<Value, String> {
    let mut bytes = envoy_api::encode(&read(base)?);
    bytes.extend(envoy_api::encode(&read(change)?));
    let merged = envoy_api::json::to_value("envoy.config.bootstrap.v3.Bootstrap", &bytes);
    merged.map_err(|error| error.to_string())
}

fn operation(operation: &JsonPatchOperation) -> patch::Operation {
    let op = serde_json::to_value(operation.op).ok().and_then(|op| op.as_str().map(str::to_owned));
    patch::Operation {
        op: op.unwrap_or_default(),
        path: operation.path.clone(),
        json_path: operation.json_path.clone(),
        from: operation.from.clone(),
        value: operation.value.as_ref().map(|value| value.0.clone()),
    }
}

/// Refuses a change that would cut proxies off from the control plane: `dynamic_resources` must stay, but for its
/// timeouts, and `xds_cluster` must lead to the same place.
fn judge(base: &Value, changed: &Value) -> Result<(), String> {
    let (base, changed) = (read(base)?, read(changed)?);
    if resources(&base) != resources(&changed) {
        return Err(
            "dynamic_resources must stay as it is by default, except for initial_fetch_timeout".to_owned()
        );
    }
    if load_assignment(&base) != load_assignment(&changed) {
        return Err(format!(
            "the load_assignment of the cluster {XDS_CLUSTER} must stay as it is by default"
        ));
    }
    Ok(())
}

/// Refuses a change that moves the admin port. An error is a sentence.
pub(crate) fn keeps_admin(base: &Value, changed: &Value) -> Result<(), String> {
    if read(base)?.admin != read(changed)?.admin {
        return Err("admin must stay as it is: the proxy is watched and drained there".to_owned());
    }
    Ok(())
}

/// `dynamic_resources` without what may change.
fn resources(bootstrap: &Bootstrap) -> Option<Value> {
    let mut resources = bootstrap.dynamic_resources.clone()?;
    for config in [&mut resources.lds_config, &mut resources.cds_config].into_iter().flatten() {
        config.initial_fetch_timeout = None;
    }
    let alone = Bootstrap { dynamic_resources: Some(resources), ..Bootstrap::default() };
    message_to_value(&alone).ok()
}

fn load_assignment(bootstrap: &Bootstrap) -> Option<&envoy_api::endpoint::ClusterLoadAssignment> {
    let clusters = &bootstrap.static_resources.as_ref()?.clusters;
    clusters.iter().find(|cluster| cluster.name == XDS_CLUSTER)?.load_assignment.as_ref()
}
