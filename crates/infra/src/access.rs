//! ServiceAccount and ConfigMap.

use serde_json::{Map, json};

use crate::{
    ObjectKind, RenderedObject,
    metadata::{Fleet, fields},
    names,
};

/// Key of the ConfigMap: what Envoy trusts of the control plane.
pub(crate) const TRUSTED_CA_FILE: &str = "xds-trusted-ca.json";
/// Key of the ConfigMap: Envoy's own certificate.
pub(crate) const CERTIFICATE_FILE: &str = "xds-certificate.json";
/// Key of the ConfigMap: the token of Envoy's service account.
pub(crate) const TOKEN_FILE: &str = "xds_service_account_token.json";
/// Key of the ConfigMap: the authority itself, for Pods that cannot mount the Secret.
pub(crate) const CA_FILE: &str = "ca.crt";
/// Where the certificates are mounted.
pub(crate) const CERTIFICATES: &str = "/certs";
/// Where the ConfigMap is mounted.
pub(crate) const SDS: &str = "/sds";
/// Where the token is mounted.
pub(crate) const TOKEN_FOLDER: &str = "/var/run/secrets/token";
/// File of the token.
pub(crate) const TOKEN: &str = "sa-token";
/// Name of the token as a secret of Envoy's.
pub(crate) const TOKEN_SECRET: &str = "jwt-sa-bearer";
/// Name of the trusted authority as a secret of Envoy's.
pub(crate) const TRUSTED_CA_SECRET: &str = "xds_trusted_ca";
/// Name of the certificate as a secret of Envoy's.
pub(crate) const CERTIFICATE_SECRET: &str = "xds_certificate";

/// Type of the messages in the files.
const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

pub(crate) fn service_account(fleet: &Fleet<'_>) -> RenderedObject {
    let body = fields(json!({ "automountServiceAccountToken": false }));
    fleet.object(ObjectKind::ServiceAccount, fleet.service_account(), body)
}

/// Files by which Envoy finds its certificates. Envoy watches them, so that a rotated certificate needs no restart.
pub(crate) fn config_map(fleet: &Fleet<'_>) -> RenderedObject {
    let file = |secret: serde_json::Value| json!({ "resources": [secret] }).to_string();
    let mut data = Map::new();
    data.insert(
        TRUSTED_CA_FILE.to_owned(),
        file(json!({
            "@type": SECRET_TYPE,
            "name": TRUSTED_CA_SECRET,
            "validation_context": {
                "trusted_ca": { "filename": format!("{CERTIFICATES}/{CA_FILE}") },
                "match_typed_subject_alt_names": [
                    { "san_type": "DNS", "matcher": { "exact": names::CONTROLLER_SERVICE } },
                ],
            },
        }))
        .into(),
    );
    data.insert(
        CERTIFICATE_FILE.to_owned(),
        file(json!({
            "@type": SECRET_TYPE,
            "name": CERTIFICATE_SECRET,
            "tls_certificate": {
                "certificate_chain": { "filename": format!("{CERTIFICATES}/tls.crt") },
                "private_key": { "filename": format!("{CERTIFICATES}/tls.key") },
            },
        }))
        .into(),
    );
    if fleet.beside_gateway() {
        data.insert(
            TOKEN_FILE.to_owned(),
            file(json!({
                "@type": SECRET_TYPE,
                "name": TOKEN_SECRET,
                "generic_secret": { "secret": { "filename": format!("{TOKEN_FOLDER}/{TOKEN}") } },
            }))
            .into(),
        );
        data.insert(CA_FILE.to_owned(), fleet.context.ca.unwrap_or_default().into());
    }
    fleet.object(ObjectKind::ConfigMap, &fleet.name, fields(json!({ "data": data })))
}
