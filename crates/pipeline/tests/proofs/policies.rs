//! Policies made from choices.

use ir::Kind;
use serde_json::{Value, json};

use crate::objects::{Choices, SECTIONS};

/// A Gateway with a ListenerSet and a policy for each, and one for a listener of the ListenerSet, all merged.
pub(crate) fn chain_of_client_policies() -> Vec<Value> {
    let object = |kind: Kind, name: &str, spec: Value| {
        json!({
            "apiVersion": kind.api_version(), "kind": kind.name(),
            "metadata": {"name": name, "namespace": "default"}, "spec": spec,
        })
    };
    let listener = |name: &str, port: u16| {
        let tls = json!({"certificateRefs": [{"name": "one"}]});
        json!({"name": name, "port": port, "protocol": "HTTPS", "tls": tls})
    };
    let policy = |name: &str, mut target: Value, mut spec: Value| {
        target["group"] = "gateway.networking.k8s.io".into();
        spec["targetRefs"] = json!([target]);
        object(Kind::ClientTrafficPolicy, name, spec)
    };
    // The first choices are a certificate, and authorities that can be used.
    let simplest = |kind| Choices::new(&[]).object(kind);
    let authorities = json!([{"group": "", "kind": "ConfigMap", "name": "one"}]);
    let of_gateway = json!({
        "http1": {"enableTrailers": true},
        "tls": {"clientValidation": {"caCertificateRefs": authorities}},
    });
    let of_set = json!({"mergeType": "StrategicMerge", "healthCheck": {"path": "/up"}});
    let of_listener = json!({"mergeType": "JSONMerge", "path": {"disableMergeSlashes": true}});
    let gateway = json!({
        "gatewayClassName": "one", "allowedListeners": {"namespaces": {"from": "All"}},
        "listeners": [listener("a", 443)],
    });
    let set = json!({"parentRef": {"name": "one"}, "listeners": [listener("a", 80), listener("b", 8080)]});
    vec![
        simplest(Kind::Secret),
        simplest(Kind::ConfigMap),
        object(Kind::Gateway, "one", gateway),
        object(Kind::ListenerSet, "one", set),
        policy("one", json!({"kind": "Gateway", "name": "one"}), of_gateway),
        policy("two", json!({"kind": "ListenerSet", "name": "one"}), of_set),
        policy("three", json!({"kind": "ListenerSet", "name": "one", "sectionName": "a"}), of_listener),
    ]
}

impl Choices<'_> {
    /// What a policy is for: by name, by labels, or both.
    fn targets(&mut self, kinds: &[&str]) -> Value {
        let mut spec = json!({});
        let how = self.pick(4);
        if how < 3 {
            let references: Vec<Value> = (0..1 + self.pick(2)).map(|_| self.target(kinds)).collect();
            spec["targetRefs"] = references.into();
        }
        if how > 1 {
            let mut selector = json!({"kind": self.of(kinds), "matchLabels": {"tier": self.of(&["x", "y"])}});
            self.maybe(&mut selector, "namespaces", |c| match c.pick(3) {
                0 => json!({"from": "All"}),
                1 => json!({"from": "Same"}),
                _ => json!({"from": "Selector", "selector": {"matchLabels": {"team": c.of(&["x", "y"])}}}),
            });
            spec["targetSelectors"] = json!([selector]);
        }
        spec
    }

    fn target(&mut self, kinds: &[&str]) -> Value {
        let kind = self.of(kinds);
        let mut target = json!({"group": "gateway.networking.k8s.io", "kind": kind, "name": self.name()});
        let section = match kind {
            "Gateway" | "ListenerSet" => self.of(&SECTIONS),
            _ => self.of(&["named", "gone"]),
        };
        if self.pick(2) == 1 {
            target["sectionName"] = section.into();
        }
        target
    }

    pub(crate) fn backend_traffic_policy(&mut self) -> Value {
        let mut spec = self.targets(&["HTTPRoute", "Gateway", "TCPRoute"]);
        self.maybe(&mut spec, "mergeType", |c| c.of(&["StrategicMerge", "JSONMerge"]).into());
        self.maybe(&mut spec, "timeout", |c| {
            let mut timeout = json!({});
            c.maybe(&mut timeout, "tcp", |c| json!({"connectTimeout": c.of(&["1s", "2s"])}));
            c.maybe(&mut timeout, "http", |c| json!({"requestTimeout": c.of(&["1s", "2s"])}));
            timeout
        });
        self.maybe(&mut spec, "circuitBreaker", |c| json!({"maxConnections": 1 + c.pick(3)}));
        self.maybe(&mut spec, "loadBalancer", |c| match c.pick(5) {
            0 => json!({"type": "Random"}),
            1 => json!({"type": "RoundRobin", "zoneAware": {"preferLocal": {}}}),
            2 => {
                json!({"type": "LeastRequest", "zoneAware": {"weightedZones": [{"zone": "a", "weight": 2}]}})
            }
            // A table of this size cannot be: the routes that it is for are answered with an error.
            3 => json!({"type": "ConsistentHash", "consistentHash": {"type": "SourceIP", "tableSize": 4}}),
            _ => json!({"type": "ConsistentHash", "consistentHash": {"type": "SourceIP"}}),
        });
        self.maybe(&mut spec, "healthCheck", |c| {
            json!({"active": {
                "type": "HTTP", "http": {"path": "/"}, "overrides": {"port": 8000 + c.pick(2)},
            }})
        });
        self.filters(&mut spec);
        json!({"spec": spec})
    }

    /// What filters of listeners and routes are made of.
    fn filters(&mut self, spec: &mut Value) {
        self.maybe(spec, "routingType", |c| c.of(&["Service", "Endpoint"]).into());
        self.maybe(spec, "faultInjection", |c| json!({"abort": {"httpStatus": 500 + c.pick(2)}}));
        self.maybe(spec, "requestBuffer", |c| json!({"limit": 1 + c.pick(2)}));
        self.maybe(spec, "compressor", |c| {
            let one = |c: &mut Self| match c.pick(3) {
                0 => json!({"type": "Gzip", "gzip": {}, "minContentLength": 10 + c.pick(2)}),
                1 => json!({"type": "Brotli", "brotli": {}}),
                _ => json!({"type": "Zstd"}),
            };
            json!([one(c)])
        });
        self.maybe(spec, "responseOverride", |c| {
            let body = match c.pick(2) {
                0 => json!({"type": "Inline", "inline": c.of(&["x", "y"])}),
                _ => json!({
                    "type": "ValueRef", "valueRef": {"group": "", "kind": "ConfigMap", "name": c.name()},
                }),
            };
            json!([{"match": {"statusCodes": [{"value": 404}]}, "response": {"body": body}}])
        });
        self.maybe(spec, "rateLimit", |c| match c.pick(4) {
            0 => json!({"global": {"rules": [{"limit": {"requests": 1, "unit": "Hour"}}]}}),
            _ => json!({"local": {"rules": [{"limit": {"requests": 1 + c.pick(2), "unit": "Hour"}}]}}),
        });
        self.maybe(
            spec,
            "telemetry",
            |c| json!({"metrics": {"routeStatName": c.of(&["%ROUTE_NAME%", "x", "%NONE%"])}}),
        );
    }

    pub(crate) fn client_traffic_policy(&mut self) -> Value {
        let mut spec = self.targets(&["Gateway", "ListenerSet"]);
        self.maybe(&mut spec, "mergeType", |c| c.of(&["StrategicMerge", "JSONMerge"]).into());
        self.maybe(&mut spec, "timeout", |c| {
            let mut timeout = json!({});
            c.maybe(&mut timeout, "tcp", |c| json!({"idleTimeout": c.of(&["1s", "2s"])}));
            c.maybe(&mut timeout, "http", |c| json!({"streamIdleTimeout": c.of(&["1s", "2s"])}));
            timeout
        });
        self.maybe(&mut spec, "http1", |c| match c.pick(3) {
            0 => json!({"enableTrailers": true}),
            1 => json!({"http10": {"useDefaultHost": true}}),
            _ => json!({"preserveHeaderCase": true, "http10": {}}),
        });
        self.maybe(&mut spec, "http3", |_| json!({}));
        self.maybe(&mut spec, "grpc", |c| json!({"enableWeb": c.pick(2) == 1}));
        self.maybe(&mut spec, "healthCheck", |c| json!({"path": c.of(&["/up", "/live"])}));
        self.maybe(&mut spec, "connection", |c| match c.pick(3) {
            0 => json!({"connectionLimit": {"value": 1 + c.pick(3)}}),
            1 => json!({"bufferLimit": "64Ki"}),
            // No buffer is so large: the routes that it is for are answered with an error.
            _ => json!({"bufferLimit": "8Gi"}),
        });
        self.maybe(&mut spec, "proxyProtocol", |c| json!({"optional": c.pick(2) == 1}));
        self.maybe(&mut spec, "enableProxyProtocol", |c| (c.pick(2) == 1).into());
        self.maybe(&mut spec, "tls", |c| {
            let mut tls = json!({});
            c.maybe(&mut tls, "alpnProtocols", |c| c.list(2, |c| c.of(&["h2", "http/1.1"]).into()).into());
            c.maybe(&mut tls, "minVersion", |c| c.of(&["1.2", "1.3"]).into());
            c.maybe(&mut tls, "maxVersion", |c| c.of(&["1.2", "1.3"]).into());
            c.maybe(&mut tls, "ciphers", |c| json!([c.of(&["ECDHE-RSA-AES128-GCM-SHA256", "none"])]));
            c.maybe(&mut tls, "clientValidation", |c| {
                let mode = c.of(&["Request", "RequireAny", "VerifyIfGiven", "RequireAndVerify"]);
                let mut validation = json!({"mode": mode});
                c.maybe(&mut validation, "caCertificateRefs", |c| json!([c.authority()]));
                c.maybe(&mut validation, "crl", |c| json!({"refs": [c.authority()]}));
                validation
            });
            tls
        });
        json!({"spec": spec})
    }
}
