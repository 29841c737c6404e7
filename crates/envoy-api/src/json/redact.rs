//! What is secret in a message.

use std::{collections::BTreeSet, sync::LazyLock};

use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _};

use super::DESCRIPTORS;

/// Marks a field as secret in Envoy's descriptors.
const SENSITIVE: &str = "udpa.annotations.sensitive";

/// A header with its value, as filters, gRPC metadata and access loggers carry it.
const HEADER_VALUE: &str = "envoy.config.core.v3.HeaderValue";

/// Headers whose values are credentials. Envoy marks no header, so these are ours.
const CREDENTIAL_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key"];

/// Full names of the fields that Envoy marks as secret; `None` when the annotation is not in the descriptors.
static SENSITIVE_FIELDS: LazyLock<Option<BTreeSet<String>>> = LazyLock::new(|| {
    let pool = DESCRIPTORS.as_ref().ok()?;
    let extension = pool.get_extension_by_name(SENSITIVE)?;
    let marked = |field: &FieldDescriptor| {
        field.field_descriptor_proto().options.is_some()
            && field.options().get_extension(&extension).as_bool().unwrap_or(true)
    };
    let messages: Vec<_> = pool.all_messages().collect();
    let fields = messages.iter().flat_map(|message| message.fields()).filter(marked);
    Some(fields.map(|field| field.full_name().to_owned()).collect())
});

/// Whether Envoy marks the field as secret. Without the annotation in the descriptors everything is.
pub(super) fn is_sensitive(field: &FieldDescriptor) -> bool {
    SENSITIVE_FIELDS.as_ref().is_none_or(|fields| fields.contains(field.full_name()))
}

/// Whether the message is a header that carries a credential.
pub(super) fn is_credential_header(message: &DynamicMessage) -> bool {
    if message.descriptor().full_name() != HEADER_VALUE {
        return false;
    }
    let key = message.get_field_by_name("key");
    let key = key.as_deref().and_then(|key| key.as_str()).unwrap_or_default();
    CREDENTIAL_HEADERS.iter().any(|header| header.eq_ignore_ascii_case(key))
}
