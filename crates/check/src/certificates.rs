//! Certificates of listeners.

use std::collections::{BTreeMap, BTreeSet};

use ir::ObjectRef;
use store::{Certificate, Fact, Validity, names_overlap};

use crate::{
    Finding, code,
    world::{Listener, World},
};

/// Hostnames that a message names before it says that there are more.
const MOST_NAMES: usize = 8;
/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// A certificate that a listener shows, by its place among the listener's references.
struct Shown<'w, 'a> {
    listener: &'w Listener<'a>,
    reference: usize,
    secret: &'a ObjectRef,
    certificate: std::sync::Arc<Certificate>,
}

pub(crate) fn check(world: &World<'_>, margin: i64, findings: &mut Vec<Finding>) {
    let shown: Vec<Shown<'_, '_>> = world.listeners.iter().flat_map(|listener| of(world, listener)).collect();
    expiring(world, margin, &shown, findings);
    mismatched(world, &shown, findings);
    shared(world, &shown, findings);
}

/// When each certificate that a listener shows ends, in seconds since 1970, by Secret.
pub(crate) fn ends(world: &World<'_>) -> BTreeMap<ObjectRef, i64> {
    let shown = world.listeners.iter().flat_map(|listener| of(world, listener));
    shown.map(|shown| (shown.secret.clone(), shown.certificate.not_after)).collect()
}

fn of<'w, 'a>(world: &'w World<'a>, listener: &'w Listener<'a>) -> Vec<Shown<'w, 'a>> {
    let references = listener.fact.tls.iter().flat_map(|tls| tls.certificates.iter().enumerate());
    let shown = references.filter_map(|(reference, certificate)| {
        let id = certificate.target?.id;
        let Fact::Secret(secret) = world.store.fact(id)? else { return None };
        let certificate = secret.certificate.as_ref()?.as_ref().ok()?.clone();
        // What cannot be served has been said by translation.
        let usable = certificate.validity(world.store.now()) == Validity::Valid;
        usable.then_some(Shown { listener, reference, secret: world.store.object(id)?, certificate })
    });
    shown.collect()
}

/// Secrets whose certificate ends soon: one finding for each, with all who use it.
fn expiring(world: &World<'_>, margin: i64, shown: &[Shown<'_, '_>], findings: &mut Vec<Finding>) {
    let mut by_secret: BTreeMap<&ObjectRef, Finding> = BTreeMap::new();
    for shown in shown {
        let left = shown.certificate.not_after - world.store.now();
        if left > margin {
            continue;
        }
        let finding = by_secret.remove(shown.secret).unwrap_or_else(|| {
            let field = "data[tls.crt]";
            let message = format!("the certificate ends in {} days", left / DAY);
            Finding::new(code::CERTIFICATE_EXPIRING, shown.secret, field, message)
        });
        by_secret.insert(shown.secret, finding.and(shown.listener.owner, field_of(shown)));
    }
    findings.extend(by_secret.into_values());
}

fn field_of(shown: &Shown<'_, '_>) -> String {
    shown.listener.field(&format!(".tls.certificateRefs[{}]", shown.reference))
}

/// Listeners with a hostname that none of their certificates is for.
fn mismatched(world: &World<'_>, shown: &[Shown<'_, '_>], findings: &mut Vec<Finding>) {
    // They stand in the order of the listeners.
    for own in
        shown.chunk_by(|a, b| (a.listener.owner, a.listener.index) == (b.listener.owner, b.listener.index))
    {
        let Some(listener) = own.first().map(|shown| shown.listener) else { continue };
        let Some(hostname) = listener.fact.hostname.map(|name| world.name(name)) else { continue };
        // One without any name is weak, which has been said.
        let mut names = own.iter().flat_map(|shown| shown.certificate.dns_names.iter()).peekable();
        if names.peek().is_none() || names.any(|name| names_overlap(name, hostname)) {
            continue;
        }
        let for_names: BTreeSet<&str> =
            own.iter().flat_map(|shown| shown.certificate.dns_names.iter().map(|name| &**name)).collect();
        let message = format!("the listener is for {hostname}, its certificates for {}", listed(&for_names));
        let field = listener.field(".tls.certificateRefs");
        let finding = Finding::new(code::CERTIFICATE_MISMATCHED, listener.owner, field, message);
        findings.push(own.iter().fold(finding, |finding, shown| finding.and(shown.secret, "data[tls.crt]")));
    }
}

/// One certificate on one port of Gateways in several namespaces.
fn shared(world: &World<'_>, shown: &[Shown<'_, '_>], findings: &mut Vec<Finding>) {
    let mut groups: BTreeMap<([u8; 32], u16), Vec<&Shown<'_, '_>>> = BTreeMap::new();
    for shown in shown {
        let key = (shown.certificate.fingerprint, shown.listener.fact.port);
        groups.entry(key).or_default().push(shown);
    }
    for ((_, port), group) in groups {
        let gateways: BTreeSet<&ObjectRef> = group.iter().map(|shown| shown.listener.gateway).collect();
        let namespaces: BTreeSet<&str> = gateways.iter().map(|gateway| &*gateway.namespace).collect();
        let Some(first) = group.first().filter(|_| namespaces.len() > 1) else { continue };
        // Requests can go astray for every name that a Gateway serves and another one's certificate covers.
        let hit = group.iter().flat_map(|shown| {
            let names = shown.certificate.dns_names.iter();
            match shown.listener.fact.hostname.map(|name| &**world.name(name)) {
                None => names.map(|name| &**name).collect::<Vec<_>>(),
                Some(hostname) => {
                    names.filter(|name| names_overlap(name, hostname)).map(|_| hostname).collect()
                }
            }
        });
        let hit: BTreeSet<&str> = hit.collect();
        let list: Vec<String> = gateways.iter().map(ToString::to_string).collect();
        let message = format!(
            "{} show the same certificate on port {port}; requests for {} may arrive at the wrong one",
            list.join(" and "),
            listed(&hit)
        );
        let finding = Finding::new(code::CERTIFICATE_SHARED, first.listener.owner, field_of(first), message);
        let others = group.iter().skip(1);
        findings
            .push(others.fold(finding, |finding, shown| finding.and(shown.listener.owner, field_of(shown))));
    }
}

fn listed(names: &BTreeSet<&str>) -> String {
    let some: Vec<&str> = names.iter().take(MOST_NAMES).copied().collect();
    let more = names.len() - some.len();
    if more == 0 { some.join(", ") } else { format!("{} and {more} more", some.join(", ")) }
}
