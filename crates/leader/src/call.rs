//! One call to the API server: its path, its deadline, and what an answer means.

use std::{fmt, sync::Arc, time::Duration};

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kube::{Client, api::GroupVersionKind, client::Body, discovery::ApiResource};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::{gate::Gate, limit::Limiter};

/// Longest wait for an answer. An API server in trouble may take some seconds; the term ends calls earlier.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read: lists of one fleet's objects are far below.
const MAX_ANSWER: usize = 64 << 20;
/// How long an API server that says "too many requests" without a time is left alone, and one that does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause that an API server may ask for: beyond it, trying is better than obeying.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no such object, or no such kind.
    #[error("it does not exist")]
    NotFound,
    /// The object has changed meanwhile.
    #[error("it has changed meanwhile")]
    Conflict,
    /// The API server wants to be left alone for so long.
    #[error("the API server is busy")]
    Busy(Duration),
    /// The document is too large for the API server or its store.
    #[error("it is too large for the API server")]
    TooLarge,
    /// The API server refuses the document.
    #[error("the API server refuses it: {0}")]
    Invalid(String),
    /// We may not do that.
    #[error("the controller may not do this; compare its roles: {0}")]
    Forbidden(String),
    /// The API server failed.
    #[error("the API server failed: {0}")]
    Server(String),
    /// No answer.
    #[error("no answer from the API server: {0}")]
    Unreachable(String),
    /// This process does not lead any more.
    #[error("another replica leads now")]
    NotLeading,
}

impl Failure {
    /// A word for metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Failure::NotFound => "not_found",
            Failure::Conflict => "conflict",
            Failure::Busy(_) => "busy",
            Failure::TooLarge => "too_large",
            Failure::Invalid(_) => "invalid",
            Failure::Forbidden(_) => "forbidden",
            Failure::Server(_) => "server",
            Failure::Unreachable(_) => "unreachable",
            Failure::NotLeading => "not_leading",
        }
    }
}

/// The path of an object, or of all objects of a kind.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Path(String);

impl Path {
    /// All objects of a kind, in one namespace or (empty) in all of them; for cluster-scoped kinds pass none.
    pub(crate) fn all(api_version: &str, kind: &str, namespace: &str) -> Path {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let root = if group.is_empty() { "/api" } else { "/apis" };
        let scope = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
        Path(format!("{root}/{api_version}{scope}/{}", resource.plural))
    }

    /// One object.
    pub(crate) fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> Path {
        Path(format!("{}/{name}", Path::all(api_version, kind, namespace).0))
    }

    /// The object's status.
    pub(crate) fn status(self) -> Path {
        Path(self.0 + "/status")
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Verb {
    /// Read.
    Get,
    /// Read all with these labels.
    List {
        /// A label selector.
        selector: String,
    },
    /// Create.
    Create(Value),
    /// Replace; a `resourceVersion` in the document is a precondition.
    Replace(Value),
    /// Merge patch (RFC 7396).
    Merge(Value),
    /// Server-side apply as this field manager, taking fields from others.
    Apply {
        /// Field manager.
        manager: &'static str,
        /// The document.
        document: Value,
    },
    /// Delete if it still is this object; dependants go afterwards.
    Delete {
        /// `metadata.uid`; none for whatever is there.
        uid: Option<String>,
    },
}

/// Calls of the leader: each passes the gate and the rate limit.
#[derive(Clone)]
pub(crate) struct ApiServer {
    client: Client,
    gate: Arc<Gate>,
    limiter: Arc<Limiter>,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiServer")
    }
}

impl ApiServer {
    pub(crate) fn new(client: Client, gate: Arc<Gate>, limiter: Arc<Limiter>) -> Self {
        ApiServer { client, gate, limiter }
    }

    /// Makes a call when its turn comes, if this process leads then, and ends it when it does not any more.
    pub(crate) async fn call(&self, verb: Verb, path: &Path) -> Result<Value, Failure> {
        let over = self.gate.over().ok_or(Failure::NotLeading)?;
        tokio::select! {
            biased;
            () = over.cancelled() => return Err(Failure::NotLeading),
            () = self.limiter.turn() => {}
        }
        let pass = self.gate.pass().ok_or(Failure::NotLeading)?;
        let longest = Instant::now() + CALL_TIMEOUT;
        let deadline = pass.until.map_or(longest, |until| until.min(longest));
        let answer = tokio::select! {
            biased;
            () = pass.over.cancelled() => Err(Failure::NotLeading),
            answer = send(&self.client, verb, path, deadline) => answer,
        };
        match &answer {
            Err(Failure::Busy(pause)) => self.limiter.pause(*pause),
            Err(Failure::Unreachable(_)) => self.limiter.pause(PAUSE),
            _ => {}
        }
        answer
    }
}

/// One request and its answer, without gate and limits: the election uses it as it is.
pub(crate) async fn send(
    client: &Client,
    verb: Verb,
    path: &Path,
    deadline: Instant,
) -> Result<Value, Failure> {
    // The API server gives up too, so that a request that it has taken does not outlive our term by much.
    // It takes whole seconds here; a request that has less is not worth sending, but half a second may do.
    let seconds = deadline.saturating_duration_since(Instant::now()).as_secs().max(1);
    let request = request(verb, path, seconds).map_err(|error| Failure::Invalid(error.to_string()))?;
    match timeout_at(deadline, exchange(client, request)).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::Unreachable("it took too long".to_owned())),
    }
}

fn request(verb: Verb, path: &Path, seconds: u64) -> Result<Request<Body>, http::Error> {
    const JSON: &str = "application/json";
    let timeout = format!("timeout={seconds}s");
    let (method, query, content, document) = match verb {
        Verb::Get => (Method::GET, String::new(), JSON, None),
        Verb::List { selector } => (Method::GET, format!("labelSelector={}", encoded(&selector)), JSON, None),
        Verb::Create(document) => (Method::POST, timeout, JSON, Some(document)),
        Verb::Replace(document) => (Method::PUT, timeout, JSON, Some(document)),
        Verb::Merge(document) => (Method::PATCH, timeout, "application/merge-patch+json", Some(document)),
        Verb::Apply { manager, document } => {
            let query = format!("{timeout}&fieldManager={manager}&force=true");
            // YAML, of which JSON is a part, is the content type that every API server with this verb takes.
            (Method::PATCH, query, "application/apply-patch+yaml", Some(document))
        }
        Verb::Delete { uid } => {
            let mut options = serde_json::json!({
                "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background",
            });
            if let Some(uid) = uid {
                options["preconditions"] = serde_json::json!({ "uid": uid });
            }
            (Method::DELETE, timeout, JSON, Some(options))
        }
    };
    let uri = if query.is_empty() { path.0.clone() } else { format!("{}?{query}", path.0) };
    let body = document.map_or_else(Vec::new, |document| document.to_string().into_bytes());
    Request::builder()
        .method(method)
        .uri(uri)
        .header(header::ACCEPT, JSON)
        .header(header::CONTENT_TYPE, content)
        .body(Body::from(body))
}

/// A value in a query: all but letters, digits and a few signs as bytes in hexadecimal.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3 / 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

async fn exchange(client: &Client, request: Request<Body>) -> Result<Value, Failure> {
    let answer = client.send(request).await.map_err(|error| Failure::Unreachable(causes(&error)))?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| Failure::Unreachable(causes(error.as_ref())))?
        .to_bytes();
    if head.status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| Failure::Server(format!("no JSON: {error}")));
    }
    let wait = head.headers.get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
    Err(refusal(head.status, wait.map(Duration::from_secs), &body))
}

/// What an answer that is no success means.
fn refusal(status: StatusCode, wait: Option<Duration>, body: &[u8]) -> Failure {
    let words = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|status| status["message"].as_str().map(str::to_owned))
        .unwrap_or_else(|| format!("status {status}"));
    match status {
        StatusCode::NOT_FOUND => Failure::NotFound,
        StatusCode::CONFLICT => Failure::Conflict,
        StatusCode::PAYLOAD_TOO_LARGE => Failure::TooLarge,
        // etcd's own limit comes through as a failure of the server, known by its words alone.
        _ if words.contains("request is too large") => Failure::TooLarge,
        StatusCode::TOO_MANY_REQUESTS => Failure::Busy(wait.unwrap_or(PAUSE).min(MAX_PAUSE)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Forbidden(words),
        _ if status.is_client_error() => Failure::Invalid(words),
        // A server that fails and says when to come again is busy (as while it starts or stops).
        _ => wait.map_or(Failure::Server(words), |wait| Failure::Busy(wait.min(MAX_PAUSE))),
    }
}

/// An error with its causes; the outermost of a client says little.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words.push_str(": ");
            words.push_str(&cause_words);
        }
        next = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(Path::all("v1", "Service", "a").0, "/api/v1/namespaces/a/services");
        assert_eq!(Path::all("apps/v1", "Deployment", "").0, "/apis/apps/v1/deployments");
        let path = |version, kind| Path::object(version, kind, "a", "b").status().0;
        assert_eq!(
            path("gateway.networking.k8s.io/v1", "Gateway"),
            "/apis/gateway.networking.k8s.io/v1/namespaces/a/gateways/b/status"
        );
        for (kind, plural) in [
            ("GatewayClass", "gatewayclasses"),
            ("HTTPRoute", "httproutes"),
            ("Backend", "backends"),
            ("BackendTLSPolicy", "backendtlspolicies"),
            ("EnvoyProxy", "envoyproxies"),
            ("ListenerSet", "listenersets"),
            ("HorizontalPodAutoscaler", "horizontalpodautoscalers"),
            ("PodDisruptionBudget", "poddisruptionbudgets"),
            ("DaemonSet", "daemonsets"),
            ("ServiceAccount", "serviceaccounts"),
            ("ConfigMap", "configmaps"),
        ] {
            assert!(Path::all("x/v1", kind, "").0.ends_with(plural), "{kind}");
        }
    }

    #[test]
    fn answers_mean_what_they_say() {
        let of = |code: u16, wait: Option<u64>, body: &str| {
            refusal(StatusCode::from_u16(code).unwrap(), wait.map(Duration::from_secs), body.as_bytes())
        };
        assert_eq!(of(404, None, ""), Failure::NotFound);
        assert_eq!(of(409, None, ""), Failure::Conflict);
        assert_eq!(of(413, None, ""), Failure::TooLarge);
        assert_eq!(of(500, None, r#"{"message":"etcdserver: request is too large"}"#), Failure::TooLarge);
        assert_eq!(of(429, Some(7), ""), Failure::Busy(Duration::from_secs(7)));
        assert_eq!(of(429, None, ""), Failure::Busy(PAUSE));
        assert_eq!(of(429, Some(100_000), ""), Failure::Busy(MAX_PAUSE));
        assert_eq!(of(503, Some(1), ""), Failure::Busy(Duration::from_secs(1)));
        assert_eq!(of(422, None, r#"{"message":"no"}"#), Failure::Invalid("no".into()));
        assert_eq!(of(403, None, r#"{"message":"no"}"#), Failure::Forbidden("no".into()));
        assert_eq!(of(500, None, "x"), Failure::Server("status 500 Internal Server Error".into()));
    }

    #[test]
    fn selectors_are_encoded() {
        assert_eq!(encoded("a.b/c=d,e"), "a.b%2Fc%3Dd%2Ce");
    }
}
