//! Which clusters the proxy can route to already.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use ir::resource::{Resource, Warming};
use rustc_hash::FxHashMap;

/// A cluster that the proxy does not have yet.
#[derive(Debug)]
struct Cold {
    warming: Warming,
    endpoints: Option<Arc<str>>,
    /// Secrets that the proxy does not have yet.
    secrets: Vec<Arc<str>>,
    /// The proxy has accepted all that it needs, but for secrets.
    proved: bool,
    /// How long its first health checks take, and when they are over; `None` before they begin.
    first_check: Duration,
    checked: Option<Instant>,
    /// Number of the response that last carried it, and when it was first sent; `None` before that.
    sent: Option<(u64, Instant)>,
}

/// A cluster that became usable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) cluster: Arc<str>,
    /// Time since it was first sent.
    pub(super) after: Duration,
    /// It is not warm: the waiting time is over.
    pub(super) timed_out: bool,
}

/// New clusters on their way to being warm. All that is not here is usable as far as we know.
#[derive(Debug, Default)]
pub(super) struct Gates {
    cold: FxHashMap<Arc<str>, Cold>,
    by_endpoints: FxHashMap<Arc<str>, Vec<Arc<str>>>,
    /// When clusters stop being waited for; the waiting time is constant, so it is in order.
    deadlines: VecDeque<(Instant, Vec<Arc<str>>)>,
    /// When first health checks are over. Clusters that went or changed meanwhile have other times of their own.
    checks: BTreeSet<(Instant, Arc<str>)>,
}

impl Gates {
    pub(super) fn all_warm(&self) -> bool {
        self.cold.is_empty()
    }

    pub(super) fn is_cold(&self, cluster: &str) -> bool {
        self.cold.contains_key(cluster)
    }

    pub(super) fn cold(&self) -> impl Iterator<Item = &Arc<str>> {
        self.cold.keys()
    }

    /// A cluster that the proxy does not have is in the target; `secrets` are those of it that the proxy has not either.
    /// Called again when its content changes.
    pub(super) fn expect(&mut self, cluster: &Resource, secrets: Vec<Arc<str>>) {
        let sent = self.forget(&cluster.name).and_then(|c| c.sent);
        if let Some(endpoints) = &cluster.endpoints {
            self.by_endpoints.entry(Arc::clone(endpoints)).or_default().push(Arc::clone(&cluster.name));
        }
        let cold = Cold {
            warming: cluster.warming,
            endpoints: cluster.endpoints.clone(),
            secrets,
            proved: false,
            first_check: cluster.first_check,
            checked: None,
            sent,
        };
        self.cold.insert(Arc::clone(&cluster.name), cold);
    }

    /// The cluster left the target.
    pub(super) fn drop_cluster(&mut self, cluster: &str) {
        self.forget(cluster);
    }

    /// The cluster will not be sent. One that was sent before is waited for as long as any other.
    pub(super) fn give_up(&mut self, cluster: &Arc<str>) -> Option<Opened> {
        self.cold.get(cluster).filter(|cold| cold.sent.is_none())?;
        self.forget(cluster)?;
        Some(Opened { cluster: Arc::clone(cluster), after: Duration::ZERO, timed_out: true })
    }

    /// A response with these clusters was sent. The waiting time runs from the first one: a cluster that changes
    /// all the time must not hold its routes back for ever.
    pub(super) fn sent<'a>(
        &mut self,
        clusters: impl Iterator<Item = &'a Arc<str>>,
        seq: u64,
        now: Instant,
        gate: Duration,
    ) {
        let mut first = Vec::new();
        for name in clusters {
            let Some(cold) = self.cold.get_mut(name) else { continue };
            match &mut cold.sent {
                Some((last, _)) => *last = seq,
                none => {
                    *none = Some((seq, now));
                    first.push(Arc::clone(name));
                }
            }
        }
        if !first.is_empty() {
            self.deadlines.push_back((now + gate, first));
        }
    }

    /// The proxy accepted a response with these clusters: warm are those for which that is proof enough.
    pub(super) fn clusters_acked<'a>(
        &mut self,
        clusters: impl Iterator<Item = &'a Arc<str>>,
        now: Instant,
    ) -> Vec<Opened> {
        clusters
            .filter_map(|name| {
                let cold = self.cold.get(name)?;
                let enough = cold.warming == Warming::Cluster || cold.endpoints.is_none();
                if enough { self.prove(name, now) } else { None }
            })
            .collect()
    }

    /// The proxy accepted response `seq` with these endpoints; their clusters are warm if they were sent before it.
    pub(super) fn endpoints_acked<'a>(
        &mut self,
        endpoints: impl Iterator<Item = &'a Arc<str>>,
        seq: u64,
        now: Instant,
    ) -> Vec<Opened> {
        let mut opened = Vec::new();
        if self.cold.is_empty() {
            return opened;
        }
        for name in endpoints {
            let Some(clusters) = self.by_endpoints.get(name) else { continue };
            for cluster in clusters.clone() {
                let warm = self.cold.get(&cluster).is_some_and(|cold| {
                    cold.warming == Warming::Endpoints && cold.sent.is_some_and(|(sent, _)| sent < seq)
                });
                if warm {
                    opened.extend(self.prove(&cluster, now));
                }
            }
        }
        opened
    }

    /// The proxy accepted these secrets.
    pub(super) fn secrets_acked<'a>(
        &mut self,
        secrets: impl Iterator<Item = &'a Arc<str>>,
        now: Instant,
    ) -> Vec<Opened> {
        // Secrets are few and change seldom, and so are clusters that wait for one.
        let mut complete = Vec::new();
        for name in secrets {
            for (cluster, cold) in &mut self.cold {
                let waited = cold.secrets.contains(name);
                cold.secrets.retain(|secret| secret != name);
                if waited && cold.secrets.is_empty() && cold.proved {
                    complete.push(Arc::clone(cluster));
                }
            }
        }
        complete.sort_unstable();
        complete.iter().filter_map(|cluster| self.check(cluster, now)).collect()
    }

    /// The proxy accepted all that a cluster needs, but for secrets.
    fn prove(&mut self, cluster: &Arc<str>, now: Instant) -> Option<Opened> {
        let cold = self.cold.get_mut(cluster)?;
        cold.proved = true;
        if cold.secrets.is_empty() { self.check(cluster, now) } else { None }
    }

    /// The proxy accepted all that a cluster needs, and begins to check its endpoints if it is to.
    fn check(&mut self, cluster: &Arc<str>, now: Instant) -> Option<Opened> {
        let cold = self.cold.get_mut(cluster)?;
        if cold.first_check.is_zero() {
            return self.open(cluster, now, false);
        }
        let over = *cold.checked.get_or_insert(now + cold.first_check);
        self.checks.insert((over, Arc::clone(cluster)));
        None
    }

    /// Clusters whose endpoints have been checked, and those that were waited for long enough.
    pub(super) fn expire(&mut self, now: Instant, gate: Duration) -> Vec<Opened> {
        let mut opened = Vec::new();
        while self.checks.first().is_some_and(|(over, _)| *over <= now) {
            let Some((over, cluster)) = self.checks.pop_first() else { break };
            if self.cold.get(&cluster).is_some_and(|cold| cold.checked == Some(over)) {
                opened.extend(self.open(&cluster, now, false));
            }
        }
        while self.deadlines.front().is_some_and(|(at, _)| *at <= now) {
            let Some((at, clusters)) = self.deadlines.pop_front() else { break };
            for cluster in clusters {
                // Gone and come again meanwhile: it has a later entry of its own.
                let same = self
                    .cold
                    .get(&cluster)
                    .is_some_and(|c| c.sent.is_some_and(|(_, first)| first + gate <= at));
                if same {
                    opened.extend(self.open(&cluster, now, true));
                }
            }
        }
        opened
    }

    /// When [`Gates::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.cold.is_empty() {
            return None;
        }
        let (gate, checks) =
            (self.deadlines.front().map(|(at, _)| *at), self.checks.first().map(|(at, _)| *at));
        gate.into_iter().chain(checks).min()
    }

    fn open(&mut self, cluster: &Arc<str>, now: Instant, timed_out: bool) -> Option<Opened> {
        let cold = self.forget(cluster)?;
        let after = cold.sent.map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(at));
        Some(Opened { cluster: Arc::clone(cluster), after, timed_out })
    }

    fn forget(&mut self, cluster: &str) -> Option<Cold> {
        let cold = self.cold.remove(cluster)?;
        if let Some(endpoints) = &cold.endpoints
            && let Some(waiting) = self.by_endpoints.get_mut(endpoints)
        {
            waiting.retain(|c| c.as_ref() != cluster);
            if waiting.is_empty() {
                self.by_endpoints.remove(endpoints);
            }
        }
        Some(cold)
    }
}
