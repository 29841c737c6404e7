//! Kubernetes objects from YAML and JSON files: once ([`load`]) or followed as the files change ([`watch`]).
//!
//! A given path is a file, a directory or `-` for standard input. Of a directory the files `*.yaml`, `*.yml` and
//! `*.json` are read, but for names that begin with a dot; sub-folders are not, as `kubectl apply -f` does not read
//! them without `-R`. Pipes and standard input are read once, to their end.
//!
//! What is in force, given what the files declare:
//! - The newest content of each file, as soon as it is written: while a process has the file open and writes, and for
//!   a file that cannot be read or parsed, the last good content stays, with a problem that names file, line and
//!   column. A file without any good content yet gives those of its documents that can be read.
//! - A file that is gone, or was emptied, declares nothing. Since editors and deployment tools remove or empty a file
//!   for a moment before they write it, this counts after 150 ms only.
//! - Of several declarations of an object, the first by path and position; a warning names the places.
//! - A declaration that an API server would refuse changes nothing: the last accepted version stays in force until
//!   the process ends, as with `kubectl apply`, and the problem says so.
//!
//! **Invariant:** an unchanged document is neither judged nor sent again, whatever happens to its file.

mod catalog;
mod discover;
mod document;
mod fingerprint;
mod pieces;
mod problems;
mod read;
mod scan;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use admission::{Admission, UnknownFields};
use api::Object;
use ir::{ObjectRef, Problem, Severity, problem::Subject};

pub use catalog::Source;
pub use document::Work;
pub use problems::Place;
pub use read::{MAX_DOCUMENTS, MAX_FILE_BYTES};

use crate::mailbox;
use discover::list;
use scan::{Scanner, Writing};

/// What to read, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Files, directories, or `-` for standard input.
    pub paths: Vec<PathBuf>,
    /// What becomes of fields that a kind does not have.
    pub unknown_fields: UnknownFields,
    /// How changes are noticed; by events unless chosen otherwise.
    pub noticing: Noticing,
}

impl Options {
    /// Watches these paths by events, and refuses unknown fields.
    pub fn new(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Options {
        Options {
            paths: paths.into_iter().map(Into::into).collect(),
            unknown_fields: UnknownFields::Refuse,
            noticing: Noticing::Events,
        }
    }
}

/// How changes of files are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticing {
    /// By events of the kernel; a change is in force within some 20 ms. Where the kernel has no watches left, by a
    /// look every second, and a warning says so once.
    Events,
    /// By a look this often, for file systems without events (NFS, folders shared with a virtual machine). A change
    /// is in force at the second look that finds it the same.
    Every(Duration),
}

/// All objects that are in force, after one reading.
#[derive(Debug)]
pub struct Loaded {
    /// Accepted objects, ordered by kind, namespace and name.
    pub objects: Vec<Object>,
    /// All that is wrong, in order of paths and positions; then duplicates, unknown kinds and missing paths.
    pub problems: Vec<Problem>,
    /// Where objects are declared, of whatever kind.
    pub places: BTreeMap<Subject, Place>,
    /// Documents of kinds that belong to others, in the order of the files.
    pub foreign: Vec<(Place, serde_json::Value)>,
    /// Files that were read.
    pub sources: Vec<Source>,
    /// Given paths that do not exist.
    pub missing: Vec<PathBuf>,
    /// True when an object was rejected, or a file could not be read or parsed.
    pub rejected: bool,
}

/// What changed since the update before. The first update holds everything.
#[derive(Clone, Debug)]
pub struct Update {
    /// Counts up; updates that were merged because nobody read them leave gaps.
    pub revision: u64,
    /// Objects that are new or changed, ordered by kind, namespace and name.
    pub apply: Vec<Object>,
    /// Objects that are gone. May name one that was never sent, when it came and went between two updates.
    pub delete: Vec<ObjectRef>,
    /// All that is wrong now, not just what is new.
    pub problems: Vec<Problem>,
    /// Where the documents are that have problems.
    pub places: BTreeMap<Subject, Place>,
    /// Files that are read now.
    pub sources: Vec<Source>,
    /// Given paths that do not exist now. Whoever gets all of them in the first update may want to give up.
    pub missing: Vec<PathBuf>,
    /// Work done since the start.
    pub work: Work,
}

/// Updates of a watch, in order. Dropping it ends the watch.
pub struct Updates(mailbox::Reader<Update>);

impl Updates {
    /// The next update. The first comes when everything has been read, though that may be nothing; later ones hold
    /// changes only. A slow reader finds several of them merged into one. None when the watch has ended, which
    /// happens only when its thread fails. Cancel safe.
    pub async fn next(&mut self) -> Option<Update> {
        let taken = self.0.next().await?;
        Some(Update { apply: taken.apply, delete: taken.delete, ..taken.head })
    }
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Updates").finish_non_exhaustive()
    }
}

/// Reads the given paths once. Goes on after whatever is wrong.
pub fn load(admission: Arc<Admission>, paths: &[PathBuf], unknown_fields: UnknownFields) -> Loaded {
    let mut scanner = Scanner::new(admission, unknown_fields, None);
    scanner.take(list(paths, false), &mut Writing::default(), Instant::now());
    let (update, changes) = scanner.commit();
    let bad = |source: &Source| !source.good;
    Loaded {
        objects: changes.apply.into_iter().map(|(_, object)| object).collect(),
        rejected: update.problems.iter().any(|problem| problem.severity == Severity::Rejected)
            || update.sources.iter().any(bad),
        problems: update.problems,
        places: scanner.declared(),
        foreign: scanner.foreign(),
        sources: update.sources,
        missing: update.missing,
    }
}

/// Reads the given paths and follows their changes, in a thread of its own, until the result is dropped. Missing paths
/// are awaited.
///
/// # Errors
///
/// When the thread cannot be started.
pub fn watch(admission: Arc<Admission>, options: Options) -> io::Result<Updates> {
    watch::start(admission, options).map(Updates)
}

/// The object that a subject names: none when Ferrogate does not read its kind, or it has no name.
pub fn reference(subject: &Subject) -> Option<ObjectRef> {
    document::reference(subject)
}

/// Whether a problem is about this file and not about an object in it.
pub fn is_about_file(problem: &Problem, path: &Path) -> bool {
    problem.object == problems::file_subject(path)
}
