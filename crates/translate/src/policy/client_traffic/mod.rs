//! ClientTrafficPolicy: how clients talk to listeners.
//!
//! Gateways make their listeners of it, so what it says is read in their stage ([`Client::of`]), and what they found is
//! what its status says.

mod headers;
mod http;
mod socket;
mod tls;

use std::sync::Arc;

use api::{ClientTrafficPolicySpec, Duration as Text, envoyproxy::StringMatchType};
use ir::{
    Kind,
    downstream::{ConnectionSettings, HttpSettings, SocketSettings, TextMatch},
};
use patch::{MergeKeys, ReplaceLists};
use serde_json::Value;
use store::{ObjectId, facts};

use super::{AtGateway, PolicyKind, Scope, Settings, Source, backend_traffic::Findings};
use crate::{DefaultHosts, Finding, GatewayTable, Reader, gateway::NoHttp3};
pub use tls::{ClientCheck, Tls};
pub(crate) use tls::{authorities, name_of_authorities};

/// The kind.
pub const KIND: Kind = Kind::ClientTrafficPolicy;

/// Why HTTP/3 is not offered: the reason of the condition `Warning`, and a sentence.
const NO_HTTP3: [(NoHttp3, &str, &str); 2] = [
    (
        NoHttp3::Certificates,
        "UnsupportedHTTP3ClientValidation",
        "clients are asked for certificates there, which Envoy cannot do over QUIC",
    ),
    (
        NoHttp3::PortTaken,
        "HTTP3PortUnavailable",
        "a UDP listener takes the datagrams of the port; give one of them another port",
    ),
];

/// Fields of which one counts, and those that say something of the list beside them.
const ALTERNATIVES: [(&str, &[&str]); 6] = [
    ("", &["proxyProtocol", "enableProxyProtocol"]),
    ("clientIPDetection", &["xForwardedFor", "customHeader", "directSourceIP"]),
    ("clientIPDetection.xForwardedFor", &["numTrustedHops", "trustedCIDRs"]),
    ("headers", &["requestID", "preserveXRequestID"]),
    ("tls.clientValidation", &["mode", "optional"]),
    ("tls.clientValidation.crl", &["refs", "onlyVerifyLeafCertificate"]),
];

/// What a ClientTrafficPolicy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Of sockets.
    pub socket: SocketSettings,
    /// Of connections.
    pub connection: ConnectionSettings,
    /// Of requests.
    pub http: HttpSettings,
    /// Requests of HTTP/1.0 without a host are for the listener's.
    pub default_host: bool,
    /// Of TLS.
    pub tls: Tls,
    /// Offers HTTP/3.
    pub http3: bool,
    /// Clients are not told of local rate limits.
    pub quiet_limits: bool,
    /// The policy that says it of HTTP/1, the narrowest where several do; `None` where none does.
    pub http1_of: Option<ObjectId>,
    trouble: Trouble,
}

/// What is wrong with a policy, by the listeners that it matters to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Trouble {
    /// All.
    any: Vec<Finding>,
    /// Those that speak HTTP.
    http: Vec<Finding>,
    /// Those that end TLS.
    tls: Vec<Finding>,
}

impl Client {
    /// What a policy says, merged over `parents`, the closest of which comes first.
    pub fn of(policy: &Arc<facts::Policy>, parents: &[ObjectId], reader: &mut Reader<'_>) -> Client {
        let source = Source::new(&ClientTraffic, policy, parents, reader);
        let mut findings = Findings::default();
        let spec = match serde_json::from_value::<ClientTrafficPolicySpec>(Value::clone(&source.document)) {
            Ok(spec) => spec,
            Err(error) => {
                findings.add("spec", format!("the policy cannot be read: {error}"));
                ClientTrafficPolicySpec::default()
            }
        };
        let socket = socket::socket(&spec, &mut findings);
        let connection = socket::connection(&spec);
        let any = std::mem::take(&mut findings.0);
        let http = http::read(&spec, &mut findings);
        let of_http = std::mem::take(&mut findings.0);
        let tls = tls::read(&spec, &source, reader, &mut findings);
        let blamed = |findings: Vec<Finding>| {
            findings.into_iter().map(|finding| source.blamed(finding, reader)).collect()
        };
        let trouble =
            Trouble { any: source.judged(any, reader), http: blamed(of_http), tls: blamed(findings.0) };
        let http10 = spec.http1.as_ref().and_then(|http1| http1.http10.as_ref());
        let headers = spec.headers.as_ref();
        Client {
            socket,
            connection,
            http,
            default_host: http10.and_then(|http10| http10.use_default_host).unwrap_or_default(),
            tls,
            http3: spec.http3.is_some(),
            quiet_limits: headers.is_some_and(|headers| headers.disable_rate_limit_headers == Some(true)),
            http1_of: spec.http1.is_some().then(|| source.owner("http1").meta.id),
            trouble,
        }
    }

    /// Why it cannot be applied to a listener, by what the listener does; none when it can.
    pub fn against(&self, http: bool, tls: bool) -> Vec<Finding> {
        let parts =
            [Some(&self.trouble.any), http.then_some(&self.trouble.http), tls.then_some(&self.trouble.tls)];
        parts.into_iter().flatten().flatten().cloned().collect()
    }
}

/// ClientTrafficPolicy.
pub(super) struct ClientTraffic;

impl PolicyKind for ClientTraffic {
    fn kind(&self) -> Kind {
        KIND
    }

    fn merge_keys(&self) -> &'static dyn MergeKeys {
        &ReplaceLists
    }

    fn alternatives(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &ALTERNATIVES
    }

    fn deprecated(&self, document: &Value) -> Vec<(&'static str, &'static str)> {
        const FIELDS: [(&str, (&str, &str)); 3] = [
            ("/enableProxyProtocol", ("spec.enableProxyProtocol", "spec.proxyProtocol")),
            ("/headers/preserveXRequestID", ("spec.headers.preserveXRequestID", "spec.headers.requestID")),
            (
                "/tls/clientValidation/optional",
                ("spec.tls.clientValidation.optional", "spec.tls.clientValidation.mode"),
            ),
        ];
        FIELDS
            .iter()
            .filter(|(path, _)| document.pointer(path).is_some())
            .map(|(_, fields)| *fields)
            .collect()
    }

    fn read(&self, _: &Source, _: &mut Reader<'_>) -> (Arc<dyn Settings>, Vec<Finding>) {
        (Arc::new(()), Vec::new())
    }

    fn at_gateway(
        &self,
        policy: ObjectId,
        scope: &Scope,
        gateway: ObjectId,
        (gateways, hosts): (GatewayTable<'_>, DefaultHosts<'_>),
        reader: &mut Reader<'_>,
    ) -> AtGateway {
        let mut at = AtGateway::default();
        let mut without_http3: Vec<(NoHttp3, &str)> = Vec::new();
        for verdict in gateways.client_verdicts(reader, gateway) {
            if verdict.policy != policy || verdict.scope != *scope {
                continue;
            }
            at.against.extend(
                verdict
                    .against
                    .iter()
                    .filter(|finding| !at.against.contains(finding))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
            let host = verdict.wants_host.map(|listener| hosts.of(listener, reader));
            if let Some(Err(message)) = host {
                let mut findings = Findings::default();
                let message = format!("listener {} {message}", verdict.listener);
                findings.add("spec.http1.http10.useDefaultHost", message);
                at.against.extend(findings.0);
            }
            without_http3.extend(verdict.without_http3.map(|why| (why, &*verdict.listener)));
        }
        for (why, reason, sentence) in NO_HTTP3 {
            let of_why = without_http3.iter().filter(|(other, _)| *other == why);
            let mut listeners: Vec<&str> = of_why.map(|(_, listener)| *listener).collect();
            if !listeners.is_empty() {
                listeners.sort_unstable();
                let message = format!("HTTP/3 is not offered by {}: {sentence}", listeners.join(", "));
                at.warnings.push((reason, message));
            }
        }
        at
    }
}

/// A span of time; one that the schema would have refused counts as not set.
fn span(text: Option<&Text>) -> Option<std::time::Duration> {
    text.and_then(Text::to_std)
}

/// Matches of texts. A regular expression that is none is a finding, and matches nothing.
fn text_match(
    field: &str,
    (kind, value): (StringMatchType, &str),
    findings: &mut Findings,
) -> Option<TextMatch> {
    let value: Arc<str> = value.into();
    Some(match kind {
        StringMatchType::Exact => TextMatch::Exact(value),
        StringMatchType::Prefix => TextMatch::Prefix(value),
        StringMatchType::Suffix => TextMatch::Suffix(value),
        StringMatchType::RegularExpression => {
            if let Err(message) = crate::expression::check(&value) {
                findings.add(field, message);
                return None;
            }
            TextMatch::Regex(value)
        }
    })
}
