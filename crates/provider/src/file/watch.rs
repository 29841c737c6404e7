//! The thread that follows files: it sleeps until something of interest happens, lets bursts end, and looks.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use admission::Admission;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use rustc_hash::FxHashMap;

use super::{
    Noticing, Options, Update,
    discover::{Interest, Listing, list},
    scan::{Scanner, Writing},
};
use crate::mailbox::{Reader, Writer, mailbox};

/// An event that is followed by none for this long is acted upon: a save is several events within a millisecond.
const QUIET: Duration = Duration::from_millis(5);

/// Events that never pause are acted upon after this time: ten times [`QUIET`], so that `git checkout` of thousands
/// of files costs few looks, and nobody waits noticeably.
const BURST: Duration = Duration::from_millis(50);

/// How often files are looked at when the kernel has no watches left.
const FALLBACK_INTERVAL: Duration = Duration::from_secs(1);

/// Listings until the set of watched directories must have settled. Each can reveal one more level of symbolic links
/// or directories that came meanwhile; what comes later raises an event of its own.
const MAX_LISTINGS: usize = 8;

/// Starts the thread.
pub(super) fn start(admission: Arc<Admission>, options: Options) -> io::Result<Reader<Update>> {
    spawn(Follower::new(admission, options))
}

fn spawn(mut follower: Follower) -> io::Result<Reader<Update>> {
    let inbox = follower.inbox.clone();
    let (writer, reader) = mailbox(move || inbox.stop());
    thread::Builder::new().name("files".to_owned()).spawn(move || follower.run(&writer))?;
    Ok(reader)
}

/// What the kernel told since the last look.
#[derive(Default)]
struct Inbox {
    state: Mutex<Notes>,
    woken: Condvar,
}

/// As large as the set of files of interest at most.
#[derive(Default)]
struct Notes {
    interest: Interest,
    /// Something of interest happened.
    dirty: bool,
    /// Events were lost.
    lost: bool,
    /// Files that were written to (true) or closed, replaced or removed (false).
    written: FxHashMap<PathBuf, bool>,
    stopped: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.woken.notify_all();
    }

    /// Takes an event. Runs in the thread of the watcher, which must never wait.
    fn take(&self, event: notify::Result<Event>) {
        let mut notes = self.lock();
        match event {
            Ok(event) if event.need_rescan() => notes.lost = true,
            Ok(event) => {
                let Some(writes) = meaning(event.kind) else { return };
                let before = notes.dirty;
                for path in event.paths {
                    if notes.interest.concerns(&path) {
                        notes.dirty = true;
                        notes.written.insert(path, writes);
                    }
                }
                if before || !notes.dirty {
                    return;
                }
            }
            Err(_) => notes.lost = true,
        }
        notes.dirty = true;
        drop(notes);
        self.woken.notify_all();
    }

    /// Sleeps until something happens or `until`, then until it has stopped happening. False when it is time to end.
    fn wait(&self, until: Option<Instant>, writing: &mut Writing) -> bool {
        let mut notes = self.lock();
        while !notes.dirty && !notes.stopped {
            let now = Instant::now();
            notes = match until {
                None => self.woken.wait(notes).unwrap_or_else(PoisonError::into_inner),
                Some(until) if until <= now => break,
                Some(until) => {
                    self.woken.wait_timeout(notes, until - now).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let burst_ends = Instant::now() + BURST;
        while notes.dirty && !notes.stopped && Instant::now() < burst_ends {
            notes.dirty = false;
            notes = self.woken.wait_timeout(notes, QUIET).unwrap_or_else(PoisonError::into_inner).0;
        }
        notes.dirty = false;
        if std::mem::take(&mut notes.lost) {
            writing.lose();
        }
        let now = Instant::now();
        for (path, wrote) in notes.written.drain() {
            if wrote {
                writing.wrote(path, now);
            } else {
                writing.done(path);
            }
        }
        !notes.stopped
    }
}

/// Whether an event leaves the file open for writing, as far as it tells; none when it changes nothing. Opening and
/// reading, which our own looks do, change nothing.
fn meaning(kind: EventKind) -> Option<bool> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(false),
        EventKind::Access(_) => None,
        // Where no event tells that a file was closed, a write must do.
        EventKind::Modify(ModifyKind::Data(_)) => Some(cfg!(target_os = "linux")),
        _ => Some(false),
    }
}

/// The state of the thread.
struct Follower {
    scanner: Scanner,
    given: Vec<PathBuf>,
    inbox: Arc<Inbox>,
    interval: Option<Duration>,
    watcher: Option<RecommendedWatcher>,
    interest: Interest,
    writing: Writing,
}

impl Follower {
    fn new(admission: Arc<Admission>, options: Options) -> Follower {
        let interval = match options.noticing {
            Noticing::Events => None,
            Noticing::Every(interval) => Some(interval),
        };
        Follower {
            scanner: Scanner::new(admission, options.unknown_fields, interval),
            given: options.paths,
            inbox: Arc::default(),
            interval,
            watcher: None,
            interest: Interest::default(),
            writing: Writing::default(),
        }
    }

    fn run(&mut self, updates: &Writer<Update>) {
        if self.interval.is_none() {
            let inbox = self.inbox.clone();
            match notify::recommended_watcher(move |event| inbox.take(event)) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => self.fall_back(&error),
            }
        }
        loop {
            let again = self.look();
            if let Some((update, changes)) = self.scanner.commit_news() {
                tracing::debug!(
                    revision = update.revision,
                    applied = changes.apply.len(),
                    deleted = changes.delete.len(),
                    problems = update.problems.len(),
                    "files changed"
                );
                updates.put(update, changes.into_entries());
            }
            let until = match self.interval {
                Some(interval) => Some(Instant::now() + interval),
                None => again,
            };
            if !self.inbox.wait(until, &mut self.writing) {
                return;
            }
        }
    }

    /// Looks at the files that changed, or at all. Returns when to look again.
    fn look(&mut self) -> Option<Instant> {
        if self.scanner.take_touched(&mut self.writing, Instant::now()) {
            return None;
        }
        let listing = self.list();
        self.scanner.take(listing, &mut self.writing, Instant::now())
    }

    /// Lists the files once all directories that the list depends on are watched, so that nothing can come between.
    /// Directories are watched anew at every look: another one may have taken the name of the old.
    fn list(&mut self) -> Listing {
        for _ in 1..MAX_LISTINGS {
            self.watch_directories();
            let listing = list(&self.given, true);
            if self.watcher.is_none() || listing.interest == self.interest {
                return listing;
            }
            self.set_interest(listing.interest);
        }
        self.watch_directories();
        list(&self.given, true)
    }

    fn set_interest(&mut self, interest: Interest) {
        if let Some(watcher) = &mut self.watcher {
            let needed = interest.directories();
            for directory in self.interest.directories().difference(&needed) {
                // It fails when the directory is gone, and its watch with it.
                let _ = watcher.unwatch(directory);
            }
        }
        self.inbox.lock().interest = interest.clone();
        self.interest = interest;
    }

    fn watch_directories(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut failed = None;
        for directory in self.interest.directories() {
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) if is_harmless(&error) => {
                    tracing::debug!(directory = %directory.display(), %error, "directory is not watched");
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            self.fall_back(&error);
        }
    }

    /// Gives up events for looks at intervals, and says so.
    fn fall_back(&mut self, error: &notify::Error) {
        self.watcher = None;
        self.interval = Some(FALLBACK_INTERVAL);
        self.scanner.look_every(FALLBACK_INTERVAL);
        tracing::warn!(
            %error,
            seconds = FALLBACK_INTERVAL.as_secs(),
            "the kernel cannot watch the files (see fs.inotify.max_user_watches and max_user_instances); \
             they are looked at every so many seconds instead"
        );
    }
}

/// A directory that vanished meanwhile, or must not be read: its parent's watch tells when that changes.
fn is_harmless(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound | notify::ErrorKind::WatchNotFound => true,
        notify::ErrorKind::Io(error) => {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_watches_changes_are_found_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        let mut follower = Follower::new(Arc::default(), Options::new([folder.path()]));
        follower.fall_back(&notify::Error::new(notify::ErrorKind::MaxFilesWatch));
        let updates = spawn(follower).unwrap();
        assert!(updates.next().await.unwrap().head.sources.is_empty());
        std::fs::write(folder.path().join("a.yaml"), "# nothing").unwrap();
        let read = async { while updates.next().await.unwrap().head.sources.is_empty() {} };
        tokio::time::timeout(Duration::from_secs(5), read).await.unwrap();
    }
}
