//! Refusals: a NACK hits a whole response, so find out what in it is at fault and send the rest again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ir::resource::{Resource, ResourceType, Version};

use super::{
    Event, Refusal, Session,
    holders::{Holders, Pending},
    trial::{Finding, Part, Trial},
    types::{Entry, Sent, Work},
};

/// Bytes of Envoy's words that are kept. Long enough for any one reason; some list the whole resource.
const MESSAGE: usize = 2_048;

/// Pause before a listener that the proxy's machine could not take is sent again; doubles up to the last. A port
/// that becomes free is in use within 10 s, for one small message per pause.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(10);

impl Session {
    pub(super) fn nack(&mut self, kind: ResourceType, sent: Sent, message: &str, now: Instant) {
        let message: Arc<str> = trim(message).into();
        self.events.push(Event::Nacked { kind, message: Arc::clone(&message) });
        // What was superseded meanwhile is no suspect any more, yet may be the one at fault.
        let alone = sent.entries.iter().filter(|entry| entry.version.is_some()).count() == 1;
        let mut suspects = Vec::new();
        for entry in sent.entries {
            match entry.version {
                // What was taken away is away.
                None => self.tags.release_entry(&entry),
                Some(version) => {
                    if self.take_back(kind, &entry, version) {
                        suspects.push((entry, version));
                    } else {
                        self.tags.release_entry(&entry);
                    }
                }
            }
        }
        if let [(entry, version)] = suspects.as_slice()
            && alone
        {
            self.blame(kind, entry, *version, &message, now);
        } else {
            self.isolate(kind, suspects, &message);
        }
    }

    /// The proxy has what it had before. False when a newer version is on its way, whose answer will tell.
    fn take_back(&mut self, kind: ResourceType, entry: &Entry, version: Version) -> bool {
        let state = self.split(kind).0;
        let Some(served) = state.served.get_mut(&entry.name) else { return false };
        if served.sent != Some(version) {
            return false;
        }
        served.sent = served.acked;
        if served.sent.is_none() {
            state.served.remove(&entry.name);
        }
        true
    }

    /// Sends the suspects again in smaller groups: those that Envoy names each alone, else halves.
    fn isolate(&mut self, kind: ResourceType, suspects: Vec<(Entry, Version)>, message: &str) {
        let mut named = Vec::new();
        let mut rest = Vec::new();
        for (entry, version) in suspects {
            if Holders::holds(kind) {
                self.holders.nacked(kind, &entry.name, version);
            }
            let is_named = mentions(message, &entry.name);
            let tag = entry.tag.unwrap_or_else(|| self.target.revision());
            let item = (entry.name, Work { tag, forced: false });
            if is_named { named.push(vec![item]) } else { rest.push(item) }
        }
        let mut groups = Vec::new();
        if named.is_empty() && rest.len() > 1 {
            let half = rest.split_off(rest.len() / 2);
            groups.push(rest);
            groups.push(half);
        } else {
            groups.push(rest);
            groups.extend(named);
        }
        groups.retain(|group| !group.is_empty());
        let state = self.split(kind).0;
        for group in groups.into_iter().rev() {
            state.isolate.push_front(group);
        }
    }

    /// One resource alone was refused.
    fn blame(
        &mut self,
        kind: ResourceType,
        entry: &Entry,
        version: Version,
        message: &Arc<str>,
        now: Instant,
    ) {
        if !Holders::holds(kind) {
            self.tags.release_entry(entry);
            let target = self.target.get(kind, &entry.name).cloned();
            self.refuse_resource(kind, &entry.name, version, target.as_deref(), message);
            return;
        }
        let Some(pending) = self.holders.nacked(kind, &entry.name, version) else {
            self.tags.release_entry(entry);
            return;
        };
        if kind == ResourceType::Listener {
            self.refuse_resource(kind, &entry.name, version, Some(&pending.body), message);
            if is_transient(message) {
                self.retry_listener(&entry.name, now);
            }
        } else {
            self.blame_route(&pending, message);
        }
        // What else there is to send for this name goes on.
        let tag = entry.tag.unwrap_or_else(|| self.target.revision());
        let (state, tags) = self.split(kind);
        state.mark(&entry.name, Work { tag, forced: false }, tags);
        tags.release_entry(entry);
    }

    fn blame_route(&mut self, pending: &Pending, message: &Arc<str>) {
        let kind = ResourceType::Route;
        let name = &pending.body.name;
        let limit = self.settings.max_trials;
        let holder = self.holders.entry(kind, name);
        let trial = holder.trial.get_or_insert_with(Trial::default);
        match trial.refused(&pending.body, &holder.base, message, limit) {
            Finding::TryAgain => {}
            Finding::Guilty(Part::Host(host, hash)) => {
                holder.refused.insert(Arc::clone(&host), hash);
                let find = |all| crate::feed::find_fragment(all, &host).cloned();
                let owners = find(&pending.body.fragments).map_or_else(Box::default, |f| f.owners.clone());
                let good = find(holder.base.fragments());
                self.events.push(Event::Refused(Refusal {
                    kind,
                    name: Arc::clone(name),
                    version: Version(hash),
                    fragment: Some(host),
                    good,
                    message: Arc::clone(message),
                    owners,
                    transient: false,
                }));
            }
            Finding::Guilty(Part::Head(_)) | Finding::Whole => {
                holder.trial = None;
                self.refuse_resource(kind, name, pending.target, Some(&pending.body), message);
            }
        }
    }

    /// Never sends this version again, and tells who can mend it.
    fn refuse_resource(
        &mut self,
        kind: ResourceType,
        name: &Arc<str>,
        version: Version,
        content: Option<&Resource>,
        message: &Arc<str>,
    ) {
        self.split(kind).0.refused.insert(Arc::clone(name), version);
        self.events.push(Event::Refused(Refusal {
            kind,
            name: Arc::clone(name),
            version,
            fragment: None,
            good: None,
            message: Arc::clone(message),
            owners: content.map_or_else(Box::default, |r| r.owners.clone()),
            transient: kind == ResourceType::Listener && is_transient(message),
        }));
    }

    /// Plans to send a refused listener again: the machine may be able to take it later.
    fn retry_listener(&mut self, name: &Arc<str>, now: Instant) {
        let attempts = self.attempts.entry(Arc::clone(name)).or_default();
        let pause = (FIRST_RETRY * 2_u32.saturating_pow(*attempts)).min(LAST_RETRY);
        *attempts = (*attempts + 1).min(16);
        self.retries.insert((now + pause, Arc::clone(name)));
    }

    /// Sends again what is due.
    pub(super) fn retry_due(&mut self, now: Instant) {
        while self.retries.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = self.retries.pop_first() else { break };
            let tag = self.target.revision();
            let (state, tags) = self.split(ResourceType::Listener);
            // A newer version is on its way, or nobody wants it any more.
            if state.refused.remove(&name).is_some() {
                state.mark(&name, Work { tag, forced: false }, tags);
            }
        }
    }
}

/// True when Envoy could not take a listener because of its machine, not because of the listener: the address is
/// taken, not there (yet), or not permitted.
fn is_transient(message: &str) -> bool {
    message.contains("cannot bind")
}

/// True when the text holds the name as a word of its own, not as a part of a longer name.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    !name.is_empty()
        && text.match_indices(name).any(|(start, _)| {
            let before = text[..start].chars().next_back();
            let mut after = text[start + name.len()..].chars();
            // A full stop may end the sentence.
            let next = after.next().filter(|c| *c != '.' || after.next().is_some_and(part_of_name));
            !before.is_some_and(part_of_name) && !next.is_some_and(part_of_name)
        })
}

fn trim(message: &str) -> &str {
    let message = message.trim();
    let mut end = message.len().min(MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}
