//! Supervision with real Envoy.

#[cfg(test)]
mod fixture;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fixture::{
    Fixture, PARENT, SOON, connect, envoy, free_port, gone, reach, ready, request, runs, sigkill, stopped,
};
use host::{Bootstrap, Proxy, State};
use serde_json::{Value, json};

#[test]
fn envoy_accepts_every_bootstrap() {
    let fixture = Fixture::new();
    let plain = fixture.bootstrap();
    let full = Bootstrap {
        zone: Some("zone-a".to_owned()),
        prometheus: Some("[::1]:19001".parse().unwrap()),
        metrics: bootstrap::Metrics::default(),
        heap_limit: Some(1 << 30),
        ..plain.clone()
    };
    for (name, bootstrap) in [("plain", plain), ("full", full)] {
        let path = fixture.folder.path().join(format!("{name}.json"));
        std::fs::write(&path, bootstrap.to_json().to_string()).unwrap();
        let output = Command::new(envoy())
            .args(["--mode", "validate", "--disable-hot-restart", "-l", "warning", "-c"])
            .arg(&path)
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {log}");
        assert!(!log.contains("[warning]"), "{name}: {log}");
    }
}

#[tokio::test]
async fn without_control_plane_it_waits_and_its_admin_interface_answers() {
    let fixture = Fixture::new();
    let proxy = Proxy::spawn(fixture.spec(&fixture.bootstrap().to_json())).unwrap();
    let begun = Instant::now();
    let info = loop {
        match proxy.admin().get("/server_info").await {
            Ok(reply) => break serde_json::from_slice::<Value>(&reply.body).unwrap(),
            Err(error) => assert!(begun.elapsed() < SOON, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(info["node"]["id"], "default/eg");
    assert_ne!(info["state"], "LIVE");
    let State::Starting { pid } = *proxy.state().borrow() else { panic!("{:?}", proxy.state().borrow()) };
    for file in [&fixture.files.admin_socket, &fixture.files.bootstrap] {
        assert_eq!(
            std::fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600,
            "{}",
            file.display()
        );
    }
    proxy.stop();
    stopped(&proxy).await;
    assert!(!runs(pid));
    assert!(!fixture.files.admin_socket.exists() && !fixture.files.bootstrap.exists());
}

#[tokio::test]
async fn killed_it_is_started_again_at_once() {
    let fixture = Fixture::new();
    let port = free_port();
    let proxy = Proxy::spawn(fixture.spec(&fixture.listening(port, "0.001s"))).unwrap();
    let first = ready(&proxy).await;
    assert!(request(&mut connect(port).await.unwrap(), "/").await.unwrap().contains("200 OK"));

    sigkill(first);
    let back_off = reach(&proxy, |state| matches!(state, State::BackOff { .. })).await;
    let State::BackOff { attempt, next, message } = back_off else { panic!() };
    assert_eq!(attempt, 1);
    assert!(next <= tokio::time::Instant::now());
    assert!(message.contains("SIGKILL") || message.contains("signal: 9"), "{message}");
    let second = ready(&proxy).await;
    assert_ne!(first, second);
    assert!(request(&mut connect(port).await.unwrap(), "/").await.unwrap().contains("200 OK"));

    // Dropped without being stopped it ends all the same.
    drop(proxy);
    gone(second).await;
}

#[tokio::test]
async fn requests_in_flight_are_finished_and_idle_connections_are_not_waited_for() {
    let fixture = Fixture::new();
    let port = free_port();
    let proxy = Proxy::spawn(fixture.spec(&fixture.listening(port, "1.5s"))).unwrap();
    let pid = ready(&proxy).await;
    let mut idle = connect(port).await.unwrap();
    let slow = tokio::spawn(async move { request(&mut connect(port).await.unwrap(), "/slow").await });
    request(&mut idle, "/idle").await.unwrap();
    let in_flight = tokio::spawn(async move { request(&mut connect(port).await.unwrap(), "/late").await });
    tokio::time::sleep(Duration::from_millis(300)).await;

    let begun = Instant::now();
    proxy.stop();
    reach(&proxy, |state| matches!(state, State::Draining { connections: 1.. })).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(connect(port).await.is_err(), "accepts no more");
    let answer = in_flight.await.unwrap().unwrap();
    assert!(answer.contains("200 OK") && answer.contains("connection: close"), "{answer}");
    assert!(slow.await.unwrap().unwrap().contains("200 OK"));
    stopped(&proxy).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "the idle connection held it up");
    assert!(!runs(pid));
}

#[tokio::test]
async fn a_drain_can_be_cut_short_and_ends_at_its_timeout() {
    for cut_short in [true, false] {
        let fixture = Fixture::new();
        let port = free_port();
        let mut spec = fixture.spec(&fixture.listening(port, "600s"));
        spec.drain.timeout = if cut_short { Duration::from_secs(600) } else { Duration::from_secs(1) };
        let proxy = Proxy::spawn(spec).unwrap();
        let pid = ready(&proxy).await;
        let stuck = tokio::spawn(async move { request(&mut connect(port).await.unwrap(), "/").await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.stop();
        reach(&proxy, |state| matches!(state, State::Draining { connections: 1 })).await;
        if cut_short {
            proxy.stop_now();
        }
        stopped(&proxy).await;
        assert!(!runs(pid));
        assert!(stuck.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn a_bootstrap_that_envoy_refuses_backs_off_with_its_words() {
    let fixture = Fixture::new();
    let proxy = Proxy::spawn(fixture.spec(&json!({ "no_such_field": 1 }))).unwrap();
    let state = reach(&proxy, |state| matches!(state, State::BackOff { attempt: 2.., .. })).await;
    let State::BackOff { message, next, .. } = state else { panic!() };
    assert!(message.contains("no_such_field"), "{message}");
    assert!(next <= tokio::time::Instant::now() + Duration::from_millis(100));
    proxy.stop();
    stopped(&proxy).await;
}

#[tokio::test]
async fn a_program_that_cannot_run_backs_off_too() {
    let fixture = Fixture::new();
    let mut spec = fixture.spec(&json!({}));
    spec.program = fixture.folder.path().join("nowhere");
    let proxy = Proxy::spawn(spec).unwrap();
    let state = reach(&proxy, |state| matches!(state, State::BackOff { .. })).await;
    let State::BackOff { message, .. } = state else { panic!() };
    assert!(message.contains("127") && message.contains("nowhere"), "{message}");
}

#[tokio::test]
async fn when_the_parent_is_killed_envoy_dies() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new(PARENT)
        .arg(envoy())
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let envoy: u32 = line.trim().parse().unwrap();
    assert!(runs(envoy));
    parent.kill().unwrap(); // SIGKILL: it cannot tidy up
    parent.wait().unwrap();
    gone(envoy).await;
}

#[test]
fn the_guard_refuses_to_run_without_its_parent() {
    for (arguments, problem) in [
        (vec!["1", "/bin/true"], "the parent is gone"),
        (vec!["one", "/bin/true"], "not a process id"),
        (vec!["1"], "usage"),
    ] {
        let output = Command::new(PARENT).arg(host::guard::SUBCOMMAND).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(127));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.starts_with("[critical][guard] ") && text.contains(problem), "{text}");
    }
}
