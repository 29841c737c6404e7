//! The folder with the sockets and bootstrap files of the running proxies.

use std::fs::{DirBuilder, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A Unix socket path has 108 bytes in `sockaddr_un`, one of them the terminating NUL.
const SOCKET_PATH: usize = 107;

/// A folder that only its owner can enter.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    remove: bool,
}

/// The files of one proxy in a [`RunDir`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyFiles {
    /// Envoy's admin interface.
    pub admin_socket: PathBuf,
    /// Envoy's bootstrap configuration, mode 0600.
    pub bootstrap: PathBuf,
}

/// The run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// A file or folder cannot be made, read or changed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Someone else could put files there.
    #[error("{} is no folder of ours: {why}", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// Unix socket paths are short.
    #[error(
        "{} is {length} bytes long, but the path of a Unix socket can have {SOCKET_PATH} at most: choose a shorter \
         run directory",
        path.display()
    )]
    TooLong {
        /// The socket's path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
}

impl RunDir {
    /// Uses the folder `path`, made with mode 0700 when it is not there. Folders above it must exist.
    ///
    /// # Errors
    /// When it cannot be made, or is a symbolic link or somebody else's.
    pub fn create(path: &Path) -> Result<Self, RunDirError> {
        let failed = |source| RunDirError::Io { path: path.to_owned(), source };
        let not_ours = |why| RunDirError::NotOurs { path: path.to_owned(), why };
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let found = std::fs::symlink_metadata(path).map_err(failed)?;
        if !found.is_dir() {
            return Err(not_ours("it is not a folder"));
        }
        if found.uid() != nix::unistd::geteuid().as_raw() {
            return Err(not_ours("it belongs to another user"));
        }
        if found.mode() & 0o777 != 0o700 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        // Envoy runs in the same working directory, but messages with the whole path help people.
        let path = path.canonicalize().map_err(failed)?;
        Ok(Self { path, remove: false })
    }

    /// Makes a new folder for this process, below `$XDG_RUNTIME_DIR` or else the folder for temporary files, and
    /// removes it when dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn for_process() -> Result<Self, RunDirError> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        let base = runtime.unwrap_or_else(std::env::temp_dir);
        let name = format!("ferrogate-{}-{}", nix::unistd::geteuid(), std::process::id());
        // A process with our number may have ended badly and left its folder; take the next name then.
        let free = (0..100).map(|n| base.join(if n == 0 { name.clone() } else { format!("{name}-{n}") }));
        for path in free {
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(RunDirError::Io { path, source }),
                Ok(()) => {
                    let mut made = Self::create(&path)?;
                    made.remove = true;
                    return Ok(made);
                }
            }
        }
        Err(RunDirError::NotOurs { path: base.join(name), why: "too many folders of this name are there" })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a socket in this folder.
    ///
    /// # Errors
    /// When it would be too long for a socket.
    pub fn socket(&self, name: &str) -> Result<PathBuf, RunDirError> {
        let path = self.path.join(name);
        fits_socket(&path)?;
        Ok(path)
    }

    /// The files of the proxy `name`, any text: a `namespace/name` can be longer than a socket's path, so files are
    /// called by its beginning and a hash.
    ///
    /// # Errors
    /// When the socket's path would be too long.
    pub fn files(&self, name: &str) -> Result<ProxyFiles, RunDirError> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let beginning: String = name.chars().take(24).map(plain).collect();
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let stem = format!("{beginning}-{:08x}", hasher.finish() & 0xffff_ffff);
        Ok(ProxyFiles {
            admin_socket: self.socket(&format!("{stem}.sock"))?,
            bootstrap: self.path.join(format!("{stem}.json")),
        })
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if self.remove {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Whether a Unix socket can have this path.
///
/// # Errors
/// When it is longer than 107 bytes.
pub fn fits_socket(path: &Path) -> Result<(), RunDirError> {
    let length = path.as_os_str().len();
    if length > SOCKET_PATH {
        return Err(RunDirError::TooLong { path: path.to_owned(), length });
    }
    Ok(())
}

/// Writes a file with mode 0600 and moves it into its place.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), RunDirError> {
    let failed = |source| RunDirError::Io { path: path.to_owned(), source };
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_ours_alone() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("run");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let run = RunDir::create(&path).unwrap();
        assert_eq!(std::fs::metadata(run.path()).unwrap().mode() & 0o777, 0o700);
        write_private(&path.join("secret"), b"x").unwrap();
        assert_eq!(std::fs::metadata(path.join("secret")).unwrap().mode() & 0o777, 0o600);

        let link = base.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(RunDir::create(&link), Err(RunDirError::NotOurs { .. })));
        assert!(matches!(RunDir::create(&base.path().join("a/b")), Err(RunDirError::Io { .. })));
    }

    #[test]
    fn names_of_any_length_make_short_files() {
        let base = tempfile::tempdir().unwrap();
        let run = RunDir::create(base.path()).unwrap();
        let long = format!("{}/{}", "n".repeat(63), "g".repeat(253));
        let (one, other) = (run.files(&long).unwrap(), run.files(&format!("{long}x")).unwrap());
        assert_ne!(one, other);
        assert_eq!(one, run.files(&long).unwrap());
        assert_eq!(one.admin_socket.parent(), one.bootstrap.parent());
    }

    #[test]
    fn a_path_too_long_for_a_socket_says_so() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("d".repeat(90));
        let run = RunDir::create(&path).unwrap();
        let message = run.files("default/eg").unwrap_err().to_string();
        assert!(message.contains("107 at most") && message.contains("shorter run directory"), "{message}");
    }

    #[test]
    fn a_folder_for_the_process_goes_with_it() {
        let run = RunDir::for_process().unwrap();
        let second = RunDir::for_process().unwrap();
        let path = run.path().to_owned();
        assert_ne!(path, second.path());
        assert!(path.is_dir());
        drop(run);
        assert!(!path.exists());
    }
}
