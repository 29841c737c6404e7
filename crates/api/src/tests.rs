use serde_json::json;

use crate::*;

#[test]
fn a_minimal_route_reads_with_its_defaults() {
    let route = Object::from_json(&json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": "shop", "namespace": "default" },
        "spec": {
            "parentRefs": [{ "name": "edge" }],
            "rules": [{ "backendRefs": [{ "name": "shop", "port": 80 }] }]
        }
    }));
    let Ok(Object::HttpRoute(route)) = route else { panic!("{route:?}") };
    let parent = &route.spec.parent_refs[0];
    assert_eq!((parent.group.as_str(), parent.kind.as_str()), ("gateway.networking.k8s.io", "Gateway"));
    let rule = &route.spec.rules[0];
    assert_eq!(rule.matches, vec![HttpRouteMatch::default()]);
    assert_eq!(rule.matches[0].path.value, "/");
    let backend = &rule.backend_refs[0];
    assert_eq!((backend.kind.as_str(), backend.port, backend.weight), ("Service", Some(80), 1));
}

#[test]
fn other_served_versions_read_as_the_same_type() {
    for (api_version, kind) in [
        ("gateway.networking.k8s.io/v1beta1", "HTTPRoute"),
        ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
        ("gateway.networking.k8s.io/v1", "ReferenceGrant"),
    ] {
        assert!(KindInfo::find(api_version, kind).is_some(), "{api_version} {kind}");
    }
    assert!(KindInfo::find("gateway.networking.k8s.io/v1alpha2", "HTTPRoute").is_none());
}

#[test]
fn contents_of_a_secret_are_never_printed() {
    let secret = Object::from_json(&json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "tls",
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"a\":\"aHVzaA==\"}}" }
        },
        "data": { "a": "aHVzaA==" },
        "stringData": { "b": "hush" }
    }));
    let Ok(Object::Secret(secret)) = secret else { panic!("{secret:?}") };
    assert_eq!(secret.data["a"].expose(), b"hush");
    assert_eq!(secret.data["b"].expose(), b"hush");
    assert_eq!(secret.type_, "Opaque");
    let printed = format!("{secret:?}");
    assert!(!printed.contains("hush") && !printed.contains("aHVzaA"), "{printed}");
}

#[test]
fn durations_follow_gep_2257() {
    for (text, millis) in [("0s", 0), ("1m30s", 90_000), ("15ms", 15), ("1h1m1s1ms", 3_661_001)] {
        let expected = std::time::Duration::from_millis(millis);
        assert_eq!(Duration::from(text).to_std(), Some(expected), "{text}");
    }
    for text in ["", "5", "1d", "100000s", "1h1h1h1h1h", "-1s", "1.5s", " 1s"] {
        assert_eq!(Duration::from(text).to_std(), None, "{text}");
    }
}
#[test]
fn dump() {
    for crd in crds() {
        let dir = std::path::Path::new("/tmp/fg/ours");
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(
            dir.join(format!("{}.json", crd.spec.names.plural)),
            serde_json::to_string_pretty(&crd).unwrap(),
        )
        .unwrap();
    }
}
#[test]
fn dumpcore() {
    for k in KINDS.iter().filter(|k| k.is_core()) {
        std::fs::write(
            format!("/tmp/fg/ours/{}.json", k.name),
            serde_json::to_string_pretty(&k.schema()).unwrap(),
        )
        .unwrap();
    }
}
