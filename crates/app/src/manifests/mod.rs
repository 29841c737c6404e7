//! `ferrogate manifests`: everything that a cluster needs to run the control plane.

mod certgen;
mod controller;
mod rbac;
#[cfg(test)]
mod tests;
mod webhook;

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::view::{self, Format};

/// Name of the Deployment, the Service, the ServiceAccount, the Secret with the control plane's certificate.
const NAME: &str = "envoy-gateway";
/// ConfigMap with the configuration.
const CONFIG: &str = "envoy-gateway-config";
/// The configuration's file in it.
const CONFIG_FILE: &str = "envoy-gateway.yaml";
/// User and group of all containers: nobody's, and not root.
const USER: u32 = 65_532;

/// Where the proxies of Gateways run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(crate) enum DeployMode {
    /// In the namespace of the control plane
    ControllerNamespace,
    /// In the namespace of their Gateway
    GatewayNamespace,
}

/// Arguments of `ferrogate manifests`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Namespace of the control plane
    #[arg(short, long, default_value = ir::infra::DEFAULT_CONTROLLER_NAMESPACE)]
    namespace: String,
    /// Image of the control plane, and of the container that drains proxies
    #[arg(long, default_value = ir::infra::DEFAULT_SHUTDOWN_MANAGER_IMAGE)]
    image: String,
    /// Replicas of the control plane
    #[arg(long, default_value = "1", value_name = "N")]
    replicas: u32,
    /// Name by which GatewayClasses choose this control plane
    #[arg(long, default_value = "gateway.envoyproxy.io/gatewayclass-controller", value_name = "DOMAIN/PATH")]
    controller_name: String,
    /// Name of the GatewayClass
    #[arg(long, default_value = "ferrogate", value_name = "NAME")]
    class_name: String,
    /// Domain of the cluster's services
    #[arg(long, default_value = ir::infra::DEFAULT_DNS_DOMAIN, value_name = "DOMAIN")]
    dns_domain: String,
    /// Where the proxies of Gateways run
    #[arg(long, value_enum, default_value = "ControllerNamespace", value_name = "MODE")]
    deploy_mode: DeployMode,
    /// Leave out all CRDs: `ferrogate crds` prints them
    #[arg(long)]
    skip_crds: bool,
    /// Leave out the CRDs of Gateway API, when the cluster has them
    #[arg(long)]
    skip_gateway_api_crds: bool,
}

/// Prints the documents, in an order in which they can be applied.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    view::print_documents(&documents(args)?, Format::Yaml)?;
    Ok(ExitCode::SUCCESS)
}

/// Each document comes after those that it needs.
fn documents(args: &Args) -> anyhow::Result<Vec<Value>> {
    let mut all = vec![json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": args.namespace },
    })];
    if !args.skip_crds {
        for crd in api::crds() {
            if args.skip_gateway_api_crds && crd.spec.group == api::GATEWAY_GROUP {
                continue;
            }
            all.push(serde_json::to_value(&crd)?);
        }
    }
    all.extend(rbac::documents(args));
    // Before the Job that tells the API server whom to trust.
    all.push(webhook::document(args));
    all.extend(certgen::documents(args));
    all.extend(controller::documents(args)?);
    all.push(json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": { "name": args.class_name },
        "spec": { "controllerName": args.controller_name },
    }));
    Ok(all)
}

/// What an object of the control plane's namespace is called.
fn metadata(args: &Args, name: &str) -> Value {
    json!({ "name": name, "namespace": args.namespace, "labels": labels() })
}

/// The label by which the Service finds the Pods.
fn labels() -> Value {
    json!({ "control-plane": NAME })
}

/// A Pod's security context within the strictest of Kubernetes' standards for Pods.
fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// A container's security context within the strictest of Kubernetes' standards for Pods.
fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "privileged": false,
        "readOnlyRootFilesystem": true,
    })
}

/// What the process learns from its environment.
fn environment(args: &Args) -> Value {
    json!([
        {
            "name": "ENVOY_GATEWAY_NAMESPACE",
            "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
        },
        { "name": "KUBERNETES_CLUSTER_DOMAIN", "value": args.dns_domain },
    ])
}
