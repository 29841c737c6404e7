//! `ferrogate certgen`: the certificates of the control plane and of its proxies.

mod cluster;
mod local;
mod material;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;

/// Arguments of `certgen`, those of Envoy Gateway's.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write files for proxies on this machine instead of Secrets
    #[arg(short, long)]
    local: bool,
    /// Folder of the files, with --local; without it ~/.config/envoy-gateway
    #[arg(long, value_name = "DIR")]
    config_home: Option<PathBuf>,
    /// Replace what is there already; running control planes and proxies take the new certificates over by themselves
    #[arg(short, long)]
    overwrite: bool,
    /// Leave the webhook alone that tells proxies their zone
    #[arg(long)]
    disable_topology_injector: bool,
    /// Namespace of the control plane
    #[arg(long, env = "ENVOY_GATEWAY_NAMESPACE", default_value = ir::infra::DEFAULT_CONTROLLER_NAMESPACE, hide = true)]
    namespace: String,
    /// Domain of the cluster's services
    #[arg(long, env = "KUBERNETES_CLUSTER_DOMAIN", default_value = ir::infra::DEFAULT_DNS_DOMAIN, hide = true)]
    dns_domain: String,
    #[command(flatten)]
    telemetry: crate::telemetry::LogArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    crate::telemetry::init(&args.telemetry)?;
    if args.local {
        let home = match &args.config_home {
            Some(home) => home.clone(),
            None => local::default_home().context("HOME is not set: name a folder with --config-home")?,
        };
        let set = material::generate(&material::Names::local())?;
        local::write(&home, &set, args.overwrite)?;
        return Ok(ExitCode::SUCCESS);
    }
    let set = material::generate(&material::Names::of_cluster(&args.namespace, &args.dns_domain))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = kube::Client::try_default().await.context("there is no way to an API server")?;
        let cluster = cluster::Cluster::new(client, &args.namespace);
        cluster.publish(&set, args.overwrite).await?;
        if !args.disable_topology_injector {
            cluster.tell_webhook().await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}
