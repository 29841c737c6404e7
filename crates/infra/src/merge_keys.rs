//! By which keys members of lists are found when a strategic merge patch meets one of our objects.

use patch::{ListMerge, MergeKeys};

/// Kubernetes' own keys (`patchMergeKey` in its API types) for the kinds that run proxies.
pub(crate) struct Kubernetes;

impl MergeKeys for Kubernetes {
    fn of(&self, parent: &str, field: &str) -> ListMerge {
        match (parent, field) {
            ("metadata", "ownerReferences") => ListMerge::ByKey("uid"),
            ("metadata", "finalizers") => ListMerge::Union,
            ("spec", "containers" | "initContainers" | "ephemeralContainers" | "volumes")
            | ("spec", "imagePullSecrets" | "resourceClaims" | "schedulingGates") => ListMerge::ByKey("name"),
            ("spec", "hostAliases") => ListMerge::ByKey("ip"),
            ("spec", "topologySpreadConstraints") => ListMerge::ByKey("topologyKey"),
            // Of a Service: the only kind of ours with ports in its spec.
            ("spec", "ports") => ListMerge::ByKey("port"),
            ("containers" | "initContainers" | "ephemeralContainers", "ports") => {
                ListMerge::ByKey("containerPort")
            }
            ("containers" | "initContainers" | "ephemeralContainers", "env") => ListMerge::ByKey("name"),
            ("containers" | "initContainers" | "ephemeralContainers", "volumeMounts") => {
                ListMerge::ByKey("mountPath")
            }
            ("containers" | "initContainers" | "ephemeralContainers", "volumeDevices") => {
                ListMerge::ByKey("devicePath")
            }
            _ => ListMerge::Replace,
        }
    }
}
