//! The incremental result against a build from scratch.

use std::collections::BTreeMap;

use crate::{Pipeline, Stages, everything};

/// Something in which the incremental result differs from a build from scratch. There should be none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs, such as `default/eg rds default/eg/http` or `status HTTPRoute default/shop`.
    pub what: String,
    /// Its state in the running process, briefly.
    pub running: String,
    /// Its state from scratch, briefly.
    pub fresh: String,
}

impl Pipeline {
    /// Builds everything anew from the same facts and compares. Costs a cold start; changes nothing.
    pub fn audit(&self) -> Vec<Difference> {
        let mut fresh = Stages::default();
        fresh.run(&self.store, &everything(&self.store));
        let mut differences = Vec::new();
        compare(&self.digest(&self.stages), &self.digest(&fresh), &mut differences);
        differences
    }

    fn digest(&self, stages: &Stages) -> BTreeMap<String, String> {
        let mut digest = BTreeMap::new();
        for (name, fleet) in stages.fleets() {
            digest.insert(format!("fleet {name}"), format!("{:?}", fleet.spec));
            for ((kind, resource), body) in &fleet.resources {
                digest.insert(
                    format!("{name} {} {resource}", kind.short()),
                    format!("{:?} {:?}", body.version, body.owners),
                );
            }
        }
        for status in stages.statuses() {
            digest.insert(format!("status {}", status.object), format!("{status:?}"));
        }
        digest
    }
}

fn compare(running: &BTreeMap<String, String>, fresh: &BTreeMap<String, String>, out: &mut Vec<Difference>) {
    let absent = "(absent)".to_owned();
    let keys = running.keys().chain(fresh.keys().filter(|key| !running.contains_key(*key)));
    for key in keys {
        let (a, b) = (running.get(key).unwrap_or(&absent), fresh.get(key).unwrap_or(&absent));
        if a != b {
            out.push(Difference { what: key.clone(), running: a.clone(), fresh: b.clone() });
        }
    }
}
