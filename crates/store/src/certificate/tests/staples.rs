//! OCSP staples that are sent along, and those that Envoy would refuse.

use super::{
    super::Certificate,
    make::{self, LEAF, Leaf, Staple, pem, secret, sequence},
    rsa_2048,
};

/// A certificate with number 1 and a staple.
fn with(leaf: &Leaf<'_>, staple: &[u8]) -> Certificate {
    let key = rsa_2048();
    super::parse(&secret(&[
        ("tls.crt", leaf.pem(&key.spki).as_bytes()),
        ("tls.key", pem("PRIVATE KEY", &key.pkcs8).as_bytes()),
        ("tls.ocsp-staple", staple),
    ]))
    .unwrap()
}

#[test]
fn a_staple_for_the_certificate_is_sent_along() {
    let by_name = [0xa1, 2, 0x30, 0];
    let with_version = [&[0xa0, 3, 2, 1, 0][..], Staple::GOOD.head].concat();
    for staple in [
        Staple::GOOD,
        Staple { head: &by_name, ..Staple::GOOD },
        Staple { head: &with_version, ..Staple::GOOD },
        Staple { serials: &[&[0, 1]], ..Staple::GOOD },
    ] {
        let certificate = with(&LEAF, &staple.der());
        assert_eq!(certificate.ocsp_staple.as_deref(), Some(&*staple.der()));
        assert_eq!((certificate.staple_problem, certificate.weakness()), (None, None));
    }
    let without = with(&LEAF, b"");
    assert_eq!((without.ocsp_staple.as_ref(), without.staple_problem), (None, None));
}

#[test]
fn a_staple_that_envoy_would_refuse_is_left_out_and_told() {
    let good = Staple::GOOD.der();
    let head_of_version_2 = [&[0xa0, 3, 2, 1, 1][..], Staple::GOOD.head].concat();
    for (staple, told) in [
        (Staple { serials: &[&[2]], ..Staple::GOOD }.der(), "for another certificate"),
        (Staple { serials: &[&[1], &[2]], ..Staple::GOOD }.der(), "exactly one certificate"),
        (Staple { serials: &[], ..Staple::GOOD }.der(), "exactly one certificate"),
        (Staple { status: 6, ..Staple::GOOD }.der(), "why there is none"),
        (Staple { kind: make::RSA, ..Staple::GOOD }.der(), "no OCSP response"),
        (Staple { head: &[], ..Staple::GOOD }.der(), "no OCSP response"),
        (Staple { head: &head_of_version_2, ..Staple::GOOD }.der(), "no OCSP response"),
        (Staple { times: [b"2026-01-01", b"20260108000000Z"], ..Staple::GOOD }.der(), "no OCSP response"),
        (Staple { times: [b"20260101000000Z", b"2601080000Z"], ..Staple::GOOD }.der(), "no OCSP response"),
        // A response without a body, as only errors have it.
        (sequence(&[&[0x0a, 1, 0]]), "no OCSP response"),
        (sequence(&[&[0x0a, 1, 6]]), "why there is none"),
        ([&good[..], &[0]].concat(), "no OCSP response"),
        (good[..good.len() - 1].to_vec(), "no OCSP response"),
        (b"-----BEGIN OCSP RESPONSE-----".to_vec(), "no OCSP response"),
    ] {
        let certificate = with(&LEAF, &staple);
        assert_eq!(certificate.ocsp_staple, None, "{told}");
        let weakness = certificate.weakness().unwrap();
        assert!(weakness.contains(told) && weakness.contains("tls.ocsp-staple"), "{told}: {weakness}");
        assert_eq!(certificate.refused_for_listeners(), None, "it is served without");
    }
}

/// Envoy loads such a certificate with its staple only.
#[test]
fn a_certificate_that_must_be_stapled_is_served_with_its_staple_only() {
    let must = Leaf { features: &[5], ..LEAF };
    let stapled = with(&must, &Staple::GOOD.der());
    assert_eq!((stapled.must_staple, stapled.refused_for_listeners()), (true, None));
    let missing = with(&must, b"").refused_for_listeners().unwrap();
    assert!(missing.contains("tls.ocsp-staple is not there"), "{missing}");
    let stale = with(&must, &Staple { serials: &[&[2]], ..Staple::GOOD }.der());
    assert!(stale.refused_for_listeners().unwrap().contains("is for another certificate"));
    assert_eq!(stale.refused_by_envoy(), None, "backends are shown no staple");
    // Another feature, or one more, and Envoy asks for nothing.
    for features in [&[17][..], &[5, 17], &[]] {
        assert!(!with(&Leaf { features, ..LEAF }, b"").must_staple, "{features:?}");
    }
}
