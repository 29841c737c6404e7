//! The protocol, rule by rule, without IO.

mod draining;
mod fragments;
mod gating;
mod properties;
mod protocol;
mod refusals;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use envoy_api::{
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    well_known::Status,
};
use ir::resource::{ResourceType, ResourceUpdate};

use super::Session;
use crate::{Event, Feeds, Settings, fake::Model};

const FLEET: &str = "default/eg";

/// A feed, one session of it, and a clock that the test holds.
struct Rig {
    feeds: Feeds,
    session: Session,
    now: Instant,
    revision: u64,
    /// All that happened.
    events: Vec<Event>,
}

impl Rig {
    fn new(update: ResourceUpdate) -> Self {
        Rig::with(Settings::default(), update)
    }

    fn with(settings: Settings, update: ResourceUpdate) -> Self {
        let feeds = Feeds::new(settings);
        feeds.apply(FLEET, 1, update);
        Rig::of(feeds, 1)
    }

    fn of(feeds: Feeds, revision: u64) -> Self {
        let now = Instant::now();
        let snapshot = feeds.snapshot(FLEET).expect("applied");
        let session =
            Session::new(Arc::clone(feeds.settings()), snapshot, feeds.feed(FLEET).accepted_before(), now);
        Rig { feeds, session, now, revision, events: Vec::new() }
    }

    /// A new stream to the same feeds.
    fn reconnect(&mut self) {
        let mut next = Rig::of(self.feeds.clone(), self.revision);
        next.now = self.now;
        next.events = std::mem::take(&mut self.events);
        *self = next;
    }

    fn apply(&mut self, update: ResourceUpdate) {
        self.revision += 1;
        self.feeds.apply(FLEET, self.revision, update);
        self.refresh();
    }

    /// What the stream's task does after each step.
    fn refresh(&mut self) {
        let feed = self.feeds.feed(FLEET);
        let events = self.session.take_events();
        feed.learn(&events);
        self.events.extend(events);
        let (snapshot, changes) = feed.latest(self.session.generation());
        if snapshot.generation() != self.session.generation() {
            self.session.set_target(snapshot, &changes);
        }
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn request(&mut self, request: DeltaDiscoveryRequest) {
        self.session.request(request, self.now).expect("within limits");
        self.refresh();
    }

    fn subscribe(&mut self, kind: ResourceType, names: &[&str]) {
        self.request(DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: names.iter().map(|n| (*n).to_owned()).collect(),
            ..DeltaDiscoveryRequest::default()
        });
    }

    fn unsubscribe(&mut self, kind: ResourceType, names: &[&str]) {
        self.request(DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_unsubscribe: names.iter().map(|n| (*n).to_owned()).collect(),
            ..DeltaDiscoveryRequest::default()
        });
    }

    fn ack(&mut self, response: &DeltaDiscoveryResponse) {
        self.request(answer(response));
    }

    fn nack(&mut self, response: &DeltaDiscoveryResponse, words: &str) {
        let error_detail = Some(Status { code: 13, message: words.to_owned(), details: Vec::new() });
        self.request(DeltaDiscoveryRequest { error_detail, ..answer(response) });
    }

    fn poll(&mut self) -> Option<DeltaDiscoveryResponse> {
        let outgoing = self.session.poll(self.now);
        self.refresh();
        outgoing.map(|o| o.response)
    }

    /// The next response, which must be there.
    fn next(&mut self) -> DeltaDiscoveryResponse {
        self.poll().expect("a response")
    }

    /// Answers everything that comes now.
    fn acknowledge(&mut self) -> Vec<DeltaDiscoveryResponse> {
        let mut all = Vec::new();
        while let Some(response) = self.poll() {
            self.ack(&response);
            all.push(response);
        }
        all
    }

    /// Begins a stream as the model would.
    fn hello(&mut self, model: &mut Model) {
        for request in model.hello() {
            self.request(request);
        }
        self.follow(model);
    }

    /// Lets the model answer until the session rests.
    fn follow(&mut self, model: &mut Model) {
        for _ in 0..10_000 {
            let Some(response) = self.poll() else { return };
            for request in model.receive(&response) {
                self.request(request);
            }
        }
        panic!("the session does not come to rest: {}", self.session.phase());
    }

    /// Follows through all waiting times.
    fn settle(&mut self, model: &mut Model) {
        self.follow(model);
        while let Some(at) = self.session.deadline() {
            self.now = at;
            self.follow(model);
        }
    }

    fn refusals(&self) -> Vec<(String, Option<String>)> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::Refused(r) => Some((r.name.to_string(), r.fragment.as_ref().map(|f| f.to_string()))),
                _ => None,
            })
            .collect()
    }
}

fn answer(response: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|r| r.name.as_str()).collect()
}

fn kind(response: &DeltaDiscoveryResponse) -> ResourceType {
    ResourceType::from_type_url(&response.type_url).expect("a type that is served")
}
