//! Findings with stable codes: what is wrong with a set of objects, or will be, why it matters and what to do.
//!
//! [`check`] reads what the pipeline has found (problems, statuses) and gives it codes, and looks at facts for what is
//! wrong with no single object: certificates that Gateways share, routes that never get a request, policies for nothing.
//!
//! **Invariant:** no IO and no clock, and nothing is decided here: an object is rejected, refused or served by
//! translation alone.

mod backends;
mod bootstrap;
mod certificates;
pub mod code;
mod field;
mod finding;
mod gateways;
mod istio;
mod policies;
mod problems;
mod protocols;
mod routes;
mod world;

use std::collections::BTreeMap;

use ir::{ObjectRef, Problem};
use pipeline::Pipeline;
use serde_json::Value;

pub use bootstrap::{against_bootstrap, refused_bootstrap};
pub use code::{Code, Severity};
pub use finding::{Finding, Patch, Place};

use world::World;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Everything that Ferrogate reads, translated.
    pub pipeline: &'a Pipeline,
    /// What is wrong with files, with objects that an API server refuses, and with bootstraps that Envoy does
    /// ([`refused_bootstrap`]).
    pub loading: &'a [Problem],
    /// Documents of kinds that Ferrogate does not read; those of Istio are looked at.
    pub foreign: &'a [Value],
    /// How long before its end a certificate is named, in seconds.
    pub margin: i64,
}

/// All findings, the worst first.
pub fn check(input: &Input<'_>) -> Vec<Finding> {
    let world = World::new(input.pipeline, input.loading);
    let mut findings = problems::coded(&world, input.loading);
    gateways::check(&world, &mut findings);
    certificates::check(&world, input.margin, &mut findings);
    routes::check(&world, &mut findings);
    backends::check(&world, &mut findings);
    protocols::check(&world, &mut findings);
    policies::check(&world, &mut findings);
    istio::check(input.foreign, &mut findings);
    gateways::unused(&world, &mut findings);
    gateways::only_the_worst_of_overlaps(&mut findings);
    findings.sort_by(|a, b| a.key().cmp(&b.key()));
    findings.dedup();
    findings
}

/// When each usable certificate that a listener shows ends, in seconds since 1970, by Secret.
pub fn certificates(pipeline: &Pipeline) -> BTreeMap<ObjectRef, i64> {
    certificates::ends(&World::new(pipeline, &[]))
}
