//! Any bytes as a conversation with a session: the session may refuse and ignore, but must not panic, must come to
//! rest, and must stay within its bounds.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use envoy_api::{discovery::DeltaDiscoveryRequest, well_known::Status};
use ir::resource::ResourceType;
use prost::Message;

use super::{Model, build};
use crate::{Feeds, Session, Settings};

/// Responses after which a session that gets no input must have come to rest.
const RESPONSES: usize = 10_000;

/// Reads choices off a byte string; zeros when it is used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }
}

/// Runs the conversation. Each step is a byte that chooses what happens and some that say how: a request with names
/// and nonce, a change of resources, time, responses, a request decoded from raw bytes.
///
/// # Panics
/// When the session breaks a promise: that is what fuzzing looks for.
pub fn drive(bytes: &[u8]) {
    let settings = Arc::new(Settings { max_names: 256, max_bytes: 512, ..Settings::default() });
    let feeds = Feeds::new(Settings::clone(&settings));
    feeds.apply("fleet", 1, build::small());
    let mut choices = Choices(bytes);
    let mut now = Instant::now();
    let mut session = Session::new(settings, snapshot(&feeds), Vec::new(), now);
    let mut model = Model::new();
    let mut revision = 1;
    let mut last_nonce = String::new();
    while !choices.0.is_empty() {
        match choices.next() % 8 {
            0..=2 => {
                let request = request(&mut choices, &last_nonce);
                if session.request(request, now).is_err() {
                    return;
                }
            }
            3 => {
                revision += 1;
                feeds.apply("fleet", revision, change(&mut choices));
            }
            4 => now += Duration::from_millis(u64::from(choices.next()) * 40),
            5 => {
                let take = usize::from(choices.next()).min(choices.0.len());
                let (raw, rest) = choices.0.split_at(take);
                choices.0 = rest;
                if let Ok(request) = DeltaDiscoveryRequest::decode(raw)
                    && session.request(request, now).is_err()
                {
                    return;
                }
            }
            _ => {
                if let Some(outgoing) = session.poll(now) {
                    last_nonce.clone_from(&outgoing.response.nonce);
                    let answers = model.receive(&outgoing.response);
                    if choices.next() % 4 != 0 {
                        for answer in answers {
                            if session.request(answer, now).is_err() {
                                return;
                            }
                        }
                    }
                }
            }
        }
        refresh(&feeds, &mut session);
    }
    let mut rest = 0;
    while session.poll(now).is_some() {
        rest += 1;
        assert!(rest < RESPONSES, "the session talks for ever");
    }
}

fn snapshot(feeds: &Feeds) -> Arc<crate::Snapshot> {
    feeds.snapshot("fleet").unwrap_or_default()
}

/// Does what a stream's task does after each step.
fn refresh(feeds: &Feeds, session: &mut Session) {
    let feed = feeds.feed("fleet");
    feed.learn(&session.take_events());
    let (snapshot, changes) = feed.latest(session.generation());
    if snapshot.generation() != session.generation() {
        session.set_target(snapshot, &changes);
    }
}

const NAMES: [&str; 6] = ["one", "two", "web", "a.test", "*", "nowhere"];

fn request(choices: &mut Choices<'_>, last_nonce: &str) -> DeltaDiscoveryRequest {
    let kind = usize::from(choices.next() % 6);
    let type_url = ResourceType::ALL.get(kind).map_or("type.googleapis.com/unknown", |k| k.type_url());
    let shape = choices.next();
    let name = |n: u8| NAMES[usize::from(n) % NAMES.len()].to_owned();
    let mut request = DeltaDiscoveryRequest { type_url: type_url.to_owned(), ..Default::default() };
    if shape & 1 != 0 {
        request.resource_names_subscribe.push(name(choices.next()));
    }
    if shape & 2 != 0 {
        request.resource_names_unsubscribe.push(name(choices.next()));
    }
    if shape & 4 != 0 {
        request.response_nonce = last_nonce.to_owned();
    }
    if shape & 8 != 0 {
        request.response_nonce = choices.next().to_string();
    }
    if shape & 16 != 0 {
        request.error_detail = Some(Status { code: 13, message: name(choices.next()), details: Vec::new() });
    }
    if shape & 32 != 0 {
        request.initial_resource_versions.insert(name(choices.next()), choices.next().to_string());
    }
    request
}

fn change(choices: &mut Choices<'_>) -> ir::resource::ResourceUpdate {
    let what = choices.next();
    let cluster = if what & 1 == 0 { "one" } else { "two" };
    let note = if what & 2 == 0 { "good" } else { build::POISON };
    match what >> 2 & 7 {
        0 => build::update([build::cluster(cluster, u32::from(choices.next()))]),
        1 => build::update([build::endpoints(cluster, u16::from(choices.next()))]),
        2 => build::update([build::listener("web", u16::from(choices.next()), "web")]),
        3 | 4 => build::update([
            build::cluster(cluster, 0),
            build::endpoints(cluster, 9),
            build::route(
                "web",
                vec![build::host("a.test", cluster, note), build::host("b.test", "one", "b")],
            ),
        ]),
        5 => build::removal([(ResourceType::Cluster, cluster), (ResourceType::Endpoints, cluster)]),
        6 => build::removal([(ResourceType::Listener, "web")]),
        _ => build::removal([(ResourceType::Route, "web")]),
    }
}
