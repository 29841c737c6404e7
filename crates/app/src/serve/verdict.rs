//! What becomes of a Gateway whose proxies run in a cluster: its addresses, and whether it is programmed.
//!
//! Gateway API asks of `Programmed` that the configuration is in the data plane or will be in a moment. So a Gateway
//! that was programmed stays so while a change is on its way, and a status is written only when something is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use provider::kubernetes::{FleetState as Infrastructure, Node, ProxyService};
use server::FeedStatus;

use crate::conditions::Word;

/// Most addresses in the status of a Gateway (`GatewayStatus.addresses`, maxItems).
const MAX_ADDRESSES: usize = 16;

/// What is known of one fleet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// Its Services and workloads.
    pub infrastructure: Option<&'a Infrastructure>,
    /// Where they belong. Those elsewhere are left from another `provider.kubernetes.deploy.type`.
    pub namespace: &'a str,
    /// All Nodes.
    pub nodes: &'a BTreeMap<Arc<str>, Node>,
    /// Names of Nodes that a proxy of it is ready on; none while Pods may not be read.
    pub ready_on: Option<&'a BTreeSet<Arc<str>>>,
    /// How far its proxies are that are connected to this replica.
    pub feed: Option<&'a FeedStatus>,
    /// Whether the Gateway asks for IP addresses of its own.
    pub asks_address: bool,
    /// Whether the Gateway asks for an address by name, which nobody can give.
    pub asks_hostname: bool,
    /// What keeps the infrastructure from being made.
    pub failure: Option<&'a str>,
    /// Whether the Gateway was programmed before.
    pub programmed: bool,
}

impl Known<'_> {
    /// The addresses of the Gateway.
    pub(crate) fn addresses(&self) -> Vec<Arc<str>> {
        let service = self.service();
        let mut addresses = Vec::new();
        for address in service.into_iter().flat_map(|service| self.addresses_of(service)) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// One of several stays: while the name of a Service changes, the first by name.
    fn service(&self) -> Option<&ProxyService> {
        let mut services = self.infrastructure?.services.iter();
        services.find(|service| &*service.namespace == self.namespace).map(AsRef::as_ref)
    }

    fn addresses_of(&self, service: &ProxyService) -> Vec<Arc<str>> {
        if self.asks_address {
            // What was asked for and given: as external addresses, or as the cluster's own.
            let given = [&service.external_ips, &service.cluster_ips].into_iter().find(|ips| !ips.is_empty());
            return given.cloned().unwrap_or_default();
        }
        match &*service.kind {
            "LoadBalancer" => {
                let ingress: Vec<Arc<str>> = service
                    .load_balancer
                    .iter()
                    .filter_map(|address| match (&address.ip, &address.hostname) {
                        (Some(ip), _) => Some(ip.clone()),
                        // As clusters on a developer's machine say it.
                        (None, Some(name)) if &**name == "localhost" => {
                            Some(Ipv4Addr::LOCALHOST.to_string().into())
                        }
                        (None, name) => name.clone(),
                    })
                    .collect();
                if ingress.is_empty() { service.external_ips.clone() } else { ingress }
            }
            "NodePort" => {
                let ready_on = self.ready_on.filter(|_| service.local);
                let answers = |name: &Arc<str>| ready_on.is_none_or(|nodes| nodes.contains(name));
                let nodes = self.nodes.iter().filter(|(name, _)| answers(name));
                nodes.flat_map(|(_, node)| node_addresses(node)).map(|ip| ip.to_string().into()).collect()
            }
            _ => service.cluster_ips.clone(),
        }
    }

    /// Whether the Gateway is programmed; `addresses` are those of [`Known::addresses`].
    pub(crate) fn programmed(&self, addresses: &mut Vec<Arc<str>>) -> Word {
        if let Some(word) = self.unreachable(addresses) {
            return word;
        }
        let mut workloads = self.infrastructure.iter().flat_map(|found| &found.workloads);
        if !workloads.any(|workload| &*workload.namespace == self.namespace && workload.available > 0) {
            return Word::no("NoResources", self.why("No proxy of the Gateway is available"));
        }
        // A replica that no proxy of the fleet has chosen knows from their readiness that they are served by another.
        let connected = self.feed.filter(|feed| feed.streams > 0);
        if !self.programmed && connected.is_some_and(|feed| feed.acked.is_none()) {
            return Word::no("Pending", "Proxies are connected, and have not taken their configuration yet");
        }
        if addresses.len() > MAX_ADDRESSES {
            let message = format!(
                "Proxies are available; of {} addresses the first {MAX_ADDRESSES} are listed, which is the most that \
                 a Gateway's status can hold",
                addresses.len()
            );
            addresses.truncate(MAX_ADDRESSES);
            return Word::programmed(&message);
        }
        Word::programmed("The Gateway has an address, and proxies are available")
    }

    fn unreachable(&self, addresses: &[Arc<str>]) -> Option<Word> {
        if self.asks_hostname {
            return Some(Word::no(
                "AddressNotUsable",
                "spec.addresses asks for a host name, which proxies cannot be given; ask for IP addresses",
            ));
        }
        if !addresses.is_empty() {
            return None;
        }
        let (reason, message) = match (self.service(), self.asks_address) {
            (None, true) => {
                ("AddressNotUsable", "There is no Service yet that could have the wished addresses")
            }
            (Some(_), true) => {
                ("AddressNotUsable", "The Service of the proxies was given none of the wished addresses")
            }
            (None, false) => ("AddressNotAssigned", "There is no Service for the proxies yet"),
            (Some(_), false) => ("AddressNotAssigned", "The Service of the proxies has no address yet"),
        };
        Some(Word::no(reason, self.why(message)))
    }

    fn why(&self, message: &str) -> String {
        self.failure.map_or_else(|| message.to_owned(), |failure| format!("{message}: {failure}"))
    }
}

/// Where a Node is reached from outside; inside of a private network, by its own address.
fn node_addresses(node: &Node) -> &[IpAddr] {
    if node.external.is_empty() { &node.internal } else { &node.external }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use provider::kubernetes::{LoadBalancerAddress, Workload, WorkloadKind};

    use super::*;

    fn service(kind: &str) -> ProxyService {
        ProxyService {
            namespace: "system".into(),
            name: "envoy".into(),
            kind: kind.into(),
            local: false,
            load_balancer: Vec::new(),
            external_ips: Vec::new(),
            cluster_ips: vec!["10.0.0.7".into()],
            ports: Vec::new(),
        }
    }

    fn found(service: ProxyService, available: u32) -> Infrastructure {
        let workload = Workload {
            kind: WorkloadKind::Deployment,
            namespace: "system".into(),
            name: "envoy".into(),
            generation: 1,
            observed_generation: 1,
            desired: 1,
            updated: 1,
            available,
        };
        Infrastructure { services: vec![Arc::new(service)], workloads: vec![Arc::new(workload)] }
    }

    static NODES: LazyLock<BTreeMap<Arc<str>, Node>> = LazyLock::new(|| {
        let inside = Node { internal: vec![[10, 1, 0, 2].into()], ..Node::default() };
        let (internal, external) = (vec![[10, 1, 0, 1].into()], vec![[192, 0, 2, 9].into()]);
        let outside = Node { internal, external, ..Node::default() };
        BTreeMap::from([("a".into(), outside), ("b".into(), inside)])
    });

    fn judge<'a>(
        infrastructure: &'a Infrastructure,
        change: impl FnOnce(&mut Known<'a>),
    ) -> (Vec<Arc<str>>, Word) {
        let mut known = Known {
            infrastructure: Some(infrastructure),
            namespace: "system",
            nodes: &NODES,
            ready_on: None,
            feed: None,
            asks_address: false,
            asks_hostname: false,
            failure: None,
            programmed: false,
        };
        change(&mut known);
        let mut addresses = known.addresses();
        let word = known.programmed(&mut addresses);
        (addresses, word)
    }

    fn texts(addresses: &[Arc<str>]) -> Vec<&str> {
        addresses.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn a_load_balancer_gives_addresses_and_names() {
        let mut balanced = service("LoadBalancer");
        let (addresses, word) = judge(&found(balanced.clone(), 1), |_| {});
        assert_eq!((texts(&addresses), word.reason), (vec![], "AddressNotAssigned"));

        let address = |ip: Option<&str>, name: Option<&str>| LoadBalancerAddress {
            ip: ip.map(Into::into),
            hostname: name.map(Into::into),
        };
        balanced.load_balancer = vec![
            address(Some("192.0.2.1"), None),
            address(None, Some("lb.example.com")),
            address(None, Some("localhost")),
            address(Some("192.0.2.1"), None),
        ];
        let (addresses, word) = judge(&found(balanced.clone(), 1), |_| {});
        assert_eq!(texts(&addresses), ["192.0.2.1", "lb.example.com", "127.0.0.1"]);
        assert_eq!(word.reason, "Programmed");

        let (_, word) = judge(&found(balanced, 0), |known| known.failure = Some("quota exceeded"));
        assert_eq!(word.reason, "NoResources");
        assert!(word.message.contains("quota exceeded"), "{}", word.message);
    }

    #[test]
    fn other_types_of_services_have_other_addresses() {
        assert_eq!(texts(&judge(&found(service("ClusterIP"), 1), |_| {}).0), ["10.0.0.7"]);
        assert_eq!(texts(&judge(&found(service("NodePort"), 1), |_| {}).0), ["192.0.2.9", "10.1.0.2"]);
    }

    #[test]
    fn with_a_local_traffic_policy_the_nodes_of_proxies_answer() {
        let ready_on = BTreeSet::from(["b".into()]);
        let local = found(ProxyService { local: true, ..service("NodePort") }, 1);
        let judged = |found: &Infrastructure, pods| judge(found, |known| known.ready_on = pods).0;
        assert_eq!(texts(&judged(&local, Some(&ready_on))), ["10.1.0.2"]);
        assert_eq!(texts(&judged(&local, None)), ["192.0.2.9", "10.1.0.2"]);
        assert_eq!(
            texts(&judged(&found(service("NodePort"), 1), Some(&ready_on))),
            ["192.0.2.9", "10.1.0.2"]
        );
    }

    #[test]
    fn wished_addresses_are_those_that_the_service_was_given() {
        let mut given = service("LoadBalancer");
        given.external_ips = vec!["192.0.2.5".into()];
        let (addresses, word) = judge(&found(given, 1), |known| known.asks_address = true);
        assert_eq!((texts(&addresses), word.reason), (vec!["192.0.2.5"], "Programmed"));

        let (_, word) = judge(&Infrastructure::default(), |known| known.asks_address = true);
        assert_eq!(word.reason, "AddressNotUsable");
        let (_, word) = judge(&found(service("ClusterIP"), 1), |known| known.asks_hostname = true);
        assert_eq!(word.reason, "AddressNotUsable");
    }

    #[test]
    fn only_a_gateway_that_was_never_programmed_waits_for_its_proxies() {
        let fresh = FeedStatus { revision: 7, streams: 1, acked: None, acked_by_all: None, quarantined: 0 };
        let found = found(service("ClusterIP"), 1);
        assert_eq!(judge(&found, |known| known.feed = Some(&fresh)).1.reason, "Pending");
        let again = judge(&found, |known| (known.feed, known.programmed) = (Some(&fresh), true));
        assert_eq!(again.1.reason, "Programmed");
        let elsewhere = FeedStatus { streams: 0, ..fresh };
        assert_eq!(judge(&found, |known| known.feed = Some(&elsewhere)).1.reason, "Programmed");
        let behind = FeedStatus { acked: Some(3), ..fresh };
        assert_eq!(judge(&found, |known| known.feed = Some(&behind)).1.reason, "Programmed");
    }

    #[test]
    fn what_another_mode_has_left_behind_does_not_count() {
        let elsewhere = judge(&found(service("ClusterIP"), 1), |known| known.namespace = "default");
        assert_eq!((elsewhere.0.len(), elsewhere.1.reason), (0, "AddressNotAssigned"));
    }

    #[test]
    fn a_status_holds_sixteen_addresses() {
        let mut many = service("ClusterIP");
        many.cluster_ips = (0..20).map(|i| format!("10.0.0.{i}").into()).collect();
        let (addresses, word) = judge(&found(many, 1), |_| {});
        assert_eq!((addresses.len(), word.reason), (16, "Programmed"));
        assert!(word.message.contains("20"), "{}", word.message);
    }
}
