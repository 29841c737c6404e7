//! Patches of users, the last thing that happens to an object.

use api::envoyproxy::{KubernetesPatchSpec, MergeType};

use crate::{RenderError, RenderedObject, merge_keys::Kubernetes};

/// Applies a patch. Kind, namespace and name stay: who applies the object goes by them.
pub(crate) fn apply(
    mut object: RenderedObject,
    patch: Option<&KubernetesPatchSpec>,
    field: &str,
) -> Result<RenderedObject, RenderError> {
    let Some(patch) = patch else { return Ok(object) };
    let value = &patch.value.0;
    match patch.type_.unwrap_or(MergeType::StrategicMerge) {
        MergeType::StrategicMerge => patch::strategic_merge(&mut object.body, value, &Kubernetes)
            .map_err(|error| RenderError::new(field, format_args!("the patch cannot be applied: {error}")))?,
        MergeType::JSONMerge if value.is_object() => patch::json_merge(&mut object.body, value),
        MergeType::JSONMerge => return Err(RenderError::new(field, "the patch must be an object")),
    }
    object.body["apiVersion"] = object.kind.api_version().into();
    object.body["kind"] = object.kind.name().into();
    if !object.body["metadata"].is_object() {
        return Err(RenderError::new(field, "the patch must leave metadata an object"));
    }
    object.body["metadata"]["namespace"] = object.namespace.as_str().into();
    object.body["metadata"]["name"] = object.name.as_str().into();
    Ok(object)
}
