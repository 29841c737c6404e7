//! Changes to Envoy's bootstrap configuration.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Opaque, declare::choices};

choices! {
    /// What is done with a bootstrap configuration.
    BootstrapType {
        /// It stands in for the default one.
        Replace,
        /// It is merged into the default one: messages by field, lists by appending.
        Merge,
        /// Operations change the default one.
        JSONPatch,
    }
    /// What one operation does (RFC 6902).
    JsonPatchOperationType {
        /// Adds a value.
        #[serde(rename = "add")]
        Add,
        /// Removes a value.
        #[serde(rename = "remove")]
        Remove,
        /// Replaces a value.
        #[serde(rename = "replace")]
        Replace,
        /// Moves a value.
        #[serde(rename = "move")]
        Move,
        /// Copies a value.
        #[serde(rename = "copy")]
        Copy,
        /// Fails unless a value is as expected.
        #[serde(rename = "test")]
        Test,
    }
}

/// Changes to Envoy's bootstrap configuration. What proxies need to reach the control plane must stay as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    "self.type == 'JSONPatch' ? has(self.jsonPatches) && size(self.jsonPatches) > 0 : has(self.value)",
    "jsonPatches must be set for type JSONPatch, and value for the other types"
))]
#[serde(rename_all = "camelCase")]
pub struct ProxyBootstrap {
    /// What is done.
    #[serde(default = "replace", rename = "type")]
    pub type_: BootstrapType,
    /// A configuration in YAML, for `Replace` and `Merge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Operations in order, for `JSONPatch`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub json_patches: Vec<JsonPatchOperation>,
}

fn replace() -> BootstrapType {
    BootstrapType::Replace
}

/// One operation on a JSON document (RFC 6902).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JsonPatchOperation {
    /// What it does.
    pub op: JsonPatchOperationType,
    /// Where, as a JSON pointer (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where, as a JSONPath; `path` is then taken from each place that it finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_path: Option<String>,
    /// From where, for `move` and `copy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value, for `add`, `replace` and `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Opaque>,
}
