//! HTTP/3: which chains take it, and why there is none.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;

/// A set-up with certificates and more.
pub(super) fn set_up_with(name: &str, more: &str) -> Pipeline {
    let base = std::fs::read_to_string(set_up_file(name)).unwrap();
    of_text(&format!("{base}\n---\n{more}"))
}

fn policy(section: &str, says: &str) -> String {
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: ClientTrafficPolicy\nmetadata: {{name: clients{section}, \
         namespace: default}}\nspec:\n  targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: eg{}}}]\n  \
         {says}\n---\n",
        if section.is_empty() { String::new() } else { format!(", sectionName: {section}") },
    )
}

/// The certificate of the set-up as an authority.
fn authority() -> String {
    let base = std::fs::read_to_string(set_up_file("fg202-tls-overlap")).unwrap();
    let encoded = base.lines().find_map(|line| line.trim().strip_prefix("tls.crt: ")).unwrap();
    let pem = String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap();
    let indented: String = pem.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: ca, namespace: default}}\ndata:\n  ca.crt: |\n{indented}---\n"
    )
}

fn ask_for(url: &str) -> Question {
    Question { protocol: Some(Protocol::Http3), ..get(url) }
}

fn closed(pipeline: &Pipeline, question: &Question) -> String {
    match outcome(&explain(pipeline, question).unwrap()) {
        Outcome::Closed { why } => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_chains_of_quic_take_it_and_refuse_what_is_for_others() {
    let pipeline = set_up_with("fg202-tls-overlap", &policy("", "http3: {}"));
    let mut question = ask_for("https://web.example.com/");
    let told = explain(&pipeline, &question).unwrap();
    let (socket, chain) = (told.socket.as_ref().unwrap(), told.chain.as_ref().unwrap());
    assert_eq!((&*socket.transport, socket.gateway_port, &*chain.protocol), ("UDP", 443, "HTTP/3"));
    assert_eq!((&*chain.name, &*chain.alpn), ("default/eg/wild", &["h3".to_owned()][..]));
    assert!(matches!(outcome(&told), Outcome::Forwarded { .. }), "{told:#?}");
    let offered = told.settings.iter().find(|setting| setting.name == "HTTP/3").unwrap();
    assert_eq!((&*offered.object, &*offered.field), ("ClientTrafficPolicy default/clients", "spec.http3"));
    question.authority = "grpc.example.com".to_owned();
    assert_eq!(status(&explain(&pipeline, &question).unwrap()), 421);
    // Over TCP the same port speaks the older ones.
    let told = explain(&pipeline, &get("https://web.example.com/")).unwrap();
    assert_eq!((&*told.socket.unwrap().transport, &*told.chain.unwrap().protocol), ("TCP", "HTTP/2"));
}

#[test]
fn why_there_is_none_is_told() {
    let question = ask_for("https://web.example.com/");
    let without = set_up("fg202-tls-overlap");
    let why = closed(&without, &question);
    let none = "port 443 offers no HTTP/3: no ClientTrafficPolicy for Gateway default/eg listener wild asks for it \
                (spec.http3)";
    assert_eq!(why, none);
    let other = set_up_with("fg202-tls-overlap", &policy("", "timeout: {http: {idleTimeout: 1s}}"));
    assert!(
        closed(&other, &question)
            .contains("ClientTrafficPolicy default/clients for Gateway default/eg listener wild")
    );
    let plain = closed(&without, &ask_for("http://web.example.com:443/"));
    assert_eq!(plain, "HTTP/3 is spoken with TLS alone; use https");
    assert!(closed(&without, &ask_for("https://web.example.com:1/")).contains("nothing listens on port 1"));

    let asking =
        "http3: {}\n  tls: {clientValidation: {caCertificateRefs: [{kind: ConfigMap, group: '', name: ca}]}}";
    let certificates = set_up_with("fg202-tls-overlap", &(authority() + &policy("", asking)));
    assert!(
        closed(&certificates, &question)
            .ends_with("asks clients for certificates, which Envoy cannot do over QUIC")
    );
    // One listener asks for certificates, and the other is there all the same.
    let one = authority() + &policy("wild", asking) + &policy("grpc", "http3: {}");
    let one = set_up_with("fg202-tls-overlap", &one);
    assert!(closed(&one, &question).starts_with("port 443 offers no HTTP/3 for web.example.com"));
    let told = explain(&one, &ask_for("https://grpc.example.com/")).unwrap();
    assert_eq!(told.chain.unwrap().name, "default/eg/grpc");
}

#[test]
fn datagrams_that_are_taken_are_told_and_curl_goes_on() {
    let set = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: other, namespace: default}\n\
               spec:\n  gatewayClassName: eg\n  listeners:\n  - {name: dns, port: 443, protocol: UDP}\n  - {name: https, \
               port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: wild}]}}\n---\n";
    let asks = policy("", "http3: {}").replace("name: eg}", "name: other}");
    let pipeline = set_up_with("fg202-tls-overlap", &format!("{set}{asks}"));
    let mut question = ask_for("https://web.example.com/");
    question.gateway = Some("default/other".to_owned());
    let why = closed(&pipeline, &question);
    assert!(why.contains("Gateway default/other listener dns takes the datagrams of the port"), "{why}");
    question.falls_back = true;
    let told = explain(&pipeline, &question).unwrap();
    assert_eq!(told.chain.as_ref().unwrap().protocol, "HTTP/2");
    assert!(told.notes[0].ends_with("the client goes on over TCP"), "{told:#?}");
}
