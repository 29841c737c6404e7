//! The controller's configuration: Envoy Gateway's own file.

use std::path::Path;

use admission::Admission;
use anyhow::Context;
use api::config::{EnvoyGateway, KubernetesDeployModeType};
use ir::infra::{DeployMode, Installation};
use pipeline::{Infrastructure, Settings};

use crate::system_trust;

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
    parse(admission, &text).with_context(|| format!("{} is not a valid configuration", path.display()))
}

/// Reads a configuration from text.
///
/// # Errors
/// With a line for everything that is wrong, by field.
pub(crate) fn parse(admission: &Admission, text: &str) -> anyhow::Result<Config> {
    match admission.config(text) {
        Ok(file) => Ok(Config { file, given: true }),
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow::bail!(lines.join("\n"));
        }
    }
}

impl Config {
    /// What a file with nothing in it means.
    pub(crate) fn empty() -> Config {
        Config { file: EnvoyGateway::default(), given: true }
    }

    /// The file.
    pub(crate) fn file(&self) -> &EnvoyGateway {
        &self.file
    }

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
            partial_input: false,
            allow_local_backends: local,
            // Nobody's dashboards know other names of clusters yet: a file is what is brought from an installation.
            merge_backends: local && !self.given,
            misdirected_requests: self
                .file
                .gateway
                .misdirected_requests
                .unwrap_or(Settings::default().misdirected_requests),
            system_authorities: if local {
                system_trust::authorities_file()
            } else {
                store::SYSTEM_AUTHORITIES_FILE.into()
            },
            installation: self.installation().into(),
        }
    }

    /// What the installation gives to all proxies in a cluster: from the file, and from the environment that Envoy
    /// Gateway's chart sets.
    fn installation(&self) -> Installation {
        let kubernetes = &self.file.provider.kubernetes;
        let defaults = Installation::default();
        let variable =
            |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty()).map(Into::into);
        let image = kubernetes.shutdown_manager.as_ref().and_then(|manager| manager.image.as_deref());
        let injector_off = kubernetes.proxy_topology_injector.as_ref().and_then(|injector| injector.disabled);
        Installation {
            controller_namespace: variable("ENVOY_GATEWAY_NAMESPACE")
                .unwrap_or(defaults.controller_namespace),
            dns_domain: variable("KUBERNETES_CLUSTER_DOMAIN").unwrap_or(defaults.dns_domain),
            mode: match kubernetes.deploy.type_ {
                KubernetesDeployModeType::ControllerNamespace => DeployMode::ControllerNamespace,
                KubernetesDeployModeType::GatewayNamespace => DeployMode::GatewayNamespace,
            },
            topology_injector: !injector_off.unwrap_or(false),
            shutdown_manager_image: image.map_or(defaults.shutdown_manager_image, Into::into),
            base: self.file.envoy_proxy.as_ref().map(|spec| spec.0.clone().into()),
            envoy_image: defaults.envoy_image,
        }
    }
}

#[cfg(test)]
mod tests {
    use api::tls::MisdirectedRequests;

    use super::*;

    #[test]
    fn a_file_is_brought_from_where_rules_have_clusters_of_their_own() {
        let admission = Admission::new();
        let host = || Infrastructure::Host { listen: "127.0.0.1".into() };
        let without = load(&admission, None).unwrap();
        assert!(without.settings(host()).merge_backends);
        assert!(
            !without.settings(Infrastructure::Kubernetes).merge_backends,
            "manifests are judged as before"
        );
        let file = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyGateway\n";
        assert!(!parse(&admission, file).unwrap().settings(host()).merge_backends);
        let file = format!("{file}envoyProxy: {{ mergeBackends: {{}} }}\n");
        let settings = parse(&admission, &file).unwrap().settings(host());
        assert!(settings.installation.base.as_ref().unwrap().get("mergeBackends").is_some());
    }

    #[test]
    fn the_mode_of_misdirected_requests_is_the_files() {
        let admission = Admission::new();
        let of = |rest: &str| {
            let file = format!("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyGateway\n{rest}");
            parse(&admission, &file)
                .map(|config| config.settings(Infrastructure::Kubernetes).misdirected_requests)
                .map_err(|error| error.to_string())
        };
        assert_eq!(of(""), Ok(MisdirectedRequests::Misdirect421));
        assert_eq!(
            of("gateway: { misdirectedRequests: DowngradeALPN }\n"),
            Ok(MisdirectedRequests::DowngradeAlpn)
        );
        let refused = of("gateway: { misdirectedRequests: Sometimes }\n").unwrap_err();
        assert!(refused.contains("gateway.misdirectedRequests"), "{refused}");
    }
}
