use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::{
    Timing, TimingError,
    candidate::{Call, Candidate, Outcome, Seen},
};
use crate::Moment;

fn s(seconds: f64) -> Moment {
    Duration::from_secs_f64(seconds)
}

fn lease(holder: &str, stamp: i64) -> Seen {
    Seen {
        holder: (!holder.is_empty()).then(|| holder.into()),
        duration: Duration::from_secs(15),
        transitions: 4,
        stamp: (Some(0), Some(stamp)),
    }
}

fn candidate() -> Candidate {
    Candidate::new("us".into(), Timing::default())
}

fn leader(at: f64) -> Candidate {
    let mut us = candidate();
    us.answered(s(at), s(at), Call::Read, Outcome::Absent, 0.0);
    us.answered(s(at), s(at), Call::Create, Outcome::Seen(lease("us", 0)), 0.0);
    us
}

#[test]
fn times_are_judged() {
    let timing = |lease: u64, renew: u64, retry: u64| Timing {
        lease_duration: Duration::from_millis(lease),
        renew_deadline: Duration::from_millis(renew),
        retry_period: Duration::from_millis(retry),
    };
    assert_eq!(Timing::default().check(), Ok(()));
    assert_eq!(timing(15_000, 15_000, 2000).check(), Err(TimingError::Deadline));
    assert_eq!(timing(15_000, 2400, 2000).check(), Err(TimingError::Retry));
    assert_eq!(timing(900, 800, 200).check(), Err(TimingError::Short));
    assert_eq!(timing(15_000, 10_000, 0).check(), Err(TimingError::NoRetry));
    assert_eq!(timing(1500, 1000, 200).lease_seconds(), 2);
}

#[test]
fn an_absent_lease_is_created_at_once() {
    let mut us = candidate();
    assert_eq!(us.next(s(0.0)), (s(0.0), Call::Read));
    us.answered(s(0.0), s(0.1), Call::Read, Outcome::Absent, 0.5);
    assert_eq!(us.next(s(0.1)), (s(0.1), Call::Create));
    assert_eq!((us.claim().renewal, us.claim().transitions), (false, 0));
    us.answered(s(0.1), s(0.2), Call::Create, Outcome::Seen(lease("us", 1)), 0.5);
    assert!(us.leads(s(0.2)).is_some());
    assert_eq!(us.next(s(0.2)), (s(2.1), Call::Replace));
    assert!(us.claim().renewal);
}

#[test]
fn a_free_lease_is_taken_at_once_and_the_passing_counted() {
    let mut us = candidate();
    us.answered(s(0.0), s(0.0), Call::Read, Outcome::Seen(lease("", 1)), 0.5);
    assert_eq!(us.next(s(0.0)), (s(0.0), Call::Replace));
    assert_eq!((us.claim().renewal, us.claim().transitions), (false, 5));
}

#[test]
fn a_held_lease_is_waited_for_from_its_last_change_on() {
    let mut us = candidate();
    us.answered(s(0.0), s(0.0), Call::Read, Outcome::Seen(lease("them", 1)), 0.0);
    assert_eq!(us.holder().as_deref(), Some("them"));
    assert_eq!(us.next(s(0.0)), (s(2.0), Call::Read));
    us.answered(s(10.0), s(10.0), Call::Read, Outcome::Seen(lease("them", 2)), 1.0);
    assert_eq!(us.next(s(10.0)), (s(14.0), Call::Read), "the looks of those that wait are spread");
    us.answered(s(24.9), s(24.9), Call::Read, Outcome::Seen(lease("them", 2)), 0.0);
    assert_eq!(us.next(s(24.9)).1, Call::Read);
    us.answered(s(25.0), s(25.0), Call::Read, Outcome::Seen(lease("them", 2)), 0.0);
    assert_eq!(us.next(s(25.0)), (s(25.0), Call::Replace));
}

#[test]
fn the_longer_of_both_durations_counts() {
    let mut us = candidate();
    let long = Seen { duration: Duration::from_secs(60), ..lease("them", 1) };
    us.answered(s(0.0), s(0.0), Call::Read, Outcome::Seen(long.clone()), 0.0);
    us.answered(s(59.0), s(59.0), Call::Read, Outcome::Seen(long.clone()), 0.0);
    assert_eq!(us.next(s(59.0)).1, Call::Read);
    us.answered(s(60.0), s(60.0), Call::Read, Outcome::Seen(long), 0.0);
    assert_eq!(us.next(s(60.0)).1, Call::Replace);
}

#[test]
fn a_leader_stops_by_itself_when_renewals_fail() {
    let mut us = leader(0.0);
    let until = us.leads(s(0.0)).unwrap();
    assert_eq!(until, s(10.0));
    for at in [2.0, 4.0, 6.0, 8.0] {
        assert_eq!(us.next(s(at)).0, s(at));
        us.answered(s(at), s(at), us.next(s(at)).1, Outcome::Failed("down".into()), 0.9);
        assert!(us.leads(s(at)).is_some());
        assert_eq!(us.next(s(at)).1, Call::Read, "what became of the Lease is not known");
    }
    assert_eq!(us.next(s(8.0)).0, s(10.0), "the end of the time is the next thing to happen");
    assert_eq!(us.leads(s(10.0)), None);
}

#[test]
fn a_slow_api_server_does_not_cost_the_lease() {
    let mut us = leader(0.0);
    let mut sent = 2.0;
    for stamp in 1..20 {
        let (due, call) = us.next(s(sent));
        assert!(due <= s(sent));
        assert!(us.deadline(s(sent)) > s(sent + 5.0));
        us.answered(s(sent), s(sent + 5.0), call, Outcome::Seen(lease("us", stamp)), 0.0);
        sent += 5.0;
        let until = us.leads(s(sent)).unwrap();
        assert!(until < s(sent - 5.0 + 15.0), "never as long as the Lease");
    }
}

#[test]
fn a_leader_that_sees_another_stops_at_once() {
    let mut us = leader(0.0);
    us.answered(s(2.0), s(2.1), Call::Replace, Outcome::Conflict, 0.0);
    assert!(us.leads(s(2.1)).is_some(), "it may have been anybody who changed a label");
    assert_eq!(us.next(s(2.1)), (s(4.1), Call::Read));
    us.answered(s(4.1), s(4.2), Call::Read, Outcome::Seen(lease("them", 9)), 0.0);
    assert_eq!(us.leads(s(4.2)), None);
    assert_eq!(us.holder().as_deref(), Some("them"));
}

#[test]
fn a_leader_that_comes_back_takes_its_own_lease() {
    let mut us = leader(0.0);
    us.answered(s(30.0), s(30.0), Call::Read, Outcome::Seen(lease("us", 0)), 0.0);
    assert_eq!(us.leads(s(30.0)), None);
    assert_eq!(us.next(s(30.0)).1, Call::Replace);
    assert!(us.claim().renewal);
}

#[test]
fn a_late_answer_gives_the_time_that_is_left_and_no_more() {
    let mut us = candidate();
    us.answered(s(0.0), s(0.0), Call::Read, Outcome::Absent, 0.0);
    us.answered(s(0.0), s(9.0), Call::Create, Outcome::Seen(lease("us", 1)), 0.0);
    assert_eq!(us.leads(s(9.0)), Some(s(14.0)));
    us.answered(s(9.0), s(24.5), Call::Replace, Outcome::Seen(lease("us", 2)), 0.0);
    assert_eq!(us.leads(s(24.5)), None);
}

/// A Lease at an API server, candidates, and a network that delays and loses messages either way.
struct World {
    candidates: Vec<One>,
    lease: Option<(Seen, u64)>,
    stamps: i64,
    /// Messages whose sender has given up, and that arrive all the same.
    strays: Vec<(Arc<str>, Flight)>,
}

struct One {
    name: Arc<str>,
    candidate: Candidate,
    /// What it last saw of the Lease's version; a replacement needs it.
    version: Option<u64>,
    /// When it started its clock, so that no two clocks show the same.
    started: u64,
    flight: Option<Flight>,
    /// It does nothing until then: its machine stands still.
    asleep: u64,
}

struct Flight {
    call: Call,
    claim: (bool, i32),
    sent: u64,
    arrives: Option<u64>,
    answers: Option<u64>,
    gives_up: u64,
    outcome: Option<Outcome>,
    version: Option<u64>,
}

impl World {
    /// Serves what has arrived by now, strays too.
    fn arrivals(&mut self, t: u64) {
        for which in 0..self.candidates.len() {
            let one = &mut self.candidates[which];
            if one.flight.as_ref().and_then(|flight| flight.arrives).is_some_and(|at| at <= t) {
                let (name, mut flight) = (one.name.clone(), one.flight.take().unwrap());
                flight.arrives = None;
                self.serve(&name, &mut flight);
                self.candidates[which].flight = Some(flight);
            }
        }
        let strays = std::mem::take(&mut self.strays);
        for (name, mut flight) in strays {
            if flight.arrives.is_some_and(|at| at <= t) {
                self.serve(&name, &mut flight);
            } else {
                self.strays.push((name, flight));
            }
        }
    }

    fn serve(&mut self, name: &Arc<str>, flight: &mut Flight) {
        self.stamps += 1;
        let renewed = Seen {
            holder: Some(name.clone()),
            duration: Duration::from_secs(15),
            transitions: flight.claim.1,
            stamp: (None, Some(self.stamps)),
        };
        flight.outcome = Some(match (flight.call, &mut self.lease) {
            (Call::Read, None) => Outcome::Absent,
            (Call::Read, Some((seen, version))) => {
                flight.version = Some(*version);
                Outcome::Seen(seen.clone())
            }
            (Call::Create, None) => {
                self.lease = Some((renewed.clone(), 1));
                flight.version = Some(1);
                Outcome::Seen(renewed)
            }
            (Call::Replace, Some((seen, version))) if flight.version == Some(*version) => {
                *version += 1;
                *seen = renewed.clone();
                flight.version = Some(*version);
                Outcome::Seen(renewed)
            }
            _ => Outcome::Conflict,
        });
    }
}

#[derive(Clone, Debug)]
struct Trip {
    to: u64,
    back: u64,
    fate: u8,
    nap: u64,
    chance: f64,
}

fn trip() -> impl Strategy<Value = Trip> {
    // Mostly fast, sometimes slower than any deadline; one in ten is lost on the way, one in ten on the way back.
    let delay = prop_oneof![4 => 0..200_u64, 2 => 0..6000_u64, 1 => 0..20_000_u64];
    let nap = prop_oneof![12 => Just(0_u64), 1 => 0..40_000_u64];
    (delay.clone(), delay, 0..10_u8, nap, 0.0..1.0_f64).prop_map(|(to, back, fate, nap, chance)| Trip {
        to,
        back,
        fate,
        nap,
        chance,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whatever happens to messages and machines, two never lead at the same time.
    #[test]
    fn two_never_lead(
        starts in prop::collection::vec(0..10_000_u64, 2..4),
        trips in prop::collection::vec(trip(), 20..120),
    ) {
        let timing = Timing::default();
        let candidates = starts.iter().enumerate().map(|(number, started)| {
            let name: Arc<str> = format!("r{number}").into();
            One {
                candidate: Candidate::new(name.clone(), timing),
                name, version: None, started: *started, flight: None, asleep: *started,
            }
        });
        let mut world = World { candidates: candidates.collect(), lease: None, stamps: 0, strays: Vec::new() };
        let mut trips = trips.into_iter();
        let mut chance = 0.5;
        // One step is 50 ms; the world ends when the trips do.
        'world: for step in 0..8000_u64 {
            let t = step * 50;
            // What the API server has taken it carries out, whatever became of the sender.
            world.arrivals(t);
            for which in 0..world.candidates.len() {
                let one = &mut world.candidates[which];
                if one.asleep > t {
                    continue;
                }
                let now = Duration::from_millis(t - one.started);
                if let Some(flight) = &one.flight {
                    let answered = flight.outcome.is_some() && flight.answers.is_some_and(|at| at <= t);
                    if answered || flight.gives_up <= t {
                        let flight = one.flight.take().unwrap();
                        let sent = Duration::from_millis(flight.sent - one.started);
                        let outcome = match &flight.outcome {
                            Some(outcome) if answered => outcome.clone(),
                            _ => Outcome::Failed(String::new()),
                        };
                        one.version = if answered { flight.version } else { None };
                        one.candidate.answered(sent, now, flight.call, outcome, chance);
                        if !answered {
                            world.strays.push((one.name.clone(), flight));
                        }
                    }
                }
                let (due, call) = one.candidate.next(now);
                if one.flight.is_none() && due <= now {
                    let Some(trip) = trips.next() else { break 'world };
                    let claim = one.candidate.claim();
                    let deadline = one.candidate.deadline(now).saturating_sub(now).as_millis() as u64;
                    one.flight = Some(Flight {
                        call,
                        claim: (claim.renewal, claim.transitions),
                        sent: t,
                        arrives: (trip.fate != 0).then_some(t + trip.to),
                        answers: (trip.fate != 1).then_some(t + trip.to + trip.back),
                        gives_up: t + deadline,
                        outcome: None,
                        version: one.version.take(),
                    });
                    one.asleep = t + trip.nap;
                    chance = trip.chance;
                }
            }
            let leaders: BTreeMap<_, _> = world.candidates.iter().filter(|one| t >= one.started).filter_map(|one| {
                let now = Duration::from_millis(t - one.started);
                one.candidate.leads(now).map(|until| (one.name.clone(), until))
            }).collect();
            prop_assert!(leaders.len() <= 1, "at {t} ms: {leaders:?}");
        }
    }

    /// With a network that works, somebody leads all the time after the first seconds, and it stays the same one.
    #[test]
    fn one_leads_and_goes_on(starts in prop::collection::vec(0..5000_u64, 2..4), delay in 0..100_u64) {
        let candidates = starts.iter().enumerate().map(|(number, started)| One {
            name: format!("r{number}").into(),
            candidate: Candidate::new(format!("r{number}").into(), Timing::default()),
            version: None, started: *started, flight: None, asleep: *started,
        });
        let mut world = World { candidates: candidates.collect(), lease: None, stamps: 0, strays: Vec::new() };
        let mut first: Option<Arc<str>> = None;
        for step in 0..6000_u64 {
            let t = step * 10;
            world.arrivals(t);
            for which in 0..world.candidates.len() {
                let one = &mut world.candidates[which];
                if one.started > t { continue }
                let now = Duration::from_millis(t - one.started);
                if one.flight.as_ref().is_some_and(|f| f.outcome.is_some() && f.answers.is_some_and(|at| at <= t)) {
                    let flight = one.flight.take().unwrap();
                    one.version = flight.version;
                    let sent = Duration::from_millis(flight.sent - one.started);
                    one.candidate.answered(sent, now, flight.call, flight.outcome.unwrap(), 0.3);
                }
                let (due, call) = one.candidate.next(now);
                if one.flight.is_none() && due <= now {
                    let claim = one.candidate.claim();
                    one.flight = Some(Flight {
                        call, claim: (claim.renewal, claim.transitions), sent: t, arrives: Some(t + delay),
                        answers: Some(t + 2 * delay), gives_up: u64::MAX, outcome: None, version: one.version.take(),
                    });
                }
            }
            let leader = world.candidates.iter().filter(|one| t >= one.started)
                .find(|one| one.candidate.leads(Duration::from_millis(t - one.started)).is_some());
            if let Some(leader) = leader {
                prop_assert_eq!(first.get_or_insert_with(|| leader.name.clone()), &leader.name);
            } else {
                prop_assert!(first.is_none() && t < 6000, "nobody leads at {} ms", t);
            }
        }
    }
}
