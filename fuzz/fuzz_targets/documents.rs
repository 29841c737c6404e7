//! Any bytes as a file of manifests: read, split and judged without a panic.
#![no_main]

use std::sync::LazyLock;

use admission::{Admission, UnknownFields};
use libfuzzer_sys::fuzz_target;

static ADMISSION: LazyLock<Admission> = LazyLock::new(Admission::new);

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for document in admission::documents(text).unwrap_or_default() {
        ADMISSION.admit(document.value.clone(), UnknownFields::Refuse);
        ADMISSION.admit(document.value, UnknownFields::Drop);
    }
});
