//! A browser, which reuses connections for every name of a certificate and repeats what is misdirected.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use e2e::{Certificate, Client, Gateway, eventually, free_port, get, manifest as m};
use rcgen::PublicKeyData;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Programs that can be had: a browser without windows.
const BROWSERS: [&str; 4] = ["chromium-headless-shell", "chromium", "google-chrome", "chrome-headless-shell"];

/// The first browser on the search path.
fn browser() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    BROWSERS
        .iter()
        .find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()))
}

/// Serves a page, and its script at `/script.js`, until the test ends; yields the port.
async fn site(page: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let page = page.clone();
            tokio::spawn(async move {
                let mut asked = vec![0; 64 << 10];
                let length = stream.read(&mut asked).await.unwrap_or(0);
                let is_script = String::from_utf8_lossy(&asked[..length]).starts_with("GET /script.js");
                let script = "document.body.textContent = 'both hosts answer'";
                let (kind, body) =
                    if is_script { ("text/javascript", script) } else { ("text/html", &*page) };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_sees_nothing_of_a_misdirected_request() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED a_browser_sees_nothing_of_a_misdirected_request: no {}", BROWSERS.join(", no "));
        return;
    };
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let log = folder.path().join("log");
    let page = format!(
        "<html><body>one<script src='https://two.example.test:{port}/script.js'></script></body></html>"
    );
    let certificate = Certificate::new(&["one.example.test", "two.example.test"]);
    let says = format!(
        "telemetry:\n  accessLog:\n    settings:\n    - format: {{type: Text, text: \"%REQUESTED_SERVER_NAME% \
         %REQ(:AUTHORITY)% %PROTOCOL% %RESPONSE_CODE%\\n\"}}\n      sinks: [{{type: File, file: {{path: {}}}}}]\n",
        log.display()
    );
    let listeners = m::https("one", port, "one.example.test", &["shared"])
        + &m::https("two", port, "two.example.test", &["shared"]);
    let files = m::backend("site", site(page).await)
        + &certificate.secret("shared")
        + &m::gateway_with_proxy("eg", &says, &listeners)
        + &m::route_at("one", "eg", "one", &[], &m::to("site"))
        + &m::route_at("two", "eg", "two", &[], &m::to("site"));
    let _gateway = Gateway::start(&[("all.yaml", &files)]).await;
    for host in ["one.example.test", "two.example.test"] {
        eventually(&format!("{host} serves"), async || {
            let (mut client, _) = Client::tls(port, host, "http/1.1").await?;
            (client.try_send(get(host, "/")).await?.status == 200).then_some(())
        })
        .await;
    }

    // The browser trusts the key, so that it reuses connections as it does with certificates of the web.
    let key = rcgen::KeyPair::from_pem(&certificate.key).unwrap().subject_public_key_info();
    let pin = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, &key));
    let mut command = tokio::process::Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--dump-dom",
            "--timeout=20000",
        ])
        .arg("--no-proxy-server")
        .arg("--host-resolver-rules=MAP *.example.test 127.0.0.1")
        .arg(format!("--ignore-certificate-errors-spki-list={pin}"))
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("https://one.example.test:{port}/"))
        .kill_on_drop(true);
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), command.output()).await;
    let output = output.expect("the browser ends").unwrap();
    let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("both hosts answer"), "{text}\n{said}");

    let (one, two) = (format!("one.example.test:{port}"), format!("two.example.test:{port}"));
    let wanted = [
        format!("one.example.test {one} HTTP/2 200"),
        // It comes over the connection of the other, and again over one of its own.
        format!("one.example.test {two} HTTP/2 421"),
        format!("two.example.test {two} HTTP/2 200"),
    ];
    let lines = eventually("the log has all", async || {
        let text = std::fs::read_to_string(&log).ok()?;
        wanted.iter().all(|line| text.contains(&**line)).then_some(text)
    })
    .await;
    assert!(!lines.contains(" 404"), "{lines}");
}
