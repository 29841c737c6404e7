//! The gate before every call: open while this process leads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{sync::watch, time::Instant};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// Who leads, as far as this process knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Another replica, if it is known.
    Following {
        /// Its identity in the Lease.
        holder: Option<Arc<str>>,
    },
    /// This process.
    Leading {
        /// Since when.
        since: Instant,
    },
}

/// A time of leading.
#[derive(Clone, Debug)]
struct Term {
    /// When it ends unless it is extended; `None` without an election.
    until: Option<Instant>,
    /// Cancelled when it is over.
    over: CancellationToken,
}

/// Leave to make one call.
#[derive(Debug)]
pub(crate) struct Pass {
    /// When the call must have ended.
    pub(crate) until: Option<Instant>,
    /// Cancelled when the term is over before that.
    pub(crate) over: CancellationToken,
    /// Counts the call as under way.
    _under_way: TaskTrackerToken,
}

/// The gate before every call.
#[derive(Debug)]
pub(crate) struct Gate {
    term: Mutex<Option<Term>>,
    leadership: watch::Sender<Leadership>,
    under_way: TaskTracker,
}

impl Default for Gate {
    fn default() -> Self {
        Gate {
            term: Mutex::default(),
            leadership: watch::Sender::new(Leadership::Following { holder: None }),
            under_way: TaskTracker::new(),
        }
    }
}

impl Gate {
    /// This process leads until then: a new term, or more of the one that runs.
    pub(crate) fn begin(&self, until: Option<Instant>) {
        let mut term = self.term();
        if let Some(term) = term.as_mut() {
            term.until = until;
            return;
        }
        self.under_way.reopen();
        *term = Some(Term { until, over: CancellationToken::new() });
        self.leadership.send_replace(Leadership::Leading { since: Instant::now() });
    }

    /// This process does not lead, and no call goes on.
    pub(crate) fn end(&self, holder: Option<Arc<str>>) {
        let mut term = self.term();
        if let Some(term) = term.take() {
            term.over.cancel();
        }
        let now = Leadership::Following { holder };
        self.leadership.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
    }

    /// Leave for one call; `None` when this process does not lead, or not any more.
    pub(crate) fn pass(&self) -> Option<Pass> {
        let term = self.term();
        let term = term.as_ref()?;
        if term.until.is_some_and(|until| until <= Instant::now()) {
            return None;
        }
        let under_way = self.under_way.token();
        Some(Pass { until: term.until, over: term.over.clone(), _under_way: under_way })
    }

    /// Cancelled when the term that runs is over; `None` when none runs.
    pub(crate) fn over(&self) -> Option<CancellationToken> {
        self.term().as_ref().map(|term| term.over.clone())
    }

    /// Waits until no call is under way; to be asked after [`Gate::end`].
    pub(crate) async fn drained(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn term(&self) -> MutexGuard<'_, Option<Term>> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
