//! Draining the proxy of this Pod.

use std::{path::Path, time::Duration};

use anyhow::Context;
use tokio::time::{Instant, sleep};

use super::admin::{Admin, is_gone};

/// How often connections are counted, in a Pod.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// Answers in a row that nobody gives before Envoy counts as gone: it may just be starting its admin interface.
const SILENCE: u32 = 3;

/// How a proxy drains.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// How long it goes on saying that it is healthy, while it closes connections already.
    pub(super) failure_delay: Duration,
    /// Longest drain from the moment when it says that it is not.
    pub(super) timeout: Duration,
    /// Shortest drain from that moment.
    pub(super) minimum: Duration,
    /// So many connections may be left.
    pub(super) exit_at: u64,
    /// How often connections are counted, and how long a silent Envoy is left alone.
    pub(super) poll: Duration,
}

/// Drains, and creates the file in any case: a proxy that cannot be drained must not be held back either.
pub(super) async fn run(admin: &Admin, plan: &Plan, ready: &Path) -> anyhow::Result<()> {
    tracing::info!(?plan, "the proxy drains");
    let why = drain(admin, plan).await;
    std::fs::File::create(ready).with_context(|| format!("cannot create {}", ready.display()))?;
    tracing::info!("the proxy may end: {why}");
    Ok(())
}

async fn drain(admin: &Admin, plan: &Plan) -> String {
    let asked = Instant::now();
    let patience = plan.failure_delay + plan.timeout;
    // Clients are asked to connect anew, by `Connection: close` and GOAWAY; whoever does not know better may still
    // connect here.
    if !insist(admin, "/drain_listeners?graceful&skip_exit", asked + patience, plan.poll).await {
        return "Envoy has gone".to_owned();
    }
    sleep(plan.failure_delay).await;
    if !insist(admin, "/healthcheck/fail", asked + patience, plan.poll).await {
        return "Envoy has gone".to_owned();
    }
    let begun = Instant::now();
    let mut silent = 0;
    loop {
        let connections = admin.connections().await;
        let elapsed = begun.elapsed();
        match &connections {
            Ok(open) => {
                silent = 0;
                tracing::info!(open, elapsed = elapsed.as_secs(), "connections");
                if *open <= plan.exit_at && elapsed >= plan.minimum {
                    return format!("{open} connections are open");
                }
            }
            Err(error) if is_gone(error) => {
                silent += 1;
                if silent >= SILENCE {
                    return "Envoy has gone".to_owned();
                }
            }
            Err(error) => tracing::warn!("connections cannot be counted: {error:#}"),
        }
        if elapsed >= plan.timeout {
            let open = connections.map_or_else(|_| "unknown".to_owned(), |open| open.to_string());
            return format!("the drain timeout is over, open connections: {open}");
        }
        sleep(plan.poll.min(plan.timeout.saturating_sub(elapsed))).await;
    }
}

/// Asks Envoy until it does, or the time is over. False when it has gone.
async fn insist(admin: &Admin, path: &str, until: Instant, poll: Duration) -> bool {
    let mut silent = 0;
    loop {
        match admin.post(path).await {
            Ok(()) => return true,
            Err(error) if is_gone(&error) => {
                silent += 1;
                if silent >= SILENCE {
                    return false;
                }
            }
            Err(error) => tracing::warn!("cannot begin to drain: {error:#}"),
        }
        if Instant::now() + poll >= until {
            return true;
        }
        sleep(poll).await;
    }
}
