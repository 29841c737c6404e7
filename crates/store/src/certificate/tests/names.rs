//! What is made of the names of a certificate: which of them clients find hosts by.

use std::time::{Duration, Instant};

use super::{
    super::{Certificate, NameIndex, names_overlap},
    make::{LEAF, Leaf, pem},
    pair, read, rsa_2048,
};

/// Tags of general names (RFC 5280 §4.2.1.6).
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;

fn leaf(leaf: &Leaf<'_>) -> Certificate {
    let key = rsa_2048();
    read(&leaf.pem(&key.spki), &pem("PRIVATE KEY", &key.pkcs8))
}

fn of(names: &[&str]) -> Certificate {
    leaf(&Leaf { dns_names: names, ..LEAF })
}

fn sought(certificate: &Certificate) -> Vec<&str> {
    certificate.alternative_names.iter().map(|name| &**name).collect()
}

#[test]
fn clients_find_hosts_by_names_that_are_well_made() {
    for (name, found) in [
        ("a.example.com", "a.example.com"),
        ("A.EXAMPLE.com", "a.example.com"),
        ("*.Example.com", "*.example.com"),
        ("*.com", "*.com"),
        ("localhost", "localhost"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
        ("XN--BCHER-KVA.example.com", "xn--bcher-kva.example.com"),
        ("*.xn--bcher-kva.example", "*.xn--bcher-kva.example"),
        ("1.example.com", "1.example.com"),
    ] {
        let certificate = of(&[name]);
        assert_eq!(sought(&certificate), [found]);
        assert_eq!(certificate.weakness(), None, "{name}");
    }
}

#[test]
fn clients_find_no_host_by_other_names_and_that_is_told() {
    let long_label = format!("{}.example.com", "a".repeat(64));
    let long = format!("{}com", "a.".repeat(126));
    for (name, why) in [
        ("b\u{fc}cher.example.com", "A-label"),
        ("*.b\u{fc}cher.example.com", "A-label"),
        ("\u{212a}.example.com", "A-label"),
        ("*.*.example.com", "wildcard"),
        ("f*.example.com", "wildcard"),
        ("*f.example.com", "wildcard"),
        ("a.*.example.com", "wildcard"),
        ("*", "wildcard"),
        ("*.", "wildcard"),
        ("", "no DNS name"),
        (".", "no DNS name"),
        (".example.com", "no DNS name"),
        ("a..example.com", "no DNS name"),
        ("a.example.com..", "no DNS name"),
        ("a b.example.com", "no DNS name"),
        ("a.example.com\0.example.org", "no DNS name"),
        ("https://a.example.com/", "no DNS name"),
        ("a.example.com:443", "no DNS name"),
        (&long_label, "no DNS name"),
        (&long, "no DNS name"),
        ("10.0.0.1", "IP address"),
        ("*.0.0.1", "IP address"),
        ("::1", "no DNS name"),
    ] {
        let certificate = of(&[name, "ok.example.com"]);
        assert_eq!(sought(&certificate), ["ok.example.com"], "{name:?}");
        let told = certificate.weakness().unwrap_or_default();
        assert!(
            told.contains(why) && told.contains(&format!("{:?}", name.to_ascii_lowercase())),
            "{name:?}: {told}"
        );
    }
    let many = of(&["f*.a", "f*.b", "f*.c", "f*.d", "f*.e"]).weakness().unwrap();
    assert!(
        many.contains("f*.c") && !many.contains("f*.d") && many.ends_with("and 2 more like that"),
        "{many}"
    );
}

#[test]
fn a_dot_at_the_end_counts_for_no_client_that_knows_it_and_is_told() {
    let certificate = of(&["a.example.com.", "*.b.example.com."]);
    assert_eq!(sought(&certificate), ["a.example.com", "*.b.example.com"]);
    assert!(certificate.weakness().unwrap().contains("\"a.example.com.\" ends with a dot"));
    // Envoy Gateway compares names as they are written.
    assert!(!certificate.conflicts_with(&of(&["a.example.com"])));
}

#[test]
fn names_of_other_kinds_are_no_host_names() {
    let v6 = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let others: [(u8, &[u8]); 6] = [
        (ADDRESS, &[10, 0, 0, 1]),
        (ADDRESS, &v6),
        (URI, b"spiffe://a.example.com/ns/shop"),
        (EMAIL, b"shop@a.example.com"),
        // A directory name without content, and one of its own kind.
        (0xa4, &[0x30, 0]),
        (0xa0, &[6, 1, 42, 0xa0, 2, 5, 0]),
    ];
    let both = leaf(&Leaf { others: &others, ..LEAF });
    assert_eq!((sought(&both), both.names_addresses, both.weakness()), (vec!["a.example.com"], true, None));
    // The common name stands in, but only where certificates of one listener are told apart.
    let alone = leaf(&Leaf { dns_names: &[], others: &others[..2], ..LEAF });
    assert_eq!((sought(&alone), alone.named_by_common_name), (vec![], true));
    assert_eq!(*alone.dns_names, ["cn.example.com".into()]);
    assert_eq!(alone.weakness(), None, "clients that connect to the address find it");
    let nameless = leaf(&Leaf { common_names: &[], dns_names: &[], others: &others[2..4], ..LEAF });
    assert!(sought(&nameless).is_empty() && nameless.dns_names.is_empty());
    assert!(nameless.weakness().unwrap().contains("no DNS name"));
    let by_common_name = leaf(&Leaf { dns_names: &[], others: &others[2..4], ..LEAF });
    assert!(by_common_name.weakness().unwrap().contains("common name"));
}

/// Envoy makes no server context of a certificate without any name that it knows of.
#[test]
fn a_certificate_without_any_name_is_refused_for_listeners_alone() {
    let address: &[(u8, &[u8])] = &[(ADDRESS, &[10, 0, 0, 1])];
    for (common_names, dns_names, others, served) in [
        (&[][..], &[][..], &[][..], false),
        (&[], &[], &[(EMAIL, &b"shop@example.com"[..])][..], false),
        (&[], &[], &[(0xa4, &[0x30, 0][..])], false),
        (&[], &[], &[(URI, &b"spiffe://example.com/shop"[..])], true),
        (&[], &[], address, true),
        (&[], &["a.example.com"], &[], true),
        (&[], &[""], &[], true),
        (&["shop"], &[], &[], true),
        (&[""], &[], &[], true),
    ] {
        let certificate = leaf(&Leaf { common_names, dns_names, others, ..LEAF });
        let refused = certificate.refused_for_listeners();
        assert_eq!(refused.is_none(), served, "{common_names:?} {dns_names:?} {others:?}");
        assert!(refused.is_none_or(|text| text.contains("issue a new one")));
        assert_eq!(certificate.refused_by_envoy(), None, "backends may be shown any");
    }
}

/// Text in no encoding, as Latin-1 is to us: Envoy Gateway refuses it, too.
#[test]
fn names_that_are_no_text_are_refused() {
    let key = rsa_2048();
    let bad = Leaf { others: &[(DNS, b"b\xfccher.example.com")], ..LEAF }.pem(&key.spki);
    assert!(
        super::refused(&bad, &pem("PRIVATE KEY", &key.pkcs8)).contains("alternative names cannot be read")
    );
}

#[test]
fn certificates_overlap_by_the_names_that_clients_seek() {
    // What two certificates name, and whether a client of one may take its connection for the other's hosts.
    for (a, b, expected) in [
        (&["a.example.com"][..], &["*.example.com"][..], true),
        (&["A.Example.com"], &["a.EXAMPLE.com"], true),
        (&["a.example.com."], &["a.example.com"], true),
        (&["a.b.example.com"], &["*.example.com"], false),
        (&["*.b.example.com"], &["*.example.com"], false),
        (&["a.b.example.com"], &["*.*.example.com"], false),
        (&["foo.example.com"], &["f*.example.com"], false),
        (&["f*.example.com"], &["*.example.com"], false),
        (&["*.*.example.com"], &["*.*.example.com"], false),
        (&["example.com"], &["*.example.com"], false),
        (&["10.0.0.1"], &["10.0.0.1"], false),
        (&["b\u{fc}cher.example.com"], &["*.example.com"], false),
        (&["xn--bcher-kva.example.com"], &["*.example.com"], true),
        (&["xn--bcher-kva.example.com"], &["XN--BCHER-KVA.example.com"], true),
        (&["x.example.org", "a.example.com"], &["b.example.org", "*.example.com"], true),
    ] {
        let (one, other) = (of(a), of(b));
        let mut index = NameIndex::default();
        other.alternative_names.iter().for_each(|name| index.add(name, 0));
        let found = one.alternative_names.iter().any(|name| index.overlapping(name).next().is_some());
        assert_eq!(found, expected, "{a:?} {b:?}");
        let looped = one
            .alternative_names
            .iter()
            .any(|name| other.alternative_names.iter().any(|other| names_overlap(name, other)));
        assert_eq!(looped, expected, "{a:?} {b:?}");
    }
}

#[test]
fn thousands_of_names_cost_no_more_than_their_number() {
    let names: Vec<String> = (0..5000).map(|n| format!("h{n}.example.com")).collect();
    let start = Instant::now();
    let certificate = of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(sought(&certificate), names);
    assert_eq!(certificate.conflicting_name(&certificate), Some(&"h0.example.com".into()));
    assert_eq!(certificate.weakness(), None);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// Only what signs the leaf has a place behind it, but servers send what they have, and clients sort it out.
#[test]
fn names_are_those_of_the_first_certificate_whatever_follows() {
    let (leaf, key) = pair(&["a.example.com"]);
    let (other, _) = pair(&["b.example.com"]);
    let (third, _) = pair(&["c.example.com"]);
    for chain in [format!("{leaf}{other}{third}"), format!("{leaf}{third}{other}"), leaf] {
        let certificate = read(&chain, &key);
        assert_eq!(sought(&certificate), ["a.example.com"]);
        assert_eq!(certificate.chain, chain);
    }
}
