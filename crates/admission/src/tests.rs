use std::time::{Duration, Instant};

use ir::Severity;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Admission, UnknownFields, Verdict, documents};

fn admit(text: &str, unknown: UnknownFields) -> Verdict {
    let mut documents = documents(text).unwrap();
    assert_eq!(documents.len(), 1, "{text}");
    Admission::new().admit(documents.remove(0).value, unknown)
}

/// Field and message of every problem.
fn problems(text: &str) -> Vec<(String, String)> {
    let verdict = admit(text, UnknownFields::Refuse);
    assert_eq!(verdict.object.is_none(), !verdict.problems.is_empty(), "{:?}", verdict.problems);
    verdict.problems.into_iter().map(|problem| (problem.field, problem.message)).collect()
}

/// Checks that exactly these fields are complained about, each in words that hold the given ones.
#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let found = problems(text);
    let fits = found.len() == expected.len()
        && expected.iter().all(|(field, words)| found.iter().any(|(f, w)| f == field && w.contains(words)));
    assert!(fits, "{text}\nexpected {expected:#?}\nfound {found:#?}");
}

fn route(spec: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r}}, spec: {spec}}}"
    )
}

fn rule(rule: &str) -> String {
    route(&format!("{{rules: [{rule}]}}"))
}

fn filter(filter: &str) -> String {
    rule(&format!("{{filters: [{filter}]}}"))
}

fn gateway(listeners: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: g}}, spec: {{gatewayClassName: c, listeners: {listeners}}}}}"
    )
}

fn backend(spec: &str) -> String {
    format!(
        "{{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: Backend, metadata: {{name: b}}, spec: {spec}}}"
    )
}

#[test]
fn admission_serves_all_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&Admission::new());
}

#[test]
fn every_kind_is_known_to_the_model() {
    for kind in api::KINDS {
        let model = ir::Kind::find(kind.group, kind.name);
        assert_eq!(model.map(|m| m.namespaced()), Some(kind.namespaced), "{kind:?}");
        assert!(model.is_some_and(|m| kind.versions.contains(&m.version())), "{kind:?}");
    }
}

#[test]
fn defaults_are_filled_in() {
    let verdict = admit(&route("{parentRefs: [{name: g}]}"), UnknownFields::Refuse);
    let Some(api::Object::HttpRoute(route)) = verdict.object else { panic!("{:?}", verdict.problems) };
    assert_eq!(route.metadata.namespace.as_deref(), Some("default"));
    assert_eq!(route.metadata.generation, Some(1));
    assert_eq!(route.spec.parent_refs[0].kind, "Gateway");
    assert_eq!(route.spec.rules, vec![api::HttpRouteRule::default()]);
    assert!(route.status.is_none());
    assert_eq!(verdict.subject.namespace.as_deref(), Some("default"));
}

#[test]
fn nulls_mean_unset() {
    let text = rule("{matches: null, name: null, timeouts: {request: null}}");
    check(&text, &[]);
    check(&rule("{matches: [null]}"), &[("spec.rules[0].matches[0]", "must be an object, not null")]);
    check(&route("null"), &[("spec", "must be set")]);
}

#[test]
fn cluster_scoped_objects_have_no_namespace() {
    let text = "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: c, namespace: n, generation: 7}, spec: {controllerName: a.b/c}}";
    let verdict = admit(text, UnknownFields::Refuse);
    assert_eq!(verdict.subject.namespace, None);
    assert_eq!(verdict.object.map(|object| object.generation()), Some(7));
}

#[test]
fn unknown_fields_are_refused_or_dropped() {
    let text = rule("{backendRef: [], filterz: [], xyz: 1}");
    check(
        &text,
        &[
            ("spec.rules[0].backendRef", "did you mean \"backendRefs\"?"),
            ("spec.rules[0].filterz", "did you mean \"filters\"?"),
            ("spec.rules[0].xyz", "fields here are backendRefs, filters"),
        ],
    );
    let verdict = admit(&text, UnknownFields::Drop);
    assert!(verdict.object.is_some());
    assert_eq!(verdict.problems.len(), 3);
    assert!(verdict.problems.iter().all(|problem| problem.severity == Severity::Warning));
    let verdict = admit(&rule("{BackendRefs: []}"), UnknownFields::Drop);
    assert!(verdict.object.is_none(), "fields that differ in case alone are ambiguous");
    check(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, lables: {}}}",
        &[("metadata.lables", "did you mean \"labels\"?")],
    );
}

#[test]
fn other_kinds_get_one_warning() {
    for unknown in [UnknownFields::Refuse, UnknownFields::Drop] {
        let verdict =
            admit("{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: q}}", unknown);
        assert!(verdict.object.is_none());
        let [problem] = verdict.problems.as_slice() else { panic!("{:?}", verdict.problems) };
        assert_eq!((problem.severity, problem.reason.as_str()), (Severity::Warning, "UnknownKind"));
        assert!(problem.message.contains("Deployment of apps/v1"), "{problem}");
        assert_eq!(verdict.subject.to_string(), "Deployment q/d");
    }
    check(
        "{apiVersion: gateway.networking.k8s.io/v1alpha2, kind: HTTPRoute, metadata: {name: r}}",
        &[("apiVersion", "versions that are: v1, v1beta1")],
    );
}

#[test]
fn documents_that_are_no_objects_are_refused() {
    check("[1]", &[("", "no Kubernetes object")]);
    check("{kind: A}", &[("apiVersion", "must be set")]);
    check("{apiVersion: v1}", &[("kind", "must be set")]);
    check(
        "{apiVersion: v1, kind: Namespace, metadata: 5}",
        &[("metadata", "must be an object, not a number")],
    );
    check("{apiVersion: v1, kind: Namespace}", &[("metadata.name", "must be set")]);
    check(
        "{apiVersion: v1, kind: Namespace, metadata: {generateName: a-}}",
        &[("metadata.name", "generateName")],
    );
}

#[test]
fn names_labels_and_annotations_are_checked() {
    let object =
        |kind: &str, metadata: &str| format!("{{apiVersion: v1, kind: {kind}, metadata: {metadata}}}");
    check(&object("ConfigMap", "{name: a.b-c.0}"), &[]);
    check(&object("ConfigMap", "{name: A_b}"), &[("metadata.name", "must be a DNS name")]);
    check(&object("Namespace", "{name: a.b}"), &[("metadata.name", "must be a DNS label")]);
    check(
        &object("ConfigMap", "{name: a, namespace: a.b}"),
        &[("metadata.namespace", "must be a DNS label")],
    );
    let long = "x".repeat(64);
    check(
        &object("ConfigMap", &format!("{{name: a, labels: {{{long}: b, c: '-', e.f/g: h_1}}}}")),
        &[
            ("metadata.labels", "must be a name of at most 63"),
            ("metadata.labels.c", "must be empty, or at most 63"),
        ],
    );
    check(
        &object("ConfigMap", "{name: a, annotations: {Ex.com/A: '…', 'a b': c}}"),
        &[("metadata.annotations", "\"a b\"")],
    );
    check(&object("ConfigMap", "{name: a, labels: {b: 5}}"), &[("metadata.labels.b", "put it in quotes")]);
}

#[test]
fn types_and_limits_of_routes_are_checked() {
    check(
        &rule("{matches: [{queryParams: [{name: a, value: 5}]}]}"),
        &[("spec.rules[0].matches[0].queryParams[0].value", "must be text, not a number; put it in quotes")],
    );
    check(
        &route("{hostnames: ['*.example.com', 'Example.com', '*', '1.2.3.4:80']}"),
        &[
            ("spec.hostnames[1]", "must be a host name in lower case"),
            ("spec.hostnames[2]", "must be a host name in lower case"),
            ("spec.hostnames[3]", "must be a host name in lower case"),
        ],
    );
    check(&route("{rules: []}"), &[("spec.rules", "must have at least 1 entries")]);
    check(&route(&format!("{{rules: [{}]}}", vec!["{}"; 17].join(","))), &[("spec.rules", "at most 16")]);
    check(
        &rule("{backendRefs: [{name: a, port: 0}, {name: b, port: 80, weight: 1000001}, {port: 1}]}"),
        &[
            ("spec.rules[0].backendRefs[0].port", "0 must be at least 1"),
            ("spec.rules[0].backendRefs[1].weight", "1000001 must be at most 1000000"),
            ("spec.rules[0].backendRefs[2].name", "must be set"),
        ],
    );
    check(
        &rule("{matches: [{method: get}]}"),
        &[("spec.rules[0].matches[0].method", "is not one of \"GET\"")],
    );
    check(&rule("{timeouts: {request: 5}}"), &[("spec.rules[0].timeouts.request", "must be text")]);
    check(
        &rule("{timeouts: {request: 5d}}"),
        &[("spec.rules[0].timeouts.request", "must be a duration such as")],
    );
    check(
        &rule("{retry: {codes: [500, 500, 300], attempts: 0}}"),
        &[
            ("spec.rules[0].retry.codes[1]", "stands in the list twice"),
            ("spec.rules[0].retry.codes[2]", "300 must be at least 400"),
            ("spec.rules[0].retry.attempts", "0 must be at least 1"),
        ],
    );
    check(
        &filter(
            "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: 'a:b', value: \"x\\n\"}]}}",
        ),
        &[
            ("spec.rules[0].filters[0].requestHeaderModifier.set[0].name", "must be the name of a header"),
            ("spec.rules[0].filters[0].requestHeaderModifier.set[0].value", "must be the value of a header"),
        ],
    );
    check(
        &rule("{backendRefs: [{name: a, port: 8080.5}]}"),
        &[("spec.rules[0].backendRefs[0].port", "must be a whole number, not a number with a fraction")],
    );
    check(&rule("{retry: {attempts: 99999999999999999999}}"), &[("spec.rules[0].retry.attempts", "")]);
}

#[test]
fn lists_by_key_have_no_duplicates() {
    let text = filter(
        "{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: a, value: b}, {name: a, value: c}], remove: [x, x]}}",
    );
    check(
        &text,
        &[
            (
                "spec.rules[0].filters[0].requestHeaderModifier.add[1]",
                "an entry with name \"a\" stands in the list twice",
            ),
            ("spec.rules[0].filters[0].requestHeaderModifier.remove[1]", "\"x\" stands in the list twice"),
        ],
    );
}

#[test]
fn cel_rules_of_routes_hold() {
    let path = "spec.rules[0].matches[0].path";
    for (value, words) in [
        ("a", "must begin with '/'"),
        ("/a//b", "must not contain '//'"),
        ("/a/./b", "must not contain '/./'"),
        ("/a/../b", "must not contain '/../'"),
        ("/a%2fb", "must not contain '%2f'"),
        ("/a%2Fb", "must not contain '%2F'"),
        ("/a/..", "must not end with '/..'"),
        ("/a/.", "must not end with '/.'"),
        ("/ü", "only characters that a path may have"),
    ] {
        check(&rule(&format!("{{matches: [{{path: {{value: '{value}'}}}}]}}")), &[(path, words)]);
        check(&rule(&format!("{{matches: [{{path: {{type: RegularExpression, value: '{value}'}}}}]}}")), &[]);
    }
    check(&rule("{matches: [{path: {value: '/a#b'}}]}"), &[(path, "'#'"), (path, "only characters")]);
    check(
        &rule("{timeouts: {request: 1s, backendRequest: 2s}}"),
        &[("spec.rules[0].timeouts", "must not be longer")],
    );
    check(&rule("{timeouts: {request: 0s, backendRequest: 2s}}"), &[]);
    check(&rule("{backendRefs: [{name: a}]}"), &[("spec.rules[0].backendRefs[0]", "must name a port")]);
    check(&rule("{backendRefs: [{name: a, group: gateway.envoyproxy.io, kind: Backend}]}"), &[]);
    check(&route("{rules: [{name: a}, {name: a}]}"), &[("spec.rules", "names of rules must be unique")]);
    let many = vec!["{headers: [{name: a, value: b}]}"; 64].join(",");
    let rules = format!("{{rules: [{{matches: [{many}]}}, {{matches: [{many}]}}, {{}}]}}");
    check(&route(&rules), &[("spec.rules", "at most 128 matches")]);
    check(
        &rule("{sessionPersistence: {cookieConfig: {lifetimeType: Permanent}}}"),
        &[("spec.rules[0].sessionPersistence", "needs absoluteTimeout")],
    );
    check(
        &rule("{sessionPersistence: {type: Header, cookieConfig: {}}}"),
        &[("spec.rules[0].sessionPersistence", "cookieConfig is for sessions of type Cookie only")],
    );
    check(&rule("{sessionPersistence: {sessionName: a}}"), &[]);
}

#[test]
fn parents_are_told_apart() {
    check(&route("{parentRefs: [{name: a}, {name: b}, {name: a, namespace: c}]}"), &[]);
    check(&route("{parentRefs: [{name: a, sectionName: x}, {name: a, sectionName: z}]}"), &[]);
    check(
        &route("{parentRefs: [{name: a, sectionName: x}, {name: a}]}"),
        &[("spec.parentRefs", "must all name")],
    );
    check(&route("{parentRefs: [{name: a}, {name: a}]}"), &[("spec.parentRefs", "must be unique")]);
}

#[test]
fn cel_rules_of_filters_hold() {
    let at = "spec.rules[0].filters[0]";
    for (kind, field) in [
        ("RequestHeaderModifier", "requestHeaderModifier: {}"),
        ("ResponseHeaderModifier", "responseHeaderModifier: {}"),
        ("RequestMirror", "requestMirror: {backendRef: {name: a, port: 1}}"),
        ("RequestRedirect", "requestRedirect: {}"),
        ("URLRewrite", "urlRewrite: {}"),
        ("CORS", "cors: {}"),
        ("ExternalAuth", "externalAuth: {protocol: GRPC, grpc: {}, backendRef: {name: a, port: 1}}"),
        ("ExtensionRef", "extensionRef: {group: '', kind: K, name: e}"),
    ] {
        check(&filter(&format!("{{type: {kind}, {field}}}")), &[]);
        check(&filter(&format!("{{type: {kind}}}")), &[(at, &format!("type {kind} needs"))]);
        let other = if kind == "CORS" { "URLRewrite, urlRewrite: {}" } else { "CORS, cors: {}" };
        check(
            &filter(&format!("{{type: {other}, {field}}}")),
            &[(at, &format!("must not be set unless type is {kind}"))],
        );
    }
    check(
        &filter("{type: CORS, cors: {}}, {type: CORS, cors: {}}"),
        &[("spec.rules[0].filters", "only once")],
    );
    check(
        &filter("{type: URLRewrite, urlRewrite: {}}, {type: RequestRedirect, requestRedirect: {}}"),
        &[("spec.rules[0].filters", "must not be used together")],
    );
    check(
        &rule("{backendRefs: [{name: a, port: 1}], filters: [{type: RequestRedirect, requestRedirect: {}}]}"),
        &[("spec.rules[0]", "must not be used together with backendRefs")],
    );
    let rewrite = "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]";
    check(&rule(&format!("{{{rewrite}}}")), &[]);
    check(
        &rule(&format!("{{matches: [{{path: {{type: Exact, value: /a}}}}], {rewrite}}}")),
        &[("spec.rules[0]", "URLRewrite with path.replacePrefixMatch needs exactly one match")],
    );
    check(
        &filter("{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replacePrefixMatch: /}}}"),
        &[
            ("spec.rules[0].filters[0].urlRewrite.path", "needs replaceFullPath"),
            ("spec.rules[0].filters[0].urlRewrite.path", "needs type ReplacePrefixMatch"),
        ],
    );
    check(
        &filter("{type: RequestRedirect, requestRedirect: {statusCode: 666, scheme: ftp}}"),
        &[
            (
                "spec.rules[0].filters[0].requestRedirect.statusCode",
                "666 is not one of 301, 302, 303, 307, 308",
            ),
            ("spec.rules[0].filters[0].requestRedirect.scheme", "\"ftp\" is not one of"),
        ],
    );
    check(
        &filter(
            "{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 5, fraction: {numerator: 2, denominator: 1}}}",
        ),
        &[
            ("spec.rules[0].filters[0].requestMirror", "must not both be set"),
            ("spec.rules[0].filters[0].requestMirror.fraction", "must not be above denominator"),
        ],
    );
    check(
        &filter("{type: CORS, cors: {allowOrigins: ['*', 'https://a.b'], allowMethods: ['*', GET]}}"),
        &[
            ("spec.rules[0].filters[0].cors.allowOrigins", "must be the only entry"),
            ("spec.rules[0].filters[0].cors.allowMethods", "must be the only entry"),
        ],
    );
}

#[test]
fn rules_of_gateways_hold() {
    let listeners = "spec.listeners";
    check(&gateway("[{name: a, port: 80, protocol: HTTP}]"), &[]);
    check(&gateway("[]"), &[(listeners, "must have at least 1")]);
    check(
        &gateway("[{name: a, port: 80, protocol: HTTP}, {name: a, port: 81, protocol: HTTP}]"),
        &[
            ("spec.listeners[1]", "an entry with name \"a\" stands in the list twice"),
            (listeners, "names of listeners must be unique"),
        ],
    );
    check(
        &gateway("[{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: HTTP}]"),
        &[(listeners, "port, protocol and hostname together must be unique")],
    );
    check(
        &gateway("[{name: a, port: 80, protocol: HTTP, tls: {certificateRefs: [{name: c}]}}]"),
        &[(listeners, "tls must not be set")],
    );
    check(
        &gateway("[{name: a, port: 80, protocol: HTTPS, tls: {mode: Passthrough}}]"),
        &[(listeners, "tls.mode must be Terminate")],
    );
    check(
        &gateway("[{name: a, port: 80, protocol: HTTPS, tls: {}}]"),
        &[("spec.listeners[0].tls", "mode Terminate needs certificateRefs or options")],
    );
    check(&gateway("[{name: a, port: 80, protocol: HTTPS, tls: {options: {a: b}}}]"), &[]);
    check(&gateway("[{name: a, port: 80, protocol: TLS}]"), &[(listeners, "tls.mode must be set")]);
    check(
        &gateway("[{name: a, port: 80, protocol: UDP, hostname: a.b}]"),
        &[(listeners, "hostname must not be set")],
    );
    let addresses = |addresses: &str| {
        gateway(&format!("[{{name: a, port: 80, protocol: HTTP}}], addresses: {addresses}"))
    };
    check(&addresses("[{value: 1.2.3.4}, {value: '::1'}, {type: Hostname, value: a.b}, {}]"), &[]);
    check(&addresses("[{value: a.b}]"), &[("spec.addresses[0].value", "an IPv4 address or an IPv6 address")]);
    check(&addresses("[{value: 1.2.3.4}, {value: 1.2.3.4}]"), &[("spec.addresses", "must be unique")]);
    check(&addresses("[{type: Hostname, value: '-'}]"), &[("spec.addresses[0]", "must be a host name")]);
}

#[test]
fn rules_of_backends_hold() {
    check(&backend("{endpoints: [{ip: {address: 10.0.0.1, port: 80}}, {unix: {path: /a}}]}"), &[]);
    check(&backend("{endpoints: []}"), &[("spec.endpoints", "must have at least 1")]);
    check(
        &backend("{endpoints: [{}]}"),
        &[
            ("spec.endpoints[0]", "one of fqdn, ip and unix must be set"),
            ("spec.endpoints[0]", "only one of fqdn, ip and unix may be set"),
        ],
    );
    check(
        &backend("{endpoints: [{fqdn: {hostname: a.b., port: 1}}, {ip: {address: 10.0.0.1, port: 1}}]}"),
        &[("spec.endpoints", "must not be mixed")],
    );
    check(
        &backend("{endpoints: [{ip: {address: a.b, port: 1}}]}"),
        &[("spec.endpoints[0].ip.address", "must be an IPv4 or IPv6 address")],
    );
    check(
        &backend("{type: DynamicResolver, endpoints: [{ip: {address: 10.0.0.1, port: 80}}]}"),
        &[("spec", "endpoints must not be set when type is DynamicResolver")],
    );
    let long = "x".repeat(109);
    check(
        &backend(&format!("{{endpoints: [{{unix: {{path: /{long}}}}}]}}")),
        &[("spec.endpoints[0].unix.path", "at most 108")],
    );
    let ca = "caCertificateRefs: [{group: '', kind: ConfigMap, name: a}]";
    check(
        &backend(&format!("{{tls: {{{ca}, wellKnownCACertificates: System}}}}")),
        &[("spec.tls", "must not both be set")],
    );
    check(
        &backend(&format!("{{tls: {{{ca}, insecureSkipVerify: true}}}}")),
        &[("spec.tls", "insecureSkipVerify is true")],
    );
    check(
        &backend("{tls: {minVersion: '1.3', maxVersion: '1.2'}}"),
        &[("spec.tls", "must not be above maxVersion")],
    );
    check(
        &backend("{tls: {minVersion: 1.3}}"),
        &[("spec.tls.minVersion", "must be text, not a number with a fraction; put it in quotes")],
    );
}

#[test]
fn rules_of_kubernetes_own_kinds_hold() {
    let service =
        |spec: &str| format!("{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {spec}}}");
    check(&service("{ports: [{port: 80, targetPort: http}]}"), &[]);
    check(&service("{}"), &[("spec.ports", "at least one port")]);
    check(&service("{clusterIP: None}"), &[]);
    check(&service("{clusterIP: x, ports: [{port: 80}]}"), &[("spec.clusterIP", "must be an IP address")]);
    check(&service("{type: ExternalName}"), &[("spec.externalName", "must be set")]);
    check(&service("{type: ExternalName, externalName: a.b.}"), &[]);
    check(
        &service("{type: X, ports: [{port: 0}, {port: 70000, name: a}, {port: 1, name: a, protocol: Z}]}"),
        &[
            ("spec.type", "\"X\" is not one of"),
            ("spec.ports[0].port", "1 to 65535"),
            ("spec.ports[0].name", "must be set when"),
            ("spec.ports[1].port", "1 to 65535"),
            ("spec.ports[2].name", "earlier port"),
            ("spec.ports[2].protocol", "\"Z\" is not one of"),
        ],
    );
    check(&service("{ports: [{port: 5000000000}]}"), &[("spec.ports[0].port", "")]);
    let slice = |rest: &str| {
        format!("{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: e}}, {rest}}}")
    };
    check(&slice("addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}], ports: [{port: 80}]"), &[]);
    check(
        &slice("addressType: IPv4, endpoints: [{addresses: ['::1', a]}, {addresses: []}]"),
        &[
            ("endpoints[0].addresses[0]", "no address of addressType IPv4"),
            ("endpoints[0].addresses[1]", "no address of addressType IPv4"),
            ("endpoints[1].addresses", "at least one"),
        ],
    );
    check(&slice("addressType: IP"), &[("addressType", "is not one of IPv4, IPv6, FQDN")]);
    let mended = admit(&slice("addressType: IP, endpoints: [{addresses: ['::1']}]"), UnknownFields::Drop);
    let Some(api::Object::EndpointSlice(mended)) = mended.object else { panic!("{:?}", mended.problems) };
    assert_eq!(mended.address_type, "IPv6");
}

#[test]
fn values_of_secrets_appear_nowhere() {
    let secret = |rest: &str| format!("{{apiVersion: v1, kind: Secret, metadata: {{name: s}}, {rest}}}");
    check(&secret("data: {a: aHVzaA==, b: \"aHVz\\naA==\"}, stringData: {c: hush}"), &[]);
    check(&secret("type: kubernetes.io/tls, data: {tls.crt: aHVzaA==}"), &[("data[tls.key]", "must be set")]);
    for (text, field, words) in [
        ("data: {a: 'hush hush'}", "data.a", "the value must be base64"),
        ("data: {a: 12345678}", "data.a", "must be text, not a number"),
        ("stringData: {a: [12345678]}", "stringData.a", "must be text, not a list"),
        ("data: {'a b': aHVzaA==}", "data", "the key \"a b\" must be"),
        ("data: '12345678'", "data", "must be an object, not text"),
        ("immutable: '12345678'", "immutable", "must be true or false"),
    ] {
        check(&secret(text), &[(field, words)]);
        let told = format!("{:?}", admit(&secret(text), UnknownFields::Refuse));
        assert!(!told.contains("hush") && !told.contains("12345678") && !told.contains("aHVz"), "{told}");
    }
}

#[test]
fn the_configuration_file_is_strict() {
    let admission = Admission::new();
    let head = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyGateway\n";
    assert_eq!(admission.config(head).unwrap(), api::config::EnvoyGateway::default());
    let text = format!(
        "{head}provider: {{type: Kubernetes, kubernetes: {{deploy: {{type: GatewayNamespace}}}}}}\nlogging: {{level: {{xds: debug}}}}\nextensionApis: {{enableBackend: true}}\nruntimeFlags: {{enabled: [XDSNameSchemeV2]}}\nenvoyProxy: {{anything: [1]}}\n"
    );
    let config = admission.config(&text).unwrap();
    assert!(config.extension_apis.enable_backend);
    assert!(config.runtime_flags.is_on(api::config::RuntimeFlag::XdsNameSchemeV2));
    assert_eq!(config.gateway.controller_name, "gateway.envoyproxy.io/gatewayclass-controller");
    assert_eq!(config.envoy_proxy.unwrap().0, json!({ "anything": [1] }));
    for (rest, field, words) in [
        ("logging: {level: {defualt: info}}", "logging.level.defualt", "did you mean \"default\"?"),
        ("logging: {encoder: XML}", "logging.encoder", "is not one of"),
        ("extensionApi: {}", "extensionApi", "did you mean \"extensionApis\"?"),
        ("provider: {kubernetes: {}}", "provider.type", "must be set"),
        ("extensionManager: {}\nextensionManagers: [{}]", "", "must not both be set"),
        ("gateway: [", "", "line 4"),
        ("---\na: b", "", "one document, not 2"),
    ] {
        let problems = admission.config(&format!("{head}{rest}\n")).unwrap_err();
        let fits = problems.iter().any(|p| p.field == field && p.message.contains(words));
        assert!(fits, "{rest}: {problems:?}");
    }
    assert!(admission.config("").is_err());
    assert!(admission.config("{kind: Gateway, apiVersion: v1}").is_err());
}

#[test]
fn every_schema_compiles() {
    let of_kind = |kind: &'static api::KindInfo| {
        kind.versions.iter().map(|version| (kind.schema_of(version), kind.is_core()))
    };
    for (schema, core) in api::KINDS.iter().flat_map(of_kind).chain([(api::config::schema(), false)]) {
        let compiled = crate::kind::Compiled::new(schema, core);
        assert!(compiled.is_ok(), "{:?}", compiled.err());
    }
}

/// Time that one typical route may take; 200 µs optimised, with room for a build that is not and a busy machine.
const ROUTE_LIMIT: Duration = Duration::from_millis(5);

#[test]
fn a_route_is_judged_fast() {
    let admission = Admission::new();
    let text = rule(
        "{matches: [{path: {value: /shop}, headers: [{name: a, value: b}]}, {path: {type: Exact, value: /cart}}], filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}]}}], backendRefs: [{name: a, port: 80, weight: 9}, {name: b, port: 80}], timeouts: {request: 10s}}",
    );
    let document = documents(&text).unwrap().remove(0).value;
    assert!(admission.admit(document.clone(), UnknownFields::Refuse).object.is_some());
    let rounds = 200;
    let start = Instant::now();
    for _ in 0..rounds {
        admission.admit(document.clone(), UnknownFields::Refuse);
    }
    let each = start.elapsed() / rounds;
    println!("one route: {each:?}");
    assert!(each < ROUTE_LIMIT, "{each:?}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "spec",
        "rules",
        "matches",
        "path",
        "type",
        "value",
        "filters",
        "listeners",
        "name",
        "port",
        "tls",
        "Exact",
        "endpoints",
        "metadata",
        "labels",
        "addresses",
        "items",
        "data",
        "status",
        "/",
        "*",
        "",
        "a.b",
        "HTTP",
        "ports",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        words.clone().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let words = words.clone();
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((words, inner), 0..6).prop_map(|entries| entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_document_makes_it_panic(rest in any_json(), spec in any_json(), metadata in any_json(), kind in 0..api::KINDS.len()) {
        thread_local!(static ADMISSION: Admission = Admission::new());
        let kind = &api::KINDS[kind];
        let group = if kind.group.is_empty() { String::new() } else { format!("{}/", kind.group) };
        let mut document = if rest.is_object() { rest.clone() } else { json!({}) };
        document["apiVersion"] = json!(format!("{group}{}", kind.versions[0]));
        document["kind"] = json!(kind.name);
        document["metadata"] = metadata;
        document["spec"] = spec;
        ADMISSION.with(|admission| {
            for unknown in [UnknownFields::Refuse, UnknownFields::Drop] {
                let verdict = admission.admit(document.clone(), unknown);
                let refused = verdict.problems.iter().any(|problem| problem.severity == Severity::Rejected);
                prop_assert_eq!(verdict.object.is_some(), !refused);
                admission.admit(rest.clone(), unknown);
            }
            Ok(())
        })?;
    }
}
