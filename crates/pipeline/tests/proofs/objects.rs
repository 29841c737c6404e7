//! Objects made from choices: few names, so that references hit, dangle and collide.

use std::sync::LazyLock;

use api::Object;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ir::{Kind, ObjectRef};
use serde_json::{Value, json};

/// Kinds that are made.
pub(crate) const KINDS: [Kind; 21] = [
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::TcpRoute,
    Kind::TlsRoute,
    Kind::UdpRoute,
    Kind::Gateway,
    Kind::ListenerSet,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::ServiceImport,
    Kind::ReferenceGrant,
    Kind::Secret,
    Kind::Backend,
    Kind::GatewayClass,
    Kind::Namespace,
    Kind::ConfigMap,
    Kind::EnvoyProxy,
    Kind::BackendTlsPolicy,
    Kind::ClusterTrustBundle,
    Kind::BackendTrafficPolicy,
    Kind::ClientTrafficPolicy,
];
/// Kinds that say what merged Gateways serve: with fewer kinds, Gateways meet more often.
pub(crate) const MERGING: [Kind; 14] = [
    Kind::Gateway,
    Kind::HttpRoute,
    Kind::GatewayClass,
    Kind::EnvoyProxy,
    Kind::Gateway,
    Kind::ListenerSet,
    Kind::TlsRoute,
    Kind::Secret,
    Kind::Service,
    Kind::Gateway,
    Kind::TcpRoute,
    Kind::BackendTrafficPolicy,
    Kind::Backend,
    Kind::BackendTlsPolicy,
];
/// Kinds that have a say in whose clusters rules share.
pub(crate) const SHARING: [Kind; 18] = [
    Kind::HttpRoute,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::HttpRoute,
    Kind::BackendTrafficPolicy,
    Kind::Gateway,
    Kind::TlsRoute,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::TcpRoute,
    Kind::EnvoyProxy,
    Kind::GrpcRoute,
    Kind::UdpRoute,
    Kind::ClientTrafficPolicy,
    Kind::GatewayClass,
    Kind::Backend,
    Kind::BackendTlsPolicy,
    Kind::ListenerSet,
];
/// Kinds that have a say in how clients are treated: policies of listeners, ListenerSets and Gateways meet.
pub(crate) const CLIENTS: [Kind; 12] = [
    Kind::ClientTrafficPolicy,
    Kind::Gateway,
    Kind::ListenerSet,
    Kind::ClientTrafficPolicy,
    Kind::Secret,
    Kind::HttpRoute,
    Kind::ClientTrafficPolicy,
    Kind::ListenerSet,
    Kind::ConfigMap,
    Kind::ClientTrafficPolicy,
    Kind::ReferenceGrant,
    Kind::Gateway,
];
/// Names of everything.
pub(crate) const NAMES: [&str; 3] = ["one", "two", "three"];
/// Namespaces.
pub(crate) const NAMESPACES: [&str; 2] = ["default", "other"];
/// Names of listeners, and of sections that routes ask for.
pub(crate) const SECTIONS: [&str; 4] = ["a", "b", "c", "gone"];
const PORTS: [u16; 3] = [80, 8080, 443];
const HOSTS: [&str; 6] =
    ["a.example.com", "*.example.com", "b.a.example.com", "*.a.example.com", "example.org", "*.org"];
const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/c"];

/// 2030-01-01: the end of the certificate that ends soon; the others end in 2034.
pub(crate) const EXPIRY: i64 = 1_893_456_000;

/// Certificates with their keys as PEM, made once: for `a.example.com`, for `*.example.com`, and one that ends at
/// [`EXPIRY`].
static CERTIFICATES: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    [("a.example.com", 2034), ("*.example.com", 2034), ("example.org", 2030)]
        .into_iter()
        .map(|(name, end)| {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(end, 1, 1);
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        })
        .collect()
});

/// A TLS Secret with this certificate and this key.
pub(crate) fn tls_secret(namespace: &str, name: &str, certificate: usize, key: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"namespace": namespace, "name": name},
        "data": {
            "tls.crt": STANDARD.encode(&CERTIFICATES[certificate].0),
            "tls.key": STANDARD.encode(&CERTIFICATES[key].1),
        },
    })
}

/// What an object is called.
pub(crate) fn reference(object: &Object) -> ObjectRef {
    let kind = object.kind();
    let kind = Kind::find(kind.group, kind.name).unwrap();
    ObjectRef::new(kind, object.namespace(), object.name())
}

/// A row of choices; when it ends, the first of each is chosen.
pub(crate) struct Choices<'a>(std::slice::Iter<'a, u8>);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Choices(bytes.iter())
    }

    /// A number below `n`.
    pub(crate) fn pick(&mut self, n: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % n
    }

    /// One of several.
    pub(crate) fn of<'b>(&mut self, texts: &[&'b str]) -> &'b str {
        texts[self.pick(texts.len())]
    }

    /// Up to `n` things.
    pub(crate) fn list(&mut self, n: usize, mut one: impl FnMut(&mut Self) -> Value) -> Vec<Value> {
        (0..self.pick(n + 1)).map(|_| one(self)).collect()
    }

    /// Sets a field in about half of all cases.
    pub(crate) fn maybe(&mut self, object: &mut Value, key: &str, value: impl FnOnce(&mut Self) -> Value) {
        if self.pick(2) == 1 {
            object[key] = value(self);
        }
    }

    pub(crate) fn namespace(&mut self) -> &'static str {
        self.of(&NAMESPACES)
    }

    pub(crate) fn name(&mut self) -> &'static str {
        self.of(&NAMES)
    }

    fn metadata(&mut self, kind: Kind) -> Value {
        let mut metadata = json!({
            "name": self.name(),
            "generation": 1 + self.pick(3),
            "creationTimestamp": self.of(&["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"]),
        });
        if kind.namespaced() {
            metadata["namespace"] = self.namespace().into();
        }
        if self.pick(4) == 3 {
            metadata["labels"] = json!({"tier": self.of(&["x", "y"])});
        }
        if self.pick(6) == 5 {
            metadata["annotations"] = json!({
                self.of(&["unread", "gateway.envoyproxy.io/note"]): self.of(&["x", "y"]),
            });
        }
        metadata
    }

    /// A document of this kind.
    pub(crate) fn object(&mut self, kind: Kind) -> Value {
        let mut metadata = self.metadata(kind);
        let body = match kind {
            Kind::GatewayClass => {
                let mut spec = json!({
                    "controllerName": self.of(&[store::DEFAULT_CONTROLLER_NAME, "example.com/other"]),
                });
                self.maybe(&mut spec, "parametersRef", |c| c.parameters(true));
                json!({ "spec": spec })
            }
            Kind::Gateway => {
                if self.pick(3) == 2 {
                    let mode = self.of(&["Serve", "DowngradeALPN", "Serve", "unknown"]);
                    metadata["annotations"] = json!({store::facts::MISDIRECTED_REQUESTS: mode});
                }
                self.gateway()
            }
            Kind::ListenerSet => self.listener_set(),
            Kind::HttpRoute => self.route(Self::rule),
            Kind::GrpcRoute => self.route(Self::call_rule),
            Kind::TcpRoute | Kind::UdpRoute => self.layer4_route(),
            Kind::TlsRoute => {
                let mut route = self.layer4_route();
                route["spec"]["hostnames"] = self.list(3, |c| c.of(&HOSTS).into()).into();
                route
            }
            Kind::ReferenceGrant => self.grant(),
            Kind::Namespace => {
                metadata["name"] = self.namespace().into();
                metadata["labels"] = json!({"team": self.of(&["x", "y"])});
                json!({})
            }
            Kind::Service => self.service(&mut metadata),
            Kind::EndpointSlice => self.slice(&mut metadata),
            Kind::ServiceImport => json!({"spec": {"ports": self.ports()}}),
            Kind::Secret => return self.secret(&metadata),
            Kind::ConfigMap => json!({"data": {self.of(&["ca.crt", "k"]): self.bundle()}}),
            Kind::BackendTlsPolicy => self.backend_tls_policy(),
            Kind::ClusterTrustBundle => json!({"spec": {"trustBundle": self.bundle()}}),
            Kind::Backend => self.backend(),
            Kind::EnvoyProxy => self.envoy_proxy(),
            Kind::BackendTrafficPolicy => self.backend_traffic_policy(),
            Kind::ClientTrafficPolicy => self.client_traffic_policy(),
        };
        let mut document =
            json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": metadata});
        if let (Value::Object(document), Value::Object(body)) = (&mut document, body) {
            document.extend(body);
        }
        document
    }

    /// Authorities in PEM, or something else.
    fn bundle(&mut self) -> String {
        match self.pick(4) {
            3 => self.of(&["v", "w"]).to_owned(),
            certificate => CERTIFICATES[certificate].0.clone(),
        }
    }

    fn backend_tls_policy(&mut self) -> Value {
        let targets: Vec<Value> = (0..1 + self.pick(2))
            .map(|_| {
                let kind = self.of(&["Service", "Service", "Backend"]);
                let group = if kind == "Backend" { Kind::Backend.group() } else { "" };
                let mut target = json!({"group": group, "kind": kind, "name": self.name()});
                if self.pick(3) == 2 {
                    target["sectionName"] = self.of(&["a", "b", "80", "443"]).into();
                }
                target
            })
            .collect();
        let mut validation = json!({"hostname": self.of(&["a.example.com", "b.example.com"])});
        self.trust(&mut validation);
        self.maybe(
            &mut validation,
            "subjectAltNames",
            |c| json!([{"type": "Hostname", "hostname": c.of(&["x.example.com", "y.example.com"])}]),
        );
        json!({"spec": {"targetRefs": targets, "validation": validation}})
    }

    /// Says whom to trust.
    fn trust(&mut self, to: &mut Value) {
        if self.pick(4) == 3 {
            to["wellKnownCACertificates"] = self.of(&["System", "example.com/own"]).into();
            return;
        }
        let references: Vec<Value> = (0..1 + self.pick(2))
            .map(|_| {
                let kind = self.of(&["ConfigMap", "Secret", "ClusterTrustBundle", "ConfigMap", "Pod"]);
                json!({"group": "", "kind": kind, "name": self.name()})
            })
            .collect();
        to["caCertificateRefs"] = references.into();
    }

    /// The proxy's own side of TLS.
    fn client_side(&mut self) -> Value {
        let mut tls = json!({});
        self.maybe(&mut tls, "clientCertificateRef", |c| json!({"name": c.name()}));
        self.maybe(&mut tls, "minVersion", |c| c.of(&["1.2", "1.3"]).into());
        self.maybe(&mut tls, "alpnProtocols", |c| json!([c.of(&["h2", "http/1.1"])]));
        tls
    }

    fn gateway(&mut self) -> Value {
        let listeners: Vec<Value> = (0..1 + self.pick(3)).map(|i| self.listener(SECTIONS[i])).collect();
        let mut spec = json!({"gatewayClassName": self.name(), "listeners": listeners});
        if self.pick(6) == 5 {
            spec["addresses"] = match self.pick(3) {
                0 => json!([{"type": "IPAddress", "value": "127.0.0.2"}]),
                1 => {
                    json!([{"type": "IPAddress", "value": "::1"}, {"type": "IPAddress", "value": "127.0.0.3"}])
                }
                _ => json!([{"type": "example.com/own", "value": "x"}]),
            };
        }
        if self.pick(4) == 3 {
            spec["infrastructure"] = json!({"labels": {"team": self.of(&["x", "y"])}});
            self.maybe(&mut spec["infrastructure"], "parametersRef", |c| c.parameters(false));
        }
        if self.pick(6) == 5 {
            let mut reference = json!({"name": self.name()});
            self.maybe(&mut reference, "namespace", |c| c.namespace().into());
            spec["tls"] = json!({"backend": {"clientCertificateRef": reference}});
        }
        if self.pick(4) == 3 {
            let validation = self.frontend();
            spec["tls"]["frontend"] = json!({"default": validation});
            self.maybe(
                &mut spec["tls"]["frontend"],
                "perPort",
                |c| json!([{"port": PORTS[c.pick(PORTS.len())], "tls": c.frontend()}]),
            );
        }
        self.maybe(&mut spec, "allowedListeners", |c| {
            let mut namespaces = json!({"from": c.of(&["All", "Same", "Selector", "None"])});
            c.maybe(&mut namespaces, "selector", |c| json!({"matchLabels": {"team": c.of(&["x", "y"])}}));
            json!({"namespaces": namespaces})
        });
        json!({"spec": spec})
    }

    /// What a Gateway asks of clients, perhaps nothing.
    fn frontend(&mut self) -> Value {
        let mut tls = json!({});
        self.maybe(&mut tls, "validation", |c| {
            let mode = c.of(&["AllowValidOnly", "AllowValidOnly", "AllowInsecureFallback"]);
            json!({"caCertificateRefs": [c.authority()], "mode": mode})
        });
        tls
    }

    /// A reference to authorities, or to something else.
    pub(crate) fn authority(&mut self) -> Value {
        let kind = self.of(&["ConfigMap", "ConfigMap", "Secret", "Service"]);
        let mut reference = json!({"group": "", "kind": kind, "name": self.name()});
        self.maybe(&mut reference, "namespace", |c| c.namespace().into());
        reference
    }

    fn listener_set(&mut self) -> Value {
        let mut parent = json!({"name": self.name()});
        self.maybe(&mut parent, "namespace", |c| c.namespace().into());
        if self.pick(12) == 11 {
            parent["kind"] = "Other".into();
        }
        let listeners: Vec<Value> = (0..1 + self.pick(3)).map(|i| self.listener(SECTIONS[i])).collect();
        json!({"spec": {"parentRef": parent, "listeners": listeners}})
    }

    /// A reference to an EnvoyProxy, or to something else.
    fn parameters(&mut self, namespaced: bool) -> Value {
        let kind = self.of(&["EnvoyProxy", "EnvoyProxy", "Other"]);
        let mut reference = json!({"group": "gateway.envoyproxy.io", "kind": kind, "name": self.name()});
        if namespaced {
            reference["namespace"] = self.namespace().into();
        }
        reference
    }

    /// Where logs, traces or metrics go, and what is counted.
    fn telemetry(&mut self) -> Value {
        let mut telemetry = json!({});
        self.maybe(&mut telemetry, "accessLog", |c| {
            let matches = [c.of(&["true", "response.code >= 400", "true &&"])];
            let mut sink = json!({"type": "OpenTelemetry", "openTelemetry": c.collector()});
            if c.pick(3) == 0 {
                sink = json!({"type": "File", "file": {"path": "/dev/stdout"}});
            }
            let mut setting = json!({"sinks": [sink]});
            c.maybe(&mut setting, "matches", |_| json!(matches));
            c.maybe(&mut setting, "type", |c| c.of(&["Listener", "Route", "Upstream"]).into());
            json!({"settings": [setting]})
        });
        self.maybe(&mut telemetry, "tracing", |c| {
            let mut provider = c.collector();
            provider["type"] = c.of(&["OpenTelemetry", "Zipkin", "Datadog"]).into();
            json!({"provider": provider, "samplingRate": c.pick(100)})
        });
        self.maybe(&mut telemetry, "metrics", |c| {
            let mut metrics = json!({});
            c.maybe(
                &mut metrics,
                "sinks",
                |c| json!([{"type": "OpenTelemetry", "openTelemetry": c.collector()}]),
            );
            c.maybe(&mut metrics, "enableVirtualHostStats", |c| (c.pick(2) == 1).into());
            c.maybe(&mut metrics, "enablePerEndpointStats", |c| (c.pick(2) == 1).into());
            c.maybe(&mut metrics, "enableGRPCStats", |c| (c.pick(2) == 1).into());
            c.maybe(&mut metrics, "clusterStatName", |c| {
                c.of(&["%ROUTE_NAME%/%BACKEND_REFS%", "%ROUTE_RULE_NUMBER%", "%NONE%"]).into()
            });
            metrics
        });
        telemetry
    }

    /// A collector by reference, or by host.
    fn collector(&mut self) -> Value {
        if self.pick(4) == 0 {
            return json!({"host": self.of(&["otel.example.com", "10.9.9.9"]), "port": 4317});
        }
        let mut backend = json!({"name": self.name(), "port": 80, "namespace": self.namespace()});
        if self.pick(3) == 0 {
            backend = json!({
                "group": "gateway.envoyproxy.io", "kind": "Backend",
                "name": self.name(), "namespace": self.namespace(),
            });
        }
        json!({"backendRefs": [backend]})
    }

    fn envoy_proxy(&mut self) -> Value {
        let mut spec = json!({});
        self.maybe(&mut spec, "mergeType", |c| c.of(&["StrategicMerge", "JSONMerge"]).into());
        self.maybe(&mut spec, "concurrency", |c| (1 + c.pick(2)).into());
        self.maybe(&mut spec, "mergeGateways", |c| (c.pick(3) > 0).into());
        self.maybe(&mut spec, "preserveRouteOrder", |c| (c.pick(3) > 0).into());
        self.maybe(&mut spec, "mergeBackends", |c| match c.pick(3) {
            0 => json!({"selector": {"matchLabels": {"tier": c.of(&["x", "y"])}}}),
            _ => json!({}),
        });
        self.maybe(&mut spec, "backendTLS", Self::client_side);
        self.maybe(&mut spec, "provider", |c| {
            json!({"type": "Kubernetes", "kubernetes": {
                "envoyDeployment": {"replicas": 1 + c.pick(3)},
                "envoyService": {"type": c.of(&["ClusterIP", "LoadBalancer", "NodePort"])},
            }})
        });
        self.maybe(&mut spec, "telemetry", Self::telemetry);
        json!({"spec": spec})
    }

    fn listener(&mut self, name: &str) -> Value {
        let protocol =
            self.of(&["HTTP", "HTTPS", "HTTP", "HTTPS", "TCP", "UDP", "TLS", "TLS", "TLS", "x.com/own"]);
        let mut listener = json!({"name": name, "port": PORTS[self.pick(3)], "protocol": protocol});
        if matches!(protocol, "HTTP" | "HTTPS" | "TLS") {
            self.maybe(&mut listener, "hostname", |c| c.of(&HOSTS).into());
        }
        if matches!(protocol, "HTTPS" | "TLS") {
            let references: Vec<Value> = (0..1 + self.pick(2))
                .map(|_| {
                    let mut reference = json!({"name": self.name()});
                    self.maybe(&mut reference, "namespace", |c| c.namespace().into());
                    reference
                })
                .collect();
            listener["tls"] = json!({
                "mode": if self.pick(8) == 7 { "Passthrough" } else { "Terminate" },
                "certificateRefs": references,
            });
            if protocol == "TLS" && self.pick(2) == 1 {
                listener["tls"] = json!({"mode": "Passthrough"});
            }
        }
        match self.pick(5) {
            0 | 1 => listener["allowedRoutes"] = json!({"namespaces": {"from": "All"}}),
            2 => {
                listener["allowedRoutes"] = json!({"namespaces": {
                    "from": "Selector", "selector": {"matchLabels": {"team": self.of(&["x", "y"])}},
                }});
            }
            3 => {
                let kind = self.of(&["HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute"]);
                listener["allowedRoutes"] = json!({"kinds": [{"kind": kind}]});
            }
            _ => {}
        }
        listener
    }

    fn route(&mut self, rule: fn(&mut Self) -> Value) -> Value {
        let parents: Vec<Value> = (0..1 + self.pick(2)).map(|_| self.parent()).collect();
        let hostnames = self.list(3, |c| c.of(&HOSTS).into());
        let rules: Vec<Value> = (0..1 + self.pick(2)).map(|_| rule(self)).collect();
        json!({"spec": {"parentRefs": parents, "hostnames": hostnames, "rules": rules}})
    }

    /// Several rules stand for an object that was written in an older version.
    fn layer4_route(&mut self) -> Value {
        let parents: Vec<Value> = (0..1 + self.pick(2)).map(|_| self.parent()).collect();
        let rules: Vec<Value> = (0..1 + self.pick(8) / 7)
            .map(|_| {
                let mut rule = json!({"backendRefs": self.list(3, Self::layer4_backend)});
                self.maybe(&mut rule, "name", |c| c.of(&SECTIONS).into());
                rule
            })
            .collect();
        json!({"spec": {"parentRefs": parents, "rules": rules}})
    }

    fn layer4_backend(&mut self) -> Value {
        let mut backend = self.backend_reference();
        if self.pick(3) == 2 {
            backend["weight"] = self.pick(3).into();
        }
        backend
    }

    fn parent(&mut self) -> Value {
        let mut parent = json!({"name": self.name()});
        self.maybe(&mut parent, "namespace", |c| c.namespace().into());
        if self.pick(4) == 3 {
            parent["sectionName"] = self.of(&SECTIONS).into();
        }
        if self.pick(6) == 5 {
            parent["port"] = PORTS[self.pick(3)].into();
        }
        match self.pick(16) {
            15 => {
                parent["kind"] = "Service".into();
                parent["group"] = "".into();
            }
            10..15 => parent["kind"] = "ListenerSet".into(),
            _ => {}
        }
        parent
    }

    fn rule(&mut self) -> Value {
        let matches = self.list(2, Self::path_match);
        let mut rule = json!({"backendRefs": self.list(3, Self::weighted_backend)});
        if !matches.is_empty() {
            rule["matches"] = matches.into();
        }
        self.maybe(&mut rule, "filters", |c| c.list(2, Self::filter).into());
        if self.pick(4) == 3 {
            rule["timeouts"] = json!({"request": self.of(&["0s", "10s"]), "backendRequest": "1s"});
            rule["retry"] = json!({"attempts": self.pick(3), "codes": [503]});
        }
        if self.pick(6) == 5 {
            rule["sessionPersistence"] = json!({"sessionName": "s", "type": self.of(&["Cookie", "Header"])});
        }
        if self.pick(6) == 5 {
            rule["name"] = "named".into();
        }
        rule
    }

    /// A rule of a GRPCRoute. Its paths are those that HTTPRoutes match, too.
    fn call_rule(&mut self) -> Value {
        let mut rule = json!({"backendRefs": self.list(3, |c| {
            let mut backend = c.weighted_backend();
            if backend["filters"].is_array() {
                backend["filters"] = json!([c.call_filter()]);
            }
            backend
        })});
        let matches = self.list(2, Self::call_match);
        if !matches.is_empty() {
            rule["matches"] = matches.into();
        }
        self.maybe(&mut rule, "filters", |c| c.list(2, Self::call_filter).into());
        if self.pick(6) == 5 {
            rule["sessionPersistence"] = json!({"sessionName": "s", "type": self.of(&["Cookie", "Header"])});
        }
        if self.pick(6) == 5 {
            rule["name"] = "named".into();
        }
        rule
    }

    fn call_match(&mut self) -> Value {
        let mut matched = json!({});
        self.maybe(&mut matched, "method", |c| match c.pick(5) {
            0 => json!({"service": c.of(&["a", "c"])}),
            1 => json!({"method": c.of(&["b", "c"])}),
            2 => json!({"service": "a", "method": c.of(&["b", "c"])}),
            3 => json!({"type": "RegularExpression", "service": c.of(&["a.*", "a|b", "("])}),
            _ => json!({"type": "RegularExpression", "method": c.of(&["b+", ""])}),
        });
        if self.pick(4) == 3 {
            matched["headers"] =
                json!([{"name": "v", "type": self.of(&["Exact", "RegularExpression"]), "value": "1"}]);
        }
        matched
    }

    fn call_filter(&mut self) -> Value {
        // It ends: when the choices do, the first kind of filter is made, which both kinds of routes have.
        loop {
            let filter = self.filter();
            let kind = filter["type"].as_str().unwrap_or_default();
            if kind.ends_with("HeaderModifier") || matches!(kind, "RequestMirror" | "ExtensionRef") {
                return filter;
            }
        }
    }

    fn path_match(&mut self) -> Value {
        let mut matched = json!({"path": match self.pick(4) {
            0 | 1 => json!({"type": "PathPrefix", "value": self.of(&PATHS)}),
            2 => json!({"type": "Exact", "value": self.of(&PATHS)}),
            _ => json!({"type": "RegularExpression", "value": self.of(&["/a.*", "/(", "/b+"])}),
        }});
        if self.pick(4) == 3 {
            matched["method"] = self.of(&["GET", "POST"]).into();
        }
        if self.pick(4) == 3 {
            matched["headers"] =
                json!([{"name": "v", "type": self.of(&["Exact", "RegularExpression"]), "value": "1"}]);
        }
        if self.pick(4) == 3 {
            matched["queryParams"] = json!([{"name": "q", "value": "1"}]);
        }
        matched
    }

    fn backend_reference(&mut self) -> Value {
        let mut reference = json!({"name": self.name(), "port": PORTS[self.pick(3)]});
        match self.pick(10) {
            8 | 9 => {
                reference["group"] = Kind::ServiceImport.group().into();
                reference["kind"] = "ServiceImport".into();
            }
            6 => {
                reference["group"] = Kind::Backend.group().into();
                reference["kind"] = "Backend".into();
            }
            7 => reference["kind"] = "Pod".into(),
            _ => {}
        }
        if self.pick(4) == 3 {
            reference["namespace"] = self.namespace().into();
        }
        reference
    }

    fn weighted_backend(&mut self) -> Value {
        let mut backend = self.backend_reference();
        if self.pick(3) == 2 {
            backend["weight"] = self.pick(3).into();
        }
        if self.pick(6) == 5 {
            backend["filters"] = json!([self.filter()]);
        }
        backend
    }

    fn filter(&mut self) -> Value {
        let headers = |c: &mut Self| {
            json!({
                "set": [{"name": c.of(&["x-a", "x-b", "host"]), "value": "1"}], "remove": ["x-c"],
            })
        };
        match self.pick(8) {
            0 => json!({"type": "RequestHeaderModifier", "requestHeaderModifier": headers(self)}),
            1 => json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": headers(self)}),
            2 | 3 => {
                let mut mirror = json!({"backendRef": self.backend_reference()});
                self.maybe(&mut mirror, "percent", |c| (c.pick(3) * 50).into());
                json!({"type": "RequestMirror", "requestMirror": mirror})
            }
            4 => json!({"type": "RequestRedirect", "requestRedirect": {
                "scheme": self.of(&["http", "https"]), "statusCode": 301,
            }}),
            5 => json!({"type": "URLRewrite", "urlRewrite": {
                "hostname": "inner.example.com",
                "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": self.of(&["/", "/x"])},
            }}),
            6 => json!({"type": "CORS", "cors": {"allowOrigins": [self.of(&["https://x.com", "*"])]}}),
            _ => json!({"type": "ExtensionRef", "extensionRef": {
                "group": Kind::Backend.group(), "kind": "HTTPRouteFilter", "name": self.name(),
            }}),
        }
    }

    fn grant(&mut self) -> Value {
        let kinds = ["GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute", "UDPRoute", "Gateway", "ListenerSet"];
        let kind = self.of(&kinds);
        let from = json!({"group": Kind::Gateway.group(), "kind": kind, "namespace": self.namespace()});
        let mut to = match self.pick(4) {
            2 => json!({"group": Kind::ServiceImport.group(), "kind": "ServiceImport"}),
            0 => json!({"group": "", "kind": "Service"}),
            1 => json!({"group": "", "kind": "Secret"}),
            _ => json!({"group": Kind::Backend.group(), "kind": "Backend"}),
        };
        self.maybe(&mut to, "name", |c| c.name().into());
        json!({"spec": {"from": [from], "to": [to]}})
    }

    fn service(&mut self, metadata: &mut Value) -> Value {
        let ports = self.ports();
        match self.pick(8) {
            7 => {
                metadata["labels"] = json!({
                    "gateway.envoyproxy.io/owning-gateway-namespace": self.namespace(),
                    "gateway.envoyproxy.io/owning-gateway-name": self.name(),
                });
            }
            6 => metadata["labels"] = json!({"gateway.envoyproxy.io/owning-gatewayclass": self.name()}),
            _ => {}
        }
        let mut spec = json!({"ports": ports});
        match self.pick(8) {
            4 => spec["clusterIP"] = self.of(&["10.96.0.1", "10.96.0.2"]).into(),
            5 => spec["clusterIP"] = "None".into(),
            6 => {
                spec["type"] = "ExternalName".into();
                spec["externalName"] = self.of(&["example.com", "example.org"]).into();
            }
            7 => spec["trafficDistribution"] = "PreferClose".into(),
            _ => {}
        }
        json!({"spec": spec})
    }

    fn ports(&mut self) -> Vec<Value> {
        (0..1 + self.pick(3))
            .map(|i| {
                let protocol = self.of(&["TCP", "TCP", "UDP"]);
                let mut port = json!({"name": SECTIONS[i], "port": PORTS[i], "protocol": protocol});
                if self.pick(4) == 3 {
                    let known =
                        ["kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss", "grpc", "unknown"];
                    port["appProtocol"] = self.of(&known).into();
                }
                port
            })
            .collect()
    }

    fn slice(&mut self, metadata: &mut Value) -> Value {
        if self.pick(8) != 7 {
            metadata["labels"] = json!({"kubernetes.io/service-name": self.name()});
            self.maybe(&mut metadata["labels"], "multicluster.kubernetes.io/service-name", |c| {
                c.name().into()
            });
        }
        let kind = self.of(&["IPv4", "IPv4", "IPv6", "FQDN"]);
        let addresses: &[&str] = match kind {
            "IPv4" => &["10.0.0.1", "10.0.0.2", "10.0.0.3"],
            "IPv6" => &["fd00::1", "fd00::2"],
            _ => &["x.example.com", "y.example.com"],
        };
        let endpoints = self.list(3, |c| {
            let mut endpoint = json!({"addresses": [c.of(addresses)]});
            c.maybe(&mut endpoint, "conditions", |c| {
                json!({
                    "ready": c.pick(2) == 0, "serving": c.pick(2) == 0, "terminating": c.pick(2) == 1,
                })
            });
            c.maybe(&mut endpoint, "zone", |c| c.of(&["z1", "z2"]).into());
            endpoint
        });
        let ports: Vec<Value> = (0..1 + self.pick(3))
            .map(|i| {
                json!({
                    "name": SECTIONS[i], "port": 9000 + self.pick(2),
                    "protocol": self.of(&["TCP", "TCP", "UDP"]),
                })
            })
            .collect();
        json!({"addressType": kind, "ports": ports, "endpoints": endpoints})
    }

    fn secret(&mut self, metadata: &Value) -> Value {
        let certificate = self.pick(CERTIFICATES.len());
        let mut secret = tls_secret("", "", certificate, certificate);
        match self.pick(6) {
            4 => secret = tls_secret("", "", certificate, (certificate + 1) % CERTIFICATES.len()),
            5 => secret["type"] = "Opaque".into(),
            _ => {}
        }
        secret["metadata"] = metadata.clone();
        secret
    }

    fn backend(&mut self) -> Value {
        let port = PORTS[self.pick(3)];
        let mut spec = match self.pick(5) {
            0 => {
                json!({"endpoints": [{"ip": {"address": self.of(&["10.1.0.1", "127.0.0.1"]), "port": port}}]})
            }
            1 | 2 => {
                json!({"endpoints": [{"fqdn": {"hostname": self.of(&["x.example.com", "local"]), "port": port}}]})
            }
            3 => json!({"endpoints": [{"unix": {"path": "/run/x.sock"}}]}),
            _ => json!({"type": "DynamicResolver"}),
        };
        if self.pick(4) == 3 {
            spec["appProtocols"] =
                json!([self.of(&["gateway.envoyproxy.io/h2c", "gateway.envoyproxy.io/ws"])]);
        }
        if self.pick(4) == 3 {
            spec["fallback"] = true.into();
        }
        if self.pick(4) == 3 {
            let mut tls = self.client_side();
            match self.pick(4) {
                0 => {}
                1 => tls["insecureSkipVerify"] = true.into(),
                _ => self.trust(&mut tls),
            }
            if self.pick(3) == 2 {
                tls["sni"] = "sni.example.com".into();
            }
            spec["tls"] = tls;
        }
        json!({"spec": spec})
    }
}
