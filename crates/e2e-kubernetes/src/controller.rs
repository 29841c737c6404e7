//! The controller as it is installed: a Deployment of the bed.

use std::{fmt::Write as _, fs, path::PathBuf, process::Stdio};

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::{Bed, Metrics, Space, eventually, space};

/// The namespace of the installation, where proxies run too.
pub(crate) const NAMESPACE: &str = "envoy-gateway-system";
/// Name of the Deployment and of its container.
const NAME: &str = "envoy-gateway";
const LABELS: &str = "control-plane=envoy-gateway";
/// The Lease of the leader.
const LEASE: &str = "5b9825d2.gateway.envoyproxy.io";

/// The installed controller.
#[derive(Clone, Debug)]
pub struct Controller {
    bed: Bed,
}

impl Controller {
    pub(crate) fn new(bed: Bed) -> Controller {
        Controller { bed }
    }

    /// The installation's namespace as a space.
    #[must_use]
    pub fn space(&self) -> Space {
        Space { bed: self.bed.clone(), name: NAMESPACE.to_owned() }
    }

    /// Names of its Pods that are not on their way out.
    pub async fn pods(&self) -> Vec<String> {
        let pods = self.space().list_in("Pod", NAMESPACE, LABELS).await;
        let lives = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        pods.iter().filter(lives).map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until this many replicas are ready, and no others are there.
    pub async fn ready(&self, replicas: i64) {
        eventually(&format!("{replicas} controllers are ready"), async || {
            let deployment = self.space().get("Deployment", NAME).await?;
            (deployment["spec"]["replicas"] == replicas && space::is_rolled_out(&deployment)).then_some(())
        })
        .await;
    }

    /// Sets the number of replicas and waits until they are ready.
    ///
    /// # Panics
    /// When the API server refuses it.
    pub async fn scale(&self, replicas: i64) {
        let patch = json!({ "spec": { "replicas": replicas } });
        self.space().merge("Deployment", NAME, &patch).await;
        self.ready(replicas).await;
    }

    /// Rolls it: every replica is replaced by a new one.
    pub async fn roll(&self, mark: &str) {
        let patch =
            json!({ "spec": { "template": { "metadata": { "annotations": { "e2e/mark": mark } } } } });
        self.space().merge("Deployment", NAME, &patch).await;
        eventually("the controller is rolled out", async || {
            let deployment = self.space().get("Deployment", NAME).await?;
            space::is_rolled_out(&deployment).then_some(())
        })
        .await;
    }

    /// The image that it runs.
    ///
    /// # Panics
    /// When there is no controller.
    pub async fn image(&self) -> String {
        let deployment = self.space().get("Deployment", NAME).await.expect("the installation");
        deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    }

    /// Rolls it to another image.
    pub async fn upgrade(&self, image: &str) {
        let containers = json!([{ "name": NAME, "image": image }]);
        let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        let api = self.space().api_in("Deployment", NAMESPACE);
        api.patch(NAME, &PatchParams::default(), &Patch::Strategic(&patch)).await.unwrap();
        eventually("the controller is rolled out", async || {
            let deployment = self.space().get("Deployment", NAME).await?;
            space::is_rolled_out(&deployment).then_some(())
        })
        .await;
    }

    /// What a command in a Pod prints.
    pub async fn run(&self, pod: &str, command: &[&str]) -> String {
        let pod = format!("{NAMESPACE}/{pod}");
        let words: Vec<&str> = ["enter", &pod, NAME].into_iter().chain(command.iter().copied()).collect();
        let output = self.bed.testbed(&words).await;
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// What each replica serves to the proxies of a Gateway, but for where these proxies themselves are.
    ///
    /// # Panics
    /// When a replica does not answer.
    pub async fn served(&self, gateway: &str) -> Vec<Value> {
        let mut all = Vec::new();
        for pod in self.pods().await {
            let mut served = self.admin(&pod, "/xds").await.expect("the admin port answers")[gateway].take();
            // The cluster of a fleet's own proxies has the name of the fleet.
            let endpoints = served["endpoints"].as_array_mut().expect("endpoints");
            endpoints.retain(|endpoints| endpoints["clusterName"] != gateway);
            all.push(served);
        }
        all
    }

    /// Kills the process of a Pod, if it runs, as by SIGKILL from outside; its Pod starts another.
    pub async fn kill(&self, pod: &str) {
        self.bed.testbed(&["signal", &format!("{NAMESPACE}/{pod}"), NAME, "KILL"]).await;
    }

    /// Deletes a Pod at once, with no time to give the Lease back.
    ///
    /// # Panics
    /// When the API server refuses it.
    pub async fn delete(&self, pod: &str) {
        let now = DeleteParams::default().grace_period(0);
        self.space().api_in("Pod", NAMESPACE).delete(pod, &now).await.unwrap();
    }

    /// The Pod that holds the Lease.
    pub async fn leader(&self) -> String {
        eventually("a controller leads", async || {
            let lease = self.space().get("Lease", LEASE).await?;
            let holder = lease["spec"]["holderIdentity"].as_str()?.split('_').next()?.to_owned();
            self.pods().await.contains(&holder).then_some(holder)
        })
        .await
    }

    /// What the admin port of a Pod answers.
    pub async fn admin(&self, pod: &str, path: &str) -> Option<Value> {
        let pod = format!("{NAMESPACE}/{pod}");
        let text = self.bed.ask(&pod, NAME, &format!("http://127.0.0.1:19000{path}")).await?;
        serde_json::from_str(&text).ok()
    }

    /// Metrics of a Pod.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self, pod: &str) -> Metrics {
        self.try_metrics(pod).await.expect("the metrics port answers")
    }

    /// Metrics of a Pod, if it answers.
    pub async fn try_metrics(&self, pod: &str) -> Option<Metrics> {
        let pod = format!("{NAMESPACE}/{pod}");
        self.bed.ask(&pod, NAME, "http://127.0.0.1:19001/metrics").await.map(|text| Metrics::read(&text))
    }

    /// Waits until every replica has what one that starts now would make of the same objects.
    ///
    /// # Panics
    /// When one differs.
    pub async fn is_as_from_scratch(&self) {
        for pod in self.pods().await {
            let found = self.admin(&pod, "/audit").await;
            assert_eq!(found, Some(json!([])), "{pod} differs from a build from scratch");
        }
    }

    /// Changes the installation's Deployment.
    ///
    /// # Panics
    /// When the API server refuses it.
    pub async fn patch(&self, patch: &Value) {
        let api = self.space().api_in("Deployment", NAMESPACE);
        api.patch(NAME, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// The last lines of all replicas' logs.
    pub(crate) async fn logs(&self, lines: usize) -> String {
        let mut text = String::new();
        for pod in self.pods().await {
            let file = self.bed.state().join("logs/pods").join(format!("{NAMESPACE}_{pod}_{NAME}.log"));
            let log = fs::read_to_string(&file).unwrap_or_default();
            let all: Vec<&str> = log.lines().collect();
            let from = all.len().saturating_sub(lines);
            let _ = writeln!(text, "{}:\n{}", file.display(), all[from..].join("\n"));
        }
        text
    }
}

/// Another controller, as a process of the bed's network, with another name; it serves no proxies of the first.
/// It ends with what is returned.
///
/// # Panics
/// When it cannot be started.
pub async fn second_controller(space: &Space, name: &str) -> tokio::process::Child {
    let folder = space.bed.state().join(format!("second-{}", space.name));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config.yaml");
    let config = format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyGateway\ngateway: {{ controllerName: {name} }}\n\
         provider: {{ type: Kubernetes }}\n"
    );
    fs::write(&file, config).unwrap();
    let certificates = space.controller_certificates(&folder).await;
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = tokio::process::Command::new(e2e::binary());
    command
        .arg("server")
        .arg("--config-path")
        .arg(&file)
        .arg("--kubeconfig")
        .arg(space.bed.state().join("kubeconfig"))
        .arg("--certs")
        .arg(certificates)
        .args(["--xds-address", "127.0.0.1:28000", "--health-address", "127.0.0.1:28081"])
        .args(["--metrics-address", "127.0.0.1:29001", "--admin", "127.0.0.1:29000"])
        .args(["--webhook-address", "127.0.0.1:29443"])
        .env("ENVOY_GATEWAY_NAMESPACE", &space.name)
        .stdout(Stdio::from(log.try_clone().unwrap()))
        .stderr(Stdio::from(log))
        .kill_on_drop(true)
        .spawn()
        .expect("the gateway's binary")
}

impl Space {
    /// Writes the installation's certificates to files; a second control plane needs some.
    async fn controller_certificates(&self, folder: &std::path::Path) -> PathBuf {
        let certificates = folder.join("certs");
        fs::create_dir_all(&certificates).unwrap();
        let secret = self.api_in("Secret", NAMESPACE).get(NAME).await.expect("the Secret of certgen");
        let secret = serde_json::to_value(secret).unwrap();
        for (name, value) in secret["data"].as_object().unwrap() {
            let output = tokio::process::Command::new("sh")
                .args(["-c", "printf %s \"$1\" | base64 -d > \"$2\"", "sh", value.as_str().unwrap()])
                .arg(certificates.join(name))
                .status()
                .await;
            assert!(output.unwrap().success());
        }
        certificates
    }
}
