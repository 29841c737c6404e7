//! Who sets what: policies, the parameters of the proxies, objects of backends.

use super::{http3::set_up_with, *};

const EG: &str = "gateway.envoyproxy.io/v1alpha1";

fn traffic_policy(name: &str, (kind, target): (&str, &str), says: &str) -> String {
    format!(
        "apiVersion: {EG}\nkind: BackendTrafficPolicy\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  \
         targetRefs: [{{group: gateway.networking.k8s.io, kind: {kind}, name: {target}}}]\n  {says}\n---\n"
    )
}

/// The Gateway with an EnvoyProxy of this spec.
fn with_proxy(routes: &str, spec: &str) -> Pipeline {
    let named = "spec:\n  infrastructure: {parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: eg}}\n  \
                 gatewayClassName:";
    let gateway = GATEWAY.replace("spec:\n  gatewayClassName:", named);
    let proxy = format!(
        "apiVersion: {EG}\nkind: EnvoyProxy\nmetadata: {{name: eg, namespace: default}}\nspec: {spec}\n---\n"
    );
    of_text(&format!("{gateway}{proxy}{routes}"))
}

fn set<'a>(settings: &'a [Setting], name: &str) -> (&'a str, &'a str, &'a str) {
    let found = settings.iter().find(|setting| setting.name == name);
    let setting = found.unwrap_or_else(|| panic!("{name} is not among {settings:#?}"));
    (&setting.value, &setting.object, &setting.field)
}

fn target(told: &Explanation) -> &Upstream {
    match outcome(told) {
        Outcome::Forwarded { to, .. } => to,
        other => panic!("{other:?}"),
    }
}

#[test]
fn copies_are_told_with_their_share_and_their_filter() {
    let mirror = |name: &str, share: &str| {
        format!("{{type: RequestMirror, requestMirror: {{backendRef: {{name: {name}, port: 80}}{share}}}}}")
    };
    let filters = [
        mirror("shop", ", percent: 25"),
        mirror("shop", ", percent: 0"),
        mirror("gone", ""),
        mirror("empty", ""),
    ];
    let rules = format!("  - filters: [{}]\n    backendRefs: [{{name: shop, port: 80}}]", filters.join(", "));
    let told = ask(&route("shop", "[a.example.com]", &rules), &get("http://a.example.com/"));
    let mirrors: Vec<_> = told.mirrors.iter().map(|m| (m.to.percent, &*m.object, &*m.field)).collect();
    assert_eq!(mirrors, [(25.0, "HTTPRoute default/shop", "spec.rules[0].filters[0]")]);
    assert_eq!(told.mirrors[0].to.backends[0].object, "Service default/shop port 80");
    let (value, _, field) = set(&told.settings, "mirror");
    assert_eq!((value, field), ("25% to Service default/shop port 80", "spec.rules[0].filters[0]"));
    let none = "no copies are made by HTTPRoute default/shop spec.rules[0].filters";
    for note in [
        "[1]: their share is 0",
        "[2]: Mirror of rule 0: Service default/gone does not exist",
        "[3]: Mirror of rule 0: Service default/empty has no endpoints for port 80",
    ] {
        let note = format!("{none}{note}");
        assert!(told.notes.contains(&note), "{note}: {:#?}", told.notes);
    }
}

#[test]
fn each_field_of_merged_policies_has_the_policy_that_says_it() {
    let of_gateway = "timeout: {http: {requestTimeout: 9s}, tcp: {connectTimeout: 2s}}\n  circuitBreaker: \
                      {maxConnections: 7}";
    let of_route =
        "mergeType: StrategicMerge\n  timeout: {http: {requestTimeout: 1s}}\n  retry: {numRetries: 4}";
    let policies = traffic_policy("wide", ("Gateway", "eg"), of_gateway)
        + &traffic_policy("narrow", ("HTTPRoute", "shop"), of_route);
    let told = ask(&(route("shop", "[a.example.com]", TO_SHOP) + &policies), &get("http://a.example.com/"));
    let (wide, narrow) = ("BackendTrafficPolicy default/wide", "BackendTrafficPolicy default/narrow");
    assert_eq!(set(&told.settings, "timeout"), ("1s", narrow, "spec.timeout.http.requestTimeout"));
    let (value, object, field) = set(&told.settings, "retries");
    assert!(value.starts_with("4 on ") && (object, field) == (narrow, "spec.retry"), "{value}");
    let to = target(&told);
    assert_eq!(set(&to.settings, "time to connect"), ("2s", wide, "spec.timeout.tcp.connectTimeout"));
    assert!(set(&to.settings, "circuit breaker").0.starts_with("7 connections"), "{to:#?}");
}

#[test]
fn listeners_of_listener_sets_have_their_policies_and_routes() {
    let sets = "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {name: team, namespace: default}\n\
                spec:\n  parentRef: {name: eg}\n  listeners: [{name: own, port: 8080, protocol: HTTP}]\n---\n";
    let policy = format!(
        "apiVersion: {EG}\nkind: ClientTrafficPolicy\nmetadata: {{name: slow, namespace: default}}\nspec:\n  targetRefs: \
         [{{group: gateway.networking.k8s.io, kind: ListenerSet, name: team}}]\n  timeout: {{http: {{idleTimeout: 7s}}}}\n  \
         healthCheck: {{path: /healthz}}\n---\n"
    );
    let shop =
        route("shop", "[a.example.com]", TO_SHOP).replace("{name: eg}", "{name: team, kind: ListenerSet}");
    let all = format!("{sets}{policy}{shop}");
    let allowed =
        GATEWAY.replace("  listeners:\n", "  allowedListeners: {namespaces: {from: Same}}\n  listeners:\n");
    let pipeline = of_text(&(allowed + &all));
    let told = explain(&pipeline, &get("http://a.example.com:8080/")).unwrap();
    assert_eq!(told.socket.as_ref().unwrap().listeners, ["ListenerSet default/team listener own"]);
    assert_eq!(told.virtual_host.as_ref().unwrap().listener, "ListenerSet default/team listener own");
    let chain = &told.chain.as_ref().unwrap().settings;
    let slow = "ClientTrafficPolicy default/slow";
    assert_eq!(set(chain, "idle timeout"), ("7s", slow, "spec.timeout.http.idleTimeout"));
    assert_eq!(told.policies[0].object, slow);
    assert!(matches!(outcome(&told), Outcome::Forwarded { .. }), "{told:#?}");
    let told = explain(&pipeline, &get("http://nowhere.example.com:8080/healthz")).unwrap();
    assert!(
        matches!(outcome(&told), Outcome::Answered { status: 200, why, .. } if why.contains("/healthz")),
        "{told:#?}"
    );
    // The Gateway's own listener has neither.
    let told = explain(&pipeline, &get("http://a.example.com/")).unwrap();
    assert_eq!((status(&told), told.policies.len()), (404, 0));
}

#[test]
fn the_parameters_of_proxies_are_named_where_they_decide() {
    let rule = |path: &str| {
        format!("  - matches: [{{path: {{type: {path}}}}}]\n    backendRefs: [{{name: shop, port: 80}}]\n")
    };
    let rules = rule("PathPrefix, value: /") + &rule("Exact, value: /cart");
    let says = "faultInjection: {abort: {httpStatus: 555, percentage: 25}}\n  requestBuffer: {limit: 1Ki}";
    let shop = route("shop", "[a.example.com]", &rules) + &traffic_policy("fault", ("Gateway", "eg"), says);
    // There is no filter for CORS, so nothing is before it.
    let spec = "{preserveRouteOrder: true, mergeBackends: {}, filterOrder: [{name: envoy.filters.http.fault, after: \
                envoy.filters.http.buffer}, {name: envoy.filters.http.buffer, before: envoy.filters.http.cors}]}";
    let told = explain(&with_proxy(&shop, spec), &get("http://a.example.com/cart")).unwrap();
    assert_eq!(told.route.as_ref().unwrap().field, "spec.rules[0].matches[0]");
    assert_eq!(
        told.lost[0].why,
        "the other is in an earlier rule of the same object (0); EnvoyProxy default/eg spec.preserveRouteOrder has routes \
         tried in the order in which they are written, whatever they match"
    );
    let names: Vec<&str> = told.filters.iter().map(|filter| &*filter.name).collect();
    assert_eq!(names[..2], ["envoy.filters.http.buffer", "envoy.filters.http.fault"]);
    let moved: Vec<_> = told.filters.iter().filter_map(|filter| filter.moved.as_ref()).collect();
    assert_eq!(moved.len(), 1, "{moved:#?}");
    assert_eq!((&*moved[0].object, &*moved[0].field), ("EnvoyProxy default/eg", "spec.filterOrder[0]"));
    let shares: Vec<f64> = told.outcomes.iter().map(|possible| possible.percent).collect();
    assert_eq!(shares, [25.0, 75.0]);
    let Outcome::Forwarded { to, .. } = &told.outcomes[1].outcome else { panic!("{told:#?}") };
    assert_eq!(set(&to.settings, "shared").1, "EnvoyProxy default/eg");
    let told = explain(&with_proxy(&shop, "{}"), &get("http://a.example.com/cart")).unwrap();
    assert!(told.lost[0].why.starts_with("the other matches an exact path"), "{told:#?}");
    assert!(told.filters.iter().all(|filter| filter.moved.is_none()));
}

#[test]
fn errors_on_purpose_and_other_responses_are_told() {
    let answer = |policy: &str, rules: &str| {
        let policy = traffic_policy("odd", ("Gateway", "eg"), policy);
        ask(&(route("shop", "[a.example.com]", rules) + &policy), &get("http://a.example.com/"))
    };
    let overrides = "responseOverride: [{match: {statusCodes: [{type: Value, value: 500}]}, response: {statusCode: 418}}, \
                     {match: {statusCodes: [{type: Range, range: {start: 502, end: 504}}]}, response: {body: {inline: x}}}]";
    let told = answer(overrides, "  - backendRefs: [{name: gone, port: 80}]");
    assert_eq!(status(&told), 418);
    let (value, _, field) = set(&told.settings, "response override");
    assert_eq!((value, field), ("500 becomes 418; 502 to 504 gets other content", "spec.responseOverride"));
    assert_eq!(status(&answer(overrides, "  - backendRefs: [{name: empty, port: 80}]")), 503);
    let told = answer("faultInjection: {abort: {httpStatus: 555}, delay: {fixedDelay: 2s}}", TO_SHOP);
    assert_eq!(status(&told), 555);
    assert_eq!(set(&told.settings, "fault").0, "100% wait 2s; 100% get 555");
    let told = answer("rateLimit: {local: {rules: [{limit: {requests: 3, unit: Hour}}]}}", TO_SHOP);
    assert!(told.filters.iter().any(|filter| filter.may_answer == Some(429)), "{told:#?}");
    assert_eq!(set(&told.settings, "rate limit").0, "3 in 3600s");

    let buffer = traffic_policy("odd", ("Gateway", "eg"), "requestBuffer: {limit: '10'}");
    let mut question = get("http://a.example.com/");
    let all = route("shop", "[a.example.com]", TO_SHOP) + &buffer;
    question.body = 11;
    assert_eq!(status(&ask(&all, &question)), 413);
    question.body = 10;
    assert!(matches!(outcome(&ask(&all, &question)), Outcome::Forwarded { .. }));
}

#[test]
fn tls_towards_a_backend_is_told_with_who_says_each_part() {
    let policy = "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: web, namespace: \
                  default}\nspec:\n  targetRefs: [{group: '', kind: Service, name: web, sectionName: http}]\n  validation: \
                  {wellKnownCACertificates: System, hostname: web.internal}\n---\n";
    let told = explain(&set_up_with("fg202-tls-overlap", policy), &get("https://web.example.com/")).unwrap();
    let tls = &target(&told).backends[0].tls;
    let by = "BackendTLSPolicy default/web";
    assert_eq!(set(tls, "TLS server name"), ("web.internal", by, "spec.validation.hostname"));
    let trusted = ("those of the system", by, "spec.validation.wellKnownCACertificates");
    assert_eq!(set(tls, "TLS authorities"), trusted);
    assert_eq!(set(tls, "TLS certificate for"), ("web.internal", by, "spec.validation.hostname"));
    assert_eq!(set(tls, "TLS at least"), ("1.2", "default", ""));
    let protocol = set(&target(&told).settings, "protocol");
    assert_eq!(protocol, ("HTTP/2 or HTTP/1.1, as agreed (ALPN)", "default", ""));

    let backend = format!(
        "apiVersion: {EG}\nkind: Backend\nmetadata: {{name: far, namespace: default}}\nspec:\n  appProtocols: \
         [gateway.envoyproxy.io/h2c]\n  endpoints: [{{ip: {{address: 10.1.1.1, port: 443}}}}]\n  tls: \
         {{insecureSkipVerify: true, sni: far.example.com, minVersion: '1.3'}}\n---\n"
    );
    let rules = "  - backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: far}]";
    let shop = route("shop", "[a.example.com]", rules) + &backend;
    let spec = "{backendTLS: {minVersion: '1.1', maxVersion: '1.3'}}";
    let told = explain(&with_proxy(&shop, spec), &get("http://a.example.com/")).unwrap();
    let tls = &target(&told).backends[0].tls;
    assert_eq!(set(tls, "TLS server name"), ("far.example.com", "Backend default/far", "spec.tls.sni"));
    let unverified = ("not looked at", "Backend default/far", "spec.tls.insecureSkipVerify");
    assert_eq!(set(tls, "TLS authorities"), unverified);
    assert_eq!(set(tls, "TLS at least"), ("1.3", "Backend default/far", "spec.tls.minVersion"));
    assert_eq!(set(tls, "TLS at most"), ("1.3", "EnvoyProxy default/eg", "spec.backendTLS.maxVersion"));
    let protocol = set(&target(&told).settings, "protocol");
    assert_eq!(protocol, ("HTTP/2", "Backend default/far", "spec.appProtocols"));
}

#[test]
fn the_gateways_certificate_for_backends_is_told() {
    let policy = "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: web, namespace: \
                  default}\nspec:\n  targetRefs: [{group: '', kind: Service, name: web}]\n  validation: \
                  {wellKnownCACertificates: System, hostname: web.internal}\n---\n";
    let base = std::fs::read_to_string(set_up_file("fg202-tls-overlap")).unwrap();
    let shows = "  gatewayClassName: eg\n  tls: {backend: {clientCertificateRef: {name: grpc}}}\n";
    let all = format!("{}\n---\n{policy}", base.replacen("  gatewayClassName: eg\n", shows, 1));
    let told = explain(&of_text(&all), &get("https://web.example.com/")).unwrap();
    let shown = set(&target(&told).backends[0].tls, "TLS client certificate");
    assert_eq!(shown, ("default/grpc", "Gateway default/eg", "spec.tls.backend.clientCertificateRef"));
}

#[test]
fn connections_have_their_route_and_its_policy() {
    let gateway =
        GATEWAY.replace("port: 80}\n---", "port: 80}\n  - {name: tcp, protocol: TCP, port: 5432}\n---");
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {name: db, namespace: default}\n\
                 spec:\n  parentRefs: [{name: eg, sectionName: tcp}]\n  rules: [{backendRefs: [{name: shop, port: 80}]}]\n\
                 ---\n";
    let policy = traffic_policy("slow", ("TCPRoute", "db"), "timeout: {tcp: {connectTimeout: 3s}}");
    let told = explain(&of_text(&format!("{gateway}{route}{policy}")), &get("http://db:5432/")).unwrap();
    assert_eq!(told.chain.as_ref().unwrap().protocol, "TCP");
    assert_eq!(told.route.as_ref().unwrap().object, "TCPRoute default/db");
    let (to, slow) = (target(&told), "BackendTrafficPolicy default/slow");
    assert_eq!(set(&to.settings, "time to connect"), ("3s", slow, "spec.timeout.tcp.connectTimeout"));
    assert!(to.settings.iter().all(|setting| setting.name != "protocol"), "{to:#?}");
}

#[test]
fn merged_gateways_are_known_by_their_own_names() {
    let class = "spec:\n  parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: all, namespace: default}\n";
    let one = GATEWAY.replacen(
        "spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}",
        &format!("{class}  controllerName: gateway.envoyproxy.io/gatewayclass-controller"),
        1,
    );
    let other = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: two, namespace: default}\nspec:\n  \
                 gatewayClassName: ferrogate\n  listeners: [{name: http, protocol: HTTP, port: 8080}]\n---\n";
    let proxy = format!(
        "apiVersion: {EG}\nkind: EnvoyProxy\nmetadata: {{name: all, namespace: default}}\nspec: {{mergeGateways: true}}\n---\n"
    );
    let policy = traffic_policy("two", ("Gateway", "two"), "timeout: {http: {requestTimeout: 6s}}");
    let shop = route("shop", "[a.example.com]", TO_SHOP).replace("name: eg}", "name: two}");
    let pipeline = of_text(&format!("{one}{other}{proxy}{policy}{shop}"));
    let mut question = get("http://a.example.com:8080/");
    question.gateway = Some("default/two".to_owned());
    let told = explain(&pipeline, &question).unwrap();
    assert_eq!((&*told.gateway, set(&told.settings, "timeout").0), ("ferrogate", "6s"));
    question.gateway = Some("three".to_owned());
    let refused = explain(&pipeline, &question).unwrap_err().to_string();
    assert!(refused.ends_with("known: default/eg, default/two, ferrogate"), "{refused}");
}
