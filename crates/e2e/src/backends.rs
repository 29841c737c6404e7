//! Backends inside the test process.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::sync::oneshot;

use crate::{Authority, Certificate};

/// Echo backends by name; they end with this value.
#[derive(Debug)]
pub struct Backends {
    addresses: BTreeMap<String, SocketAddr>,
    /// Port that speaks TLS, and its certificate in DER.
    tls: BTreeMap<String, (u16, Vec<u8>)>,
    serving: BTreeMap<String, Arc<AtomicBool>>,
    stops: Vec<oneshot::Sender<()>>,
}

impl Backends {
    /// Starts one backend for each name, on ports of 127.0.0.1.
    pub async fn start(names: &[&str]) -> Backends {
        Backends::start_at(Ipv4Addr::LOCALHOST.into(), names).await
    }

    /// The same on another address of this machine.
    pub async fn start_at(address: IpAddr, names: &[&str]) -> Backends {
        let mut backends = Backends {
            addresses: BTreeMap::new(),
            tls: BTreeMap::new(),
            serving: BTreeMap::new(),
            stops: Vec::new(),
        };
        for name in names {
            let options = echo::Options {
                plain: vec![SocketAddr::from((address, 0))],
                tls: vec![SocketAddr::from((address, 0))],
                backend: (*name).to_owned(),
                ..echo::Options::default()
            };
            backends.serving.insert((*name).to_owned(), options.serving.clone());
            let (stop, stopped) = oneshot::channel::<()>();
            let running =
                echo::serve(options, async { drop(stopped.await) }).await.expect("a backend starts");
            backends.addresses.insert((*name).to_owned(), running.plain[0]);
            let pem = running.certificate_pem.as_deref().expect("a certificate was made");
            let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
            backends.tls.insert((*name).to_owned(), (running.tls[0].port(), der));
            backends.stops.push(stop);
        }
        backends
    }

    /// The port of a backend.
    #[must_use]
    pub fn port(&self, name: &str) -> u16 {
        self.addresses[name].port()
    }

    /// The port of a backend that speaks TLS.
    #[must_use]
    pub fn tls_port(&self, name: &str) -> u16 {
        self.tls[name].0
    }

    /// The certificate that a backend shows there, in DER.
    #[must_use]
    pub fn certificate(&self, name: &str) -> &[u8] {
        &self.tls[name].1
    }

    /// Sets what a backend tells health checks, by [`echo::HEALTH_PATH`] and by gRPC's health service.
    pub fn is_well(&self, name: &str, well: bool) {
        self.serving[name].store(well, Ordering::Relaxed);
    }

    /// `Backend` objects for all of them, of their names.
    #[must_use]
    pub fn manifest(&self) -> String {
        self.addresses.iter().map(|(name, address)| crate::manifest::backend(name, address.port())).collect()
    }
}

/// A backend that speaks TLS alone; it ends with this value.
#[derive(Debug)]
pub struct TlsBackend {
    /// Its port of 127.0.0.1.
    pub port: u16,
    _files: tempfile::TempDir,
    _stop: oneshot::Sender<()>,
}

impl TlsBackend {
    /// Starts one with this certificate. With `clients` only those are let in who show a certificate of that authority.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(name: &str, certificate: &Certificate, clients: Option<&Authority>) -> TlsBackend {
        let files = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = files.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let options = echo::Options {
            tls: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            certificate: echo::Certificate::Files {
                certificate: file("tls.crt", &certificate.certificate),
                key: file("tls.key", &certificate.key),
            },
            client_authorities: clients.map(|authority| file("ca.crt", &authority.certificate)),
            backend: name.to_owned(),
            ..echo::Options::default()
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let running = echo::serve(options, async { drop(stopped.await) }).await.expect("a backend starts");
        TlsBackend { port: running.tls[0].port(), _files: files, _stop: stop }
    }
}
