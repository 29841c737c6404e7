//! Any bytes as manifests that come in two commits: translated without a panic, incrementally as from scratch, into
//! messages that can be read back.
#![no_main]

use std::sync::LazyLock;

use admission::{Admission, UnknownFields};
use libfuzzer_sys::fuzz_target;
use pipeline::{ChangeSet, Pipeline, Settings};

static ADMISSION: LazyLock<Admission> = LazyLock::new(Admission::new);

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let documents = admission::documents(text).unwrap_or_default().into_iter();
    let admitted = documents.filter_map(|d| ADMISSION.admit(d.value, UnknownFields::Drop).object);
    let mut objects: Vec<api::Object> = admitted.collect();
    let settings = Settings {
        enable_backend: true,
        implicit_gateway_class: true,
        implicit_namespaces: true,
        ..Settings::default()
    };
    let mut pipeline = Pipeline::new(settings);
    let second = objects.split_off(objects.len() / 2);
    for apply in [objects, second] {
        pipeline.commit(ChangeSet { apply, ..ChangeSet::default() });
        assert_eq!(pipeline.audit(), []);
    }
    for fleet in pipeline.fleets().values() {
        for resource in fleet.resources.values() {
            let value = envoy_api::json::to_redacted_value(resource.kind.type_url(), &resource.body());
            assert!(value.is_ok(), "{} cannot be read back", resource.name);
        }
    }
});
