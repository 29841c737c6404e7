//! CRDs of every kind that an API server must be taught.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceValidation,
};

use crate::{GATEWAY_GROUP, KINDS, KindInfo};

/// Version of Gateway API whose fields and rules the types follow.
pub const GATEWAY_API_VERSION: &str = "v1.6.1";
/// Annotation by which controllers tell the version of Gateway API's CRDs.
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";
/// Annotation by which controllers tell whether experimental fields are there.
const CHANNEL: &str = "gateway.networking.k8s.io/channel";
/// API servers take CRDs of groups under `k8s.io` only with a note on who approved them.
const APPROVED: &str = "api-approved.kubernetes.io";
/// Where Gateway API 1.6 was approved.
const APPROVED_BY: &str = "https://github.com/kubernetes-sigs/gateway-api/pull/4530";

/// CRDs of every kind that an API server must be taught, in the order of [`KINDS`]; those of other projects come with
/// these.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let ours = KINDS.iter().filter(|kind| !kind.is_foreign());
    ours.filter_map(|kind| kind.crd.map(|names| complete(names(), kind))).collect()
}

/// Adds the schema and the other served versions to names, scope and columns.
fn complete(mut crd: CustomResourceDefinition, kind: &KindInfo) -> CustomResourceDefinition {
    crd.spec.names.list_kind = Some(format!("{}List", kind.name));
    if kind.group == GATEWAY_GROUP {
        let annotations = crd.metadata.annotations.get_or_insert_default();
        annotations.insert(APPROVED.to_owned(), APPROVED_BY.to_owned());
        annotations.insert(BUNDLE_VERSION.to_owned(), GATEWAY_API_VERSION.to_owned());
        annotations.insert(CHANNEL.to_owned(), "experimental".to_owned());
    }
    let Some(first) = crd.spec.versions.pop() else { return crd };
    crd.spec.versions = kind
        .versions
        .iter()
        .map(|version| {
            let mut this = first.clone();
            this.schema = serde_json::from_value(kind.schema_of(version))
                .ok()
                .map(|schema| CustomResourceValidation { open_api_v3_schema: Some(schema) });
            this.name = (*version).to_owned();
            this.storage = *version == kind.storage;
            if kind.is_deprecated(version) {
                this.deprecated = Some(true);
                this.deprecation_warning = Some(format!("{version} of {} is deprecated; use v1", kind.name));
            }
            this
        })
        .collect();
    crd
}
