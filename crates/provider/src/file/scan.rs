//! One look at all files: which to read now, which to leave until they settle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use admission::{Admission, UnknownFields};
use ir::{Problem, problem::Subject};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Update,
    catalog::{Catalog, Changes, Source},
    discover::{Found, Listing},
    problems::{Fault, Place},
    read::{self, Stamp},
};

/// How long a file must be gone or empty until it counts as that: editors take under 10 ms from removing the old file
/// to writing the new one, a shell pipeline such as `sed … > file` starts within 100 ms.
const SETTLE: Duration = Duration::from_millis(150);

/// How long a file that some process has open for writing is left alone after the last write: a program that pauses
/// longer than this in the middle of a file is thought to hold it open for nothing.
const OPEN_SETTLE: Duration = Duration::from_secs(2);

/// The same for a file that is empty so far, as with `slow-generator > file`: too early here means an outage.
const OPEN_EMPTY_SETTLE: Duration = Duration::from_secs(30);

/// What events told of files.
#[derive(Debug, Default)]
pub(super) struct Writing {
    /// Files that a process has open and has written to, with the time of the last write.
    open: FxHashMap<PathBuf, Instant>,
    /// Files that must be read again, though their stamps may say that nothing changed.
    touched: FxHashSet<PathBuf>,
    /// All files must be.
    lost: bool,
}

impl Writing {
    /// A write was seen.
    pub(super) fn wrote(&mut self, path: PathBuf, now: Instant) {
        self.touched.insert(path.clone());
        self.open.insert(path, now);
    }

    /// The file was closed by its writer, or replaced as a whole.
    pub(super) fn done(&mut self, path: PathBuf) {
        self.open.remove(&path);
        self.touched.insert(path);
    }

    /// Events were lost: nothing is known any more.
    pub(super) fn lose(&mut self) {
        self.open.clear();
        self.lost = true;
    }

    /// Until when to leave the file alone, if at all.
    fn busy_until(&self, path: &Path, empty: bool, now: Instant) -> Option<Instant> {
        let until = *self.open.get(path)? + if empty { OPEN_EMPTY_SETTLE } else { OPEN_SETTLE };
        (until > now).then_some(until)
    }

    fn is_touched(&self, path: &Path) -> bool {
        self.lost || self.touched.contains(path)
    }

    /// All files were looked at; those that are busy still need it.
    fn looked(&mut self) {
        self.lost = false;
        self.touched.retain(|path| self.open.contains_key(path));
    }
}

/// What was seen of a file at the latest look.
#[derive(Debug, Default)]
struct Seen {
    /// The stamp of the content that was taken; none for a stream.
    taken: Option<Stamp>,
    /// The stamp of the latest look.
    latest: Option<Stamp>,
    /// Another write may leave the stamp as it is. Matters only where no event tells of it.
    racy: bool,
    /// Since when the file is gone or empty.
    absent: Option<Instant>,
}

/// Looks at files, and knows what they declare.
pub(super) struct Scanner {
    catalog: Catalog,
    seen: FxHashMap<PathBuf, Seen>,
    /// With looks at intervals: the interval.
    interval: Option<Duration>,
    /// What a look at the given paths themselves found last.
    given: Given,
    /// True when the latest look left a file to settle.
    unsettled: bool,
    revision: u64,
    said: Said,
    foreign: BTreeSet<(String, String)>,
}

/// What there is to tell of the given paths themselves, and the files below them.
#[derive(Default)]
struct Given {
    missing: Vec<PathBuf>,
    problems: Vec<Problem>,
    /// Paths as a user would name them, by the paths without symbolic links.
    names: FxHashMap<PathBuf, PathBuf>,
}

/// What the latest update said beside its objects.
#[derive(Default, PartialEq)]
struct Said {
    problems: Vec<Problem>,
    /// Those of the given paths alone.
    given: Vec<Problem>,
    sources: Vec<Source>,
}

/// What to do with a file.
enum Step {
    /// It is as it was.
    Unchanged,
    /// It is gone, or empty.
    Absent,
    /// Look again at that time.
    Wait(Instant),
    /// Take this content; a stream has no stamp.
    Take(Result<String, Fault>, Option<Stamp>),
}

impl Scanner {
    pub(super) fn new(
        admission: Arc<Admission>,
        unknown_fields: UnknownFields,
        interval: Option<Duration>,
    ) -> Scanner {
        Scanner {
            catalog: Catalog::new(admission, unknown_fields),
            seen: FxHashMap::default(),
            interval,
            given: Given::default(),
            unsettled: false,
            revision: 0,
            said: Said::default(),
            foreign: BTreeSet::new(),
        }
    }

    /// From now on, looks come at this interval and no events are seen.
    pub(super) fn look_every(&mut self, interval: Duration) {
        self.interval = Some(interval);
    }

    /// Documents of kinds that belong to others, with their places.
    pub(super) fn foreign(&self) -> Vec<(Place, serde_json::Value)> {
        self.catalog.foreign()
    }

    /// Places of all objects that documents declare.
    pub(super) fn declared(&self) -> BTreeMap<Subject, Place> {
        self.catalog.declared()
    }

    /// Looks at all files and takes what is ready. Returns when to look again, even if nothing happens until then.
    pub(super) fn take(&mut self, listing: Listing, writing: &mut Writing, now: Instant) -> Option<Instant> {
        let mut again: Option<Instant> = None;
        let mut wait_until = |time: Instant| again = Some(again.map_or(time, |earliest| earliest.min(time)));
        for path in
            self.seen.keys().filter(|path| !listing.files.contains_key(*path)).cloned().collect::<Vec<_>>()
        {
            if let Some(until) = self.absent(&path, now) {
                wait_until(until);
            } else {
                self.seen.remove(&path);
                self.catalog.remove(&path);
            }
        }
        let mut contents = Vec::new();
        for (path, found) in &listing.files {
            match self.step(path, found, writing, now) {
                Step::Unchanged => {}
                Step::Wait(until) => wait_until(until),
                Step::Absent => match self.absent(path, now) {
                    Some(until) => wait_until(until),
                    None => contents.push((path.clone(), Ok(String::new()), None)),
                },
                Step::Take(content, stamp) => contents.push((path.clone(), content, stamp)),
            }
        }
        self.set(contents);
        let name = |(path, found): (PathBuf, Found)| match found {
            Found::File(real) => Some((real, path)),
            Found::Stream | Found::StandardInput => None,
        };
        self.given = Given {
            names: listing.files.into_iter().filter_map(name).collect(),
            missing: listing.missing,
            problems: listing.problems,
        };
        self.unsettled = again.is_some();
        writing.looked();
        again
    }

    /// Takes the files that events told of, without a look at all others: the common edit costs the same in a folder
    /// of ten files and of ten thousand. False, and nothing done, when events told of anything else.
    pub(super) fn take_touched(&mut self, writing: &mut Writing, now: Instant) -> bool {
        if self.revision == 0 || self.unsettled || self.interval.is_some() || writing.lost {
            return false;
        }
        let mut contents = Vec::new();
        for real in &writing.touched {
            let is_file = || fs::symlink_metadata(real).is_ok_and(|metadata| metadata.is_file());
            let Some(path) = self.given.names.get(real).filter(|_| is_file()).cloned() else { return false };
            match self.step_file(&path, real, writing, now) {
                Step::Unchanged => {}
                Step::Wait(_) | Step::Absent => return false,
                Step::Take(content, stamp) => contents.push((path, content, stamp)),
            }
        }
        self.set(contents);
        writing.looked();
        true
    }

    /// Notes that a file is gone or empty. Returns until when it may come back; none when it has had its time.
    fn absent(&mut self, path: &Path, now: Instant) -> Option<Instant> {
        let since = *self.seen.entry(path.to_owned()).or_default().absent.get_or_insert(now);
        let until = since + SETTLE;
        if until <= now {
            return None;
        }
        self.catalog.set_leaving(path);
        Some(until)
    }

    /// Takes contents with their stamps.
    fn set(&mut self, contents: Vec<(PathBuf, Result<String, Fault>, Option<Stamp>)>) {
        let now = SystemTime::now();
        let take = |(path, content, stamp): (PathBuf, _, Option<Stamp>)| {
            let racy = stamp.is_some_and(|stamp| stamp.is_racy(now));
            self.seen.insert(path.clone(), Seen { taken: stamp, latest: stamp, racy, absent: None });
            (path, content)
        };
        let contents: Vec<_> = contents.into_iter().map(take).collect();
        if !contents.is_empty() {
            self.catalog.set(contents);
        }
    }

    fn step(&mut self, path: &Path, found: &Found, writing: &Writing, now: Instant) -> Step {
        match found {
            Found::File(real) => self.step_file(path, real, writing, now),
            _ if self.seen.contains_key(path) => Step::Unchanged,
            Found::Stream => Step::Take(read::read(path).map(|(text, _)| text), None),
            Found::StandardInput => Step::Take(read::read_standard_input(), None),
        }
    }

    fn step_file(&mut self, path: &Path, real: &Path, writing: &Writing, now: Instant) -> Step {
        let Ok(metadata) = fs::metadata(real) else { return Step::Absent };
        let stamp = Stamp::of(&metadata);
        let seen = self.seen.entry(path.to_owned()).or_default();
        let before = seen.latest.replace(stamp);
        if let Some(until) = writing.busy_until(real, metadata.len() == 0, now) {
            seen.absent = None;
            return Step::Wait(until);
        }
        let doubtful =
            seen.absent.is_some() || writing.is_touched(real) || (seen.racy && self.interval.is_some());
        if seen.taken == Some(stamp) && !doubtful {
            return Step::Unchanged;
        }
        // Without events, a file is thought to be complete when two looks find it the same.
        if let Some(interval) = self.interval
            && self.revision > 0
            && before != Some(stamp)
        {
            return Step::Wait(now + interval);
        }
        match read::read(real) {
            Err(Fault::Unreadable(_)) if !real.exists() => Step::Absent,
            Err(fault) => Step::Take(Err(fault), Some(stamp)),
            Ok((text, _)) if text.trim().is_empty() && self.catalog.documents_in(path) > 0 => Step::Absent,
            Ok((text, stamp)) => Step::Take(Ok(text), Some(stamp)),
        }
    }

    /// What changed, and all that is to be said now.
    pub(super) fn commit(&mut self) -> (Update, Changes) {
        let mut changes = self.catalog.commit();
        for ((version, kind), (count, place)) in mem::take(&mut changes.foreign) {
            if self.foreign.insert((version.clone(), kind.clone())) {
                tracing::warn!(%version, %kind, count, first = %place, "kind is not read; it belongs to others");
            }
        }
        self.revision += 1;
        let mut problems = mem::take(&mut changes.problems);
        problems.extend_from_slice(&self.given.problems);
        let update = Update {
            revision: self.revision,
            apply: Vec::new(),
            delete: Vec::new(),
            problems,
            places: self.catalog.places(),
            sources: mem::take(&mut changes.sources),
            missing: self.given.missing.clone(),
            work: self.catalog.work(),
        };
        (update, changes)
    }

    /// As [`Scanner::commit`], but none when there is nothing to say that the latest update did not say.
    pub(super) fn commit_news(&mut self) -> Option<(Update, Changes)> {
        let first = self.revision == 0;
        if !first && !self.catalog.is_touched() && self.said.given == self.given.problems {
            return None;
        }
        let (update, changes) = self.commit();
        let said = Said {
            problems: update.problems.clone(),
            given: self.given.problems.clone(),
            sources: update.sources.clone(),
        };
        if !first && changes.apply.is_empty() && changes.delete.is_empty() && said == self.said {
            self.revision -= 1;
            return None;
        }
        self.said = said;
        Some((update, changes))
    }
}
