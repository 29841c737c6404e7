//! A gRPC client for calls of every shape, which tells each message and the status at the end.

use std::convert::Infallible;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::stream;
use http::Request;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
};

use crate::{SOON, tls::handshake};

/// Messages that may wait to be sent.
const WAITING: usize = 64;
/// Bytes before each message: a flag and the length.
const PREFIX: usize = 5;

/// How a call ended: `grpc-status` and `grpc-message`. A broken connection is status 14, as gRPC's libraries have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `grpc-status`; 0 when all went well.
    pub status: u16,
    /// `grpc-message`.
    pub message: String,
}

impl Ended {
    #[expect(clippy::needless_pass_by_value, reason = "`map_err` hands errors over")]
    fn broken(what: impl ToString) -> Ended {
        Ended { status: 14, message: what.to_string() }
    }
}

/// A connection for calls: HTTP/2.
#[derive(Debug)]
pub struct Channel(http2::SendRequest<UnsyncBoxBody<Bytes, Infallible>>);

impl Channel {
    /// Connects to a port of 127.0.0.1 without TLS.
    ///
    /// # Panics
    /// When nothing listens.
    pub async fn connect(port: u16) -> Channel {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        Channel::over(stream).await.expect("HTTP/2")
    }

    /// Connects with TLS and this server name; none when there is no HTTP/2.
    pub async fn tls(port: u16, name: &str) -> Option<Channel> {
        let stream = handshake(port.into(), name, &["h2"], None).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return None;
        }
        Channel::over(stream).await
    }

    async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Option<Channel> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.ok()?;
        tokio::spawn(connection);
        Some(Channel(sender))
    }

    /// Begins a call with these messages; more can be sent until [`Call::done`].
    ///
    /// # Errors
    /// When the call ends before it has begun.
    ///
    /// # Panics
    /// When `host` or `path` is malformed.
    pub async fn open<M: Message>(
        &mut self,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        first: &[M],
    ) -> Result<Call, Ended> {
        let (requests, waiting) = mpsc::channel(WAITING);
        for message in first {
            requests.try_send(framed(message)).map_err(Ended::broken)?;
        }
        let frames = stream::unfold(waiting, async |mut waiting| {
            let bytes: Bytes = waiting.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(bytes)), waiting))
        });
        let mut request = Request::post(format!("http://{host}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(StreamBody::new(frames).boxed_unsync()).expect("a request");
        self.0.ready().await.map_err(Ended::broken)?;
        // The answer's headers may wait for the messages' end, so a call of one message says that it is its only one.
        let requests = (first.len() != 1).then_some(requests);
        let answer = self.0.send_request(request);
        let response = tokio::time::timeout(SOON, answer)
            .await
            .map_err(|_| Ended::broken("no answer"))?
            .map_err(Ended::broken)?;
        if let Some(ended) = ended(response.headers()) {
            return Err(ended);
        }
        if response.status() != 200 {
            return Err(Ended::broken(response.status()));
        }
        Ok(Call { requests, body: response.into_body(), buffer: BytesMut::new() })
    }

    /// A call of one message with one answer.
    ///
    /// # Errors
    /// When the call does not end well, or without an answer.
    pub async fn unary<Q: Message, A: Message + Default>(
        &mut self,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        question: Q,
    ) -> Result<A, Ended> {
        let mut call = self.open(host, path, headers, &[question]).await?;
        let answer = call.next().await?.ok_or_else(|| Ended::broken("no message"))?;
        match call.next::<A>().await? {
            None => Ok(answer),
            Some(_) => Err(Ended::broken("two messages")),
        }
    }
}

/// A call under way.
#[derive(Debug)]
pub struct Call {
    requests: Option<mpsc::Sender<Bytes>>,
    body: Incoming,
    buffer: BytesMut,
}

impl Call {
    /// Sends one more message.
    ///
    /// # Errors
    /// When the call has ended.
    pub async fn send(&mut self, message: &impl Message) -> Result<(), Ended> {
        let Some(requests) = &self.requests else { return Err(Ended::broken("said to be done")) };
        requests.send(framed(message)).await.map_err(Ended::broken)
    }

    /// Says that there are no more messages.
    pub fn done(&mut self) {
        self.requests = None;
    }

    /// The next message; none when the call ended well.
    ///
    /// # Errors
    /// When it ended otherwise, or nothing comes within [`SOON`].
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Ended> {
        loop {
            if self.buffer.len() >= PREFIX {
                let length = (&self.buffer[1..PREFIX]).get_u32() as usize;
                if self.buffer.len() >= PREFIX + length {
                    self.buffer.advance(PREFIX);
                    let message = self.buffer.split_to(length);
                    return M::decode(message).map(Some).map_err(Ended::broken);
                }
            }
            let frame = tokio::time::timeout(SOON, self.body.frame());
            match frame.await.map_err(|_| Ended::broken("nothing came"))? {
                None => return Err(Ended::broken("no trailers")),
                Some(Err(error)) => return Err(Ended::broken(error)),
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        return match ended(trailers) {
                            Some(Ended { status: 0, .. }) => Ok(None),
                            Some(ended) => Err(ended),
                            None => Err(Ended::broken("trailers without a status")),
                        };
                    }
                    self.buffer.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
                }
            }
        }
    }
}

fn framed(message: &impl Message) -> Bytes {
    let mut buffer = BytesMut::with_capacity(PREFIX + message.encoded_len());
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(message.encoded_len()).expect("a small message"));
    message.encode(&mut buffer).expect("room for it");
    buffer.freeze()
}

fn ended(headers: &http::HeaderMap) -> Option<Ended> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let status = text("grpc-status")?.parse().ok()?;
    Some(Ended { status, message: text("grpc-message").unwrap_or_default().to_owned() })
}
