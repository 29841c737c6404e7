//! The proxies' own side of TLS to backends: `spec.tls.backend` of a Gateway, else `backendTLS` of its EnvoyProxies.

use std::sync::Arc;

use ir::{
    Kind, ObjectRef,
    object::GATEWAY_GROUP,
    tls::{TlsParameters, TlsVersion},
};
use serde_json::Value;
use store::facts::{self, CertificateRef};

use super::parameters::Parameters;
use crate::{
    Finding, Reader,
    backend_tls::{self, Broken, ClientSide},
};

/// Reason when the reference to a client certificate leads nowhere (GEP-3155).
const INVALID_CLIENT_CERTIFICATE: &str = "InvalidClientCertificateRef";

/// The Gateway's own words go before those of its EnvoyProxies as a whole, also when they are of no use: then no
/// certificate is shown, and no copies of requests go out. The finding is about `ResolvedRefs` of the Gateway.
pub(super) fn of_gateway(
    gateway: &facts::Gateway,
    object: &ObjectRef,
    parameters: &Parameters,
    reader: &mut Reader<'_>,
) -> (ClientSide, Option<Finding>) {
    let Some(backend) = gateway.tls.as_ref().and_then(|tls| tls.backend.as_ref()) else {
        return (of_parameters(parameters, reader), None);
    };
    let Some(reference) = &backend.certificate else { return (ClientSide::default(), None) };
    match certificate(gateway, object, reference, reader) {
        Ok(certificate) => (ClientSide { certificate: Some(certificate), ..ClientSide::default() }, None),
        Err(finding) => {
            let message = format!("the Gateway's {}: {}", finding.field, finding.message).into();
            let broken = Some(Broken { message, refuses: false });
            (ClientSide { broken, ..ClientSide::default() }, Some(finding))
        }
    }
}

fn certificate(
    gateway: &facts::Gateway,
    object: &ObjectRef,
    reference: &CertificateRef,
    reader: &mut Reader<'_>,
) -> Result<store::ObjectId, Finding> {
    let finding =
        |reason, message: String| Err(Finding::new("spec.tls.backend.clientCertificateRef", reason, message));
    let Some(target) = reference.target else {
        let message = format!(
            "{} {} of group {:?} is no Secret; only a Secret can hold a client certificate",
            reference.kind, reference.name, reference.group
        );
        return finding(INVALID_CLIENT_CERTIFICATE, message);
    };
    if target.namespace != gateway.meta.namespace
        && !reader.granted((GATEWAY_GROUP, Kind::Gateway.name()), &object.namespace, target)
    {
        let secret = reader.object(target.id);
        let message = format!(
            "no ReferenceGrant in namespace {} permits Gateways of namespace {} to use {secret}",
            secret.namespace, object.namespace
        );
        return finding("RefNotPermitted", message);
    }
    match backend_tls::usable_certificate(target.id, reader) {
        Ok(id) => Ok(id),
        Err(message) => finding(INVALID_CLIENT_CERTIFICATE, message),
    }
}

/// `backendTLS` of the merged parameters.
fn of_parameters(parameters: &Parameters, reader: &mut Reader<'_>) -> ClientSide {
    let Some(settings) = parameters.spec.get("backendTLS") else { return ClientSide::default() };
    let texts = |key: &str| -> Option<Box<[Arc<str>]>> {
        let list = settings.get(key)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(Arc::from).collect())
    };
    let version = |key: &str| {
        Some(match settings.get(key)?.as_str()? {
            "1.0" => TlsVersion::V1_0,
            "1.1" => TlsVersion::V1_1,
            "1.2" => TlsVersion::V1_2,
            "1.3" => TlsVersion::V1_3,
            _ => TlsVersion::Auto,
        })
    };
    ClientSide {
        broken: None,
        certificate: None,
        parameters: TlsParameters {
            min: version("minVersion"),
            max: version("maxVersion"),
            ciphers: texts("ciphers").unwrap_or_default(),
            curves: texts("ecdhCurves").unwrap_or_default(),
            signature_algorithms: texts("signatureAlgorithms").unwrap_or_default(),
        },
        alpn: texts("alpnProtocols"),
    }
    .with_certificate(settings, parameters, reader)
}

impl ClientSide {
    /// The certificate is that of the most specific EnvoyProxy that names one, because only objects can be referred
    /// from.
    fn with_certificate(
        self,
        settings: &Value,
        parameters: &Parameters,
        reader: &mut Reader<'_>,
    ) -> ClientSide {
        let Some(wanted) = settings.get("clientCertificateRef") else { return self };
        let source = parameters.proxies.iter().find_map(|id| {
            let proxy = reader.envoy_proxy(*id)?;
            let reference = proxy.client_certificate.as_ref()?;
            (wanted.get("name").and_then(Value::as_str) == Some(&*reference.name)).then_some((*id, reference))
        });
        let certificate = match source {
            Some((id, reference)) => backend_tls::client_certificate(reference, &reader.object(id), reader),
            None => {
                Err("clientCertificateRef: it must stand in an EnvoyProxy, not in the configuration file"
                    .to_owned())
            }
        };
        match certificate {
            Ok(id) => ClientSide { certificate: Some(id), ..self },
            Err(message) => {
                let message = format!("the Gateway's EnvoyProxy: {message}").into();
                ClientSide { broken: Some(Broken { message, refuses: true }), ..self }
            }
        }
    }
}
