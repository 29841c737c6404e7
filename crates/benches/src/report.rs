//! `docs/benchmarks.md`.

use std::{fmt::Write as _, fs, thread};

use anyhow::{Result, ensure};

use crate::run::{Change, Hosts, Measured};

/// The whole report.
pub(crate) fn markdown(all: &[Measured]) -> Result<String> {
    let mut out = String::from(HEAD);
    let profile =
        if cfg!(debug_assertions) { "development build: not for comparison" } else { "release build" };
    let cores = thread::available_parallelism().map_or(0, usize::from);
    writeln!(out, "Machine: {}, {cores} cores, Linux; {profile}. Command: `make bench`.\n", processor())?;
    for hosts in [Hosts::Own, Hosts::Shared] {
        let title = match hosts {
            Hosts::Own => "Each route has a host of its own",
            Hosts::Shared => "All routes share one host",
        };
        writeln!(out, "## {title}\n")?;
        out.push_str(TABLE);
        for measured in all.iter().filter(|m| m.hosts == hosts) {
            row(&mut out, measured)?;
        }
        out.push('\n');
    }
    out.push_str(OTHERS);
    Ok(out)
}

/// What another command measured and wrote behind all else: the figures of a whole installation.
pub(crate) fn of_installation(report: &str) -> &str {
    report.find("\n## A whole installation").map_or("", |at| &report[at..])
}

const HEAD: &str = "# Benchmarks

What translation costs: Gateway API objects in, encoded xDS resources and status out. One Gateway; each HTTPRoute has
a path, a Service and an EndpointSlice with three endpoints. CPU time is that of the whole process, all threads.
Written by `make bench`, the last section by `make bench-kubernetes`; do not edit.

";

const TABLE: &str = "\
| routes | cold start | one route: p50, p99 | units | bytes | one endpoint: p50, p99 | units | bytes | one listener: p50, p99 | units | bytes | memory |
|---|---|---|---|---|---|---|---|---|---|---|---|
";

const OTHERS: &str = "\
- *Cold start* is the first commit of everything, from typed objects to encoded resources.
- *One route* changes the path of one route, *one endpoint* an address in one EndpointSlice, *one listener* adds or
  removes an HTTP listener of the Gateway that no route names.
- *Units* are the units of all stages that ran; *bytes* the encoded resources that changed, as they go to each proxy.
  A changed route sends its route configuration whole: xDS knows no smaller piece of it here.
- *Memory* is the resident set of the process at the end.

Required at 10,000 routes: one route p50 < 5 ms and p99 < 10 ms, one endpoint p50 < 2 ms, cold start < 1 s, memory
< 200 MiB. The command fails when they are missed.

## Envoy Gateway beside it

Measured by us for comparison: Envoy Gateway built from its main branch before 1.9, its pipeline alone (no API client,
no status writes, no wire), on a machine with 2 cores; one Gateway, each HTTPRoute with a host, a path and a Backend.
One changed route costs it:

| routes | CPU | memory of the process |
|---|---|---|
| 1 | 0.7–0.9 ms | 121 MiB |
| 100 | 5 ms | 127 MiB |
| 1,000 | 50–60 ms | 135 MiB |
| 10,000 | 1.9–2.4 s | 360 MiB |

It translates everything again for every change. A batch translation of 10,000 routes takes it 7.3 s and 539 MiB with
validation switched off, reading and printing included, which our cold start above leaves out.
";

fn row(out: &mut String, measured: &Measured) -> Result<()> {
    write!(out, "| {} | {} ms ", measured.routes, millis(measured.cold))?;
    for Change { p50, p99, units, bytes } in [&measured.route, &measured.endpoint, &measured.gateway] {
        write!(out, "| {}, {} ms | {units} | {bytes} ", millis(*p50), millis(*p99))?;
    }
    writeln!(out, "| {} MiB |", measured.resident / 1024)?;
    Ok(())
}

fn millis(micros: u64) -> String {
    format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.trim().to_owned())
}

/// Fails when a requirement at 10,000 routes is missed.
pub(crate) fn check(all: &[Measured]) -> Result<()> {
    for m in all.iter().filter(|m| m.routes == 10_000) {
        let hosts = m.hosts.word();
        ensure!(m.route.p50 < 5_000, "one route takes {} µs at the median ({hosts} host)", m.route.p50);
        ensure!(m.route.p99 < 10_000, "one route takes {} µs at p99 ({hosts} host)", m.route.p99);
        ensure!(
            m.endpoint.p50 < 2_000,
            "one endpoint takes {} µs at the median ({hosts} host)",
            m.endpoint.p50
        );
        ensure!(m.cold < 1_000_000, "a cold start takes {} µs ({hosts} host)", m.cold);
        ensure!(m.resident < 200 * 1024, "{} KiB are resident ({hosts} host)", m.resident);
    }
    Ok(())
}
