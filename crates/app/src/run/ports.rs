//! Ports that were taken when Envoy tried to bind them: tried again once they are free.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use ::ir::resource::{Delivery, Resource, ResourceType, ResourceUpdate, Version};
use server::Feeds;
use tokio_util::sync::CancellationToken;

/// How often a taken port is looked at. Cheap, and soon enough for a person who has just freed it.
const INTERVAL: Duration = Duration::from_secs(1);

/// Sends a listener that Envoy could not bind again as soon as its address can be bound, until `shutdown`.
pub(crate) async fn watch(feeds: Feeds, shutdown: CancellationToken) {
    let mut attempts: BTreeMap<(Arc<str>, Arc<str>), u64> = BTreeMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.cancelled() => return,
        }
        for report in feeds.deliveries().all() {
            let Delivery::Rejected { message } = &report.delivery else { continue };
            let Some(address) = bind_failure(message) else { continue };
            if report.kind != ResourceType::Listener || !bindable(address).await {
                continue;
            }
            let snapshot = feeds.snapshot(&report.feed);
            let Some(held) = snapshot.as_ref().and_then(|s| s.get(ResourceType::Listener, &report.name))
            else {
                continue;
            };
            let attempt = attempts.entry((report.feed.clone(), report.name.clone())).or_insert(0);
            *attempt += 1;
            tracing::info!(fleet = %report.feed, listener = %report.name, %address, "the address is free now: trying again");
            // Envoy refused this very content, so only another version makes it try again.
            let again = Resource { version: Version(held.version.0.wrapping_add(*attempt)), ..clone(held) };
            let revision = feeds.status(&report.feed).map_or(0, |status| status.revision);
            let update = ResourceUpdate { changed: vec![Arc::new(again)], removed: Vec::new() };
            feeds.apply(&report.feed, revision, update);
        }
    }
}

fn clone(resource: &Resource) -> Resource {
    Resource {
        kind: resource.kind,
        name: resource.name.clone(),
        version: resource.version,
        head: resource.head.clone(),
        fragments: resource.fragments.clone(),
        warming: resource.warming,
        endpoints: resource.endpoints.clone(),
        clusters: resource.clusters.clone(),
        owners: resource.owners.clone(),
    }
}

/// The address in Envoy's words for a bind that failed: `cannot bind '127.0.0.1:80': Permission denied`.
fn bind_failure(message: &str) -> Option<SocketAddr> {
    let (_, rest) = message.split_once("cannot bind '")?;
    rest.split_once('\'')?.0.parse().ok()
}

async fn bindable(address: SocketAddr) -> bool {
    tokio::net::TcpListener::bind(address).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_address_in_envoys_words() {
        let message = "Error adding/updating listener(s) default/eg/http: cannot bind '127.0.0.1:8080': Address already in use";
        assert_eq!(bind_failure(message), "127.0.0.1:8080".parse().ok());
        assert_eq!(bind_failure("something else"), None);
    }

    #[tokio::test]
    async fn a_taken_port_is_not_bindable() {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        assert!(!bindable(address).await);
        drop(taken);
        assert!(bindable(address).await);
    }
}
