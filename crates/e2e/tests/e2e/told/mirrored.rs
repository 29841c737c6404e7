//! Backends of mirrors: they note which copies came.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The header by which a request is known.
pub(super) const NUMBER: &str = "x-number";

/// A mirror with the number of a request that it got.
pub(super) type Copy = (&'static str, String);

/// Backends that take HTTP/1.1 and note each request; they end with this value.
pub(super) struct Mirrors {
    ports: BTreeMap<&'static str, u16>,
    seen: Arc<Mutex<BTreeSet<Copy>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Mirrors {
    pub(super) async fn start(names: &[&'static str]) -> Mirrors {
        let mut mirrors = Mirrors { ports: BTreeMap::new(), seen: Arc::default(), tasks: Vec::new() };
        for name in names.iter().copied() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            mirrors.ports.insert(name, listener.local_addr().unwrap().port());
            mirrors.tasks.push(tokio::spawn(serve(listener, name, mirrors.seen.clone())));
        }
        mirrors
    }

    pub(super) fn port(&self, name: &str) -> u16 {
        self.ports[name]
    }

    pub(super) fn seen(&self) -> BTreeSet<Copy> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Mirrors {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve(listener: TcpListener, name: &'static str, seen: Arc<Mutex<BTreeSet<Copy>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let seen = seen.clone();
        tokio::spawn(async move {
            if let Some(number) = answer(stream).await {
                seen.lock().unwrap().insert((name, number));
            }
        });
    }
}

/// Answers one request, whose number is returned. A body is not read.
async fn answer(stream: TcpStream) -> Option<String> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut number = None;
    while let Some(line) = lines.next_line().await.ok()?.filter(|line| !line.is_empty()) {
        let value =
            line.split_once(": ").filter(|(name, _)| *name == NUMBER).map(|(_, value)| value.to_owned());
        number = value.or(number);
    }
    write.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await.ok()?;
    number
}
