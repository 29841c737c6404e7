//! `filter_metadata["envoy-gateway"]`: which Kubernetes object a resource stands for.

use ir::{Metadata, ObjectRef};

use super::wire::Fields;

/// Key under `filter_metadata`; access logs name it as `%METADATA(ROUTE:envoy-gateway:resources)%`.
const NAMESPACE: &str = "envoy-gateway";

// `google.protobuf.Struct`, `Value` and `ListValue`.
const STRUCT_FIELDS: u32 = 1;
const VALUE_STRING: u32 = 3;
const VALUE_STRUCT: u32 = 5;
const VALUE_LIST: u32 = 6;
const LIST_VALUES: u32 = 1;
/// `envoy.config.core.v3.Metadata.filter_metadata`.
const FILTER_METADATA: u32 = 1;

/// Adds a field of type `envoy.config.core.v3.Metadata`.
pub(super) fn field(fields: &mut Fields, tag: u32, metadata: &Metadata) {
    with_policies(fields, tag, metadata, &[]);
}

/// The same for what policies have a say in. Members of each struct come in the order of their names.
pub(super) fn with_policies(fields: &mut Fields, tag: u32, metadata: &Metadata, policies: &[ObjectRef]) {
    fields.nested(tag, |message| {
        message.map_entry(FILTER_METADATA, NAMESPACE, |namespace| {
            if !policies.is_empty() {
                namespace.map_entry(STRUCT_FIELDS, "policies", |field| {
                    field.nested(VALUE_LIST, |list| {
                        for policy in policies {
                            list.nested(LIST_VALUES, |value| {
                                value.nested(VALUE_STRUCT, |o| object(o, policy));
                            });
                        }
                    });
                });
            }
            namespace.map_entry(STRUCT_FIELDS, "resources", |resources| {
                resources.nested(VALUE_LIST, |list| {
                    list.nested(LIST_VALUES, |value| {
                        value.nested(VALUE_STRUCT, |object| resource(object, metadata));
                    });
                });
            });
        });
    });
}

fn resource(object: &mut Fields, metadata: &Metadata) {
    if !metadata.annotations.is_empty() {
        object.map_entry(STRUCT_FIELDS, "annotations", |value| {
            value.nested(VALUE_STRUCT, |annotations| {
                for (name, text) in metadata.annotations.iter() {
                    string_member(annotations, name, text);
                }
            });
        });
    }
    self::object(object, &metadata.object);
    if let Some(section) = &metadata.section {
        string_member(object, "sectionName", section);
    }
}

fn object(fields: &mut Fields, object: &ObjectRef) {
    string_member(fields, "kind", object.kind.name());
    string_member(fields, "name", &object.name);
    string_member(fields, "namespace", &object.namespace);
}

fn string_member(object: &mut Fields, name: &str, text: &str) {
    object.map_entry(STRUCT_FIELDS, name, |value| value.string(VALUE_STRING, text));
}
