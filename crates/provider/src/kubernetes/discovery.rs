//! Which kinds the API server has, found out without permission to read CRDs.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::{
    hub::Served,
    resource::{Resource, group_path},
    server::{Failure, FailureKind, Server},
};

/// What an API server says of one version of a group.
#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// The plural; `httproutes/status` for a part of one.
    name: String,
}

/// Asks which of these resources are served, and in which version; the best that can be read.
///
/// # Errors
///
/// When one of the answers is neither a list nor "not found": then nothing is known.
pub(super) async fn discover(server: &Server, resources: &[Arc<Resource>]) -> Result<Served, Failure> {
    let mut asked: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    let mut served = Served::new();
    for resource in resources {
        for version in resource.versions {
            let names = match asked.get(&(resource.group, *version)) {
                Some(names) => names,
                None => {
                    let names = names(server, resource.group, version).await?;
                    asked.entry((resource.group, *version)).or_insert(names)
                }
            };
            if names.contains(&resource.plural) {
                served.insert((resource.group, resource.plural.clone()), *version);
                break;
            }
        }
    }
    Ok(served)
}

/// Names of the resources in one version of a group.
async fn names(server: &Server, group: &str, version: &str) -> Result<Vec<String>, Failure> {
    match server.get(&group_path(group, version)).await {
        Ok(body) => {
            let list: ResourceList = serde_json::from_slice(&body)
                .map_err(|error| Failure::garbled(format!("the list of kinds cannot be read: {error}")))?;
            Ok(list.resources.into_iter().map(|entry| entry.name).collect())
        }
        Err(failure) if failure.kind == FailureKind::NotFound => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}
