//! The Job that makes certificates where there are none.

use serde_json::{Value, json};

use super::{Args, container_security, environment, pod_security, rbac, webhook};

const NAME: &str = "envoy-gateway-certgen";
/// The Job goes soon after it is done, so that the next version can be applied: a Job cannot be changed.
const KEPT_SECONDS: u32 = 30;

/// The Job with an account of its own: the control plane itself may not write Secrets.
pub(super) fn documents(args: &Args) -> Vec<Value> {
    let secrets = rbac::rule("", &["secrets"], &["create", "get", "update"]);
    let mut webhook =
        rbac::rule("admissionregistration.k8s.io", &["mutatingwebhookconfigurations"], &["get", "update"]);
    webhook["resourceNames"] = json!([webhook::name(args)]);
    // One for each installation, as the webhook is.
    let of_cluster = format!("{NAME}:{}", args.namespace);
    vec![
        rbac::account(args, NAME),
        rbac::role(args, NAME, &[secrets]),
        rbac::binding(args, NAME, NAME),
        rbac::cluster_role(&of_cluster, &[webhook]),
        rbac::cluster_binding(args, &of_cluster, NAME),
        job(args),
    ]
}

fn job(args: &Args) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": NAME, "namespace": args.namespace, "labels": { "app": "certgen" } },
        "spec": {
            "backoffLimit": 3,
            "completions": 1,
            "parallelism": 1,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": { "labels": { "app": "certgen" } },
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": NAME,
                    "securityContext": pod_security(),
                    "containers": [{
                        "name": NAME,
                        "image": args.image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["certgen"],
                        "env": environment(args),
                        "securityContext": container_security(),
                    }],
                },
            },
        },
    })
}
