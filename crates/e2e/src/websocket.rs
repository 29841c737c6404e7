//! A WebSocket client.

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::SOON;

/// Opens a WebSocket through `port`, sends a text and gives back what came; the error in words.
///
/// # Errors
/// When the handshake or the exchange fails.
pub async fn websocket_echo(port: u16, host: &str, path: &str, text: &str) -> Result<String, String> {
    tokio::time::timeout(SOON, exchange(port, host, path, text)).await.map_err(|_| "too slow".to_owned())?
}

async fn exchange(port: u16, host: &str, path: &str, text: &str) -> Result<String, String> {
    use futures::{SinkExt, StreamExt};
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| words(&e))?;
    let request = format!("ws://{host}{path}").into_client_request().map_err(|e| words(&e))?;
    let (mut socket, _) =
        tokio_tungstenite::client_async(request, stream).await.map_err(|error| words(&error))?;
    socket.send(Message::text(text)).await.map_err(|error| words(&error))?;
    let came = socket.next().await.ok_or("closed")?.map_err(|error| words(&error))?;
    socket.close(None).await.map_err(|error| words(&error))?;
    came.into_text().map(|text| text.to_string()).map_err(|error| words(&error))
}
