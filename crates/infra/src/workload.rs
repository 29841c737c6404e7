//! Deployment and DaemonSet.

use serde_json::{Value, json};

use crate::{
    ObjectKind, RenderError, RenderedObject,
    metadata::{Fleet, fields},
    pod, user_patch,
};

/// Pods of a Deployment where no EnvoyProxy says.
const REPLICAS: i32 = 1;
/// Old ReplicaSets that are kept, for going back.
const REVISION_HISTORY_LIMIT: u32 = 10;
/// Seconds after which a rollout that does not go on counts as failed.
const PROGRESS_DEADLINE_SECONDS: u32 = 600;

/// The object that runs the Pods.
pub(crate) fn workload(fleet: &Fleet<'_>, bootstrap: &str) -> Result<RenderedObject, RenderError> {
    let parameters = fleet.parameters.workload();
    let strategy = || parameters.strategy.cloned().unwrap_or_else(|| json!({ "type": "RollingUpdate" }));
    let selector = json!({ "matchLabels": fleet.selector });
    let template = pod::template(fleet, &parameters, bootstrap);
    let (kind, spec, field) = if parameters.daemon_set {
        let spec = json!({ "selector": selector, "updateStrategy": strategy(), "template": template });
        (ObjectKind::DaemonSet, spec, "spec.provider.kubernetes.envoyDaemonSet.patch")
    } else {
        let mut spec = json!({
            "replicas": parameters.replicas.unwrap_or(REPLICAS),
            "strategy": strategy(),
            "selector": selector,
            "template": template,
            "revisionHistoryLimit": REVISION_HISTORY_LIMIT,
            "progressDeadlineSeconds": PROGRESS_DEADLINE_SECONDS,
        });
        if let (Some(_), Value::Object(spec)) = (&fleet.parameters.kubernetes.envoy_hpa, &mut spec) {
            // The autoscaler owns the number; a number here would take it back at each apply.
            spec.shift_remove("replicas");
        }
        (ObjectKind::Deployment, spec, "spec.provider.kubernetes.envoyDeployment.patch")
    };
    let name = parameters.name.unwrap_or(&fleet.name);
    let object = fleet.object(kind, name, fields(json!({ "spec": spec })));
    user_patch::apply(object, parameters.patch, field)
}
