//! The name of a Gateway in its own namespace, where its proxies run elsewhere (GEP-1762).

use std::collections::BTreeMap;

use ir::infra::Owner;
use serde_json::{Value, json};

use crate::{ObjectKind, RenderedObject, metadata::Fleet, names};

/// Longest name of a Service, a DNS label, and longest value of a label.
const MAX_NAME: usize = 63;

/// A Service in the namespace of the Gateway that leads to the one in front of its proxies, by name: whoever may see
/// that namespace alone sees where the Gateway is, and its clients need not know where proxies run.
///
/// `None` for fleets that run beside their Gateway, serve several, or have no Service.
pub(crate) fn alias(fleet: &Fleet<'_>, service: &RenderedObject) -> Option<RenderedObject> {
    let Owner::Gateway(gateway) = &fleet.wish.owner else { return None };
    let object = &gateway.object;
    // The label with its name has room for no longer one.
    if fleet.beside_gateway() || object.name.len() > MAX_NAME {
        return None;
    }
    let name = name(&object.name, &fleet.wish.class.object.name);
    let domain = &fleet.context.installation.dns_domain;
    let infrastructure = fleet.wish.labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let labels: BTreeMap<String, String> = infrastructure.chain(names::alias_labels(&object.name)).collect();
    let mut metadata = json!({ "name": name, "namespace": object.namespace, "labels": labels });
    if !fleet.annotations.is_empty() {
        metadata["annotations"] = json!(fleet.annotations);
    }
    if !gateway.uid.is_empty() {
        metadata["ownerReferences"] = json!([{
            "apiVersion": object.kind.api_version(), "kind": object.kind.name(), "name": object.name, "uid": gateway.uid,
        }]);
    }
    let kind = ObjectKind::Service;
    let body: Value = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "metadata": metadata,
        "spec": {
            "type": "ExternalName",
            "externalName": format!("{}.{}.svc.{domain}", service.name, service.namespace),
        },
    });
    Some(RenderedObject { kind, namespace: object.namespace.to_string(), name, body })
}

/// `GATEWAY-CLASS`, as GEP-1762 recommends; hashed where that is no name of a Service.
fn name(gateway: &str, class: &str) -> String {
    let plain = format!("{gateway}-{class}");
    // Names of Gateways are DNS names in lower case already, with dots and perhaps a digit in front.
    let is_label = plain.len() <= MAX_NAME
        && plain.starts_with(|first: char| first.is_ascii_lowercase())
        && !plain.contains('.');
    if is_label { plain } else { format!("gw-{}", names::hashed(&plain.replace('.', "-"))) }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_are_those_of_services() {
        assert_eq!(name("shop", "ferrogate"), "shop-ferrogate");
        let odd = name("1.example.com", "ferrogate");
        assert!(odd.starts_with("gw-1-example-com-ferrogate-"), "{odd}");
        let long = name(&"a".repeat(200), "ferrogate");
        assert!(long.len() <= 63, "{long}");
        assert_ne!(long, name(&"a".repeat(201), "ferrogate"));
    }
}
