//! Pods: Envoy and the container that drains it.

pub(crate) mod args;
mod volumes;

use std::collections::BTreeMap;

use api::envoyproxy::{CorePart, KubernetesContainerSpec};
use serde_json::{Map, Value, json};

use crate::{metadata::Fleet, names, parameters::WorkloadParameters};
use args::{envoy_args, pre_stop_command, shutdown_manager_args};

/// Seconds that a Pod may take to stop, where no EnvoyProxy gives a drain timeout.
const TERMINATION_GRACE_SECONDS: u64 = 360;
/// Seconds beyond the drain timeout that a Pod may take to stop.
const TERMINATION_GRACE_BEYOND_DRAIN: u64 = 300;
/// User and group of both containers.
const USER: u32 = 65532;
/// Annotation that the topology webhook puts on a Pod when it is bound to a node.
const ZONE: &str = "metadata.annotations['topology.kubernetes.io/zone']";

/// The Pod template.
pub(crate) fn template(fleet: &Fleet<'_>, workload: &WorkloadParameters<'_>, bootstrap: &str) -> Value {
    let user = workload.pod;
    let mut labels = fleet.labels.clone();
    labels.extend(user.map(|pod| pod.labels.clone()).unwrap_or_default());
    // The selector must hold, whatever else a person wants.
    labels.extend(fleet.selector.clone());
    let mut metadata = json!({ "labels": labels });
    let annotations = annotations(fleet, workload);
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    json!({ "metadata": metadata, "spec": spec(fleet, workload, bootstrap) })
}

fn annotations(fleet: &Fleet<'_>, workload: &WorkloadParameters<'_>) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    if fleet.parameters.prometheus() {
        for (key, value) in [
            ("prometheus.io/path", "/stats/prometheus".to_owned()),
            ("prometheus.io/scrape", "true".to_owned()),
            ("prometheus.io/port", names::METRICS_PORT.to_string()),
        ] {
            annotations.insert(key.to_owned(), value);
        }
    }
    annotations.extend(fleet.annotations.clone());
    annotations.extend(workload.pod.map(|pod| pod.annotations.clone()).unwrap_or_default());
    annotations
}

fn spec(fleet: &Fleet<'_>, workload: &WorkloadParameters<'_>, bootstrap: &str) -> Map<String, Value> {
    let mut spec = Map::new();
    let mut set = |key: &str, value: Value| drop(spec.insert(key.to_owned(), value));
    if !workload.init_containers.is_empty() {
        set("initContainers", values(workload.init_containers));
    }
    set("containers", json!([envoy(fleet, workload, bootstrap), shutdown_manager(fleet, workload)]));
    set("serviceAccountName", fleet.service_account().into());
    set("automountServiceAccountToken", false.into());
    set("terminationGracePeriodSeconds", termination_grace(fleet).into());
    set("dnsPolicy", "ClusterFirst".into());
    set("restartPolicy", "Always".into());
    set("schedulerName", "default-scheduler".into());
    set("volumes", volumes::volumes(fleet, workload));
    if let Some(pod) = workload.pod {
        let parts = [
            ("securityContext", pod.security_context.as_ref().map(CorePart::as_value)),
            ("affinity", pod.affinity.as_ref().map(CorePart::as_value)),
        ];
        for (key, value) in parts {
            if let Some(value) = value {
                set(key, value.clone());
            }
        }
        for (key, list) in [
            ("tolerations", values(&pod.tolerations)),
            ("imagePullSecrets", values(&pod.image_pull_secrets)),
            ("topologySpreadConstraints", values(&pod.topology_spread_constraints)),
        ] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                set(key, list);
            }
        }
        if !pod.node_selector.is_empty() {
            set("nodeSelector", json!(pod.node_selector));
        }
        if let Some(class) = &pod.priority_class_name {
            set("priorityClassName", class.as_str().into());
        }
    }
    spec
}

fn values<T>(parts: &[CorePart<T>]) -> Value {
    parts.iter().map(|part| part.as_value().clone()).collect()
}

fn termination_grace(fleet: &Fleet<'_>) -> u64 {
    fleet
        .parameters
        .drain_timeout()
        .map_or(TERMINATION_GRACE_SECONDS, |drain| drain + TERMINATION_GRACE_BEYOND_DRAIN)
}

fn envoy(fleet: &Fleet<'_>, workload: &WorkloadParameters<'_>, bootstrap: &str) -> Value {
    let user = workload.container;
    let mut ports = Vec::new();
    let port = |name: &str, port: u16| json!({ "name": name, "containerPort": port, "protocol": "TCP" });
    if fleet.parameters.prometheus() {
        ports.push(port("metrics", names::METRICS_PORT));
    }
    ports.push(port("readiness", names::READINESS_PORT));
    // Ports of listeners are not among them: a new listener must not replace the Pods.
    json!({
        "name": names::ENVOY_CONTAINER,
        "image": image(fleet, user),
        "imagePullPolicy": "IfNotPresent",
        "command": ["envoy"],
        "args": envoy_args(fleet, bootstrap),
        "env": replaced(pod_env(), user.map_or(&[], |user| &user.env), "name"),
        "ports": ports,
        "resources": resources(user),
        "securityContext": security_context(user),
        "volumeMounts": volumes::mounts(fleet, user),
        "startupProbe": probe("/ready", names::READINESS_PORT, 10, 30),
        "readinessProbe": probe("/ready", names::READINESS_PORT, 5, 1),
        "livenessProbe": probe("/ready", names::READINESS_PORT, 10, 3),
        "lifecycle": {
            "preStop": {
                "httpGet": { "path": "/shutdown/ready", "port": names::SHUTDOWN_MANAGER_PORT, "scheme": "HTTP" },
            },
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    })
}

fn shutdown_manager(fleet: &Fleet<'_>, workload: &WorkloadParameters<'_>) -> Value {
    json!({
        "name": names::SHUTDOWN_MANAGER_CONTAINER,
        "image": fleet.context.installation.shutdown_manager_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["envoy-gateway"],
        "args": shutdown_manager_args(fleet),
        "env": pod_env(),
        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" } },
        "securityContext": security_context(workload.container),
        "startupProbe": probe("/healthz", names::SHUTDOWN_MANAGER_PORT, 10, 30),
        "readinessProbe": probe("/healthz", names::SHUTDOWN_MANAGER_PORT, 10, 3),
        "livenessProbe": probe("/healthz", names::SHUTDOWN_MANAGER_PORT, 10, 3),
        "lifecycle": { "preStop": { "exec": { "command": pre_stop_command(fleet) } } },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    })
}

/// The image of Envoy: the user's, or the user's repository with our tag, or ours.
fn image(fleet: &Fleet<'_>, user: Option<&KubernetesContainerSpec>) -> String {
    let ours = &*fleet.context.installation.envoy_image;
    let Some(user) = user else { return ours.to_owned() };
    match (&user.image, &user.image_repository) {
        (Some(image), _) => image.clone(),
        (None, Some(repository)) => match ours.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((_, tag)) => format!("{repository}:{tag}"),
            None => repository.clone(),
        },
        (None, None) => ours.to_owned(),
    }
}

/// What both containers know of their Pod. The shutdown manager does not look at the zone; it is there so that Pods of
/// Envoy Gateway need not be replaced.
fn pod_env() -> Vec<Value> {
    let from = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } } });
    vec![
        from("ENVOY_POD_NAMESPACE", "metadata.namespace"),
        from("ENVOY_POD_NAME", "metadata.name"),
        from("ENVOY_SERVICE_ZONE", ZONE),
    ]
}

/// Our members of a list with the user's: one with the same key stands in for ours, others follow.
fn replaced<T>(ours: Vec<Value>, users: &[CorePart<T>], key: &str) -> Value {
    let mut list = ours;
    for user in users.iter().map(CorePart::as_value) {
        match list.iter_mut().find(|there| there.get(key).is_some() && there.get(key) == user.get(key)) {
            Some(there) => *there = user.clone(),
            None => list.push(user.clone()),
        }
    }
    Value::Array(list)
}

fn resources(user: Option<&KubernetesContainerSpec>) -> Value {
    user.and_then(|user| user.resources.as_ref()).map_or_else(
        || json!({ "requests": { "cpu": "100m", "memory": "512Mi" } }),
        |part| part.as_value().clone(),
    )
}

fn security_context(user: Option<&KubernetesContainerSpec>) -> Value {
    user.and_then(|user| user.security_context.as_ref()).map_or_else(
        || {
            json!({
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "privileged": false,
                "runAsGroup": USER,
                "runAsNonRoot": true,
                "runAsUser": USER,
                "seccompProfile": { "type": "RuntimeDefault" },
            })
        },
        |part| part.as_value().clone(),
    )
}

fn probe(path: &str, port: u16, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": { "path": path, "port": port, "scheme": "HTTP" },
        "timeoutSeconds": 1,
        "periodSeconds": period,
        "successThreshold": 1,
        "failureThreshold": failures,
    })
}
