//! Certificates of TLS Secrets: read, checked against their key, and told apart.
//!
//! Pure: the time is an argument, so a translation that judges validity records when it must be asked again. What is
//! accepted is what Envoy Gateway accepts, since its users bring their Secrets along; the few places where we are more
//! lenient or more talkative say so.
//!
//! **Invariant:** no byte of a private key reaches a message or a `Debug` output. Errors are made of fixed words, of
//! positions and of what the (public) certificate says.

mod der;
mod error;
mod key;
mod names;
pub(crate) mod pem;
mod staple;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use ir::SecretBytes;
use rustc_hash::FxHashSet;
use x509_parser::{
    asn1_rs::{Oid, oid},
    oid_registry::{OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA},
    prelude::{FromDer, GeneralName, X509Certificate},
};

pub use self::error::CertificateError;
pub use self::names::{NameIndex, dns_name_matches, names_overlap};
use self::pem::Label;

const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";
const OCSP_STAPLE: &str = "tls.ocsp-staple";

/// `id-pe-tlsfeature` (RFC 7633 §4), and its value for staples alone, in DER: a sequence of the number 5.
const TLS_FEATURE: Oid<'static> = oid!(1.3.6.1.5.5.7.1.24);
const STATUS_REQUEST: &[u8] = &[0x30, 3, 2, 1, 5];

/// Names that a warning lists before it says how many more there are.
const MOST_NAMES: usize = 3;

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
    /// DER of `tls.ocsp-staple`, if there is one that Envoy takes.
    pub ocsp_staple: Option<Bytes>,
    /// Why the staple was left out.
    pub staple_problem: Option<&'static str>,
    /// The certificate may be shown together with a staple only (RFC 7633).
    pub must_staple: bool,
    /// DNS names of the leaf in lower case: its subject alternative names, or else its common name.
    pub dns_names: Box<[Arc<str>]>,
    /// `dns_names` is the common name, for want of alternative names.
    pub named_by_common_name: bool,
    /// The DNS names in the subject alternative names that clients find hosts by, without the dot that may end them.
    /// Clients and overlap checks look at no others.
    pub alternative_names: Box<[Arc<str>]>,
    /// The subject alternative names hold IP addresses.
    pub names_addresses: bool,
    /// Neither a common name nor an alternative name that is a DNS name, an IP address or a URI.
    pub nameless: bool,
    /// Latest start of validity over all members of the chain, in seconds since 1970.
    pub not_before: i64,
    /// Earliest end of validity over all members of the chain, in seconds since 1970. This second is still valid.
    pub not_after: i64,
    /// Kind of the leaf's public key.
    pub key_algorithm: KeyAlgorithm,
    /// Hash that the leaf was signed with, or else one of its issuers in the chain, when it is one that clients refuse:
    /// `MD5` or `SHA-1`. What an authority has signed itself does not count below the leaf.
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
    let staple = entry(OCSP_STAPLE).cloned();
    let staple_problem = staple.as_ref().and_then(|der| staple::check(der, leaf.raw_serial()).err());

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
        ocsp_staple: staple.filter(|_| staple_problem.is_none()),
        staple_problem,
        must_staple: must_staple(leaf),
        alternative_names: names.sought(),
        dns_names: names.names,
        named_by_common_name: names.by_common_name,
        names_addresses: names.addresses,
        nameless: names.none,
        not_before: starts.max().unwrap_or(i64::MAX),
        not_after: ends.min().unwrap_or(i64::MIN),
        key_algorithm: public.algorithm(),
        weak_signature: weak_signature(&members),
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

    /// Why Envoy would refuse it for a listener, if it would: more is asked of those than of what a proxy shows to
    /// backends.
    pub fn refused_for_listeners(&self) -> Option<String> {
        let own = || {
            match (&self.ocsp_staple, self.staple_problem) {
            _ if self.nameless => Some(
                "the certificate has neither a common name nor a DNS name, IP address or URI among its alternative names; Envoy takes none without: issue a new one"
                    .to_owned(),
            ),
            (None, problem) if self.must_staple => Some(format!(
                "the certificate must be shown with an OCSP staple, and tls.ocsp-staple {}: fetch one (openssl ocsp -respout)",
                problem.unwrap_or("is not there")
            )),
            _ => None,
        }
        };
        self.refused_by_envoy().or_else(own)
    }

    /// What a person should know about a pair that is served all the same, if there is anything.
    pub fn weakness(&self) -> Option<String> {
        let mut found = Vec::new();
        if let Some(hash) = self.weak_signature {
            found.push(format!("the certificate or an issuer is signed with {hash}, which clients refuse"));
        }
        match self.key_algorithm {
            KeyAlgorithm::Ed25519 => {
                found.push("the key is Ed25519, which browsers refuse: use ECDSA on P-256".to_owned());
            }
            KeyAlgorithm::Ecdsa { curve: Curve::P521 } => {
                found.push("the key is ECDSA on P-521, which Chrome refuses: use P-256".to_owned());
            }
            _ => {}
        }
        if self.names_addresses {
            // Clients that connect to an address find it.
        } else if self.dns_names.is_empty() {
            found.push("the certificate names no DNS name".to_owned());
        } else if self.named_by_common_name {
            found.push(
                "the certificate has a common name but no DNS name among its alternative names, so browsers refuse it"
                    .to_owned(),
            );
        }
        found.extend(self.unsought());
        if let Some(problem) = self.staple_problem {
            found
                .push(format!("tls.ocsp-staple {problem}, so it is left out: fetch a new one, or remove it"));
        }
        if self.damaged_blocks > 0 {
            found.push(format!(
                "tls.crt holds {} damaged PEM block(s), which were left out",
                self.damaged_blocks
            ));
        }
        (!found.is_empty()).then(|| found.join("; "))
    }

    /// Alternative names that no client, or not every client, finds a host by.
    fn unsought(&self) -> Option<String> {
        if self.named_by_common_name {
            return None;
        }
        let mut odd = self.dns_names.iter().filter_map(|name| match names::sought(name) {
            Err(problem) => Some(format!("{name:?} {problem}")),
            Ok(found) if found.len() < name.len() => {
                Some(format!("{name:?} ends with a dot, which not every client takes"))
            }
            Ok(_) => None,
        });
        let first: Vec<String> = odd.by_ref().take(MOST_NAMES).collect();
        let more = odd.count();
        let end = if more > 0 { format!(", and {more} more like that") } else { String::new() };
        (!first.is_empty()).then(|| format!("of the certificate's DNS names {}{end}", first.join(", ")))
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
    /// There are IP addresses.
    addresses: bool,
    /// There is nothing that Envoy takes for a name.
    none: bool,
}

impl Names {
    /// Those that clients compare hosts with.
    fn sought(&self) -> Box<[Arc<str>]> {
        let alternative = self.names.iter().filter(|_| !self.by_common_name);
        let sought = |name: &Arc<str>| {
            let sought = names::sought(name).ok()?;
            Some(if sought.len() == name.len() { name.clone() } else { sought.into() })
        };
        alternative.filter_map(sought).collect()
    }
}

/// Reads the leaf's DNS names. The last common name counts, as in Go.
fn names(leaf: &X509Certificate<'_>) -> Result<Names, CertificateError> {
    let malformed = || CertificateError::Malformed {
        entry: CERTIFICATE,
        problem: "certificate 1: the subject alternative names cannot be read".into(),
    };
    let (mut names, mut addresses, mut none) = (Vec::new(), false, true);
    if let Some(extension) = leaf.subject_alternative_name().map_err(|_| malformed())? {
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase().into()),
                GeneralName::IPAddress(_) => addresses = true,
                GeneralName::URI(_) => none = false,
                GeneralName::Invalid(..) => return Err(malformed()),
                _ => {}
            }
        }
    }
    let mut common_names = leaf.subject().iter_common_name().peekable();
    none &= names.is_empty() && !addresses && common_names.peek().is_none();
    if !names.is_empty() {
        return Ok(Names { names: names.into(), by_common_name: false, addresses, none });
    }
    let common = common_names.last().and_then(|name| name.as_str().ok());
    let names: Box<[Arc<str>]> = common
        .filter(|name| !name.is_empty())
        .map(|name| name.to_ascii_lowercase().into())
        .into_iter()
        .collect();
    Ok(Names { by_common_name: !names.is_empty(), names, addresses, none })
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

/// Whether Envoy takes a certificate for one that must be stapled.
fn must_staple(leaf: &X509Certificate<'_>) -> bool {
    leaf.extensions()
        .iter()
        .any(|extension| extension.oid == TLS_FEATURE && extension.value == STATUS_REQUEST)
}

/// The hash of a signature that clients refuse, of the leaf or else of an issuer. A root is trusted for its key, so
/// nobody looks at how it signed itself.
fn weak_signature(members: &[X509Certificate<'_>]) -> Option<&'static str> {
    let (leaf, issuers) = members.split_first()?;
    let issuers = issuers.iter().filter(|issuer| issuer.subject() != issuer.issuer());
    std::iter::once(leaf).chain(issuers).find_map(|member| {
        let algorithm = &member.signature_algorithm.algorithm;
        if *algorithm == OID_PKCS1_MD5WITHRSAENC {
            Some("MD5")
        } else if *algorithm == OID_PKCS1_SHA1WITHRSA || algorithm.as_bytes() == ECDSA_WITH_SHA1 {
            Some("SHA-1")
        } else {
            None
        }
    })
}
