//! What the control plane may do: read what it translates, write statuses, and run proxies.

use serde_json::{Value, json};

use super::{Args, DeployMode, NAME, metadata};

/// Looking at objects and following them.
const READ: [&str; 3] = ["get", "list", "watch"];
/// Keeping proxies: server-side apply is a patch, and makes what is missing.
const KEEP: [&str; 6] = ["create", "delete", "get", "list", "patch", "watch"];

/// Account, roles and bindings of the control plane.
pub(super) fn documents(args: &Args) -> Vec<Value> {
    let cluster = format!("{NAME}-role");
    let infra = format!("{NAME}-infra-manager");
    let leader = format!("{NAME}-leader-election");
    let mut all =
        vec![account(args, NAME), cluster_role(&cluster, &reading()), cluster_binding(args, &cluster, NAME)];
    match args.deploy_mode {
        DeployMode::ControllerNamespace => {
            all.push(role(args, &infra, &keeping()));
            all.push(binding(args, &infra, NAME));
            let aliases = format!("{NAME}-gateway-services");
            all.push(cluster_role(&aliases, &making_known()));
            all.push(cluster_binding(args, &aliases, NAME));
        }
        DeployMode::GatewayNamespace => {
            let mut rules = keeping();
            rules.push(rule("authentication.k8s.io", &["tokenreviews"], &["create"]));
            all.push(cluster_role(&infra, &rules));
            all.push(cluster_binding(args, &infra, NAME));
        }
    }
    all.push(role(args, &leader, &leading()));
    all.push(binding(args, &leader, NAME));
    all
}

/// Everything that is translated, and the statuses of it.
fn reading() -> Vec<Value> {
    // From the registry of kinds, so that a new kind comes with the right to read it.
    let kinds = |group: &str| -> Vec<String> {
        let crds = api::crds();
        let of_group = crds.iter().filter(|crd| crd.spec.group == group);
        of_group.map(|crd| crd.spec.names.plural.clone()).collect()
    };
    let statuses = |group: &str| -> Vec<String> {
        let crds = api::crds();
        let with_status = crds.iter().filter(|crd| {
            let versions = &crd.spec.versions;
            crd.spec.group == group
                && versions.iter().any(|v| v.subresources.as_ref().is_some_and(|s| s.status.is_some()))
        });
        with_status.map(|crd| format!("{}/status", crd.spec.names.plural)).collect()
    };
    let (gateway, envoy) = (api::GATEWAY_GROUP, "gateway.envoyproxy.io");
    let classes = |name: &String| name.starts_with("gatewayclasses");
    let (_, gateway_kinds): (Vec<_>, Vec<_>) = kinds(gateway).into_iter().partition(classes);
    let foreign = api::KINDS.iter().filter(|kind| kind.is_foreign());
    let mut rules = vec![
        rule("", &["configmaps", "namespaces", "nodes", "secrets", "services"], &READ),
        rule("discovery.k8s.io", &["endpointslices"], &READ),
        rule("certificates.k8s.io", &["clustertrustbundles"], &READ),
        rule(gateway, &gateway_kinds, &READ),
        // The finalizer of a class that Gateways use.
        rule(gateway, &["gatewayclasses"], &["get", "list", "watch", "patch"]),
        rule(gateway, &statuses(gateway), &["update"]),
        rule(envoy, &kinds(envoy), &READ),
        rule(envoy, &statuses(envoy), &["update"]),
        // What is found wrong, on the objects; without it metrics and the admin port tell alone.
        rule("", &["events"], &["create"]),
    ];
    // Read where the cluster has them.
    rules.extend(foreign.map(|kind| rule(kind.group, &[kind.plural()], &READ)));
    rules
}

/// The objects that run proxies, and the Pods that prove who a proxy is.
fn keeping() -> Vec<Value> {
    vec![
        rule("", &["configmaps", "serviceaccounts", "services"], &KEEP),
        rule("", &["pods"], &READ),
        rule("apps", &["daemonsets", "deployments"], &KEEP),
        rule("autoscaling", &["horizontalpodautoscalers"], &KEEP),
        rule("policy", &["poddisruptionbudgets"], &KEEP),
    ]
}

/// The Service by which a Gateway is known in its own namespace. In a role of its own: without it everything works but
/// that.
fn making_known() -> Vec<Value> {
    vec![rule("", &["services"], &["create", "delete", "patch"])]
}

/// The Lease of the leader.
fn leading() -> Vec<Value> {
    vec![rule("coordination.k8s.io", &["leases"], &["create", "get", "update"])]
}

/// A rule about kinds of one group.
pub(super) fn rule(group: &str, resources: &[impl AsRef<str>], verbs: &[&str]) -> Value {
    let resources: Vec<&str> = resources.iter().map(AsRef::as_ref).collect();
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}

/// A ServiceAccount.
pub(super) fn account(args: &Args, name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(args, name) })
}

/// A Role of the control plane's namespace.
pub(super) fn role(args: &Args, name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(args, name),
        "rules": rules,
    })
}

/// Gives the Role of this name to an account.
pub(super) fn binding(args: &Args, role: &str, account: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(args, role),
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": args.namespace }],
    })
}

/// A ClusterRole.
pub(super) fn cluster_role(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": name, "labels": super::labels() },
        "rules": rules,
    })
}

/// Gives the ClusterRole of this name to an account.
pub(super) fn cluster_binding(args: &Args, role: &str, account: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": role, "labels": super::labels() },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": args.namespace }],
    })
}
