//! One listener by itself: protocol, kinds, namespaces, TLS.

use std::sync::Arc;

use api::tls::MisdirectedRequests;
use ir::{Condition, ConditionStatus, ObjectRef, tls::ClientValidation};
use store::{
    ObjectId,
    facts::{self, AllowedNamespaces},
};

use super::{
    Owner, Place,
    certificates::{self, Certificate},
    clients::Covered,
    frontend::Asked,
};
use crate::{Finding, ListenerId, Reader};

/// Protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP in plain text.
    Http,
    /// HTTP over TLS that ends here.
    Https,
    /// TLS, ended here or passed through.
    Tls,
    /// Bytes.
    Tcp,
    /// Datagrams.
    Udp,
    /// Not one of Gateway API's.
    Unknown,
}

impl Protocol {
    fn parse(text: &str) -> Protocol {
        match text {
            "HTTP" => Protocol::Http,
            "HTTPS" => Protocol::Https,
            "TLS" => Protocol::Tls,
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            _ => Protocol::Unknown,
        }
    }

    /// Kinds of routes that a listener of this protocol can serve.
    fn kinds(self, passthrough: bool) -> &'static [&'static str] {
        match self {
            Protocol::Http | Protocol::Https => &["HTTPRoute", "GRPCRoute"],
            Protocol::Tls if passthrough => &["TLSRoute"],
            Protocol::Tls => &["TCPRoute", "TLSRoute"],
            Protocol::Tcp => &["TCPRoute"],
            Protocol::Udp => &["UDPRoute"],
            Protocol::Unknown => &[],
        }
    }
}

/// Reason of `OverlappingTLSConfig` when certificates of two listeners cover the same names.
pub(super) const OVERLAPPING_CERTIFICATES: &str = "OverlappingCertificates";
/// Reason of `OverlappingTLSConfig` when only their hostnames overlap.
pub(super) const OVERLAPPING_HOSTNAMES: &str = "OverlappingHostnames";
/// The condition of listeners and Gateways with either reason.
pub(super) const OVERLAPPING_TLS: &str = "OverlappingTLSConfig";

/// Reason of `Accepted` when certificates of clients must be checked and no authority is there to check them by.
const NO_VALID_AUTHORITY: &str = "NoValidCACertificate";

/// A listener with what was found about it.
#[derive(Debug)]
pub struct Judged<'a> {
    /// What it is known by.
    pub id: ListenerId,
    /// The Gateway or ListenerSet that it is part of.
    pub owner: ObjectRef,
    /// The Gateway that it is part of, by itself or through a ListenerSet.
    pub gateway: ObjectId,
    /// What becomes of misdirected requests there.
    pub(super) mode: MisdirectedRequests,
    /// Where it stands among the listeners of its fleet.
    pub place: Place,
    /// Name in xDS.
    pub xds_name: Arc<str>,
    /// The listener.
    pub fact: &'a facts::Listener,
    /// Its protocol.
    pub protocol: Protocol,
    /// Kinds of routes that may attach.
    pub supported_kinds: Vec<&'static str>,
    /// Certificates that can be served.
    pub certificates: Vec<Certificate>,
    /// What clients must show.
    pub client: Option<Asked>,
    /// The ClientTrafficPolicy that it has.
    pub policy: Option<Covered>,
    /// Why no certificate of a client can be checked, although it must be.
    pub unchecked: Option<Finding>,
    /// It is not served, and asks clients for certificates: no broader listener may serve its hosts to clients that have
    /// not shown one.
    pub closed: bool,
    /// Why it is not accepted.
    pub not_accepted: Option<Finding>,
    /// Why it is not programmed.
    pub not_programmed: Option<Finding>,
    /// References that do not resolve.
    pub unresolved: Option<Finding>,
    /// True when it is served although some references do not resolve.
    pub served_partially: bool,
    /// The conflict with other listeners.
    pub conflicted: Option<Finding>,
    /// Overlap of its TLS configuration with another listener's: a warning.
    pub overlapping: Option<Finding>,
}

impl Judged<'_> {
    /// True when its own specification is sound; only such listeners can conflict.
    pub fn sound(&self) -> bool {
        self.not_accepted.is_none()
            && self.not_programmed.is_none()
            && self.unchecked.is_none()
            && (self.unresolved.is_none() || self.served_partially)
    }

    /// True when routes on it are served.
    pub fn ready(&self) -> bool {
        self.sound() && self.conflicted.is_none()
    }

    /// True when its certificates cover names of another listener's on the port.
    pub fn shares_certificate_names(&self) -> bool {
        self.overlapping.as_ref().is_some_and(|finding| finding.reason == OVERLAPPING_CERTIFICATES)
    }

    /// The names that clients may connect to it for, as its certificates say.
    pub fn names_of_certificates(&self) -> Box<[Arc<str>]> {
        self.certificates
            .iter()
            .flat_map(|certificate| certificate.alternative_names.iter().cloned())
            .collect()
    }

    /// True when the condition `Accepted` of the Gateway need not name it.
    pub fn accepted(&self) -> bool {
        self.not_accepted.is_none()
            && self.not_programmed.is_none()
            && self.unchecked.is_none()
            && self.conflicted.is_none()
    }

    /// What clients must show; `None` when they are not asked.
    pub fn validation(&self) -> Option<&ClientValidation> {
        self.client.as_ref().map(|asked| &*asked.validation)
    }

    /// True when it is closed to those who connect to a listener that asks clients for this.
    pub fn closed_to(&self, asked: Option<&ClientValidation>) -> bool {
        self.closed && (self.client.is_none() || self.validation() != asked)
    }

    /// True when it is part of a ListenerSet.
    pub fn of_set(&self) -> bool {
        self.place.set.is_some()
    }

    /// What others' messages call it.
    pub fn label(&self) -> String {
        if self.of_set() || self.place.gateway.is_some() {
            format!("{} of {}", self.fact.name, self.owner)
        } else {
            self.fact.name.to_string()
        }
    }

    /// The conditions of the listener as Envoy Gateway sets them, with the findings behind those that do not hold.
    pub fn conditions(&self, generation: i64) -> (Vec<Condition>, Vec<(&'static str, Finding)>) {
        let of_set = self.of_set();
        let mut set = Set { of_set, generation, conditions: Vec::new(), findings: Vec::new() };
        if let Some(finding) = &self.conflicted {
            set.finding("Conflicted", ConditionStatus::True, finding);
        }
        let lost = self.conflicted.as_ref().filter(|_| of_set);
        let failed = ConditionStatus::False;
        match (&self.unchecked, &self.not_programmed, lost) {
            (Some(unchecked), ..) => set.plain("Programmed", failed, unchecked.reason, &unchecked.message),
            (None, Some(finding), _) => set.finding("Programmed", failed, finding),
            (None, None, Some(conflict)) => {
                set.plain("Programmed", failed, conflict.reason, &conflict.message);
            }
            (None, None, None) if !self.ready() => set.plain(
                "Programmed",
                failed,
                "Invalid",
                "The listener is not valid; see its other conditions",
            ),
            (None, None, None) => set.plain(
                "Programmed",
                ConditionStatus::True,
                "Programmed",
                "The listener is sent to the proxies",
            ),
        }
        // Accepted stays true when only a certificate is missing or broken: the author of the listener did nothing
        // wrong, and a repaired Secret brings it up.
        let certificates_only = self
            .unresolved
            .as_ref()
            .is_some_and(|f| matches!(f.reason, "InvalidCertificateRef" | "PartiallyInvalidCertificateRef"));
        match (&self.unchecked, &self.not_accepted, lost) {
            (Some(unchecked), ..) => set.plain("Accepted", failed, NO_VALID_AUTHORITY, &unchecked.message),
            (None, Some(finding), _) => set.finding("Accepted", failed, finding),
            (None, None, Some(conflict)) => {
                set.plain("Accepted", failed, conflict.reason, &conflict.message);
            }
            (None, None, None) if self.ready() || (certificates_only && self.conflicted.is_none()) => {
                set.plain("Accepted", ConditionStatus::True, "Accepted", "The listener is accepted");
            }
            (None, None, None) => {}
        }
        match self.unchecked.as_ref().or(self.unresolved.as_ref()) {
            Some(finding) => set.finding("ResolvedRefs", ConditionStatus::False, finding),
            None => set.plain(
                "ResolvedRefs",
                ConditionStatus::True,
                "ResolvedRefs",
                "All references of the listener resolve",
            ),
        }
        if of_set && self.ready() && self.unresolved.is_none() {
            set.plain(
                "Conflicted",
                ConditionStatus::False,
                "NoConflicts",
                "The listener is in conflict with no other",
            );
        }
        if let Some(finding) = &self.overlapping {
            set.finding(OVERLAPPING_TLS, ConditionStatus::True, finding);
        }
        (set.conditions, set.findings)
    }
}

/// Conditions under construction.
struct Set {
    /// Listeners of ListenerSets say `ListenersNotValid` where those of Gateways say `Invalid`.
    of_set: bool,
    generation: i64,
    conditions: Vec<Condition>,
    findings: Vec<(&'static str, Finding)>,
}

impl Set {
    fn plain(&mut self, kind: &'static str, status: ConditionStatus, reason: &'static str, message: &str) {
        let reason = if self.of_set && reason == "Invalid" { "ListenersNotValid" } else { reason };
        self.conditions.push(Condition {
            kind,
            status,
            reason: reason.into(),
            message: message.to_owned(),
            observed_generation: self.generation,
        });
    }

    fn finding(&mut self, kind: &'static str, status: ConditionStatus, finding: &Finding) {
        self.plain(kind, status, finding.reason, &finding.message);
        self.findings.push((kind, finding.clone()));
    }
}

/// Judges a listener without looking at its neighbours.
pub(super) fn judge<'a>(
    owner: &Owner<'_>,
    fact: &'a facts::Listener,
    index: u16,
    reader: &mut Reader<'_>,
) -> Judged<'a> {
    let protocol = Protocol::parse(&fact.protocol);
    let passthrough = fact.tls.as_ref().is_some_and(|tls| tls.passthrough);
    let mut judged = Judged {
        id: ListenerId { owner: owner.meta.id, name: fact.id },
        owner: owner.object.clone(),
        gateway: owner.part.id,
        mode: owner.part.mode,
        place: owner.place(index),
        xds_name: format!("{}/{}", owner.prefix, fact.name).into(),
        fact,
        protocol,
        supported_kinds: protocol.kinds(passthrough).to_vec(),
        certificates: Vec::new(),
        client: None,
        policy: None,
        unchecked: None,
        closed: false,
        not_accepted: None,
        not_programmed: None,
        unresolved: None,
        served_partially: false,
        conflicted: None,
        overlapping: None,
    };
    if protocol == Protocol::Unknown {
        judged.not_accepted = Some(Finding::new(
            ".protocol",
            "UnsupportedProtocol",
            format!("Protocol {} is not supported; use HTTP, HTTPS, TLS, TCP or UDP", fact.protocol),
        ));
        return judged;
    }
    allowed_kinds(&mut judged);
    allowed_namespaces(&mut judged);
    if fact.hostname.is_some() && matches!(protocol, Protocol::Tcp | Protocol::Udp) {
        judged.not_programmed = Some(Finding::new(
            ".hostname",
            "Invalid",
            format!("A listener of protocol {} cannot have a hostname", fact.protocol),
        ));
    }
    tls(&mut judged, owner, reader);
    judged
}

/// `allowedRoutes.kinds`: kinds that the protocol cannot serve make `ResolvedRefs` false, the others stay allowed.
fn allowed_kinds(judged: &mut Judged<'_>) {
    let wanted = &judged.fact.kinds;
    if wanted.is_empty() {
        return;
    }
    let possible = std::mem::take(&mut judged.supported_kinds);
    let mut invalid = Vec::new();
    for kind in wanted {
        match possible.iter().find(|name| **name == &*kind.kind) {
            Some(name) if &*kind.group == ir::object::GATEWAY_GROUP => judged.supported_kinds.push(name),
            _ => invalid.push(if kind.group.is_empty() {
                kind.kind.to_string()
            } else {
                format!("{}/{}", kind.group, kind.kind)
            }),
        }
    }
    if !invalid.is_empty() {
        judged.unresolved = Some(Finding::new(
            ".allowedRoutes.kinds",
            "InvalidRouteKinds",
            format!(
                "Routes of kind {} cannot attach to a listener of protocol {}; possible are {}",
                invalid.join(", "),
                judged.fact.protocol,
                possible.join(", ")
            ),
        ));
    }
}

fn allowed_namespaces(judged: &mut Judged<'_>) {
    let AllowedNamespaces::Selector(selector) = &judged.fact.namespaces else { return };
    let problem = match selector {
        None => Some("from: Selector needs a selector".to_owned()),
        Some(selector) => selector.invalid(),
    };
    if let Some(problem) = problem {
        judged.not_programmed = Some(Finding::new(
            ".allowedRoutes.namespaces.selector",
            "Invalid",
            format!("The namespace selector is not valid: {problem}"),
        ));
    }
}

/// TLS settings must fit the protocol, and a terminating listener needs a certificate that can be served.
fn tls(judged: &mut Judged<'_>, owner: &Owner<'_>, reader: &mut Reader<'_>) {
    let invalid = |field: &'static str, reason: &'static str, message: String| {
        Some(Finding::new(field, reason, message))
    };
    let protocol = judged.protocol;
    match (&judged.fact.tls, protocol) {
        (Some(_), Protocol::Http | Protocol::Tcp | Protocol::Udp) => {
            judged.not_programmed = invalid(
                ".tls",
                "Invalid",
                format!("A listener of protocol {} cannot have tls; use HTTPS or TLS", judged.fact.protocol),
            );
        }
        (None, Protocol::Https | Protocol::Tls) => {
            judged.not_programmed = invalid(
                ".tls",
                "Invalid",
                format!("A listener of protocol {} needs tls with certificateRefs", judged.fact.protocol),
            );
        }
        (Some(tls), Protocol::Https) if tls.passthrough => {
            judged.not_programmed = invalid(
                ".tls.mode",
                "UnsupportedTLSMode",
                "A listener of protocol HTTPS must terminate TLS; for Passthrough use protocol TLS"
                    .to_owned(),
            );
        }
        (Some(tls), Protocol::Tls) if tls.passthrough && !tls.certificates.is_empty() => {
            judged.not_programmed = invalid(
                ".tls.certificateRefs",
                "Invalid",
                "With mode Passthrough the backend holds the certificate: remove certificateRefs".to_owned(),
            );
        }
        (Some(tls), Protocol::Tls) if tls.passthrough => {}
        (Some(tls), Protocol::Https | Protocol::Tls) => {
            let (served, problems) = certificates::resolve(owner, tls, reader);
            judged.served_partially = !served.is_empty() && judged.unresolved.is_none();
            judged.certificates = served;
            if let Some(problem) = problems {
                judged.unresolved.get_or_insert(problem);
            } else if tls.certificates.is_empty() {
                judged.not_programmed = invalid(
                    ".tls.certificateRefs",
                    "Invalid",
                    "A listener that terminates TLS needs at least one certificate in certificateRefs"
                        .to_owned(),
                );
            }
        }
        _ => {}
    }
}
