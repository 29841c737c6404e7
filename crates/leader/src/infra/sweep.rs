//! Fleets that went while nobody led: their objects are found by their labels.

use std::collections::BTreeMap;

use ir::{
    Kind,
    infra::{DeployMode, labels},
};
use serde_json::Value;

use super::{
    Fleets, again,
    object::{Id, KINDS, query},
};
use crate::{
    call::{Failure, Path, Verb},
    queue::Verdict,
};

/// Labels that tell the owner.
const OWNING: [&str; 3] =
    [labels::OWNING_GATEWAY_NAMESPACE, labels::OWNING_GATEWAY_NAME, labels::OWNING_GATEWAY_CLASS];

/// A fleet by its labels: its namespace and the labels that tell the owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    namespace: String,
    labels: BTreeMap<String, String>,
}

impl Owner {
    fn new(namespace: &str, labels: impl IntoIterator<Item = (String, String)>) -> Owner {
        let labels = labels.into_iter().filter(|(name, _)| OWNING.contains(&name.as_str()));
        Owner { namespace: namespace.to_owned(), labels: labels.collect() }
    }

    fn of(item: &Value) -> Owner {
        let labels = item["metadata"]["labels"].as_object();
        let labels = labels.into_iter().flatten();
        let labels = labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Owner::new(item["metadata"]["namespace"].as_str().unwrap_or_default(), labels)
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }
}

/// What becomes of objects whose fleet is not wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Delete,
    Keep,
}

impl Fleets {
    /// Deletes the objects of fleets that do not exist.
    pub(super) async fn sweep(&self) -> Verdict {
        match self.try_sweep().await {
            Ok(()) => Verdict::Done,
            Err(Failure::NotLeading) => Verdict::Done,
            Err(failure) => {
                tracing::warn!(reason = %failure, "left-over infrastructure could not be looked for");
                again(&[failure])
            }
        }
    }

    async fn try_sweep(&self) -> Result<(), Failure> {
        let app = labels::APP.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let selector = query(&app.into_iter().collect());
        let everywhere = [String::new()];
        let namespaces = if self.namespaces.is_empty() { &everywhere[..] } else { &self.namespaces };
        let mut left_over: BTreeMap<Owner, Vec<(Id, Value)>> = BTreeMap::new();
        for namespace in namespaces {
            for (api_version, kind) in KINDS {
                for item in self.list(api_version, kind, namespace, &selector).await? {
                    if let Some(id) = Id::of_item(api_version, kind, &item) {
                        left_over.entry(Owner::of(&item)).or_default().push((id, item));
                    }
                }
            }
        }
        let mut first_failure = Ok(());
        for (owner, objects) in left_over {
            if self.is_wished(&owner) || self.fate(&owner).await? == Fate::Keep {
                continue;
            }
            tracing::info!(owner = ?owner.labels, "infrastructure of a fleet that is gone is deleted");
            for (id, item) in objects {
                // The fleet may have come while the others were judged.
                if self.is_wished(&owner) {
                    break;
                }
                if let Err(failure) = self.delete(&id, &item).await {
                    first_failure = first_failure.and(Err(failure));
                }
            }
        }
        first_failure
    }

    /// Whether a fleet with these labels is known, be it to keep, to change or to delete: its own rounds see to it.
    fn is_wished(&self, owner: &Owner) -> bool {
        let mut desk = self.desk.open();
        let fleets = &desk.state().fleets;
        fleets.values().any(|fleet| Owner::new(&fleet.namespace, fleet.selector.clone()) == *owner)
    }

    /// Judges a fleet that is not wished by its owner. A Gateway that exists and is ours keeps its proxies: something
    /// keeps us from understanding it, and they serve what they have.
    async fn fate(&self, owner: &Owner) -> Result<Fate, Failure> {
        let of_others = match self.mode {
            DeployMode::ControllerNamespace => Fate::Delete,
            // Another controller of the same make may run proxies there.
            DeployMode::GatewayNamespace => Fate::Keep,
        };
        if let Some(class) = owner.label(labels::OWNING_GATEWAY_CLASS) {
            return Ok(match self.is_ours(class).await? {
                // Its Gateways are gone, or are not merged any more.
                None | Some(true) => Fate::Delete,
                Some(false) => of_others,
            });
        }
        let (Some(namespace), Some(name)) =
            (owner.label(labels::OWNING_GATEWAY_NAMESPACE), owner.label(labels::OWNING_GATEWAY_NAME))
        else {
            return Ok(Fate::Keep);
        };
        let gateway = match self.get(Kind::Gateway, namespace, name).await {
            Err(Failure::NotFound) => return Ok(Fate::Delete),
            // Outside of the namespaces that we may read.
            Err(Failure::Forbidden(_)) => return Ok(Fate::Keep),
            gateway => gateway?,
        };
        let class = gateway["spec"]["gatewayClassName"].as_str().unwrap_or_default();
        if self.is_merged(class) {
            return Ok(Fate::Delete);
        }
        Ok(match self.is_ours(class).await? {
            Some(true) => {
                tracing::warn!(gateway = %format_args!("{namespace}/{name}"), "its proxies are left as they are");
                Fate::Keep
            }
            Some(false) => of_others,
            None => Fate::Delete,
        })
    }

    /// Whether the Gateways of a class share one fleet, which then has taken the place of each one's own.
    fn is_merged(&self, class: &str) -> bool {
        let mut desk = self.desk.open();
        let mut fleets = desk.state().fleets.values();
        fleets.any(|fleet| fleet.selector.get(labels::OWNING_GATEWAY_CLASS).is_some_and(|name| name == class))
    }

    /// Whether a class has our controller; `None` when there is no such class.
    async fn is_ours(&self, class: &str) -> Result<Option<bool>, Failure> {
        match self.get(Kind::GatewayClass, "", class).await {
            Ok(class) => Ok(Some(class["spec"]["controllerName"] == *self.controller)),
            Err(Failure::NotFound) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Value, Failure> {
        self.api.call(Verb::Get, &Path::object(&kind.api_version(), kind.name(), namespace, name)).await
    }
}
