//! The rule of the election, without IO and clock.

use std::{sync::Arc, time::Duration};

use super::Timing;
use crate::Moment;

/// What counts of a Lease. Its times are another machine's, so they are compared for equality alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Who holds it, if anybody does.
    pub(crate) holder: Option<Arc<str>>,
    /// For how long after its last renewal.
    pub(crate) duration: Duration,
    /// How often it has passed from one to another.
    pub(crate) transitions: i32,
    /// When it was acquired and renewed, in microseconds.
    pub(crate) stamp: (Option<i64>, Option<i64>),
}

/// A call that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Read the Lease.
    Read,
    /// Create it with our claim.
    Create,
    /// Replace the version that was last seen by our claim.
    Replace,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The Lease as it is now.
    Seen(Seen),
    /// There is none.
    Absent,
    /// It is not as it was when it was read, or was created by somebody else.
    Conflict,
    /// Nobody knows whether the call had an effect.
    Failed(String),
}

/// What our claim says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// True when the Lease is ours already.
    pub(crate) renewal: bool,
    /// How often it will have passed from one to another.
    pub(crate) transitions: i32,
}

/// One that wants to lead.
#[derive(Debug)]
pub(crate) struct Candidate {
    identity: Arc<str>,
    timing: Timing,
    /// The Lease as last seen, and when it was first seen so on our clock.
    seen: Option<(Seen, Moment)>,
    /// Until when we lead.
    until: Option<Moment>,
    /// What is to be called next, and when.
    due: (Moment, Call),
}

impl Candidate {
    pub(crate) fn new(identity: Arc<str>, timing: Timing) -> Self {
        Candidate { identity, timing, seen: None, until: None, due: (Moment::ZERO, Call::Read) }
    }

    /// Until when we lead, if we do now.
    pub(crate) fn leads(&self, now: Moment) -> Option<Moment> {
        self.until.filter(|until| now < *until)
    }

    /// Who holds the Lease as far as we know; ourselves not, once our time is over.
    pub(crate) fn holder(&self) -> Option<Arc<str>> {
        let (seen, _) = self.seen.as_ref()?;
        seen.holder.clone().filter(|holder| *holder != self.identity)
    }

    /// What is to be called next, and from when on; before that the only thing that can happen is that our time ends,
    /// which then is the moment.
    pub(crate) fn next(&self, now: Moment) -> (Moment, Call) {
        let (due, call) = self.due;
        (self.leads(now).map_or(due, |until| due.min(until)), call)
    }

    /// When a call that is made now must have ended: a leader has to know by the end of its time.
    pub(crate) fn deadline(&self, now: Moment) -> Moment {
        let longest = now + self.timing.renew_deadline;
        self.leads(now).map_or(longest, |until| until.min(longest))
    }

    /// What our claim says, by the Lease as last seen.
    pub(crate) fn claim(&self) -> Claim {
        match &self.seen {
            None => Claim { renewal: false, transitions: 0 },
            Some((seen, _)) => {
                let renewal = seen.holder.as_ref() == Some(&self.identity);
                let transitions = seen.transitions.saturating_add(i32::from(!renewal));
                Claim { renewal, transitions }
            }
        }
    }

    /// Takes the outcome of a call that was sent at one moment and has ended at another. `chance` spreads the looks of
    /// those that wait.
    pub(crate) fn answered(&mut self, sent: Moment, now: Moment, call: Call, outcome: Outcome, chance: f64) {
        match outcome {
            Outcome::Seen(seen) => {
                let ours = seen.holder.as_ref() == Some(&self.identity);
                self.see(seen, now);
                match call {
                    Call::Create | Call::Replace if ours => {
                        self.until = Some(self.horizon(sent, now));
                        self.due = (sent + self.timing.retry_period, Call::Replace);
                    }
                    Call::Read if self.may_claim(now) => self.due = (now, Call::Replace),
                    _ => {
                        if !ours {
                            self.until = None;
                        }
                        self.rest(now, chance);
                    }
                }
            }
            Outcome::Absent => {
                self.seen = None;
                self.due = (now, Call::Create);
            }
            // A leader has time for several tries until its end; what it does not know, it reads.
            Outcome::Conflict | Outcome::Failed(_) => self.rest(now, chance),
        }
        if self.leads(now).is_none() {
            self.until = None;
        }
    }

    /// Until when we lead after a renewal: as long as renewals may fail after this one, but a fifth of the time
    /// between that and the Lease's end before its end. Writes that the API server has taken end in that fifth, and a
    /// slow API server (5 s an answer) does not cost the Lease.
    fn horizon(&self, sent: Moment, now: Moment) -> Moment {
        let Timing { lease_duration, renew_deadline, .. } = self.timing;
        let margin = lease_duration.saturating_sub(renew_deadline) / 5;
        (now + renew_deadline).min(sent + lease_duration.saturating_sub(margin))
    }

    fn see(&mut self, seen: Seen, now: Moment) {
        match &self.seen {
            Some((known, _)) if *known == seen => {}
            _ => self.seen = Some((seen, now)),
        }
    }

    /// The Lease is free, ours, or nobody has renewed it for its duration (for ours, should it be the longer one).
    fn may_claim(&self, now: Moment) -> bool {
        self.seen.as_ref().is_some_and(|(seen, since)| match &seen.holder {
            None => true,
            Some(holder) if *holder == self.identity => true,
            Some(_) => now >= *since + seen.duration.max(self.timing.lease_duration),
        })
    }

    /// Looks again later. Those that wait do not all look at the same moment.
    fn rest(&mut self, now: Moment, chance: f64) {
        let mut pause = self.timing.retry_period;
        if self.leads(now).is_none() {
            pause += pause.mul_f64(chance.clamp(0.0, 1.0));
        }
        self.due = (now + pause, Call::Read);
    }
}
