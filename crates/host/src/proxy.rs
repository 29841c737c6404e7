//! One Envoy under supervision.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::admin::Admin;
use crate::drain::{Drain, drain};
use crate::guard;
use crate::log::{self, LastError};
use crate::rundir::{self, ProxyFiles, RunDirError};

/// How often a starting Envoy is asked whether it is ready: often while it usually takes, then now and then.
const POLL: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));
const POLL_OFTEN: Duration = Duration::from_secs(5);
/// Envoy ends within milliseconds of SIGTERM; one that does not hangs.
const TERMINATE: Duration = Duration::from_secs(5);
/// The rest of a dead process's log is in the pipe already.
const LAST_LINES: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Debug, Clone)]
pub struct ProxySpec {
    /// Name in logs and `--service-node`; usually that of the Gateway.
    pub name: String,
    /// `--service-cluster`, as in the bootstrap.
    pub cluster: String,
    /// Envoy's program, see [`EnvoyBinary`](crate::EnvoyBinary).
    pub program: PathBuf,
    /// Bootstrap configuration, YAML or JSON; usually from [`Bootstrap`](crate::Bootstrap). Its admin address has to
    /// be the socket of `files`.
    pub bootstrap: String,
    /// Where socket and bootstrap go, see [`RunDir::files`](crate::RunDir::files).
    pub files: ProxyFiles,
    /// `--log-level`: `trace`, `debug`, `info`, `warning`, `error`, `critical` or `off`. Default `warning`.
    pub log_level: String,
    /// `--component-log-level`, such as `upstream:debug,misc:error`. Default `misc:error`.
    pub component_log_level: String,
    /// `--concurrency`: worker threads. Default: Envoy's, one per CPU.
    pub concurrency: Option<u32>,
    /// Arguments added at the end.
    pub extra_args: Vec<String>,
    /// How it is drained before it is stopped.
    pub drain: Drain,
    /// How fast it is started again.
    pub back_off: BackOff,
    /// The command that runs the [`guard`]. Default: this executable.
    pub guard: Vec<OsString>,
}

impl ProxySpec {
    /// A proxy with defaults for everything that has one.
    #[must_use]
    pub fn new(name: &str, cluster: &str, program: PathBuf, bootstrap: String, files: ProxyFiles) -> Self {
        Self {
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            program,
            bootstrap,
            files,
            log_level: "warning".to_owned(),
            component_log_level: "misc:error".to_owned(),
            concurrency: None,
            extra_args: Vec::new(),
            drain: Drain::default(),
            back_off: BackOff::default(),
            guard: guard::own_command(),
        }
    }

    fn arguments(&self) -> Vec<OsString> {
        let drain_seconds = self.drain.timeout.as_secs().max(1).to_string();
        let mut arguments: Vec<OsString> = [
            "--service-cluster",
            &self.cluster,
            "--service-node",
            &self.name,
            "--log-level",
            &self.log_level,
            "--log-format",
            log::FORMAT,
            "--component-log-level",
            &self.component_log_level,
            "--drain-strategy",
            "immediate",
            "--drain-time-s",
            &drain_seconds,
            // Several proxies share the machine; hot restart's shared memory would make them one family.
            "--disable-hot-restart",
            "--config-path",
        ]
        .map(OsString::from)
        .into();
        arguments.push(self.files.bootstrap.clone().into());
        if let Some(concurrency) = self.concurrency {
            arguments.extend(["--concurrency".into(), concurrency.to_string().into()]);
        }
        arguments.extend(self.extra_args.iter().map(OsString::from));
        arguments
    }
}

/// How fast a proxy that ended by itself is started again: at once the first time, then after `first`, twice that,
/// and so on up to `longest`. A run of `reset` makes it begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// Wait before the second restart. Default 100 ms.
    pub first: Duration,
    /// Longest wait. Default 10 s.
    pub longest: Duration,
    /// A run this long counts as healthy. Default 30 s.
    pub reset: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            reset: Duration::from_secs(30),
        }
    }
}

impl BackOff {
    /// The wait before restart number `attempt`, counted from 1.
    fn wait(&self, attempt: u32) -> Duration {
        match attempt {
            0 | 1 => Duration::ZERO,
            _ => self.first.saturating_mul(2_u32.saturating_pow(attempt - 2)).min(self.longest),
        }
    }
}

/// What a proxy is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The process runs but has no configuration yet, or still warms it.
    Starting {
        /// Process id.
        pid: u32,
    },
    /// It serves.
    Ready {
        /// Process id.
        pid: u32,
    },
    /// It ended by itself and will be started again.
    BackOff {
        /// Restarts since the last healthy run, this one included.
        attempt: u32,
        /// When.
        next: Instant,
        /// How it ended, with the last error of its log.
        message: String,
    },
    /// It takes no more connections and finishes what is open.
    Draining {
        /// Open connections, idle ones included.
        connections: u64,
    },
    /// It is gone and stays so.
    Stopped,
}

/// What its owner wants of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Run,
    Drain,
    Stop,
}

/// A running, supervised Envoy. Dropped without [`stop`](Self::stop), it ends without a drain.
#[derive(Debug)]
pub struct Proxy {
    wish: watch::Sender<Wish>,
    state: watch::Receiver<State>,
    admin: Admin,
}

impl Proxy {
    /// Writes the bootstrap and starts Envoy; from then on it is started again whenever it ends by itself, until it
    /// is stopped. Everything after the files is told through [`state`](Self::state). Needs a tokio runtime.
    ///
    /// # Errors
    /// When the bootstrap cannot be written.
    pub fn spawn(spec: ProxySpec) -> Result<Self, RunDirError> {
        rundir::fits_socket(&spec.files.admin_socket)?;
        rundir::write_private(&spec.files.bootstrap, spec.bootstrap.as_bytes())?;
        let admin = Admin::new(&spec.files.admin_socket);
        let (wish, wishes) = watch::channel(Wish::Run);
        let (publish, state) = watch::channel(State::Starting { pid: 0 });
        let supervisor =
            Supervisor { name: spec.name.as_str().into(), admin: admin.clone(), spec, wishes, publish };
        tokio::spawn(supervisor.run());
        Ok(Self { wish, state, admin })
    }

    /// What it is doing, now and from now on. `Starting { pid: 0 }` until the first process exists.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Its admin interface.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Begins to drain, then stops; see [`stopped`](Self::stopped).
    pub fn stop(&self) {
        self.wish.send_if_modified(|wish| std::mem::replace(wish, Wish::Drain.max(*wish)) < Wish::Drain);
    }

    /// Stops without a drain, or cuts a drain short.
    pub fn stop_now(&self) {
        self.wish.send_replace(Wish::Stop);
    }

    /// Waits until it is gone. Waits for ever when nobody asks it to stop.
    pub async fn stopped(&self) {
        // An error means that the supervisor is gone, and Envoy with it.
        let _ = self.state.clone().wait_for(|state| *state == State::Stopped).await;
    }
}

struct Supervisor {
    name: Arc<str>,
    spec: ProxySpec,
    admin: Admin,
    wishes: watch::Receiver<Wish>,
    publish: watch::Sender<State>,
}

/// How one run of the process came to its end.
enum End {
    /// By itself.
    Ended(String),
    /// Because we wanted it to.
    Stopped,
}

impl Supervisor {
    async fn run(mut self) {
        let mut attempt = 0;
        loop {
            let begun = Instant::now();
            let message = match self.start().await {
                Ok((child, last_words)) => match self.watch(child, last_words).await {
                    End::Ended(message) => message,
                    End::Stopped => break,
                },
                Err(error) => format!("cannot start {}: {error}", self.spec.program.display()),
            };
            if begun.elapsed() >= self.spec.back_off.reset {
                attempt = 0;
            }
            attempt += 1;
            let wait = self.spec.back_off.wait(attempt);
            tracing::warn!(proxy = %self.name, attempt, wait_ms = wait.as_millis(), "{message}; starting again");
            self.publish.send_replace(State::BackOff { attempt, next: Instant::now() + wait, message });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = wanted(&mut self.wishes) => break,
            }
        }
        for file in [&self.spec.files.admin_socket, &self.spec.files.bootstrap] {
            let _ = std::fs::remove_file(file);
        }
        tracing::info!(proxy = %self.name, "stopped");
        self.publish.send_replace(State::Stopped);
    }

    async fn start(&self) -> io::Result<(Child, LastWords)> {
        // What a killed process left behind must not look like a socket of the new one.
        let _ = std::fs::remove_file(&self.spec.files.admin_socket);
        let mut child = guard::spawn(&self.spec.guard, self.spec.program.as_os_str(), |command| {
            command.args(self.spec.arguments());
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        })
        .await?;
        let mut last_words = LastWords { reader: None, error: LastError::default() };
        // These end with the pipes, that is with the process.
        if let Some(output) = child.stdout.take() {
            tokio::spawn(log::access(Arc::clone(&self.name), output));
        }
        if let Some(output) = child.stderr.take() {
            let own = log::own(Arc::clone(&self.name), output, last_words.error.clone());
            last_words.reader = Some(tokio::spawn(own));
        }
        let pid = child.id().unwrap_or_default();
        tracing::info!(proxy = %self.name, pid, "started");
        self.publish.send_replace(State::Starting { pid });
        Ok((child, last_words))
    }

    /// Stays with the process until it ends, by itself or on request.
    async fn watch(&mut self, mut child: Child, last_words: LastWords) -> End {
        let admin = self.admin.clone();
        let mut ready = std::pin::pin!(ready(&admin));
        let mut serving = false;
        let wish = loop {
            tokio::select! {
                ended = child.wait() => return End::Ended(last_words.of(ended).await),
                () = &mut ready, if !serving => {
                    serving = true;
                    let pid = child.id().unwrap_or_default();
                    tracing::info!(proxy = %self.name, pid, "ready");
                    self.publish.send_replace(State::Ready { pid });
                }
                wish = wanted(&mut self.wishes) => break wish,
            }
        };
        if wish == Wish::Drain && serving {
            self.drain(&mut child).await;
        }
        self.terminate(child).await;
        End::Stopped
    }

    /// Drains until done, cut short, or the process is gone.
    async fn drain(&mut self, child: &mut Child) {
        self.publish.send_replace(State::Draining { connections: 0 });
        let report = |connections| {
            self.publish.send_if_modified(|state| {
                let now = State::Draining { connections };
                std::mem::replace(state, now.clone()) != now
            });
        };
        let wishes = &mut self.wishes;
        tokio::select! {
            done = drain(&self.admin, self.spec.drain, report) => {
                if let Err(error) = done {
                    tracing::warn!(proxy = %self.name, %error, "drain broke off");
                }
            }
            _ = child.wait() => {}
            // An owner who is gone has asked for the drain, so it goes on.
            Ok(_) = wishes.wait_for(|wish| *wish == Wish::Stop) => {}
        }
    }

    async fn terminate(&self, mut child: Child) {
        if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
            // An error means that it is gone already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(TERMINATE, child.wait()).await.is_err() {
            tracing::warn!(proxy = %self.name, "did not end within {} s of SIGTERM, killing it", TERMINATE.as_secs());
            if let Err(error) = child.kill().await {
                tracing::error!(proxy = %self.name, %error, "cannot kill it");
            }
        }
    }
}

/// Waits until the owner wants something else than to run; a dropped owner wants it to stop.
async fn wanted(wishes: &mut watch::Receiver<Wish>) -> Wish {
    wishes.wait_for(|wish| *wish != Wish::Run).await.map_or(Wish::Stop, |wish| *wish)
}

/// Waits until Envoy says that it serves (`LIVE`).
async fn ready(admin: &Admin) {
    let begun = Instant::now();
    loop {
        if admin.get("/ready").await.is_ok_and(|reply| reply.status.is_success()) {
            return;
        }
        let pause = if begun.elapsed() < POLL_OFTEN { POLL.0 } else { POLL.1 };
        tokio::time::sleep(pause).await;
    }
}

/// What Envoy's own log leaves behind when Envoy ends.
struct LastWords {
    reader: Option<JoinHandle<()>>,
    error: LastError,
}

impl LastWords {
    /// How it ended and, if its log says so, why.
    async fn of(self, ended: io::Result<ExitStatus>) -> String {
        // The last lines may still be on their way. A pipe that somebody else holds open is not waited for.
        if let Some(reader) = self.reader {
            let _ = tokio::time::timeout(LAST_LINES, reader).await;
        }
        let how = match ended {
            Ok(status) => format!("Envoy ended ({status})"),
            Err(error) => format!("Envoy ended ({error})"),
        };
        match self.error.take() {
            Some(message) => format!("{how}: {message}"),
            None => how,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_waits_grow_to_the_cap() {
        let waits: Vec<u128> = (1..=10).map(|attempt| BackOff::default().wait(attempt).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(BackOff::default().wait(u32::MAX), Duration::from_secs(10));
    }
}
