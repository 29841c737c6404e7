//! The search for what Envoy refuses in a route configuration: halves of the suspects are tried until single virtual
//! hosts are left. Everything that is not suspect is served meanwhile.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use ir::resource::{Fragment, Resource};

use super::holders::{Base, for_each_new_fragment};

/// A part of a route configuration that can be at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All but the virtual hosts.
    Head(Bytes),
    /// The virtual host of this name with this content hash.
    Host(Arc<str>, u64),
}

/// Suspects in groups. The first group is part of the next body, the others are not.
#[derive(Debug, Default)]
pub(super) struct Trial {
    groups: VecDeque<Vec<Part>>,
    rounds: usize,
}

/// What a refusal means for the search.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Go on with the next body.
    TryAgain,
    /// This part alone is at fault.
    Guilty(Part),
    /// It cannot be told apart: the whole version is refused.
    Whole,
}

impl Trial {
    /// True when the fragment must not be part of the next body.
    pub(super) fn excludes(&self, fragment: &Fragment) -> bool {
        self.excluded().any(|part| match part {
            Part::Host(name, hash) => *name == fragment.name && *hash == fragment.hash,
            Part::Head(_) => false,
        })
    }

    /// True when the next body must have the head that the proxy accepted before.
    pub(super) fn excludes_head(&self, head: &Bytes) -> bool {
        self.excluded().any(|part| matches!(part, Part::Head(suspect) if suspect == head))
    }

    fn excluded(&self) -> impl Iterator<Item = &Part> {
        self.groups.iter().skip(1).flatten()
    }

    /// The body with the first group was accepted. True when nothing is left to try.
    pub(super) fn accepted(&mut self) -> bool {
        self.groups.pop_front();
        self.groups.is_empty()
    }

    /// The body with the first group was refused.
    pub(super) fn refused(&mut self, body: &Resource, base: &Base, message: &str, limit: usize) -> Finding {
        self.groups.pop_front();
        self.rounds += 1;
        let parts = new_parts(body, base);
        if parts.is_empty() || self.rounds > limit {
            return Finding::Whole;
        }
        let fresh = matches!(base, Base::Nothing);
        if let [part] = parts.as_slice()
            && !(fresh && self.rounds == 1)
        {
            return Finding::Guilty(part.clone());
        }
        let (named, rest): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|part| is_named(part, body, message));
        if named.is_empty() {
            let mut rest = rest;
            let half = rest.split_off(rest.len() / 2);
            self.groups.push_front(half);
            if !rest.is_empty() {
                self.groups.push_front(rest);
            }
        } else {
            named.into_iter().rev().for_each(|part| self.groups.push_front(vec![part]));
            if !rest.is_empty() {
                self.groups.push_front(rest);
            }
        }
        if fresh && self.rounds == 1 {
            // Nothing was ever accepted: try the body without virtual hosts first, or the head would be looked
            // for in all of them.
            self.groups.push_front(Vec::new());
        }
        Finding::TryAgain
    }
}

/// What the body has and the accepted one has not.
fn new_parts(body: &Resource, base: &Base) -> Vec<Part> {
    let mut parts = Vec::new();
    if let Base::Body(base) = base
        && base.head != body.head
    {
        parts.push(Part::Head(body.head.clone()));
    }
    for_each_new_fragment(&body.fragments, base.fragments(), |fragment, _| {
        parts.push(Part::Host(Arc::clone(&fragment.name), fragment.hash));
    });
    parts
}

/// True when Envoy's words name the virtual host, or give its position as protobuf validation does
/// (`VirtualHosts[3]`).
fn is_named(part: &Part, body: &Resource, message: &str) -> bool {
    let Part::Host(name, _) = part else { return false };
    if super::refusal::mentions(message, name) {
        return true;
    }
    let place = body.fragments.iter().position(|f| f.name == *name);
    place.is_some_and(|place| message.contains(&format!("VirtualHosts[{place}]")))
}
