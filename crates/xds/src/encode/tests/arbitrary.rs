//! Any model has an encoding, the same each time, that the message type reads back.

use std::{sync::Arc, time::Duration};

use envoy_api::{cluster, encode as canonical, endpoint, listener, route};
use ir::{
    Kind, Metadata, ObjectRef,
    cluster::{Address, Cluster, Discovery, Endpoint, Endpoints, Locality, Protocol, Zones},
    downstream::ConnectionSettings,
    listener::{
        DownstreamTls, FilterChain, Http, HttpFilter, Listener, Network, TcpTarget, Transport, VirtualHost,
    },
    route::{
        Action, Cors, Forward, HeaderMutations, HeaderValue, Mirror, PathMatch, PathRewrite, Redirect,
        RedirectPort, Retry, RouteMatch, Rule, SessionCarrier, SessionPersistence, StringMatch, Target,
        ValueMatch, WeightedCluster,
    },
    telemetry::{
        AccessLog, AccessLogs, ClusterStatistics, Collector, LogEntries, LogFormat, LogSink, LogType,
        ProxyTracing, RequestIdTracing, Sampler, Telemetry, TracingProvider,
    },
    tls::{ClientValidation, SubjectAltName, TlsParameters, TlsVersion, UpstreamTls, Verification},
    traffic::{
        CONNECT, Compression, Compressor, Cost, HashKey, LocalRateLimit, Quota, RateLimitRule, Replacement,
        ResponseOverride, ResponseOverrides, RouteTraffic, SourceSelector, StatusCodes, Tag, Tracing,
        Upgrade, ValueSelector,
    },
};
use proptest::{collection::vec, option, prelude::*};
use prost::{Message, Name};

use super::downstream;
use crate::encode;

type Text = Arc<str>;

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        "[ -~]{0,12}".prop_map(Text::from),
        "\\PC{0,6}".prop_map(Text::from),
        r"/?[a-c./*%()\\]{0,10}/?".prop_map(Text::from),
        "[a-z]{120,140}".prop_map(Text::from),
    ]
}

/// Text that is not empty: an empty name is left out by one encoder and written by the other.
fn name() -> impl Strategy<Value = Text> {
    "[ -~]{1,12}".prop_map(Text::from)
}

fn some<S: Strategy + 'static>(of: S) -> impl Strategy<Value = Box<[S::Value]>>
where
    S::Value: Clone,
{
    vec(of, 0..4).prop_map(Into::into)
}

fn list() -> impl Strategy<Value = Box<[Text]>> {
    some(text())
}

fn wait() -> impl Strategy<Value = Option<Duration>> {
    option::of(any::<(u64, u32)>().prop_map(|(seconds, nanos)| Duration::new(seconds, nanos % 1_000_000_000)))
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let kind = proptest::sample::select(Kind::ALL);
    (kind, text(), text(), option::of(text()), some((name(), text()))).prop_map(
        |(kind, namespace, name, section, annotations)| {
            let mut annotations = annotations.into_vec();
            annotations.sort();
            annotations.dedup_by(|a, b| a.0 == b.0);
            let object = ObjectRef { kind, namespace, name };
            Metadata { object, section, annotations: annotations.into() }
        },
    )
}

fn values() -> impl Strategy<Value = Box<[ValueMatch]>> {
    let value = prop_oneof![text().prop_map(StringMatch::Exact), text().prop_map(StringMatch::Regex)];
    some((text(), value).prop_map(|(name, value)| ValueMatch { name, value }))
}

fn matched() -> impl Strategy<Value = RouteMatch> {
    let path = prop_oneof![
        text().prop_map(PathMatch::Exact),
        text().prop_map(PathMatch::Prefix),
        text().prop_map(PathMatch::Regex),
        text().prop_map(PathMatch::Suffix),
    ];
    (any::<i32>(), path, option::of(text()), values(), values(), values()).prop_map(
        |(index, path, method, headers, query, cookies)| RouteMatch {
            index,
            path,
            method,
            headers,
            query,
            cookies,
        },
    )
}

fn mutations() -> impl Strategy<Value = HeaderMutations> {
    let value = (text(), text(), any::<bool>());
    (some(value.prop_map(|(name, value, append)| HeaderValue { name, value, append })), list())
        .prop_map(|(add, remove)| HeaderMutations { add, remove })
}

fn rewrite() -> impl Strategy<Value = PathRewrite> {
    prop_oneof![text().prop_map(PathRewrite::Full), text().prop_map(PathRewrite::Prefix)]
}

fn target() -> impl Strategy<Value = Target> {
    let cluster = (text(), any::<u32>(), mutations(), mutations(), option::of(text())).prop_map(
        |(name, weight, request_headers, response_headers, host_rewrite)| WeightedCluster {
            name,
            weight,
            request_headers,
            response_headers,
            host_rewrite,
        },
    );
    prop_oneof![
        text().prop_map(Target::Cluster),
        (some(cluster), option::of(any::<u16>()))
            .prop_map(|(clusters, missing_status)| Target::Weighted { clusters, missing_status }),
    ]
}

fn forward() -> impl Strategy<Value = Forward> {
    let mirror = (text(), option::of(any::<u32>()), any::<u32>());
    let mirror =
        mirror.prop_map(|(cluster, numerator, denominator)| Mirror { cluster, numerator, denominator });
    let codes = option::of(some(any::<u16>()));
    let retry = (option::of(any::<u32>()), codes, wait(), wait()).prop_map(
        |(attempts, codes, backoff, per_try_timeout)| Retry { attempts, codes, backoff, per_try_timeout },
    );
    let carrier =
        prop_oneof![wait().prop_map(|ttl| SessionCarrier::Cookie { ttl }), Just(SessionCarrier::Header)];
    let session = (text(), carrier).prop_map(|(name, carrier)| SessionPersistence { name, carrier });
    let whereto = (target(), option::of(text()), option::of(rewrite()), some(mirror));
    (whereto, wait(), option::of(retry), option::of(session), any::<bool>()).prop_map(
        |((target, host_rewrite, path_rewrite, mirrors), timeout, retry, session, websocket)| Forward {
            target,
            host_rewrite,
            path_rewrite,
            mirrors,
            timeout,
            retry,
            session,
            websocket,
            dynamic_host: false,
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let port = prop_oneof![
        any::<u16>().prop_map(RedirectPort::Given),
        Just(RedirectPort::OfScheme),
        Just(RedirectPort::OfListener)
    ];
    let redirect = (option::of(text()), option::of(text()), option::of(rewrite()), port, any::<u16>())
        .prop_map(|(scheme, hostname, path, port, status)| Redirect { scheme, hostname, path, port, status });
    prop_oneof![
        any::<u16>().prop_map(|status| Action::Direct { status }),
        redirect.prop_map(Action::Redirect),
        forward().prop_map(|forward| Action::Forward(Box::new(forward))),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let cors = (list(), list(), list(), list(), option::of(any::<u32>()), any::<bool>()).prop_map(
        |(allow_origins, allow_methods, allow_headers, expose_headers, max_age, allow_credentials)| Cors {
            allow_origins,
            allow_methods,
            allow_headers,
            expose_headers,
            max_age,
            allow_credentials,
        },
    );
    (any::<u16>(), metadata(), some(matched()), action(), mutations(), mutations(), option::of(cors))
        .prop_map(|(index, metadata, matches, action, request_headers, response_headers, cors)| Rule {
            index,
            metadata,
            matches: matches.into(),
            action,
            request_headers,
            response_headers,
            cors,
        })
}

fn compressor() -> impl Strategy<Value = Compressor> {
    let format = proptest::sample::select(&[Compression::Brotli, Compression::Gzip, Compression::Zstd][..]);
    (format, any::<bool>(), option::of(any::<u32>())).prop_map(|(format, first, min_length)| Compressor {
        format,
        first,
        min_length,
    })
}

fn responses() -> impl Strategy<Value = ResponseOverrides> {
    let codes = prop_oneof![
        any::<i32>().prop_map(StatusCodes::One),
        any::<(i32, i32)>().prop_map(|(first, last)| StatusCodes::Range(first, last)),
    ];
    let response = (option::of(any::<u32>()), option::of(text()), text(), mutations()).prop_map(
        |(status, content_type, body, mutations)| Replacement::Response {
            status,
            content_type,
            body,
            headers: mutations.add,
        },
    );
    let redirect = (option::of(text()), option::of(text()), option::of(text()), any::<(Option<u16>, u32)>());
    let redirect = redirect.prop_map(|(scheme, hostname, path, (port, status))| Replacement::Redirect {
        scheme,
        hostname,
        path,
        port,
        status,
    });
    let replacement = prop_oneof![response, redirect];
    let rule = (some(codes), values(), any::<Option<bool>>(), replacement).prop_map(
        |(codes, headers, local, replacement)| ResponseOverride { codes, headers, local, replacement },
    );
    (name(), some(rule)).prop_map(|(policy, rules)| ResponseOverrides { policy, rules })
}

fn limit() -> impl Strategy<Value = LocalRateLimit> {
    fn quota() -> impl Strategy<Value = Quota> {
        any::<(u32, u32)>().prop_map(|(requests, seconds)| Quota { requests, seconds: seconds.into() })
    }
    let selectors = || {
        let value = prop_oneof![text().prop_map(StringMatch::Prefix), text().prop_map(StringMatch::Suffix)];
        let matching = (text(), value, any::<bool>()).prop_map(|(name, value, inverted)| {
            ValueSelector::Matching { wanted: ValueMatch { name, value }, inverted }
        });
        some(prop_oneof![text().prop_map(ValueSelector::Each), matching])
    };
    let source = any::<(std::net::IpAddr, u8, bool, bool)>()
        .prop_map(|(network, length, inverted, each)| SourceSelector { network, length, inverted, each });
    let cost = prop_oneof![
        any::<u64>().prop_map(Cost::Number),
        (text(), text()).prop_map(|(namespace, key)| Cost::Metadata { namespace, key }),
    ];
    let path = (text().prop_map(StringMatch::Regex), any::<bool>());
    let parts =
        (selectors(), some((text(), any::<bool>())), option::of(path), option::of(source), selectors());
    let rule = (quota(), parts, option::of(cost), any::<(bool, Option<bool>)>()).prop_map(
        |(quota, (headers, methods, path, source, query), cost, (shadow, tells))| RateLimitRule {
            quota,
            headers,
            methods,
            path,
            source,
            query,
            cost,
            shadow,
            tells,
        },
    );
    (quota(), any::<bool>(), some(rule)).prop_map(|(default, tells, rules)| LocalRateLimit {
        default,
        tells,
        rules,
    })
}

fn traffic() -> impl Strategy<Value = RouteTraffic> {
    let hash = prop_oneof![
        Just(HashKey::SourceIp),
        list().prop_map(HashKey::Headers),
        list().prop_map(HashKey::QueryParams),
        (text(), wait(), some((text(), text()))).prop_map(|(name, ttl, attributes)| HashKey::Cookie {
            name,
            ttl,
            attributes
        }),
    ];
    let upgrade = (prop_oneof![text(), Just(Text::from(CONNECT))], any::<bool>())
        .prop_map(|(protocol, terminates)| Upgrade { protocol, terminates });
    let filters =
        (option::of(limit()), some(compressor()), option::of(responses()), option::of(any::<u32>()));
    let rest = (option::of(hash), option::of(some(upgrade)), option::of(tracing()), option::of(text()));
    (filters, rest, any::<bool>()).prop_map(
        |((limit, compressors, responses, buffer), (hash, upgrades, tracing, stat_name), hides_reports)| {
            RouteTraffic {
                hash,
                hides_reports,
                local_limit: limit.map(Box::new),
                compressors,
                responses: responses.map(Arc::new),
                upgrades,
                buffer,
                tracing: tracing.map(Box::new),
                stat_name,
                ..RouteTraffic::default()
            }
        },
    )
}

fn localities() -> impl Strategy<Value = Box<[Locality]>> {
    let address = prop_oneof![
        any::<(std::net::IpAddr, u16)>().prop_map(|(ip, port)| Address::Ip(ip, port)),
        (text(), any::<u16>()).prop_map(|(host, port)| Address::Host(host, port)),
        text().prop_map(Address::Unix),
    ];
    let endpoint = (address, option::of(text()), any::<bool>())
        .prop_map(|(address, hostname, draining)| Endpoint { address, hostname, draining });
    let place = (option::of(text()), option::of(text()), option::of(any::<u32>()), any::<u32>());
    some((place, option::of(metadata()), option::of(text()), some(endpoint)).prop_map(
        |((region, zone, weight, priority), metadata, transport_socket, endpoints)| Locality {
            region,
            zone,
            weight,
            priority,
            metadata,
            transport_socket,
            health: Default::default(),
            endpoints,
        },
    ))
}

fn tls() -> impl Strategy<Value = UpstreamTls> {
    let version = proptest::sample::select(
        &[TlsVersion::Auto, TlsVersion::V1_0, TlsVersion::V1_1, TlsVersion::V1_2, TlsVersion::V1_3][..],
    );
    let version = option::of(version);
    let parameters = (version.clone(), version, some(text()), some(text()), some(text())).prop_map(
        |(min, max, ciphers, curves, signature_algorithms)| TlsParameters {
            min,
            max,
            ciphers,
            curves,
            signature_algorithms,
        },
    );
    let name = prop_oneof![text().prop_map(SubjectAltName::Dns), text().prop_map(SubjectAltName::Uri)];
    let verification =
        (text(), some(name)).prop_map(|(authorities, names)| Verification { authorities, names });
    let names = (option::of(text()), any::<bool>(), option::of(text()));
    (names, option::of(verification), parameters, option::of(some(text()))).prop_map(
        |((sni, sni_of_endpoint, certificate), verification, parameters, alpn)| UpstreamTls {
            sni,
            sni_of_endpoint,
            verification,
            certificate,
            parameters,
            alpn,
        },
    )
}

fn cluster() -> impl Strategy<Value = Cluster> {
    let discovery = prop_oneof![
        text().prop_map(|service_name| Discovery::Eds { service_name }),
        localities().prop_map(|localities| Discovery::Dns { localities }),
        Just(Discovery::DynamicForwardProxy),
    ];
    let protocol = proptest::sample::select(&[Protocol::Http1, Protocol::Http1Only, Protocol::Http2][..]);
    let zones = option::of(any::<(u32, Option<u32>)>()).prop_map(|sizes| match sizes {
        None => Zones::LocalityWeighted,
        Some((min_cluster_size, force_local_min_size)) => {
            Zones::ZoneAware { min_cluster_size, force_local_min_size }
        }
    });
    let tls = some(option::of(tls()));
    let statistics = (any::<bool>(), any::<bool>(), option::of(name()));
    (name(), discovery, protocol, option::of(metadata()), zones, tls, statistics).prop_map(
        |(name, discovery, protocol, metadata, zones, tls, (per_endpoint, sizes, stat_name))| Cluster {
            name,
            discovery,
            protocol,
            metadata,
            zones,
            tls,
            traffic: Default::default(),
            policies: [].into(),
            health_host: "".into(),
            statistics: ClusterStatistics { per_endpoint, sizes },
            stat_name,
            owners: [].into(),
        },
    )
}

fn tcp_target() -> impl Strategy<Value = TcpTarget> {
    prop_oneof![
        text().prop_map(TcpTarget::Cluster),
        // Envoy asks for weights of at least 1 whose sum fits; translation gives no others.
        (text(), 1..1_000_000u32, 1..1_000_000u32).prop_map(|(cluster, weight, refused)| TcpTarget::Partly {
            cluster,
            weight,
            refused
        }),
        text().prop_map(TcpTarget::ServerName),
    ]
}

fn chain() -> impl Strategy<Value = FilterChain> {
    let filter = prop_oneof![
        Just(HttpFilter::Cors),
        Just(HttpFilter::SessionPersistence),
        Just(HttpFilter::LoopbackGuard),
        Just(HttpFilter::GrpcWeb),
        Just(HttpFilter::GrpcStatistics),
        Just(HttpFilter::Fault),
        Just(HttpFilter::LocalRateLimit),
        Just(HttpFilter::RequestBandwidth),
        Just(HttpFilter::ResponseBandwidth),
        any::<u32>().prop_map(HttpFilter::Buffer),
        compressor().prop_map(HttpFilter::Compressor),
        responses().prop_map(|responses| HttpFilter::CustomResponse(Arc::new(responses))),
    ];
    let filters = proptest::collection::btree_set(filter, 0..3);
    let network = prop_oneof![
        (text(), text(), filters, any::<bool>()).prop_map(
            |(route_configuration, stat_prefix, filters, notes_connection)| {
                Network::Http(Http {
                    route_configuration,
                    stat_prefix,
                    filters,
                    order: [].into(),
                    notes_connection,
                    by_quic: notes_connection,
                    settings: if notes_connection { downstream::http().into() } else { Arc::default() },
                })
            }
        ),
        (tcp_target(), text(), any::<bool>()).prop_map(|(target, stat_prefix, by_source)| Network::Tcp {
            target,
            stat_prefix,
            by_source
        }),
        (text(), text(), any::<bool>()).prop_map(|(cluster, stat_prefix, by_source)| Network::Udp {
            cluster,
            stat_prefix,
            by_source
        }),
    ];
    let client = (option::of(name()), any::<bool>(), any::<bool>(), list()).prop_map(
        |(authorities, required, untrusted, hashes)| {
            let asked = ClientValidation { authorities, required, untrusted, ..downstream::validation() };
            Arc::new(ClientValidation { key_hashes: hashes, ..asked })
        },
    );
    let tls = (list(), list(), option::of(client), any::<bool>()).prop_map(
        |(certificates, alpn, client, sessions)| DownstreamTls {
            certificates,
            alpn,
            client,
            parameters: TlsParameters::default(),
            sessions,
            tickets: !sessions,
        },
    );
    (text(), list(), option::of(tls), network, any::<bool>()).prop_map(
        |(name, server_names, tls, network, limited)| FilterChain {
            name,
            server_names,
            tls,
            connection: if limited { downstream::connection() } else { ConnectionSettings::default() },
            network,
        },
    )
}

fn tracing() -> impl Strategy<Value = Tracing> {
    let tag = prop_oneof![
        text().prop_map(Tag::Literal),
        text().prop_map(Tag::Format),
        (text(), text()).prop_map(|(name, default)| Tag::Header { name, default }),
    ];
    let share = option::of(any::<(u32, u32)>());
    (share.clone(), share.clone(), share, some((text(), tag)), text(), text()).prop_map(
        |(sampling, client_sampling, overall_sampling, tags, operation, upstream_operation)| Tracing {
            sampling,
            client_sampling,
            overall_sampling,
            tags,
            operation,
            upstream_operation,
        },
    )
}

fn pairs() -> impl Strategy<Value = Box<[(Text, Text)]>> {
    some((name(), text()))
}

fn collector() -> impl Strategy<Value = Collector> {
    (name(), text(), pairs()).prop_map(|(cluster, authority, headers)| Collector {
        cluster,
        authority,
        headers,
    })
}

fn log_sink() -> impl Strategy<Value = LogSink> {
    let format = prop_oneof![text().prop_map(LogFormat::Text), pairs().prop_map(LogFormat::Json)];
    let entries = prop_oneof![
        Just(LogEntries::Tcp),
        (list(), list(), list()).prop_map(|(request_headers, response_headers, response_trailers)| {
            LogEntries::Http { request_headers, response_headers, response_trailers }
        }),
    ];
    prop_oneof![
        (text(), format).prop_map(|(path, format)| LogSink::File { path, format }),
        (text(), text(), entries).prop_map(|(cluster, name, entries)| LogSink::Service {
            cluster,
            name,
            entries
        }),
        (collector(), text(), pairs(), pairs()).prop_map(|(collector, body, attributes, resource)| {
            LogSink::OpenTelemetry { collector, body, attributes, resource }
        }),
    ]
}

fn proxy_tracing() -> impl Strategy<Value = ProxyTracing> {
    let sampler = (option::of(any::<(u32, u32)>()), any::<bool>())
        .prop_map(|(ratio, parent_based)| Sampler { ratio, parent_based });
    let provider = prop_oneof![
        Just(TracingProvider::Datadog),
        any::<(bool, bool)>()
            .prop_map(|(long_ids, shared_context)| TracingProvider::Zipkin { long_ids, shared_context }),
        (collector(), pairs(), option::of(sampler)).prop_map(|(collector, resource, sampler)| {
            TracingProvider::OpenTelemetry { collector, resource, sampler }
        }),
    ];
    (text(), text(), tracing(), provider).prop_map(|(cluster, service, settings, provider)| ProxyTracing {
        cluster,
        service,
        settings,
        provider,
    })
}

fn telemetry() -> impl Strategy<Value = Telemetry> {
    let of = proptest::sample::select(
        &[None, Some(LogType::Listener), Some(LogType::Route), Some(LogType::Upstream)][..],
    );
    let log = (of, list(), log_sink()).prop_map(|(of, matches, sink)| AccessLog { of, matches, sink });
    let request_id = any::<(bool, bool)>().prop_map(|(packs, samples)| RequestIdTracing { packs, samples });
    (some(log), option::of(proxy_tracing()), option::of(request_id), any::<Option<bool>>()).prop_map(
        |(logs, tracing, request_id, grpc_statistics)| Telemetry {
            logs: AccessLogs(logs),
            tracing,
            request_id,
            grpc_statistics,
        },
    )
}

fn listener() -> impl Strategy<Value = Listener> {
    let transport = proptest::sample::select(&[Transport::Tcp, Transport::Udp][..]);
    (text(), text(), any::<u16>(), transport, some(chain()), option::of(chain()), telemetry()).prop_map(
        |(name, address, port, transport, chains, default_chain, telemetry)| Listener {
            name,
            address,
            port,
            transport,
            exclusive: false,
            ipv4_compat: false,
            settings: if port > 30_000 { downstream::socket().into() } else { Arc::default() },
            telemetry: telemetry.into(),
            chains,
            default_chain,
            owners: [].into(),
        },
    )
}

/// Decodes and compares with the canonical encoding of what was decoded: nothing is unknown, nothing is said twice.
fn check<M: Name + Default>(bytes: &[u8]) -> M {
    let message = M::decode(bytes).unwrap();
    assert_eq!(bytes.len(), canonical(&message).len());
    message
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn routes(
        rule in rule(), traffic in option::of(traffic()), matched in matched(), host in text(),
        port in any::<u16>(), tls in any::<bool>(),
    ) {
        let field = encode::route_field(&rule, traffic.as_ref(), &matched, &host, port, tls);
        prop_assert_eq!(&field, &encode::route_field(&rule, traffic.as_ref(), &matched, &host, port, tls));
        let in_host = route::VirtualHost::decode(field.as_slice()).unwrap();
        prop_assert_eq!(in_host.routes.len(), 1);
        let mut fields = vec![field];
        fields.extend(encode::cors_preflight_field(&rule, &matched, &host));
        let virtual_host =
            VirtualHost { name: host.clone(), domains: [host].into(), metadata: rule.metadata.clone(), counted: tls };
        let mut body = encode::route_configuration_head("head");
        body.extend(encode::virtual_host_field(&virtual_host, &fields));
        let whole = check::<route::RouteConfiguration>(&body);
        prop_assert_eq!(whole.virtual_hosts[0].routes.len(), fields.len());
        prop_assert!(encode::clusters_of(&rule).all(|name| &**name != ir::cluster::INVALID_BACKEND_CLUSTER));
    }

    #[test]
    fn clusters(of in cluster()) {
        let bytes = encode::cluster(&of);
        prop_assert_eq!(&bytes, &encode::cluster(&of));
        prop_assert_eq!(check::<cluster::Cluster>(&bytes).name, &*of.name);
    }

    #[test]
    fn assignments(name in text(), localities in localities()) {
        let of = Endpoints { name, localities, owners: [].into() };
        let bytes = encode::endpoints(&of);
        prop_assert_eq!(&bytes, &encode::endpoints(&of));
        let found = endpoint::ClusterLoadAssignment::decode(bytes.as_slice()).unwrap();
        prop_assert_eq!(found.endpoints.len(), of.localities.len());
    }

    #[test]
    fn listeners(of in listener()) {
        let bytes = encode::listener(&of);
        prop_assert_eq!(&bytes, &encode::listener(&of));
        prop_assert_eq!(check::<listener::Listener>(&bytes).name, &*of.name);
    }
}
