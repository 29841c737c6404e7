//! A scripted Envoy over real gRPC: the test holds both directions.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use envoy_api::{
    core::Node,
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    service::AggregatedDiscoveryServiceClient,
    well_known,
};
use hyper_util::rt::TokioIo;
use ir::resource::ResourceType;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::{TcpSocket, UnixStream},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, Endpoint},
};

use super::Model;

/// Requests on their way; a script sends them one by one.
const REQUESTS: usize = 64;

/// Who a proxy is, or claims to be.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// The address that it connects from.
    pub address: IpAddr,
    /// Its certificate, and whom it trusts.
    pub tls: Arc<ClientConfig>,
    /// Goes into `authorization: Bearer`.
    pub token: Option<String>,
    /// Its node.
    pub node: Node,
}

/// One stream to a server. Dropping it ends the stream.
#[derive(Debug)]
pub struct FakeEnvoy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    node: Option<Node>,
}

impl FakeEnvoy {
    /// Connects over TCP as a node of this cluster.
    ///
    /// # Errors
    /// When there is no server or it refuses the stream.
    pub async fn connect(address: SocketAddr, cluster: &str) -> Result<Self, Status> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unavailable)?;
        Self::open(endpoint.connect().await.map_err(unavailable)?, node(cluster), None).await
    }

    /// Connects over TLS to a server that has a certificate for `envoy-gateway`.
    ///
    /// # Errors
    /// When there is no server, or one of both does not trust the other. A refusal may come with the first response
    /// only: see [`FakeEnvoy::receive`].
    pub async fn connect_tls(address: SocketAddr, proxy: &Proxy) -> Result<Self, Status> {
        let Proxy { address: from, tls, token, node } = proxy.clone();
        let connector = tower::service_fn(move |_: http::Uri| {
            let tls = TlsConnector::from(Arc::clone(&tls));
            async move {
                let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                socket.bind(SocketAddr::new(from, 0))?;
                let tcp = socket.connect(address).await?;
                let name = ServerName::try_from("envoy-gateway").map_err(io::Error::other)?;
                Ok::<_, io::Error>(TokioIo::new(tls.connect(name, tcp).await?))
            }
        });
        let channel = Endpoint::from_static("http://fake")
            .connect_with_connector(connector)
            .await
            .map_err(unavailable)?;
        Self::open(channel, node, token.as_deref()).await
    }

    /// Connects over a Unix socket as a node of this cluster.
    ///
    /// # Errors
    /// When there is no server or it refuses the stream.
    pub async fn connect_unix(path: &Path, cluster: &str) -> Result<Self, Status> {
        let path = path.to_owned();
        let connector = tower::service_fn(move |_: http::Uri| {
            let path = path.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        });
        let channel = Endpoint::from_static("http://fake")
            .connect_with_connector(connector)
            .await
            .map_err(unavailable)?;
        Self::open(channel, node(cluster), None).await
    }

    async fn open(channel: Channel, node: Node, token: Option<&str>) -> Result<Self, Status> {
        let (requests, stream) = mpsc::channel(REQUESTS);
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let mut request = Request::new(ReceiverStream::new(stream));
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().map_err(unavailable)?;
            request.metadata_mut().insert("authorization", value);
        }
        let responses = client.delta_aggregated_resources(request).await?.into_inner();
        Ok(FakeEnvoy { requests, responses, node: Some(node) })
    }

    /// Sends a request; the first carries the node.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn send(&mut self, mut request: DeltaDiscoveryRequest) -> Result<(), Status> {
        request.node = self.node.take();
        self.requests.send(request).await.map_err(|_| Status::cancelled("the stream has ended"))
    }

    /// Asks for these names; for none of them in the first request of a type: for everything.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn subscribe(&mut self, kind: ResourceType, names: &[&str]) -> Result<(), Status> {
        self.send(DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: names.iter().map(|n| (*n).to_owned()).collect(),
            ..DeltaDiscoveryRequest::default()
        })
        .await
    }

    /// Accepts a response.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn ack(&mut self, response: &DeltaDiscoveryResponse) -> Result<(), Status> {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        })
        .await
    }

    /// Refuses a response in these words.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn nack(&mut self, response: &DeltaDiscoveryResponse, words: &str) -> Result<(), Status> {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: Some(well_known::Status {
                code: 13,
                message: words.to_owned(),
                details: Vec::new(),
            }),
            ..DeltaDiscoveryRequest::default()
        })
        .await
    }

    /// The next response; `None` when none comes in this time.
    ///
    /// # Errors
    /// The status with which the server ended the stream.
    pub async fn receive(&mut self, within: Duration) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        match timeout(within, self.responses.message()).await {
            Err(_) => Ok(None),
            Ok(Err(status)) => Err(status),
            Ok(Ok(None)) => Err(Status::ok("the server ended the stream")),
            Ok(Ok(Some(response))) => Ok(Some(response)),
        }
    }

    /// Opens the conversation as the model would: call it once, then [`FakeEnvoy::follow`].
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn hello(&mut self, model: &mut Model) -> Result<(), Status> {
        for request in model.hello() {
            self.send(request).await?;
        }
        Ok(())
    }

    /// Lets the model answer until nothing comes for this time. Returns how many responses came.
    ///
    /// # Errors
    /// When the stream has ended.
    pub async fn follow(&mut self, model: &mut Model, quiet: Duration) -> Result<usize, Status> {
        let mut count = 0;
        while let Some(response) = self.receive(quiet).await? {
            count += 1;
            for request in model.receive(&response) {
                self.send(request).await?;
            }
        }
        Ok(count)
    }
}

fn node(cluster: &str) -> Node {
    Node { id: "fake".to_owned(), cluster: cluster.to_owned(), ..Node::default() }
}

fn unavailable(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}
