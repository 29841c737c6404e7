//! HorizontalPodAutoscaler and PodDisruptionBudget.

use api::envoyproxy::CorePart;
use serde_json::{Value, json};

use crate::{
    ObjectKind, RenderError, RenderedObject,
    metadata::{Fleet, fields},
    user_patch,
};

/// Share of the CPU that was asked for, in percent, from which on Pods are added where nothing else is measured.
const CPU_UTILIZATION: u32 = 80;

/// The autoscaler of a Deployment; a DaemonSet has none.
pub(crate) fn autoscaler(fleet: &Fleet<'_>, workload: &str) -> Result<Option<RenderedObject>, RenderError> {
    let kubernetes = &fleet.parameters.kubernetes;
    let (Some(parameters), None) = (&kubernetes.envoy_hpa, &kubernetes.envoy_daemon_set) else {
        return Ok(None);
    };
    let mut spec = json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": workload },
        "maxReplicas": parameters.max_replicas,
        "metrics": if parameters.metrics.is_empty() {
            json!([{
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": { "type": "Utilization", "averageUtilization": CPU_UTILIZATION },
                },
            }])
        } else {
            parameters.metrics.iter().map(|metric| metric.as_value().clone()).collect()
        },
    });
    if let Some(min) = parameters.min_replicas {
        spec["minReplicas"] = min.into();
    }
    if let Some(behavior) = &parameters.behavior {
        spec["behavior"] = behavior.as_value().clone();
    }
    let name = parameters.name.as_deref().unwrap_or(workload);
    let object = fleet.object(ObjectKind::HorizontalPodAutoscaler, name, fields(json!({ "spec": spec })));
    user_patch::apply(object, parameters.patch.as_ref(), "spec.provider.kubernetes.envoyHpa.patch").map(Some)
}

pub(crate) fn disruption_budget(fleet: &Fleet<'_>) -> Result<Option<RenderedObject>, RenderError> {
    let Some(parameters) = &fleet.parameters.kubernetes.envoy_pdb else { return Ok(None) };
    let mut spec = json!({});
    let mut set = |key: &str, value: Option<&Value>| {
        if let Some(value) = value {
            spec[key] = value.clone();
        }
    };
    set("minAvailable", parameters.min_available.as_ref().map(CorePart::as_value));
    set("maxUnavailable", parameters.max_unavailable.as_ref().map(CorePart::as_value));
    spec["selector"] = json!({ "matchLabels": fleet.selector });
    let name = parameters.name.as_deref().unwrap_or(&fleet.name);
    let object = fleet.object(ObjectKind::PodDisruptionBudget, name, fields(json!({ "spec": spec })));
    user_patch::apply(object, parameters.patch.as_ref(), "spec.provider.kubernetes.envoyPDB.patch").map(Some)
}
