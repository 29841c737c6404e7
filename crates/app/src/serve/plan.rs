//! What the configuration file means for each part of the process. Parts are compared to tell what a changed file
//! asks for.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, ensure};
use api::config::{EnvoyGateway, KubernetesProvider, Logging, Opaque, ProviderType};
use ir::infra::DeployMode;
use leader::{Rate, lease::Timing};
use pipeline::{Infrastructure, Settings};
use provider::kubernetes::Scope;
use server::{ConnectionAge, Connections};

use crate::config::Config;

/// What a configuration asks for, by part.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What translation reads.
    pub settings: Settings,
    /// What talks to the API server.
    pub cluster: ClusterPlan,
    /// What talks to proxies.
    pub door: DoorPlan,
    /// Logs.
    pub logging: Logging,
    /// Where the admin port listens.
    pub admin: SocketAddr,
    /// Whether Prometheus may ask for metrics.
    pub metrics: bool,
}

/// What talks to the API server. A change starts it anew, while proxies keep what they have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterPlan {
    /// Classes of this controller are ours.
    pub controller: std::sync::Arc<str>,
    /// The control plane's own namespace.
    pub namespace: std::sync::Arc<str>,
    /// Where proxies run.
    pub mode: DeployMode,
    /// Namespaces that count.
    pub scope: Scope,
    /// How the leader is elected; `None` when this process always leads.
    pub election: Option<Timing>,
    /// How many calls may be made.
    pub rate: Rate,
}

/// What talks to proxies. A change ends their streams; they come again with what they have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DoorPlan {
    /// How proxies prove who they are.
    pub mode: DeployMode,
    /// The control plane's own namespace.
    pub namespace: std::sync::Arc<str>,
    /// DNS domain of the cluster, which the audience of tokens names.
    pub dns_domain: std::sync::Arc<str>,
    /// Limits of connections.
    pub connections: Connections,
}

impl Plan {
    /// Reads a configuration. `merge_backends` says whether rules share the clusters of their backends where it says
    /// nothing of that.
    ///
    /// # Errors
    /// When its values cannot work together; the text begins with the field.
    pub(crate) fn of(config: &Config, merge_backends: bool) -> anyhow::Result<Plan> {
        let settings = Settings { merge_backends, ..config.settings(Infrastructure::Kubernetes) };
        let file = config.file();
        ensure!(
            file.provider.type_ == ProviderType::Kubernetes,
            "provider.type: `server` works with type Kubernetes; files are what `ferrogate run` is for"
        );
        let kubernetes = &file.provider.kubernetes;
        let installation = settings.installation.clone();
        let cluster = ClusterPlan {
            controller: settings.controller_name.clone(),
            namespace: installation.controller_namespace.clone(),
            mode: installation.mode,
            scope: Scope::of(kubernetes),
            election: election(kubernetes)?,
            rate: rate(kubernetes),
        };
        let door = DoorPlan {
            mode: installation.mode,
            namespace: installation.controller_namespace.clone(),
            dns_domain: installation.dns_domain.clone(),
            connections: connections(file)?,
        };
        let address = &file.admin.address;
        let admin = format!("{}:{}", address.host, address.port).parse();
        Ok(Plan {
            settings,
            cluster,
            door,
            logging: file.logging.clone(),
            admin: admin.context("admin.address: host must be an IP address")?,
            metrics: !file.telemetry.metrics.prometheus.disable,
        })
    }
}

impl ClusterPlan {
    /// Namespaces in which proxies may run in `GatewayNamespace` mode; empty means all.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        match &self.scope {
            Scope::Namespaces(names) => names.iter().map(ToString::to_string).collect(),
            Scope::All | Scope::Selector(_) => Vec::new(),
        }
    }
}

fn election(kubernetes: &KubernetesProvider) -> anyhow::Result<Option<Timing>> {
    const FIELD: &str = "provider.kubernetes.leaderElection";
    let defaults = Timing::default();
    let Some(election) = &kubernetes.leader_election else { return Ok(Some(defaults)) };
    if election.disable == Some(true) {
        return Ok(None);
    }
    let time = |given: &Option<api::Duration>, default| match given {
        Some(given) => given.to_std().with_context(|| format!("{FIELD}: {} is not a duration", given.0)),
        None => Ok(default),
    };
    let timing = Timing {
        lease_duration: time(&election.lease_duration, defaults.lease_duration)?,
        renew_deadline: time(&election.renew_deadline, defaults.renew_deadline)?,
        retry_period: time(&election.retry_period, defaults.retry_period)?,
    };
    timing.check().context(FIELD)?;
    Ok(Some(timing))
}

fn rate(kubernetes: &KubernetesProvider) -> Rate {
    let given = kubernetes.client.as_ref().and_then(|client| client.rate_limit);
    let positive = |number: i32| u32::try_from(number).unwrap_or(1).max(1);
    given.map_or_else(Rate::default, |rate| Rate { qps: positive(rate.qps), burst: positive(rate.burst) })
}

fn connections(file: &EnvoyGateway) -> anyhow::Result<Connections> {
    let xds = &file.xds_server;
    let time = |field: &str, given: &Option<api::Duration>| -> anyhow::Result<Option<Duration>> {
        let Some(given) = given else { return Ok(None) };
        given.to_std().map(Some).with_context(|| format!("xdsServer.{field}: {} is not a duration", given.0))
    };
    let mut age = ConnectionAge::default();
    if let Some(given) = time("maxConnectionAge", &xds.max_connection_age)? {
        (age.from, age.to) = (given, given);
    }
    if let Some(grace) = time("maxConnectionAgeGrace", &xds.max_connection_age_grace)? {
        age.grace = grace;
    }
    let mut connections = Connections { age: Some(age), ..Connections::default() };
    if let Some(size) = &xds.max_receive_message_size {
        connections.max_request = bytes(size)
            .with_context(|| format!("xdsServer.maxReceiveMessageSize: {} is not a quantity", size.0))?;
    }
    Ok(connections)
}

/// A Kubernetes quantity of bytes: a number, or text such as `64Mi`, `1.5Gi` or `500k`.
fn bytes(quantity: &Opaque) -> Option<usize> {
    const SUFFIXES: [(&str, f64); 7] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("", 1.0),
    ];
    let text = match &quantity.0 {
        serde_json::Value::Number(number) => number.to_string(),
        serde_json::Value::String(text) => text.clone(),
        _ => return None,
    };
    let (number, factor) =
        SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)))?;
    let bytes = number.parse::<f64>().ok()? * factor;
    // A message of more than 4 GiB cannot be told by gRPC's own length field.
    (bytes.is_finite() && (1.0..=f64::from(u32::MAX)).contains(&bytes)).then_some(bytes as usize)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(text: &str) -> anyhow::Result<Plan> {
        let text = format!("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyGateway\n{text}");
        Plan::of(&crate::config::parse(&admission::Admission::new(), &text)?, false)
    }

    #[test]
    fn a_file_without_settings_means_the_defaults() {
        let plan = plan("provider: { type: Kubernetes }").unwrap();
        assert_eq!(plan.cluster.election, Some(Timing::default()));
        assert_eq!((plan.cluster.rate.qps, plan.cluster.rate.burst), (50, 100));
        assert_eq!(plan.cluster.scope, Scope::All);
        assert_eq!(plan.door.connections.age, Some(ConnectionAge::default()));
        assert_eq!(plan.admin, "127.0.0.1:19000".parse().unwrap());
        assert!(plan.metrics);
        assert!(!plan.settings.enable_backend);
    }

    #[test]
    fn the_times_of_an_election_are_judged_together() {
        let text = "provider: { type: Kubernetes, kubernetes: { leaderElection: { leaseDuration: 5s } } }";
        let error = format!("{:#}", plan(text).unwrap_err());
        assert!(error.starts_with("provider.kubernetes.leaderElection: "), "{error}");
        assert!(error.contains("renewDeadline"), "{error}");
        let off = "provider: { type: Kubernetes, kubernetes: { leaderElection: { disable: true } } }";
        assert_eq!(plan(off).unwrap().cluster.election, None);
    }

    #[test]
    fn limits_of_connections_come_from_the_file() {
        let plan = plan(
            "xdsServer: { maxConnectionAge: 1h, maxConnectionAgeGrace: 5s, maxReceiveMessageSize: 8Mi }",
        );
        let connections = plan.unwrap().door.connections;
        let age = connections.age.unwrap();
        assert_eq!((age.from, age.to), (Duration::from_secs(3600), Duration::from_secs(3600)));
        assert_eq!(age.grace, Duration::from_secs(5));
        assert_eq!(connections.max_request, 8 << 20);
    }

    #[test]
    fn quantities() {
        let read = |value| bytes(&Opaque(value));
        assert_eq!(read(json!(1024)), Some(1024));
        assert_eq!(read(json!("1.5Ki")), Some(1536));
        assert_eq!(read(json!("2M")), Some(2_000_000));
        assert_eq!(read(json!("0")), None);
        assert_eq!(read(json!("-1Mi")), None);
        assert_eq!(read(json!("many")), None);
        assert_eq!(read(json!("100Gi")), None);
    }
}
