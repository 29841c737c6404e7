//! A port with many HTTPS listeners: a listener costs what it overlaps with, not what there is beside it.

use std::collections::BTreeSet;

use api::Object;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ir::{Kind, ObjectRef, resource::ResourceType};
use pipeline::{ChangeSet, Pipeline, Settings};
use serde_json::{Value, json};

/// More than on a port whose route configurations refuse requests for the hosts of all others.
const CROWD: usize = 70;
/// Most listeners of a ListenerSet.
const OF_SET: usize = 35;

fn object(document: &Value) -> Object {
    Object::from_json(document).unwrap()
}

fn secret(name: &str, names: &[&str]) -> Value {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"namespace": "default", "name": name},
        "data": {
            "tls.crt": STANDARD.encode(made.cert.pem()), "tls.key": STANDARD.encode(made.signing_key.serialize_pem()),
        },
    })
}

fn listener(name: &str, hostname: &str) -> Value {
    json!({
        "name": name, "port": 443, "protocol": "HTTPS", "hostname": hostname,
        "tls": {"certificateRefs": [{"name": name}]},
    })
}

fn set(name: &str, listeners: &[Value]) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet",
        "metadata": {"namespace": "default", "name": name},
        "spec": {"parentRef": {"name": "eg"}, "listeners": listeners},
    })
}

/// The listeners `l0` to `l69` for `hN.example.com`, each with a certificate for that name alone; and `wide` for
/// `wide.example.org`, whose certificate is for `h7.example.com` and `*.far.example.com` as well.
fn start() -> Pipeline {
    let mut documents = vec![json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"namespace": "default", "name": "eg"},
        "spec": {
            "gatewayClassName": "eg", "allowedListeners": {"namespaces": {"from": "Same"}},
            "listeners": [listener("wide", "wide.example.org")],
        },
    })];
    documents.push(secret("wide", &["wide.example.org", "h7.example.com", "*.far.example.com"]));
    let listeners: Vec<Value> = (0..CROWD)
        .map(|n| {
            let (name, hostname) = (format!("l{n}"), format!("h{n}.example.com"));
            documents.push(secret(&name, &[&hostname]));
            listener(&name, &hostname)
        })
        .collect();
    documents.extend(listeners.chunks(OF_SET).enumerate().map(|(n, some)| set(&format!("set{n}"), some)));
    let settings =
        Settings { implicit_gateway_class: true, implicit_namespaces: true, ..Settings::default() };
    let mut pipeline = Pipeline::new(settings);
    let apply = documents.iter().map(object).collect();
    pipeline.commit(ChangeSet { apply, now: Some(1_798_761_600), ..ChangeSet::default() });
    pipeline
}

/// The hosts for which a route configuration answers 421, of those that are asked for.
fn refused<'h>(pipeline: &Pipeline, table: &str, hosts: &[&'h str]) -> Vec<&'h str> {
    let fleet = pipeline.fleets().values().next().unwrap();
    let table =
        fleet.resources.values().find(|r| r.kind == ResourceType::Route && r.name.ends_with(table)).unwrap();
    let refusing = table.fragments.iter().filter(|fragment| fragment.name.contains("misdirected/"));
    let bytes: Vec<u8> = refusing.flat_map(|fragment| fragment.bytes.to_vec()).collect();
    // A domain stands in the message after its length.
    let stands = |host: &&str| {
        let domain = [&[u8::try_from(host.len()).unwrap()], host.as_bytes()].concat();
        bytes.windows(domain.len()).any(|window| window == domain)
    };
    hosts.iter().copied().filter(stands).collect()
}

#[test]
fn a_listener_refuses_what_its_certificates_are_for() {
    let mut pipeline = start();
    let hosts = ["h6.example.com", "h7.example.com", "*.far.example.com", "wide.example.org"];
    assert_eq!(refused(&pipeline, "/wide", &hosts), ["h7.example.com"]);
    assert_eq!(refused(&pipeline, "/l6", &hosts), [""; 0]);

    // A listener that comes changes the route configurations of those that it overlaps with: `wide`, by certificate.
    let more = [secret("far", &["a.far.example.com"]), set("more", &[listener("far", "a.far.example.com")])];
    let apply = more.iter().map(object).collect();
    let commit = pipeline.commit(ChangeSet { apply, ..ChangeSet::default() });
    let tables: BTreeSet<&str> = commit
        .resources
        .iter()
        .flat_map(|(_, update)| update.changed.iter())
        .filter(|resource| resource.kind == ResourceType::Route)
        .map(|resource| &*resource.name)
        .collect();
    assert_eq!(tables, ["default/eg/default/more/far", "default/eg/wide"].into());
    assert_eq!(refused(&pipeline, "/wide", &["a.far.example.com"]), ["a.far.example.com"]);

    // One for a wildcard serves the others' hosts unless it refuses them, whatever its certificate says.
    let more = [secret("far", &["x.test"]), set("more", &[listener("far", "*.example.com")])];
    let apply = more.iter().map(object).collect();
    pipeline.commit(ChangeSet { apply, ..ChangeSet::default() });
    assert_eq!(refused(&pipeline, "/far", &hosts), ["h6.example.com", "h7.example.com"]);
    // And its own requests are refused over the connections of those.
    assert_eq!(refused(&pipeline, "/l6", &["*.example.com"]), ["*.example.com"]);
    assert_eq!(pipeline.audit(), []);

    // With less of a crowd, all are told of all.
    let gone = ["more", "set1"].map(|name| ObjectRef::new(Kind::ListenerSet, "default", name));
    pipeline.commit(ChangeSet { delete: gone.into(), ..ChangeSet::default() });
    assert_eq!(refused(&pipeline, "/wide", &hosts), ["h6.example.com", "h7.example.com"]);
    assert_eq!(refused(&pipeline, "/l6", &hosts), ["h7.example.com", "wide.example.org"]);
    assert_eq!(pipeline.audit(), []);
}
