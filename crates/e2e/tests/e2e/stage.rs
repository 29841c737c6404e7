//! A gateway for tests of BackendTrafficPolicies: each route has one policy, and `plain` has none.

use e2e::{Backends, Client, Gateway, Reply, eventually, free_port, get, manifest as m, request};

/// A gateway whose routes are named after their policies and answer the host of that name below `example.com`.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) port: u16,
}

impl Stage {
    /// Routes to backend `a`. `policies` has the name of each route with what its policy says, as YAML without
    /// indentation; nothing for a route without policy.
    pub(crate) async fn set(backends: &Backends, policies: &[(&str, &str)]) -> Stage {
        Stage::over(&backends.manifest(), &m::to("a"), policies).await
    }

    /// The same with these backends (manifests), and with this rule in each route.
    pub(crate) async fn over(backends: &str, rule: &str, policies: &[(&str, &str)]) -> Stage {
        let port = free_port();
        let gateway = m::gateway("eg", &m::http("http", port));
        let routes: String = ["plain"]
            .iter()
            .chain(policies.iter().map(|(name, _)| name))
            .map(|name| route(name, rule))
            .collect();
        let texts: Vec<(String, String)> = (policies.iter())
            .filter(|(_, says)| !says.is_empty())
            .map(|(name, says)| (file(name), policy(name, says)))
            .collect();
        let mut files =
            vec![("gateway.yaml", &*gateway), ("backends.yaml", backends), ("routes.yaml", &*routes)];
        files.extend(texts.iter().map(|(file, text)| (&**file, &**text)));
        let stage = Stage { gateway: Gateway::start(&files).await, port };
        eventually("the last route is served", async || {
            let last = policies.last().map_or("plain", |(name, _)| name);
            (stage.get(last).await.status != 404).then_some(())
        })
        .await;
        stage
    }

    /// Takes these backends instead.
    pub(crate) fn backends(&self, manifests: &str) {
        self.gateway.write("backends.yaml", manifests);
    }

    /// Gives a route another policy, or none when it says nothing.
    pub(crate) fn policy(&self, name: &str, says: &str) {
        match says {
            "" => self.gateway.remove(&file(name)),
            says => self.gateway.write(&file(name), &policy(name, says)),
        }
    }

    pub(crate) async fn get(&self, name: &str) -> Reply {
        self.send(name, "GET", "/", &[], "").await
    }

    pub(crate) async fn send(
        &self,
        name: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let host = format!("{name}.example.com");
        Client::http1(self.port).await.send(request(method, &host, path, headers, body)).await
    }

    /// A GET with knobs of the backend.
    pub(crate) async fn ask(&self, name: &str, knobs: &[(&str, &str)]) -> Reply {
        self.send(name, "GET", "/", knobs, "").await
    }

    /// As many GETs at once, each on a connection of its own.
    pub(crate) async fn burst(&self, name: &str, path: &str, count: usize) -> Vec<Reply> {
        let port = self.port;
        let question = || get(&format!("{name}.example.com"), path);
        let tasks: Vec<_> = (0..count)
            .map(|_| question())
            .map(|question| tokio::spawn(async move { Client::http1(port).await.send(question).await }))
            .collect();
        let mut replies = Vec::new();
        for task in tasks {
            replies.push(task.await.unwrap());
        }
        replies
    }
}

fn file(policy: &str) -> String {
    format!("policy-{policy}.yaml")
}

fn policy(name: &str, says: &str) -> String {
    m::backend_traffic_policy(name, ("HTTPRoute", name), says)
}

fn route(name: &str, rule: &str) -> String {
    m::route(name, "eg", &[&format!("{name}.example.com")], rule)
}

/// A `Backend` with several endpoints, each a port of 127.0.0.1 and a zone (none when empty).
pub(crate) fn pool(name: &str, endpoints: &[(u16, &str)]) -> String {
    let endpoint = |(port, zone): &(u16, &str)| {
        let zone = if zone.is_empty() { String::new() } else { format!(", zone: {zone}") };
        format!("  - {{ip: {{address: 127.0.0.1, port: {port}}}{zone}}}\n")
    };
    let endpoints: String = endpoints.iter().map(endpoint).collect();
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata:\n  name: {name}\nspec:\n  \
         endpoints:\n{endpoints}---\n"
    )
}
