//! Which bootstraps an Envoy can judge elsewhere than in their Pod, and which it may be shown at all.
//!
//! Whoever may write an EnvoyProxy decides what runs in the Pods of its proxies, but not what runs where the control plane
//! does, or a pipeline that looks at manifests. There a bootstrap must neither run code nor open files, and Envoy does
//! both as it reads one: it loads scripts, and opens logs.

use std::collections::BTreeSet;

use serde_json::Value;

/// Files that are the same everywhere.
const EVERYWHERE: [&str; 3] = ["/dev/null", "/dev/stdout", "/dev/stderr"];
/// How the names of fields end that name a file, a folder or a variable of the environment, in lower case and without
/// underscores: `DataSource.filename`, `PathConfigSource.path`, `RuntimeLayer.DiskLayer.symlink_root` and their like. Paths
/// of requests end so, too; then nothing is asked, which is on the safe side.
const NAMES_PLACES: [&str; 10] = [
    "path",
    "paths",
    "pathprefix",
    "file",
    "filename",
    "directory",
    "library",
    "protodescriptor",
    "symlinkroot",
    "environmentvariable",
];
/// Parts of the names of extensions that run code.
const RUNS_CODE: [&str; 4] = ["lua", "wasm", "dynamic_modules", "golang"];
/// How a variable begins that the kubelet puts in.
const VARIABLE: &str = "$(";

/// Whether a changed bootstrap names nothing that is in its Pod alone, beyond what the base names, and no code.
pub(super) fn is_portable(base: &Value, changed: &Value) -> bool {
    let mut known = BTreeSet::from(EVERYWHERE);
    walk("", base, &mut |_, text| {
        known.insert(text);
    });
    let mut portable = true;
    walk("", changed, &mut |key, text| {
        let new = !known.contains(text);
        portable &= !(new && (names_place(key) || text.contains(VARIABLE)) || runs_code(text));
    });
    portable
}

/// Calls `visit` with all texts, and the field that each stands in.
fn walk<'a>(key: &str, value: &'a Value, visit: &mut impl FnMut(&str, &'a str)) {
    match value {
        Value::String(text) => visit(key, text),
        Value::Array(list) => list.iter().for_each(|value| walk(key, value, visit)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| walk(key, value, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn names_place(key: &str) -> bool {
    let plain = key.replace('_', "").to_ascii_lowercase();
    NAMES_PLACES.iter().any(|end| plain.ends_with(end))
}

/// Whether a text may be the name of an extension, or of its configuration's type, that runs code.
fn runs_code(text: &str) -> bool {
    text.split(['.', '/']).any(|part| RUNS_CODE.contains(&part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_the_same_everywhere_is_shown_to_envoy() {
        let base = json!({ "node": { "zone": "$(ZONE)" }, "sds": { "path": "/sds/a.json" } });
        for portable in [
            json!({ "node": { "zone": "$(ZONE)" }, "sds": { "path": "/sds/a.json" } }),
            json!({ "admin": { "access_log_path": "/dev/stdout" }, "match": { "prefix": "/shop" } }),
        ] {
            assert!(is_portable(&base, &portable), "{portable}");
        }
        for bound in [
            json!({ "trusted_ca": { "filename": "/certs/ca.crt" } }),
            json!({ "admin": { "accessLogPath": "/var/log/admin" } }),
            json!({ "disk_layer": { "symlink_root": "/runtime" } }),
            json!({ "package_paths": ["/lua/?.lua"] }),
            json!({ "token": { "environment_variable": "TOKEN" } }),
            json!({ "address": "$(POD_IP)" }),
            json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua" }),
            json!({ "type_url": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm" }),
            json!({ "@type": "x/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter" }),
        ] {
            assert!(!is_portable(&base, &bound), "{bound}");
        }
    }
}
