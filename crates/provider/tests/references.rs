//! What the provider asks of the store: which Secrets an object refers to.

use api::Object;
use ir::{Kind, ObjectRef};
use serde_json::json;

#[test]
fn references_are_those_that_translation_reads() {
    let listener = |name: &str, references: serde_json::Value| json!({ "name": name, "port": 443, "protocol": "HTTPS", "tls": { "certificateRefs": references } });
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "name": "g", "namespace": "default" },
        "spec": {
            "gatewayClassName": "class",
            "listeners": [
                listener("a", json!([{ "name": "one" }, { "name": "two", "namespace": "other" }])),
                listener("b", json!([{ "name": "one" }, { "group": "example.com", "kind": "Vault", "name": "x" }])),
            ],
        },
    });
    let gateway = Object::from_json(&gateway).unwrap();
    let secret = |namespace: &str, name: &str| ObjectRef::new(Kind::Secret, namespace, name);
    assert_eq!(store::references(&gateway), [secret("default", "one"), secret("other", "two")]);
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": "default" } });
    assert!(store::references(&Object::from_json(&secret).unwrap()).is_empty());
}
