//! Certificates of TLS Secrets: read, checked against their key, and told apart.
//!
//! Pure: the time is an argument, so a translation that judges validity records when it must be asked again. What is
//! accepted is what Envoy Gateway accepts, since its users bring their Secrets along; the few places where we are more
//! lenient or more talkative say so.
//!
//! **Invariant:** no byte of a private key reaches a message or a `Debug` output. Errors are made of fixed words, of
//! positions and of what the (public) certificate says.

mod error;
mod key;
mod names;
pub(crate) mod pem;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use ir::SecretBytes;
use rustc_hash::FxHashSet;
use x509_parser::{
    asn1_rs::{Any, Tag},
    oid_registry::{OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA},
    prelude::{FromDer, GeneralName, X509Certificate},
};

pub use self::error::CertificateError;
pub use self::names::{NameIndex, dns_name_matches, names_overlap};
use self::pem::Label;

const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";
const OCSP_STAPLE: &str = "tls.ocsp-staple";

/// Envoy refuses to load a certificate with a shorter one (tried with 1.40).
const MIN_RSA_BITS: u32 = 2048;

/// 1.2.840.10045.4.1 `ecdsa-with-SHA1` (RFC 3279 §2.2.3), as DER writes it.
const ECDSA_WITH_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];

/// A certificate chain and its key, as read from a TLS Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// PEM as it goes to Envoy: the blocks of `tls.crt` written anew, leaf first.
    pub chain: Bytes,
    /// PEM as it goes to Envoy: the key block of `tls.key` written anew.
    pub key: SecretBytes,
    /// DER of `tls.ocsp-staple`, if there is one.
    pub ocsp_staple: Option<Bytes>,
    /// DNS names of the leaf in lower case: its subject alternative names, or else its common name.
    pub dns_names: Box<[Arc<str>]>,
    /// `dns_names` is the common name, for want of alternative names. See [`Certificate::alternative_names`].
    pub named_by_common_name: bool,
    /// Latest start of validity over all members of the chain, in seconds since 1970.
    pub not_before: i64,
    /// Earliest end of validity over all members of the chain, in seconds since 1970. This second is still valid.
    pub not_after: i64,
    /// Kind of the leaf's public key.
    pub key_algorithm: KeyAlgorithm,
    /// Hash that the leaf was signed with, when it is one that clients refuse: `MD5` or `SHA-1`.
    pub weak_signature: Option<&'static str>,
    /// Damaged PEM blocks of `tls.crt` that were left out (no END line, no base64), as Envoy Gateway leaves them out.
    pub damaged_blocks: u32,
    /// SHA-256 of the leaf's DER.
    pub fingerprint: [u8; 32],
}

/// Kind of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// RSA (RFC 3279 §2.3.1).
    Rsa {
        /// Length of the modulus.
        bits: u32,
    },
    /// ECDSA on a named curve (RFC 5480).
    Ecdsa {
        /// The curve.
        curve: Curve,
    },
    /// Ed25519 (RFC 8410).
    Ed25519,
}

/// Named curves that certificates on the web use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// `secp256r1`.
    P256,
    /// `secp384r1`.
    P384,
    /// `secp521r1`.
    P521,
}

/// Where a moment lies to a certificate chain's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Every member of the chain is valid.
    Valid,
    /// Some member of the chain is not valid yet.
    NotYetValid {
        /// When all are, in seconds since 1970.
        from: i64,
    },
    /// Some member of the chain is not valid any more.
    Expired {
        /// The last second of validity, in seconds since 1970.
        since: i64,
    },
}

/// Reads the data of a TLS Secret: `tls.crt`, `tls.key` and, optionally, `tls.ocsp-staple`.
///
/// Validity in time is not judged: see [`Certificate::validity`].
///
/// # Errors
///
/// When an entry is missing, is not PEM, or cannot be used by Envoy, or when key and certificate do not belong
/// together. The match is always checked, for every kind of key that is accepted.
pub fn parse(data: &BTreeMap<Arc<str>, SecretBytes>) -> Result<Certificate, CertificateError> {
    let entry =
        |name: &'static str| data.get(name).map(SecretBytes::expose_secret).filter(|bytes| !bytes.is_empty());
    let text = entry(CERTIFICATE).ok_or(CertificateError::MissingKey(CERTIFICATE))?;
    let key_text = entry(PRIVATE_KEY).ok_or(CertificateError::MissingKey(PRIVATE_KEY))?;

    let pem = pem::read(text);
    if pem.blocks.is_empty() {
        return Err(CertificateError::NotPem { entry: CERTIFICATE, damaged: pem.damaged > 0 });
    }
    let members = members(&pem.blocks)?;
    let Some(leaf) = members.first() else {
        return Err(CertificateError::NotPem { entry: CERTIFICATE, damaged: pem.damaged > 0 });
    };
    let names = names(leaf)?;
    let public = key::of_certificate(leaf.public_key())?;
    let key = key::read(key_text)?;
    check_pair(&key, &public, &members)?;
    let ocsp_staple = entry(OCSP_STAPLE).cloned();
    if let Some(staple) = &ocsp_staple {
        check_staple(staple)?;
    }

    let mut chain = BytesMut::with_capacity(text.len());
    for block in &pem.blocks {
        pem::write(&mut chain, Label::Certificate, &block.der);
    }
    let starts = members.iter().map(|member| member.validity().not_before.timestamp());
    let ends = members.iter().map(|member| member.validity().not_after.timestamp());
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, leaf.as_raw()).as_ref());
    Ok(Certificate {
        chain: chain.freeze(),
        key: key.pem,
        ocsp_staple,
        dns_names: names.names,
        named_by_common_name: names.by_common_name,
        not_before: starts.max().unwrap_or(i64::MAX),
        not_after: ends.min().unwrap_or(i64::MIN),
        key_algorithm: public.algorithm(),
        weak_signature: weak_signature(leaf),
        damaged_blocks: pem.damaged,
        fingerprint,
    })
}

impl Certificate {
    /// Where `now`, in seconds since 1970, lies to the validity of the whole chain.
    ///
    /// One member out of its time spoils the chain: a leaf whose issuer has expired is refused by clients as well.
    pub fn validity(&self, now: i64) -> Validity {
        if now > self.not_after {
            Validity::Expired { since: self.not_after }
        } else if now < self.not_before {
            Validity::NotYetValid { from: self.not_before }
        } else {
            Validity::Valid
        }
    }

    /// Whether one listener cannot have both: Envoy chooses by name and algorithm, and these two share both.
    ///
    /// Lengths of keys and curves do not count, and a name in a wildcard counts only if written the same (Envoy
    /// Gateway's rule). The later of two such `certificateRefs` is refused.
    pub fn conflicts_with(&self, other: &Certificate) -> bool {
        self.conflicting_name(other).is_some()
    }

    /// The name for which [`Certificate::conflicts_with`] holds.
    pub fn conflicting_name(&self, other: &Certificate) -> Option<&Arc<str>> {
        if self.key_algorithm.family() != other.key_algorithm.family() {
            return None;
        }
        let others: FxHashSet<&str> = other.dns_names.iter().map(|name| &**name).collect();
        self.dns_names.iter().find(|name| others.contains(&***name))
    }

    /// The DNS names in the subject alternative names alone. Clients and overlap checks look at no others.
    pub fn alternative_names(&self) -> &[Arc<str>] {
        if self.named_by_common_name { &[] } else { &self.dns_names }
    }

    /// Why Envoy would refuse this pair though it is sound, if it would. Such a Secret must not be sent: the listener
    /// that waits for it would keep its whole port waiting.
    pub fn refused_by_envoy(&self) -> Option<String> {
        match self.key_algorithm {
            KeyAlgorithm::Rsa { bits } if bits < MIN_RSA_BITS => Some(format!(
                "the key is RSA with {bits} bits; Envoy takes RSA keys from {MIN_RSA_BITS} bits only: issue a new certificate"
            )),
            _ => None,
        }
    }

    /// What a person should know about a pair that is served all the same, if there is anything.
    pub fn weakness(&self) -> Option<String> {
        let mut found = Vec::new();
        if let Some(hash) = self.weak_signature {
            found.push(format!("the certificate is signed with {hash}, which clients refuse"));
        }
        if self.dns_names.is_empty() {
            found.push("the certificate names no DNS name".to_owned());
        } else if self.named_by_common_name {
            found.push(
                "the certificate has a common name but no subject alternative name, so browsers refuse it"
                    .to_owned(),
            );
        }
        if self.damaged_blocks > 0 {
            found.push(format!(
                "tls.crt holds {} damaged PEM block(s), which were left out",
                self.damaged_blocks
            ));
        }
        (!found.is_empty()).then(|| found.join("; "))
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years beyond 9999 exist in no certificate; if one did, seconds would have to do.
        let date = |seconds: i64| {
            jiff::Timestamp::from_second(seconds)
                .map_or_else(|_| seconds.to_string(), |time| time.to_string())
        };
        match self {
            Validity::Valid => f.write_str("the certificate is valid"),
            Validity::NotYetValid { from } => {
                write!(
                    f,
                    "the certificate, or one of its issuers in tls.crt, is not valid before {}",
                    date(*from)
                )
            }
            Validity::Expired { since } => {
                write!(
                    f,
                    "the certificate, or one of its issuers in tls.crt, expired on {}: renew it",
                    date(*since)
                )
            }
        }
    }
}

impl KeyAlgorithm {
    /// The name that X.509 tools print, without length or curve.
    pub fn family(self) -> &'static str {
        match self {
            KeyAlgorithm::Rsa { .. } => "RSA",
            KeyAlgorithm::Ecdsa { .. } => "ECDSA",
            KeyAlgorithm::Ed25519 => "Ed25519",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyAlgorithm::Rsa { bits } => write!(f, "RSA with {bits} bits"),
            KeyAlgorithm::Ecdsa { curve } => write!(f, "ECDSA on {curve}"),
            KeyAlgorithm::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
        })
    }
}

/// The certificates of a chain. A block of another type and trailing bytes are errors, as in Envoy Gateway: dropping
/// a member would change which certificate the key belongs to.
fn members(blocks: &[pem::Block]) -> Result<Vec<X509Certificate<'_>>, CertificateError> {
    let mut members = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        if block.label != Label::Certificate {
            return Err(CertificateError::WrongBlock { entry: CERTIFICATE, found: block.label.text() });
        }
        let problem = match X509Certificate::from_der(&block.der) {
            Ok(([], member)) => {
                members.push(member);
                continue;
            }
            Ok(_) => "bytes follow the certificate in its PEM block",
            Err(_) => "not an X.509 certificate",
        };
        return Err(CertificateError::Malformed {
            entry: CERTIFICATE,
            problem: format!("certificate {}: {problem}", index + 1).into(),
        });
    }
    Ok(members)
}

/// The leaf's DNS names, and whether the common name stands in for them.
struct Names {
    names: Box<[Arc<str>]>,
    by_common_name: bool,
}

/// Reads the leaf's DNS names. The last common name counts, as in Go.
fn names(leaf: &X509Certificate<'_>) -> Result<Names, CertificateError> {
    let malformed = || CertificateError::Malformed {
        entry: CERTIFICATE,
        problem: "certificate 1: the subject alternative names cannot be read".into(),
    };
    let mut names = Vec::new();
    if let Some(extension) = leaf.subject_alternative_name().map_err(|_| malformed())? {
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase().into()),
                GeneralName::Invalid(..) => return Err(malformed()),
                _ => {}
            }
        }
    }
    if !names.is_empty() {
        return Ok(Names { names: names.into(), by_common_name: false });
    }
    let common = leaf.subject().iter_common_name().last().and_then(|name| name.as_str().ok());
    let names: Box<[Arc<str>]> = common
        .filter(|name| !name.is_empty())
        .map(|name| name.to_ascii_lowercase().into())
        .into_iter()
        .collect();
    Ok(Names { by_common_name: !names.is_empty(), names })
}

/// Compares the derived public key with the leaf's; looks further down only to tell a mixed pair from a mixed order.
fn check_pair(
    key: &key::PrivateKey,
    leaf: &key::PublicKey,
    members: &[X509Certificate<'_>],
) -> Result<(), CertificateError> {
    if key.public == *leaf {
        return Ok(());
    }
    let other = members
        .iter()
        .position(|member| key::of_certificate(member.public_key()).is_ok_and(|public| public == key.public));
    Err(other.map_or(CertificateError::KeyMismatch, |index| CertificateError::LeafNotFirst {
        position: index + 1,
    }))
}

/// Refuses a staple that Envoy would refuse at once: it takes only a successful response (RFC 6960 §4.2.1).
fn check_staple(staple: &[u8]) -> Result<(), CertificateError> {
    let successful = Any::from_der(staple).is_ok_and(|(rest, response)| {
        let status = Any::from_der(response.data).map(|(_, status)| (status.tag(), status.data));
        rest.is_empty() && response.tag() == Tag::Sequence && status == Ok((Tag::Enumerated, &[0]))
    });
    if successful {
        return Ok(());
    }
    Err(CertificateError::Malformed {
        entry: OCSP_STAPLE,
        problem: "not a successful OCSP response in DER; fetch it again (openssl ocsp -respout) or remove the entry".into(),
    })
}

/// The hash of the leaf's signature, if clients refuse it.
fn weak_signature(leaf: &X509Certificate<'_>) -> Option<&'static str> {
    let algorithm = &leaf.signature_algorithm.algorithm;
    if *algorithm == OID_PKCS1_MD5WITHRSAENC {
        Some("MD5")
    } else if *algorithm == OID_PKCS1_SHA1WITHRSA || algorithm.as_bytes() == ECDSA_WITH_SHA1 {
        Some("SHA-1")
    } else {
        None
    }
}
