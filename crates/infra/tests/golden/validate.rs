//! Bootstraps of the cases, read by Envoy itself.

use std::{fs, path::PathBuf, process::Command};

use crate::{names, rendered};

#[test]
fn envoy_accepts_the_bootstrap_of_every_case() {
    let mut seen = Vec::new();
    let mut refused = Vec::new();
    for name in names() {
        for object in rendered(&name).0.into_iter().flat_map(|fleet| fleet.objects) {
            let Some(args) = object.body.pointer("/spec/template/spec/containers/0/args") else { continue };
            let args: Vec<String> = serde_json::from_value(args.clone()).unwrap();
            if seen.contains(&args) {
                continue;
            }
            seen.push(args.clone());
            if let Err(error) = verdict(args) {
                refused.push(format!("{name}: {error}"));
            }
        }
    }
    assert!(refused.is_empty(), "Envoy refuses {} cases:\n{}", refused.len(), refused.join("\n"));
}

/// What Envoy says to this command line, with paths and names that exist on this machine.
fn verdict(args: Vec<String>) -> Result<(), String> {
    let envoy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools/envoy/1.40.0/envoy");
    assert!(envoy.is_file(), "Envoy is missing: `make tools` installs it");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    // Paths are watched, so they must be there.
    for file in ["xds-certificate.json", "xds-trusted-ca.json", "xds_service_account_token.json"] {
        fs::write(folder.path().join(file), r#"{"resources": []}"#).unwrap();
    }
    let args = args.into_iter().map(|arg| {
        arg.replace("$(ENVOY_POD_NAME)", "pod")
            .replace("$(ENVOY_SERVICE_ZONE)", "zone")
            .replace("/sds/", &format!("{place}/"))
    });
    let mut command = Command::new(envoy);
    let output = command.args(["--mode", "validate"]).args(args).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
