//! What Pods mount.

use api::envoyproxy::KubernetesContainerSpec;
use serde_json::{Value, json};

use super::replaced;
use crate::{
    access::{
        CA_FILE, CERTIFICATE_FILE, CERTIFICATES, SDS, TOKEN, TOKEN_FILE, TOKEN_FOLDER, TRUSTED_CA_FILE,
    },
    metadata::Fleet,
    names,
    parameters::WorkloadParameters,
};

/// `rw-r--r--`.
const FILE_MODE: u32 = 0o644;
/// Seconds after which the kubelet renews a token.
const TOKEN_EXPIRATION_SECONDS: u32 = 3600;

pub(super) fn volumes(fleet: &Fleet<'_>, workload: &WorkloadParameters<'_>) -> Value {
    let from_config_map = |keys: &[&str]| {
        let items: Vec<Value> = keys.iter().map(|key| json!({ "key": key, "path": key })).collect();
        json!({ "name": fleet.name, "items": items, "defaultMode": FILE_MODE, "optional": false })
    };
    let ours = if fleet.beside_gateway() {
        vec![
            json!({
                "name": "sa-token",
                "projected": {
                    "sources": [{
                        "serviceAccountToken": {
                            "path": TOKEN,
                            "audience": fleet.controller_host(),
                            "expirationSeconds": TOKEN_EXPIRATION_SECONDS,
                        },
                    }],
                    "defaultMode": FILE_MODE,
                },
            }),
            json!({ "name": "certs", "configMap": from_config_map(&[CA_FILE]) }),
            json!({ "name": "sds", "configMap": from_config_map(&[TRUSTED_CA_FILE, TOKEN_FILE]) }),
        ]
    } else {
        vec![
            json!({
                "name": "certs",
                "secret": { "secretName": names::PROXY_SECRET, "defaultMode": FILE_MODE },
            }),
            json!({ "name": "sds", "configMap": from_config_map(&[TRUSTED_CA_FILE, CERTIFICATE_FILE]) }),
        ]
    };
    replaced(ours, workload.pod.map_or(&[], |pod| &pod.volumes), "name")
}

pub(super) fn mounts(fleet: &Fleet<'_>, user: Option<&KubernetesContainerSpec>) -> Value {
    let mut ours = vec![
        json!({ "name": "certs", "mountPath": CERTIFICATES, "readOnly": true }),
        json!({ "name": "sds", "mountPath": SDS }),
    ];
    if fleet.beside_gateway() {
        ours.push(json!({ "name": "sa-token", "mountPath": TOKEN_FOLDER, "readOnly": true }));
    }
    replaced(ours, user.map_or(&[], |user| &user.volume_mounts), "mountPath")
}
