//! What the command and the controller find wrong in a cluster.

use std::{fs, path::Path};

use e2e_kubernetes::{Bed, Space, eventually};
use serde_json::Value;

use crate::shop;

/// `CODE object` of each finding about objects of the space, with these files applied.
async fn found(space: &Space, files: &[&Path]) -> Vec<String> {
    let mut command = tokio::process::Command::new(e2e::binary());
    command.arg("check").arg("--kubeconfig").arg(space.bed.state().join("kubeconfig"));
    for file in files {
        command.arg("-f").arg(file);
    }
    command.args(["-n", &space.name, "-o", "json", "--fail-on", "never"]);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings.iter().map(|f| format!("{} {}", text(&f["code"]), text(&f["objects"][0]["name"]))).collect()
}

#[tokio::test]
async fn findings_are_told_by_the_command_and_as_events() {
    Bed::run("checks", async |space| {
        let at = shop(space).await;
        assert_eq!(found(space, &[]).await, [""; 0]);
        space.route("lost", "shop", "lost.example.com", "gone").await;
        space.answers(at, "lost.example.com", 500).await;
        assert_eq!(found(space, &[]).await, ["FG401 lost"]);
        // As it would be with the Service, which has no endpoints yet.
        let file = space.bed.state().join(format!("{}.yaml", space.name));
        let service = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: gone, namespace: {} }}\n\
             spec: {{ ports: [{{ name: http, port: 80 }}] }}\n",
            space.name
        );
        fs::write(&file, service).unwrap();
        assert_eq!(found(space, &[&file]).await, ["FG404 lost"]);
        fs::remove_file(&file).unwrap();

        let events = async || {
            let all = space.list("Event").await;
            let ours = all.into_iter().filter(|event| event["reason"] == "BackendMissing");
            ours.collect::<Vec<Value>>()
        };
        let event = eventually("an Event tells it", async || events().await.pop()).await;
        let route = space.get("HTTPRoute", "lost").await.unwrap();
        let (object, message) = (&event["involvedObject"], event["message"].as_str().unwrap());
        assert_eq!((&object["kind"], &object["uid"]), (&"HTTPRoute".into(), &route["metadata"]["uid"]));
        assert!(event["type"] == "Warning" && message.starts_with("FG401 "), "{event}");
        let controller = space.bed.controller();
        let metrics = controller.metrics(&controller.leader().await).await;
        assert!(metrics.sum("ferrogate_findings", "code=\"FG401\"") >= 1.0);
        // Another leader finds it told already.
        controller.roll(&format!("checks-{}", space.name)).await;
        eventually("the new leader has looked", async || {
            let metrics = controller.try_metrics(&controller.leader().await).await?;
            (metrics.sum("ferrogate_findings", "code=\"FG401\"") >= 1.0).then_some(())
        })
        .await;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert_eq!(events().await.len(), 1);
    })
    .await;
}
