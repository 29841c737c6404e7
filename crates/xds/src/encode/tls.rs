//! TLS towards endpoints: transport sockets of clusters. And what listeners ask of clients.

use std::sync::LazyLock;

use envoy_api::{
    any,
    core::{TransportSocket, transport_socket},
    matcher::{StringMatcher, string_matcher::MatchPattern},
    tls::{
        CertificateValidationContext, CommonTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
        TlsParameters as ParametersMessage, UpstreamTlsContext,
        certificate_validation_context::TrustChainVerification,
        common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
        subject_alt_name_matcher::SanType,
        tls_parameters::TlsProtocol,
    },
    well_known::{Kind, Struct, Value, object},
};
use ir::tls::{
    ClientValidation, NameKind, NameMatch, SubjectAltName, TlsParameters, TlsVersion, UpstreamTls,
    Verification,
};

use super::{config_source, downstream};

/// Envoy's transport socket for TLS.
const TLS: &str = "envoy.transport_sockets.tls";

/// What a cluster has as a whole while each endpoint chooses a transport socket of its own: without it Envoy would
/// refuse to choose the HTTP version by ALPN. No connection uses it.
pub(super) static UNUSED: LazyLock<TransportSocket> =
    LazyLock::new(|| socket("dummy.transport_socket", &context_of(CommonTlsContext::default())));

/// The transport socket towards one backend. `by_request` says that the name of each request's host is asked for,
/// `dynamic` that requests name the endpoints too; then Envoy checks that name by itself.
pub(super) fn transport_socket(tls: &UpstreamTls, by_request: bool, dynamic: bool) -> TransportSocket {
    let names_are_asked_for = tls.verification.as_ref().is_some_and(|v| !v.names.is_empty());
    let asks_by_name = tls.sni.is_some() || tls.sni_of_endpoint || by_request;
    let certificates = tls.certificate.iter().map(|name| SdsSecretConfig {
        name: name.to_string(),
        sds_config: Some(config_source::ads_without_timeout()),
    });
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: parameters(&tls.parameters),
            alpn_protocols: tls.alpn.iter().flatten().map(ToString::to_string).collect(),
            tls_certificate_sds_secret_configs: certificates.collect(),
            validation_context_type: tls.verification.as_ref().map(validation),
            ..Default::default()
        }),
        sni: tls.sni.as_deref().unwrap_or_default().to_owned(),
        auto_host_sni: tls.sni_of_endpoint,
        auto_sni_san_validation: tls.verification.is_some()
            && !names_are_asked_for
            && asks_by_name
            && !dynamic,
        ..Default::default()
    };
    socket(TLS, &context)
}

/// What endpoints and transport sockets of a cluster find each other by.
pub(super) fn matching(name: &str) -> Struct {
    object([("name", Value { kind: Some(Kind::StringValue(name.to_owned())) })])
}

fn socket(name: &str, context: &UpstreamTlsContext) -> TransportSocket {
    TransportSocket {
        name: name.to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any(context))),
    }
}

fn context_of(common: CommonTlsContext) -> UpstreamTlsContext {
    UpstreamTlsContext { common_tls_context: Some(common), ..Default::default() }
}

fn validation(verification: &Verification) -> ValidationContextType {
    let names = verification.names.iter().map(|name| {
        let (kind, exact) = match name {
            SubjectAltName::Dns(name) => (SanType::Dns, name),
            SubjectAltName::Uri(uri) => (SanType::Uri, uri),
        };
        SubjectAltNameMatcher {
            san_type: kind.into(),
            matcher: Some(StringMatcher {
                match_pattern: Some(MatchPattern::Exact(exact.to_string())),
                ..Default::default()
            }),
            ..Default::default()
        }
    });
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(CertificateValidationContext {
            match_typed_subject_alt_names: names.collect(),
            ..Default::default()
        }),
        validation_context_sds_secret_config: Some(SdsSecretConfig {
            name: verification.authorities.to_string(),
            sds_config: Some(config_source::ads_without_timeout()),
        }),
        ..Default::default()
    })
}

/// What a client's certificate must show.
pub(super) fn client_validation(client: &ClientValidation) -> ValidationContextType {
    let mut context = CertificateValidationContext {
        allow_expired_certificate: client.expired,
        verify_certificate_spki: client.key_hashes.iter().map(ToString::to_string).collect(),
        verify_certificate_hash: client.certificate_hashes.iter().map(ToString::to_string).collect(),
        match_typed_subject_alt_names: client.names.iter().map(name).collect(),
        ..Default::default()
    };
    if client.untrusted {
        context.trust_chain_verification = TrustChainVerification::AcceptUntrusted.into();
    }
    let Some(authorities) = &client.authorities else {
        return ValidationContextType::ValidationContext(context);
    };
    let authorities = SdsSecretConfig {
        name: authorities.to_string(),
        sds_config: Some(config_source::ads_without_timeout()),
    };
    if context == CertificateValidationContext::default() {
        return ValidationContextType::ValidationContextSdsSecretConfig(authorities);
    }
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(context),
        validation_context_sds_secret_config: Some(authorities),
        ..Default::default()
    })
}

fn name(name: &NameMatch) -> SubjectAltNameMatcher {
    let (kind, oid) = match &name.kind {
        NameKind::Dns => (SanType::Dns, ""),
        NameKind::Email => (SanType::Email, ""),
        NameKind::Ip => (SanType::IpAddress, ""),
        NameKind::Uri => (SanType::Uri, ""),
        NameKind::Other(oid) => (SanType::OtherName, &**oid),
    };
    SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(downstream::text(&name.text)),
        oid: oid.to_owned(),
    }
}

/// What a handshake may agree on; nothing when all is Envoy's to choose.
pub(super) fn parameters(parameters: &TlsParameters) -> Option<ParametersMessage> {
    if *parameters == TlsParameters::default() {
        return None;
    }
    let texts = |list: &[std::sync::Arc<str>]| list.iter().map(ToString::to_string).collect();
    Some(ParametersMessage {
        tls_minimum_protocol_version: version(parameters.min).into(),
        tls_maximum_protocol_version: version(parameters.max).into(),
        cipher_suites: texts(&parameters.ciphers),
        ecdh_curves: texts(&parameters.curves),
        signature_algorithms: texts(&parameters.signature_algorithms),
        ..Default::default()
    })
}

fn version(version: Option<TlsVersion>) -> TlsProtocol {
    match version {
        None | Some(TlsVersion::Auto) => TlsProtocol::TlsAuto,
        Some(TlsVersion::V1_0) => TlsProtocol::TlSv10,
        Some(TlsVersion::V1_1) => TlsProtocol::TlSv11,
        Some(TlsVersion::V1_2) => TlsProtocol::TlSv12,
        Some(TlsVersion::V1_3) => TlsProtocol::TlSv13,
    }
}
