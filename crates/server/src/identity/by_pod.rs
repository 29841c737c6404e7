//! Identity by client certificate and Pod address.

use std::{net::IpAddr, sync::Arc};

use envoy_api::core::Node;

use super::{Authorizer, Denied, Grant, Peer, Pods, ProxyPod, pods::unknown};

/// For proxies that share a client certificate: it proves a proxy of this installation, and the address of the
/// connection proves which Pod. The fleet is that of the Pod, whatever the node claims for a cluster.
#[derive(Clone, Debug)]
pub struct ByPod {
    pods: Pods,
    namespace: Arc<str>,
}

impl ByPod {
    /// Proxies run in Pods of this namespace, the control plane's own.
    pub fn new(pods: Pods, namespace: &str) -> Self {
        ByPod { pods, namespace: namespace.into() }
    }
}

#[tonic::async_trait]
impl Authorizer for ByPod {
    async fn authorize(&self, peer: &Peer, node: &Node) -> Result<Grant, Denied> {
        if !peer.certified {
            return Err(Denied::Unauthenticated("a client certificate is needed".to_owned()));
        }
        let Some(address) = peer.address else {
            return Err(Denied::Unauthenticated("the connection has no address".to_owned()));
        };
        if node.id.is_empty() {
            return Err(Denied::Forbidden(
                "the node has no id: start Envoy with --service-node and the name of its Pod".to_owned(),
            ));
        }
        let namespace = Arc::clone(&self.namespace);
        let name = node.id.clone();
        let judge = move |pod: Option<&ProxyPod>| at_its_address(pod, &namespace, &name, address);
        let pod = self.pods.find(&self.namespace, &node.id, &judge).await?;
        Ok(self.pods.grant(&pod, judge))
    }
}

/// Finds nothing against a Pod that has the address which the connection comes from.
fn at_its_address(
    pod: Option<&ProxyPod>,
    namespace: &str,
    name: &str,
    address: IpAddr,
) -> Result<(), Denied> {
    let Some(pod) = pod else { return Err(unknown(namespace, name)) };
    if pod.addresses.contains(&address) {
        return Ok(());
    }
    let has = match pod.addresses.as_slice() {
        [] => "has no address yet".to_owned(),
        some => {
            let words: Vec<String> = some.iter().map(ToString::to_string).collect();
            format!("has {}", words.join(", "))
        }
    };
    Err(Denied::Forbidden(format!(
        "the connection comes from {address}, but Pod {namespace}/{name} {has}: connections of proxies must reach \
         the control plane with the address of their Pod"
    )))
}
