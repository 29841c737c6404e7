//! What to do about one name: send it, wait, say that it does not exist, plan its removal, or nothing.

use std::{sync::Arc, time::Instant};

use ir::resource::{Resource, ResourceType, Version};
use rustc_hash::FxHashSet;

use super::{
    Session,
    compose::{Composed, compose, drained},
    holders::{Base, Holders},
    types::Work,
};

/// What the target means for one name on this stream.
pub(super) enum Effective {
    /// This is to be served; `version` is the one in the target.
    Serve(Arc<Resource>),
    /// The target's version was refused and there is none to fall back to: leave the proxy what it has.
    Keep,
    /// There is no such resource.
    Absent,
}

/// What to do about one name.
pub(super) enum Decision {
    /// Send this body, made from that version of the target. `waits`: more is to come once clusters are warm.
    Send { body: Arc<Resource>, target: Version, waits: bool },
    /// Tell the proxy that it does not exist.
    Absent,
    /// Take it away when nothing needs it.
    Remove,
    /// Look again after an event.
    Park,
    /// Nothing to do.
    Done,
}

impl Session {
    /// What is to be served under a name.
    pub(super) fn effective(&self, kind: ResourceType, name: &Arc<str>) -> Effective {
        let Some(resource) = self.target.get(kind, name) else { return Effective::Absent };
        if let Some(held) = self.target.quarantine().resource(kind, name)
            && held.version == resource.version
        {
            return match &held.good {
                Some(good) => Effective::Serve(Arc::clone(good)),
                None => Effective::Keep,
            };
        }
        if self.state(kind).refused.get(name) == Some(&resource.version) {
            return Effective::Keep;
        }
        Effective::Serve(Arc::clone(resource))
    }

    pub(super) fn decide(
        &mut self,
        kind: ResourceType,
        name: &Arc<str>,
        work: Work,
        now: Instant,
    ) -> Decision {
        if !self.state(kind).subscribed(name) {
            return if self.state(kind).sent(name).is_some() { Decision::Remove } else { Decision::Done };
        }
        let has = self.state(kind).sent(name);
        match self.effective(kind, name) {
            Effective::Serve(target) if kind == ResourceType::Route => {
                self.draining.remove(name);
                self.decide_route(&target, work, now)
            }
            Effective::Serve(target) if kind == ResourceType::Listener => self.decide_listener(&target, work),
            Effective::Serve(target) => {
                if work.forced || has != Some(target.version) {
                    Decision::Send { target: target.version, body: target, waits: false }
                } else {
                    Decision::Done
                }
            }
            Effective::Keep if work.forced && has.is_none() => Decision::Absent,
            Effective::Keep => Decision::Done,
            Effective::Absent if kind == ResourceType::Route && has.is_some() => {
                self.decide_drained(name, work, now)
            }
            Effective::Absent if has.is_some() => Decision::Remove,
            Effective::Absent if work.forced => Decision::Absent,
            Effective::Absent => Decision::Done,
        }
    }

    /// A listener waits for new clusters that it names itself, and for the answer to its last version.
    fn decide_listener(&mut self, target: &Arc<Resource>, work: Work) -> Decision {
        let same = self.state(ResourceType::Listener).sent(&target.name) == Some(target.version);
        let holder = self.holders.get(ResourceType::Listener, &target.name);
        if same && holder.is_some_and(|h| matches!(h.base, Base::Foreign)) {
            self.holders.recognise(ResourceType::Listener, &target.name, target);
        }
        if same && !work.forced {
            return Decision::Done;
        }
        let pending =
            self.holders.get(ResourceType::Listener, &target.name).is_some_and(|h| h.pending.is_some());
        if pending && !same {
            return Decision::Park;
        }
        let cold: Vec<_> = target.clusters.iter().filter(|c| self.gates.is_cold(c)).cloned().collect();
        if !cold.is_empty() && !same {
            self.holders.wait(ResourceType::Listener, &target.name, cold.into_iter().collect());
            return Decision::Park;
        }
        Decision::Send { body: Arc::clone(target), target: target.version, waits: false }
    }

    /// A route configuration waits for the answer to its last version; virtual hosts in it wait for new clusters;
    /// a large one rests between two sends.
    fn decide_route(&mut self, target: &Arc<Resource>, work: Work, now: Instant) -> Decision {
        let kind = ResourceType::Route;
        let name = &target.name;
        if let Some(pending) = self.holders.get(kind, name).and_then(|h| h.pending.clone()) {
            // A repeated question is answered with what is on its way.
            return if work.forced {
                Decision::Send { body: pending.body, target: pending.target, waits: true }
            } else {
                Decision::Park
            };
        }
        let sent = self.state(kind).sent(name);
        let Composed { body, waits_for } = loop {
            let holder = self.holders.entry(kind, name);
            let composed = compose(target, holder, &self.gates, &self.target);
            let known = composed.body.as_ref().filter(|body| sent == Some(body.version));
            let Some(body) = known else { break composed };
            if matches!(holder.base, Base::Foreign) {
                // Versions are hashes: this is what the proxy brought along, with the same hosts left out.
                self.holders.recognise(kind, name, body);
                continue;
            }
            // A group of suspects that is gone from the target, or waits, has nothing to try.
            let Some(trial) = &mut holder.trial else { break composed };
            if trial.accepted() {
                holder.trial = None;
            }
        };
        let holder = self.holders.entry(kind, name);
        let tried = holder.trial.is_some();
        let rests = holder.rests_until.is_some_and(|until| now < until);
        let waits = tried || !waits_for.is_empty();
        self.holders.wait(kind, name, waits_for);
        let Some(body) = body else { return Decision::Park };
        if sent == Some(body.version) && !work.forced {
            return if waits { Decision::Park } else { Decision::Done };
        }
        if rests && !work.forced && !tried {
            return Decision::Park;
        }
        Decision::Send { body, target: target.version, waits }
    }

    /// A route configuration that the proxy drains: what it accepted last, without the virtual hosts that have ended.
    fn decide_drained(&mut self, name: &Arc<str>, work: Work, now: Instant) -> Decision {
        let kind = ResourceType::Route;
        let holder = self.holders.entry(kind, name);
        holder.trial = None;
        if let Some(pending) = holder.pending.clone() {
            return if work.forced {
                Decision::Send { body: pending.body, target: pending.target, waits: true }
            } else {
                Decision::Park
            };
        }
        let rests = holder.rests_until.is_some_and(|until| now < until);
        // What came from elsewhere is unknown, so no part of it can be kept.
        let Base::Body(base) = holder.base.clone() else { return Decision::Remove };
        self.holders.wait(kind, name, FxHashSet::default());
        self.draining.insert(Arc::clone(name));
        let body = drained(&base, &self.target);
        let known = self.state(kind).sent(name) == Some(body.version)
            || self.state(kind).refused.get(name) == Some(&body.version);
        if known && !work.forced {
            return Decision::Done;
        }
        if rests && !work.forced {
            return Decision::Park;
        }
        Decision::Send { target: body.version, body, waits: false }
    }

    /// A body goes out: note what the proxy will route by, and when the next may follow.
    pub(super) fn body_sent(&mut self, body: &Arc<Resource>, target: Version, seq: u64, now: Instant) {
        let (kind, name) = (body.kind, &body.name);
        if !Holders::holds(kind) {
            return;
        }
        self.holders.sent(name, body, target, seq);
        if kind == ResourceType::Listener {
            self.holders.wait(kind, name, FxHashSet::default());
        }
        let holder = self.holders.entry(kind, name);
        if holder.pending.as_ref().is_some_and(|p| p.seq == seq) {
            self.patience.push_back((now + self.settings.ack_patience, kind, Arc::clone(name), seq));
        }
        if kind == ResourceType::Route
            && let Some(pace) = self.settings.pace(body.encoded_len())
        {
            if let Some(before) = holder.rests_until.take() {
                self.resting.remove(&(before, Arc::clone(name)));
            }
            holder.rests_until = Some(now + pace);
            self.resting.insert((now + pace, Arc::clone(name)));
        }
    }
}
