//! The finalizer of GatewayClasses: a class cannot go while Gateways use it.

use std::{sync::Arc, time::Duration};

use ir::Kind;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use crate::{
    CLASS_GAP,
    call::{ApiServer, Failure, Path, Verb},
    metrics::Metrics,
    queue::{Pace, Verdict},
    work::{Desk, Work},
};

/// The finalizer, by the documentation of `GatewayClass` in Gateway API.
const FINALIZER: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

/// Longest back-off.
const LONGEST: Duration = Duration::from_secs(60);
/// What the roles forbid today they may allow after the next upgrade.
const FORBIDDEN: Duration = Duration::from_secs(60);

/// What is wished of a class, and whether it was found or made so in this term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    in_use: bool,
    settled: bool,
}

/// Takes wishes for finalizers. Clones share.
#[derive(Clone, Debug)]
pub struct ClassWriter(Arc<Classes>);

#[derive(Debug)]
pub(crate) struct Classes {
    desk: Desk<Arc<str>, FxHashMap<Arc<str>, Class>>,
    api: ApiServer,
    metrics: Metrics,
}

impl ClassWriter {
    pub(crate) fn new(api: ApiServer, metrics: Metrics) -> Self {
        let pace = Pace { gap: CLASS_GAP, longest: LONGEST };
        ClassWriter(Arc::new(Classes { desk: Desk::new(FxHashMap::default(), pace), api, metrics }))
    }

    /// A class of ours, and whether any Gateway names it.
    pub fn set(&self, name: &str, in_use: bool) {
        let name: Arc<str> = name.into();
        let mut desk = self.0.desk.open();
        let known = desk.state().insert(name.clone(), Class { in_use, settled: false });
        if let Some(known) = known.filter(|known| known.in_use == in_use) {
            desk.state().insert(name, known);
        } else {
            desk.push(&name);
        }
    }

    /// The class was seen with these finalizers.
    pub fn observe(&self, name: &str, finalizers: &[String]) {
        let mut desk = self.0.desk.open();
        let Some((name, class)) = desk.state().get_key_value(name) else { return };
        if class.in_use == finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            return;
        }
        let (name, in_use) = (name.clone(), class.in_use);
        desk.state().insert(name.clone(), Class { in_use, settled: false });
        desk.push(&name);
    }

    /// The class is gone, or is not ours.
    pub fn gone(&self, name: &str) {
        self.0.desk.open().state().remove(name);
    }

    pub(crate) fn work(&self) -> Arc<Classes> {
        self.0.clone()
    }
}

impl Work for Classes {
    type Key = Arc<str>;
    type State = FxHashMap<Arc<str>, Class>;

    fn desk(&self) -> &Desk<Self::Key, Self::State> {
        &self.desk
    }

    fn begin(&self, state: &mut Self::State) -> Vec<Self::Key> {
        state.values_mut().for_each(|class| class.settled = false);
        state.keys().cloned().collect()
    }

    async fn carry_out(self: Arc<Self>, key: Self::Key) -> Verdict {
        let Some(class) = self.desk.open().state().get(&key).copied() else { return Verdict::Forget };
        if class.settled {
            return Verdict::Done;
        }
        match self.write(&key, class.in_use).await {
            Ok(()) => {
                let mut desk = self.desk.open();
                if let Some(now) = desk.state().get_mut(&key).filter(|now| now.in_use == class.in_use) {
                    now.settled = true;
                }
                Verdict::Done
            }
            Err(Failure::NotFound) => Verdict::Done,
            Err(failure) => {
                if !matches!(failure, Failure::Conflict | Failure::NotLeading) {
                    tracing::warn!(class = %key, reason = %failure, "the finalizer could not be written");
                }
                let rest = if matches!(failure, Failure::Forbidden(_)) { FORBIDDEN } else { Duration::ZERO };
                Verdict::Again(rest)
            }
        }
    }

    fn waiting(&self, depth: usize) {
        self.metrics.waiting("class", depth);
    }
}

impl Classes {
    async fn write(&self, name: &str, in_use: bool) -> Result<(), Failure> {
        let kind = Kind::GatewayClass;
        let path = Path::object(&kind.api_version(), kind.name(), "", name);
        let live = self.api.call(Verb::Get, &path).await?;
        let Some(finalizers) = changed(&live["metadata"], in_use) else { return Ok(()) };
        let patch = json!({ "metadata": {
            "finalizers": finalizers,
            // The list is replaced as a whole, so it must be the one that was read.
            "resourceVersion": live["metadata"]["resourceVersion"],
        } });
        let result = self.api.call(Verb::Merge(patch), &path).await;
        self.metrics.finalizer(&result);
        result.map(|_| ())
    }
}

/// The finalizers to write, or `None` when they are as they should be.
fn changed(metadata: &Value, in_use: bool) -> Option<Vec<Value>> {
    let live = metadata["finalizers"].as_array().cloned().unwrap_or_default();
    let there = live.iter().any(|finalizer| finalizer == FINALIZER);
    // An API server takes no new finalizer for an object that is going.
    if there == in_use || (in_use && metadata["deletionTimestamp"].is_string()) {
        return None;
    }
    let mut finalizers: Vec<Value> = live.into_iter().filter(|finalizer| finalizer != FINALIZER).collect();
    if in_use {
        finalizers.push(FINALIZER.into());
    }
    Some(finalizers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finalizers_of_others_stay() {
        assert_eq!(changed(&json!({ "finalizers": ["a"] }), true), Some(vec!["a".into(), FINALIZER.into()]));
        assert_eq!(changed(&json!({ "finalizers": [FINALIZER, "a"] }), false), Some(vec!["a".into()]));
        assert_eq!(changed(&json!({ "finalizers": [FINALIZER] }), true), None);
        assert_eq!(changed(&json!({}), false), None);
        assert_eq!(changed(&json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }), true), None);
    }
}
