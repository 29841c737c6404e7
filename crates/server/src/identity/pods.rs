//! The Pods that proxies run in.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Denied, Grant};

/// How long a proxy waits for its Pod to become known. A Pod's address reaches the API server within a second of its
/// start, and us as soon as the watch delivers; 5 s cover an API server under load. Envoy asks again after a refusal.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A Pod of one of our fleets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyPod {
    /// Namespace of the Pod.
    pub namespace: Arc<str>,
    /// Name of the Pod; Envoy's node id is the same.
    pub name: Arc<str>,
    /// `metadata.uid`: another Pod may have the same name later.
    pub uid: Arc<str>,
    /// `status.podIPs`; none as long as the Pod has none.
    pub addresses: Vec<IpAddr>,
    /// The key of the feed that its owning labels stand for.
    pub fleet: Arc<str>,
}

type Name = (Arc<str>, Arc<str>);
type Table = BTreeMap<Name, Arc<ProxyPod>>;

/// The Pods of all fleets, by namespace and name. Clones share.
///
/// Pods that have ended (phase `Succeeded` or `Failed`) do not belong here: another Pod may have their address by
/// then. Pods that are being deleted do, for as long as they run: they drain.
#[derive(Clone, Debug)]
pub struct Pods {
    table: watch::Sender<Table>,
}

impl Default for Pods {
    fn default() -> Self {
        Pods { table: watch::Sender::new(Table::new()) }
    }
}

impl Pods {
    /// Puts a Pod in, or what has become of it.
    pub fn put(&self, mut pod: ProxyPod) {
        normalize(&mut pod);
        self.table.send_if_modified(|table| {
            let name = (Arc::clone(&pod.namespace), Arc::clone(&pod.name));
            if table.get(&name).is_some_and(|known| **known == pod) {
                return false;
            }
            table.insert(name, Arc::new(pod));
            true
        });
    }

    /// Takes a Pod out; nothing happens when it is not there.
    pub fn remove(&self, namespace: &str, name: &str) {
        let name: Name = (namespace.into(), name.into());
        self.table.send_if_modified(|table| table.remove(&name).is_some());
    }

    /// Replaces all Pods, as after listing them anew. Streams of Pods that stay as they are go on.
    pub fn replace(&self, pods: impl IntoIterator<Item = ProxyPod>) {
        let named = |mut pod: ProxyPod| {
            normalize(&mut pod);
            ((Arc::clone(&pod.namespace), Arc::clone(&pod.name)), Arc::new(pod))
        };
        let new: Table = pods.into_iter().map(named).collect();
        self.table.send_if_modified(|table| {
            let changed = *table != new;
            *table = new;
            changed
        });
    }

    /// The Pod of this name, if there is one.
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<ProxyPod>> {
        self.table.borrow().get(&(namespace.into(), name.into())).cloned()
    }

    /// The Pod of this name, as soon as `judge` finds nothing against it. The last objection when it still has one
    /// after [`PATIENCE`].
    pub(super) async fn find<J>(&self, namespace: &str, name: &str, judge: J) -> Result<Arc<ProxyPod>, Denied>
    where
        J: Fn(Option<&ProxyPod>) -> Result<(), Denied> + Send,
    {
        let mut changes = self.table.subscribe();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            changes.mark_unchanged();
            let pod = self.get(namespace, name);
            let denied = match (judge(pod.as_deref()), pod) {
                (Ok(()), Some(pod)) => return Ok(pod),
                (Ok(()), None) => unknown(namespace, name),
                (Err(denied), _) => denied,
            };
            // The table outlives its subscription: a change or the end of patience are all that can come.
            match tokio::time::timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(denied),
            }
        }
    }

    /// The right to the resources of the Pod's fleet, for as long as `judge` finds nothing against the Pod, and it is
    /// this one and of this fleet.
    pub(super) fn grant<J>(&self, pod: &ProxyPod, judge: J) -> Grant
    where
        J: Fn(Option<&ProxyPod>) -> Result<(), Denied> + Send + Sync + 'static,
    {
        let pods = self.clone();
        let feed = Arc::clone(&pod.fleet);
        let (namespace, name) = (Arc::clone(&pod.namespace), Arc::clone(&pod.name));
        let (uid, fleet) = (Arc::clone(&pod.uid), Arc::clone(&pod.fleet));
        let mut changes = self.table.subscribe();
        // Sees the present table first: it may have changed since the Pod was judged.
        changes.mark_changed();
        let revoked = async move {
            loop {
                if changes.changed().await.is_err() {
                    return Denied::Unavailable("the Pods of proxies are not watched any more".to_owned());
                }
                let now = pods.get(&namespace, &name);
                if let Err(denied) = judge(now.as_deref()) {
                    return denied;
                }
                match now {
                    Some(now) if now.uid == uid && now.fleet == fleet => {}
                    Some(now) if now.uid == uid => {
                        return Denied::Forbidden(format!(
                            "Pod {namespace}/{name} belongs to the fleet {} now, not to {fleet} any more",
                            now.fleet
                        ));
                    }
                    Some(_) => {
                        return Denied::Forbidden(format!(
                            "Pod {namespace}/{name} was made anew since this stream began"
                        ));
                    }
                    None => return unknown(&namespace, &name),
                }
            }
        };
        Grant { feed, revoked: Box::pin(revoked) }
    }
}

/// The objection to a Pod that nobody knows.
pub(super) fn unknown(namespace: &str, name: &str) -> Denied {
    Denied::Forbidden(format!(
        "there is no Pod {namespace}/{name} with the labels of a Gateway of this control plane: Envoy's \
         --service-node has to be the name of its Pod, and the Pod one that this control plane made"
    ))
}

fn normalize(pod: &mut ProxyPod) {
    for address in &mut pod.addresses {
        *address = address.to_canonical();
    }
}
