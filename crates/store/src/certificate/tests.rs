//! Tests of reading certificates.

mod make;
mod names;
mod staples;
mod weak;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use x509_parser::num_bigint::BigUint;

use self::make::{END, LEAF, Leaf, Rsa, START, pem, secret, tls};
use super::{
    Certificate, CertificateError, Curve, KeyAlgorithm, NameIndex, Validity, dns_name_matches, names_overlap,
    parse,
};

/// A scalar of P-521 that is not all ones: the topmost byte has room for one bit.
const OTHER: [u8; 66] = {
    let mut scalar = [2; 66];
    scalar[0] = 1;
    scalar
};

/// A pair that rcgen made, as two PEM texts.
fn pair(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// A leaf with its issuer, and the leaf's key.
fn chain() -> (String, String, String) {
    let issuer_key = KeyPair::generate().unwrap();
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    issuer.not_before = rcgen::date_time_ymd(2020, 1, 1);
    issuer.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let issuer_pem = issuer.self_signed(&issuer_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    leaf.not_before = rcgen::date_time_ymd(2025, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(2031, 1, 1);
    let leaf = leaf.signed_by(&key, &Issuer::new(issuer, issuer_key)).unwrap();
    (leaf.pem(), issuer_pem, key.serialize_pem())
}

#[track_caller]
fn read(chain: &str, key: &str) -> Certificate {
    parse(&tls(chain, key)).unwrap()
}

/// The error's text. No error may hold any line of the key.
#[track_caller]
fn refused(chain: &str, key: &str) -> String {
    let error = parse(&tls(chain, key)).unwrap_err();
    let text = format!("{error} {error:?}");
    for line in key.lines().filter(|line| line.len() > 8 && !line.starts_with('-')) {
        assert!(!text.contains(line), "a line of the key in {text}");
    }
    error.to_string()
}

fn rsa_2048() -> make::Key {
    Rsa::of_mersenne(1279, 2203).write()
}

#[test]
fn reads_what_rcgen_makes() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params =
            CertificateParams::new(vec!["A.example.com".to_owned(), "*.b.example.com".to_owned()]).unwrap();
        let made = params.self_signed(&key).unwrap();
        let certificate = read(&made.pem(), &key.serialize_pem());
        assert_eq!(*certificate.dns_names, ["a.example.com".into(), "*.b.example.com".into()]);
        assert_eq!(certificate.alternative_names.len(), 2);
        let expected = if *algorithm == rcgen::PKCS_ED25519 {
            KeyAlgorithm::Ed25519
        } else if *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 {
            KeyAlgorithm::Ecdsa { curve: Curve::P256 }
        } else {
            KeyAlgorithm::Ecdsa { curve: Curve::P384 }
        };
        assert_eq!(certificate.key_algorithm, expected);
        let digest = ring::digest::digest(&ring::digest::SHA256, made.der());
        assert_eq!(certificate.fingerprint, digest.as_ref());
        let by_browsers = certificate.weakness().is_none();
        assert_eq!(by_browsers, *algorithm != rcgen::PKCS_ED25519, "browsers take no Ed25519");
        assert_eq!(certificate.refused_by_envoy(), None);
        let other = KeyPair::generate_for(algorithm).unwrap();
        assert_eq!(parse(&tls(&made.pem(), &other.serialize_pem())), Err(CertificateError::KeyMismatch));
    }
}

/// BoringSSL reads PKCS#8 of the first version only, without attributes.
#[test]
fn keys_of_the_second_version_are_written_as_the_first() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let chain =
        CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let second = key.serialize_der();
    let algorithm = make::sequence(&[&make::oid(&[0x2b, 0x65, 0x70])]);
    let seed = make::octets(&make::octets(&second[16..48]));
    let first = make::sequence(&[&[2, 1, 0], &algorithm, &seed]);
    assert_ne!(first, second, "rcgen writes the second version");
    let with_attributes = make::sequence(&[&[2, 1, 0], &algorithm, &seed, &[0xa0, 0]]);
    for written in [&first, &second, &with_attributes] {
        let read = read(&chain, &pem("PRIVATE KEY", written));
        assert_eq!(read.key.expose_secret(), pem("PRIVATE KEY", &first).as_bytes());
    }
    // A long one, whose length takes more than a byte.
    let rsa = rsa_2048();
    let mut second = rsa.pkcs8.clone();
    assert_eq!(second[4..7], [2, 1, 0], "the version");
    second[6] = 1;
    let read = read(&LEAF.pem(&rsa.spki), &pem("PRIVATE KEY", &second));
    assert_eq!(read.key.expose_secret(), pem("PRIVATE KEY", &rsa.pkcs8).as_bytes());
}

#[test]
fn reads_keys_of_every_kind_and_form() {
    let kinds = [
        ("RSA PRIVATE KEY", Rsa::of_mersenne(521, 607).write(), KeyAlgorithm::Rsa { bits: 1128 }),
        ("RSA PRIVATE KEY", rsa_2048(), KeyAlgorithm::Rsa { bits: 3482 }),
        ("EC PRIVATE KEY", make::p521(&[1; 66], false), KeyAlgorithm::Ecdsa { curve: Curve::P521 }),
        ("EC PRIVATE KEY", make::p521(&[1; 66], true), KeyAlgorithm::Ecdsa { curve: Curve::P521 }),
    ];
    for (label, key, algorithm) in &kinds {
        let chain = LEAF.pem(&key.spki);
        for text in [pem(label, &key.own), pem("PRIVATE KEY", &key.pkcs8)] {
            let certificate = read(&chain, &text);
            assert_eq!(certificate.key_algorithm, *algorithm);
            assert_eq!(certificate.chain, chain);
            assert_eq!(certificate.key.expose_secret(), text.as_bytes());
            assert_eq!((certificate.not_before, certificate.not_after), (START, END));
            let small = matches!(algorithm, KeyAlgorithm::Rsa { bits: 1128 });
            assert_eq!(certificate.refused_by_envoy().is_some(), small);
        }
        let other = make::p521(&OTHER, false);
        assert_eq!(
            parse(&tls(&chain, &pem("EC PRIVATE KEY", &other.own))),
            Err(CertificateError::KeyMismatch)
        );
    }
}

#[test]
fn reads_an_ec_key_whose_leading_zeros_differ() {
    let mut scalar = [1; 66];
    scalar[..3].fill(0);
    let key = make::p521(&scalar, false);
    let point = key.spki[key.spki.len() - 133..].to_vec();
    for scalar in [scalar[3..].to_vec(), scalar.to_vec(), [&[0; 9][..], &scalar].concat()] {
        let written = make::ec(make::P521, &scalar, &point);
        read(&LEAF.pem(&key.spki), &pem("EC PRIVATE KEY", &written.own));
    }
}

#[test]
fn refuses_keys_that_contradict_themselves() {
    let chain = LEAF.pem(&rsa_2048().spki);
    let sound = Rsa::of_mersenne(1279, 2203);
    let one = BigUint::from(1_u8);
    let spoilt = [
        Rsa { d: &sound.d + &one, ..sound.clone() },
        Rsa { d: &sound.d + (&sound.p - &one) * (&sound.q - &one), ..sound.clone() },
        Rsa { p: BigUint::from(3_u8), ..sound.clone() },
        Rsa { e: BigUint::from(3_u8), ..sound },
    ];
    for key in spoilt {
        assert!(refused(&chain, &pem("RSA PRIVATE KEY", &key.write().own)).contains("contradict"));
    }
    let key = make::p521(&[1; 66], false);
    let other = make::p521(&OTHER, false);
    let mixed = make::ec(make::P521, &[1; 66], &other.spki[other.spki.len() - 133..]);
    assert!(refused(&LEAF.pem(&key.spki), &pem("EC PRIVATE KEY", &mixed.own)).contains("contradict"));
}

#[test]
fn refuses_keys_that_are_not_as_their_label_says() {
    let key = rsa_2048();
    let chain = LEAF.pem(&key.spki);
    assert!(refused(&chain, &pem("PRIVATE KEY", &key.own)).contains("PKCS#8"));
    assert!(refused(&chain, &pem("RSA PRIVATE KEY", &key.pkcs8)).contains("PKCS#1"));
    assert!(refused(&chain, &pem("EC PRIVATE KEY", &key.own)).contains("RFC 5915"));
    assert!(
        refused(&chain, &pem("EC PRIVATE KEY", &make::ec(make::P521, &[0xff; 66], &[4]).own))
            .contains("number")
    );
    assert!(
        refused(&chain, &pem("EC PRIVATE KEY", &make::ec(make::P521, &[0; 66], &[4]).own)).contains("number")
    );
    assert!(
        refused(&chain, &pem("EC PRIVATE KEY", &make::ec(make::P521, &[1; 67], &[4]).own)).contains("number")
    );
    assert!(refused(&chain, &pem("RSA PRIVATE KEY", &key.own[..key.own.len() - 1])).contains("PKCS#1"));
    assert!(refused(&chain, &pem("RSA PRIVATE KEY", &[])).contains("PKCS#1"));
}

#[test]
fn refuses_keys_that_envoy_does_not_know() {
    let (chain, _) = pair(&["a.example.com"]);
    let curve = make::ec(make::P224, &[1; 28], &[4; 57]);
    assert!(refused(&chain, &pem("EC PRIVATE KEY", &curve.own)).contains("another curve"));
    assert!(refused(&chain, &pem("PRIVATE KEY", &curve.pkcs8)).contains("another curve"));
    let error = parse(&tls(&LEAF.pem(&curve.spki), &pem("EC PRIVATE KEY", &curve.own))).unwrap_err();
    assert!(matches!(error, CertificateError::UnsupportedKey { entry: "tls.crt", .. }));
    let dsa = make::sequence(&[&[2, 1, 0], &make::sequence(&[&make::oid(&[42])]), &make::octets(&[1])]);
    assert!(refused(&chain, &pem("PRIVATE KEY", &dsa)).contains("another algorithm"));
    let huge = Rsa { n: BigUint::from(1_u8) << 20_000, ..Rsa::of_mersenne(521, 607) }.write();
    assert!(refused(&chain, &pem("RSA PRIVATE KEY", &huge.own)).contains("16384 bits"));
    assert!(refused(&LEAF.pem(&huge.spki), &pem("RSA PRIVATE KEY", &huge.own)).contains("16384 bits"));
    let exponent = Rsa { e: BigUint::from(1_u8) << 33, ..Rsa::of_mersenne(521, 607) }.write();
    assert!(refused(&LEAF.pem(&exponent.spki), &pem("RSA PRIVATE KEY", &exponent.own)).contains("33 bits"));
}

#[test]
fn refuses_encrypted_keys_in_both_forms() {
    let (chain, _) = pair(&["a.example.com"]);
    for key in [
        pem("ENCRYPTED PRIVATE KEY", b"ciphertext of some length"),
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00FF\n\nY2lwaGVydGV4dA==\n-----END RSA PRIVATE KEY-----\n".to_owned(),
    ] {
        assert_eq!(parse(&tls(&chain, &key)), Err(CertificateError::EncryptedKey));
        assert!(refused(&chain, &key).contains("decrypted"));
    }
}

#[test]
fn odd_pem_is_read_and_written_anew() {
    let (chain, key) = pair(&["a.example.com"]);
    let plain = read(&chain, &key);
    assert_eq!(plain.chain, chain.replace("\r\n", "\n"));
    let variants = [
        (chain.replace("\r\n", "\n").replace('\n', "\r\n"), key.replace("\r\n", "\n").replace('\n', "\r\n")),
        (format!("Bag Attributes\n  friendlyName: x\n{chain}"), format!("# the key\n\n{key}")),
        (format!("{chain}trailing \0 garbage"), format!("{key}\u{feff}junk\n")),
        (chain.trim_end().to_owned(), key.trim_end().to_owned()),
        (chain.replace("-----\n", "----- \t\n"), key.replace("-----\n", "-----  \n")),
        (chain.replacen("CERTIFICATE-----", "CERTIFICATE-----\nSubject: somebody\n", 1), key.clone()),
        (chain.replace("CERTIFICATE", "X509 CERTIFICATE"), key.clone()),
        (chain.clone(), format!("{}{key}", pem("EC PARAMETERS", &make::oid(make::P256)))),
    ];
    for (chain, key) in variants {
        assert_eq!(read(&chain, &key), plain, "{chain}");
    }
}

#[test]
fn says_what_is_missing_or_not_pem() {
    let (chain, key) = pair(&["a.example.com"]);
    assert_eq!(parse(&secret(&[])), Err(CertificateError::MissingKey("tls.crt")));
    assert_eq!(
        parse(&secret(&[("tls.crt", chain.as_bytes())])),
        Err(CertificateError::MissingKey("tls.key"))
    );
    assert_eq!(parse(&tls("", &key)), Err(CertificateError::MissingKey("tls.crt")));
    let not_pem = |entry, damaged| Err(CertificateError::NotPem { entry, damaged });
    for text in ["\0", "LS0tLS1CRUdJTiBDRVJU", " -----BEGIN CERTIFICATE-----\n -----END CERTIFICATE-----"] {
        assert_eq!(parse(&tls(text, &key)), not_pem("tls.crt", false));
        assert_eq!(parse(&tls(&chain, text)), not_pem("tls.key", false));
    }
    for text in [
        "-----BEGIN PRIVATE KEY-----\nAAAA",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nA*AA\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nA\0AA\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY\nAAAA\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY----- x",
    ] {
        assert_eq!(parse(&tls(text, &key)), not_pem("tls.crt", true), "{text}");
        assert_eq!(parse(&tls(&chain, text)), not_pem("tls.key", true), "{text}");
    }
}

#[test]
fn refuses_blocks_that_belong_elsewhere() {
    let (chain, key) = pair(&["a.example.com"]);
    let wrong = |entry, found| CertificateError::WrongBlock { entry, found };
    assert_eq!(parse(&tls(&key, &key)), Err(wrong("tls.crt", "PRIVATE KEY")));
    assert_eq!(parse(&tls(&format!("{chain}{key}"), &key)), Err(wrong("tls.crt", "PRIVATE KEY")));
    assert_eq!(parse(&tls(&chain, &chain)), Err(wrong("tls.key", "CERTIFICATE")));
    assert_eq!(
        parse(&tls(&chain, &pem("OPENSSH PRIVATE KEY", b"x"))),
        Err(wrong("tls.key", "OPENSSH PRIVATE KEY"))
    );
    assert_eq!(parse(&tls(&chain, &pem("EC PARAMETERS", b"x"))), Err(wrong("tls.key", "EC PARAMETERS")));
    // A label is free text: what is not known is not repeated.
    assert_eq!(parse(&tls(&chain, &pem("hunter2", b"x"))), Err(wrong("tls.key", "unknown")));
    assert!(refused(&chain, &chain).contains("PKCS#8"));
}

#[test]
fn refuses_malformed_certificates() {
    let (chain, key) = pair(&["a.example.com"]);
    let der = super::pem::read(chain.as_bytes()).blocks.remove(0).der;
    for der in [&[][..], b"garbage", &der[..der.len() - 1], &[&der[..], b"x"].concat()] {
        assert!(refused(&pem("CERTIFICATE", der), &key).contains("certificate 1: "));
        assert!(refused(&format!("{chain}{}", pem("CERTIFICATE", der)), &key).contains("certificate 2: "));
    }
    let leaf = Leaf { dns_names: &["ok.example.com", "\u{ff}\0"], ..LEAF };
    let rsa = rsa_2048();
    let bad = String::from_utf8(leaf.der(&rsa.spki).iter().map(|byte| byte % 128).collect());
    assert!(bad.is_ok(), "only made to be parsed below");
    assert!(refused(&pem("CERTIFICATE", bad.unwrap().as_bytes()), &key).contains("tls.crt"));
}

#[test]
fn a_chain_lives_as_long_as_its_weakest_member() {
    let (leaf, issuer, key) = chain();
    let certificate = read(&format!("{leaf}{issuer}"), &key);
    let day = |year| rcgen::date_time_ymd(year, 1, 1).unix_timestamp();
    assert_eq!((certificate.not_before, certificate.not_after), (day(2025), day(2030)));
    assert_eq!(certificate.validity(day(2024)), Validity::NotYetValid { from: day(2025) });
    assert_eq!(certificate.validity(day(2025)), Validity::Valid);
    assert_eq!(certificate.validity(day(2030)), Validity::Valid);
    assert_eq!(certificate.validity(day(2030) + 1), Validity::Expired { since: day(2030) });
    assert!(certificate.validity(i64::MAX).to_string().contains("2030-01-01T00:00:00Z"));
    assert!(certificate.validity(i64::MIN).to_string().contains("2025-01-01T00:00:00Z"));
}

#[test]
fn the_leaf_comes_first() {
    let (leaf, issuer, key) = chain();
    let error = parse(&tls(&format!("{issuer}{leaf}"), &key));
    assert_eq!(error, Err(CertificateError::LeafNotFirst { position: 2 }));
    assert_eq!(parse(&tls(&issuer, &key)), Err(CertificateError::KeyMismatch));
}

#[test]
fn a_damaged_block_is_left_out_and_told() {
    let (leaf, issuer, key) = chain();
    let certificate = read(&format!("{leaf}{}", issuer.replacen("MII", "M*I", 1)), &key);
    assert_eq!(certificate.chain, leaf);
    assert_eq!(certificate.damaged_blocks, 1);
    assert!(certificate.weakness().unwrap().contains("1 damaged"));
}

#[test]
fn names_come_from_the_common_name_for_want_of_others() {
    let key = rsa_2048();
    let text = pem("PRIVATE KEY", &key.pkcs8);
    let leaf = Leaf {
        common_names: &["first", "Last.example.com"],
        dns_names: &[],
        signature: make::SHA1_RSA,
        ..LEAF
    };
    let certificate = read(&leaf.pem(&key.spki), &text);
    assert_eq!(*certificate.dns_names, ["last.example.com".into()]);
    assert!(certificate.alternative_names.is_empty());
    let weakness = certificate.weakness().unwrap();
    assert!(weakness.contains("SHA-1") && weakness.contains("common name"));
    let nameless = read(
        &Leaf { common_names: &[], dns_names: &[], signature: make::MD5_RSA, ..LEAF }.pem(&key.spki),
        &text,
    );
    assert!(nameless.dns_names.is_empty());
    assert!(nameless.weakness().unwrap().contains("MD5"));
    assert!(!nameless.conflicts_with(&nameless));
    let leaf = Leaf { signature: make::ECDSA_SHA1, ..LEAF };
    assert_eq!(read(&leaf.pem(&key.spki), &text).weak_signature, Some("SHA-1"));
}

#[test]
fn two_certificates_conflict_when_they_share_algorithm_and_name() {
    let make = |names: &[&str]| {
        let (chain, key) = pair(names);
        read(&chain, &key)
    };
    let first = make(&["a.example.com", "b.example.com"]);
    assert!(first.conflicts_with(&make(&["b.example.com"])));
    assert_eq!(
        make(&["c.example.com", "b.example.com"]).conflicting_name(&first),
        Some(&"b.example.com".into())
    );
    assert!(!first.conflicts_with(&make(&["*.example.com"])));
    let rsa = rsa_2048();
    let rsa = read(&LEAF.pem(&rsa.spki), &pem("PRIVATE KEY", &rsa.pkcs8));
    assert!(!first.conflicts_with(&rsa));
    let p521 = make::p521(&[1; 66], false);
    let p521 = read(&LEAF.pem(&p521.spki), &pem("PRIVATE KEY", &p521.pkcs8));
    assert!(first.conflicts_with(&p521));
}

#[test]
fn debug_shows_no_key() {
    let (chain, key) = pair(&["a.example.com"]);
    let text = format!("{:?}", read(&chain, &key));
    assert!(text.contains("redacted"));
    assert!(key.lines().all(|line| !text.contains(line)));
}

#[test]
fn wildcards_cover_one_label() {
    for (pattern, name, expected) in [
        ("a.example.com", "A.example.com", true),
        ("*.example.com", "a.example.com", true),
        ("*.example.com", "a.EXAMPLE.com", true),
        ("*.example.com", "*.example.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", ".example.com", false),
        ("*.example.com", "b.a.example.com", false),
        ("*.example.com", "*.a.example.com", false),
        ("*.com", "*.com", true),
        ("a.example.com", "*.example.com", false),
        ("*", "a", false),
        ("*.example.com", "f*.example.com", false),
        ("f*.example.com", "foo.example.com", false),
        ("*.*.example.com", "a.b.example.com", false),
    ] {
        assert_eq!(dns_name_matches(pattern, name), expected, "{pattern} {name}");
        assert_eq!(names_overlap(name, pattern), expected || dns_name_matches(name, pattern));
    }
    assert!(names_overlap("a.example.com", "*.example.com"));
}

proptest! {
    #[test]
    fn the_index_finds_what_a_loop_finds(
        name in "(\\*\\.|a\\.|b\\.|)(a|b|\\*|)\\.?(c|)",
        names in prop::collection::vec("(\\*\\.|a\\.|b\\.|)(a|b|\\*|)\\.?(c|)", 0..6),
    ) {
        let mut index = NameIndex::default();
        names.iter().enumerate().for_each(|(holder, name)| index.add(name, holder));
        let all = names.iter().map(String::as_str).enumerate();
        let expected: Vec<_> = all.filter(|(_, other)| names_overlap(&name, other)).collect();
        let mut found: Vec<_> = index.overlapping(&name).collect();
        found.sort_unstable();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(chain in any::<Vec<u8>>(), key in any::<Vec<u8>>(), staple in any::<Vec<u8>>()) {
        let _ = parse(&secret(&[("tls.crt", &chain), ("tls.key", &key), ("tls.ocsp-staple", &staple)]));
    }

    #[test]
    fn no_change_of_a_staple_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut staple = make::Staple::GOOD.der();
        for (index, byte) in changes {
            let index = index.index(staple.len());
            staple[index] = byte;
        }
        let _ = super::staple::check(&staple, &[1]);
    }

    #[test]
    fn no_change_of_a_sound_pair_makes_it_panic(
        kind in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        in_key in any::<bool>(),
    ) {
        let (label, key) = match kind {
            0 => ("RSA PRIVATE KEY", Rsa::of_mersenne(521, 607).write()),
            1 => ("EC PRIVATE KEY", make::p521(&[1; 66], false)),
            _ => ("PRIVATE KEY", make::p521(&[1; 66], false)),
        };
        let mut secret_half = if label == "PRIVATE KEY" { key.pkcs8 } else { key.own };
        let mut public_half = LEAF.der(&key.spki);
        let changed = if in_key { &mut secret_half } else { &mut public_half };
        for (index, byte) in changes {
            let index = index.index(changed.len());
            changed[index] = byte;
        }
        let _ = parse(&tls(&pem("CERTIFICATE", &public_half), &pem(label, &secret_half)));
    }

    #[test]
    fn no_text_makes_it_panic(lines in prop::collection::vec(
        prop::sample::select(vec![
            "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----", "-----BEGIN -----", "-----END -----", "-----BEGIN ", "-----", "a: b", "AAAA",
            "Proc-Type: 4,ENCRYPTED", "=", "",
        ]), 0..12)) {
        let text = lines.join("\n");
        let _ = parse(&tls(&text, &text));
    }
}

/// Ten megabytes that would cost a reader that looks back, or looks ahead for an END, minutes.
#[test]
fn the_cost_is_linear() {
    const SIZE: usize = 10 << 20;
    let (chain, key) = pair(&["a.example.com"]);
    for line in [
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN a:b-----\n",
        "-----END CERTIFICATE-----\n",
        "A",
        "\n",
        "-----BEGIN ",
    ] {
        let garbage = line.repeat(SIZE / line.len());
        let start = Instant::now();
        assert!(parse(&tls(&format!("-----BEGIN X-----\n{garbage}"), &key)).is_err());
        assert!(parse(&tls(&chain, &garbage)).is_err());
        assert!(start.elapsed() < Duration::from_secs(20), "{line:?} took {:?}", start.elapsed());
    }
    let members = chain.repeat(2000);
    assert_eq!(read(&members, &key).chain.len(), members.len());
}
