//! Questions to the admin port of a running gateway.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::StatusCode;
use hyper_util::rt::TokioIo;

/// Where the admin port is.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Admin {
    /// Admin address of the running gateway
    #[arg(long, env = "FERROGATE_ADMIN", default_value = "127.0.0.1:19000", value_name = "IP:PORT")]
    admin: SocketAddr,
}

impl Admin {
    /// The answer to a GET, whatever its status.
    ///
    /// # Errors
    /// When no gateway answers.
    pub(crate) fn get(self, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(fetch(self.admin, path)).with_context(|| {
            format!(
                "no gateway answers on {}; is `ferrogate run` running, with this --admin address?",
                self.admin
            )
        })
    }
}

async fn fetch(admin: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = tokio::net::TcpStream::connect(admin).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get(path).header("host", admin.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok((status, body))
}
