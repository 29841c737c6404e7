//! The check of a running gateway: findings as metrics and, in a cluster, as Events.
//!
//! It looks when the gateway has come to rest, and seldom, because it looks at everything on the pipeline's thread, where
//! changes wait for its end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ::check::{Code, Finding, Severity};
use ::ir::{ObjectRef, Problem};
use leader::{Event, EventWriter};
use pipeline::Pipeline;
use tokio::{sync::watch, time::timeout};

use crate::{
    check::Wanted,
    control::{Control, View},
};

/// Time without a commit after which it looks.
const REST: Duration = Duration::from_secs(2);
/// Longest that it waits for such a time, and least time between two looks.
const PAUSE: Duration = Duration::from_secs(30);
/// A look may take one part in this of the time, should everything be so much that it takes longer than expected.
const SHARE: u32 = 100;
/// Longest time between two looks: certificates come near their end without a commit.
const LONGEST: Duration = Duration::from_secs(600);
/// Most Events at a time, the worst findings first: statuses say the same of each object, and an API server that keeps
/// more for an hour is no better to read.
const MOST_EVENTS: usize = 500;

/// What was found last.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How many findings there are of each code; those that there are.
    pub counts: BTreeMap<&'static str, (&'static Code, usize)>,
    /// The end of each certificate that a listener shows, in seconds since 1970, by Secret.
    pub certificates: BTreeMap<ObjectRef, i64>,
}

/// Looks whenever the gateway has changed, and keeps what it found. Clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watchdog(Arc<Mutex<Arc<Found>>>);

impl Watchdog {
    /// What was found last; nothing before the first look.
    pub(crate) fn found(&self) -> Arc<Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks from the first commit on, until the process ends. Errors and warnings become Events where there is
    /// somebody to write them. `more` tells what else is wrong that the pipeline does not know of.
    pub(crate) async fn run(
        &self,
        control: &Control,
        events: Option<EventWriter>,
        more: impl Fn(&Pipeline) -> Vec<Problem> + Clone + Send + 'static,
    ) {
        let mut commits = control.view();
        if commits.wait_for(|view| view.revision > 0).await.is_err() {
            return;
        }
        loop {
            let _ = timeout(PAUSE, rest(&mut commits)).await;
            let mut wrong = commits.borrow_and_update().loading.to_vec();
            let more = more.clone();
            let looked = control.query(move |pipeline| {
                let begin = Instant::now();
                wrong.extend(more(pipeline));
                let findings = Wanted::everything().findings(pipeline, &wrong, &[]);
                let certificates = ::check::certificates(pipeline);
                (findings, certificates, begin.elapsed())
            });
            let Some((findings, certificates, took)) = looked.await else { return };
            if let Some(events) = &events {
                events.set(told(&findings));
            }
            let mut found = Found { certificates, ..Found::default() };
            for finding in &findings {
                found.counts.entry(finding.code.id).or_insert((finding.code, 0)).1 += 1;
            }
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(found);
            tokio::time::sleep(PAUSE.max(took * SHARE)).await;
            if let Ok(Err(_)) = timeout(LONGEST, commits.changed()).await {
                return;
            }
        }
    }
}

/// Completes when no commit has come for a while.
async fn rest(commits: &mut watch::Receiver<View>) {
    while let Ok(Ok(())) = timeout(REST, commits.changed()).await {}
}

/// What is said of findings, at most one Event for each object and code: on the object whose author can mend it.
fn told(findings: &[Finding]) -> Vec<Event> {
    let mut events: BTreeMap<_, (&Finding, usize)> = BTreeMap::new();
    let said = findings.iter().filter(|finding| finding.severity() > Severity::Info);
    for finding in said {
        let Some(place) = finding.places.first().filter(|place| place.object.kind != "File") else {
            continue;
        };
        if events.len() < MOST_EVENTS || events.contains_key(&(&place.object, finding.code.id)) {
            events.entry((&place.object, finding.code.id)).or_insert((finding, 0)).1 += 1;
        }
    }
    let event = |((object, id), (finding, count)): ((&::ir::problem::Subject, &str), (&Finding, usize))| {
        let field = finding.places.first().map_or("", |place| &*place.field);
        let at = if field.is_empty() { String::new() } else { format!("{field}: ") };
        let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
        let message = format!("{id} {at}{}{more}. {}.", finding.message, finding.code.fix);
        Event { object: object.clone(), reason: camel_case(finding.code.name), message }
    };
    events.into_iter().map(event).collect()
}

/// `CertificateExpiring` for `certificate-expiring`.
fn camel_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use pipeline::{ChangeSet, Pipeline, Settings};
    use serde_json::{Value, json};

    use super::*;

    fn object(document: &Value) -> api::Object {
        api::Object::from_json(document).unwrap()
    }

    #[test]
    fn one_event_for_each_object_and_code() {
        let gateway = |name: &str| {
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
                "metadata": { "namespace": "default", "name": name },
                "spec": {
                    "gatewayClassName": "eg",
                    "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
                },
            })
        };
        let backends: Vec<Value> =
            (0..3).map(|i| json!({ "name": format!("gone-{i}"), "port": 80 })).collect();
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "namespace": "default", "name": "web" },
            "spec": {
                "parentRefs": [{ "name": "eg" }],
                "rules": [{ "backendRefs": backends }],
            },
        });
        let mut pipeline = Pipeline::new(Settings {
            implicit_gateway_class: true,
            implicit_namespaces: true,
            ..Settings::default()
        });
        let apply = vec![object(&gateway("eg")), object(&gateway("unused")), object(&route)];
        pipeline.commit(ChangeSet { apply, ..ChangeSet::default() });
        let findings = Wanted::everything().findings(&pipeline, &[], &[]);
        assert!(
            findings.iter().any(|finding| finding.code.id == "FG106"),
            "an info, of which nothing is said"
        );
        let events = told(&findings);
        let [event] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&*event.object.kind, &*event.object.name), ("HTTPRoute", "web"));
        assert_eq!(event.reason, "BackendMissing");
        assert!(event.message.starts_with("FG401 spec.rules[0].backendRefs[0]: "), "{}", event.message);
        assert!(event.message.contains(" (and 2 more). "), "{}", event.message);
    }
}
