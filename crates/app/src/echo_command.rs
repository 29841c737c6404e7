//! `ferrogate echo`: a backend that says what arrived.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use crate::telemetry;

/// Arguments of `ferrogate echo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Plain-text address: HTTP/1.1, HTTP/2 with prior knowledge, gRPC, WebSocket; may be repeated
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:3000")]
    listen: Vec<SocketAddr>,
    /// TLS address: HTTP/1.1 and HTTP/2 by ALPN; may be repeated
    #[arg(long, value_name = "IP:PORT")]
    listen_tls: Vec<SocketAddr>,
    /// Unix socket; may be repeated
    #[arg(long, value_name = "PATH")]
    listen_unix: Vec<PathBuf>,
    /// Certificate (PEM) for the TLS addresses; without it one is made
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Name of this backend in every answer
    #[arg(long, env = "POD_NAME", default_value = "echo")]
    name: String,
    #[command(flatten)]
    telemetry: telemetry::LogArgs,
}

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    telemetry::init(&args.telemetry)?;
    let mut options = echo::Options {
        plain: args.listen,
        tls: args.listen_tls,
        unix: args.listen_unix,
        backend: args.name,
        ..echo::Options::default()
    };
    if let (Some(certificate), Some(key)) = (args.tls_cert, args.tls_key) {
        options.certificate = echo::Certificate::Files { certificate, key };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let running = echo::serve(options, crate::run::terminated_quietly()).await?;
        tracing::info!(plain = ?running.plain, tls = ?running.tls, "echo backend listens");
        running.done().await;
        Ok(ExitCode::SUCCESS)
    })
}
