//! Names and labels of the objects that run a fleet. They are Envoy Gateway's: other programs and people look for
//! them, and objects that it left behind are taken over in place.

use std::collections::BTreeMap;

use ir::infra::{DeployMode, Owner, Wish};
use ring::digest::{SHA256, digest};

pub use ir::infra::labels::*;

/// Field manager of server-side apply.
pub const FIELD_MANAGER: &str = "envoy-gateway";
/// The container that runs Envoy.
pub const ENVOY_CONTAINER: &str = "envoy";
/// The container that drains it.
pub const SHUTDOWN_MANAGER_CONTAINER: &str = "shutdown-manager";
/// Service of the control plane, and the name in its certificate.
pub const CONTROLLER_SERVICE: &str = "envoy-gateway";
/// Secret of the control plane's namespace with the proxies' client certificate and the authority of both sides.
pub const PROXY_SECRET: &str = "envoy";
/// Port of the control plane where proxies get their configuration.
pub const XDS_PORT: u16 = 18_000;
/// Port of Envoy's admin interface, on the loopback address of the Pod.
pub const ADMIN_PORT: u16 = 19_000;
/// Port of Envoy's metrics (`GET /stats/prometheus`).
pub const METRICS_PORT: u16 = 19_001;
/// Port of the shutdown manager (`/healthz`, `/shutdown/ready`).
pub const SHUTDOWN_MANAGER_PORT: u16 = 19_002;
/// Port of Envoy's readiness (`GET /ready`); the listener comes by xDS, so a Pod without configuration is not ready.
pub const READINESS_PORT: u16 = 19_003;

/// Longest readable part of a hashed name: a label value has 63 characters, `envoy-` and `-` with the hash take 15.
const MAX_READABLE: usize = 48;
/// Characters of the hash in a hashed name.
const HASH_LENGTH: usize = 8;

/// A name that is unique for any text and readable: `/` becomes `-`, the text is cut to 48 characters (a hyphen that
/// then stands at its end goes), and the first 8 hexadecimal digits of its SHA-256 follow.
pub fn hashed(text: &str) -> String {
    let mut readable = text.replace('/', "-");
    if readable.len() > MAX_READABLE {
        let cut = (0..=MAX_READABLE).rev().find(|i| readable.is_char_boundary(*i)).unwrap_or_default();
        readable.truncate(cut);
        if readable.ends_with('-') {
            readable.pop();
        }
    }
    let hash = digest(&SHA256, text.as_bytes());
    let hex: String = hash.as_ref().iter().take(HASH_LENGTH / 2).map(|byte| format!("{byte:02x}")).collect();
    format!("{readable}-{hex}")
}

/// Name of a fleet's objects, where no EnvoyProxy gives them another.
pub fn object_name(wish: &Wish, mode: DeployMode) -> String {
    match (mode, &wish.owner) {
        (DeployMode::GatewayNamespace, Owner::Gateway(gateway)) => gateway.object.name.to_string(),
        _ => format!("envoy-{}", hashed(&wish.fleet)),
    }
}

/// The labels that tell whose objects these are. They select the Pods, so they never change in the life of a fleet.
pub fn selector_labels(owner: &Owner) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> =
        APP.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    match owner {
        Owner::Gateway(gateway) => {
            labels.insert(OWNING_GATEWAY_NAMESPACE.to_owned(), gateway.object.namespace.to_string());
            labels.insert(OWNING_GATEWAY_NAME.to_owned(), gateway.object.name.to_string());
        }
        Owner::GatewayClass(class) => {
            labels.insert(OWNING_GATEWAY_CLASS.to_owned(), class.object.name.to_string());
        }
    }
    labels
}

/// The labels of every object and Pod of a fleet: those of the selector, and `infrastructure.labels` of the Gateway,
/// which cannot replace one of them.
pub fn object_labels(wish: &Wish, mode: DeployMode) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> =
        wish.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    if let (DeployMode::GatewayNamespace, Owner::Gateway(gateway)) = (mode, &wish.owner) {
        labels.insert(GATEWAY_NAME.to_owned(), gateway.object.name.to_string());
    }
    labels.extend(selector_labels(&wish.owner));
    labels
}

/// The labels by which the name of a Gateway in its own namespace is found.
pub fn alias_labels(gateway: &str) -> BTreeMap<String, String> {
    let labels =
        [(COMPONENT, COMPONENT_ALIAS), (MANAGED_BY, MANAGED_BY_ENVOY_GATEWAY), (GATEWAY_NAME, gateway)];
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The fleet that labels of an object or Pod name: `namespace/name`, or the name of a class. `None` when they are not
/// those of a proxy.
pub fn fleet_of(labels: &BTreeMap<String, String>) -> Option<String> {
    let get = |key: &str| labels.get(key).map(String::as_str);
    if APP.iter().any(|(key, value)| get(key) != Some(*value)) {
        return None;
    }
    match (get(OWNING_GATEWAY_NAMESPACE), get(OWNING_GATEWAY_NAME), get(OWNING_GATEWAY_CLASS)) {
        (Some(namespace), Some(name), None) => Some(format!("{namespace}/{name}")),
        (None, None, Some(class)) => Some(class.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_name_is_readable_and_ends_with_the_hash_of_the_whole_text() {
        assert_eq!(hashed("default/eg"), "default-eg-e41e7b31");
    }

    #[test]
    fn a_long_name_is_cut_and_loses_one_hyphen() {
        let text = format!("{}--b", "a".repeat(46));
        let name = hashed(&text);
        assert!(name.starts_with(&format!("{}--", "a".repeat(46))), "{name}");
        assert_eq!(name.len(), 46 + 1 + 1 + 8);
        assert_ne!(hashed(&format!("{text}c")), hashed(&format!("{text}d")));
    }

    #[test]
    fn labels_name_one_fleet_or_none() {
        let with = |labels: &[(&str, &str)]| {
            APP.iter().chain(labels).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let gateway = [(OWNING_GATEWAY_NAMESPACE, "ns"), (OWNING_GATEWAY_NAME, "eg")];
        assert_eq!(fleet_of(&with(&gateway)).as_deref(), Some("ns/eg"));
        assert_eq!(fleet_of(&with(&[(OWNING_GATEWAY_CLASS, "eg")])).as_deref(), Some("eg"));
        assert_eq!(fleet_of(&with(&[(OWNING_GATEWAY_NAME, "eg")])), None);
        assert_eq!(fleet_of(&with(&[gateway[0], gateway[1], (OWNING_GATEWAY_CLASS, "eg")])), None);
        assert_eq!(fleet_of(&BTreeMap::new()), None);
    }
}
