//! Random resources and random proxies: what must hold whatever happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use envoy_api::discovery::DeltaDiscoveryRequest;
use ir::resource::{Resource, ResourceType, ResourceUpdate};
use proptest::prelude::*;

use super::Rig;
use crate::fake::{
    Model,
    build::{self, POISON},
    fuzz,
};

/// What a commit makes of the world. Each part may be such that Envoy refuses it.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    /// Host → cluster and whether Envoy refuses the host.
    hosts: BTreeMap<u8, (u8, bool)>,
    /// How a cluster is made, and whether Envoy refuses it.
    clusters: BTreeMap<u8, (u32, bool)>,
    /// The listener's port, and whether Envoy refuses it.
    listener: (u16, bool),
    /// There is no listener, and nothing that it needs.
    closed: bool,
}

/// Which proxy a step concerns.
type Which = usize;

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
        bad: bool,
    },
    Move {
        port: u16,
        bad: bool,
    },
    /// The listener goes with all it needs, or comes back.
    Toggle,
    /// Listeners that are gone have closed their last connection.
    EndDrain {
        proxy: Which,
    },
    /// Answers that many responses.
    Answer {
        proxy: Which,
        count: u8,
    },
    /// Receives that many responses, and answers them only later, in another order.
    Delay {
        proxy: Which,
        count: u8,
    },
    Wait {
        millis: u16,
    },
    Reconnect {
        proxy: Which,
    },
    /// A new proxy takes the place of one.
    Replace {
        proxy: Which,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let bad = || prop::bool::weighted(0.15);
    let proxy = || 0..2_usize;
    prop_oneof![
        4 => (0..4_u8, 0..5_u8, bad()).prop_map(|(host, cluster, bad)| Step::Route { host, cluster, bad }),
        1 => (0..4_u8).prop_map(|host| Step::Unroute { host }),
        1 => (0..5_u8, bad()).prop_map(|(cluster, bad)| Step::Edit { cluster, bad }),
        1 => (0..3_u16, bad()).prop_map(|(port, bad)| Step::Move { port, bad }),
        1 => Just(Step::Toggle),
        1 => proxy().prop_map(|proxy| Step::EndDrain { proxy }),
        6 => (proxy(), 1..6_u8).prop_map(|(proxy, count)| Step::Answer { proxy, count }),
        2 => (proxy(), 1..4_u8).prop_map(|(proxy, count)| Step::Delay { proxy, count }),
        1 => (0..2_500_u16).prop_map(|millis| Step::Wait { millis }),
        1 => proxy().prop_map(|proxy| Step::Reconnect { proxy }),
        1 => proxy().prop_map(|proxy| Step::Replace { proxy }),
    ]
}

impl World {
    fn resources(&self) -> BTreeMap<(ResourceType, String), Arc<Resource>> {
        let mut all = Vec::new();
        if self.closed {
            return BTreeMap::new();
        }
        for (cluster, _) in self.hosts.values() {
            let name = format!("c{cluster}");
            let (edition, bad) = self.clusters.get(cluster).copied().unwrap_or_default();
            let plain = if bad { build::bad_cluster(&name, edition) } else { build::cluster(&name, edition) };
            // Every second cluster is proved warm by its own acceptance.
            all.push(if cluster % 2 == 0 { plain } else { build::slow(&plain) });
            all.push(build::endpoints(&name, 9));
        }
        let hosts = self.hosts.iter().map(|(host, (cluster, bad))| {
            let note = if *bad { POISON } else { "fine" };
            build::host(&format!("h{host}"), &format!("c{cluster}"), note)
        });
        all.push(build::route("web", hosts.collect()));
        all.push(build::listener("web", self.listener.0, if self.listener.1 { POISON } else { "web" }));
        all.into_iter().map(|r| ((r.kind, r.name.to_string()), r)).collect()
    }

    fn update_to(&self, next: &World) -> ResourceUpdate {
        let (before, after) = (self.resources(), next.resources());
        let changed = after
            .iter()
            .filter(|(key, r)| before.get(*key).is_none_or(|b| b.version != r.version))
            .map(|(_, r)| Arc::clone(r))
            .collect();
        let removed = before
            .keys()
            .filter(|key| !after.contains_key(*key))
            .map(|(kind, name)| (*kind, name.as_str().into()))
            .collect();
        ResourceUpdate { changed, removed }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Route { host, cluster, bad } => {
                self.hosts.insert(*host, (*cluster, *bad));
            }
            Step::Unroute { host } => {
                self.hosts.remove(host);
            }
            Step::Edit { cluster, bad } => {
                let made = self.clusters.entry(*cluster).or_default();
                *made = (made.0 + 1, *bad);
            }
            Step::Move { port, bad } => self.listener = (*port, *bad),
            Step::Toggle => self.closed = !self.closed,
            _ => {}
        }
    }
}

struct Proxy {
    rig: Rig,
    model: Model,
    late: Vec<DeltaDiscoveryRequest>,
}

impl Proxy {
    fn new(rig: Rig) -> Self {
        let mut proxy = Proxy { rig, model: Model::new(), late: Vec::new() };
        proxy.hello();
        proxy
    }

    fn hello(&mut self) {
        self.late.clear();
        for request in self.model.hello() {
            self.rig.request(request);
        }
    }

    /// Sends the answers that were held back. Those of one type come in order, those of different types in any: here
    /// by the name of the type.
    fn catch_up(&mut self) {
        let mut late = std::mem::take(&mut self.late);
        late.sort_by(|a, b| a.type_url.cmp(&b.type_url));
        late.into_iter().for_each(|request| self.rig.request(request));
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Answer { count, .. } => {
                self.catch_up();
                for _ in 0..*count {
                    let Some(response) = self.rig.poll() else { break };
                    for request in self.model.receive(&response) {
                        self.rig.request(request);
                    }
                }
            }
            Step::Delay { count, .. } => {
                for _ in 0..*count {
                    let Some(response) = self.rig.poll() else { break };
                    self.late.extend(self.model.receive(&response));
                }
            }
            Step::EndDrain { .. } => self.end_drain(),
            Step::Reconnect { .. } => {
                self.rig.reconnect();
                self.hello();
            }
            Step::Replace { .. } => {
                self.rig.reconnect();
                let broken = std::mem::take(&mut self.model.broken);
                self.model = Model::new();
                self.model.broken = broken;
                self.hello();
            }
            _ => {}
        }
    }

    fn end_drain(&mut self) {
        self.catch_up();
        if let Some(request) = self.model.end_drain() {
            self.rig.request(request);
        }
    }

    fn finish(&mut self) {
        self.catch_up();
        self.rig.refresh();
        self.rig.settle(&mut self.model);
        self.end_drain();
        self.rig.settle(&mut self.model);
    }

    /// The proxy has what the feed has, but for what it refused.
    fn assert_converged(&self, world: &World) {
        let want = world.resources();
        if world.closed {
            assert_eq!(self.model.names(ResourceType::Route), Vec::<&str>::new());
            assert_eq!(self.model.names(ResourceType::Cluster), Vec::<&str>::new());
            return;
        }
        let hosts = self.model.hosts("web");
        for (host, (cluster, bad)) in &world.hosts {
            // Without a listener that Envoy accepts it asks for no routes.
            if !bad && self.model.held(ResourceType::Listener, "web").is_some() {
                assert_eq!(hosts.get(&format!("h{host}")), Some(&vec![format!("c{cluster}")]), "host {host}");
            }
            let refused = world.clusters.get(cluster).is_some_and(|(_, bad)| *bad);
            let there = self.model.held(ResourceType::Cluster, &format!("c{cluster}")).is_some();
            assert!(there || refused, "c{cluster} is missing");
        }
        for name in hosts.keys() {
            assert!(world.hosts.keys().any(|h| format!("h{h}") == *name), "{name} is gone");
        }
        // More clusters than wanted may be there only while a host in its old form routes to them, or a listener
        // from an earlier stream that cannot be replaced may.
        for extra in self.model.names(ResourceType::Cluster) {
            let wanted = want.contains_key(&(ResourceType::Cluster, extra.to_owned()));
            assert!(
                wanted || world.listener.1 || hosts.values().flatten().any(|c| c == extra),
                "{extra} is left over"
            );
        }
        if !world.listener.1 {
            let listener = &want[&(ResourceType::Listener, "web".to_owned())];
            let held = self.model.held(ResourceType::Listener, "web").map(|h| h.version.clone());
            assert_eq!(held, Some(listener.version.to_string()));
        }
    }
}

/// Runs the steps with two proxies of one fleet. Returns promises that the server broke.
fn run(steps: &[Step]) -> Vec<String> {
    let mut world = World::default();
    let first = Rig::new(build::update(world.resources().into_values()));
    let second = Rig::of(first.feeds.clone(), 1);
    let mut proxies = [Proxy::new(first), Proxy::new(second)];
    let mut ever_bad = BTreeSet::new();
    for step in steps {
        let mut next = world.clone();
        next.take(step);
        ever_bad.extend(next.clusters.iter().filter(|(_, (_, bad))| *bad).map(|(c, _)| format!("c{c},")));
        if next != world {
            proxies[0].rig.apply(world.update_to(&next));
            proxies[1].rig.revision = proxies[0].rig.revision;
            proxies[1].rig.refresh();
            world = next;
        }
        match step {
            Step::Wait { millis } => {
                for proxy in &mut proxies {
                    // No promise is kept to a proxy that says nothing for as long as we wait.
                    proxy.catch_up();
                    proxy.rig.wait(u64::from(*millis));
                }
            }
            Step::Answer { proxy, .. }
            | Step::Delay { proxy, .. }
            | Step::EndDrain { proxy }
            | Step::Reconnect { proxy }
            | Step::Replace { proxy } => proxies[*proxy].take(step),
            _ => {}
        }
    }
    // What one learns the other may use.
    for _ in 0..3 {
        proxies.iter_mut().for_each(Proxy::finish);
    }
    let mut broken = Vec::new();
    for proxy in &proxies {
        proxy.assert_converged(&world);
        let acked = proxy.rig.session.acked_revision(proxy.rig.now);
        assert_eq!(acked, Some(proxy.rig.revision), "{}", proxy.rig.session.phase());
        broken.extend(proxy.model.broken.clone());
    }
    // Routes to a cluster that Envoy refuses go out in the end: no other could serve them.
    broken.retain(|words| !ever_bad.iter().any(|cluster| words.contains(cluster)));
    broken
}

proptest! {
    #[test]
    fn proxies_converge_and_never_route_to_nowhere(steps in prop::collection::vec(step(), 1..60)) {
        let broken = run(&steps);
        prop_assert!(broken.is_empty(), "{:?}", broken);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz::drive(&bytes);
    }
}
