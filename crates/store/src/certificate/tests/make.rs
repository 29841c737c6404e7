//! Keys and certificates made for a test: by rcgen where it can, byte by byte where it cannot.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ir::SecretBytes;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use x509_parser::num_bigint::BigUint;

/// 2024-01-01, 2034-01-01: the validity of what [`Leaf`] makes.
pub(super) const START: i64 = 1_704_067_200;
pub(super) const END: i64 = 2_019_686_400;

pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(super) const SHA256_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
pub(super) const SHA1_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
pub(super) const MD5_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04];
pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
pub(super) const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
pub(super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(super) const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
pub(super) const P224: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x21];

/// One DER element.
pub(super) fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        length @ 0..128 => out.push(length as u8),
        length => {
            let bytes = length.to_be_bytes();
            let start = bytes.iter().position(|byte| *byte != 0).unwrap();
            out.push(0x80 | (bytes.len() - start) as u8);
            out.extend(&bytes[start..]);
        }
    }
    out.extend(content);
    out
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    der(0x30, parts)
}

pub(super) fn oid(bytes: &[u8]) -> Vec<u8> {
    der(6, &[bytes])
}

pub(super) fn octets(bytes: &[u8]) -> Vec<u8> {
    der(4, &[bytes])
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    der(3, &[&[0], bytes])
}

pub(super) fn integer(number: &BigUint) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    if bytes[0] >= 0x80 { der(2, &[&[0], &bytes]) } else { der(2, &[&bytes]) }
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A private key in its own form and in PKCS#8, with the public key as certificates carry it.
pub(super) struct Key {
    pub own: Vec<u8>,
    pub pkcs8: Vec<u8>,
    pub spki: Vec<u8>,
}

/// Numbers of an RSA key, to be spoilt before they are written.
#[derive(Clone)]
pub(super) struct Rsa {
    pub n: BigUint,
    pub e: BigUint,
    pub d: BigUint,
    pub p: BigUint,
    pub q: BigUint,
}

impl Rsa {
    /// From two Mersenne primes, 2^a - 1 and 2^b - 1: nobody has to search for primes, and nobody would use this key.
    pub(super) fn of_mersenne(a: u32, b: u32) -> Rsa {
        let one = BigUint::from(1_u8);
        let (p, q) = ((&one << a) - &one, (&one << b) - &one);
        let e = BigUint::from(65_537_u32);
        let d = e.modinv(&((&p - &one) * (&q - &one))).unwrap();
        Rsa { n: &p * &q, e, d, p, q }
    }

    pub(super) fn write(&self) -> Key {
        let one = BigUint::from(1_u8);
        let (dp, dq) = (&self.d % (&self.p - &one), &self.d % (&self.q - &one));
        let qi = self.q.modinv(&self.p).unwrap();
        let mut fields = vec![integer(&BigUint::ZERO)];
        fields.extend([&self.n, &self.e, &self.d, &self.p, &self.q, &dp, &dq, &qi].map(integer));
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let own = sequence(&fields);
        let algorithm = sequence(&[&oid(RSA), &[5, 0]]);
        Key {
            pkcs8: sequence(&[&[2, 1, 0], &algorithm, &octets(&own)]),
            spki: sequence(&[&algorithm, &bits(&sequence(&[&integer(&self.n), &integer(&self.e)]))]),
            own,
        }
    }
}

/// An EC key with this scalar, its public point beside it.
pub(super) fn ec(curve: &[u8], scalar: &[u8], point: &[u8]) -> Key {
    let algorithm = sequence(&[&oid(EC), &oid(curve)]);
    let point = bits(point);
    let own = sequence(&[&[2, 1, 1], &octets(scalar), &der(0xa0, &[&oid(curve)]), &der(0xa1, &[&point])]);
    let inner = sequence(&[&[2, 1, 1], &octets(scalar), &der(0xa1, &[&point])]);
    Key {
        own,
        pkcs8: sequence(&[&[2, 1, 0], &algorithm, &octets(&inner)]),
        spki: sequence(&[&algorithm, &point]),
    }
}

pub(super) fn p521(scalar: &[u8; 66], compressed: bool) -> Key {
    let key = p521::elliptic_curve::SecretKey::<p521::NistP521>::from_slice(scalar).unwrap();
    ec(P521, scalar, key.public_key().as_affine().to_sec1_point(compressed).as_bytes())
}

/// What a certificate says, beyond its public key.
pub(super) struct Leaf<'a> {
    pub common_names: &'a [&'a str],
    pub dns_names: &'a [&'a str],
    pub signature: &'a [u8],
}

impl Leaf<'_> {
    /// DER with a signature that nobody could verify: nobody asks.
    pub(super) fn der(&self, spki: &[u8]) -> Vec<u8> {
        let signature = sequence(&[&oid(self.signature), &[5, 0]]);
        let attribute = |name: &str| {
            let value = der(0x0c, &[name.as_bytes()]);
            der(0x31, &[&sequence(&[&oid(&[0x55, 4, 3]), &value])])
        };
        let subject: Vec<Vec<u8>> = self.common_names.iter().map(|name| attribute(name)).collect();
        let subject = sequence(&subject.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let validity = sequence(&[&der(0x17, &[b"240101000000Z"]), &der(0x17, &[b"340101000000Z"])]);
        let mut tbs = vec![
            der(0xa0, &[&[2, 1, 2]]),
            vec![2, 1, 1],
            signature.clone(),
            sequence(&[]),
            validity,
            subject,
            spki.to_vec(),
        ];
        if !self.dns_names.is_empty() {
            let names: Vec<Vec<u8>> =
                self.dns_names.iter().map(|name| der(0x82, &[name.as_bytes()])).collect();
            let names = sequence(&names.iter().map(Vec::as_slice).collect::<Vec<_>>());
            tbs.push(der(0xa3, &[&sequence(&[&sequence(&[&oid(&[0x55, 0x1d, 0x11]), &octets(&names)])])]));
        }
        let tbs = sequence(&tbs.iter().map(Vec::as_slice).collect::<Vec<_>>());
        sequence(&[&tbs, &signature, &bits(b"unsigned")])
    }

    pub(super) fn pem(&self, spki: &[u8]) -> String {
        pem("CERTIFICATE", &self.der(spki))
    }
}

/// A leaf for `a.example.com`.
pub(super) const LEAF: Leaf<'static> =
    Leaf { common_names: &["cn.example.com"], dns_names: &["a.example.com"], signature: SHA256_RSA };

/// The data of a Secret.
pub(super) fn secret(entries: &[(&str, &[u8])]) -> BTreeMap<Arc<str>, SecretBytes> {
    entries.iter().map(|(name, bytes)| ((*name).into(), SecretBytes::new(bytes.to_vec()))).collect()
}

/// The data of a TLS Secret.
pub(super) fn tls(chain: &str, key: &str) -> BTreeMap<Arc<str>, SecretBytes> {
    secret(&[("tls.crt", chain.as_bytes()), ("tls.key", key.as_bytes())])
}
