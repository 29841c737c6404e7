//! WebSockets: every text and binary message comes back as it is.

use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use crate::connection::{Body, Context, empty};

/// Whether the request opens a WebSocket: by `Upgrade` on HTTP/1.1, by extended CONNECT (RFC 8441) on HTTP/2.
pub(crate) fn is_handshake(request: &Request<Incoming>) -> bool {
    if request.method() == Method::CONNECT {
        return request.extensions().get::<Protocol>().is_some_and(|name| name.as_str() == "websocket");
    }
    names(request.headers(), header::UPGRADE, "websocket")
        && names(request.headers(), header::CONNECTION, "upgrade")
        && request.headers().contains_key(header::SEC_WEBSOCKET_KEY)
}

/// Agrees to the WebSocket and echoes on it in a task of its own, until the client closes or the server stops.
pub(crate) fn accept(context: &Context, mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (stop, kill) = (context.server.stop.clone(), context.server.kill.clone());
    context.tracker.spawn(async move {
        match upgrade.await {
            Ok(upgraded) => tokio::select! {
                () = kill.cancelled() => {}
                done = echo(upgraded, stop) => {
                    if let Err(error) = done {
                        tracing::debug!(%error, "WebSocket ended");
                    }
                }
            },
            Err(error) => tracing::debug!(%error, "WebSocket handshake failed"),
        }
    });
    let mut response = Response::new(empty());
    if let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY)
        && request.method() != Method::CONNECT
    {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accepted) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
        }
    }
    // The first sub-protocol offered is as good as any: the backend treats all alike.
    let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    if let Some(first) = offered.and_then(|list| list.split(',').next())
        && let Ok(value) = HeaderValue::from_str(first.trim())
    {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    response
}

async fn echo(upgraded: Upgraded, stop: CancellationToken) -> Result<(), Error> {
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => {
                let going_away = CloseFrame { code: CloseCode::Away, reason: "shutting down".into() };
                socket.close(Some(going_away)).await?;
                // Read on until the client has answered, so that its last messages are not cut off.
                while socket.next().await.transpose()?.is_some() {}
                return Ok(());
            }
            message = socket.next() => message,
        };
        match message.transpose()? {
            Some(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).await?,
            // The library answers pings and close frames itself, when it is polled again.
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

/// Whether a list header holds this token, in any case.
fn names(headers: &HeaderMap, header: HeaderName, token: &str) -> bool {
    let values = headers.get_all(header).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}
