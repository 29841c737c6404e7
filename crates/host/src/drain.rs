//! Ending a proxy without cutting off requests.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::admin::{Admin, AdminError};

/// How often connections are counted while draining.
const POLL: Duration = Duration::from_millis(100);
/// Connections that carried nothing for this long since the drain began are idle keep-alive connections.
const SETTLED: Duration = Duration::from_millis(500);
/// Connections of listeners, connections and requests of HTTP; without the statistics of single workers.
const COUNTS: &str = "/stats?format=json&filter=%5E(listener%5C..*%5C.downstream_cx_active%7C\
                      http%5C..*%5C.downstream_(cx%7Crq)_active)%24";

/// How a proxy is drained before it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Connections that still work after this long are cut off. Default 60 s, as Envoy Gateway's
    /// `shutdown.drainTimeout`.
    pub timeout: Duration,
    /// Drain at least this long, also without connections, for load balancers in front to notice. Default 0: there
    /// is usually none on one machine.
    pub minimum: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), minimum: Duration::ZERO }
    }
}

/// What is open on the listeners.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Open {
    /// Connections of all listeners.
    connections: u64,
    /// Those that carry a request, or no HTTP at all.
    busy: u64,
}

/// Makes Envoy tell its clients to go away (`Connection: close`, GOAWAY) and to accept no more; returns when nothing
/// is in flight any more, or the timeout is over, or the admin interface is gone. `report` gets the number of open
/// connections.
///
/// Idle keep-alive connections are not waited for: their clients need not say anything for minutes.
pub(crate) async fn drain(
    admin: &Admin,
    drain: Drain,
    mut report: impl FnMut(u64),
) -> Result<(), AdminError> {
    let begun = Instant::now();
    admin.post("/healthcheck/fail").await?;
    if !drain.minimum.is_zero() {
        // Go on accepting: whoever balances load has to see the failing health check first.
        tokio::time::sleep(drain.minimum.min(drain.timeout)).await;
    }
    admin.post("/drain_listeners").await?;
    loop {
        let open = open(admin).await?;
        report(open.connections);
        let elapsed = begun.elapsed();
        if open.connections == 0 || (open.busy == 0 && elapsed >= SETTLED) || elapsed >= drain.timeout {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn open(admin: &Admin) -> Result<Open, AdminError> {
    let reply = admin.get(COUNTS).await?;
    count(&reply.body).map_err(|error| AdminError::Other(format!("unreadable statistics: {error}")))
}

#[derive(Deserialize)]
struct Stats {
    stats: Vec<Stat>,
}

#[derive(Deserialize)]
struct Stat {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: u64,
}

fn count(body: &[u8]) -> Result<Open, serde_json::Error> {
    let Stats { stats } = serde_json::from_slice(body)?;
    let (mut connections, mut http_connections, mut requests) = (0, 0, 0);
    for Stat { name, value } in stats {
        let (Some((kind, _)), Some((path, what))) = (name.split_once('.'), name.rsplit_once('.')) else {
            continue;
        };
        let worker = path.rsplit_once('.').is_some_and(|(_, last)| last.starts_with("worker_"));
        if worker || name.starts_with("listener.admin.") || name.starts_with("http.admin.") {
            continue;
        }
        match (kind, what) {
            ("listener", _) => connections += value,
            ("http", "downstream_cx_active") => http_connections += value,
            ("http", "downstream_rq_active") => requests += value,
            _ => {}
        }
    }
    // Several HTTP/2 requests may share a connection: more than the truth is the safe side.
    Ok(Open { connections, busy: connections.saturating_sub(http_connections) + requests })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_and_admin_are_not_counted() {
        let stats = serde_json::json!({ "stats": [
            { "name": "http.admin.downstream_cx_active", "value": 1 },
            { "name": "http.admin.downstream_rq_active", "value": 1 },
            { "name": "http.http-8080.downstream_cx_active", "value": 3 },
            { "name": "http.http-8080.downstream_rq_active", "value": 1 },
            { "name": "listener.127.0.0.1_8080.downstream_cx_active", "value": 3 },
            { "name": "listener.127.0.0.1_8080.worker_0.downstream_cx_active", "value": 3 },
            { "name": "listener.127.0.0.1_9000.downstream_cx_active", "value": 2 },
            { "name": "listener.admin.downstream_cx_active", "value": 1 },
            { "name": "listener.admin.main_thread.downstream_cx_active", "value": 1 },
        ]});
        let open = count(stats.to_string().as_bytes()).unwrap();
        assert_eq!(open, Open { connections: 5, busy: 3 });
    }
}
