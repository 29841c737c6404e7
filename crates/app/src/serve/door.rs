//! The part that talks to proxies: the xDS port, its certificates, and who may have what.

use std::{net::SocketAddr, path::Path};

use anyhow::Context;
use ir::infra::DeployMode;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use server::{
    BearerToken, ByPod, ByToken, Clients, Feeds, Pods, Protocols, ReviewError, Server, Tls, TokenIdentity,
    TokenReviewer,
};
use tokio_util::sync::CancellationToken;

use super::{plan::DoorPlan, tasks::Tasks};

/// Claims of a token that is bound to a Pod, as the API server tells them.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Takes the port, and serves proxies as soon as `synced`.
pub(super) async fn start(
    plan: &DoorPlan,
    address: SocketAddr,
    certificates: &Path,
    kubeconfig: Option<&Path>,
    feeds: &Feeds,
    pods: Pods,
    synced: CancellationToken,
) -> anyhow::Result<Tasks> {
    let (server, clients) = match plan.mode {
        DeployMode::ControllerNamespace => {
            let name = format!("*.{}", plan.namespace);
            let server = Server::new(feeds.clone(), ByPod::new(pods, &plan.namespace));
            (server, Clients::Certified { name: Some(name) })
        }
        DeployMode::GatewayNamespace => {
            let audience = format!("envoy-gateway.{}.svc.{}", plan.namespace, plan.dns_domain);
            let reviewer = Reviewer(provider::kubernetes::connect(kubeconfig).await?);
            (Server::new(feeds.clone(), ByToken::new(pods, reviewer, &audience)), Clients::Anyone)
        }
    };
    let tls = Tls::load(certificates, clients, Protocols::Http2)
        .with_context(|| format!("cannot use the certificate in {}", certificates.display()))?;
    let door = server.with_connections(plan.connections.clone()).bind_tcp(address, tls)?;
    let mut tasks = Tasks::default();
    let stop = tasks.stop_token();
    tasks.spawn("xds", async move {
        let synced = async move { synced.cancelled().await };
        if let Err(error) = door.serve(synced, stop.cancelled_owned()).await {
            tracing::error!("{error}");
        }
    });
    Ok(tasks)
}

/// Asks the API server whose a token is.
struct Reviewer(kube::Client);

#[tonic::async_trait]
impl TokenReviewer for Reviewer {
    async fn review(&self, token: &BearerToken, audience: &str) -> Result<TokenIdentity, ReviewError> {
        let question = TokenReview {
            spec: TokenReviewSpec {
                token: token.expose().to_owned(),
                audiences: Some(vec![audience.to_owned()]),
            },
            ..TokenReview::default()
        };
        let reviews = kube::Api::<TokenReview>::all(self.0.clone());
        let answer = reviews.create(&PostParams::default(), &question).await;
        let answer = answer.map_err(|error| ReviewError::Unavailable(error.to_string()))?;
        identity(&answer, audience).map_err(ReviewError::Refused)
    }
}

fn identity(review: &TokenReview, audience: &str) -> Result<TokenIdentity, String> {
    let status = review.status.as_ref().ok_or("the API server did not judge the token")?;
    if status.authenticated != Some(true) {
        let error = status.error.as_deref().unwrap_or("no reason given");
        return Err(format!("the API server does not accept the token: {error}"));
    }
    // An API server that knows no audiences answers without; then the token may be meant for anybody.
    if !status.audiences.iter().flatten().any(|found| found == audience) {
        return Err(format!("the token is not meant for {audience}"));
    }
    let user = status.user.as_ref().ok_or("the token belongs to nobody")?;
    let account = user.username.as_deref().unwrap_or_default();
    let namespace = account
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
        .map(|(namespace, _)| namespace.to_owned())
        .ok_or_else(|| format!("{account} is not a service account"))?;
    let claim = |name: &str| user.extra.as_ref().and_then(|extra| extra.get(name)?.first().cloned());
    let pod = claim(POD_NAME).ok_or("the token is not bound to a Pod")?;
    Ok(TokenIdentity { namespace, pod, pod_uid: claim(POD_UID) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AUDIENCE: &str = "envoy-gateway.system.svc.cluster.local";

    fn judge(status: &serde_json::Value) -> Result<TokenIdentity, String> {
        let review = json!({ "metadata": {}, "spec": {}, "status": status });
        identity(&serde_json::from_value(review).unwrap(), AUDIENCE)
    }

    fn status() -> serde_json::Value {
        json!({
            "authenticated": true,
            "audiences": [AUDIENCE],
            "user": {
                "username": "system:serviceaccount:shop:envoy",
                "extra": { POD_NAME: ["envoy-1"], POD_UID: ["u1"] }
            }
        })
    }

    #[test]
    fn a_token_of_a_pod_names_it() {
        let found = judge(&status()).unwrap();
        assert_eq!(
            (&*found.namespace, &*found.pod, found.pod_uid.as_deref()),
            ("shop", "envoy-1", Some("u1"))
        );
    }

    #[test]
    fn other_tokens_are_refused() {
        let mut refused = status();
        refused["authenticated"] = false.into();
        refused["error"] = "expired".into();
        assert!(judge(&refused).unwrap_err().contains("expired"));
        let mut foreign = status();
        foreign["audiences"] = json!(["https://kubernetes.default.svc"]);
        assert!(judge(&foreign).unwrap_err().contains("not meant for"));
        let mut person = status();
        person["user"]["username"] = "alice".into();
        assert!(judge(&person).unwrap_err().contains("not a service account"));
        let mut unbound = status();
        unbound["user"]["extra"] = json!({});
        assert!(judge(&unbound).unwrap_err().contains("not bound to a Pod"));
    }
}
