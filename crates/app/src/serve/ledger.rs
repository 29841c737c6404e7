//! From what the watches see to what the leader knows of it: without it, every write would begin with a read.

use ir::{Kind, ObjectRef};
use leader::{Leader, Live};
use provider::kubernetes::{Sight, Witness};
use serde_json::Value;

/// Tells a leader's writers what the API server holds.
#[derive(Debug)]
pub(super) struct Ledger(pub(super) Leader);

impl Witness for Ledger {
    fn served(&self, kind: Kind, version: &'static str) {
        self.0.statuses().served(kind, version);
    }

    fn seen(&self, object: &ObjectRef, sight: &Sight) {
        let live = Live {
            generation: sight.generation,
            resource_version: &sight.resource_version,
            status: sight.status.as_ref(),
            exact: true,
        };
        self.0.statuses().observe(object, live);
        if object.kind == Kind::GatewayClass {
            self.0.classes().observe(&object.name, &sight.finalizers);
        }
    }

    fn gone(&self, object: &ObjectRef) {
        self.0.statuses().gone(object);
    }

    fn infrastructure(&self, document: &Value) {
        self.0.fleets().observe(document);
    }

    fn infrastructure_gone(&self, kind: &str, namespace: &str, name: &str) {
        self.0.fleets().gone(kind, namespace, name);
    }
}
