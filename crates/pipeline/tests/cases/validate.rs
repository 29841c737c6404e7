//! What the cases give, read by Envoy itself.

use std::{fs, path::PathBuf, process::Command};

use ir::resource::ResourceType;
use pipeline::Fleet;
use serde_json::{Map, Value, json};

use crate::{names, translated::Translated};

/// Listeners of a configuration need ports of their own: they count up from here.
const FIRST_PORT: u64 = 20_000;

/// Static resources of a bootstrap.
#[derive(Default)]
struct Static {
    listeners: Vec<Value>,
    clusters: Vec<Value>,
    secrets: Vec<Value>,
}

#[test]
fn envoy_accepts_the_resources_of_every_case() {
    let mut all = Static::default();
    let mut cases = Vec::new();
    for name in names() {
        let translated = Translated::of(&name);
        let mut own = Static::default();
        for (fleet, state) in translated.pipeline.fleets() {
            own.add(&format!("{}:{fleet}:", translated.name), state);
        }
        all.listeners.extend(own.listeners.iter().cloned());
        all.clusters.extend(own.clusters.iter().cloned());
        all.secrets.extend(own.secrets.iter().cloned());
        cases.push((name, own));
    }
    // All at once costs one start of Envoy; one by one is for telling which.
    if verdict(all).is_err() {
        let refused: Vec<String> = cases
            .into_iter()
            .filter_map(|(name, own)| verdict(own).err().map(|error| format!("{name}: {error}")))
            .collect();
        panic!("Envoy refuses {} cases:\n{}", refused.len(), refused.join("\n"));
    }
}

impl Static {
    /// Adds the resources of a fleet; names get a prefix, so that all cases fit into one configuration.
    fn add(&mut self, prefix: &str, fleet: &Fleet) {
        let body = |kind: ResourceType, name: &str| -> Option<Value> {
            let resource = fleet.resources.get(&(kind, name.into()))?;
            Some(envoy_api::json::to_value(kind.type_url(), &resource.body()).unwrap())
        };
        let names: Vec<&str> = fleet.resources.keys().map(|(_, name)| &**name).collect();
        for (kind, name) in fleet.resources.keys() {
            let Some(mut value) = body(*kind, name) else { continue };
            match kind {
                ResourceType::Listener => with_routes(&mut value, &|name| body(ResourceType::Route, name)),
                ResourceType::Cluster => {
                    with_endpoints(&mut value, body(ResourceType::Endpoints, name));
                    without_sds(&mut value);
                }
                ResourceType::Secret => with_system(&mut value),
                _ => {}
            }
            rename(&mut value, prefix, &names);
            match kind {
                ResourceType::Listener => self.listeners.push(value),
                ResourceType::Cluster => self.clusters.push(value),
                ResourceType::Secret => self.secrets.push(value),
                ResourceType::Route | ResourceType::Endpoints => {}
            }
        }
    }
}

/// Puts the routes into the listener and lets it take its certificates from the configuration.
fn with_routes(value: &mut Value, routes: &dyn Fn(&str) -> Option<Value>) {
    match value {
        Value::Object(fields) => {
            if let Some(rds) = fields.remove("rds") {
                let name = rds["routeConfigName"].as_str().unwrap();
                let mut routes = routes(name).unwrap_or_else(|| panic!("no routes {name}"));
                // As it is by default for routes that come by RDS: the stand-in for invalid backends is no cluster.
                routes["validateClusters"] = false.into();
                fields.insert("routeConfig".to_owned(), routes);
            }
            fields.remove("sdsConfig");
            fields.values_mut().for_each(|field| with_routes(field, routes));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| with_routes(item, routes)),
        _ => {}
    }
}

/// Lets a cluster take its secrets from the configuration.
fn without_sds(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("sdsConfig");
            fields.values_mut().for_each(without_sds);
        }
        Value::Array(items) => items.iter_mut().for_each(without_sds),
        _ => {}
    }
}

/// Puts an authority in the place of those of the system, which this one may keep elsewhere.
fn with_system(secret: &mut Value) {
    if let Some(trusted) = secret.pointer_mut("/validationContext/trustedCa")
        && trusted.get("filename").is_some()
    {
        let made = rcgen::generate_simple_self_signed(vec!["example.com".to_owned()]).unwrap();
        *trusted = json!({"inlineString": made.cert.pem()});
    }
}

/// Puts the endpoints into the cluster.
fn with_endpoints(cluster: &mut Value, endpoints: Option<Value>) {
    if cluster.get("edsClusterConfig").is_none() {
        return;
    }
    let fields = cluster.as_object_mut().unwrap();
    fields.remove("edsClusterConfig");
    fields.insert("type".to_owned(), "STATIC".into());
    let name = fields["name"].clone();
    let endpoints = endpoints.unwrap_or_else(|| panic!("no endpoints of {name}"));
    fields.insert("loadAssignment".to_owned(), endpoints);
}

fn rename(value: &mut Value, prefix: &str, names: &[&str]) {
    match value {
        Value::String(text) if names.contains(&&**text) => *text = format!("{prefix}{text}"),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename(field, prefix, names)),
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, prefix, names)),
        _ => {}
    }
}

/// What Envoy says to a configuration with these resources.
fn verdict(mut resources: Static) -> Result<(), String> {
    let envoy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools/envoy/1.40.0/envoy");
    assert!(envoy.is_file(), "Envoy is missing: `make tools` installs it");
    for (port, listener) in (FIRST_PORT..).zip(&mut resources.listeners) {
        listener["address"]["socketAddress"]["portValue"] = port.into();
    }
    let mut bootstrap = Map::new();
    bootstrap.insert("node".to_owned(), json!({"id": "test", "cluster": "test"}));
    bootstrap.insert(
        "staticResources".to_owned(),
        json!({"listeners": resources.listeners, "clusters": resources.clusters, "secrets": resources.secrets}),
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bootstrap.json");
    fs::write(&file, Value::Object(bootstrap).to_string()).unwrap();
    let mut command = Command::new(envoy);
    let output = command.args(["--mode", "validate", "-l", "error", "-c"]).arg(&file).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
