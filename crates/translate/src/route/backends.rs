//! Backends of a rule: resolved, weighed, grouped into clusters.

use std::sync::Arc;

use ir::{
    cluster::{INVALID_BACKEND_CLUSTER, Protocol, Zones},
    route::{Target, WeightedCluster},
};
use store::{ObjectId, facts};

use super::{
    BackendKind, Destination, Slot, filters,
    resolve::{Referrer, Resolved, resolve},
};
use crate::{Finding, Reader, shared::Sharing};

/// The backends of a rule.
pub(super) struct Backends {
    pub unresolved: Vec<Finding>,
    pub unavailable: Vec<Finding>,
    pub warnings: Vec<Finding>,
    /// BackendTLSPolicies that had a say in it.
    pub policies: Vec<ObjectId>,
    /// Target and clusters, or the status that answers instead.
    pub plan: Result<(Target, Vec<Cluster>), u16>,
}

/// A cluster of a rule.
pub(super) struct Cluster {
    pub slot: Slot,
    pub name: Arc<str>,
    pub protocol: Protocol,
    pub zones: Zones,
    pub destinations: Vec<Destination>,
}

/// One backend after resolution.
struct Weighed {
    index: u16,
    weight: u32,
    filters: filters::BackendFilters,
    destination: Destination,
    protocol: Protocol,
    zones: Zones,
    state: State,
}

/// Whether a backend can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Valid,
    /// It resolves but has no endpoints: 503 for its share.
    Unavailable,
    /// It does not resolve: 500 for its share.
    Invalid,
}

/// Resolves the backends of one rule. `sticky` tells that it keeps clients on one endpoint of all of them.
pub(super) fn of_rule(
    referrer: &Referrer<'_>,
    (rule_index, sticky): (u16, bool),
    backends: &[facts::BackendRef],
    base: &str,
    reader: &mut Reader<'_>,
) -> Backends {
    let invalid_status = referrer.speaks.status_of_invalid();
    let mut out = Backends {
        unresolved: Vec::new(),
        unavailable: Vec::new(),
        warnings: Vec::new(),
        policies: Vec::new(),
        plan: Err(invalid_status),
    };
    let mut weighed = Vec::with_capacity(backends.len());
    for (i, backend) in (0u16..).zip(backends) {
        let filters = filters::of_backend(&backend.filters);
        let region: Arc<str> = format!("{base}/backend/{i}").into();
        let problem_of_filters = filters.as_ref().err().cloned();
        let resolved = resolve(referrer, &backend.backend, backend.weight, problem_of_filters, reader);
        let finding = |reason, message| {
            Finding::new(
                format!("spec.rules[{rule_index}].backendRefs[{i}]"),
                reason,
                format!("Rule {rule_index}, backend {i}: {message}"),
            )
        };
        let (destination, protocol, zones, state) = match resolved {
            Ok(Resolved { destination, protocol, zones, warning }) => {
                out.warnings.extend(warning.map(|w| finding(w.reason, w.message)));
                out.policies.extend(destination.policy());
                (Destination { region, ..destination }, protocol, zones, State::Valid)
            }
            Err(problem) => {
                out.policies.extend(problem.policy);
                let finding = finding(problem.reason, problem.message);
                let (state, findings) = if problem.unavailable {
                    (State::Unavailable, &mut out.unavailable)
                } else {
                    (State::Invalid, &mut out.unresolved)
                };
                findings.push(finding);
                (nothing(region, backend.weight), Protocol::default(), Zones::default(), state)
            }
        };
        weighed.push(Weighed {
            index: i,
            weight: backend.weight,
            filters: filters.unwrap_or_default(),
            destination,
            protocol,
            zones,
            state,
        });
    }
    if backends.len() > 1 && weighed.iter().any(|w| w.destination.kind == BackendKind::DynamicResolver) {
        out.unresolved.push(Finding::new(
            format!("spec.rules[{rule_index}].backendRefs"),
            "InvalidBackendRef",
            format!("Rule {rule_index}: a DynamicResolver Backend must be the only backend of its rule"),
        ));
        return out;
    }
    mark_sharing(&mut weighed, sticky);
    out.plan = plan(base, weighed, invalid_status);
    out
}

/// Says which backends may share a cluster with other rules. What a reference changes on the way is said beside the
/// cluster's name, so it could; Envoy Gateway keeps it apart. Several backends share none where one cluster has to hold
/// them together: to keep a client on an endpoint, or to stand in for each other.
fn mark_sharing(weighed: &mut [Weighed], sticky: bool) {
    let alone = weighed.len() <= 1;
    let together = !alone && (sticky || weighed.iter().any(|w| w.destination.priority > 0));
    for w in weighed {
        let filtered = has_filters(w);
        let sharing = w.destination.sharing.take().filter(|_| !together && !filtered);
        w.destination.sharing = sharing.map(|sharing| Sharing { alone, ..sharing });
    }
}

/// Groups backends into clusters, or says which status answers instead: `invalid_status` when a reference is invalid or
/// all weights are 0, 503 when backends merely lack endpoints.
fn plan(base: &str, mut weighed: Vec<Weighed>, invalid_status: u16) -> Result<(Target, Vec<Cluster>), u16> {
    let share = |weighed: &[Weighed], state| -> u64 {
        weighed.iter().filter(|w| w.state == state).map(|w| u64::from(w.weight)).sum()
    };
    if share(&weighed, State::Valid) == 0 {
        let has = |state| weighed.iter().any(|w| w.state == state);
        let unavailable = has(State::Unavailable) && !has(State::Invalid);
        return Err(if unavailable { 503 } else { invalid_status });
    }
    weighed.retain(|w| w.weight > 0);
    let apart =
        weighed.iter().any(|w| w.state != State::Valid || has_filters(w) || w.zones != Zones::default())
            || mixed_addresses(&weighed);
    if !apart {
        let cluster = Cluster {
            slot: Slot::Rule,
            name: base.into(),
            protocol: weighed.iter().map(|w| w.protocol).max().unwrap_or_default(),
            zones: Zones::default(),
            destinations: weighed.into_iter().map(|w| w.destination).collect(),
        };
        return Ok((Target::Cluster(cluster.name.clone()), vec![cluster]));
    }
    // Envoy has one status for all missing clusters of a rule. Where both are needed, backends without endpoints keep
    // their clusters, which are empty, so that Envoy answers 503 for them by itself.
    let (invalid, unavailable) = (share(&weighed, State::Invalid), share(&weighed, State::Unavailable));
    let (missing, missing_status) = match (invalid, unavailable) {
        (0, 0) => (0, None),
        (0, unavailable) => (unavailable, Some(503)),
        (invalid, _) => (invalid, Some(invalid_status)),
    };
    let has_cluster = |w: &Weighed| match w.state {
        State::Valid => true,
        State::Unavailable => invalid > 0,
        State::Invalid => false,
    };
    let mut entries = Vec::new();
    if missing > 0 {
        entries.push(WeightedCluster {
            name: INVALID_BACKEND_CLUSTER.into(),
            weight: u32::try_from(missing).unwrap_or(u32::MAX),
            request_headers: Default::default(),
            response_headers: Default::default(),
            host_rewrite: None,
        });
    }
    let mut clusters = Vec::new();
    for w in &mut weighed {
        let name = w.destination.region.clone();
        if has_cluster(w) {
            let filters = std::mem::take(&mut w.filters);
            entries.push(WeightedCluster {
                name: name.clone(),
                weight: w.weight,
                request_headers: filters.request_headers,
                response_headers: filters.response_headers,
                host_rewrite: filters.host_rewrite,
            });
        }
        clusters.push(Cluster {
            slot: Slot::Backend(w.index),
            name,
            protocol: w.protocol,
            zones: w.zones,
            destinations: vec![w.destination.clone()],
        });
    }
    Ok((Target::Weighted { clusters: entries.into(), missing_status }, clusters))
}

fn has_filters(w: &Weighed) -> bool {
    !w.filters.request_headers.is_empty()
        || !w.filters.response_headers.is_empty()
        || w.filters.host_rewrite.is_some()
}

/// Host names and IP addresses cannot share a cluster: one is resolved by Envoy, the other comes by EDS.
fn mixed_addresses(weighed: &[Weighed]) -> bool {
    let dns = |w: &Weighed| w.destination.kind.by_dns();
    weighed.iter().any(dns) && !weighed.iter().all(dns)
}

fn nothing(region: Arc<str>, weight: u32) -> Destination {
    Destination {
        region,
        weight,
        priority: 0,
        metadata: None,
        kind: BackendKind::Nothing,
        tls: None,
        sharing: None,
    }
}
