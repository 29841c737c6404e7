//! How long to wait after a failure.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use super::{
    Timing,
    server::{Failure, FailureKind},
};

/// Waits that double with each failure in a row.
#[derive(Debug)]
pub(super) struct Backoff {
    timing: Timing,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(timing: Timing) -> Backoff {
        Backoff { timing, failures: 0 }
    }

    /// Something went well: the next failure is the first.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after this failure: what the API server asks for, and never less than the doubling says.
    pub(super) fn after(&mut self, failure: &Failure) -> Duration {
        let doubled = self.step();
        match (failure.kind, failure.retry_after) {
            (FailureKind::Forbidden, _) => jittered(self.timing.forbidden_delay),
            (_, Some(asked)) => doubled.max(jittered(asked.min(self.timing.longest_retry_after))),
            (_, None) => doubled,
        }
    }

    /// How long to wait after one more failure.
    pub(super) fn step(&mut self) -> Duration {
        // 2^16 times the first delay is beyond every limit already.
        let delay = self.timing.first_delay.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        jittered(delay.min(self.timing.longest_delay))
    }
}

/// Up to a quarter longer, so that the watches of all controllers do not come back in step.
pub(super) fn jittered(delay: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 256;
    delay + delay.mul_f64(random as f64 / 1024.0)
}
