//! The binary under test as a process.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Child};

use crate::{Client, Reply, SOON, eventually, get, request};

/// Log lines shown when a test fails.
const SHOWN: usize = 60;

/// The project folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|p| p.join("Cargo.lock").exists())
        .unwrap()
        .to_owned()
}

/// Envoy where `make tools` puts it.
#[must_use]
pub fn envoy() -> PathBuf {
    let path = root().join(".tools/envoy/1.40.0/envoy");
    assert!(path.exists(), "Envoy is not installed: `make tools` installs it");
    path
}

/// The binary under test, built once: that at `FERROGATE_BINARY`, or else what `cargo build` makes now.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("FERROGATE_BINARY") {
            return path.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["build", "--package", "ferrogate", "--message-format", "json-render-diagnostics"])
            .current_dir(root())
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo starts");
        assert!(output.status.success(), "the binary under test does not build");
        let messages = output.stdout.rsplit(|byte| *byte == b'\n');
        let made = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let mut programs = made.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
        programs.next().expect("cargo names the program")
    })
}

/// A port of 127.0.0.1 that nobody listens on. Ports come from below the range from which the kernel takes those of
/// clients, and never twice in a process, so that none is taken between now and its use.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    // Test processes that run side by side begin far from each other.
    let start = u16::try_from(std::process::id() % 180).unwrap() * 100;
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if std::net::TcpListener::bind(("127.0.0.1", FIRST + offset)).is_ok() {
            return FIRST + offset;
        }
    }
}

/// A running `ferrogate run` over a folder of manifests.
#[derive(Debug)]
pub struct Gateway {
    folder: tempfile::TempDir,
    child: Child,
    admin: u16,
}

impl Gateway {
    /// Writes the manifests (file name, content), starts the gateway and waits until it is ready.
    pub async fn start(files: &[(&str, &str)]) -> Gateway {
        let gateway = Gateway::spawn(files, &[]);
        gateway.ready().await;
        gateway
    }

    /// The same with more arguments and without waiting.
    pub fn spawn(files: &[(&str, &str)], arguments: &[&str]) -> Gateway {
        let folder = tempfile::Builder::new().prefix("fg").tempdir().unwrap();
        std::fs::create_dir(folder.path().join("m")).unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join("m").join(name), content).unwrap();
        }
        let admin = free_port();
        let child = Gateway::run(&folder, admin, arguments);
        Gateway { folder, child, admin }
    }

    /// Writes the manifests, starts the gateway with these environment variables and waits until it is ready.
    pub async fn start_in(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Gateway {
        let folder = tempfile::Builder::new().prefix("fg").tempdir().unwrap();
        let manifests = folder.path().join("m");
        std::fs::create_dir(&manifests).unwrap();
        for (name, content) in files {
            std::fs::write(manifests.join(name), content).unwrap();
        }
        let admin = free_port();
        let mut command = Gateway::command(&folder, admin, &manifests, &[]);
        let child = command.envs(variables.iter().copied()).spawn().unwrap();
        let gateway = Gateway { folder, child, admin };
        gateway.ready().await;
        gateway
    }

    /// Starts the gateway with manifests from standard input and with these environment variables, and waits until it
    /// is ready.
    pub async fn piped(manifests: &str, variables: &[(&str, &str)]) -> Gateway {
        let folder = tempfile::Builder::new().prefix("fg").tempdir().unwrap();
        let admin = free_port();
        let mut command = Gateway::command(&folder, admin, Path::new("-"), &[]);
        let mut child = command.envs(variables.iter().copied()).stdin(Stdio::piped()).spawn().unwrap();
        // The end of the input ends with its writer.
        child.stdin.take().unwrap().write_all(manifests.as_bytes()).await.unwrap();
        let gateway = Gateway { folder, child, admin };
        gateway.ready().await;
        gateway
    }

    fn run(folder: &tempfile::TempDir, admin: u16, arguments: &[&str]) -> Child {
        let manifests = folder.path().join("m");
        Gateway::command(folder, admin, &manifests, arguments).spawn().expect("the binary under test starts")
    }

    fn command(
        folder: &tempfile::TempDir,
        admin: u16,
        manifests: &Path,
        arguments: &[&str],
    ) -> tokio::process::Command {
        let log = File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
        let mut command = tokio::process::Command::new(binary());
        if !arguments.contains(&"--concurrency") {
            command.args(["run", "--concurrency", "1"]);
        } else {
            command.arg("run");
        }
        command
            .arg(manifests)
            .args(["--listen", "127.0.0.1", "--drain-timeout", "5"])
            .args(["--admin", &format!("127.0.0.1:{admin}")])
            .arg("--run-dir")
            .arg(folder.path().join("r"))
            .arg("--envoy")
            .arg(envoy())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true);
        command
    }

    /// Starts the gateway again over the same folders, after it has ended.
    pub fn again(&mut self) {
        self.child = Gateway::run(&self.folder, self.admin, &[]);
    }

    /// Waits until `/readyz` says so.
    pub async fn ready(&self) {
        eventually("the gateway is ready", async || {
            let reply = self.try_admin("/readyz").await?;
            (reply.status == 200).then_some(())
        })
        .await;
    }

    /// Waits until the admin port answers.
    pub async fn alive(&self) {
        eventually("the admin port answers", async || self.try_admin("/healthz").await).await;
    }

    /// The folder of manifests.
    #[must_use]
    pub fn manifests(&self) -> PathBuf {
        self.folder.path().join("m")
    }

    /// The folder of sockets.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.folder.path().join("r")
    }

    /// `IP:PORT` of the admin port.
    #[must_use]
    pub fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.admin)
    }

    /// Writes a manifest in one step (write beside, rename), as careful editors do.
    pub fn write(&self, name: &str, content: &str) {
        let beside = self.folder.path().join(format!("{name}.new"));
        std::fs::write(&beside, content).unwrap();
        std::fs::rename(beside, self.manifests().join(name)).unwrap();
    }

    /// Deletes a manifest.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.manifests().join(name)).unwrap();
    }

    /// Everything that the process has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// GET of a path of the admin port.
    pub async fn admin(&self, path: &str) -> Reply {
        self.try_admin(path).await.expect("the admin port answers")
    }

    async fn try_admin(&self, path: &str) -> Option<Reply> {
        let mut client = Client::try_http1(self.admin).await?;
        client.try_send(get("admin", path)).await
    }

    /// PUT to a path of the admin port.
    pub async fn admin_put(&self, path: &str, body: &str) -> Reply {
        let mut client = Client::http1(self.admin).await;
        client.send(request("PUT", "admin", path, &[], body)).await
    }

    /// GET of a path of the admin port, as JSON.
    pub async fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.admin(path).await.body).unwrap()
    }

    /// The status of an object in `default`.
    pub async fn status(&self, kind: &str, name: &str) -> Value {
        let all = self.json("/status").await;
        let own = |d: &&Value| d["kind"] == kind && d["metadata"]["name"] == name;
        all.as_array().unwrap().iter().find(own).map(|d| d["status"].clone()).unwrap_or_default()
    }

    /// The conditions of an object that are as `wanted` says, joined as text; waits until there is one.
    pub async fn condition(&self, kind: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("a condition of {kind} {name}"), async || {
            let status = self.status(kind, name).await;
            conditions(&status).into_iter().find(|c| wanted(c))
        })
        .await
    }

    /// Number of the last commit.
    pub async fn revision(&self) -> u64 {
        let streams = self.json("/streams").await;
        streams.as_array().unwrap().iter().filter_map(|s| s["revision"].as_u64()).max().unwrap_or(0)
    }

    /// Process number of the gateway.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the gateway runs")
    }

    /// Process numbers of its Envoys.
    #[must_use]
    pub fn envoys(&self) -> Vec<u32> {
        let own = self.pid().to_string();
        let numbers = std::fs::read_dir("/proc").unwrap().flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        numbers
            .filter(|pid| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                let after = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>());
                after.is_some_and(|fields| fields.get(1) == Some(&own.as_str()) && fields[0] != "Z")
            })
            .collect()
    }

    /// Sends the gateway a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits until the gateway has ended; its exit code, none when a signal ended it.
    pub async fn ended(&mut self) -> Option<i32> {
        let status = tokio::time::timeout(SOON, self.child.wait()).await.expect("the gateway ends");
        status.unwrap().code()
    }

    /// Kills an Envoy.
    pub fn kill(&self, envoy: u32) {
        send(envoy, Signal::SIGKILL);
    }

    /// Waits until a GET with this host and path answers `status`; other answers must be in `meanwhile`.
    pub async fn answers(&self, port: u16, host: &str, path: &str, status: u16, meanwhile: &[u16]) -> Reply {
        let started = Instant::now();
        loop {
            let reply = Client::http1(port).await.send(get(host, path)).await;
            if reply.status == status {
                return reply;
            }
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(meanwhile.contains(&reply.status), "{host}{path}: {} {text}", reply.status);
            assert!(started.elapsed() < SOON, "{host}{path}: still {} {text}", reply.status);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// All conditions in a status, those of listeners and parents included.
fn conditions(status: &Value) -> Vec<Value> {
    let groups = ["listeners", "parents", "ancestors"]
        .into_iter()
        .flat_map(|key| status[key].as_array().into_iter().flatten());
    let lists = std::iter::once(status).chain(groups).filter_map(|holder| holder["conditions"].as_array());
    lists.flatten().cloned().collect()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- log of the gateway ---");
            for line in &lines[lines.len().saturating_sub(SHOWN)..] {
                eprintln!("{line}");
            }
        }
    }
}
