//! Where objects come from: files ([`file`]) and the API server ([`kubernetes`]).
//!
//! Both yield [`Update`]s: the first holds everything, later ones what changed. A slow reader gets several merged into
//! one, so it always finds the newest state and never a queue.

pub mod file;
pub mod kubernetes;
mod mailbox;

use api::Object;
use ir::{ObjectRef, Problem};

/// What changed since the update before. The first update holds everything.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Counts up; updates that were merged because nobody read them leave gaps.
    pub revision: u64,
    /// Objects that are new or changed, ordered by kind, namespace and name.
    pub apply: Vec<Object>,
    /// Objects that are gone. May name one that was never sent, when it came and went between two updates.
    pub delete: Vec<ObjectRef>,
    /// All that is wrong now, not just what is new.
    pub problems: Vec<Problem>,
}

impl From<file::Update> for Update {
    fn from(update: file::Update) -> Update {
        let file::Update { revision, apply, delete, problems, .. } = update;
        Update { revision, apply, delete, problems }
    }
}
