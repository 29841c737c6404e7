//! The controller's configuration: Envoy Gateway's own file.

use std::path::Path;

use admission::Admission;
use anyhow::Context;
use api::config::EnvoyGateway;
use pipeline::{Infrastructure, Settings};

/// A configuration that was read and found valid.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    file: EnvoyGateway,
    given: bool,
}

/// Reads a configuration file, or gives the defaults.
pub(crate) fn load(admission: &Admission, path: Option<&Path>) -> anyhow::Result<Config> {
    let Some(path) = path else {
        return Ok(Config { file: EnvoyGateway::default(), given: false });
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    match admission.config(&text) {
        Ok(file) => Ok(Config { file, given: true }),
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow::bail!("{} is not a valid configuration:\n{}", path.display(), lines.join("\n"));
        }
    }
}

impl Config {
    /// What translation reads of it.
    pub(crate) fn settings(&self, infrastructure: Infrastructure) -> Settings {
        let local = matches!(infrastructure, Infrastructure::Host { .. });
        Settings {
            controller_name: self.file.gateway.controller_name.as_str().into(),
            infrastructure,
            // Without a file nobody has switched anything off: manifests are judged with all APIs on.
            enable_backend: local || !self.given || self.file.extension_apis.enable_backend,
            implicit_gateway_class: local,
            implicit_namespaces: local,
            allow_local_backends: local,
        }
    }
}
