//! Logs of real Envoy. The one test of its program: what a subscriber of one thread sees depends on what other threads
//! log for the first time at that moment, because tracing remembers for the whole process who is interested.

#[cfg(test)]
mod fixture;

use std::time::{Duration, Instant};

use fixture::{Captured, Fixture, SOON, connect, free_port, ready, request, stopped};
use host::Proxy;

#[tokio::test]
async fn both_logs_come_out_through_ours() {
    let captured = Captured::default();
    let writer = captured.clone();
    // This test's runtime has one thread, so a subscriber of this thread sees all its tasks.
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let fixture = Fixture::new();
    let port = free_port();
    let mut spec = fixture.spec(&fixture.listening(port, "0.001s"));
    spec.log_level = "info".to_owned();
    let proxy = Proxy::spawn(spec).unwrap();
    ready(&proxy).await;
    request(&mut connect(port).await.unwrap(), "/logged").await.unwrap();
    proxy.stop();
    stopped(&proxy).await;
    // Envoy writes access logs when it ends, and the readers of the pipes come after that.
    let begun = Instant::now();
    loop {
        let text = captured.text();
        let access = text.lines().any(|line| line.contains(" access: ") && line.contains("path=/logged"));
        let own =
            text.lines().any(|line| line.contains(" INFO envoy: ") && line.contains("component=\"main\""));
        if access && own {
            break;
        }
        assert!(begun.elapsed() < SOON, "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
