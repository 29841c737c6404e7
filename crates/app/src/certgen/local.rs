//! The certificates as files.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::material::{HMAC, HMAC_KEY, Set};

/// Where Envoy Gateway keeps its configuration on one machine.
pub(super) fn default_home() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(PathBuf::from(home).join(".config/envoy-gateway"))
}

/// Writes `certs/NAME/{tls.crt,tls.key,ca.crt}` and the key for cookies below `home`. Folders that are complete are
/// kept, unless `overwrite`.
pub(super) fn write(home: &Path, set: &Set, overwrite: bool) -> anyhow::Result<()> {
    let certs = home.join("certs");
    for pair in &set.pairs {
        let files = [
            ("tls.crt", pair.certificate.as_bytes()),
            ("tls.key", pair.key.as_bytes()),
            ("ca.crt", set.authority.as_bytes()),
        ];
        fill(&certs.join(pair.name), &files, overwrite)?;
    }
    fill(&certs.join(HMAC), &[(HMAC_KEY, &set.hmac)], overwrite)
}

fn fill(folder: &Path, files: &[(&str, &[u8])], overwrite: bool) -> anyhow::Result<()> {
    let complete = files.iter().all(|(name, _)| folder.join(name).exists());
    if complete && !overwrite {
        tracing::info!(folder = %folder.display(), "kept");
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, content) in files {
        let path = folder.join(name);
        // Beside it first: whoever reads meanwhile finds the old content or the new one.
        let new = folder.join(format!(".{name}.new"));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(content))
            .and_then(|()| std::fs::rename(&new, &path));
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    tracing::info!(folder = %folder.display(), "written");
    Ok(())
}
