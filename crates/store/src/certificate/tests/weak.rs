//! Certificates that are served although clients may refuse them, and those that Envoy would refuse.

use super::{
    super::{Certificate, Curve, KeyAlgorithm, Validity},
    make::{self, LEAF, Leaf, pem},
    pair, read, rsa_2048,
};

fn with(key_algorithm: KeyAlgorithm) -> Certificate {
    let (chain, key) = pair(&["a.example.com"]);
    Certificate { key_algorithm, ..read(&chain, &key) }
}

#[test]
fn rsa_keys_are_served_from_2048_bits() {
    let refused = with(KeyAlgorithm::Rsa { bits: 2047 }).refused_by_envoy().unwrap();
    assert!(refused.contains("2047 bits") && refused.contains("from 2048 bits"), "{refused}");
    for bits in [2048, 4096, 16_384] {
        assert_eq!(with(KeyAlgorithm::Rsa { bits }).refused_by_envoy(), None, "{bits}");
        assert_eq!(with(KeyAlgorithm::Rsa { bits }).weakness(), None, "{bits}");
    }
}

#[test]
fn kinds_of_keys_that_browsers_refuse_are_told() {
    for (algorithm, told) in [
        (KeyAlgorithm::Ecdsa { curve: Curve::P256 }, None),
        (KeyAlgorithm::Ecdsa { curve: Curve::P384 }, None),
        (KeyAlgorithm::Ecdsa { curve: Curve::P521 }, Some("P-521")),
        (KeyAlgorithm::Ed25519, Some("Ed25519")),
    ] {
        let certificate = with(algorithm);
        assert_eq!(certificate.refused_by_envoy(), None, "{algorithm}");
        match (certificate.weakness(), told) {
            (None, None) => {}
            (Some(text), Some(kind)) => assert!(text.contains(kind) && text.contains("P-256"), "{text}"),
            (found, _) => panic!("{algorithm}: {found:?}"),
        }
    }
}

#[test]
fn signatures_of_the_leaf_and_its_issuers_count_but_not_those_of_roots() {
    let key = rsa_2048();
    let text = pem("PRIVATE KEY", &key.pkcs8);
    let signed = |signature, issuer: &str| {
        let leaf = Leaf { signature, ..LEAF };
        if issuer.is_empty() { leaf.pem(&key.spki) } else { leaf.issued_by(issuer, &key.spki) }
    };
    let (good, root) = (signed(make::SHA256_RSA, ""), signed(make::SHA1_RSA, "cn.example.com"));
    for (chain, told) in [
        (good.clone(), None),
        (format!("{good}{root}"), None),
        (root, Some("SHA-1")),
        (signed(make::SHA1_RSA, ""), Some("SHA-1")),
        (signed(make::ECDSA_SHA1, ""), Some("SHA-1")),
        (signed(make::MD5_RSA, ""), Some("MD5")),
        (format!("{good}{good}{}", signed(make::SHA1_RSA, "")), Some("SHA-1")),
    ] {
        let certificate = read(&chain, &text);
        assert_eq!(certificate.weak_signature, told, "{chain}");
        assert_eq!(certificate.weakness().is_some(), told.is_some());
    }
}

#[test]
fn the_first_and_the_last_second_are_valid() {
    let (chain, key) = pair(&["a.example.com"]);
    let certificate = Certificate { not_before: 100, not_after: 200, ..read(&chain, &key) };
    let at = |now| certificate.validity(now);
    assert_eq!(at(99), Validity::NotYetValid { from: 100 });
    assert_eq!((at(100), at(200)), (Validity::Valid, Validity::Valid));
    assert_eq!(at(201), Validity::Expired { since: 200 });
}
