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

const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const FEATURES: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x18];
pub(super) const OCSP_BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

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
    /// Alternative names of other kinds: the tag in DER, and the bytes.
    pub others: &'a [(u8, &'a [u8])],
    /// TLS features that servers must have (RFC 7633): none when empty, 5 is a staple.
    pub features: &'a [u8],
    pub signature: &'a [u8],
}

impl Leaf<'_> {
    /// DER without an issuer.
    pub(super) fn der(&self, spki: &[u8]) -> Vec<u8> {
        self.written(&[], spki)
    }

    /// PEM with an issuer of this common name.
    pub(super) fn issued_by(&self, issuer: &str, spki: &[u8]) -> String {
        pem("CERTIFICATE", &self.written(&[issuer], spki))
    }

    /// DER with a signature that nobody could verify: nobody asks.
    fn written(&self, issuer: &[&str], spki: &[u8]) -> Vec<u8> {
        let signature = sequence(&[&oid(self.signature), &[5, 0]]);
        let attribute = |name: &str| {
            let value = der(0x0c, &[name.as_bytes()]);
            der(0x31, &[&sequence(&[&oid(&[0x55, 4, 3]), &value])])
        };
        let named = |common_names: &[&str]| {
            let names: Vec<Vec<u8>> = common_names.iter().map(|name| attribute(name)).collect();
            sequence(&names.iter().map(Vec::as_slice).collect::<Vec<_>>())
        };
        let validity = sequence(&[&der(0x17, &[b"240101000000Z"]), &der(0x17, &[b"340101000000Z"])]);
        let mut tbs = vec![
            der(0xa0, &[&[2, 1, 2]]),
            vec![2, 1, 1],
            signature.clone(),
            named(issuer),
            validity,
            named(self.common_names),
            spki.to_vec(),
        ];
        let dns_names = self.dns_names.iter().map(|name| der(0x82, &[name.as_bytes()]));
        let names: Vec<Vec<u8>> =
            self.others.iter().map(|(tag, bytes)| der(*tag, &[bytes])).chain(dns_names).collect();
        let features: Vec<Vec<u8>> = self.features.iter().map(|feature| vec![2, 1, *feature]).collect();
        let extension = |id: &[u8], list: &[Vec<u8>]| {
            let list = sequence(&list.iter().map(Vec::as_slice).collect::<Vec<_>>());
            sequence(&[&oid(id), &octets(&list)])
        };
        let lists = [(ALTERNATIVE_NAMES, names), (FEATURES, features)];
        let extensions: Vec<Vec<u8>> = (lists.iter().filter(|(_, list)| !list.is_empty()))
            .map(|(id, list)| extension(id, list))
            .collect();
        if !extensions.is_empty() {
            let extensions = sequence(&extensions.iter().map(Vec::as_slice).collect::<Vec<_>>());
            tbs.push(der(0xa3, &[&extensions]));
        }
        let tbs = sequence(&tbs.iter().map(Vec::as_slice).collect::<Vec<_>>());
        sequence(&[&tbs, &signature, &bits(b"unsigned")])
    }

    pub(super) fn pem(&self, spki: &[u8]) -> String {
        pem("CERTIFICATE", &self.der(spki))
    }
}

/// A leaf for `a.example.com`.
pub(super) const LEAF: Leaf<'static> = Leaf {
    common_names: &["cn.example.com"],
    dns_names: &["a.example.com"],
    others: &[],
    features: &[],
    signature: SHA256_RSA,
};

/// An OCSP response (RFC 6960), to be spoilt before it is written.
#[derive(Clone)]
pub(super) struct Staple<'a> {
    pub status: u8,
    pub kind: &'a [u8],
    /// Elements before the time of its making: the version, and who made it.
    pub head: &'a [u8],
    /// Of the certificates that it is for.
    pub serials: &'a [&'a [u8]],
    pub times: [&'a [u8]; 2],
}

impl Staple<'_> {
    /// For the certificate with number 1, made by the one with this key.
    pub(super) const GOOD: Staple<'static> = Staple {
        status: 0,
        kind: OCSP_BASIC,
        head: &[0xa2, 3, 4, 1, 7],
        serials: &[&[1]],
        times: [b"20260101000000Z", b"20260108000000Z"],
    };

    pub(super) fn der(&self) -> Vec<u8> {
        let time = |text: &[u8]| der(0x18, &[text]);
        let hash = sequence(&[&oid(&[0x2b, 0x0e, 3, 2, 0x1a]), &[5, 0]]);
        let single = |serial: &&[u8]| {
            let id = sequence(&[&hash, &octets(&[1; 20]), &octets(&[2; 20]), &der(2, &[serial])]);
            let [this, next] = self.times;
            sequence(&[&id, &[0x80, 0], &time(this), &der(0xa0, &[&time(next)])])
        };
        let singles: Vec<Vec<u8>> = self.serials.iter().map(single).collect();
        let singles = sequence(&singles.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let data = sequence(&[self.head, &time(b"20260101000000Z"), &singles]);
        let basic = sequence(&[&data, &sequence(&[&oid(SHA256_RSA), &[5, 0]]), &bits(b"unsigned")]);
        let body = sequence(&[&oid(self.kind), &octets(&basic)]);
        sequence(&[&[0x0a, 1, self.status], &der(0xa0, &[&body])])
    }
}

/// The data of a Secret.
pub(super) fn secret(entries: &[(&str, &[u8])]) -> BTreeMap<Arc<str>, SecretBytes> {
    entries.iter().map(|(name, bytes)| ((*name).into(), SecretBytes::new(bytes.to_vec()))).collect()
}

/// The data of a TLS Secret.
pub(super) fn tls(chain: &str, key: &str) -> BTreeMap<Arc<str>, SecretBytes> {
    secret(&[("tls.crt", chain.as_bytes()), ("tls.key", key.as_bytes())])
}
