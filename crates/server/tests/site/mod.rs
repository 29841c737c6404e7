//! A server over TLS with two fleets, and proxies to connect with.

#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use envoy_api::{core::Node, discovery::DeltaDiscoveryResponse};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use server::{
    Authorizer, ByPod, Clients, Connections, Feeds, Pods, Protocols, ProxyPod, Server, Tls,
    fake::{FakeEnvoy, Proxy, build},
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

pub(crate) const NAMESPACE: &str = "envoy-gateway-system";
/// Long enough for a busy machine; nothing waits for it when all is well.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Long enough to see that nothing comes.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

/// A certificate with its key.
pub(crate) struct Pair {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Pair {
    /// Certificate, key and authority.
    pub(crate) fn pem(&self, authority: &Authority) -> (String, String, String) {
        (self.certificate.pem(), self.key.serialize_pem(), authority.issuer.pem())
    }
}

/// An authority with the control plane's certificate.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    server: Pair,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("issuer");
        let server = issue(&issuer, "envoy-gateway", 2099);
        Authority { issuer, server }
    }

    /// A certificate for this name.
    pub(crate) fn sign(&self, name: &str) -> Pair {
        issue(&self.issuer, name, 2099)
    }

    /// One that has run out.
    pub(crate) fn sign_old(&self, name: &str) -> Pair {
        issue(&self.issuer, name, 2021)
    }

    /// The files of the control plane.
    pub(crate) fn write(&self, folder: &Path) {
        for (file, content) in [
            ("tls.crt", self.server.certificate.pem()),
            ("tls.key", self.server.key.serialize_pem()),
            ("ca.crt", self.issuer.pem()),
        ] {
            std::fs::write(folder.join(file), content).expect("write");
        }
    }

    /// A client that trusts this authority and shows this certificate.
    pub(crate) fn client(&self, pair: Option<&Pair>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.key.serialize_der()));
                builder.with_client_auth_cert(vec![pair.certificate.der().clone()], key).expect("certificate")
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

fn issue(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str, end: i32) -> Pair {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("name");
    // Envoy takes a certificate with its issuer's subject for one that signed itself.
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(end, 1, 1);
    let key = KeyPair::generate().expect("key");
    Pair { certificate: params.signed_by(&key, issuer).expect("certificate"), key }
}

/// A proxy with the installation's client certificate.
pub(crate) fn proxy(authority: &Authority, address: &str, id: &str, cluster: &str) -> Proxy {
    Proxy {
        address: address.parse::<IpAddr>().expect("address"),
        tls: authority.client(Some(&authority.sign(&format!("*.{NAMESPACE}")))),
        token: None,
        node: Node { id: id.to_owned(), cluster: cluster.to_owned(), ..Node::default() },
    }
}

pub(crate) fn pod(name: &str, address: &str, fleet: &str) -> ProxyPod {
    ProxyPod {
        namespace: NAMESPACE.into(),
        name: name.into(),
        uid: name.into(),
        addresses: vec![address.parse().expect("address")],
        fleet: fleet.into(),
    }
}

/// Two fleets: Pod `one` at 127.0.0.2 is of `default/a`, Pod `two` at 127.0.0.3 of `default/b`.
pub(crate) struct Site {
    pub(crate) feeds: Feeds,
    pub(crate) pods: Pods,
    pub(crate) address: SocketAddr,
    synced: Option<oneshot::Sender<()>>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
    _folder: Option<TempDir>,
}

impl Site {
    /// Serves.
    pub(crate) async fn start(authority: &Authority) -> Site {
        Site::limited(authority, Connections::default()).await
    }

    /// Serves, with these limits.
    pub(crate) async fn limited(authority: &Authority, connections: Connections) -> Site {
        let mut site = Site::make(authority, connections);
        site.open().await;
        site
    }

    /// Does not serve before [`Site::open`].
    pub(crate) async fn closed(authority: &Authority) -> Site {
        Site::make(authority, Connections::default())
    }

    /// Serves with the files of this folder.
    pub(crate) async fn with(folder: &Path, clients: Clients) -> Site {
        let pods = Pods::default();
        let authorizer = ByPod::new(pods.clone(), NAMESPACE);
        let mut site = Site::build(folder, clients, pods, Box::new(authorizer), Connections::default());
        site.open().await;
        site
    }

    /// Asks for no certificates.
    pub(crate) async fn tokens(
        authority: &Authority,
        authorizer: impl FnOnce(Pods) -> Box<dyn Authorizer>,
    ) -> Site {
        let folder = tempfile::tempdir().expect("tempdir");
        authority.write(folder.path());
        let pods = Pods::default();
        let authorizer = authorizer(pods.clone());
        let mut site = Site::build(folder.path(), Clients::Anyone, pods, authorizer, Connections::default());
        site._folder = Some(folder);
        site.open().await;
        site
    }

    fn make(authority: &Authority, connections: Connections) -> Site {
        let folder = tempfile::tempdir().expect("tempdir");
        authority.write(folder.path());
        let clients = Clients::Certified { name: Some(format!("*.{NAMESPACE}")) };
        let pods = Pods::default();
        let authorizer = ByPod::new(pods.clone(), NAMESPACE);
        let mut site = Site::build(folder.path(), clients, pods, Box::new(authorizer), connections);
        site._folder = Some(folder);
        site
    }

    fn build(
        folder: &Path,
        clients: Clients,
        pods: Pods,
        authorizer: Box<dyn Authorizer>,
        connections: Connections,
    ) -> Site {
        pods.replace([pod("one", "127.0.0.2", "default/a"), pod("two", "127.0.0.3", "default/b")]);
        let feeds = Feeds::default();
        for name in ["a", "b"] {
            let update = build::update([
                build::cluster(name, 0),
                build::endpoints(name, 9),
                build::listener("web", 10080, "web"),
                build::route("web", vec![build::host("a.test", name, "first")]),
                build::secret(&format!("{name}-key")),
            ]);
            feeds.apply(&format!("default/{name}"), 1, update);
        }
        let tls = Tls::load(folder, clients, Protocols::Http2).expect("certificates");
        let server = Server::new(feeds.clone(), authorizer).with_connections(connections);
        let door = server.bind_tcp("127.0.0.1:0".parse().expect("address"), tls).expect("bind");
        let address = door.address();
        let (synced, wait) = oneshot::channel::<()>();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let wait = async { wait.await.expect("opened") };
            let shutdown = async {
                let _dropped = stopped.await;
            };
            door.serve(wait, shutdown).await.expect("listen");
        });
        Site {
            feeds,
            pods,
            address,
            synced: Some(synced),
            stop: Some(stop),
            serving: Some(serving),
            _folder: None,
        }
    }

    /// Begins to serve; returns when somebody can connect.
    pub(crate) async fn open(&mut self) {
        self.synced.take().expect("closed").send(()).expect("waits");
        let connect = async {
            while tokio::net::TcpStream::connect(self.address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, connect).await.expect("listens");
    }

    /// Stops serving.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        tokio::time::timeout(SOON, self.serving.take().expect("serving")).await.expect("ends").expect("task");
    }

    pub(crate) async fn connect(&self, proxy: &Proxy) -> FakeEnvoy {
        FakeEnvoy::connect_tls(self.address, proxy).await.expect("connect")
    }
}

pub(crate) async fn next(envoy: &mut FakeEnvoy) -> DeltaDiscoveryResponse {
    envoy.receive(SOON).await.expect("stream").expect("a response")
}

pub(crate) fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|r| r.name.as_str()).collect()
}
