//! Certificates of clients: `spec.tls.frontend` of a Gateway (GEP-91).
//!
//! The check is for HTTPS listeners of a port, also those of ListenerSets, and for no others: what it says of a port
//! goes in the place of `default` as a whole, also when it says nothing. A listener that is to check certificates and
//! has no authority to check them by is not served: it must never let anybody in unchecked.

use std::sync::Arc;

use ir::{Kind, object::GATEWAY_GROUP, tls::ClientValidation};
use rustc_hash::FxHashMap;
use store::{
    Bundle, ObjectId,
    facts::{self, FrontendValidation},
};

use super::listener::{Judged, Protocol};
use crate::{
    Finding, Reader,
    secret::{self, SecretKey},
    trust::{self, Referrer, Untrusted},
};

/// Reason of `ResolvedRefs` of a Gateway when authorities for clients cannot be used, as with Envoy Gateway.
const INVALID_PARAMETERS: &str = "InvalidParameters";

/// What a listener asks of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What SDS has to serve for it.
    pub authorities: Option<SecretKey>,
    /// The demand.
    pub validation: Arc<ClientValidation>,
}

/// The check on one port, or on all that have none of their own.
#[derive(Clone, Debug)]
struct Check {
    /// `None` when there is no authority to check by.
    asked: Option<Asked>,
    /// What is wrong with its references, as listeners say it.
    unresolved: Option<Finding>,
}

/// The checks of a Gateway.
#[derive(Debug, Default)]
pub(super) struct Frontend {
    default: Option<Check>,
    ports: FxHashMap<u16, Option<Check>>,
    /// What the Gateway says about references that do not resolve.
    pub(super) unresolved: Vec<Finding>,
    /// True when some check lets clients in whatever they show.
    pub(super) insecure: bool,
}

/// The checks that a Gateway asks for.
pub(super) fn of_gateway(gateway: &facts::Gateway, reader: &mut Reader<'_>) -> Frontend {
    let mut frontend = Frontend::default();
    let Some(spec) = gateway.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else { return frontend };
    let id = gateway.meta.id;
    frontend.default = (spec.default.as_ref()).map(|validation| {
        let field = "spec.tls.frontend.default.validation";
        frontend.check(validation, SecretKey::Clients(id, None), field, reader)
    });
    for (index, (port, validation)) in spec.ports.iter().enumerate() {
        let check = validation.as_ref().map(|validation| {
            let field = format!("spec.tls.frontend.perPort[{index}].tls.validation");
            frontend.check(validation, SecretKey::Clients(id, Some(*port)), &field, reader)
        });
        frontend.ports.insert(*port, check);
    }
    frontend
}

impl Frontend {
    fn check(
        &mut self,
        validation: &FrontendValidation,
        key: SecretKey,
        field: &str,
        reader: &mut Reader<'_>,
    ) -> Check {
        let SecretKey::Clients(gateway, _) = key else { return Check { asked: None, unresolved: None } };
        let found = authorities(gateway, validation, reader);
        let any = found.iter().any(Result::is_ok);
        let untrusted: Vec<&Untrusted> = found.iter().filter_map(|found| found.as_ref().err()).collect();
        let unresolved = untrusted.first().map(|first| {
            let messages: Vec<String> =
                untrusted.iter().map(|untrusted| format!("{field}.{}", untrusted.message())).collect();
            let message = messages.join("; ");
            self.unresolved.push(Finding::new(field, INVALID_PARAMETERS, message.clone()));
            Finding::new("", reason(first), message)
        });
        self.insecure |= any && validation.insecure;
        let asked = any.then(|| Asked {
            authorities: Some(key),
            validation: Arc::new(ClientValidation {
                authorities: Some(secret::name(key, reader)),
                required: !validation.insecure,
                untrusted: validation.insecure,
                ..ClientValidation::default()
            }),
        });
        Check { asked, unresolved }
    }

    /// Tells each listener what it asks of clients.
    pub(super) fn mark(&self, judged: &mut [Judged<'_>]) {
        for listener in judged.iter_mut().filter(|listener| listener.protocol == Protocol::Https) {
            let check = match self.ports.get(&listener.fact.port) {
                Some(of_port) => of_port,
                None => &self.default,
            };
            let Some(check) = check else { continue };
            listener.client.clone_from(&check.asked);
            match &check.unresolved {
                Some(finding) if check.asked.is_none() => listener.unchecked = Some(finding.clone()),
                Some(finding) => drop(listener.unresolved.get_or_insert_with(|| finding.clone())),
                None => {}
            }
        }
    }
}

/// What each reference of a check leads to, in order.
fn authorities(
    gateway: ObjectId,
    validation: &FrontendValidation,
    reader: &mut Reader<'_>,
) -> Vec<Result<Arc<Bundle>, Untrusted>> {
    let namespace = reader.object(gateway).namespace;
    let referrer = Referrer { group: GATEWAY_GROUP, kind: Kind::Gateway.name(), namespace: &namespace };
    trust::each(referrer, &validation.authorities, reader)
}

/// The authorities of a check that can be used. Others are left out: fewer clients get in, never more.
pub(crate) fn usable(
    gateway: ObjectId,
    validation: &FrontendValidation,
    reader: &mut Reader<'_>,
) -> Vec<Arc<Bundle>> {
    authorities(gateway, validation, reader).into_iter().filter_map(Result::ok).collect()
}

fn reason(untrusted: &Untrusted) -> &'static str {
    match untrusted {
        Untrusted::Kind(_) => "InvalidCACertificateKind",
        Untrusted::Reference(_) => "InvalidCACertificateRef",
        Untrusted::NotPermitted(_) => "RefNotPermitted",
    }
}
