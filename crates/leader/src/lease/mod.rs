//! Who leads: a Lease of `coordination.k8s.io`, held as other controllers hold theirs.
//!
//! [`Candidate`] is the whole rule and does no IO; [`elect`] makes its calls and opens and closes the gate.
//!
//! Why two never lead at the same time, with clocks that run equally fast but show different times: a leader stops
//! before the Lease's duration has passed since it *sent* its last renewal. Another replica takes the Lease only when
//! that duration has passed since it *saw* that renewal, which is later.

mod candidate;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::Client;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Clock, DRAIN, Moment,
    call::{Failure, Path, Verb, send},
    chance,
    gate::Gate,
    metrics::Metrics,
};
use candidate::{Call, Candidate, Outcome, Seen};

/// Name of the Lease, Envoy Gateway's own: an installation that changes its image has one leader throughout.
pub const NAME: &str = "5b9825d2.gateway.envoyproxy.io";

/// API version of the Lease.
const API_VERSION: &str = "coordination.k8s.io/v1";

/// Times of the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait after the last sign of the leader before one takes its place. Default 15 s.
    pub lease_duration: Duration,
    /// How long a leader goes on when its renewals fail. Default 10 s.
    pub renew_deadline: Duration,
    /// Time between two renewals, and least time between two looks of the others. Default 2 s.
    pub retry_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// Why times cannot work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// The Lease counts whole seconds.
    #[error("leaseDuration must be at least 1s")]
    Short,
    /// A leader would go on while another begins.
    #[error("leaseDuration must be longer than renewDeadline")]
    Deadline,
    /// A leader would stop before it renews.
    #[error("renewDeadline must be longer than 1.2 times retryPeriod")]
    Retry,
    /// It would never rest.
    #[error("retryPeriod must be longer than 0s")]
    NoRetry,
}

impl Timing {
    /// Judges them by the rules of Kubernetes' own election.
    ///
    /// # Errors
    ///
    /// When one leader could not be told from another, or could not hold the Lease.
    pub fn check(self) -> Result<(), TimingError> {
        if self.lease_duration < Duration::from_secs(1) {
            Err(TimingError::Short)
        } else if self.lease_duration <= self.renew_deadline {
            Err(TimingError::Deadline)
        } else if self.retry_period.is_zero() {
            Err(TimingError::NoRetry)
        } else if self.renew_deadline <= self.retry_period.mul_f64(1.2) {
            Err(TimingError::Retry)
        } else {
            Ok(())
        }
    }

    /// Whole seconds in which a Lease is counted; the longer, the safer.
    fn lease_seconds(self) -> i32 {
        let seconds = self.lease_duration.as_secs() + u64::from(self.lease_duration.subsec_nanos() > 0);
        i32::try_from(seconds).unwrap_or(i32::MAX)
    }
}

/// Where the Lease is, and who asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Our name in it.
    pub(crate) identity: String,
}

/// Takes part in the election until `ended`, then gives the Lease back. The gate is open while this process leads.
pub(crate) async fn elect(
    client: Client,
    place: Place,
    timing: Timing,
    gate: &Gate,
    metrics: &Metrics,
    ended: &CancellationToken,
) {
    let clock = Clock::new();
    let mut candidate = Candidate::new(place.identity.as_str().into(), timing);
    let mut shell = Shell { client, place, timing, last: None };
    while !ended.is_cancelled() {
        let now = clock.now();
        publish(&candidate, clock, now, gate, metrics);
        let (at, call) = candidate.next(now);
        if at > now {
            tokio::select! {
                () = ended.cancelled() => break,
                () = tokio::time::sleep_until(clock.instant(at)) => {}
            }
            continue;
        }
        let deadline = clock.instant(candidate.deadline(now));
        let outcome = tokio::select! {
            () = ended.cancelled() => break,
            outcome = shell.make(call, &candidate, deadline) => outcome,
        };
        if let Outcome::Failed(words) = &outcome {
            tracing::warn!(lease = NAME, reason = %words, "the Lease could not be read or written");
        }
        candidate.answered(now, clock.now(), call, outcome, chance::fraction());
    }
    let held = candidate.leads(clock.now()).is_some();
    gate.end(None);
    metrics.leading(false);
    if held && tokio::time::timeout(DRAIN, gate.drained()).await.is_ok() {
        shell.release(clock.instant(clock.now() + DRAIN)).await;
    }
}

/// Opens and closes the gate as the candidate says.
fn publish(candidate: &Candidate, clock: Clock, now: Moment, gate: &Gate, metrics: &Metrics) {
    let led = gate.over().is_some();
    if let Some(until) = candidate.leads(now) {
        if !led {
            tracing::info!(lease = NAME, "this replica leads");
        }
        gate.begin(Some(clock.instant(until)));
    } else {
        if led {
            tracing::warn!(
                lease = NAME,
                holder = candidate.holder().as_deref(),
                "this replica leads no more"
            );
        }
        gate.end(candidate.holder());
    }
    metrics.leading(candidate.leads(now).is_some());
}

/// The calls on the Lease.
struct Shell {
    client: Client,
    place: Place,
    timing: Timing,
    /// The Lease as last seen, which a replacement starts from: fields and labels of others stay.
    last: Option<Lease>,
}

impl Shell {
    async fn make(&mut self, call: Call, candidate: &Candidate, deadline: Instant) -> Outcome {
        let verb = match call {
            Call::Read => Verb::Get,
            Call::Create => Verb::Create(self.claimed(Lease::default(), candidate)),
            Call::Replace => match self.last.take() {
                Some(last) => Verb::Replace(self.claimed(last, candidate)),
                // Nothing is replaced that was not seen; the next call reads it.
                None => return Outcome::Conflict,
            },
        };
        let path = match call {
            Call::Create => Path::all(API_VERSION, "Lease", &self.place.namespace),
            Call::Read | Call::Replace => self.path(),
        };
        match send(&self.client, verb, &path, deadline).await.map(serde_json::from_value::<Lease>) {
            Ok(Ok(lease)) => {
                let seen = seen(&lease);
                self.last = Some(lease);
                Outcome::Seen(seen)
            }
            Ok(Err(error)) => Outcome::Failed(format!("what came is no Lease: {error}")),
            Err(Failure::NotFound) if call == Call::Read => Outcome::Absent,
            Err(Failure::Conflict | Failure::NotFound) => Outcome::Conflict,
            Err(failure) => Outcome::Failed(failure.to_string()),
        }
    }

    /// The Lease with our name in it.
    fn claimed(&self, lease: Lease, candidate: &Candidate) -> Value {
        let claim = candidate.claim();
        let now = MicroTime(Timestamp::now());
        let old = lease.spec.unwrap_or_default();
        let acquire_time = old.acquire_time.filter(|_| claim.renewal).unwrap_or_else(|| now.clone());
        self.document(
            lease.metadata,
            LeaseSpec {
                holder_identity: Some(self.place.identity.clone()),
                lease_duration_seconds: Some(self.timing.lease_seconds()),
                acquire_time: Some(acquire_time),
                renew_time: Some(now),
                lease_transitions: Some(claim.transitions),
                ..old
            },
        )
    }

    fn document(&self, metadata: ObjectMeta, spec: LeaseSpec) -> Value {
        let metadata = ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(self.place.namespace.clone()),
            managed_fields: None,
            ..metadata
        };
        // A Lease is plain data, which always has a JSON form.
        serde_json::to_value(Lease { metadata, spec: Some(spec) }).unwrap_or_default()
    }

    /// Gives the Lease back if it still is ours: nobody has to wait for its end.
    async fn release(&mut self, deadline: Instant) {
        let Ok(found) = send(&self.client, Verb::Get, &self.path(), deadline).await else { return };
        let Ok(lease) = serde_json::from_value::<Lease>(found) else { return };
        let spec = lease.spec.unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.place.identity) {
            return;
        }
        let now = MicroTime(Timestamp::now());
        let free = LeaseSpec {
            holder_identity: Some(String::new()),
            // As other controllers do: whoever looks at the duration alone waits a second.
            lease_duration_seconds: Some(1),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..spec
        };
        let document = self.document(lease.metadata, free);
        match send(&self.client, Verb::Replace(document), &self.path(), deadline).await {
            Ok(_) => tracing::info!(lease = NAME, "the Lease is given back"),
            Err(failure) => {
                tracing::warn!(lease = NAME, reason = %failure, "the Lease could not be given back");
            }
        }
    }

    fn path(&self) -> Path {
        Path::object(API_VERSION, "Lease", &self.place.namespace, NAME)
    }
}

/// What counts of a Lease.
fn seen(lease: &Lease) -> Seen {
    let none = LeaseSpec::default();
    let spec = lease.spec.as_ref().unwrap_or(&none);
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let micros = |time: &Option<MicroTime>| time.as_ref().map(|time| time.0.as_microsecond());
    Seen {
        holder: spec.holder_identity.as_deref().filter(|holder| !holder.is_empty()).map(Arc::from),
        duration: Duration::from_secs(seconds.unwrap_or(0)),
        transitions: spec.lease_transitions.unwrap_or(0),
        stamp: (micros(&spec.acquire_time), micros(&spec.renew_time)),
    }
}
