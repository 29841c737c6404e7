//! Proxies over TCP with TLS: who gets in, who gets what, and for how long.

#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]

mod site;

use std::{os::unix::fs::symlink, path::Path, time::Duration};

use ir::resource::ResourceType::{Cluster, Secret};
use server::{
    BearerToken, ByToken, Clients, ConnectionAge, Connections, ReviewError, TokenIdentity, TokenReviewer,
    fake::{FakeEnvoy, Model},
};
use site::{Authority, NAMESPACE, QUIET, SOON, Site, names, next, pod, proxy};
use tonic::Code;

/// Connects and asks for all clusters; the status with which that is refused at any point.
async fn refusal(site: &Site, proxy: &server::fake::Proxy) -> tonic::Status {
    let mut envoy = match FakeEnvoy::connect_tls(site.address, proxy).await {
        Ok(envoy) => envoy,
        Err(status) => return status,
    };
    if let Err(status) = envoy.subscribe(Cluster, &[]).await {
        return status;
    }
    envoy.receive(SOON).await.expect_err("refused")
}

#[tokio::test]
async fn a_proxy_gets_its_own_gateway_and_no_other() {
    let authority = Authority::new();
    let site = Site::start(&authority).await;
    let mut envoy = site.connect(&proxy(&authority, "127.0.0.2", "one", "default/b")).await;
    envoy.subscribe(Cluster, &[]).await.expect("subscribe");
    assert_eq!(names(&next(&mut envoy).await), ["a"], "the claim of another fleet is not heard");
    envoy.subscribe(Secret, &["b-key"]).await.expect("subscribe");
    let response = next(&mut envoy).await;
    assert_eq!((names(&response), &*response.removed_resources), (vec![], &["b-key".to_owned()][..]));
    envoy.subscribe(Secret, &["a-key"]).await.expect("subscribe");
    assert_eq!(names(&next(&mut envoy).await), ["a-key"]);
}

#[tokio::test]
async fn a_certificate_of_this_installation_is_needed() {
    let authority = Authority::new();
    let site = Site::start(&authority).await;
    let good = proxy(&authority, "127.0.0.2", "one", "");
    let with = |tls| server::fake::Proxy { tls, ..good.clone() };
    let stranger = Authority::new();
    let name = format!("*.{NAMESPACE}");
    let refused = [
        ("none", authority.client(None)),
        ("of another authority", authority.client(Some(&stranger.sign(&name)))),
        ("run out", authority.client(Some(&authority.sign_old(&name)))),
        ("of the control plane", authority.client(Some(&authority.sign("envoy-gateway")))),
    ];
    for (which, tls) in refused {
        let status = refusal(&site, &with(tls)).await;
        assert_ne!(status.code(), Code::PermissionDenied, "{which}: refused in the handshake: {status}");
    }
    assert_eq!(site.feeds.metrics().denied.get(), 0);
    site.connect(&good).await;
}

#[tokio::test]
async fn another_pods_name_or_address_is_of_no_use() {
    let authority = Authority::new();
    let site = Site::start(&authority).await;
    let status = refusal(&site, &proxy(&authority, "127.0.0.2", "two", "default/b")).await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("comes from 127.0.0.2"), "{status}");
    assert_eq!(site.feeds.metrics().denied.get(), 1);
}

#[tokio::test]
async fn streams_end_with_their_pod_and_with_its_label() {
    let authority = Authority::new();
    let site = Site::start(&authority).await;
    let who = proxy(&authority, "127.0.0.2", "one", "");
    let mut envoy = site.connect(&who).await;
    envoy.subscribe(Cluster, &[]).await.expect("subscribe");
    next(&mut envoy).await;
    site.pods.put(pod("one", "127.0.0.2", "default/b"));
    let status = envoy.receive(SOON).await.expect_err("ended");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("belongs to the fleet default/b now"), "{status}");
    let mut envoy = site.connect(&who).await;
    envoy.subscribe(Cluster, &[]).await.expect("subscribe");
    assert_eq!(names(&next(&mut envoy).await), ["b"]);
    site.pods.remove(NAMESPACE, "one");
    assert_eq!(envoy.receive(SOON).await.expect_err("ended").code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_pod_that_comes_late_is_served() {
    let authority = Authority::new();
    let site = Site::start(&authority).await;
    let mut envoy = site.connect(&proxy(&authority, "127.0.0.9", "late", "")).await;
    envoy.subscribe(Cluster, &[]).await.expect("subscribe");
    assert!(envoy.receive(QUIET).await.expect("stream").is_none());
    site.pods.put(pod("late", "127.0.0.9", "default/a"));
    assert_eq!(names(&next(&mut envoy).await), ["a"]);
}

#[tokio::test]
async fn nobody_connects_before_everything_is_known() {
    let authority = Authority::new();
    let mut site = Site::closed(&authority).await;
    let who = proxy(&authority, "127.0.0.2", "one", "");
    let early = tokio::net::TcpStream::connect(site.address).await.expect_err("refused");
    assert_eq!(early.kind(), std::io::ErrorKind::ConnectionRefused);
    site.open().await;
    site.connect(&who).await;
    site.stop().await;
    let late = tokio::net::TcpStream::connect(site.address).await.expect_err("refused");
    assert_eq!(late.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// Swaps the folder as the kubelet does: new files beside the old ones, then one rename of a link.
fn publish(folder: &Path, version: &str, write: impl FnOnce(&Path)) {
    let files = folder.join(version);
    std::fs::create_dir(&files).expect("folder");
    write(&files);
    symlink(version, folder.join("..new")).expect("link");
    std::fs::rename(folder.join("..new"), folder.join("..data")).expect("rename");
}

#[tokio::test]
async fn certificates_change_while_it_serves() {
    let (old, new) = (Authority::new(), Authority::new());
    let mounted = tempfile::tempdir().expect("tempdir");
    publish(mounted.path(), "v1", |folder| old.write(folder));
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        symlink(format!("..data/{file}"), mounted.path().join(file)).expect("link");
    }
    let site = Site::with(mounted.path(), Clients::Certified { name: None }).await;
    let (first, second) = (proxy(&old, "127.0.0.2", "one", ""), proxy(&new, "127.0.0.2", "one", ""));
    let mut streaming = site.connect(&first).await;
    streaming.subscribe(Cluster, &[]).await.expect("subscribe");
    next(&mut streaming).await;
    refusal(&site, &second).await;
    publish(mounted.path(), "v2", |folder| {
        old.write(folder);
        std::fs::write(folder.join("tls.key"), "no key").expect("write");
    });
    site.connect(&first).await;
    publish(mounted.path(), "v3", |folder| new.write(folder));
    refusal(&site, &first).await;
    let mut renewed = site.connect(&second).await;
    renewed.subscribe(Cluster, &[]).await.expect("subscribe");
    assert_eq!(names(&next(&mut renewed).await), ["a"]);
    assert!(
        streaming.receive(QUIET).await.expect("goes on").is_none(),
        "streams outlive the old certificates"
    );
}

#[tokio::test]
async fn a_proxy_of_age_moves_to_another_replica_and_is_sent_nothing() {
    let authority = Authority::new();
    let young = Site::start(&authority).await;
    let age = Duration::from_millis(400);
    let age = ConnectionAge { from: age, to: 2 * age, grace: SOON };
    let aging = Site::limited(&authority, Connections { age: Some(age), ..Connections::default() }).await;
    let who = proxy(&authority, "127.0.0.2", "one", "");
    let (mut envoy, mut model) = (aging.connect(&who).await, Model::new());
    envoy.hello(&mut model).await.expect("hello");
    let status = envoy.follow(&mut model, SOON).await.expect_err("too old in the end");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("age"), "{status}");
    assert_eq!(model.names(Cluster), ["a"]);
    let mut envoy = young.connect(&who).await;
    envoy.hello(&mut model).await.expect("hello");
    assert_eq!(
        envoy.follow(&mut model, QUIET).await.expect("follow"),
        0,
        "the same content, the same versions"
    );
}

#[tokio::test]
async fn a_proxy_that_answers_nothing_is_cut_off_after_the_grace() {
    let authority = Authority::new();
    let short = Duration::from_millis(200);
    let age = ConnectionAge { from: short, to: short, grace: 3 * short };
    let site = Site::limited(&authority, Connections { age: Some(age), ..Connections::default() }).await;
    let mut envoy = site.connect(&proxy(&authority, "127.0.0.2", "one", "")).await;
    let begun = tokio::time::Instant::now();
    envoy.subscribe(Cluster, &[]).await.expect("subscribe");
    next(&mut envoy).await;
    envoy.receive(SOON).await.expect_err("cut off");
    assert!(begun.elapsed() >= 3 * short, "it had its grace");
}

/// Knows one token.
struct Api;

#[tonic::async_trait]
impl TokenReviewer for Api {
    async fn review(&self, token: &BearerToken, _: &str) -> Result<TokenIdentity, ReviewError> {
        match token.expose() {
            "one" => Ok(TokenIdentity { namespace: NAMESPACE.into(), pod: "one".into(), pod_uid: None }),
            _ => Err(ReviewError::Refused("the API server does not know the token".to_owned())),
        }
    }
}

#[tokio::test]
async fn a_token_takes_the_place_of_certificate_and_address() {
    let authority = Authority::new();
    let site = Site::tokens(&authority, |pods| Box::new(ByToken::new(pods, Api, "envoy-gateway"))).await;
    let with = |token: Option<&str>, id: &str| server::fake::Proxy {
        tls: authority.client(None),
        token: token.map(str::to_owned),
        ..proxy(&authority, "127.0.0.7", id, "default/b")
    };
    let mut envoy = site.connect(&with(Some("one"), "one")).await;
    envoy.subscribe(Cluster, &[]).await.expect("subscribe");
    assert_eq!(names(&next(&mut envoy).await), ["a"]);
    for (token, id, code) in [
        (None, "one", Code::Unauthenticated),
        (Some("forged"), "one", Code::Unauthenticated),
        (Some("one"), "two", Code::PermissionDenied),
    ] {
        assert_eq!(refusal(&site, &with(token, id)).await.code(), code, "{token:?} {id}");
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (one, two) = (Authority::new(), Authority::new());
    one.write(folder.path());
    let clients = || Clients::Certified { name: None };
    server::Tls::load(folder.path(), clients(), server::Protocols::Http2).expect("good");
    let words = |expected: &str| {
        let error = server::Tls::load(folder.path(), clients(), server::Protocols::Http2)
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    };
    std::fs::write(folder.path().join("ca.crt"), "").expect("write");
    words("ca.crt: there is no certificate in it");
    std::fs::remove_file(folder.path().join("ca.crt")).expect("remove");
    words("ca.crt");
    server::Tls::load(folder.path(), Clients::Anyone, server::Protocols::Http2).expect("needs no authority");
    let other = tempfile::tempdir().expect("tempdir");
    two.write(other.path());
    one.write(folder.path());
    std::fs::copy(other.path().join("tls.key"), folder.path().join("tls.key")).expect("copy");
    words("belong together");
}
