//! Public keys: what a certificate says, what a private key yields, and whether the two are equal.
//!
//! The public half is derived from the private one, not read from the copy that most formats carry, because Envoy
//! derives it as well and refuses a pair that differs.

use bytes::BytesMut;
use ir::SecretBytes;
use p256::elliptic_curve::{
    AffinePoint, CurveArithmetic, FieldBytesSize, PublicKey as EcPublicKey, SecretKey,
    sec1::{FromSec1Point, ModulusSize, ToSec1Point},
};
use ring::signature::KeyPair as _;
use x509_parser::{
    asn1_rs::{Any, Class, Oid, Tag},
    num_bigint::BigUint,
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
        OID_SIG_ED25519,
    },
    x509::SubjectPublicKeyInfo,
};

use super::{
    CERTIFICATE, CertificateError, Curve, KeyAlgorithm, PRIVATE_KEY,
    der::{self, Fields},
    pem,
    pem::Label,
};

/// Longest RSA modulus. BoringSSL, and so Envoy, refuses more; it also bounds what the arithmetic here can cost.
const MAX_RSA_BITS: u64 = 16 * 1024;

/// Longest RSA exponent that BoringSSL takes.
const MAX_EXPONENT_BITS: u64 = 33;

/// A public key, comparable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Modulus and exponent.
    Rsa { n: BigUint, e: BigUint },
    /// Curve and uncompressed point (SEC 1 §2.3.3).
    Ecdsa { curve: Curve, point: Box<[u8]> },
    /// The 32 bytes of RFC 8032 §5.1.5.
    Ed25519(Box<[u8]>),
}

impl PublicKey {
    pub(super) fn algorithm(&self) -> KeyAlgorithm {
        match self {
            PublicKey::Rsa { n, .. } => {
                KeyAlgorithm::Rsa { bits: u32::try_from(n.bits()).unwrap_or(u32::MAX) }
            }
            PublicKey::Ecdsa { curve, .. } => KeyAlgorithm::Ecdsa { curve: *curve },
            PublicKey::Ed25519(_) => KeyAlgorithm::Ed25519,
        }
    }
}

/// A private key that can be served.
pub(super) struct PrivateKey {
    /// One PEM block, written anew.
    pub pem: SecretBytes,
    /// The public half, derived.
    pub public: PublicKey,
}

/// A private key that cannot be served.
enum Refusal {
    /// Not the structure that the block's type promises, or its numbers contradict each other.
    Malformed(&'static str),
    /// Well-formed, but of no use to Envoy.
    Unsupported(&'static str),
}

impl From<Refusal> for CertificateError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(problem) => {
                CertificateError::Malformed { entry: PRIVATE_KEY, problem: problem.into() }
            }
            Refusal::Unsupported(found) => CertificateError::UnsupportedKey { entry: PRIVATE_KEY, found },
        }
    }
}

/// The public key of a certificate.
pub(super) fn of_certificate(spki: &SubjectPublicKeyInfo<'_>) -> Result<PublicKey, CertificateError> {
    let bits = &*spki.subject_public_key.data;
    let unsupported = |found| CertificateError::UnsupportedKey { entry: CERTIFICATE, found };
    let malformed = || CertificateError::Malformed {
        entry: CERTIFICATE,
        problem: "the public key does not have the form that its algorithm asks for".into(),
    };
    let algorithm = &spki.algorithm.algorithm;
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        let mut fields = Fields::of_sequence(bits).ok_or_else(malformed)?;
        let (Some(n), Some(e)) = (fields.natural(), fields.natural()) else { return Err(malformed()) };
        let (n, e) = (n.map_err(unsupported)?, e.map_err(unsupported)?);
        if e.bits() > MAX_EXPONENT_BITS {
            return Err(unsupported("an RSA key with an exponent of more than 33 bits"));
        }
        Ok(PublicKey::Rsa { n, e })
    } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = curve(spki.algorithm.parameters.as_ref()).map_err(unsupported)?;
        // Decoding tells points off the curve, and makes a compressed one comparable.
        let point = match curve {
            Curve::P256 => EcPublicKey::<p256::NistP256>::from_sec1_bytes(bits).map(uncompressed),
            Curve::P384 => EcPublicKey::<p384::NistP384>::from_sec1_bytes(bits).map(uncompressed),
            Curve::P521 => EcPublicKey::<p521::NistP521>::from_sec1_bytes(bits).map(uncompressed),
        };
        Ok(PublicKey::Ecdsa { curve, point: point.map_err(|_| malformed())? })
    } else if *algorithm == OID_SIG_ED25519 {
        Ok(PublicKey::Ed25519(bits.into()))
    } else {
        Err(unsupported("a public key of another algorithm"))
    }
}

/// Reads the first private key of a PEM text.
///
/// An `EC PARAMETERS` block before the key, as `openssl ecparam -genkey` writes it, is skipped; Envoy Gateway refuses it.
pub(super) fn read(text: &[u8]) -> Result<PrivateKey, CertificateError> {
    let blocks = pem::read(text);
    let mut candidates = blocks.blocks.iter().filter(|block| block.label != Label::EcParameters);
    let Some(block) = candidates.next() else {
        return Err(match blocks.blocks.first() {
            Some(block) => CertificateError::WrongBlock { entry: PRIVATE_KEY, found: block.label.text() },
            None => CertificateError::NotPem { entry: PRIVATE_KEY, damaged: blocks.damaged > 0 },
        });
    };
    if block.encrypted || block.label == Label::EncryptedPrivateKey {
        return Err(CertificateError::EncryptedKey);
    }
    let public = match block.label {
        Label::PrivateKey => pkcs8(&block.der)?,
        Label::RsaPrivateKey => pkcs1(&block.der)?,
        Label::EcPrivateKey => sec1(&block.der, None)?,
        label => return Err(CertificateError::WrongBlock { entry: PRIVATE_KEY, found: label.text() }),
    };
    let older = (block.label == Label::PrivateKey).then(|| first_version(&block.der)).flatten();
    let mut out = BytesMut::new();
    pem::write(&mut out, block.label, older.as_deref().unwrap_or(&block.der));
    Ok(PrivateKey { pem: SecretBytes::new(out), public })
}

/// PKCS#8 of the second version, which has the public key beside the private one, or with attributes, written as the
/// first version without any: BoringSSL, and so Envoy, reads no other. `None` when it is that already.
fn first_version(der: &[u8]) -> Option<Vec<u8>> {
    const FIRST: &[u8] = &[2, 1, 0];
    let mut fields = Fields::of_sequence(der)?;
    let [version, algorithm, key] = [fields.raw()?, fields.raw()?, fields.raw()?];
    let plain = version == FIRST && fields.0.is_empty();
    (!plain).then(|| der::sequence(&[FIRST, algorithm, key]))
}

/// `OneAsymmetricKey` (RFC 5958 §2).
fn pkcs8(der: &[u8]) -> Result<PublicKey, Refusal> {
    const MALFORMED: Refusal = Refusal::Malformed(
        "the PRIVATE KEY block is not PKCS#8; a key in an older form needs the label RSA PRIVATE KEY or EC PRIVATE KEY",
    );
    let mut fields = Fields::of_sequence(der).ok_or(MALFORMED)?;
    fields.take(Class::Universal, Tag::Integer).ok_or(MALFORMED)?;
    let algorithm = fields.take(Class::Universal, Tag::Sequence).ok_or(MALFORMED)?;
    let key = fields.take(Class::Universal, Tag::OctetString).ok_or(MALFORMED)?;
    let mut algorithm = Fields(algorithm);
    let oid = algorithm.next().and_then(|any| any.oid().ok()).ok_or(MALFORMED)?;
    if oid == OID_PKCS1_RSAENCRYPTION {
        pkcs1(key)
    } else if oid == OID_KEY_TYPE_EC_PUBLIC_KEY {
        sec1(key, Some(curve(algorithm.next().as_ref()).map_err(Refusal::Unsupported)?))
    } else if oid == OID_SIG_ED25519 {
        let seed = Fields(key).take(Class::Universal, Tag::OctetString).ok_or(MALFORMED)?;
        let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| Refusal::Malformed("an Ed25519 key has 32 bytes"))?;
        Ok(PublicKey::Ed25519(pair.public_key().as_ref().into()))
    } else {
        Err(Refusal::Unsupported("a private key of another algorithm"))
    }
}

/// `RSAPrivateKey` (RFC 8017 §A.1.2), of two primes.
fn pkcs1(der: &[u8]) -> Result<PublicKey, Refusal> {
    const MALFORMED: Refusal = Refusal::Malformed("the RSA private key is not PKCS#1 (RFC 8017)");
    let mut fields = Fields::of_sequence(der).ok_or(MALFORMED)?;
    match fields.take(Class::Universal, Tag::Integer) {
        Some([0]) => {}
        Some([1]) => return Err(Refusal::Unsupported("an RSA key of more than two primes")),
        _ => return Err(MALFORMED),
    }
    let mut natural = || fields.natural().ok_or(MALFORMED)?.map_err(Refusal::Unsupported);
    let [n, e, d, p, q, dp, dq, qi] =
        [natural()?, natural()?, natural()?, natural()?, natural()?, natural()?, natural()?, natural()?];
    // The checks that BoringSSL makes when it loads a key (RSA_check_key), so that Envoy does not refuse it later. They
    // also keep the divisors below from being zero.
    let (one, two) = (BigUint::from(1_u8), BigUint::from(2_u8));
    let consistent = p > two
        && q > two
        && &p * &q == n
        && d < n
        && (&d * &e) % (&p - &one) == one
        && (&d * &e) % (&q - &one) == one
        && &d % (&p - &one) == dp
        && &d % (&q - &one) == dq
        && qi < p
        && (&q * &qi) % &p == one;
    if !consistent {
        return Err(Refusal::Malformed("the numbers of the RSA private key contradict each other"));
    }
    Ok(PublicKey::Rsa { n, e })
}

/// `ECPrivateKey` (RFC 5915 §3). The curve is known beforehand inside of PKCS#8, where the field may be absent.
fn sec1(der: &[u8], outer: Option<Curve>) -> Result<PublicKey, Refusal> {
    const MALFORMED: Refusal =
        Refusal::Malformed("the EC private key is not as RFC 5915 says, or names no curve");
    let mut fields = Fields::of_sequence(der).ok_or(MALFORMED)?;
    fields.take(Class::Universal, Tag::Integer).ok_or(MALFORMED)?;
    let scalar = fields.take(Class::Universal, Tag::OctetString).ok_or(MALFORMED)?;
    let (mut inner, mut copy) = (None, None);
    while let Some(field) = fields.next() {
        if field.class() != Class::ContextSpecific {
            return Err(MALFORMED);
        }
        match field.tag().0 {
            0 => inner = Some(curve(Fields(field.data).next().as_ref()).map_err(Refusal::Unsupported)?),
            1 => copy = Fields(field.data).take(Class::Universal, Tag::BitString),
            _ => return Err(MALFORMED),
        }
    }
    let curve = match (outer, inner) {
        (Some(outer), Some(inner)) if outer != inner => {
            return Err(Refusal::Malformed("the EC private key names two curves"));
        }
        (outer, inner) => outer.or(inner).ok_or(MALFORMED)?,
    };
    let point = match curve {
        Curve::P256 => point::<p256::NistP256>(scalar),
        Curve::P384 => point::<p384::NistP384>(scalar),
        Curve::P521 => point::<p521::NistP521>(scalar),
    }
    .ok_or(Refusal::Malformed("the EC private key is not a number of its curve"))?;
    // A BIT STRING's first byte counts unused bits. A compressed copy is left unread: it decides nothing.
    if let Some([0, rest @ ..]) = copy
        && rest.first() == Some(&4)
        && *rest != *point
    {
        return Err(Refusal::Malformed(
            "the EC private key and the public key beside it contradict each other",
        ));
    }
    Ok(PublicKey::Ecdsa { curve, point })
}

/// The public point of a private scalar. Leading zeros may be missing or too many: writers differ.
fn point<C>(scalar: &[u8]) -> Option<Box<[u8]>>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let mut bytes = p256::elliptic_curve::FieldBytes::<C>::default();
    let significant = scalar.iter().position(|byte| *byte != 0).and_then(|start| scalar.get(start..))?;
    let start = bytes.len().checked_sub(significant.len())?;
    bytes.get_mut(start..)?.copy_from_slice(significant);
    let key = SecretKey::<C>::from_bytes(&bytes).ok()?;
    Some(uncompressed(key.public_key()))
}

/// SEC 1 §2.3.3 without compression: 4, x, y.
fn uncompressed<C>(key: EcPublicKey<C>) -> Box<[u8]>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    key.as_affine().to_sec1_point(false).as_bytes().into()
}

/// The named curve of an algorithm's parameters.
fn curve(parameters: Option<&Any<'_>>) -> Result<Curve, &'static str> {
    let oid: Oid<'_> =
        parameters.and_then(|any| any.clone().oid().ok()).ok_or("an ECDSA key without a named curve")?;
    if oid == OID_EC_P256 {
        Ok(Curve::P256)
    } else if oid == OID_NIST_EC_P384 {
        Ok(Curve::P384)
    } else if oid == OID_NIST_EC_P521 {
        Ok(Curve::P521)
    } else {
        Err("an ECDSA key of another curve")
    }
}

impl Fields<'_> {
    /// The next element as a natural number. The inner error is for one too large to be of use.
    fn natural(&mut self) -> Option<Result<BigUint, &'static str>> {
        let bytes = self.take(Class::Universal, Tag::Integer)?;
        if bytes.first().is_none_or(|byte| *byte >= 0x80) {
            return None;
        }
        // One byte more than the modulus has, for the sign.
        if bytes.len() as u64 > MAX_RSA_BITS / 8 + 1 {
            return Some(Err("an RSA key of more than 16384 bits"));
        }
        Some(Ok(BigUint::from_bytes_be(bytes)))
    }
}
