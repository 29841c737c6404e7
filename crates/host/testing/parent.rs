//! A parent of one Envoy proxy, for the tests to kill.
//!
//! usage: `host-test-parent ENVOY RUNDIR`: runs a proxy with a bootstrap of its own; prints its process id when it
//! is ready. `host-test-parent child-guard …`: the guard.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use host::{Proxy, ProxySpec, RunDir, State};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(first), second) if first == host::guard::SUBCOMMAND => {
            host::guard::main(second.into_iter().chain(arguments))
        }
        (Some(envoy), Some(run_dir)) => run(PathBuf::from(envoy), Path::new(&run_dir)),
        _ => ExitCode::from(2),
    }
}

fn run(envoy: PathBuf, run_dir: &Path) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        match proxy(envoy, run_dir).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "{error}");
                ExitCode::FAILURE
            }
        }
    })
}

async fn proxy(envoy: PathBuf, run_dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let files = RunDir::create(run_dir)?.files("parent")?;
    let admin = serde_json::json!({ "address": { "pipe": { "path": files.admin_socket } } });
    let bootstrap = serde_json::json!({ "admin": admin }).to_string();
    let proxy = Proxy::spawn(ProxySpec::new("parent", "test", envoy, bootstrap, files))?;
    let mut state = proxy.state();
    let ready = state.wait_for(|state| matches!(state, State::Ready { .. })).await?.clone();
    if let State::Ready { pid } = ready {
        writeln!(std::io::stdout(), "{pid}")?;
        std::io::stdout().flush()?;
    }
    // Until the test ends it, by a signal or by an end of standard input.
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await??;
    Ok(())
}
