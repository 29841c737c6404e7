//! `ferrogate certificate`: a self-signed certificate as a Secret, to try HTTPS with.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde_json::json;

use crate::view::{self, Format};

/// Arguments of `ferrogate certificate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// DNS names that it is for; a leading `*.` is a wildcard
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Name of the Secret
    #[arg(long, default_value = "tls", value_name = "NAME")]
    secret: String,
    /// Namespace of the Secret
    #[arg(long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    /// Write to this file (mode 0600) unless it is there already, instead of to standard output
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let made = rcgen::generate_simple_self_signed(args.names.clone()).context("cannot make a certificate")?;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": args.secret, "namespace": args.namespace },
        "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem() },
    });
    match &args.file {
        None => view::print(&secret, Format::Yaml)?,
        Some(path) => {
            use std::{io::Write, os::unix::fs::OpenOptionsExt};
            let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            match opened {
                Ok(mut file) => file.write_all(serde_yaml_ng::to_string(&secret)?.as_bytes())?,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
