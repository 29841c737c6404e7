//! Every feature at once, read by Envoy itself, where `make tools` has installed it.

use std::collections::BTreeSet;
use std::{fs, path::Path, process::Command, time::Duration};

use bytes::Bytes;
use ir::{
    Kind, ObjectRef, SecretBytes,
    cluster::{Address, Cluster, Discovery, Protocol, Zones},
    listener::{FilterChain, HttpFilter, Listener, Network, TcpTarget, Transport},
    route::{
        Action, Cors, Forward, HeaderMutations, HeaderValue, Mirror, PathMatch, PathRewrite, Redirect,
        RedirectPort, Retry, RouteMatch, Rule, SessionCarrier, SessionPersistence, StringMatch, Target,
        ValueMatch, WeightedCluster,
    },
    secret::TlsCertificate,
};
use serde_json::{Value, json};

use super::{
    CLUSTER, HOST, LISTENER, ROUTES, SECRET,
    cluster::{eds, endpoint, locality},
    downstream, forward, forwarding,
    listener::{chain, http, https, on_port},
    on, prefix, rule, text, to_json, virtual_host,
};
use crate::encode;

fn filters() -> BTreeSet<HttpFilter> {
    [
        HttpFilter::Cors,
        HttpFilter::SessionPersistence,
        HttpFilter::LoopbackGuard,
        HttpFilter::GrpcWeb,
        HttpFilter::GrpcStatistics,
    ]
    .into()
}

/// A route configuration with these routes in one host.
fn routes(routes: &[(Rule, RouteMatch)]) -> Value {
    let mut fields = Vec::new();
    for (rule, matched) in routes {
        fields.extend(encode::cors_preflight_field(rule, matched, HOST));
        fields.push(encode::route_field(rule, None, matched, HOST, 8080, false));
    }
    let mut body = encode::route_configuration_head("routes");
    body.extend(encode::virtual_host_field(&virtual_host(), &fields));
    to_json(ROUTES, &body)
}

/// A listener whose routes stand in it, so that Envoy reads them without a server.
fn with_routes(mut configuration: Value) -> Value {
    // As it is by default for routes that come by RDS: the stand-in for invalid backends is no cluster.
    configuration["validateClusters"] = json!(false);
    let chain = chain("inline", http("inline", "inline", filters()));
    let mut listener = to_json(LISTENER, &encode::listener(&on_port("inline", 0, Vec::new(), Some(chain))));
    let manager = &mut listener["defaultFilterChain"]["filters"][0]["typedConfig"];
    let manager = manager.as_object_mut().unwrap();
    manager.remove("rds");
    manager.insert("routeConfig".to_owned(), configuration);
    listener
}

/// What Envoy says to a configuration with these static resources; `None` when Envoy is not installed.
fn verdict(listeners: &[Value], clusters: &[Value], secrets: &[Value]) -> Option<Result<(), String>> {
    let envoy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/envoy/1.40.0/envoy");
    if !envoy.is_file() {
        println!("skipped: no Envoy; `make tools` installs it");
        return None;
    }
    let mut clusters = clusters.to_vec();
    clusters.push(json!({"name": "xds_cluster", "typedExtensionProtocolOptions": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicitHttpConfig": {"http2ProtocolOptions": {}},
        },
    }}));
    let bootstrap = json!({
        "node": {"id": "test", "cluster": "test"},
        "dynamicResources": {"adsConfig": {
            "apiType": "DELTA_GRPC", "transportApiVersion": "V3",
            "grpcServices": [{"envoyGrpc": {"clusterName": "xds_cluster"}}],
        }},
        "staticResources": {"listeners": listeners, "clusters": clusters, "secrets": secrets},
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bootstrap.json");
    fs::write(&file, bootstrap.to_string()).unwrap();
    let mut command = Command::new(envoy);
    let output = command.args(["--mode", "validate", "-l", "error", "-c"]).arg(&file).output().unwrap();
    Some(if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    })
}

fn full_forward() -> Forward {
    let mutations = HeaderMutations {
        add: [
            HeaderValue { name: text("x-a"), value: text("100%"), append: true },
            HeaderValue { name: text("x-b"), value: text("%PROTOCOL% %REQ(x):3% %20"), append: false },
        ]
        .into(),
        remove: [text("x-c")].into(),
    };
    let clusters = ["a", "b", ir::cluster::INVALID_BACKEND_CLUSTER].map(|name| WeightedCluster {
        name: text(name),
        weight: 1,
        request_headers: mutations.clone(),
        response_headers: mutations.clone(),
        host_rewrite: Some(text("internal")),
    });
    Forward {
        target: Target::Weighted { clusters: clusters.into(), missing_status: Some(500) },
        path_rewrite: Some(PathRewrite::Full(text(r"/a\b"))),
        mirrors: [Mirror { cluster: text("a"), numerator: Some(1), denominator: 3 }].into(),
        timeout: Some(Duration::ZERO),
        retry: Some(Retry {
            attempts: Some(0),
            codes: Some([].into()),
            backoff: Some(Duration::ZERO),
            per_try_timeout: Some(Duration::from_secs(1)),
        }),
        session: Some(SessionPersistence {
            name: text("s"),
            carrier: SessionCarrier::Cookie { ttl: Some(Duration::from_secs(60)) },
        }),
        ..forward()
    }
}

fn all_routes() -> Vec<(Rule, RouteMatch)> {
    let cors = Cors {
        allow_origins: [text("https://*.example.com"), text("*")].into(),
        allow_methods: [text("*")].into(),
        allow_headers: [text("x-a")].into(),
        expose_headers: [].into(),
        max_age: Some(5),
        allow_credentials: true,
    };
    let values = |value: StringMatch| -> Box<[ValueMatch]> { [ValueMatch { name: text("v"), value }].into() };
    let everything = RouteMatch {
        method: Some(text("GET")),
        headers: values(StringMatch::Regex(text("a|b"))),
        query: values(StringMatch::Exact(text("1"))),
        ..prefix("/all")
    };
    let cookies =
        RouteMatch { cookies: values(StringMatch::Exact(text("1"))), ..on(PathMatch::Exact(text("/c"))) };
    let by_prefix = |replacement: &str| Forward {
        path_rewrite: Some(PathRewrite::Prefix(text(replacement))),
        host_rewrite: Some(text("internal")),
        session: Some(SessionPersistence { name: text("s"), carrier: SessionCarrier::Header }),
        ..forward()
    };
    let redirect = |path: Option<PathRewrite>, port| {
        let scheme = Some(text("https"));
        rule(Action::Redirect(Redirect { scheme, hostname: Some(text("h")), path, port, status: 307 }))
    };
    vec![
        (Rule { cors: Some(cors.clone()), ..forwarding(full_forward()) }, everything.clone()),
        (forwarding(full_forward()), cookies),
        (forwarding(by_prefix("/")), prefix("/v1.0/")),
        (forwarding(by_prefix("/x/")), prefix("/")),
        (forwarding(by_prefix("")), prefix("/")),
        (forwarding(forward()), on(PathMatch::Regex(text("/v[0-9]+/.*")))),
        (Rule { cors: Some(cors), ..redirect(None, RedirectPort::OfListener) }, everything),
        (redirect(Some(PathRewrite::Full(text("/gone"))), RedirectPort::Given(8443)), prefix("/r1")),
        (redirect(Some(PathRewrite::Prefix(text("/"))), RedirectPort::OfScheme), prefix("/r2")),
        (redirect(Some(PathRewrite::Prefix(text("/n"))), RedirectPort::OfScheme), prefix("/")),
        (rule(Action::Direct { status: 500 }), prefix("/d")),
    ]
}

fn all_listeners() -> Vec<Value> {
    let tcp = |target| Network::Tcp { target, stat_prefix: text("tcp"), by_source: false };
    let partly = TcpTarget::Partly { cluster: text("a"), weight: 3, refused: 1 };
    let by_name = FilterChain {
        server_names: [text("*.example.com")].into(),
        ..chain("by-name", tcp(TcpTarget::ServerName(text("dynamic"))))
    };
    let udp = Network::Udp { cluster: text("EmptyCluster"), stat_prefix: text("service"), by_source: false };
    let chains = vec![https("one", "a.example.com", "default/one"), https("two", "*", "default/two")];
    let encoded = [
        encode::ready_listener("127.0.0.1"),
        encode::listener(&on_port("https", 0, chains, None)),
        encode::listener(&on_port(
            "tcp",
            0,
            vec![chain("tcp", tcp(TcpTarget::Cluster(text("EmptyCluster"))))],
            None,
        )),
        encode::listener(&on_port("tls", 0, vec![chain("partly", tcp(partly)), by_name], None)),
        encode::listener(&downstream::everything()),
        encode::listener(&downstream::by_quic()),
        encode::listener(&Listener {
            transport: Transport::Udp,
            ..on_port("udp", 0, vec![chain("udp", udp)], None)
        }),
        encode::listener(&on_port(
            "http",
            0,
            Vec::new(),
            Some(chain("http", http("http", "http", filters()))),
        )),
    ];
    let mut listeners: Vec<Value> = encoded.iter().map(|bytes| to_json(LISTENER, bytes)).collect();
    listeners.push(with_routes(routes(&all_routes())));
    listeners
}

fn all_clusters() -> Vec<Value> {
    let dns = |protocol| Cluster {
        discovery: Discovery::Dns {
            localities: [locality(Some(0), vec![endpoint(Address::Host(text("example.com"), 443))])].into(),
        },
        protocol,
        ..eds("dns")
    };
    let dynamic = Cluster { discovery: Discovery::DynamicForwardProxy, ..eds("dynamic") };
    let all = [
        eds("httproute/default/shop/rule/0"),
        eds("a"),
        Cluster {
            zones: Zones::ZoneAware { min_cluster_size: 3, force_local_min_size: Some(3) },
            ..eds("b")
        },
        dns(Protocol::Http1Only),
        Cluster { name: text("dns2"), ..dns(Protocol::Http2) },
        Cluster { name: text("dynamic2"), protocol: Protocol::Http2, ..dynamic.clone() },
        Cluster { name: text("dynamic1"), protocol: Protocol::Http1Only, ..dynamic.clone() },
        dynamic,
    ];
    let mut clusters: Vec<Value> = all.iter().map(|of| to_json(CLUSTER, &encode::cluster(of))).collect();
    clusters.push(to_json(CLUSTER, &encode::empty_cluster()));
    clusters
}

#[test]
fn envoy_accepts_every_feature() {
    let result = verdict(&all_listeners(), &all_clusters(), &[]);
    assert_eq!(result.unwrap_or(Ok(())), Ok(()));
}

#[test]
fn envoy_reads_the_secret() {
    let certificate = TlsCertificate {
        name: text("default/one"),
        chain: Bytes::from_static(b"no certificate"),
        key: SecretBytes::new("no key"),
        ocsp_staple: None,
        owner: ObjectRef::new(Kind::Secret, "default", "one"),
    };
    // Names and shape are right when Envoy complains of the content alone.
    let Some(result) = verdict(&[], &[], &[to_json(SECRET, &encode::secret(&certificate))]) else {
        return;
    };
    if let Err(message) = result {
        assert!(message.contains("certificate"), "{message}");
    }
}
