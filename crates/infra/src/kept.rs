//! What a workload may keep although it is written otherwise than we would write it.

use serde_json::Value;

use crate::{bootstrap, names::ENVOY_CONTAINER};

/// The argument before the bootstrap's text.
pub(crate) const CONFIG_ARGUMENT: &str = "--config-yaml";

/// Puts the live workload's bootstrap in the place of the wished one's where both mean the same to Envoy: Envoy Gateway
/// writes YAML, versions of this crate may order fields otherwise, and neither is worth a restart of every proxy. True
/// when `wished` changed thereby.
pub fn keep(live: &Value, wished: &mut Value) -> bool {
    let Some(live) = bootstrap_of(live) else { return false };
    let Some(wished) =
        wished.pointer_mut(CONTAINERS).and_then(|containers| text_of(containers.as_array_mut()?))
    else {
        return false;
    };
    let Some(text) = wished.as_str() else { return false };
    if text == live || !bootstrap::same(text, live) {
        return false;
    }
    *wished = live.into();
    true
}

const CONTAINERS: &str = "/spec/template/spec/containers";

fn bootstrap_of(workload: &Value) -> Option<&str> {
    let containers = workload.pointer(CONTAINERS)?.as_array()?;
    let envoy = containers.iter().find(|container| container["name"] == ENVOY_CONTAINER)?;
    let args = envoy["args"].as_array()?;
    let at = args.iter().position(|arg| arg == CONFIG_ARGUMENT)?;
    args.get(at + 1)?.as_str()
}

fn text_of(containers: &mut [Value]) -> Option<&mut Value> {
    let envoy = containers.iter_mut().find(|container| container["name"] == ENVOY_CONTAINER)?;
    let args = envoy["args"].as_array_mut()?;
    let at = args.iter().position(|arg| arg == CONFIG_ARGUMENT)?;
    args.get_mut(at + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(text: &str) -> Value {
        let envoy =
            json!({ "name": "envoy", "args": ["--service-node", "x", CONFIG_ARGUMENT, text, "--more"] });
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "other" }, envoy] } } } })
    }

    #[test]
    fn only_a_bootstrap_of_the_same_meaning_is_kept() {
        let json = r#"{"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}}}"#;
        let yaml = "admin:\n  address:\n    socket_address: {port_value: 1, address: 127.0.0.1}\n";
        let mut wished = workload(json);
        assert!(keep(&workload(yaml), &mut wished));
        assert_eq!(wished, workload(yaml));
        assert!(!keep(&workload(yaml), &mut wished), "it is there already");
        let mut other = workload("admin: {}");
        assert!(!keep(&workload(yaml), &mut other));
        assert_eq!(other, workload("admin: {}"));
        assert!(!keep(&json!({}), &mut other));
    }
}
