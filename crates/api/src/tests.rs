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
fn older_versions_of_layer_4_routes_take_more() {
    let rules = |kind: &str, version: &str| {
        let schema = KindInfo::named(GATEWAY_GROUP, kind).unwrap().schema_of(version);
        let spec = &schema["properties"]["spec"];
        let hostnames_required = spec["required"].as_array().unwrap().contains(&json!("hostnames"));
        (spec["properties"]["rules"]["maxItems"].clone(), hostnames_required)
    };
    assert_eq!(rules("TCPRoute", "v1"), (json!(1), false));
    assert_eq!(rules("UDPRoute", "v1alpha2"), (json!(16), false));
    assert_eq!(rules("TLSRoute", "v1"), (json!(1), true));
    assert_eq!(rules("TLSRoute", "v1alpha3"), (json!(1), true));
    assert_eq!(rules("TLSRoute", "v1alpha2"), (json!(16), false));
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
/// Calls `visit` with every node of a schema.
fn nodes(schema: &serde_json::Value, visit: &mut impl FnMut(&serde_json::Value)) {
    visit(schema);
    for child in schema["properties"].as_object().into_iter().flat_map(|properties| properties.values()) {
        nodes(child, visit);
    }
    for key in ["items", "additionalProperties"] {
        if schema[key].is_object() {
            nodes(&schema[key], visit);
        }
    }
}

#[test]
fn schemas_are_structural() {
    let of_kind = |kind: &'static KindInfo| kind.versions.iter().map(|version| kind.schema_of(version));
    for schema in KINDS.iter().flat_map(of_kind).chain([config::schema()]) {
        nodes(&schema, &mut |node| {
            for key in ["$ref", "nullable", "title", "definitions", "anyOf", "const"] {
                assert!(node.get(key).is_none(), "{key} in {node}");
            }
            let untyped = node.get("x-kubernetes-preserve-unknown-fields").is_some()
                || node.get("x-kubernetes-int-or-string").is_some();
            assert!(node["type"].is_string() || untyped, "no type: {node}");
        });
    }
}

#[test]
fn every_field_of_our_kinds_has_a_description() {
    for kind in KINDS.iter().filter(|kind| !kind.is_core()) {
        nodes(&kind.schema(), &mut |node| {
            for (name, field) in node["properties"].as_object().into_iter().flatten() {
                assert!(field["description"].is_string() || name == "metadata", "{kind:?}: {name}");
            }
        });
    }
}

#[test]
fn crds_serve_all_versions_and_keep_one() {
    let crds = crds();
    let names: Vec<_> = crds.iter().filter_map(|crd| crd.metadata.name.as_deref()).collect();
    assert_eq!(
        names,
        [
            "gatewayclasses.gateway.networking.k8s.io",
            "gateways.gateway.networking.k8s.io",
            "listenersets.gateway.networking.k8s.io",
            "httproutes.gateway.networking.k8s.io",
            "grpcroutes.gateway.networking.k8s.io",
            "tlsroutes.gateway.networking.k8s.io",
            "tcproutes.gateway.networking.k8s.io",
            "udproutes.gateway.networking.k8s.io",
            "referencegrants.gateway.networking.k8s.io",
            "backends.gateway.envoyproxy.io",
            "envoyproxies.gateway.envoyproxy.io",
            "backendtlspolicies.gateway.networking.k8s.io",
            "backendtrafficpolicies.gateway.envoyproxy.io",
            "clienttrafficpolicies.gateway.envoyproxy.io",
        ]
    );
    for crd in &crds {
        let kept: Vec<_> = crd.spec.versions.iter().filter(|v| v.storage).map(|v| v.name.as_str()).collect();
        let grant = crd.spec.names.kind == "ReferenceGrant";
        assert_eq!(kept.len(), 1, "{}", crd.spec.names.kind);
        assert_eq!(kept == ["v1beta1"], grant, "{}", crd.spec.names.kind);
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
            let spec = schema.and_then(|schema| schema.properties.as_ref()?.get("spec"));
            assert!(spec.is_some_and(|spec| spec.properties.is_some()), "{}", crd.spec.names.kind);
            assert!(version.served);
            assert_eq!(version.subresources.is_none(), grant, "{}", crd.spec.names.kind);
        }
    }
}

#[test]
fn defaults_of_the_schema_are_those_of_the_types() {
    let schema = KINDS.iter().find(|kind| kind.name == "HTTPRoute").unwrap().schema();
    let rules = &schema["properties"]["spec"]["properties"]["rules"];
    assert_eq!(
        rules["default"],
        json!([{ "matches": [{ "path": { "type": "PathPrefix", "value": "/" } }] }])
    );
    let rule: Vec<HttpRouteRule> = serde_json::from_value(json!([{}])).unwrap();
    assert_eq!(json!(rule), rules["default"]);
}

#[test]
fn flags_of_the_configuration_have_their_own_defaults() {
    use config::{RuntimeFlag, RuntimeFlags};
    let flags = |enabled: &[RuntimeFlag], disabled: &[RuntimeFlag]| RuntimeFlags {
        enabled: enabled.to_vec(),
        disabled: disabled.to_vec(),
    };
    let (v2, index) = (RuntimeFlag::XdsNameSchemeV2, RuntimeFlag::EndpointSliceIndex);
    assert!(!flags(&[], &[]).is_on(v2) && flags(&[], &[]).is_on(index));
    assert!(flags(&[v2], &[]).is_on(v2) && !flags(&[v2], &[v2]).is_on(v2));
    assert!(!flags(&[], &[index]).is_on(index));
}
