//! Identity by a service account token that is bound to the Pod.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use envoy_api::core::Node;
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;

use super::{Authorizer, BearerToken, Denied, Grant, Peer, Pods, ProxyPod, pods::unknown};

/// How long a token counts as good after a review. Kubernetes' own components trust a review for 2 minutes; half of
/// it spares the API server a proxy's repeated attempts, and a token that was taken back is of no use after it.
const TRUST: Duration = Duration::from_secs(60);
/// Reviews at once: all proxies come at once after a restart of the control plane, and the API server has others to
/// serve.
const REVIEWS: usize = 16;
/// Reviews that are remembered. One per proxy within [`TRUST`]: 4,096 are more than one control plane serves.
const REMEMBERED: usize = 4_096;

/// What the API server says about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIdentity {
    /// Namespace of the service account, and of the Pod.
    pub namespace: String,
    /// Name of the Pod that the token is bound to.
    pub pod: String,
    /// The Pod's `metadata.uid`, if the API server tells it.
    pub pod_uid: Option<String>,
}

/// Why a review gave no identity. Each holds a sentence for the proxy's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// The token is not good, not for this audience, or bound to no Pod.
    #[error("{0}")]
    Refused(String),
    /// The API server did not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// Asks the API server about tokens.
#[tonic::async_trait]
pub trait TokenReviewer: Send + Sync + 'static {
    /// Whom the token stands for, if it is meant for this audience.
    ///
    /// # Errors
    /// When it stands for no Pod, or nobody can tell.
    async fn review(&self, token: &BearerToken, audience: &str) -> Result<TokenIdentity, ReviewError>;
}

/// SHA-256 of a token, so that memory holds no credentials.
type Digest = [u8; 32];

/// For proxies with a token of their own: it proves the Pod. The fleet is that of the Pod, whatever the node claims
/// for a cluster.
pub struct ByToken {
    pods: Pods,
    reviewer: Arc<dyn TokenReviewer>,
    audience: String,
    reviews: Semaphore,
    trusted: Mutex<FxHashMap<Digest, (Instant, TokenIdentity)>>,
}

impl ByToken {
    /// Tokens must be meant for this audience.
    pub fn new(pods: Pods, reviewer: impl TokenReviewer, audience: &str) -> Self {
        ByToken {
            pods,
            reviewer: Arc::new(reviewer),
            audience: audience.to_owned(),
            reviews: Semaphore::new(REVIEWS),
            trusted: Mutex::default(),
        }
    }

    async fn identity(&self, token: &BearerToken) -> Result<TokenIdentity, Denied> {
        let digest = digest(token);
        if let Some(known) = self.remembered(&digest) {
            return Ok(known);
        }
        // The semaphore is never closed.
        let _permit = self.reviews.acquire().await;
        if let Some(known) = self.remembered(&digest) {
            return Ok(known);
        }
        let reviewed = self.reviewer.review(token, &self.audience).await.map_err(|error| match error {
            ReviewError::Refused(reason) => Denied::Unauthenticated(reason),
            ReviewError::Unavailable(reason) => Denied::Unavailable(reason),
        })?;
        self.remember(digest, reviewed.clone());
        Ok(reviewed)
    }

    fn remembered(&self, digest: &Digest) -> Option<TokenIdentity> {
        let trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        trusted.get(digest).filter(|(until, _)| *until > Instant::now()).map(|(_, identity)| identity.clone())
    }

    fn remember(&self, digest: Digest, identity: TokenIdentity) {
        let now = Instant::now();
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if trusted.len() >= REMEMBERED {
            trusted.retain(|_, (until, _)| *until > now);
        }
        if trusted.len() < REMEMBERED {
            trusted.insert(digest, (now + TRUST, identity));
        }
    }
}

#[tonic::async_trait]
impl Authorizer for ByToken {
    async fn authorize(&self, peer: &Peer, node: &Node) -> Result<Grant, Denied> {
        let Some(token) = &peer.token else {
            return Err(Denied::Unauthenticated(
                "the request carries no service account token in `authorization: Bearer`".to_owned(),
            ));
        };
        let identity = self.identity(token).await?;
        if identity.pod != node.id {
            return Err(Denied::Forbidden(format!(
                "the token is that of Pod {}/{}, the node id is {:?}: start Envoy with --service-node and the name \
                 of its Pod",
                identity.namespace, identity.pod, node.id
            )));
        }
        let proved = identity.clone();
        let judge = move |pod: Option<&ProxyPod>| is_it(pod, &proved);
        let pod = self.pods.find(&identity.namespace, &identity.pod, &judge).await?;
        Ok(self.pods.grant(&pod, judge))
    }
}

/// Finds nothing against the very Pod that the token is bound to.
fn is_it(pod: Option<&ProxyPod>, identity: &TokenIdentity) -> Result<(), Denied> {
    let Some(pod) = pod else { return Err(unknown(&identity.namespace, &identity.pod)) };
    match &identity.pod_uid {
        Some(uid) if **uid != *pod.uid => Err(Denied::Forbidden(format!(
            "the token is that of another Pod with the name {}/{}",
            identity.namespace, identity.pod
        ))),
        _ => Ok(()),
    }
}

fn digest(token: &BearerToken) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, token.expose().as_bytes()).as_ref());
    digest
}
