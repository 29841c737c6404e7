use std::{
    fs,
    path::{Path, PathBuf},
};

use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Value, json};

use super::*;
use crate::{
    access_log, any, basic_auth, cel_matcher, cluster, core, cors, discovery, dns_cluster,
    downstream_connections, duration, dynamic_forward_proxy, dynamic_forward_proxy_cluster,
    early_header_mutation, endpoint, fault, file_access_log, fixed_heap, grpc_stats, grpc_web, hcm,
    header_mutation, health_check, http_protocol_options, least_request, listener, maglev, preserve_case,
    previous_hosts, proxy_protocol, raw_buffer, ring_hash, round_robin, route, router, tcp_proxy, tls,
    tls_inspector, types, udp_proxy, upstream_codec,
    well_known::{self, IntoValue},
    xds_matcher,
};

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// The packages of the facade, from the lines that also make its modules.
mod packages {
    macro_rules! packages {
        ($($module:ident: $($package:ident)::+;)+) => {
            pub(super) const PACKAGES: &[&str] = &[$(stringify!($($package)::+)),+];
        };
    }
    include!("../packages.rs");
}

fn round_trip(type_url: &str, value: &Value) -> Value {
    to_value(type_url, &from_value(type_url, value).unwrap()).unwrap()
}

fn field_error(type_url: &str, value: &Value) -> (String, String) {
    match from_value(type_url, value) {
        Err(Error::Field { path, message }) => (path, message),
        other => panic!("expected a field error, got {other:?}"),
    }
}

/// Every resource of the corpus: the list it stands in gives its type.
fn corpus() -> Vec<(PathBuf, &'static str, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let mut resources = Vec::new();
    for folder in ["cases", "docs"] {
        let Ok(cases) = fs::read_dir(root.join(folder)) else { continue };
        for case in cases {
            let file = case.unwrap().path().join("xds.json");
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let gateways: Value = serde_json::from_str(&text).unwrap();
            for lists in gateways.as_object().unwrap().values() {
                for (list, items) in lists.as_object().unwrap() {
                    let kind = match list.as_str() {
                        "listeners" => "type.googleapis.com/envoy.config.listener.v3.Listener",
                        "routes" => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
                        "clusters" => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                        "endpoints" => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                        "secrets" => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
                        other => panic!("{}: {other}", file.display()),
                    };
                    let items = items.as_array().into_iter().flatten();
                    resources.extend(items.map(|item| (file.clone(), kind, item.clone())));
                }
            }
        }
    }
    resources
}

#[test]
fn corpus_resources_come_back_unchanged() {
    let resources = corpus();
    if resources.is_empty() {
        println!("skipped: no corpus beside the workspace");
        return;
    }
    println!("{} resources", resources.len());
    for (file, kind, resource) in resources {
        let bytes = from_value(kind, &resource).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(to_value(kind, &bytes).unwrap(), resource, "{}", file.display());
        let again = from_value(kind, &resource).unwrap();
        assert_eq!(bytes, again, "{}: not deterministic", file.display());
        to_redacted_value(kind, &bytes).unwrap();
    }
}

/// The mapping of `prost-reflect` is another hand's work; it differs in that `5` is `5.0` and an empty `Any` fails.
#[test]
fn corpus_resources_agree_with_the_library_mapping() {
    fn whole(value: &mut Value) {
        match value {
            Value::Number(number) if number.as_f64().is_some_and(|float| float.fract() == 0.0) => {
                *value = (number.as_f64().unwrap() as i64).into();
            }
            Value::Array(items) => items.iter_mut().for_each(whole),
            Value::Object(members) => members.values_mut().for_each(whole),
            _ => {}
        }
    }
    for (file, kind, resource) in corpus() {
        let descriptor = descriptor(kind).unwrap();
        let Ok(message) = DynamicMessage::deserialize(descriptor.clone(), &resource) else {
            assert!(resource.to_string().contains("{}"), "{}", file.display());
            continue;
        };
        let ours = from_value(kind, &resource).unwrap();
        let mut theirs = prost::Message::encode_to_vec(&message);
        crate::canonical::sort_maps(descriptor.full_name(), &mut theirs);
        assert_eq!(ours, theirs, "{}", file.display());
        let options = SerializeOptions::new();
        let mut theirs = message.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
        whole(&mut theirs);
        let mut ours = to_value(kind, &ours).unwrap();
        whole(&mut ours);
        assert_eq!(ours, theirs, "{}", file.display());
    }
}

#[test]
fn every_package_of_the_facade_has_descriptors() {
    let pool = DESCRIPTORS.as_ref().unwrap();
    for package in packages::PACKAGES {
        let package: String = package.split_whitespace().collect();
        let package = package.replace("r#", "").replace("::", ".");
        let messages = pool.all_messages().map(|message| message.package_name().to_owned());
        // One package holds an enum alone.
        let enums = pool.all_enums().map(|values| values.package_name().to_owned());
        assert!(messages.chain(enums).any(|found| found == package), "{package}");
    }
}

#[test]
fn types_and_descriptors_name_the_same_messages() {
    macro_rules! messages {
        ($($message:path),+ $(,)?) => {
            $(
                let name = <$message as Name>::full_name();
                let message = <$message>::default();
                assert_eq!(descriptor(&<$message as Name>::type_url()).unwrap().full_name(), name);
                assert_eq!(message_from_value::<$message>(&message_to_value(&message).unwrap()).unwrap(), message);
            )+
        };
    }
    messages![
        access_log::AccessLog,
        basic_auth::BasicAuth,
        cel_matcher::CelMatcher,
        cel_matcher::HttpAttributesCelMatchInput,
        cluster::Cluster,
        core::Node,
        core::TypedExtensionConfig,
        cors::Cors,
        cors::CorsPolicy,
        discovery::DeltaDiscoveryRequest,
        discovery::DeltaDiscoveryResponse,
        dns_cluster::DnsCluster,
        downstream_connections::DownstreamConnectionsConfig,
        dynamic_forward_proxy::FilterConfig,
        dynamic_forward_proxy_cluster::ClusterConfig,
        early_header_mutation::HeaderMutation,
        endpoint::ClusterLoadAssignment,
        fault::HttpFault,
        file_access_log::FileAccessLog,
        fixed_heap::FixedHeapConfig,
        grpc_stats::FilterConfig,
        grpc_web::GrpcWeb,
        hcm::HttpConnectionManager,
        header_mutation::HeaderMutation,
        health_check::HealthCheck,
        http_protocol_options::HttpProtocolOptions,
        least_request::LeastRequest,
        listener::Listener,
        maglev::Maglev,
        preserve_case::PreserveCaseFormatterConfig,
        previous_hosts::PreviousHostsPredicate,
        proxy_protocol::ProxyProtocol,
        raw_buffer::RawBuffer,
        ring_hash::RingHash,
        round_robin::RoundRobin,
        route::FilterConfig,
        route::RouteConfiguration,
        route::ScopedRouteConfiguration,
        route::VirtualHost,
        router::Router,
        tcp_proxy::TcpProxy,
        tls::DownstreamTlsContext,
        tls::Secret,
        tls::UpstreamTlsContext,
        tls_inspector::TlsInspector,
        types::FractionalPercent,
        udp_proxy::UdpProxyConfig,
        upstream_codec::UpstreamCodec,
        well_known::Struct,
        xds_matcher::Matcher,
    ];
}

#[test]
fn the_descriptors_are_those_of_the_locked_types() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock")).unwrap();
    let wanted = format!("name = \"envoy-types\"\nversion = \"{}\"\n", env!("ENVOY_TYPES_VERSION"));
    assert!(
        lock.contains(&wanted),
        "touch crates/envoy-api/build.rs: the descriptors are of another version"
    );
}

#[test]
fn an_empty_any_is_an_empty_object() {
    let vhost = json!({
        "name": "v",
        "typedPerFilterConfig": {"f": {
            "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
            "config": {},
            "disabled": true
        }}
    });
    let url = "type.googleapis.com/envoy.config.route.v3.VirtualHost";
    assert_eq!(round_trip(url, &vhost), vhost);
    let typed: route::VirtualHost = message_from_value(&vhost).unwrap();
    let filter: route::FilterConfig = crate::unpack(&typed.typed_per_filter_config["f"]).unwrap().unwrap();
    assert_eq!(filter.config, Some(well_known::Any::default()));
}

#[test]
fn well_known_types_inside_any_stand_beside_value() {
    let url = "type.googleapis.com/google.protobuf.Any";
    for value in [
        json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "x"}),
        json!({"@type": "type.googleapis.com/google.protobuf.Duration", "value": "-0.500s"}),
        json!({"@type": "type.googleapis.com/google.protobuf.Empty", "value": {}}),
        json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"a": [1, null, "b", {"c": 0.5}]}}),
        json!({"@type": "type.googleapis.com/google.protobuf.Any",
               "value": {"@type": "type.googleapis.com/google.protobuf.BoolValue", "value": true}}),
    ] {
        assert_eq!(round_trip(url, &value), value);
    }
}

#[test]
fn scalars_follow_the_mapping() {
    let cluster = |fields: Value| round_trip("type.googleapis.com/envoy.config.cluster.v3.Cluster", &fields);
    // Both names of a field, numbers as strings, enums as numbers, null as unset, defaults left out.
    assert_eq!(
        cluster(json!({
            "name": "c", "alt_stat_name": null, "connect_timeout": "0.250s", "type": 3, "lbPolicy": "ROUND_ROBIN",
            "perConnectionBufferLimitBytes": "32768"
        })),
        json!({"name": "c", "connectTimeout": "0.250s", "type": "EDS", "perConnectionBufferLimitBytes": 32768})
    );
    // 64 bits are strings, floats have no more digits than they need, whole ones no fraction.
    assert_eq!(
        round_trip("google.protobuf.UInt64Value", &json!(18_446_744_073_709_551_615_u64)),
        json!("18446744073709551615")
    );
    assert_eq!(round_trip("google.protobuf.FloatValue", &json!(0.1)), json!(0.1));
    assert_eq!(round_trip("google.protobuf.DoubleValue", &json!(5.0)).to_string(), "5");
    assert_eq!(round_trip("google.protobuf.DoubleValue", &json!("NaN")), json!("NaN"));
    assert_eq!(round_trip("google.protobuf.Int32Value", &json!(1e3)), json!(1000));
    assert_eq!(round_trip("google.protobuf.BytesValue", &json!("-_8")), json!("+/8="));
    assert_eq!(
        round_trip("google.protobuf.Timestamp", &json!("2026-01-31T12:00:00.5+01:00")),
        json!("2026-01-31T11:00:00.500Z")
    );
    for (text, expected) in
        [("10s", "10s"), ("1.5s", "1.500s"), ("0.000001s", "0.000001s"), ("-1.000000001s", "-1.000000001s")]
    {
        assert_eq!(round_trip("google.protobuf.Duration", &json!(text)), json!(expected));
    }
}

#[test]
fn faults_are_named_with_their_place() {
    let found = field_error(
        LISTENER,
        &json!({"filterChains": [{}, {"filters": [{"name": "f", "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "statPrefixx": "x"
        }}]}]}),
    );
    assert_eq!(found.0, "filterChains[1].filters[0].typedConfig.statPrefixx");
    assert!(found.1.contains("HttpConnectionManager has no such field"), "{}", found.1);

    let route = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
    let (path, message) =
        field_error(route, &json!({"virtualHosts": [{"routes": [{"match": {"prefix": "/", "path": "/"}}]}]}));
    assert_eq!(path, "virtualHosts[0].routes[0].match.path");
    assert_eq!(message, "only one of prefix and path may be set");

    let (path, message) = field_error(
        "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        &json!({"connectTimeout": "5 seconds"}),
    );
    assert_eq!(
        (path.as_str(), message.as_str()),
        ("connectTimeout", "expected a duration such as \"1.5s\", found \"5 seconds\"")
    );
    let (_, message) =
        field_error("type.googleapis.com/envoy.config.cluster.v3.Cluster", &json!({"type": "EDDS"}));
    assert!(message.starts_with("expected one of STATIC, STRICT_DNS"), "{message}");
    let (_, message) = field_error(
        "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        &json!({"name": "x".repeat(5000), "type": []}),
    );
    assert!(message.len() < 200);
    let (path, _) = field_error(LISTENER, &json!({"listenerFilters": [{"typedConfig": {"@type": "a/b.C"}}]}));
    assert_eq!(path, "listenerFilters[0].typedConfig.@type");
    for (type_url, value) in [
        ("google.protobuf.UInt32Value", json!(-1)),
        ("google.protobuf.UInt32Value", json!(4_294_967_296_u64)),
        ("google.protobuf.Int32Value", json!(0.5)),
        ("google.protobuf.FloatValue", json!(1e300)),
        ("google.protobuf.BytesValue", json!("*")),
        ("google.protobuf.Duration", json!("315576000001s")),
        ("google.protobuf.Duration", json!("s")),
        (LISTENER, json!([])),
    ] {
        field_error(type_url, &value);
    }
    assert!(matches!(from_value("x/no.Such", &json!({})), Err(Error::UnknownType { .. })));
    assert!(matches!(to_value(LISTENER, &[0xff]), Err(Error::Decode { .. })));
}

#[test]
fn deep_values_are_refused_before_the_stack_runs_out() {
    let deep = |levels| (0..levels).fold(json!("x"), |inner, _| json!({"a": inner}));
    assert_eq!(round_trip("google.protobuf.Struct", &deep(30)), deep(30));
    let (_, message) = field_error("google.protobuf.Struct", &deep(500));
    assert_eq!(message, "nested more than 100 deep");
}

fn inline(text: &str) -> Option<core::DataSource> {
    let bytes = text.as_bytes().to_vec();
    Some(core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineBytes(bytes)),
        ..Default::default()
    })
}

fn redacted<M: Name>(message: &M) -> Value {
    to_redacted_value(&M::type_url(), &encode(message)).unwrap()
}

#[test]
fn secrets_are_blanked_and_the_rest_stays() {
    let certificate = tls::TlsCertificate {
        certificate_chain: inline("public"),
        private_key: inline("private"),
        password: Some(core::DataSource {
            specifier: Some(core::data_source::Specifier::InlineString("hunter2".to_owned())),
            ..Default::default()
        }),
        ..Default::default()
    };
    let secret =
        tls::Secret { name: "s".to_owned(), r#type: Some(tls::secret::Type::TlsCertificate(certificate)) };
    let blank = scalar::encode_bytes(REDACTED.as_bytes());
    assert_eq!(
        redacted(&secret),
        json!({"name": "s", "tlsCertificate": {
            "certificateChain": {"inlineBytes": scalar::encode_bytes(b"public")},
            "privateKey": {"inlineBytes": blank},
            "password": {"inlineString": REDACTED},
        }})
    );

    let keys = tls::TlsSessionTicketKeys { keys: inline("k").into_iter().collect() };
    let secret =
        tls::Secret { name: "t".to_owned(), r#type: Some(tls::secret::Type::SessionTicketKeys(keys)) };
    assert_eq!(redacted(&secret)["sessionTicketKeys"], json!({"keys": [{"inlineBytes": blank}]}));

    let generic = tls::GenericSecret {
        secret: inline("g"),
        secrets: [("m".to_owned(), inline("h").unwrap())].into_iter().collect(),
    };
    assert_eq!(
        redacted(&generic),
        json!({"secret": {"inlineBytes": blank}, "secrets": {"m": {"inlineBytes": blank}}})
    );
}

#[test]
fn secrets_inside_any_and_header_credentials_are_blanked() {
    let users = any(&basic_auth::BasicAuth { users: inline("u:p"), ..Default::default() });
    let header = |key: &str, value: &str| core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let vhost = route::VirtualHost {
        typed_per_filter_config: [("envoy.filters.http.basic_auth".to_owned(), users)].into_iter().collect(),
        request_headers_to_add: vec![header("Authorization", "Bearer x"), header("x-plain", "y")],
        ..Default::default()
    };
    let shown = message_to_value(&vhost).unwrap();
    assert!(shown.to_string().contains("Bearer x"));
    let text = redacted(&vhost).to_string();
    assert!(!text.contains("Bearer x") && !text.contains(&scalar::encode_bytes(b"u:p")), "{text}");
    assert!(text.contains("x-plain") && text.contains("\"y\"") && text.contains("Authorization"));
}

#[test]
fn nothing_is_blanked_where_nothing_is_secret() {
    let cluster = cluster::Cluster {
        name: "c".to_owned(),
        connect_timeout: Some(duration(std::time::Duration::from_secs(10))),
        ..Default::default()
    };
    assert_eq!(redacted(&cluster), json!({"name": "c", "connectTimeout": "10s"}));
    let fields = well_known::object([("a", "b".into_value()), ("c", true.into_value())]);
    assert_eq!(redacted(&fields), json!({"a": "b", "c": true}));
}
