//! The gRPC side: a small service whose messages are written here, so that no `.proto` is compiled.
//!
//! Any `/package.Service/Method` is answered, which lets tests match on whatever names they like. The method's
//! last segment decides its shape: `ServerStream`, `ClientStream`, `BidiStream`; anything else is unary. An error
//! that is known before the first message is sent as a trailers-only response, which is the only form that
//! proxies look at for retries. Health and reflection answer as their own definitions say.

mod standard;

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::stream;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use prost::Message;
use tokio::sync::mpsc;

use crate::answer;
use crate::connection::{Body, Context, empty};
use standard::Standard;

/// The service that examples use; its methods are `Unary`, `ServerStream`, `ClientStream` and `BidiStream`.
pub const SERVICE: &str = "ferrogate.echo.v1.Echo";

/// gRPC status codes used here.
pub(crate) const UNAVAILABLE: u16 = 14;
const INVALID_ARGUMENT: u16 = 3;
const UNIMPLEMENTED: u16 = 12;
/// The highest status code that gRPC defines (`UNAUTHENTICATED`).
const MAX_STATUS: u32 = 16;
/// Longest message accepted: the usual default of gRPC servers.
const MAX_MESSAGE: usize = 4 << 20;
/// Messages a server stream may be asked for.
const MAX_COUNT: u32 = 100_000;
/// Responses that wait for a slow client before the stream stops reading requests.
const QUEUED: usize = 16;

/// One request message.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EchoRequest {
    /// Comes back in each response.
    #[prost(string, tag = "1")]
    pub message: String,
    /// Responses of a `ServerStream` call; 0 means 3, at most 100,000.
    #[prost(uint32, tag = "2")]
    pub count: u32,
    /// gRPC status code that ends the call, 0 (OK) to 16.
    #[prost(uint32, tag = "3")]
    pub status: u32,
    /// Pause before each response, in milliseconds, at most ten minutes.
    #[prost(uint32, tag = "4")]
    pub delay_ms: u32,
}

/// One response message.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EchoResponse {
    /// The request's message; of a `ClientStream` call all of them, joined by commas.
    #[prost(string, tag = "1")]
    pub message: String,
    /// Name of the backend that answered ([`Options::backend`](crate::Options::backend)).
    #[prost(string, tag = "2")]
    pub backend: String,
    /// `:path` of the call.
    #[prost(string, tag = "3")]
    pub path: String,
    /// `:authority` of the call.
    #[prost(string, tag = "4")]
    pub authority: String,
    /// Request metadata in the order received.
    #[prost(message, repeated, tag = "5")]
    pub headers: Vec<Header>,
    /// 0 for the first response of the call, and so on.
    #[prost(uint32, tag = "6")]
    pub index: u32,
    /// Server name of the TLS connection, empty without TLS.
    #[prost(string, tag = "7")]
    pub sni: String,
}

/// One entry of the request metadata.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Header {
    /// Lower-case name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value, bytes that are not UTF-8 replaced.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A gRPC status that is not OK.
struct Status(u16, &'static str);

pub(crate) fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Answers a call. `status` is the status code asked for by a knob.
pub(crate) async fn answer(
    context: &Context,
    request: Request<Incoming>,
    status: Option<u16>,
) -> Response<Body> {
    if let Some(code) = status.filter(|code| *code != 0) {
        return trailers_only(&Status(code, "asked for by x-echo-status"));
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let Some((_, method)) = path.trim_start_matches('/').split_once('/').filter(|(_, name)| !name.is_empty())
    else {
        return trailers_only(&Status(UNIMPLEMENTED, "the path is not /package.Service/Method"));
    };
    let template = EchoResponse {
        backend: context.server.backend.clone(),
        path: path.to_owned(),
        authority: answer::host(&parts.headers, &parts.uri).unwrap_or_default(),
        headers: metadata(&parts.headers),
        sni: context.peer.tls.as_ref().and_then(|tls| tls.sni.clone()).unwrap_or_default(),
        ..EchoResponse::default()
    };
    let mut messages = Messages { body, buffer: BytesMut::new() };
    if let Some(call) = standard::of(path) {
        return standard_call(context, call, messages);
    }
    match method {
        "ServerStream" => server_stream(context, messages, template).await,
        "BidiStream" => bidi_stream(context, messages, template),
        "ClientStream" => {
            client_stream(&mut messages, template).await.unwrap_or_else(|status| trailers_only(&status))
        }
        _ => unary(&mut messages, template).await.unwrap_or_else(|status| trailers_only(&status)),
    }
}

fn standard_call(context: &Context, call: Standard, mut messages: Messages) -> Response<Body> {
    let (sender, response) = streaming();
    let health = framed(&standard::health(context.server.is_serving()));
    spawn(context, async move {
        let end = match call {
            Standard::HealthCheck => {
                // A client that is gone needs no answer.
                let _ = sender.send(Frame::data(health)).await;
                Ok(())
            }
            Standard::HealthWatch => {
                let _ = sender.send(Frame::data(health)).await;
                sender.closed().await;
                Ok(())
            }
            Standard::Reflection => loop {
                match messages.next().await {
                    Ok(Some(question)) => {
                        let answer = framed(&standard::reflect(question));
                        if sender.send(Frame::data(answer)).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(status) => break Err(status),
                }
            },
        };
        finish(&sender, end).await;
    });
    response
}

async fn unary(messages: &mut Messages, mut response: EchoResponse) -> Result<Response<Body>, Status> {
    let request: EchoRequest = messages.next().await?.ok_or(Status(INVALID_ARGUMENT, "no message"))?;
    pause(&request).await;
    ended(&request)?;
    response.message = request.message;
    Ok(single(&response))
}

async fn client_stream(
    messages: &mut Messages,
    mut response: EchoResponse,
) -> Result<Response<Body>, Status> {
    let mut texts = Vec::new();
    while let Some(request) = messages.next::<EchoRequest>().await? {
        pause(&request).await;
        ended(&request)?;
        texts.push(request.message);
    }
    response.message = texts.join(",");
    Ok(single(&response))
}

async fn server_stream(context: &Context, mut messages: Messages, template: EchoResponse) -> Response<Body> {
    let request: EchoRequest = match messages.next().await {
        Ok(Some(request)) => request,
        Ok(None) => return trailers_only(&Status(INVALID_ARGUMENT, "no message")),
        Err(status) => return trailers_only(&status),
    };
    let (sender, response) = streaming();
    let count = if request.count == 0 { 3 } else { request.count.min(MAX_COUNT) };
    spawn(context, async move {
        for index in 0..count {
            pause(&request).await;
            let response = EchoResponse { message: request.message.clone(), index, ..template.clone() };
            if sender.send(Frame::data(framed(&response))).await.is_err() {
                return; // the client is gone
            }
        }
        finish(&sender, ended(&request)).await;
    });
    response
}

fn bidi_stream(context: &Context, mut messages: Messages, template: EchoResponse) -> Response<Body> {
    let (sender, response) = streaming();
    spawn(context, async move {
        let mut index = 0;
        let end = loop {
            let request: EchoRequest = match messages.next().await {
                Ok(Some(request)) => request,
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            };
            pause(&request).await;
            if let Err(status) = ended(&request) {
                break Err(status);
            }
            let response = EchoResponse { message: request.message, index, ..template.clone() };
            index += 1;
            if sender.send(Frame::data(framed(&response))).await.is_err() {
                return;
            }
        };
        finish(&sender, end).await;
    });
    response
}

/// Runs a stream's task until it ends or the server is killed.
fn spawn(context: &Context, task: impl Future<Output = ()> + Send + 'static) {
    let kill = context.server.kill.clone();
    context.tracker.spawn(async move {
        tokio::select! {
            () = kill.cancelled() => {}
            () = task => {}
        }
    });
}

async fn pause(request: &EchoRequest) {
    if request.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(u64::from(request.delay_ms.min(600_000)))).await;
    }
}

/// The status that the request message asks for.
fn ended(request: &EchoRequest) -> Result<(), Status> {
    match u16::try_from(request.status) {
        Ok(0) => Ok(()),
        Ok(code) if request.status <= MAX_STATUS => Err(Status(code, "asked for by the message")),
        _ => Err(Status(INVALID_ARGUMENT, "status is not a gRPC status code")),
    }
}

/// Reads length-prefixed messages from a request body.
struct Messages {
    body: Incoming,
    buffer: BytesMut,
}

impl Messages {
    /// The next message, nothing at the end.
    async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let [compressed, a, b, c, d, rest @ ..] = &self.buffer[..] {
                let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                if *compressed != 0 {
                    return Err(Status(UNIMPLEMENTED, "compressed messages are not understood"));
                }
                if length > MAX_MESSAGE {
                    return Err(Status(8, "message longer than 4 MiB"));
                }
                if rest.len() >= length {
                    self.buffer.advance(5);
                    let message = self.buffer.split_to(length).freeze();
                    let unknown = |_| Status(INVALID_ARGUMENT, "not a message of this method");
                    return M::decode(message).map(Some).map_err(unknown);
                }
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.buffer.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
                Some(Err(_)) => return Err(Status(1, "the request broke off")),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Status(INVALID_ARGUMENT, "half a message")),
            }
        }
    }
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut buffer = BytesMut::with_capacity(5 + length);
    buffer.put_u8(0);
    // A response repeats one request of at most MAX_MESSAGE, so its length fits.
    buffer.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    buffer.extend_from_slice(&message.encode_to_vec());
    buffer.freeze()
}

fn metadata(headers: &HeaderMap) -> Vec<Header> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| Header { name: name.to_string(), value: text(value) }).collect()
}

fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn single(message: &EchoResponse) -> Response<Body> {
    let trailers = std::future::ready(Some(Ok(trailers(&Ok(())))));
    response(Full::new(framed(message)).with_trailers(trailers).boxed_unsync())
}

fn trailers_only(status: &Status) -> Response<Body> {
    let mut response = response(empty());
    response.headers_mut().extend(trailers(&Err(Status(status.0, status.1))));
    response
}

type Sender = mpsc::Sender<Frame<Bytes>>;

fn streaming() -> (Sender, Response<Body>) {
    let (sender, receiver) = mpsc::channel(QUEUED);
    let frames = stream::unfold(receiver, async |mut receiver| {
        let frame = receiver.recv().await?;
        Some((Ok::<_, Infallible>(frame), receiver))
    });
    (sender, response(StreamBody::new(frames).boxed_unsync()))
}

async fn finish(sender: &Sender, end: Result<(), Status>) {
    // A client that is gone needs no trailers.
    let _ = sender.send(Frame::trailers(trailers(&end))).await;
}

fn trailers(end: &Result<(), Status>) -> HeaderMap {
    let (code, message) = match end {
        Ok(()) => (0, ""),
        Err(Status(code, message)) => (*code, *message),
    };
    let mut map = HeaderMap::new();
    map.insert("grpc-status", HeaderValue::from(code));
    if !message.is_empty() {
        map.insert("grpc-message", HeaderValue::from_static(message));
    }
    map
}
