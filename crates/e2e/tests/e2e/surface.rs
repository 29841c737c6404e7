//! What a person sees: the admin port, the commands, the folder of sockets.

use std::{os::unix::fs::MetadataExt, process::Command};

use e2e::{Backends, Certificate, Client, Gateway, binary, eventually, free_port, get, manifest as m};
use serde_json::Value;

/// Runs a command of the binary; exit code, standard output, standard error.
pub(crate) fn command(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(binary()).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_port_and_the_commands_tell() {
    let backends = Backends::start(&["a"]).await;
    let (http, https) = (free_port(), free_port());
    let certificate = Certificate::new(&["*.example.com"]);
    let listeners = m::http("http", http) + &m::https("https", https, "", &["cert"]);
    let signed =
        "- filters:\n  - type: RequestHeaderModifier\n    requestHeaderModifier:\n      set:\n      - name: \
                  Authorization\n        value: Basic YTpi\n  backendRefs:\n"
            .to_owned();
    let files = backends.manifest()
        + &certificate.secret("cert")
        + &m::gateway("eg", &listeners)
        + &m::route("shop", "eg", &["shop.example.com"], &(signed + &m::backend_ref("a")));
    let gateway = Gateway::start(&[("all.yaml", &files)]).await;
    gateway.answers(http, "shop.example.com", "/", 200, &[]).await;

    assert_eq!(gateway.admin("/healthz").await.text(), "ok\n");
    assert!(gateway.admin("/metrics").await.text().contains("ferrogate_commits_total 1"));
    assert_eq!(gateway.admin("/logging").await.text(), "info\n");
    assert_eq!(gateway.admin_put("/logging", "debug").await.text(), "debug\n");
    assert_eq!(gateway.admin_put("/logging", "no=such=level").await.status, 400);
    assert_eq!(gateway.admin("/logging").await.text(), "debug\n");
    assert_eq!(gateway.json("/problems").await, serde_json::json!([]));
    assert_eq!(gateway.json("/audit").await, serde_json::json!([]));
    let stages = gateway.json("/stages?stage=virtual_host&text=shop").await;
    assert!(stages.to_string().contains("shop.example.com"), "{stages}");
    assert!(gateway.json("/streams").await[0]["acked_revision"].is_u64());
    let key = certificate.key.lines().nth(1).unwrap();
    let stages = gateway.json("/stages").await.to_string();
    assert!(stages.contains("[redacted]") && !stages.contains("Basic YTpi"), "a credential in /stages");
    for path in ["/xds", "/stages", "/status", "/streams", "/problems"] {
        let text = gateway.admin(path).await.text();
        assert!(!text.contains(key) && !text.contains("BEGIN PRIVATE KEY"), "{path} shows the private key");
    }
    let xds = gateway.json("/xds").await;
    for list in ["listeners", "routes", "clusters", "endpoints", "secrets"] {
        assert!(!xds["default/eg"][list].as_array().unwrap().is_empty(), "{list}");
    }

    let (code, table, _) = command(&["status", "--admin", &gateway.admin_address()]);
    assert_eq!(code, Some(0), "{table}");
    assert!(
        table.starts_with("KIND") && table.contains("HTTPRoute") && table.contains("eg/https"),
        "{table}"
    );
    let (code, text, _) =
        command(&["status", "--admin", &gateway.admin_address(), "-o", "json", "gateway/eg"]);
    let documents: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, documents.as_array().unwrap().len()), (Some(0), 1), "{text}");
    gateway.write("lost.yaml", &m::route("lost", "eg", &["lost.example.com"], &m::to("nowhere")));
    eventually("the table shows what needs attention", async || {
        let (code, table, _) = command(&["status", "--admin", &gateway.admin_address()]);
        (code == Some(1) && table.contains("!ResolvedRefs=False/BackendNotFound")).then_some(())
    })
    .await;
    let (code, _, said) = command(&["status", "--admin", &format!("127.0.0.1:{}", free_port())]);
    assert!(code == Some(2) && said.contains("ferrogate run"), "{said}");

    let run_dir = gateway.run_dir();
    assert_eq!(std::fs::metadata(&run_dir).unwrap().mode() & 0o777, 0o700);
    let files: Vec<_> = std::fs::read_dir(&run_dir).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_need_no_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.yaml");
    let bad = folder.path().join("bad.yaml");
    let files = m::backend("a", 3000)
        + &m::gateway("eg", &m::http("http", 8080))
        + &m::route("r", "eg", &[], &m::to("a"));
    std::fs::write(&good, files).unwrap();
    std::fs::write(&bad, m::gateway("broken", &m::http("http", 0))).unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    for to in ["status", "xds", "problems", "ir"] {
        for format in ["json", "yaml"] {
            let (code, text, said) = command(&["translate", "-f", good, "--to", to, "-o", format]);
            assert_eq!(code, Some(0), "{to} {format}: {said}");
            assert!(format == "yaml" || serde_json::from_str::<Value>(&text).is_ok(), "{to}: {text}");
        }
    }
    let (code, text, _) =
        command(&["translate", "-f", folder.path().to_str().unwrap(), "--to", "problems", "-o", "json"]);
    let problems: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(problems[0]["severity"], "rejected", "{text}");
    assert!(problems[0]["field"].as_str().unwrap().contains("port"), "{text}");
    assert_eq!(command(&["translate", "-f", bad, "--to", "nothing"]).0, Some(2));
    assert_eq!(command(&["translate", "-f", "/nowhere.yaml", "--to", "xds"]).0, Some(2));

    let (code, text, _) = command(&["version", "-o", "json"]);
    let version: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, version["gatewayAPI"].as_str()), (Some(0), Some("1.6.1")));
    for shell in ["bash", "zsh", "fish"] {
        assert!(command(&["completions", shell]).1.contains("ferrogate"), "{shell}");
    }
    assert_eq!(command(&["no-such-command"]).0, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_echo_command_answers_and_stops() {
    let port = free_port();
    let mut child = tokio::process::Command::new(binary())
        .args(["echo", "--listen", &format!("127.0.0.1:{port}"), "--name", "alone"])
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let reply =
        eventually("it answers", async || Client::try_http1(port).await?.try_send(get("any", "/x")).await)
            .await;
    assert_eq!((reply.backend(), &*reply.answer().path), ("alone", "/x"));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let status = tokio::time::timeout(e2e::SOON, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_come_from_standard_input() {
    let backends = Backends::start(&["a"]).await;
    let port = free_port();
    let files = backends.manifest()
        + &m::gateway("eg", &m::http("http", port))
        + &m::route("shop", "eg", &["shop.example.com"], &m::to("a"));
    // Empty variables count as unset.
    let empty = ["FERROGATE_CONFIG", "FERROGATE_ENVOY_LOG", "FERROGATE_LOG", "FERROGATE_LOG_FORMAT"];
    let gateway = Gateway::piped(&files, &empty.map(|name| (name, ""))).await;
    assert_eq!(gateway.answers(port, "shop.example.com", "/", 200, &[]).await.backend(), "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_names_the_controller() {
    let backends = Backends::start(&["a"]).await;
    let (ours, others) = (free_port(), free_port());
    let class = |name: &str, controller: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata:\n  name: {name}\nspec:\n  \
             controllerName: {controller}\n---\n"
        )
    };
    let of_class = |name: &str, port| {
        m::gateway(name, &m::http("http", port))
            .replace("gatewayClassName: ferrogate", &format!("gatewayClassName: {name}"))
    };
    let files = backends.manifest()
        + &class("ours", "example.com/ours")
        + &class("others", "gateway.envoyproxy.io/gatewayclass-controller")
        + &of_class("ours", ours)
        + &of_class("others", others)
        + &m::route("shop", "ours", &[], &m::to("a"));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    let head = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyGateway\n";
    std::fs::write(&config, format!("{head}gateway:\n  controllerName: example.com/ours\n")).unwrap();
    let gateway = Gateway::spawn(&[("all.yaml", &files)], &["--config", config.to_str().unwrap()]);
    gateway.ready().await;
    gateway.answers(ours, "any.example.com", "/", 200, &[]).await;
    assert!(Client::try_http1(others).await.is_none(), "the Gateway of another controller is served");
    assert_eq!(gateway.status("Gateway", "others").await, Value::Null);

    std::fs::write(&config, format!("{head}gateway:\n  controllerNames: example.com/ours\n")).unwrap();
    let (code, _, said) =
        command(&["run", "--config", config.to_str().unwrap(), folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("config.yaml") && said.contains("controllerNames"), "{said}");
}
