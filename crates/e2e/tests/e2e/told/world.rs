//! What stays the same through all rounds: backends of every kind, listeners, policies, and ways in.

use std::collections::BTreeMap;

use e2e::{Authority, Backends, Certificate, Client, TlsBackend, free_port, manifest as m};

use super::mirrored::Mirrors;
use crate::listener_sets;

pub(super) const BACKENDS: [&str; 4] = ["a", "b", "c", "d"];
pub(super) const MIRRORS: [&str; 2] = ["m1", "m2"];
/// A Service without endpoints, and a Backend that is not there.
pub(super) const EMPTY: &str = "empty";
pub(super) const MISSING: &str = "missing";
/// The ListenerSet.
pub(super) const SET: &str = "set";

/// Policies by the names of the routes that they are for. Each is for a route that stays, too, so that the filters of the
/// listeners stay as they are.
const POLICIES: [(&str, &str); 6] = [
    ("r1", "faultInjection: {abort: {httpStatus: 555, percentage: 50}}\n"),
    (
        "r2",
        "responseOverride:\n- match: {statusCodes: [{type: Value, value: 500}]}\n  response: {statusCode: 418, body: \
         {inline: none}}\n- match: {statusCodes: [{type: Range, range: {start: 502, end: 504}}]}\n  response: \
         {statusCode: 419, body: {inline: later}}\n",
    ),
    ("r3", "requestBuffer: {limit: '10'}\n"),
    (
        "r4",
        "useClientProtocol: true\nloadBalancer: {type: RoundRobin}\nretry: {numRetries: 2}\ntimeout: {http: \
         {requestTimeout: 11s}}\n",
    ),
    ("r5", "rateLimit: {local: {rules: [{limit: {requests: 2, unit: Hour}}]}}\n"),
    ("r6", "mergeType: StrategicMerge\nfaultInjection: {abort: {httpStatus: 556}}\n"),
];

/// Where requests go in, and with which server name and protocol.
pub(super) struct Way {
    pub(super) port: u16,
    pub(super) name: Option<&'static str>,
    pub(super) protocol: &'static str,
}

impl Way {
    /// A connection; none where there is none yet.
    pub(super) async fn connect(&self) -> Option<Client> {
        match (self.name, self.protocol) {
            (Some(name), "h3") => Some(Client::http3(self.port, name).await?.0),
            (Some(name), protocol) => Some(Client::tls(self.port, name, protocol).await?.0),
            (None, "h2") => Some(Client::h2c(self.port).await),
            (None, _) => Client::try_http1(self.port).await,
        }
    }
}

/// All of it.
pub(super) struct World {
    pub(super) manifest: String,
    pub(super) ways: Vec<Way>,
    /// Ways that come to different listeners, each with a host that is theirs.
    pub(super) markers: [(usize, &'static str); 6],
    /// Names of backends and mirrors by address.
    pub(super) names: BTreeMap<String, &'static str>,
    pub(super) mirrors: Mirrors,
    _backends: Backends,
    _tls: [TlsBackend; 3],
}

impl World {
    pub(super) async fn start() -> World {
        let backends = Backends::start(&[&BACKENDS[..], &["http2"]].concat()).await;
        let mirrors = Mirrors::start(&MIRRORS).await;
        let authority = Authority::new("backends");
        let speaking = async |name: &str| {
            TlsBackend::start(name, &authority.issue(&[&format!("{name}.test")]), None).await
        };
        let tls = [speaking("tls").await, speaking("of-backend").await, speaking("unverified").await];
        let address = |port: u16| format!("127.0.0.1:{port}");
        let mut names: BTreeMap<String, &'static str> = BTreeMap::new();
        names.extend(BACKENDS.iter().chain(&["http2"]).map(|name| (address(backends.port(name)), *name)));
        names.extend(MIRRORS.iter().map(|name| (address(mirrors.port(name)), *name)));
        names.extend(tls.iter().map(|backend| address(backend.port)).zip([
            "tls",
            "of-backend",
            "unverified",
        ]));
        let [http, https, own] = [free_port(), free_port(), free_port()];
        World {
            manifest: objects(&backends, &mirrors, (&tls, &authority))
                + &listeners([http, https, own])
                + &policies(),
            ways: ways([http, https, own]),
            markers: [
                (0, "x.a.test"),
                (2, "x.a.test"),
                (3, "m.a.test"),
                (5, "marker.org"),
                (7, "marker.org"),
                (8, "s.set.test"),
            ],
            names,
            mirrors,
            _backends: backends,
            _tls: tls,
        }
    }
}

fn ways([http, https, own]: [u16; 3]) -> Vec<Way> {
    let way = |port, name, protocol| Way { port, name, protocol };
    let mut ways = vec![
        way(http, None, "http/1.1"),
        way(http, None, "h2"),
        way(https, Some("x.a.test"), "h2"),
        way(https, Some("y.a.test"), "h2"),
        way(https, Some("y.a.test"), "http/1.1"),
        way(https, Some("other.org"), "h2"),
        way(https, Some("other.org"), "http/1.1"),
        way(own, None, "http/1.1"),
        way(https, Some("s.set.test"), "h2"),
    ];
    let names = ["x.a.test", "y.a.test", "other.org", "s.set.test"];
    ways.extend(names.map(|name| way(https, Some(name), "h3")));
    ways
}

fn objects(
    backends: &Backends,
    mirrors: &Mirrors,
    (tls, authority): (&[TlsBackend; 3], &Authority),
) -> String {
    let trusting = "caCertificateRefs:\n- {group: \"\", kind: ConfigMap, name: ca}\nhostname: tls.test\n";
    let with_tls = |name: &str, port: u16, settings: &str| {
        m::backend(name, port).replacen("spec:\n", &format!("spec:\n  tls: {{{settings}}}\n"), 1)
    };
    let plain: String = BACKENDS.iter().map(|name| m::backend(name, backends.port(name))).collect();
    plain
        + &MIRRORS.iter().map(|name| m::backend(name, mirrors.port(name))).collect::<String>()
        + &m::backend_speaking("http2", backends.port("http2"), "gateway.envoyproxy.io/h2c")
        + &m::service(EMPTY)
        + &m::service("tls")
        + &m::slice("tls", "tls-1", tls[0].port, "ready: true")
        + &m::authorities("ca", &authority.certificate)
        + &m::backend_tls_policy("tls", trusting)
        + &with_tls(
            "of-backend",
            tls[1].port,
            "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}], sni: of-backend.test, minVersion: '1.3'",
        )
        + &with_tls("unverified", tls[2].port, "insecureSkipVerify: true")
}

fn listeners([http, https, own]: [u16; 3]) -> String {
    let listeners = m::http("http", http)
        + &m::https("any", https, "", &["cert"])
        + &m::https("wild", https, "*.a.test", &["cert"])
        + &m::https("exact", https, "x.a.test", &["cert"]);
    let of_set = m::http("own", own) + &m::https("s", https, "s.set.test", &["cert"]);
    let parameters =
        "  infrastructure:\n    parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: eg}\n";
    let sets = "  allowedListeners: {namespaces: {from: Same}}\n";
    Certificate::new(&["*.a.test", "*.org", "x.a.test", "s.set.test"]).secret("cert")
        + &m::gateway("eg", &listeners).replacen("spec:\n", &format!("spec:\n{parameters}{sets}"), 1)
        + &m::listener_set(SET, "eg", &of_set)
        + &m::client_policy("clients", "eg", "", "http3: {}\nhealthCheck: {path: /health}\n")
}

fn policies() -> String {
    let of_gateway =
        m::backend_traffic_policy("all", ("Gateway", "eg"), "timeout: {http: {requestTimeout: 12s}}\n");
    // Paths that no request has, on every listener.
    let kept = |name: &str, rule: &str| {
        m::route(&format!("keep-{name}"), "eg", &[], rule)
            + &listener_sets::route(&format!("keep-{name}-of-set"), SET, &[], rule)
    };
    let policies = POLICIES.iter().map(|(name, says)| {
        let more: String = ["", "-of-set"]
            .iter()
            .map(|end| {
                format!("  - {{group: gateway.networking.k8s.io, kind: HTTPRoute, name: keep-{name}{end}}}\n")
            })
            .collect();
        let policy = m::backend_traffic_policy(name, ("HTTPRoute", name), says);
        let policy = policy.replacen(&format!("    name: {name}\n"), &format!("    name: {name}\n{more}"), 1);
        policy + &kept(name, &m::prefix_to(&format!("/keep-{name}"), "a"))
    });
    // A rule with CORS needs a filter as well.
    let cors = m::prefix_to("/keep-cors", "a")
        + "  filters:\n  - {type: CORS, cors: {allowOrigins: ['https://good.test']}}\n";
    of_gateway + &policies.collect::<String>() + &kept("cors", &cors)
}
