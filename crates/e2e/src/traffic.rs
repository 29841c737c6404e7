//! Closed-loop clients: each sends the next request when the last was answered.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{At, Client, Reply, get};

/// Pause of a client between two requests: a few hundred requests a second, so that others get their time.
const PAUSE: Duration = Duration::from_millis(3);

/// What clients saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests answered well.
    pub good: u64,
    /// Everything else, in words.
    pub bad: Vec<String>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Loop {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    bad: Arc<Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// How a client connects.
#[derive(Clone, Copy, Debug)]
enum Door {
    Plain { keep: bool },
    H2c,
    Tls(&'static str),
}

impl Loop {
    /// No clients yet.
    #[must_use]
    pub fn new() -> Loop {
        Loop { stop: Arc::default(), good: Arc::default(), bad: Arc::default(), tasks: Vec::new() }
    }

    /// Adds an HTTP/1.1 client with one connection that it keeps; answers must be 2xx.
    pub fn http1(&mut self, at: impl Into<At>, host: &str, path: &str) {
        self.client(at.into(), host, path, Door::Plain { keep: true }, |reply| {
            (200..300).contains(&reply.status)
        });
    }

    /// The same with a connection for each request.
    pub fn http1_fresh(&mut self, at: impl Into<At>, host: &str, path: &str) {
        self.client(at.into(), host, path, Door::Plain { keep: false }, |reply| {
            (200..300).contains(&reply.status)
        });
    }

    /// Adds a client with one HTTP/2 connection without TLS that it keeps; answers must be 2xx.
    pub fn h2c(&mut self, at: impl Into<At>, host: &str, path: &str) {
        self.client(at.into(), host, path, Door::H2c, |reply| (200..300).contains(&reply.status));
    }

    /// Adds a client with a TLS connection (`h2` or `http/1.1`) for each request; answers must be 2xx.
    pub fn tls(&mut self, at: impl Into<At>, host: &str, path: &str, alpn: &'static str) {
        self.client(at.into(), host, path, Door::Tls(alpn), |reply| (200..300).contains(&reply.status));
    }

    /// Adds an HTTP/1.1 client whose answers must please `pleases`.
    pub fn watch(
        &mut self,
        at: impl Into<At>,
        host: &str,
        path: &str,
        pleases: impl Fn(&Reply) -> bool + Send + 'static,
    ) {
        self.client(at.into(), host, path, Door::Plain { keep: true }, pleases);
    }

    fn client(
        &mut self,
        at: At,
        host: &str,
        path: &str,
        door: Door,
        pleases: impl Fn(&Reply) -> bool + Send + 'static,
    ) {
        let (host, path) = (host.to_owned(), path.to_owned());
        let (stop, good, bad) = (self.stop.clone(), self.good.clone(), self.bad.clone());
        self.tasks.push(tokio::spawn(async move {
            let mut held = None;
            while !stop.load(Ordering::Relaxed) {
                match round(&mut held, at, &host, &path, door).await {
                    Ok(reply) if pleases(&reply) => drop(good.fetch_add(1, Ordering::Relaxed)),
                    Ok(reply) => {
                        let words = format!("{host}{path}: {} {}", reply.status, reply.text());
                        bad.lock().unwrap().push(words);
                    }
                    Err(words) => bad.lock().unwrap().push(format!("{host}{path}: {words}")),
                }
                tokio::time::sleep(PAUSE).await;
            }
        }));
    }

    /// Requests answered well so far.
    #[must_use]
    pub fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    /// Ends the clients.
    ///
    /// # Panics
    /// When a client panicked.
    pub async fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let bad = self.bad.lock().unwrap().clone();
        Report { good: self.good.load(Ordering::Relaxed), bad }
    }
}

impl Default for Loop {
    fn default() -> Self {
        Loop::new()
    }
}

/// One request over the held connection or a new one. A connection that the proxy has said it closes is not used
/// again, as HTTP wants it.
async fn round(
    held: &mut Option<Client>,
    at: At,
    host: &str,
    path: &str,
    door: Door,
) -> Result<Reply, String> {
    let mut client = match (held.take().filter(Client::is_open), door) {
        (Some(client), _) => client,
        (None, Door::Plain { .. }) => Client::try_http1(at).await.ok_or("no connection")?,
        (None, Door::H2c) => Client::h2c(at).await,
        (None, Door::Tls(alpn)) => Client::tls(at, host, alpn).await.ok_or("no TLS connection")?.0,
    };
    let answer = tokio::time::timeout(crate::SOON, client.exchange(get(host, path))).await;
    let reply = answer.map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())?;
    if matches!(door, Door::Plain { keep: true } | Door::H2c) && reply.header("connection") != "close" {
        *held = Some(client);
    }
    Ok(reply)
}
