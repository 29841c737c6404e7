//! The certificates as Secrets.

use std::collections::BTreeMap;

use anyhow::Context;
use api::k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use super::material::{CONTROL_PLANE, HMAC, HMAC_KEY, Set};

/// Field manager of the writes.
const MANAGER: &str = "envoy-gateway";
/// The authority's key in a Secret.
const AUTHORITY: &str = "ca.crt";
/// Attempts to write what others write at the same time.
const ATTEMPTS: usize = 5;

/// Secrets of one namespace, and the webhook that goes with them.
pub(super) struct Cluster {
    secrets: Api<Secret>,
    webhooks: Api<MutatingWebhookConfiguration>,
    namespace: String,
}

/// What became of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Created,
    Replaced,
    Kept,
}

impl Cluster {
    pub(super) fn new(client: Client, namespace: &str) -> Cluster {
        Cluster {
            secrets: Api::namespaced(client.clone(), namespace),
            webhooks: Api::all(client),
            namespace: namespace.to_owned(),
        }
    }

    /// Writes all Secrets. Those that are there already are kept, unless `overwrite`.
    pub(super) async fn publish(&self, set: &Set, overwrite: bool) -> anyhow::Result<()> {
        let mut kept = Vec::new();
        let mut created = Vec::new();
        for secret in secrets(set, &self.namespace) {
            let name = secret.metadata.name.clone().unwrap_or_default();
            let outcome = self.put(secret, overwrite).await;
            let outcome =
                outcome.with_context(|| format!("cannot write the Secret {}/{name}", self.namespace))?;
            tracing::info!(secret = %format!("{}/{name}", self.namespace), ?outcome, "Secret");
            match outcome {
                _ if name == HMAC => {}
                Outcome::Kept => kept.push(name),
                Outcome::Created | Outcome::Replaced => created.push(name),
            }
        }
        if !kept.is_empty() && !created.is_empty() {
            tracing::warn!(
                "the certificates of {} are from another authority than those that were there ({}): they do not \
                 trust each other. Make all anew with --overwrite",
                created.join(", "),
                kept.join(", ")
            );
        }
        Ok(())
    }

    async fn put(&self, secret: Secret, overwrite: bool) -> Result<Outcome, kube::Error> {
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let name = secret.metadata.name.clone().unwrap_or_default();
        let mut attempt = 1;
        loop {
            let written = match self.secrets.get_opt(&name).await? {
                Some(_) if !overwrite => return Ok(Outcome::Kept),
                Some(mut there) => {
                    // Its type cannot change, and what others have written beside the contents is theirs.
                    there.data.clone_from(&secret.data);
                    let labels = secret.metadata.labels.clone().unwrap_or_default();
                    there.metadata.labels.get_or_insert_default().extend(labels);
                    there.metadata.managed_fields = None;
                    self.secrets.replace(&name, &params, &there).await.map(|_| Outcome::Replaced)
                }
                None => self.secrets.create(&params, &secret).await.map(|_| Outcome::Created),
            };
            match written {
                // Somebody was there in between: look again.
                Err(kube::Error::Api(status)) if status.is_conflict() && attempt < ATTEMPTS => attempt += 1,
                Err(kube::Error::Api(status)) if status.is_already_exists() && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// Tells the API server whom to trust when it asks the webhook that tells proxies their zone. Does nothing when
    /// there is no such webhook.
    pub(super) async fn tell_webhook(&self) -> anyhow::Result<()> {
        let secret = self.secrets.get(CONTROL_PLANE).await;
        let secret =
            secret.with_context(|| format!("cannot read the Secret {}/{CONTROL_PLANE}", self.namespace))?;
        let authority = secret.data.unwrap_or_default().remove(AUTHORITY);
        let authority = authority
            .with_context(|| format!("the Secret {}/{CONTROL_PLANE} has no {AUTHORITY}", self.namespace))?;
        let name = format!("envoy-gateway-topology-injector.{}", self.namespace);
        let told = self.tell(&name, &authority).await;
        let told = told.with_context(|| format!("cannot write the MutatingWebhookConfiguration {name}"))?;
        if told {
            tracing::info!(webhook = %name, "trusts the authority");
        } else {
            tracing::info!(webhook = %name, "nothing to change, or not there");
        }
        Ok(())
    }

    async fn tell(&self, name: &str, authority: &ByteString) -> Result<bool, kube::Error> {
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let mut attempt = 1;
        loop {
            let Some(mut configuration) = self.webhooks.get_opt(name).await? else { return Ok(false) };
            let mut changed = false;
            for webhook in configuration.webhooks.iter_mut().flatten() {
                let bundle = &mut webhook.client_config.ca_bundle;
                if bundle.as_ref() != Some(authority) {
                    *bundle = Some(authority.clone());
                    changed = true;
                }
            }
            if !changed {
                return Ok(false);
            }
            match self.webhooks.replace(name, &params, &configuration).await {
                Err(kube::Error::Api(status)) if status.is_conflict() && attempt < ATTEMPTS => attempt += 1,
                other => return other.map(|_| true),
            }
        }
    }
}

/// Everything as Secrets.
fn secrets(set: &Set, namespace: &str) -> Vec<Secret> {
    let secret = |name: &str, type_: &str, data: Vec<(&str, &[u8])>| Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([("control-plane".to_owned(), "envoy-gateway".to_owned())])),
            ..ObjectMeta::default()
        },
        type_: Some(type_.to_owned()),
        data: Some(data.into_iter().map(|(k, v)| (k.to_owned(), ByteString(v.to_vec()))).collect()),
        ..Secret::default()
    };
    let mut all: Vec<Secret> = set
        .pairs
        .iter()
        .map(|pair| {
            let data = vec![
                ("tls.crt", pair.certificate.as_bytes()),
                ("tls.key", pair.key.as_bytes()),
                (AUTHORITY, set.authority.as_bytes()),
            ];
            secret(pair.name, "kubernetes.io/tls", data)
        })
        .collect();
    all.push(secret(HMAC, "Opaque", vec![(HMAC_KEY, &set.hmac)]));
    all
}
