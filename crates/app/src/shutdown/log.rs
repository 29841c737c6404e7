//! Where a hook's words go.

use std::{fs::OpenOptions, process};

/// Output of the container's first process: the kubelet keeps it, and throws away that of hooks.
const OUTPUT: &str = "/proc/1/fd/2";

/// Makes standard error that of the container, when this process is a hook in a Pod.
pub(super) fn into_the_containers() {
    let hook = std::env::var_os("ENVOY_POD_NAME").is_some() && process::id() != 1;
    if !hook {
        return;
    }
    // Without it the words are lost, as those of any hook.
    if let Ok(output) = OpenOptions::new().append(true).open(OUTPUT) {
        let _lost = nix::unistd::dup2_stderr(&output);
    }
}
