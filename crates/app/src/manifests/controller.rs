//! The control plane itself: configuration, Service, Deployment.

use serde_json::{Value, json};

use super::{
    Args, CONFIG, CONFIG_FILE, DeployMode, NAME, container_security, environment, labels, metadata,
    pod_security,
};

/// Health of the process.
const HEALTH_PORT: u16 = 8_081;
/// Ports that other Pods connect to.
const PORTS: [(&str, u16); 5] = [
    ("grpc", 18_000),
    ("ratelimit", 18_001),
    ("wasm", 18_002),
    ("metrics", 19_001),
    ("webhook", super::webhook::PORT),
];
/// Seconds between SIGTERM and SIGKILL. Streams end at once; calls to the API server that are under way may take 2 s.
const TERMINATION_SECONDS: u32 = 10;

/// ConfigMap, Service and Deployment.
pub(super) fn documents(args: &Args) -> anyhow::Result<[Value; 3]> {
    Ok([
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(args, CONFIG),
            "data": { CONFIG_FILE: serde_yaml_ng::to_string(&configuration(args))? },
        }),
        service(args),
        deployment(args),
    ])
}

/// The EnvoyGateway file.
pub(super) fn configuration(args: &Args) -> Value {
    let mut kubernetes = json!({ "shutdownManager": { "image": args.image } });
    if args.deploy_mode == DeployMode::GatewayNamespace {
        kubernetes["deploy"] = json!({ "type": "GatewayNamespace" });
    }
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": { "controllerName": args.controller_name },
        "logging": { "level": { "default": "info" } },
        "provider": { "type": "Kubernetes", "kubernetes": kubernetes },
    })
}

fn service(args: &Args) -> Value {
    let ports: Vec<Value> =
        PORTS.iter().map(|(name, port)| json!({ "name": name, "port": port, "targetPort": port })).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(args, NAME),
        "spec": { "selector": labels(), "ports": ports },
    })
}

fn deployment(args: &Args) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(args, NAME),
        "spec": {
            "replicas": args.replicas,
            "selector": { "matchLabels": labels() },
            "template": {
                "metadata": {
                    "labels": labels(),
                    "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": "19001" },
                },
                "spec": {
                    "serviceAccountName": NAME,
                    "securityContext": pod_security(),
                    "terminationGracePeriodSeconds": TERMINATION_SECONDS,
                    "containers": [container(args)],
                    "volumes": [
                        { "name": "envoy-gateway-config", "configMap": { "name": CONFIG } },
                        { "name": "certs", "secret": { "secretName": NAME } },
                        { "name": "wasm-cache", "emptyDir": {} },
                        { "name": "tmp", "emptyDir": {} },
                    ],
                },
            },
        },
    })
}

fn container(args: &Args) -> Value {
    let mut ports: Vec<Value> =
        PORTS.iter().map(|(name, port)| json!({ "name": name, "containerPort": port })).collect();
    ports.push(json!({ "name": "health", "containerPort": HEALTH_PORT }));
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": { "path": path, "port": HEALTH_PORT },
            "periodSeconds": period,
            "failureThreshold": failures,
        })
    };
    json!({
        "name": NAME,
        "image": args.image,
        "imagePullPolicy": "IfNotPresent",
        // Nobody's dashboards know other names of clusters yet.
        "args": ["server", format!("--config-path=/config/{CONFIG_FILE}"), "--merge-backends"],
        "env": environment(args),
        "ports": ports,
        "startupProbe": probe("/healthz", 1, 30),
        "livenessProbe": probe("/healthz", 20, 3),
        "readinessProbe": probe("/readyz", 5, 3),
        "resources": {
            "requests": { "cpu": "100m", "memory": "128Mi" },
            "limits": { "memory": "1Gi" },
        },
        "securityContext": container_security(),
        "volumeMounts": [
            // The folder, not the file: a file alone would never be updated.
            { "name": "envoy-gateway-config", "mountPath": "/config", "readOnly": true },
            { "name": "certs", "mountPath": "/certs", "readOnly": true },
            { "name": "wasm-cache", "mountPath": "/var/lib/eg/wasm" },
            { "name": "tmp", "mountPath": "/tmp" },
        ],
    })
}
