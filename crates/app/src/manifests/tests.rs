//! The documents are what Kubernetes takes: known kinds, known fields, in an order in which they can be applied.

use std::collections::BTreeSet;

use api::k8s_openapi::{
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        apps::v1::Deployment,
        batch::v1::Job,
        core::v1::{ConfigMap, Namespace, Service, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    serde::{Serialize, de::DeserializeOwned},
};
use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn parse(words: &[&str]) -> Args {
    Line::parse_from(std::iter::once("manifests").chain(words.iter().copied())).args
}

fn of(words: &[&str]) -> Vec<Value> {
    let documents = documents(&parse(words)).unwrap();
    // As they are printed and read again.
    documents
        .iter()
        .map(|d| serde_yaml_ng::from_str(&serde_yaml_ng::to_string(d).unwrap()).unwrap())
        .collect()
}

fn kind(document: &Value) -> &str {
    document["kind"].as_str().unwrap()
}

/// Reads and writes it: a field that the type does not know gets lost.
fn round<T: DeserializeOwned + Serialize>(document: &Value) -> Value {
    let typed: T = serde_json::from_value(document.clone()).unwrap();
    serde_json::to_value(typed).unwrap()
}

fn is_known(document: &Value) {
    let again = match kind(document) {
        "Namespace" => round::<Namespace>(document),
        "CustomResourceDefinition" => round::<CustomResourceDefinition>(document),
        "ServiceAccount" => round::<ServiceAccount>(document),
        "ClusterRole" => round::<ClusterRole>(document),
        "ClusterRoleBinding" => round::<ClusterRoleBinding>(document),
        "Role" => round::<Role>(document),
        "RoleBinding" => round::<RoleBinding>(document),
        "Job" => round::<Job>(document),
        "ConfigMap" => round::<ConfigMap>(document),
        "Service" => round::<Service>(document),
        "Deployment" => round::<Deployment>(document),
        "MutatingWebhookConfiguration" => round::<MutatingWebhookConfiguration>(document),
        "GatewayClass" => document.clone(),
        other => panic!("{other}"),
    };
    assert_eq!(&again, document);
}

#[test]
fn every_document_is_of_a_kind_and_its_fields_are_known() {
    for mode in ["ControllerNamespace", "GatewayNamespace"] {
        of(&["--deploy-mode", mode]).iter().for_each(is_known);
    }
}

#[test]
fn what_is_needed_comes_first() {
    let all = of(&[]);
    let mut kinds: Vec<&str> = all.iter().map(kind).collect();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "Namespace",
            "CustomResourceDefinition",
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "MutatingWebhookConfiguration",
            "ServiceAccount",
            "Role",
            "RoleBinding",
            "ClusterRole",
            "ClusterRoleBinding",
            "Job",
            "ConfigMap",
            "Service",
            "Deployment",
            "GatewayClass"
        ]
    );
    let names: BTreeSet<String> =
        all.iter().map(|d| format!("{}/{}", d["kind"], d["metadata"]["name"])).collect();
    assert_eq!(names.len(), all.len(), "no object twice");
}

#[test]
fn crds_can_be_apart() {
    let rest = of(&["--skip-crds"]);
    assert!(rest.iter().all(|d| kind(d) != "CustomResourceDefinition"));
    assert_eq!(api::crds().len() + rest.len(), of(&[]).len());
    let own = of(&["--skip-gateway-api-crds"]);
    let groups = own.iter().filter_map(|d| d["spec"]["group"].as_str());
    assert_eq!(groups.collect::<BTreeSet<_>>(), BTreeSet::from(["gateway.envoyproxy.io"]));
}

#[test]
fn flags_reach_where_they_belong() {
    let all = of(&[
        "--namespace=edge",
        "--image=mine:1",
        "--replicas=3",
        "--controller-name=example.com/mine",
        "--class-name=mine",
        "--skip-crds",
    ]);
    let find = |which: &str| all.iter().find(|d| kind(d) == which).unwrap();
    for document in &all {
        let (namespace, name) = (&document["metadata"]["namespace"], &document["metadata"]["name"]);
        let expected = if namespace.is_null() { continue } else { "edge" };
        assert_eq!(namespace, expected, "{name}");
    }
    for subject in all.iter().filter_map(|d| d["subjects"].as_array()).flatten() {
        assert_eq!(subject["namespace"], "edge");
    }
    let deployment = &find("Deployment")["spec"];
    assert_eq!(
        (&deployment["replicas"], find("Namespace")["metadata"]["name"].as_str()),
        (&json!(3), Some("edge"))
    );
    let pod = |which: &str| find(which)["spec"]["template"]["spec"].clone();
    for which in ["Deployment", "Job"] {
        assert_eq!(pod(which)["containers"][0]["image"], "mine:1");
    }
    assert_eq!(find("GatewayClass")["metadata"]["name"], "mine");
    assert_eq!(find("GatewayClass")["spec"]["controllerName"], "example.com/mine");
    let file = find("ConfigMap")["data"]["envoy-gateway.yaml"].as_str().unwrap();
    let read = admission::Admission::new().config(file).unwrap();
    assert_eq!(read.gateway.controller_name, "example.com/mine");
    let image = read.provider.kubernetes.shutdown_manager.unwrap().image;
    assert_eq!(image.as_deref(), Some("mine:1"));
}

/// All rules of the roles that the control plane has, as `group/resource:verb`.
fn rights(words: &[&str]) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for role in of(words).iter().filter(|d| {
        let name = d["metadata"]["name"].as_str().unwrap();
        matches!(kind(d), "Role" | "ClusterRole") && !name.starts_with("envoy-gateway-certgen")
    }) {
        for rule in role["rules"].as_array().unwrap() {
            let strings = |field: &str| -> Vec<String> {
                rule[field].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
            };
            for (resource, verb) in strings("resources")
                .iter()
                .flat_map(|r| strings("verbs").into_iter().map(move |v| (r.clone(), v)))
            {
                rights.insert(format!("{}/{resource}:{verb}", strings("apiGroups")[0]));
            }
        }
    }
    rights
}

#[test]
fn rights_are_few() {
    let rights = rights(&[]);
    for needed in [
        "/secrets:watch",
        "/pods:watch",
        "gateway.networking.k8s.io/httproutes:watch",
        "gateway.networking.k8s.io/httproutes/status:update",
        "gateway.networking.k8s.io/gatewayclasses:patch",
        "gateway.envoyproxy.io/backends/status:update",
        "apps/deployments:patch",
        "coordination.k8s.io/leases:update",
    ] {
        assert!(rights.contains(needed), "{needed}");
    }
    for right in &rights {
        let (resource, verb) = right.split_once(':').unwrap();
        let reads = ["get", "list", "watch"].contains(&verb);
        assert!(!resource.contains('*') && verb != "*", "{right}");
        assert!(reads || resource != "/secrets", "{right}");
        assert!(reads || !resource.ends_with("httproutes"), "{right}");
        assert!(verb == "update" || !resource.ends_with("/status"), "{right}");
    }
    assert!(!rights.iter().any(|right| right.contains("tokenreviews")));
    let more = self::rights(&["--deploy-mode=GatewayNamespace"]);
    assert!(more.contains("authentication.k8s.io/tokenreviews:create"));
}

#[test]
fn the_api_server_asks_for_bindings_where_proxies_run() {
    let webhook = |words: &[&str]| {
        let all = of(words);
        let document = all.iter().find(|d| kind(d) == "MutatingWebhookConfiguration").unwrap().clone();
        let ports = all.iter().find(|d| kind(d) == "Service").unwrap()["spec"]["ports"].clone();
        let asked = &document["webhooks"][0]["clientConfig"]["service"]["port"];
        assert!(ports.as_array().unwrap().iter().any(|port| port["port"] == *asked));
        // The one certificate of the control plane that the Job makes known is that of this registration.
        let named = all.iter().filter(|d| kind(d) == "ClusterRole").find_map(|d| {
            d["rules"].as_array().unwrap().iter().find_map(|rule| rule["resourceNames"][0].as_str())
        });
        assert_eq!(named, document["metadata"]["name"].as_str());
        document
    };
    let here = webhook(&["--namespace=edge"]);
    assert_eq!(here["metadata"]["name"], "envoy-gateway-topology-injector.edge");
    let selector = &here["webhooks"][0]["namespaceSelector"]["matchLabels"];
    assert_eq!(selector["kubernetes.io/metadata.name"], "edge");
    assert_eq!(here["webhooks"][0]["failurePolicy"], "Ignore", "Pods are bound whoever answers");
    let everywhere = webhook(&["--deploy-mode=GatewayNamespace"]);
    assert!(everywhere["webhooks"][0]["namespaceSelector"].is_null());
}

#[test]
fn containers_are_confined() {
    for document in of(&["--skip-crds"]).iter().filter(|d| matches!(kind(d), "Deployment" | "Job")) {
        let pod = &document["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsUser"], 65_532);
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(
            (&container["readOnlyRootFilesystem"], &container["capabilities"]["drop"][0]),
            (&json!(true), &json!("ALL"))
        );
    }
}

#[derive(Parser)]
struct Server {
    #[command(flatten)]
    _args: crate::serve::Args,
}

#[test]
fn rules_share_clusters_unless_the_configuration_says_otherwise() {
    let all = of(&["--skip-crds"]);
    let find = |which: &str| all.iter().find(|d| kind(d) == which).unwrap();
    let container = &find("Deployment")["spec"]["template"]["spec"]["containers"][0];
    let args: Vec<&str> = container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert_eq!((args[0], args.last()), ("server", Some(&"--merge-backends")));
    Server::try_parse_from(args).unwrap();
    // Beside mergeGateways, what a file says of it would be a conflict.
    let file = find("ConfigMap")["data"]["envoy-gateway.yaml"].as_str().unwrap();
    assert!(admission::Admission::new().config(file).unwrap().envoy_proxy.is_none());
}
