//! Bundles of authorities: the text under `ca.crt`, read once when its object comes.
//!
//! Envoy refuses a bundle as a whole when one block of it cannot be read, and then keeps every cluster or listener that
//! waits for it waiting. So a bundle with any fault is refused here, where its author can be told.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use ir::SecretBytes;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::pem::{self, Label};

/// The entry in which a bundle is looked for first.
pub(crate) const AUTHORITIES: &str = "ca.crt";
/// All entries in which one is looked for, best first. An object with a single entry may call it what it likes (Envoy
/// Gateway's rule).
const KEYS: [&str; 2] = [AUTHORITIES, "tls.crt"];

/// Certificates of authorities that may be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The text as it is: PEM.
    pub pem: Bytes,
    /// The certificates in it, in order; never empty.
    pub members: Box<[Authority]>,
}

impl Bundle {
    /// Its certificates whose time has come and is not over; all when the time is not known (0).
    pub fn valid(&self, now: i64) -> impl Iterator<Item = &Authority> {
        let members = self.members.iter();
        members.filter(move |member| now == 0 || (member.not_before..=member.not_after).contains(&now))
    }
}

/// One certificate of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// First second of its validity, in seconds since 1970.
    pub not_before: i64,
    /// Last second of its validity, in seconds since 1970.
    pub not_after: i64,
    /// SHA-256 of its DER.
    pub fingerprint: [u8; 32],
    /// The certificate.
    pub der: Bytes,
}

impl Authority {
    /// Appends it as PEM.
    pub fn write(&self, out: &mut BytesMut) {
        pem::write(out, Label::Certificate, &self.der);
    }
}

/// Why an object has no usable bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// No entry of it is one.
    Missing,
    /// The text has no certificate.
    Empty,
    /// A PEM block that is cut off or no base64.
    Damaged,
    /// A PEM block is no X.509 certificate; counted from 1.
    Malformed(usize),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BundleError::Missing => f.write_str("it has no entry ca.crt"),
            BundleError::Empty => f.write_str("it has no certificate in PEM"),
            BundleError::Damaged => f.write_str("a PEM block in it is damaged"),
            BundleError::Malformed(position) => {
                write!(f, "PEM block {position} in it is no X.509 certificate")
            }
        }
    }
}

/// The entry of an object's data that holds a bundle.
pub(crate) fn entry<T>(data: &BTreeMap<Arc<str>, T>) -> Option<&T> {
    KEYS.iter().find_map(|key| data.get(*key)).or_else(|| data.values().next().filter(|_| data.len() == 1))
}

/// The bundle in the data of a Secret.
pub(crate) fn of_secret(data: &BTreeMap<Arc<str>, SecretBytes>) -> Result<Arc<Bundle>, BundleError> {
    read(entry(data).ok_or(BundleError::Missing)?.expose_secret())
}

/// Reads a bundle.
pub(crate) fn read(text: &[u8]) -> Result<Arc<Bundle>, BundleError> {
    let pem = pem::read(text);
    if pem.damaged > 0 {
        return Err(BundleError::Damaged);
    }
    let members: Vec<Authority> = (pem.blocks.iter().enumerate())
        .map(|(i, block)| authority(block).ok_or(BundleError::Malformed(i + 1)))
        .collect::<Result<_, _>>()?;
    if members.is_empty() {
        return Err(BundleError::Empty);
    }
    Ok(Arc::new(Bundle { pem: Bytes::copy_from_slice(text), members: members.into() }))
}

fn authority(block: &pem::Block) -> Option<Authority> {
    if block.label != Label::Certificate {
        return None;
    }
    let Ok(([], certificate)) = X509Certificate::from_der(&block.der) else { return None };
    let validity = certificate.validity();
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &block.der).as_ref());
    Some(Authority {
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        fingerprint,
        der: Bytes::copy_from_slice(&block.der),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(name: &str) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_bundle_is_taken_as_a_whole_or_not_at_all() {
        let (one, two) = (authority("one"), authority("two"));
        let text = format!("# ours\n{one}\n{two}");
        let bundle = read(text.as_bytes()).unwrap();
        assert_eq!(bundle.pem, text);
        assert_eq!(bundle.members.len(), 2);
        assert_ne!(bundle.members[0].fingerprint, bundle.members[1].fingerprint);

        assert_eq!(read(b"no certificate"), Err(BundleError::Empty));
        let cut = &two[..two.len() - 30];
        assert_eq!(read(format!("{one}{cut}").as_bytes()), Err(BundleError::Damaged));
        let other = one.replace("CERTIFICATE", "PUBLIC KEY");
        assert_eq!(read(format!("{two}{other}").as_bytes()), Err(BundleError::Malformed(2)));
    }

    #[test]
    fn the_entry_has_a_name_or_is_the_only_one() {
        let data = |keys: &[&str]| -> BTreeMap<Arc<str>, String> {
            keys.iter().map(|key| (Arc::from(*key), (*key).to_owned())).collect()
        };
        for (keys, expected) in [
            (&["a", "ca.crt", "tls.crt"][..], Some("ca.crt")),
            (&["a", "tls.crt"], Some("tls.crt")),
            (&["a"], Some("a")),
            (&["a", "b"], None),
            (&[], None),
        ] {
            assert_eq!(entry(&data(keys)).map(String::as_str), expected, "{keys:?}");
        }
    }
}
