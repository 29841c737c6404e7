//! What an operator may tune.

use std::time::Duration;

/// Limits and waiting times of the xDS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Longest time that a route waits for a new cluster to be warm, counted from sending the cluster. Then the
    /// route goes out all the same. Default 2 s.
    pub gate: Duration,
    /// Longest time to wait for the answer to a listener or a route configuration before a newer version of it is
    /// sent all the same. Default 15 s: Envoy's own `initial_fetch_timeout`, past which it goes on without us too.
    pub ack_patience: Duration,
    /// Most listeners or route configurations in one response. Default 64. A refusal hits a whole response, so a small
    /// one is cheaper to take apart.
    pub max_resources: usize,
    /// Bytes of resources after which a response is closed. Default 1 MiB; a single larger resource goes alone.
    pub max_bytes: usize,
    /// Route configurations of this size and more are paced. Default 256 KiB: about 25 ms of Envoy's main thread.
    pub paced_bytes: usize,
    /// Least distance of two sends of one paced route configuration. Default 100 ms.
    pub pace_floor: Duration,
    /// Distance of two sends per MiB of body. Default 200 ms: Envoy takes about 100 ms of its main thread to read
    /// 1 MiB of routes, so updates take at most half of that thread.
    pub pace_per_mib: Duration,
    /// Whether a version that Envoy refused is kept from proxies that connect later. Default true.
    pub quarantine: bool,
    /// Most resource names that one stream may subscribe to. Default 200,000; more ends the stream.
    pub max_names: usize,
    /// Most attempts to find the virtual hosts that Envoy refuses in one version of a route configuration. Default
    /// 64: one bad host among 10,000 takes 2 × log2(10,000) = 28.
    pub max_trials: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            gate: Duration::from_secs(2),
            ack_patience: Duration::from_secs(15),
            max_resources: 64,
            max_bytes: 1 << 20,
            paced_bytes: 256 << 10,
            pace_floor: Duration::from_millis(100),
            pace_per_mib: Duration::from_millis(200),
            quarantine: true,
            max_names: 200_000,
            max_trials: 64,
        }
    }
}

impl Settings {
    /// How long a route configuration of this size rests between two sends; `None` for small ones.
    pub fn pace(&self, bytes: usize) -> Option<Duration> {
        if bytes < self.paced_bytes {
            return None;
        }
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
        Some(self.pace_floor.max(self.pace_per_mib.saturating_mul(kib) / 1024))
    }
}
