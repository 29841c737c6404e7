//! What the cases give, read as Kubernetes' own types.

use std::collections::BTreeSet;

use infra::ObjectKind;
use k8s_openapi::{
    DeepMerge, Resource,
    api::{
        apps::v1::{DaemonSet, Deployment},
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{ConfigMap, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{names, rendered};

/// Reads and writes a document as a type; what the type does not know is gone then.
fn through<T: Resource + DeepMerge + Serialize + DeserializeOwned>(body: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(body.clone()).unwrap()).unwrap()
}

#[test]
fn every_object_is_one_of_kubernetes() {
    let mut kinds = BTreeSet::new();
    for name in names() {
        for object in rendered(&name).0.into_iter().flat_map(|fleet| fleet.objects) {
            let read = match object.kind {
                ObjectKind::ServiceAccount => through::<ServiceAccount>(&object.body),
                ObjectKind::ConfigMap => through::<ConfigMap>(&object.body),
                ObjectKind::Service => through::<Service>(&object.body),
                ObjectKind::Deployment => through::<Deployment>(&object.body),
                ObjectKind::DaemonSet => through::<DaemonSet>(&object.body),
                ObjectKind::HorizontalPodAutoscaler => through::<HorizontalPodAutoscaler>(&object.body),
                ObjectKind::PodDisruptionBudget => through::<PodDisruptionBudget>(&object.body),
            };
            assert_eq!(read, object.body, "{name}: {} has fields of no type", object.name);
            assert_eq!(object.body["metadata"]["name"], object.name.as_str());
            assert_eq!(object.body["metadata"]["namespace"], object.namespace.as_str());
            kinds.insert(object.kind);
        }
    }
    assert_eq!(kinds.len(), ObjectKind::ALL.len(), "each kind is in some case: {kinds:?}");
}
