//! The registration of the topology webhook, by which proxies learn their Node's zone (`serve/topology.rs` answers).

use serde_json::{Value, json};

use super::{Args, DeployMode, NAME};
use crate::serve::TOPOLOGY_PATH;

/// Port of the control plane that the API server asks.
pub(super) const PORT: u16 = 9_443;
/// How long the API server waits with a binding: a Pod that has not learned its zone runs all the same.
const TIMEOUT_SECONDS: u32 = 3;

/// Name of the registration: one for each installation.
pub(super) fn name(args: &Args) -> String {
    format!("envoy-gateway-topology-injector.{}", args.namespace)
}

/// The registration. `certgen` adds whom the API server trusts.
pub(super) fn document(args: &Args) -> Value {
    let mut webhook = json!({
        "name": "topology.webhook.gateway.envoyproxy.io",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {
            "service": {
                "name": NAME, "namespace": args.namespace, "path": TOPOLOGY_PATH, "port": PORT,
            },
        },
        "failurePolicy": "Ignore",
        "rules": [{
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["pods/binding"],
        }],
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT_SECONDS,
    });
    if args.deploy_mode == DeployMode::ControllerNamespace {
        webhook["namespaceSelector"] =
            json!({ "matchLabels": { "kubernetes.io/metadata.name": args.namespace } });
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": name(args), "labels": super::labels() },
        "webhooks": [webhook],
    })
}
