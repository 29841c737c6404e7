//! How many calls may be made: a rate with bursts, and pauses that the API server asks for.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Clock, Moment};

/// A rate of calls: `provider.kubernetes.client.rateLimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls a second, on average; at least 1. Default 50.
    pub qps: u32,
    /// Calls at once after a time of rest; at least 1. Default 100.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Rate { qps: 50, burst: 100 }
    }
}

/// A token bucket by its next empty moment, so that each caller gets a moment of its own, in order of asking.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Time in which one token comes.
    interval: Duration,
    /// Time in which the bucket fills, but for one token.
    tolerance: Duration,
    /// When all tokens given so far would have come one by one.
    spent: Moment,
    /// No call begins before.
    paused: Moment,
}

impl Bucket {
    pub(crate) fn new(rate: Rate) -> Self {
        // Rounded up, so that never more than the rate pass.
        let interval = Duration::from_nanos(1_000_000_000_u64.div_ceil(rate.qps.max(1).into()));
        let tolerance = interval * (rate.burst.max(1) - 1);
        Bucket { interval, tolerance, spent: Moment::ZERO, paused: Moment::ZERO }
    }

    /// The moment from which the call may be made.
    pub(crate) fn reserve(&mut self, now: Moment) -> Moment {
        let at = now.max(self.paused).max(self.spent.saturating_sub(self.tolerance));
        self.spent = self.spent.max(at) + self.interval;
        at
    }

    /// Holds back all calls that are not reserved yet.
    pub(crate) fn pause(&mut self, until: Moment) {
        self.paused = self.paused.max(until);
    }
}

/// The bucket that all callers share.
#[derive(Debug)]
pub(crate) struct Limiter {
    clock: Clock,
    bucket: Mutex<Bucket>,
}

impl Limiter {
    pub(crate) fn new(rate: Rate) -> Self {
        Limiter { clock: Clock::new(), bucket: Mutex::new(Bucket::new(rate)) }
    }

    /// Waits for this call's turn.
    pub(crate) async fn turn(&self) {
        let now = self.clock.now();
        let mut at = self.bucket().reserve(now);
        while at > self.clock.now() {
            tokio::time::sleep_until(self.clock.instant(at)).await;
            // A pause may have come while this call waited.
            at = at.max(self.bucket().paused);
        }
    }

    /// No call begins for so long.
    pub(crate) fn pause(&self, length: Duration) {
        let until = self.clock.now() + length;
        self.bucket().pause(until);
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut bucket = Bucket::new(Rate { qps: 10, burst: 3 });
        let moments: Vec<_> = (0..5).map(|_| bucket.reserve(ms(1000))).collect();
        assert_eq!(moments, [ms(1000), ms(1000), ms(1000), ms(1100), ms(1200)]);
        assert_eq!(bucket.reserve(ms(5000)), ms(5000));
    }

    #[test]
    fn a_pause_holds_back_everybody() {
        let mut bucket = Bucket::new(Rate { qps: 10, burst: 2 });
        bucket.pause(ms(700));
        assert_eq!(bucket.reserve(ms(0)), ms(700));
        assert_eq!(bucket.reserve(ms(0)), ms(700));
        assert_eq!(bucket.reserve(ms(0)), ms(800));
    }

    proptest! {
        /// In no stretch of time are there more calls than the burst and the rate allow.
        #[test]
        fn never_more_than_allowed(
            qps in 1..200_u32, burst in 1..50_u32, gaps in prop::collection::vec(0..50_u64, 1..200),
        ) {
            let mut bucket = Bucket::new(Rate { qps, burst });
            let mut now = Duration::ZERO;
            let mut given = Vec::new();
            for gap in gaps {
                now += ms(gap);
                given.push(bucket.reserve(now));
            }
            prop_assert!(given.is_sorted());
            for (first, from) in given.iter().enumerate() {
                for (last, to) in given.iter().enumerate().skip(first) {
                    let calls = (last - first + 1) as f64;
                    let allowed = f64::from(burst) + (*to - *from).as_secs_f64() * f64::from(qps);
                    prop_assert!(calls <= allowed + 1e-6, "{calls} calls, {allowed} allowed");
                }
            }
        }
    }
}
