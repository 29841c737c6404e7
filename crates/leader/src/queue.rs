//! Which key is worked on when: each at most once at a time, never sooner than its gap allows, and never forgotten.
//!
//! The queue holds keys alone. What is wished lies beside it and is read when the work begins, so the latest wish wins.

use std::{collections::BTreeSet, hash::Hash, time::Duration};

use rustc_hash::FxHashMap;

use crate::Moment;

/// How a piece of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is nothing more to do until the next push.
    Done,
    /// It has to be done again: after the back-off, and not before so long.
    Again(Duration),
    /// The key needs no memory any more.
    Forget,
}

/// Least time between two pieces of work on one key, and longest back-off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Least time between two starts; also the first back-off.
    pub(crate) gap: Duration,
    /// Longest back-off.
    pub(crate) longest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is to be done.
    Idle,
    /// It waits in `due` under this moment.
    Waiting(Moment),
    /// It is worked on; true when it was pushed meanwhile.
    Running(bool),
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    state: State,
    /// When work may begin at the earliest, by the gap.
    ready: Moment,
    /// Failures in a row.
    failures: u32,
}

/// Keys by when they are due.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    pace: Pace,
    slots: FxHashMap<K, Slot>,
    due: BTreeSet<(Moment, K)>,
}

impl<K: Clone + Ord + Hash> Queue<K> {
    pub(crate) fn new(pace: Pace) -> Self {
        Queue { pace, slots: FxHashMap::default(), due: BTreeSet::new() }
    }

    /// There is something to do, now if the gap allows it. It ends a back-off, because the work is another now.
    pub(crate) fn push(&mut self, key: &K, now: Moment) {
        self.push_at(key, now);
    }

    /// There is something to do from then on.
    pub(crate) fn push_at(&mut self, key: &K, at: Moment) {
        let slot = self.slot(key);
        match slot.state {
            State::Idle => {
                let due = at.max(slot.ready);
                self.wait(key, due);
            }
            State::Waiting(due) => {
                let sooner = at.max(slot.ready);
                if sooner < due {
                    self.due.remove(&(due, key.clone()));
                    self.wait(key, sooner);
                }
            }
            State::Running(_) => slot.state = State::Running(true),
        }
    }

    /// A key whose time has come, the longest overdue first. It is running until [`Queue::finish`].
    pub(crate) fn take(&mut self, now: Moment) -> Option<K> {
        if self.due.first().is_none_or(|(due, _)| *due > now) {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        let gap = self.pace.gap;
        let slot = self.slot(&key);
        slot.state = State::Running(false);
        slot.ready = now + gap;
        Some(key)
    }

    /// Work on a key has ended. `chance`, from 0 to 1, spreads the back-offs of many keys.
    pub(crate) fn finish(&mut self, key: &K, now: Moment, verdict: Verdict, chance: f64) {
        let pace = self.pace;
        let slot = self.slot(key);
        let pushed = slot.state == State::Running(true);
        match verdict {
            Verdict::Again(at_least) => {
                // A wish that came meanwhile may be one that succeeds; it need not wait as long as this one.
                let at_least = if pushed { Duration::ZERO } else { at_least };
                let exponent = slot.failures.min(16);
                let back_off = pace.gap.saturating_mul(1 << exponent).min(pace.longest);
                slot.failures += 1;
                // Half of it is sure, half is drawn.
                let drawn = back_off.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
                let due = (now + drawn.max(at_least)).max(slot.ready);
                self.wait(key, due);
            }
            Verdict::Done | Verdict::Forget if pushed => {
                slot.failures = 0;
                let due = slot.ready;
                self.wait(key, due);
            }
            Verdict::Done => {
                slot.failures = 0;
                slot.state = State::Idle;
            }
            Verdict::Forget => {
                self.slots.remove(key);
            }
        }
    }

    /// When the next key is due.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Keys that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.due.len()
    }

    /// Nothing is to be done any more; running work ends as it does.
    pub(crate) fn clear(&mut self) {
        self.due.clear();
        self.slots.retain(|_, slot| matches!(slot.state, State::Running(_)));
        for slot in self.slots.values_mut() {
            slot.state = State::Running(false);
        }
    }

    fn slot(&mut self, key: &K) -> &mut Slot {
        let fresh = Slot { state: State::Idle, ready: Moment::ZERO, failures: 0 };
        self.slots.entry(key.clone()).or_insert(fresh)
    }

    fn wait(&mut self, key: &K, due: Moment) {
        self.slot(key).state = State::Waiting(due);
        self.due.insert((due, key.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const PACE: Pace = Pace { gap: Duration::from_millis(200), longest: Duration::from_secs(10) };

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_first_time_is_at_once_and_the_next_after_the_gap() {
        let mut queue = Queue::new(PACE);
        queue.push(&"a", ms(1000));
        assert_eq!(queue.take(ms(1000)), Some("a"));
        queue.push(&"a", ms(1010));
        queue.push(&"a", ms(1020));
        assert_eq!(queue.take(ms(1030)), None, "it is running");
        queue.finish(&"a", ms(1040), Verdict::Done, 0.0);
        assert_eq!(queue.next_due(), Some(ms(1200)));
        assert_eq!(queue.take(ms(1199)), None);
        assert_eq!(queue.take(ms(1200)), Some("a"));
        queue.finish(&"a", ms(1210), Verdict::Done, 0.0);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn failures_back_off_ever_longer_and_a_new_wish_ends_that() {
        let mut queue = Queue::new(PACE);
        queue.push(&"a", ms(0));
        let mut now = ms(0);
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(queue.take(now), Some("a"));
            queue.finish(&"a", now, Verdict::Again(Duration::ZERO), 1.0);
            let due = queue.next_due().unwrap();
            waits.push((due - now).as_millis());
            now = due;
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
        assert_eq!(queue.take(now), Some("a"));
        queue.finish(&"a", now, Verdict::Again(ms(60_000)), 0.0);
        assert_eq!(queue.next_due(), Some(now + ms(60_000)));
        queue.push(&"a", now + ms(50));
        assert_eq!(queue.next_due(), Some(now + ms(200)));
    }

    #[test]
    fn a_later_push_does_not_delay_an_earlier_one() {
        let mut queue = Queue::new(PACE);
        queue.push(&"a", ms(10));
        queue.push_at(&"a", ms(500));
        assert_eq!(queue.next_due(), Some(ms(10)));
    }

    #[test]
    fn clearing_lets_running_work_end() {
        let mut queue = Queue::new(PACE);
        queue.push(&"a", ms(0));
        queue.push(&"b", ms(0));
        assert_eq!(queue.take(ms(0)), Some("a"));
        queue.push(&"a", ms(1));
        queue.clear();
        queue.finish(&"a", ms(2), Verdict::Done, 0.0);
        assert_eq!((queue.next_due(), queue.waiting()), (None, 0));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Push(u8),
        PushLater(u8, u64),
        Wait(u64),
        Finish(u8, u8),
        Clear,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            8 => (0..4_u8).prop_map(Act::Push),
            1 => (0..4_u8, 0..500_u64).prop_map(|(k, at)| Act::PushLater(k, at)),
            4 => (0..400_u64).prop_map(Act::Wait),
            8 => (0..8_u8, 0..4_u8).prop_map(|(k, v)| Act::Finish(k, v)),
            1 => Just(Act::Clear),
        ]
    }

    proptest! {
        /// Against a model: one at a time, the gap holds, and whatever was pushed after the last start is taken up.
        #[test]
        fn nothing_is_forgotten_and_nothing_overlaps(acts in prop::collection::vec(act(), 1..200)) {
            let mut queue: Queue<u8> = Queue::new(PACE);
            let mut now = ms(0);
            let mut running: Vec<u8> = Vec::new();
            let mut last: BTreeMap<u8, Moment> = BTreeMap::new();
            // Keys with something to do that has not begun.
            let mut owed: BTreeMap<u8, bool> = BTreeMap::new();
            for act in acts {
                match act {
                    Act::Push(key) => { queue.push(&key, now); owed.insert(key, true); }
                    Act::PushLater(key, at) => { queue.push_at(&key, now + ms(at)); owed.insert(key, true); }
                    Act::Wait(n) => now += ms(n),
                    Act::Clear => {
                        queue.clear();
                        owed.clear();
                        last.retain(|key, _| running.contains(key));
                    }
                    Act::Finish(which, how) => if !running.is_empty() {
                        let key = running.remove(usize::from(which) % running.len());
                        let verdict = match how {
                            0 => Verdict::Again(ms(300)),
                            1 => { last.remove(&key); Verdict::Forget }
                            _ => Verdict::Done,
                        };
                        if how == 0 { owed.insert(key, true); }
                        if how == 1 && owed.contains_key(&key) { last.insert(key, ms(0)); }
                        queue.finish(&key, now, verdict, 0.5);
                    },
                }
                if let Some(key) = queue.take(now) {
                    prop_assert!(!running.contains(&key), "{key} twice at a time");
                    prop_assert!(owed.remove(&key).is_some(), "{key} without a reason");
                    if let Some(before) = last.insert(key, now) {
                        prop_assert!(before == ms(0) || now - before >= PACE.gap, "{key} too soon");
                    }
                    running.push(key);
                }
            }
            // Everything that is owed comes in the end.
            for key in std::mem::take(&mut running) {
                queue.finish(&key, now, Verdict::Done, 0.0);
            }
            for _ in 0..10 {
                now += ms(20_000);
                while let Some(key) = queue.take(now) {
                    prop_assert!(owed.remove(&key).is_some());
                    queue.finish(&key, now, Verdict::Done, 0.0);
                }
            }
            prop_assert!(owed.is_empty(), "{owed:?} forgotten");
        }
    }
}
