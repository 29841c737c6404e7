//! `ferrogate version`.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::view::{self, Format};

/// The version of Envoy Gateway whose API is served; programs that ask a control plane for its version compare it.
const ENVOY_GATEWAY: &str = concat!("v1.9.0+ferrogate.", env!("CARGO_PKG_VERSION"));

/// Prints versions.
pub(crate) fn run(output: Option<Format>) -> anyhow::Result<ExitCode> {
    match output {
        Some(format) => view::print(&versions(), format)?,
        None => view::write_out(
            format!(
                "ferrogate {}\nEnvoy {}\nGateway API {}\n",
                env!("CARGO_PKG_VERSION"),
                host::ENVOY_VERSION,
                gateway_api()
            )
            .as_bytes(),
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Our own keys first, then those that Envoy Gateway prints.
fn versions() -> Value {
    json!({
        "ferrogate": env!("CARGO_PKG_VERSION"),
        "envoy": host::ENVOY_VERSION,
        "gatewayAPI": gateway_api(),
        "ENVOY_GATEWAY_VERSION": ENVOY_GATEWAY,
        "ENVOY_PROXY_VERSION": format!("v{}", host::ENVOY_VERSION),
        "GATEWAYAPI_VERSION": api::GATEWAY_API_VERSION,
        // Set when an image is built.
        "GIT_COMMIT_ID": option_env!("FERROGATE_COMMIT").unwrap_or("unknown"),
    })
}

fn gateway_api() -> &'static str {
    api::GATEWAY_API_VERSION.trim_start_matches('v')
}
