//! How Envoy comes to die with us.
//!
//! Linux sends a child the signal of its choice when its parent dies (`PR_SET_PDEATHSIG`). Two things make that
//! unsound when used naively, and both are dealt with here:
//!
//! - It has to be asked for by the child itself. Code between fork and exec is `unsafe` in Rust, so our own binary is
//!   executed first, with the hidden subcommand [`SUBCOMMAND`]: it asks, checks that the parent is still the one
//!   that started it, and becomes Envoy by `exec`, which keeps the request.
//! - "The parent" is the *thread* that forked. Threads of an async runtime come and go, so all children are forked by
//!   one thread that lives as long as the process.
//!
//! The kernel forgets the request when the program has file capabilities or is set-user-ID: let such an Envoy have
//! its low ports in another way (`net.ipv4.ip_unprivileged_port_start`).

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::sync::{OnceLock, mpsc};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// First argument that makes a binary of ours the guard. A program that starts a [`Proxy`](crate::Proxy) has to pass
/// control to [`main`] when it is called with it, before it does anything else.
pub const SUBCOMMAND: &str = "child-guard";

/// Exit code when the program cannot be executed, as of a shell.
const CANNOT_EXECUTE: u8 = 127;

/// The command that starts a guard: this very executable, also when its file was replaced meanwhile.
pub(crate) fn own_command() -> Vec<OsString> {
    vec![OsString::from("/proc/self/exe"), OsString::from(SUBCOMMAND)]
}

/// The guard. `arguments` are those after [`SUBCOMMAND`]: the parent's process id, the program, its arguments.
/// Returns only when something is wrong.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let problem = become_program(&arguments);
    // In the form of Envoy's own log, which is how the parent reads it.
    let _ = writeln!(io::stderr(), "[critical][guard] {problem}");
    ExitCode::from(CANNOT_EXECUTE)
}

fn become_program(arguments: &[OsString]) -> String {
    let [parent, program, rest @ ..] = arguments else {
        return format!("usage: {SUBCOMMAND} PARENT PROGRAM [ARGUMENT...]");
    };
    let Some(parent) = parent.to_str().and_then(|text| text.parse().ok()).map(Pid::from_raw) else {
        return format!("{} is not a process id", parent.display());
    };
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGKILL) {
        return format!("cannot ask for a signal at the parent's death: {error}");
    }
    // The parent may have died before we asked.
    if getppid() != parent {
        return "the parent is gone".to_owned();
    }
    let error = std::process::Command::new(program).args(rest).exec();
    format!("cannot run {}: {error}", program.display())
}

/// A child to be forked by the forking thread, and where to send it.
struct Job {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Starts `program` under `guard` (see [`own_command`]). `set` may change the command: arguments, pipes.
pub(crate) async fn spawn(
    guard: &[OsString],
    program: &OsStr,
    set: impl FnOnce(&mut Command),
) -> io::Result<Child> {
    let [executable, arguments @ ..] = guard else {
        return Err(io::Error::other("the guard's command is empty"));
    };
    let mut command = Command::new(executable);
    command.args(arguments).arg(std::process::id().to_string()).arg(program);
    // A process group of its own: Ctrl-C in a terminal is for us, who drain before we stop.
    command.process_group(0).kill_on_drop(true);
    set(&mut command);
    let (reply, child) = oneshot::channel();
    let job = Job { command, runtime: Handle::current(), reply };
    forking_thread()?.send(job).map_err(|_| io::Error::other("the forking thread is gone"))?;
    child.await.map_err(|_| io::Error::other("the forking thread is gone"))?
}

fn forking_thread() -> io::Result<&'static mpsc::Sender<Job>> {
    static THREAD: OnceLock<io::Result<mpsc::Sender<Job>>> = OnceLock::new();
    let thread = THREAD.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::Builder::new().name("fork-envoy".to_owned()).spawn(move || {
            for mut job in jobs {
                let _entered = job.runtime.enter();
                // When nobody waits for the child any more, dropping it kills it.
                let _ = job.reply.send(job.command.spawn());
            }
        })?;
        Ok(sender)
    });
    thread.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}
