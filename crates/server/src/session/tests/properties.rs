//! Random resources and random proxies: what must hold whatever happens.

use std::collections::BTreeMap;

use ir::resource::{ResourceType, ResourceUpdate};
use proptest::prelude::*;

use super::Rig;
use crate::fake::{
    Model,
    build::{self, POISON},
    fuzz,
};

/// What a commit makes of the world: routes by host to a cluster, with poisoned hosts and clusters.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    /// Host → cluster and whether Envoy refuses the host.
    hosts: BTreeMap<u8, (u8, bool)>,
    /// How a cluster is made; bumps make it change.
    editions: BTreeMap<u8, u32>,
    port: u16,
}

#[derive(Clone, Debug)]
enum Step {
    Route {
        host: u8,
        cluster: u8,
        bad: bool,
    },
    Unroute {
        host: u8,
    },
    Edit {
        cluster: u8,
    },
    Move {
        port: u16,
    },
    /// Answers that many responses.
    Answer {
        count: u8,
    },
    /// Receives that many responses, and answers them only later, in another order.
    Delay {
        count: u8,
    },
    Wait {
        millis: u16,
    },
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, 0..5_u8, prop::bool::weighted(0.15))
            .prop_map(|(host, cluster, bad)| Step::Route { host, cluster, bad }),
        1 => (0..4_u8).prop_map(|host| Step::Unroute { host }),
        1 => (0..5_u8).prop_map(|cluster| Step::Edit { cluster }),
        1 => (0..3_u16).prop_map(|port| Step::Move { port }),
        4 => (1..6_u8).prop_map(|count| Step::Answer { count }),
        1 => (1..4_u8).prop_map(|count| Step::Delay { count }),
        1 => (0..2_500_u16).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::Reconnect),
    ]
}

impl World {
    fn resources(&self) -> BTreeMap<(ResourceType, String), std::sync::Arc<ir::resource::Resource>> {
        let mut all = Vec::new();
        for (cluster, _) in self.hosts.values() {
            let name = format!("c{cluster}");
            let edition = self.editions.get(cluster).copied().unwrap_or_default();
            // Every second cluster is proved warm by its own acceptance.
            let plain = build::cluster(&name, edition);
            all.push(if cluster % 2 == 0 { plain } else { build::slow(&plain) });
            all.push(build::endpoints(&name, 9));
        }
        let hosts = self.hosts.iter().map(|(host, (cluster, bad))| {
            let note = if *bad { POISON } else { "fine" };
            build::host(&format!("h{host}"), &format!("c{cluster}"), note)
        });
        all.push(build::route("web", hosts.collect()));
        all.push(build::listener("web", self.port, "web"));
        all.into_iter().map(|r| ((r.kind, r.name.to_string()), r)).collect()
    }

    fn update_to(&self, next: &World) -> ResourceUpdate {
        let (before, after) = (self.resources(), next.resources());
        let changed = after
            .iter()
            .filter(|(key, r)| before.get(*key).is_none_or(|b| b.version != r.version))
            .map(|(_, r)| std::sync::Arc::clone(r))
            .collect();
        let removed = before
            .keys()
            .filter(|key| !after.contains_key(*key))
            .map(|(kind, name)| (*kind, name.as_str().into()))
            .collect();
        ResourceUpdate { changed, removed }
    }
}

struct Run {
    rig: Rig,
    model: Model,
    world: World,
    late: Vec<envoy_api::discovery::DeltaDiscoveryRequest>,
}

impl Run {
    fn new() -> Self {
        let world = World { port: 1, ..World::default() };
        let rig = Rig::new(build::update(world.resources().into_values()));
        let mut run = Run { rig, model: Model::new(), world, late: Vec::new() };
        for request in run.model.hello() {
            run.rig.request(request);
        }
        run
    }

    fn take(&mut self, step: &Step) {
        let mut next = self.world.clone();
        match step {
            Step::Route { host, cluster, bad } => {
                next.hosts.insert(*host, (*cluster, *bad));
            }
            Step::Unroute { host } => {
                next.hosts.remove(host);
            }
            Step::Edit { cluster } => *next.editions.entry(*cluster).or_default() += 1,
            Step::Move { port } => next.port = *port,
            Step::Answer { count } => {
                let late = std::mem::take(&mut self.late);
                // The later answers first: Envoy would not, and nothing may depend on it.
                late.into_iter().rev().for_each(|request| self.rig.request(request));
                for _ in 0..*count {
                    let Some(response) = self.rig.poll() else { break };
                    for request in self.model.receive(&response) {
                        self.rig.request(request);
                    }
                }
            }
            Step::Delay { count } => {
                for _ in 0..*count {
                    let Some(response) = self.rig.poll() else { break };
                    self.late.extend(self.model.receive(&response));
                }
            }
            Step::Wait { millis } => self.rig.wait(u64::from(*millis)),
            Step::Reconnect => {
                self.late.clear();
                self.rig.reconnect();
                for request in self.model.hello() {
                    self.rig.request(request);
                }
            }
        }
        if next != self.world {
            self.rig.apply(self.world.update_to(&next));
            self.world = next;
        }
    }

    fn finish(&mut self) {
        let late = std::mem::take(&mut self.late);
        late.into_iter().for_each(|request| self.rig.request(request));
        self.rig.settle(&mut self.model);
    }

    /// The proxy has what the feed has, but for hosts that it refused.
    fn assert_converged(&self) {
        let want = self.world.resources();
        let clusters: Vec<&str> = want
            .keys()
            .filter(|(kind, _)| *kind == ResourceType::Cluster)
            .map(|(_, name)| name.as_str())
            .collect();
        let hosts = self.model.hosts("web");
        for (host, (cluster, bad)) in &self.world.hosts {
            if !bad {
                assert_eq!(hosts.get(&format!("h{host}")), Some(&vec![format!("c{cluster}")]), "host {host}");
            }
        }
        for name in hosts.keys() {
            assert!(self.world.hosts.keys().any(|h| format!("h{h}") == *name), "{name} is gone");
        }
        for cluster in clusters {
            assert!(self.model.held(ResourceType::Cluster, cluster).is_some(), "{cluster} is missing");
        }
        // More clusters than wanted may be there only while a host in its old form routes to them.
        for extra in self.model.names(ResourceType::Cluster) {
            let wanted = want.contains_key(&(ResourceType::Cluster, extra.to_owned()));
            assert!(wanted || hosts.values().flatten().any(|c| c == extra), "{extra} is left over");
        }
        let listener = &want[&(ResourceType::Listener, "web".to_owned())];
        let held = self.model.held(ResourceType::Listener, "web").map(|h| h.version.clone());
        assert_eq!(held, Some(listener.version.to_string()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn proxies_converge_and_never_route_to_nowhere(steps in prop::collection::vec(step(), 1..60)) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step);
        }
        run.finish();
        prop_assert!(run.model.broken.is_empty(), "{:?}", run.model.broken);
        run.assert_converged();
        prop_assert_eq!(run.rig.session.acked_revision(run.rig.now), Some(run.rig.revision));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz::drive(&bytes);
    }
}
