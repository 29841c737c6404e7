use bytes::Bytes;
use ir::{
    cluster::{Cluster, Discovery, Endpoints, Protocol, transport_socket_name},
    secret::{Authorities, AuthoritiesSource},
    tls::{SubjectAltName, TlsParameters, TlsVersion, UpstreamTls, Verification},
};
use serde_json::{Value, json};

use super::{
    CLUSTER, ENDPOINTS, SECRET,
    cluster::{eds, ip, locality},
    text, to_json,
};
use crate::encode::{authorities, cluster, endpoints};

const NAME: &str = "httproute/default/shop/rule/0";

/// TLS with authorities and names alone.
fn verified(sni: Option<&str>, names: &[SubjectAltName]) -> UpstreamTls {
    UpstreamTls {
        sni: sni.map(text),
        sni_of_endpoint: false,
        verification: Some(Verification { authorities: text("web/default-ca"), names: names.into() }),
        certificate: None,
        parameters: TlsParameters::default(),
        alpn: None,
    }
}

/// TLS that asks for the host of each request.
fn by_request() -> UpstreamTls {
    verified(None, &[])
}

/// TLS with everything.
fn full_tls() -> UpstreamTls {
    UpstreamTls {
        certificate: Some(text("default/proxy")),
        parameters: TlsParameters {
            min: Some(TlsVersion::V1_2),
            max: Some(TlsVersion::V1_3),
            ciphers: [text("ECDHE-ECDSA-AES128-GCM-SHA256")].into(),
            curves: [text("X25519")].into(),
            signature_algorithms: [text("ecdsa_secp256r1_sha256")].into(),
        },
        alpn: Some([text("h2")].into()),
        ..verified(Some("web.example.com"), &[SubjectAltName::Uri(text("spiffe://x/y"))])
    }
}

fn found(tls: Vec<Option<UpstreamTls>>, discovery: Option<Discovery>, protocol: Protocol) -> Value {
    let plain = eds(NAME);
    let discovery = discovery.unwrap_or(plain.discovery.clone());
    to_json(CLUSTER, &cluster(&Cluster { tls: tls.into(), discovery, protocol, ..plain }))
}

fn options(cluster: &Value) -> &Value {
    let all = &cluster["typedExtensionProtocolOptions"];
    &all["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
}

#[test]
fn each_backend_has_its_own_transport_socket() {
    let cluster = found(vec![Some(full_tls()), None], None, Protocol::Http1);
    let sds = json!({"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"});
    let name = transport_socket_name(NAME, 0);
    assert_eq!(
        cluster["transportSocketMatches"],
        json!([{
            "name": &*name,
            "match": {"name": &*name},
            "transportSocket": {
                "name": "envoy.transport_sockets.tls",
                "typedConfig": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    "sni": "web.example.com",
                    "commonTlsContext": {
                        "alpnProtocols": ["h2"],
                        "tlsParams": {
                            "tlsMinimumProtocolVersion": "TLSv1_2",
                            "tlsMaximumProtocolVersion": "TLSv1_3",
                            "cipherSuites": ["ECDHE-ECDSA-AES128-GCM-SHA256"],
                            "ecdhCurves": ["X25519"],
                            "signatureAlgorithms": ["ecdsa_secp256r1_sha256"],
                        },
                        "tlsCertificateSdsSecretConfigs": [{"name": "default/proxy", "sdsConfig": sds}],
                        "combinedValidationContext": {
                            "defaultValidationContext": {"matchTypedSubjectAltNames": [
                                {"sanType": "URI", "matcher": {"exact": "spiffe://x/y"}},
                            ]},
                            "validationContextSdsSecretConfig": {"name": "web/default-ca", "sdsConfig": sds},
                        },
                    },
                },
            },
        }])
    );
    // One backend in plain text: nothing is agreed on by ALPN, and its endpoints find no socket of their own.
    assert!(cluster.get("transportSocket").is_none() && options(&cluster).is_null());
}

#[test]
fn the_version_is_agreed_on_where_all_have_tls() {
    let named = verified(Some("a"), &[SubjectAltName::Dns(text("a"))]);
    let cluster = found(vec![Some(named.clone()), Some(named.clone())], None, Protocol::Http1);
    assert!(options(&cluster)["autoConfig"].is_object());
    assert!(options(&cluster).get("upstreamHttpProtocolOptions").is_none());
    assert_eq!(cluster["transportSocket"]["name"], "dummy.transport_socket");
    for (protocol, chosen) in
        [(Protocol::Http1Only, "httpProtocolOptions"), (Protocol::Http2, "http2ProtocolOptions")]
    {
        let cluster = found(vec![Some(named.clone())], None, protocol);
        assert!(options(&cluster)["explicitHttpConfig"][chosen].is_object(), "{chosen}");
    }
}

#[test]
fn the_host_of_the_request_is_asked_for_and_checked() {
    let context = |cluster: &Value, at: &str| cluster.pointer(at).unwrap()["typedConfig"].clone();
    let cluster = found(vec![Some(by_request())], None, Protocol::Http1);
    assert_eq!(options(&cluster)["upstreamHttpProtocolOptions"], json!({"autoSni": true}));
    let socket = context(&cluster, "/transportSocketMatches/0/transportSocket");
    assert_eq!(socket["autoSniSanValidation"], true);

    // A backend with a name of its own: what holds for the whole cluster would go before it.
    let named = verified(Some("a"), &[SubjectAltName::Dns(text("a"))]);
    let mixed = found(vec![Some(by_request()), Some(named)], None, Protocol::Http1);
    assert!(options(&mixed).get("upstreamHttpProtocolOptions").is_none());

    let dynamic = found(vec![Some(by_request())], Some(Discovery::DynamicForwardProxy), Protocol::Http1);
    assert_eq!(
        options(&dynamic)["upstreamHttpProtocolOptions"],
        json!({"autoSni": true, "autoSanValidation": true})
    );
    assert!(dynamic.get("transportSocketMatches").is_none());
    assert!(context(&dynamic, "/transportSocket").get("autoSniSanValidation").is_none());

    let of_endpoint = UpstreamTls { sni_of_endpoint: true, ..by_request() };
    let cluster = found(vec![Some(of_endpoint)], None, Protocol::Http1);
    let socket = context(&cluster, "/transportSocketMatches/0/transportSocket");
    assert_eq!((&socket["autoHostSni"], &socket["autoSniSanValidation"]), (&json!(true), &json!(true)));
    assert!(options(&cluster).get("upstreamHttpProtocolOptions").is_none());
}

#[test]
fn endpoints_ask_for_their_transport_socket() {
    let mut of_tls = locality(Some(0), vec![ip("10.0.0.1", 443)]);
    of_tls.transport_socket = Some(transport_socket_name(NAME, 0));
    let all = Endpoints { name: text(NAME), localities: [of_tls].into(), owners: [].into() };
    let json = to_json(ENDPOINTS, &endpoints(&all));
    assert_eq!(
        json.pointer("/endpoints/0/lbEndpoints/0/metadata/filterMetadata").unwrap(),
        &json!({"envoy.transport_socket_match": {"name": format!("{NAME}/tls/0")}})
    );
}

#[test]
fn authorities_are_text_or_a_file() {
    let of = |source| Authorities { name: text("ca"), source, revocations: None, owners: [].into() };
    let json = to_json(SECRET, &authorities(&of(AuthoritiesSource::Inline(Bytes::from_static(b"pem")))));
    assert_eq!(json["validationContext"]["trustedCa"], json!({"inlineBytes": "cGVt"}));
    let json = to_json(SECRET, &authorities(&of(AuthoritiesSource::File(text("/etc/ca.pem")))));
    assert_eq!(json["validationContext"]["trustedCa"], json!({"filename": "/etc/ca.pem"}));
}
