//! Backends and clients of bytes: without HTTP and without TLS.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Backends by name, each on a TCP port and on a UDP port of 127.0.0.1. A line is answered with the backend's name, a
/// blank and the line; so is a datagram.
#[derive(Debug)]
pub struct Echoes {
    ports: BTreeMap<String, (u16, u16)>,
    tasks: Vec<JoinHandle<()>>,
}

impl Echoes {
    /// Starts one for each name.
    pub async fn start(names: &[&str]) -> Echoes {
        let mut echoes = Echoes { ports: BTreeMap::new(), tasks: Vec::new() };
        for name in names {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let ports = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
            echoes.ports.insert((*name).to_owned(), ports);
            echoes.tasks.push(tokio::spawn(lines(tcp, (*name).to_owned())));
            echoes.tasks.push(tokio::spawn(datagrams(udp, (*name).to_owned())));
        }
        echoes
    }

    /// `Backend` objects for the TCP ports, of the backends' names.
    #[must_use]
    pub fn tcp_manifest(&self) -> String {
        self.ports.iter().map(|(name, (tcp, _))| crate::manifest::backend(name, *tcp)).collect()
    }

    /// The UDP port of a backend.
    #[must_use]
    pub fn udp_port(&self, name: &str) -> u16 {
        self.ports[name].1
    }

    /// `Backend` objects for the UDP ports, named `udp-` and the backend's name.
    #[must_use]
    pub fn udp_manifest(&self) -> String {
        let named =
            |(name, (_, udp)): (&String, &(u16, u16))| crate::manifest::backend(&format!("udp-{name}"), *udp);
        self.ports.iter().map(named).collect()
    }
}

impl Drop for Echoes {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn lines(listener: TcpListener, name: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let name = name.clone();
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if write.write_all(format!("{name} {line}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn datagrams(socket: UdpSocket, name: String) {
    let mut buffer = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let text = String::from_utf8_lossy(&buffer[..length]);
        let _ = socket.send_to(format!("{name} {text}").as_bytes(), from).await;
    }
}

/// One line over a new connection to a local port: the name of the backend that answered.
///
/// # Errors
/// When there is no connection, or it is closed without an answer.
pub async fn tcp_echo(port: u16) -> Result<String, String> {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(b"hello\n").await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::Error::other("closed without an answer"));
            }
        }
        Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| "no answer".to_owned())?;
    named(&answer.map_err(|error| error.to_string())?)
}

/// One datagram to a local port: the name of the backend that answered.
///
/// # Errors
/// When there is no answer.
pub async fn udp_echo(port: u16) -> Result<String, String> {
    let exchange = async {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect((Ipv4Addr::LOCALHOST, port)).await?;
        socket.send(b"hello").await?;
        let mut buffer = [0; 1500];
        let length = socket.recv(&mut buffer).await?;
        std::io::Result::Ok(buffer[..length].to_vec())
    };
    let answer = tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| "no answer".to_owned())?;
    named(&answer.map_err(|error| error.to_string())?)
}

fn named(answer: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(answer);
    let answer = text.trim_end().strip_suffix(" hello");
    answer.map(str::to_owned).ok_or_else(|| format!("not an echo: {text}"))
}
