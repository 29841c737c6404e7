//! What lenient admission mends with a warning although an API server would refuse it.
//!
//! EndpointSlices are written by controllers, and in files without a cluster by hand: their name says nothing, and
//! their address type can be told from the addresses. Envoy Gateway takes such slices from files, so lenient
//! admission does too.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{Ipv4Addr, Ipv6Addr},
};

use api::KindInfo;
use ir::Severity;
use serde_json::{Value, json};

use crate::finding::{Finding, reason};

/// Mends an EndpointSlice in place; other kinds are left alone.
pub(crate) fn mend(document: &mut Value, kind: &KindInfo, findings: &mut Vec<Finding>) {
    if kind.name != "EndpointSlice" {
        return;
    }
    let mut warn = |field: &str, message: String| {
        findings.push(Finding {
            field: field.to_owned(),
            severity: Severity::Warning,
            reason: reason::INVALID,
            message,
        });
    };
    let address_type = document.get("addressType").and_then(Value::as_str).unwrap_or_default();
    if !["IPv4", "IPv6", "FQDN"].contains(&address_type) {
        let of_addresses = address_type_of(document);
        warn(
            "addressType",
            format!(
                "{address_type:?} is not one of IPv4, IPv6, FQDN; taken as {of_addresses} by the addresses"
            ),
        );
        if let Value::Object(root) = &mut *document {
            root.insert("addressType".to_owned(), json!(of_addresses));
        }
    }
    if document.pointer("/metadata/name").is_none_or(|name| name.is_null() || name == "") {
        // The same slice must have the same name after every reading.
        let mut hasher = DefaultHasher::new();
        document.to_string().hash(&mut hasher);
        let name = format!("unnamed-{:016x}", hasher.finish());
        warn("metadata.name", format!("must be set; taken as {name}"));
        if let Some(Value::Object(metadata)) = document.get_mut("metadata") {
            metadata.insert("name".to_owned(), json!(name));
        }
    }
}

/// The type of the first address; IPv4 when there is none.
fn address_type_of(document: &Value) -> &'static str {
    match document.pointer("/endpoints/0/addresses/0").and_then(Value::as_str) {
        None => "IPv4",
        Some(address) if address.parse::<Ipv4Addr>().is_ok() => "IPv4",
        Some(address) if address.parse::<Ipv6Addr>().is_ok() => "IPv6",
        Some(_) => "FQDN",
    }
}
