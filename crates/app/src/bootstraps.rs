//! What Envoy itself says of bootstraps that users change, where an Envoy is at hand.

use std::sync::{Arc, Mutex, PoisonError};

use ::ir::{ObjectRef, Problem, infra::Wish};
use host::{EnvoyBinary, Validator, Verdict};
use infra::Draft;
use pipeline::Pipeline;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Bootstraps that may wait for Envoy. One that finds no room is asked about at the next look, which every answer brings.
const QUEUE: usize = 64;

/// Asks Envoy about bootstraps. Clones share.
#[derive(Clone, Debug)]
pub(crate) struct Bootstraps {
    /// `None` where nobody is asked.
    shared: Option<Arc<Shared>>,
    answers: watch::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    validator: Validator,
    /// What somebody waits for, and where the task takes it from that asks.
    questions: mpsc::Sender<Draft>,
    inbox: Mutex<Option<mpsc::Receiver<Draft>>>,
}

/// What is known of a bootstrap without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing is known against it.
    Usable,
    /// Envoy refuses it, with these words.
    Refused(String),
    /// Envoy is being asked.
    Asked,
}

impl Bootstraps {
    /// Nobody is asked, and nothing is known against any bootstrap.
    pub(crate) fn unasked() -> Bootstraps {
        Bootstraps { shared: None, answers: watch::Sender::default() }
    }

    /// Asks the Envoy that is found as [`EnvoyBinary::locate`] finds it; without one nobody is asked.
    pub(crate) async fn locate() -> Bootstraps {
        match EnvoyBinary::locate(None).await {
            Ok(envoy) => Bootstraps::of(Validator::new(envoy.path)),
            Err(error) => {
                tracing::debug!("bootstraps are not shown to Envoy: {error}");
                Bootstraps::unasked()
            }
        }
    }

    /// Asks this one.
    pub(crate) fn of(validator: Validator) -> Bootstraps {
        let (questions, inbox) = mpsc::channel(QUEUE);
        let inbox = Mutex::new(Some(inbox));
        let shared = Some(Arc::new(Shared { validator, questions, inbox }));
        Bootstraps { shared, ..Bootstraps::unasked() }
    }

    /// What is known of a bootstrap; asks when nothing is. [`Bootstraps::answers`] tells when more is known.
    pub(crate) fn look(&self, draft: Draft) -> Known {
        let Some(shared) = &self.shared else { return Known::Usable };
        shared.known(&draft).unwrap_or_else(|| {
            // This is the pipeline's thread, which must not wait: while there is no room, answers are under way. The task
            // ends with the process; then nobody waits for one.
            let _ = shared.questions.try_send(draft);
            Known::Asked
        })
    }

    /// Changes whenever Envoy has answered.
    pub(crate) fn answers(&self) -> watch::Receiver<()> {
        self.answers.subscribe()
    }

    /// Asks Envoy what [`Bootstraps::look`] wants to know, until told to stop.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let asking = async {
            let inbox = |shared: &Shared| shared.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(shared) = &self.shared
                && let Some(mut inbox) = inbox(shared)
            {
                while let Some(draft) = inbox.recv().await {
                    shared.ask(&draft).await;
                    self.answers.send_replace(());
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = asking => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Shared {
    fn known(&self, draft: &Draft) -> Option<Known> {
        let Verdict::Refused(words) = self.validator.known(&draft.changed)? else {
            return Some(Known::Usable);
        };
        // What Envoy refuses here without the change, too, is no fault of the change: this machine lacks something.
        let sound = self.validator.known(&draft.base)? == Verdict::Accepted;
        Some(if sound { Known::Refused(words) } else { Known::Usable })
    }

    async fn ask(&self, draft: &Draft) -> Known {
        match self.validator.verdict(&draft.changed, &draft.mounted).await {
            Verdict::Accepted => return Known::Usable,
            Verdict::Unknown(why) => {
                tracing::warn!("a bootstrap could not be shown to Envoy: {why}");
                return Known::Usable;
            }
            Verdict::Refused(_) => {}
        }
        self.validator.verdict(&draft.base, &draft.mounted).await;
        self.known(draft).unwrap_or(Known::Usable)
    }
}

/// The objects that are told when Envoy refuses the bootstrap of a fleet, beside its Gateways: the EnvoyProxy that changes
/// it, and the class whose EnvoyProxy that is.
pub(crate) fn concerned(wish: &Wish, pipeline: &Pipeline) -> impl Iterator<Item = ObjectRef> {
    let store = pipeline.store();
    let class = &wish.class.object;
    let parameters = store.find(class).and_then(|id| store.fact(id)).and_then(store::Fact::parameters);
    let of_class = parameters.and_then(|id| store.object(id));
    let blamed = (of_class == wish.bootstrap_of.as_ref()).then(|| class.clone());
    wish.bootstrap_of.clone().into_iter().chain(blamed)
}

/// What Envoy has against the bootstraps of all fleets of a pipeline, each once. Looks for Envoy only where a user changes
/// one.
pub(crate) async fn problems(pipeline: &Pipeline) -> Vec<Problem> {
    let context = infra::Context { installation: &pipeline.store().settings().installation, ca: None };
    let wishes = pipeline.wishes().filter(|wish| !wish.on_hold);
    let drafts: Vec<(&Wish, Draft)> =
        wishes.filter_map(|wish| Some((&**wish, infra::draft(wish, &context)?))).collect();
    if drafts.is_empty() {
        return Vec::new();
    }
    let Some(shared) = Bootstraps::locate().await.shared else { return Vec::new() };
    let mut problems = Vec::new();
    for (wish, draft) in drafts {
        if let Known::Refused(words) = shared.ask(&draft).await {
            let problem = ::check::refused_bootstrap(wish, &words);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}
