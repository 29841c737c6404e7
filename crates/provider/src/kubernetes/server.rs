//! Requests to the API server, and what can go wrong with them.

use std::{error::Error, fmt, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::Deserialize;
use tokio::time::timeout;

/// Most bytes of an error's body that are read. A `Status` is some hundred bytes.
const ERROR_BODY: usize = 64 * 1024;

/// Longest event of a watch. Objects are bounded by etcd's 1.5 MiB, and JSON of binary data grows by a third.
const EVENT: usize = 16 * 1024 * 1024;

/// What a failure means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The permission is missing (403).
    Forbidden,
    /// The resource, or the object, is not there (404).
    NotFound,
    /// The version to go on from is forgotten (410): list again.
    Expired,
    /// The request is not understood (400, 422).
    Refused,
    /// The answer is not what it should be: truncated, or no JSON.
    Garbled,
    /// Anything that may pass: no connection, too many requests.
    Passing,
}

impl Failure {
    /// True when a watch cannot go on where it was: the place is forgotten or not understood, or what came is lost.
    pub(super) fn loses_position(&self) -> bool {
        matches!(self.kind, FailureKind::Expired | FailureKind::Refused | FailureKind::Garbled)
    }
}

/// A request that failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// What happened, in words.
    pub(super) message: String,
    /// How long the API server asks to wait.
    pub(super) retry_after: Option<Duration>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// A failure that may pass.
    pub(super) fn passing(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Passing, message: message.into(), retry_after: None }
    }

    /// An answer that cannot be read.
    pub(super) fn garbled(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Garbled, message: message.into(), retry_after: None }
    }

    fn transport(error: &(dyn Error + 'static)) -> Failure {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message.push_str(": ");
                message.push_str(&cause_text);
            }
            source = cause.source();
        }
        Failure::passing(message)
    }

    /// What a `Status` says that comes as an event of a watch, or as the body of an error.
    pub(super) fn from_status(code: StatusCode, body: &[u8]) -> Failure {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let code = status.code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(code);
        let kind = match code {
            StatusCode::FORBIDDEN => FailureKind::Forbidden,
            StatusCode::NOT_FOUND => FailureKind::NotFound,
            StatusCode::GONE => FailureKind::Expired,
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => FailureKind::Refused,
            _ if matches!(status.reason.as_str(), "Expired" | "Gone") => FailureKind::Expired,
            _ => FailureKind::Passing,
        };
        let message = if status.message.is_empty() { code.to_string() } else { status.message };
        let seconds = status.details.and_then(|details| details.retry_after_seconds).filter(|s| *s > 0);
        Failure { kind, message, retry_after: seconds.map(Duration::from_secs) }
    }
}

/// The part of Kubernetes' `Status` that is read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    code: Option<u16>,
    reason: String,
    message: String,
    details: Option<Details>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

/// The API server.
#[derive(Clone)]
pub(super) struct Server {
    client: kube::Client,
    answer: Duration,
}

impl Server {
    /// `answer` is the time for an answer to begin, and for a whole body that is no stream.
    pub(super) fn new(client: kube::Client, answer: Duration) -> Server {
        Server { client, answer }
    }

    /// The whole body of an answer.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes, Failure> {
        let response = self.ask(path).await?;
        let body = timeout(self.answer, response.into_body().collect()).await;
        let body = body.map_err(|_| slow(self.answer))?.map_err(|error| Failure::transport(&error))?;
        Ok(body.to_bytes())
    }

    /// An answer that is a stream of lines.
    pub(super) async fn stream(&self, path: &str) -> Result<Lines, Failure> {
        let response = self.ask(path).await?;
        Ok(Lines { body: response.into_body(), buffer: BytesMut::new() })
    }

    async fn ask(&self, path: &str) -> Result<Response<Body>, Failure> {
        let request = Request::get(path)
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Body::empty())
            .map_err(|error| Failure::transport(&error))?;
        let response = timeout(self.answer, self.client.send(request)).await;
        let response =
            response.map_err(|_| slow(self.answer))?.map_err(|error| Failure::transport(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let seconds =
            parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = timeout(self.answer, Limited::new(body, ERROR_BODY).collect()).await;
        let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        let mut failure = Failure::from_status(parts.status, &body);
        failure.retry_after = seconds.map(Duration::from_secs).or(failure.retry_after);
        Err(failure)
    }
}

fn slow(limit: Duration) -> Failure {
    Failure::passing(format!("no answer within {} s", limit.as_secs_f32()))
}

/// A body, split into lines.
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
}

impl Lines {
    /// The next lines that are there, at least one; none at the end. A line that the end cuts off is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Bytes>>, Failure> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| Failure::transport(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            let searched = self.buffer.len();
            self.buffer.extend_from_slice(&data);
            let lines = self.split(searched);
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
            if self.buffer.len() > EVENT {
                return Err(Failure::passing(format!(
                    "an event is longer than {} MiB",
                    EVENT / (1024 * 1024)
                )));
            }
        }
    }

    /// Takes whole lines; before `searched` there is no end of line.
    fn split(&mut self, mut searched: usize) -> Vec<Bytes> {
        let mut lines = Vec::new();
        while let Some(end) = self.buffer.iter().skip(searched).position(|byte| *byte == b'\n') {
            let line = self.buffer.split_to(searched + end).freeze();
            self.buffer.advance(1);
            searched = 0;
            if !line.is_empty() {
                lines.push(line);
            }
        }
        lines
    }
}
