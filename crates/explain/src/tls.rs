//! TLS with clients and towards backends, with who says what of it.

use envoy_api::{
    matcher::string_matcher::MatchPattern,
    tls::{
        CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, TlsParameters,
        UpstreamTlsContext, common_tls_context::ValidationContextType, tls_parameters::TlsProtocol,
    },
};
use ir::{Kind, ObjectRef};
use pipeline::Pipeline;
use store::{
    Fact,
    facts::{self, BackendTlsPolicy, CertificateRef, Trust},
};

use crate::{
    Setting,
    sources::{Settings, Source, Sources, default, first},
};

/// Lists of a handshake: what they are called here, and the field that says them.
type List = (&'static str, &'static str, fn(&TlsParameters) -> &[String]);

const LISTS: [List; 3] = [
    ("TLS ciphers", "ciphers", |parameters| &parameters.cipher_suites),
    ("TLS curves", "ecdhCurves", |parameters| &parameters.ecdh_curves),
    ("TLS signature algorithms", "signatureAlgorithms", |parameters| &parameters.signature_algorithms),
];

/// What a listener asks of clients.
pub(crate) fn of_clients(tls: &DownstreamTlsContext, sources: &Sources<'_>, settings: &mut Settings) {
    let common = tls.common_tls_context.clone().unwrap_or_default();
    let policy = |field: &str| sources.policy(&format!("tls.{field}"));
    if common.validation_context_type.is_some() {
        let required = tls.require_client_certificate.is_some_and(|required| required.value);
        let value = if required { "demanded" } else { "asked for" };
        let source = first([policy("clientValidation"), frontend(sources)]);
        settings.push("client certificate", value, source);
    }
    let parameters = common.tls_params.clone().unwrap_or_default();
    settings.said("TLS at least", version(parameters.tls_minimum_protocol_version), policy("minVersion"));
    settings.said("TLS at most", version(parameters.tls_maximum_protocol_version), policy("maxVersion"));
    for (name, field, list) in LISTS {
        settings.said(name, list(&parameters).join(", "), policy(field));
    }
    settings.said("TLS ALPN", alpn(&common), policy("alpnProtocols"));
}

/// The Gateway's own word on certificates of clients.
fn frontend(sources: &Sources<'_>) -> Source {
    let gateway = gateway(sources.pipeline, &sources.gateway);
    let says = gateway.and_then(|gateway| gateway.tls.as_ref()?.frontend.as_ref()).is_some();
    if says { (sources.gateway.to_string(), "spec.tls.frontend".to_owned()) } else { default() }
}

fn gateway<'a>(pipeline: &'a Pipeline, gateway: &ObjectRef) -> Option<&'a facts::Gateway> {
    match fact(pipeline, gateway)? {
        Fact::Gateway(gateway) => Some(gateway),
        _ => None,
    }
}

fn fact<'a>(pipeline: &'a Pipeline, object: &ObjectRef) -> Option<&'a Fact> {
    let store = pipeline.store();
    store.fact(store.find(object)?)
}

/// Who has a say in TLS towards a backend.
pub(crate) struct Sayers<'a> {
    pipeline: &'a Pipeline,
    gateway: ObjectRef,
    backend: ObjectRef,
    /// The Backend's own words.
    own: Option<&'a facts::BackendTls>,
    /// The policy for it.
    policy: Option<(ObjectRef, &'a BackendTlsPolicy)>,
}

impl<'a> Sayers<'a> {
    /// Those of a backend; `section` is the name of its port, for a Backend the number.
    pub(crate) fn of(sources: &Sources<'a>, backend: ObjectRef, section: Option<&str>) -> Sayers<'a> {
        let pipeline = sources.pipeline;
        let own = match fact(pipeline, &backend) {
            Some(Fact::Backend(backend)) => backend.tls.as_deref(),
            _ => None,
        };
        let policy = pipeline.policy_of_backend(&backend, section).and_then(|policy| {
            let Fact::BackendTlsPolicy(fact) = fact(pipeline, &policy)? else { return None };
            Some((policy, fact))
        });
        Sayers { pipeline, gateway: sources.gateway.clone(), backend, own, policy }
    }

    fn of_policy(&self, field: &str) -> Option<Source> {
        let (policy, _) = self.policy.as_ref()?;
        Some((policy.to_string(), format!("spec.validation.{field}")))
    }

    /// A field of the Backend's `tls`, where it says it.
    fn of_backend(&self, field: &str, says: impl Fn(&facts::BackendTls) -> bool) -> Option<Source> {
        self.own.filter(|own| says(own))?;
        Some((self.backend.to_string(), format!("spec.tls.{field}")))
    }

    /// What the proxies say of their side: the Gateway, whose word goes before that of its EnvoyProxy as a whole.
    fn of_proxies(&self, field: &str) -> Source {
        let says =
            gateway(self.pipeline, &self.gateway).and_then(|gateway| gateway.tls.as_ref()?.backend.as_ref());
        match says {
            Some(_) if field == "clientCertificateRef" => {
                (self.gateway.to_string(), format!("spec.tls.backend.{field}"))
            }
            Some(_) => default(),
            None => crate::sources::parameter(self.pipeline, &self.gateway, &format!("backendTLS.{field}"))
                .map_or_else(default, |(_, source)| source),
        }
    }

    /// Whose certificates are trusted, as it is written.
    fn trusted(&self) -> Option<(String, Source)> {
        let (trust, by_policy) = match (&self.policy, self.own) {
            (Some((_, policy)), _) => (&policy.trust, true),
            (None, Some(own)) => (own.trust.as_ref()?, false),
            (None, None) => return None,
        };
        let (value, field) = match trust {
            Trust::System => ("those of the system".to_owned(), "wellKnownCACertificates"),
            Trust::Other(name) => (name.to_string(), "wellKnownCACertificates"),
            Trust::Authorities(references) => {
                // References have no namespace, so all lead to that of who refers.
                let by = self.policy.as_ref().map_or(&self.backend, |(policy, _)| policy);
                let named = |reference: &CertificateRef| match &*reference.kind {
                    "ClusterTrustBundle" => format!("{} {}", reference.kind, reference.name),
                    kind => format!("{kind} {}/{}", by.namespace, reference.name),
                };
                let all = references.iter().map(named).collect::<Vec<_>>().join(", ");
                (all, "caCertificateRefs")
            }
        };
        let source = if by_policy { self.of_policy(field) } else { self.of_backend(field, |_| true) };
        Some((value, source?))
    }
}

/// TLS towards a backend, as the proxies are told, with who says each part. `by_request` says that the host of each
/// request is asked for.
pub(crate) fn of_backend(tls: &UpstreamTlsContext, by_request: bool, sayers: &Sayers<'_>) -> Vec<Setting> {
    let mut settings = Settings::default();
    let common = tls.common_tls_context.clone().unwrap_or_default();
    let hostname = || sayers.of_policy("hostname");
    if !tls.sni.is_empty() {
        let source = hostname().or_else(|| sayers.of_backend("sni", |own| own.sni.is_some()));
        settings.push("TLS server name", &*tls.sni, source.unwrap_or_else(default));
    } else if tls.auto_host_sni {
        let source = sayers.of_backend("autoSNIFromEndpointHostname", |own| own.sni_of_endpoint);
        settings.push("TLS server name", "host name of the endpoint", source.unwrap_or_else(default));
    } else {
        let value = if by_request { "host of the request" } else { "none" };
        settings.push("TLS server name", value, default());
    }
    match validation(&common) {
        None => {
            let source = sayers.of_backend("insecureSkipVerify", |own| own.insecure);
            settings.push("TLS authorities", "not looked at", source.unwrap_or_else(default));
        }
        Some(context) => {
            let (value, source) = sayers.trusted().unwrap_or_else(|| (String::new(), default()));
            settings.push("TLS authorities", value, source);
            let names = names(&context);
            let listed = sayers.policy.as_ref().is_some_and(|(_, policy)| !policy.names.is_empty());
            let field = if listed { "subjectAltNames" } else { "hostname" };
            let source = sayers.of_policy(field);
            let source = source.or_else(|| sayers.of_backend("sni", |own| own.sni.is_some()));
            let value = match names.is_empty() {
                true if tls.auto_sni_san_validation => "the server name".to_owned(),
                true => "any".to_owned(),
                false => names.join(", "),
            };
            settings.push("TLS certificate for", value, source.unwrap_or_else(default));
        }
    }
    let client = |field: &str, says: fn(&facts::BackendTls) -> bool| {
        sayers.of_backend(field, says).unwrap_or_else(|| sayers.of_proxies(field))
    };
    let shown: Vec<&str> =
        common.tls_certificate_sds_secret_configs.iter().map(|secret| &*secret.name).collect();
    let source = client("clientCertificateRef", |own| own.client.certificate.is_some());
    settings.push("TLS client certificate", shown.join(", "), source);
    let parameters = common.tls_params.clone().unwrap_or_default();
    let source = client("minVersion", |own| own.client.parameters.min.is_some());
    settings.push("TLS at least", version(parameters.tls_minimum_protocol_version), source);
    let source = client("maxVersion", |own| own.client.parameters.max.is_some());
    settings.push("TLS at most", version(parameters.tls_maximum_protocol_version), source);
    let own_lists: [fn(&facts::BackendTls) -> bool; 3] = [
        |own| !own.client.parameters.ciphers.is_empty(),
        |own| !own.client.parameters.curves.is_empty(),
        |own| !own.client.parameters.signature_algorithms.is_empty(),
    ];
    for ((name, field, list), own) in LISTS.into_iter().zip(own_lists) {
        settings.push(name, list(&parameters).join(", "), client(field, own));
    }
    settings.push("TLS ALPN", alpn(&common), client("alpnProtocols", |own| own.client.alpn.is_some()));
    settings.0
}

fn validation(common: &CommonTlsContext) -> Option<CertificateValidationContext> {
    Some(match common.validation_context_type.as_ref()? {
        ValidationContextType::ValidationContext(context) => context.clone(),
        ValidationContextType::CombinedValidationContext(combined) => {
            combined.default_validation_context.clone().unwrap_or_default()
        }
        _ => CertificateValidationContext::default(),
    })
}

/// Names of which a certificate must have one.
fn names(context: &CertificateValidationContext) -> Vec<String> {
    let names = context.match_typed_subject_alt_names.iter();
    let names = names.filter_map(|name| match name.matcher.as_ref()?.match_pattern.as_ref()? {
        MatchPattern::Exact(name) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

fn alpn(common: &CommonTlsContext) -> String {
    common.alpn_protocols.join(", ")
}

/// A version as it is written in objects; empty where Envoy chooses.
fn version(version: i32) -> &'static str {
    match TlsProtocol::try_from(version) {
        Ok(TlsProtocol::TlSv10) => "1.0",
        Ok(TlsProtocol::TlSv11) => "1.1",
        Ok(TlsProtocol::TlSv12) => "1.2",
        Ok(TlsProtocol::TlSv13) => "1.3",
        Ok(TlsProtocol::TlsAuto) | Err(_) => "",
    }
}

/// The name by which policies know a port of a backend: that of a Service's port, and for a Backend the number that the
/// reference to it has.
pub(crate) fn section(sources: &Sources<'_>, backend: &ObjectRef, port: Option<&str>) -> Option<String> {
    let ports = match fact(sources.pipeline, backend)? {
        Fact::Service(service) => &service.ports,
        Fact::ServiceImport(import) => &import.ports,
        _ => return referred(sources, backend),
    };
    let number: u16 = port?.parse().ok()?;
    let port = ports.iter().find(|port| port.port == number)?;
    (!port.name.is_empty()).then(|| port.name.to_string())
}

/// The port that the rule names where it refers to a Backend.
fn referred(sources: &Sources<'_>, backend: &ObjectRef) -> Option<String> {
    let rule = sources.fact()?;
    let mirrors = rule.filters.iter().filter_map(|filter| match filter {
        facts::Filter::Mirror { backend, .. } => Some(backend),
        _ => None,
    });
    let mut targets = rule.backends.iter().map(|reference| &reference.backend).chain(mirrors);
    let named = |target: &&facts::BackendTarget| {
        target.kind.as_ref() == Kind::Backend.name() && *target.name == *backend.name
    };
    targets.find(named)?.port.map(|port| port.to_string())
}
