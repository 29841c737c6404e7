//! Who gets what, without connections. Time is paused: waiting costs none.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const NAMESPACE: &str = "envoy-gateway-system";

fn pod(name: &str, uid: &str, address: &str, fleet: &str) -> ProxyPod {
    ProxyPod {
        namespace: NAMESPACE.into(),
        name: name.into(),
        uid: uid.into(),
        addresses: if address.is_empty() { Vec::new() } else { vec![address.parse().unwrap()] },
        fleet: fleet.into(),
    }
}

fn node(id: &str, cluster: &str) -> Node {
    Node { id: id.to_owned(), cluster: cluster.to_owned(), ..Node::default() }
}

fn at(address: &str) -> Peer {
    Peer::at(address.parse().unwrap(), true)
}

fn denied(result: Result<Grant, Denied>) -> Denied {
    result.err().expect("denied")
}

#[tokio::test(start_paused = true)]
async fn a_proxy_gets_the_fleet_of_its_pod_whatever_it_claims() {
    let pods = Pods::default();
    pods.put(pod("one", "1", "10.0.0.1", "default/a"));
    pods.put(pod("two", "2", "10.0.0.2", "default/b"));
    let by_pod = ByPod::new(pods, NAMESPACE);
    let grant = by_pod.authorize(&at("10.0.0.1"), &node("one", "default/b")).await.unwrap();
    assert_eq!(&*grant.feed, "default/a");
    let grant = by_pod.authorize(&at("::ffff:10.0.0.2"), &node("two", "")).await.unwrap();
    assert_eq!(&*grant.feed, "default/b", "an IPv4 address is the same when it is written as IPv6");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_denied_in_words() {
    let pods = Pods::default();
    pods.put(pod("one", "1", "10.0.0.1", "default/a"));
    pods.put(pod("new", "3", "", "default/a"));
    pods.put(ProxyPod { namespace: "default".into(), ..pod("foreign", "4", "10.0.0.4", "default/a") });
    let by_pod = ByPod::new(pods, NAMESPACE);
    let begun = tokio::time::Instant::now();
    for (peer, id, words) in [
        (at("10.0.0.9"), "one", "comes from 10.0.0.9, but Pod envoy-gateway-system/one has 10.0.0.1"),
        (at("10.0.0.1"), "two", "no Pod envoy-gateway-system/two"),
        (at("10.0.0.3"), "new", "has no address yet"),
        (at("10.0.0.4"), "foreign", "no Pod envoy-gateway-system/foreign"),
        (at("10.0.0.1"), "", "--service-node"),
    ] {
        let denied = denied(by_pod.authorize(&peer, &node(id, "default/a")).await);
        assert!(matches!(denied, Denied::Forbidden(_)), "{id}: {denied:?}");
        assert!(denied.to_string().contains(words), "{id}: {denied}");
    }
    assert_eq!(begun.elapsed(), pods::PATIENCE * 4, "four of them may become known yet");
    let bare = Peer { certified: false, ..at("10.0.0.1") };
    let denied = denied(by_pod.authorize(&bare, &node("one", "")).await);
    assert!(matches!(denied, Denied::Unauthenticated(_)));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_not_known_yet_is_waited_for() {
    let pods = Pods::default();
    let by_pod = ByPod::new(pods.clone(), NAMESPACE);
    let asked = tokio::spawn(async move { by_pod.authorize(&at("10.0.0.1"), &node("one", "")).await });
    tokio::time::sleep(pods::PATIENCE / 4).await;
    pods.put(pod("one", "1", "", "default/a"));
    tokio::time::sleep(pods::PATIENCE / 4).await;
    assert!(!asked.is_finished());
    pods.put(pod("one", "1", "10.0.0.1", "default/a"));
    assert_eq!(&*asked.await.unwrap().unwrap().feed, "default/a");
}

/// What a grant says after a change of the Pods; `None` when it still holds.
async fn after(change: impl FnOnce(&Pods)) -> Option<String> {
    let pods = Pods::default();
    pods.put(pod("one", "1", "10.0.0.1", "default/a"));
    let by_pod = ByPod::new(pods.clone(), NAMESPACE);
    let grant = by_pod.authorize(&at("10.0.0.1"), &node("one", "")).await.unwrap();
    change(&pods);
    let revoked = tokio::time::timeout(pods::PATIENCE, grant.revoked).await;
    revoked.ok().map(|denied| denied.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_grant_ends_with_what_it_stands_on() {
    let same = || pod("one", "1", "10.0.0.1", "default/a");
    assert_eq!(after(|pods| pods.put(pod("two", "2", "10.0.0.2", "default/a"))).await, None);
    assert_eq!(after(|pods| pods.replace([same()])).await, None);
    let ends = |words: Option<String>, part: &str| {
        let words = words.unwrap_or_else(|| panic!("not revoked: {part}"));
        assert!(words.contains(part), "{words}");
    };
    ends(after(|pods| pods.remove(NAMESPACE, "one")).await, "there is no Pod");
    ends(after(|pods| pods.replace([])).await, "there is no Pod");
    let relabelled = || ProxyPod { fleet: "default/b".into(), ..same() };
    ends(after(|pods| pods.put(relabelled())).await, "belongs to the fleet default/b now");
    ends(after(|pods| pods.put(ProxyPod { uid: "9".into(), ..same() })).await, "was made anew");
    ends(after(|pods| pods.put(pod("one", "1", "10.0.0.7", "default/a"))).await, "has 10.0.0.7");
}

#[tokio::test(start_paused = true)]
async fn a_grant_sees_what_changed_before_it_was_watched() {
    let pods = Pods::default();
    pods.put(pod("one", "1", "10.0.0.1", "default/a"));
    let known = pods.get(NAMESPACE, "one").unwrap();
    pods.remove(NAMESPACE, "one");
    let grant = pods.grant(&known, |_| Ok(()));
    tokio::time::timeout(pods::PATIENCE, grant.revoked).await.expect("revoked");
}

/// Knows two tokens; counts what it is asked.
#[derive(Clone, Default)]
struct Api {
    asked: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl TokenReviewer for Api {
    async fn review(&self, token: &BearerToken, audience: &str) -> Result<TokenIdentity, ReviewError> {
        assert_eq!(audience, "audience");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let identity = |uid: Option<&str>| TokenIdentity {
            namespace: NAMESPACE.to_owned(),
            pod: "one".to_owned(),
            pod_uid: uid.map(str::to_owned),
        };
        match token.expose() {
            "good" => Ok(identity(Some("1"))),
            "old" => Ok(identity(Some("0"))),
            "silent" => Ok(identity(None)),
            "down" => Err(ReviewError::Unavailable("no answer".to_owned())),
            _ => Err(ReviewError::Refused("the token is not valid".to_owned())),
        }
    }
}

fn with(token: &str) -> Peer {
    Peer { token: Some(BearerToken::new(token)), ..Peer::default() }
}

#[tokio::test(start_paused = true)]
async fn a_token_proves_its_pod_and_no_other() {
    let (pods, api) = (Pods::default(), Api::default());
    pods.put(pod("one", "1", "10.0.0.1", "default/a"));
    pods.put(pod("two", "2", "10.0.0.2", "default/b"));
    let by_token = ByToken::new(pods, api.clone(), "audience");
    for token in ["good", "silent"] {
        let grant = by_token.authorize(&with(token), &node("one", "default/b")).await.unwrap();
        assert_eq!(&*grant.feed, "default/a");
    }
    let other = denied(by_token.authorize(&with("good"), &node("two", "")).await);
    assert!(other.to_string().contains("is that of Pod envoy-gateway-system/one"), "{other}");
    assert_eq!(api.asked.load(Ordering::Relaxed), 2, "a good token is remembered");
    let old = denied(by_token.authorize(&with("old"), &node("one", "")).await);
    assert!(old.to_string().contains("another Pod with the name"), "{old}");
    for (peer, expected) in [
        (Peer::default(), "Unauthenticated"),
        (with("forged"), "Unauthenticated"),
        (with("forged"), "Unauthenticated"),
        (with("down"), "Unavailable"),
    ] {
        let denied = denied(by_token.authorize(&peer, &node("one", "")).await);
        assert!(format!("{denied:?}").starts_with(expected), "{denied:?}");
    }
    assert_eq!(api.asked.load(Ordering::Relaxed), 6, "a bad one is not");
}

#[test]
fn tokens_do_not_show() {
    assert!(!format!("{:?}", with("hunter2")).contains("hunter2"));
}
