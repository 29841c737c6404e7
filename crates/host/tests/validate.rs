//! Bootstraps as real Envoy judges them.

#[cfg(test)]
mod fixture;

use std::path::PathBuf;

use fixture::{Fixture, PARENT, envoy};
use host::{Validator, Verdict};
use serde_json::{Value, json};

fn validator(program: PathBuf) -> Validator {
    Validator::guarded(program, vec![PARENT.into(), host::guard::SUBCOMMAND.into()])
}

/// A bootstrap with one field changed.
fn changed(pointer: &str, value: Value) -> Value {
    let mut bootstrap = Fixture::new().bootstrap().to_json();
    let (parent, field) = pointer.rsplit_once('/').unwrap_or_default();
    match bootstrap.pointer_mut(parent) {
        Some(parent) => parent[field] = value,
        None => panic!("a bootstrap has no {parent}"),
    }
    bootstrap
}

#[tokio::test]
async fn envoys_words_are_told_once_it_was_asked() {
    let validator = validator(envoy());
    let layer = json!({ "name": "twice", "static_layer": {} });
    for (bootstrap, refusal) in [
        (Fixture::new().bootstrap().to_json(), None),
        (
            changed("/layered_runtime/layers", json!([layer.clone(), layer])),
            Some("Duplicate layer name: twice"),
        ),
        (changed("/stats_flush_interval", json!("0.0001s")), Some("value must be inside range [1ms, 5m0s)")),
        (
            changed("/overload_manager/refresh_interval", json!("-1s")),
            Some("Invalid duration: Expected positive duration"),
        ),
        (
            changed(
                "/stats_sinks",
                json!([{
                    "name": "x",
                    "typed_config": { "@type": "type.googleapis.com/no.such.Message", "token": "hidden" },
                }]),
            ),
            Some("could not find @type 'type.googleapis.com/no.such.Message'"),
        ),
    ] {
        assert_eq!(validator.known(&bootstrap), None);
        let verdict = validator.verdict(&bootstrap, &[]).await;
        match (&verdict, refusal) {
            (Verdict::Accepted, None) => {}
            (Verdict::Refused(words), Some(part)) if words.contains(part) => {
                assert!(!words.contains("hidden") && !words.contains("xds_cluster"), "{words}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(validator.known(&bootstrap), Some(verdict));
    }
}

#[tokio::test]
async fn files_of_a_pod_are_there_and_others_are_not() {
    let validator = validator(envoy());
    let secret = json!([{
        "name": "own",
        "sds_config": { "path_config_source": { "path": "/sds/of-a-pod.json" } },
    }]);
    let cluster = json!({
        "name": "tls",
        "type": "STATIC",
        "connect_timeout": "1s",
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": { "tls_certificate_sds_secret_configs": secret },
            },
        },
    });
    let mut bootstrap = Fixture::new().bootstrap().to_json();
    bootstrap["static_resources"]["clusters"].as_array_mut().unwrap().push(cluster);
    assert_eq!(validator.verdict(&bootstrap, &["/sds/of-a-pod.json".to_owned()]).await, Verdict::Accepted);
    let elsewhere = self::validator(envoy()).verdict(&bootstrap, &[]).await;
    assert!(
        matches!(&elsewhere, Verdict::Refused(words) if words.contains("of-a-pod.json")),
        "{elsewhere:?}"
    );
}

#[tokio::test]
async fn who_does_not_answer_has_nothing_against_it() {
    let bootstrap = Fixture::new().bootstrap().to_json();
    for program in ["/nowhere/envoy", "/bin/false"] {
        let verdict = validator(program.into()).verdict(&bootstrap, &[]).await;
        assert!(matches!(verdict, Verdict::Unknown(_)), "{program}: {verdict:?}");
    }
}
