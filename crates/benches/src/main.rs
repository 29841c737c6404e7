//! `make bench`: what translation costs, by number of routes. Writes `docs/benchmarks.md`.
//!
//! Each size runs in a process of its own, so that memory is that size's alone. The pipeline is what is measured:
//! no server, no Envoy.

mod objects;
mod report;
mod run;

use std::{env, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use crate::run::{Hosts, Measured};

/// The allocator of the `ferrogate` binary, so that memory is comparable.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HELP: &str = "usage: benches [--smoke]\n\n--smoke runs small sizes, prints, and writes nothing";

#[expect(clippy::print_stdout, reason = "the output of a chore")]
fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["one", routes, hosts] => {
            let measured = run::measure(routes.parse()?, Hosts::parse(hosts)?)?;
            println!("{}", serde_json::to_string(&measured)?);
        }
        [] => {
            let all = measure_all(&[1, 100, 1_000, 10_000])?;
            let mut text = report::markdown(&all)?;
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md");
            let before = std::fs::read_to_string(&file).unwrap_or_default();
            text.push_str(report::of_installation(&before));
            std::fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
            print!("{text}");
            report::check(&all)?;
        }
        ["--smoke"] => print!("{}", report::markdown(&measure_all(&[1, 100])?)?),
        _ => bail!(HELP),
    }
    Ok(())
}

fn measure_all(sizes: &[usize]) -> Result<Vec<Measured>> {
    let program = env::current_exe()?;
    let mut all = Vec::new();
    for hosts in [Hosts::Own, Hosts::Shared] {
        for routes in sizes {
            let output = Command::new(&program).args(["one", &routes.to_string(), hosts.word()]).output()?;
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{routes} routes failed: {errors}");
            all.push(serde_json::from_slice(&output.stdout)?);
        }
    }
    Ok(all)
}
