//! Stage 4: policies, and how those of a kind relate to each other.

use engine::Reads;
use store::{ObjectId, Store};
use translate::{
    AttachTable, DefaultHosts, Dep, GatewayTable, PolicyOutput, Reader, RouteTable,
    policy::{self, Relation},
};

use super::{Run, Stages};

impl Stages {
    pub(super) fn run_policies(&mut self, store: &Store, run: &mut Run) {
        let Run { dirty, roots, .. } = run;
        let (gateways, routes) = (GatewayTable(&self.gateways), RouteTable(&self.routes));
        let attached = AttachTable(&self.attached);
        let (hosts, index) = (DefaultHosts(&self.route_hosts.names), &mut self.relations);
        let mut touched = Vec::new();
        let unit = |id: ObjectId, reads: &mut Reads<Dep>| {
            policy::unit(id, &mut Reader::new(store, reads), gateways, routes, attached, hosts)
        };
        self.policies.update(dirty, std::mem::take(&mut roots.policies), unit, |change| {
            let id = change.key;
            let (old, new) = (change.old, change.new);
            touched.push(Dep::PolicyStatus(id));
            roots.statuses.insert(id);
            if old.map(|p| &p.versions) != new.map(|p| &p.versions) {
                touched.push(Dep::Policy(id));
            }
            let Some(kind) = old.or(new).map(|p| p.object.kind) else { return };
            let relations = |output: Option<&PolicyOutput>| output.map_or(&[][..], |p| &p.relations).to_vec();
            let (old, new): (Vec<Relation>, Vec<Relation>) = (relations(old), relations(new));
            for relation in new.iter().filter(|relation| old.binary_search(relation).is_err()) {
                index.entry((kind, relation.gateway)).or_default().insert(relation);
                touched.push(Dep::Relations(kind, relation.gateway));
            }
            for relation in old.iter().filter(|relation| new.binary_search(relation).is_err()) {
                let key = (kind, relation.gateway);
                if let Some(relations) = index.get_mut(&key) {
                    relations.remove(relation);
                    if relations.is_empty() {
                        index.remove(&key);
                    }
                }
                touched.push(Dep::Relations(kind, relation.gateway));
            }
        });
        dirty.extend(touched);
    }
}
