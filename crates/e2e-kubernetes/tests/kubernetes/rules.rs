//! The API server judges by our CRDs as crate `admission` does.

use std::path::Path;

use e2e_kubernetes::Bed;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// Pairs of an accepted and a rejected object for each CEL rule of Envoy Gateway's kinds.
const PAIRS: &str = "../admission/tests/rules";
/// The kinds, as the files of pairs are called.
const KINDS: [&str; 4] = ["Backend", "EnvoyProxy", "BackendTrafficPolicy", "ClientTrafficPolicy"];

/// What the API server says to an object that it need not keep; empty when it takes it.
async fn verdict(api: &Api<DynamicObject>, object: &Value) -> String {
    let object = serde_json::from_value(object.clone()).unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&dry, &object).await {
        Ok(_) => String::new(),
        Err(kube::Error::Api(status)) if [400, 422].contains(&status.code) => status.message,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn every_rule_accepts_and_rejects() {
    Bed::run("rules", async |space| {
        let (mut failures, mut count) = (Vec::new(), 0);
        for kind in KINDS {
            let resource =
                ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.envoyproxy.io", "v1alpha1", kind));
            let api = Api::namespaced_with(space.bed.client.clone(), &space.name, &resource);
            let file = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(PAIRS)
                .join(format!("{}.yaml", kind.to_lowercase()));
            let text = std::fs::read_to_string(file).unwrap();
            let documents: Vec<Value> = serde_yaml_ng::Deserializer::from_str(&text)
                .map(|document| Value::deserialize(document).unwrap())
                .collect();
            let (base, pairs) = documents.split_first().unwrap();
            for pair in pairs {
                let object = |fields: &str| {
                    let mut spec = base["base"].as_object().unwrap().clone();
                    spec.extend(pair[fields].as_object().unwrap().clone());
                    spec.retain(|_, value| !value.is_null());
                    json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": kind,
                        "metadata": { "name": "tried" }, "spec": spec })
                };
                let rule = pair["rule"].as_str().unwrap();
                let accepted = verdict(&api, &object("accepted")).await;
                let rejected = verdict(&api, &object("rejected")).await;
                if !accepted.is_empty() || !rejected.contains(rule) {
                    failures.push(format!("{kind} {}: {rule}: {accepted:?}, {rejected:?}", pair["at"]));
                }
                count += 1;
            }
        }
        println!("{count} rules");
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    })
    .await;
}
