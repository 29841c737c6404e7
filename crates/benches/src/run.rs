//! One size: a cold start, then changes one by one.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use api::Object;
use nix::time::{ClockId, clock_gettime};
use pipeline::{ChangeSet, Commit, Pipeline, Settings};
use serde::{Deserialize, Serialize};

use crate::objects;

/// Changes of each kind. Percentiles of fewer would be those of single runs.
const CHANGES: usize = 300;
/// Changes that are not counted: caches fill and the allocator settles.
const WARM_UP: usize = 20;

/// How routes share virtual hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Hosts {
    /// Each route has a host of its own.
    Own,
    /// All routes are in one host.
    Shared,
}

impl Hosts {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Hosts::Own => "own",
            Hosts::Shared => "shared",
        }
    }

    pub(crate) fn parse(word: &str) -> Result<Hosts> {
        match word {
            "own" => Ok(Hosts::Own),
            "shared" => Ok(Hosts::Shared),
            other => bail!("hosts are own or shared, not {other:?}"),
        }
    }
}

/// What one kind of change costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Change {
    /// CPU time, median, in microseconds.
    pub p50: u64,
    /// CPU time that 99 of 100 changes stay below, in microseconds.
    pub p99: u64,
    /// Units that ran, at most.
    pub units: u64,
    /// Bytes of changed resources, at most.
    pub bytes: usize,
}

/// Everything measured at one size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub routes: usize,
    pub hosts: Hosts,
    /// CPU time of the first commit, in microseconds.
    pub cold: u64,
    pub route: Change,
    pub endpoint: Change,
    pub gateway: Change,
    /// Resident memory at the end, in KiB.
    pub resident: u64,
}

/// Measures one size.
pub(crate) fn measure(routes: usize, hosts: Hosts) -> Result<Measured> {
    let settings =
        Settings { implicit_gateway_class: true, implicit_namespaces: true, ..Settings::default() };
    let mut pipeline = Pipeline::new(settings);
    let mut apply = vec![objects::gateway(&[])?];
    for i in 0..routes {
        apply.extend([
            objects::route(hosts, i, &format!("/{i}"))?,
            objects::service(i)?,
            objects::slice(i, 3)?,
        ]);
    }
    let before = cpu()?;
    pipeline.commit(ChangeSet { apply, ..ChangeSet::default() });
    let cold = micros(cpu()? - before);
    let pick = |n: usize| n * 7919 % routes;
    let route = changes(&mut pipeline, |n| objects::route(hosts, pick(n), &format!("/changed/{n}")))?;
    let endpoint = changes(&mut pipeline, |n| objects::slice(pick(n), 10 + (n % 200) as u8))?;
    let gateway = changes(&mut pipeline, |n| objects::gateway(if n % 2 == 0 { &[8080] } else { &[] }))?;
    let resident = resident()?;
    Ok(Measured { routes, hosts, cold, route, endpoint, gateway, resident })
}

/// Applies one object after the other. Making them is not measured.
fn changes(pipeline: &mut Pipeline, object: impl Fn(usize) -> Result<Object>) -> Result<Change> {
    let mut times = Vec::with_capacity(CHANGES);
    let (mut units, mut bytes) = (0, 0);
    for n in 0..WARM_UP + CHANGES {
        let apply = vec![object(n)?];
        let before = cpu()?;
        let commit = pipeline.commit(ChangeSet { apply, ..ChangeSet::default() });
        let took = micros(cpu()? - before);
        if n >= WARM_UP {
            times.push(took);
            units = units.max(commit.work.iter().map(|(_, work)| work.recomputed).sum());
            bytes = bytes.max(sent(&commit));
        }
    }
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1)).copied();
    Ok(Change { p50: at(50).unwrap_or_default(), p99: at(99).unwrap_or_default(), units, bytes })
}

/// Bytes of what a proxy that has everything else is sent.
fn sent(commit: &Commit) -> usize {
    commit.resources.iter().flat_map(|(_, update)| &update.changed).map(|r| r.encoded_len()).sum()
}

/// CPU time of this process so far, all threads.
fn cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let number = line.split_whitespace().next().context("no number in VmRSS")?;
    Ok(number.parse()?)
}
