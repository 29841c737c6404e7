//! Lists of revoked certificates: the text under `ca.crl`, read once when its object comes.
//!
//! Envoy refuses a text as a whole when one block of it cannot be read, and every client when a list's time is over. So
//! both are told here, where the list's author can mend them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use ir::SecretBytes;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::certificate::pem::{self, Label};

/// The entry in which lists are looked for first; an object with a single entry may call it what it likes (Envoy
/// Gateway's rule).
const LISTS: &str = "ca.crl";

/// Lists of revoked certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations {
    /// The text as it is: PEM.
    pub pem: Bytes,
    /// First second in which all lists are valid, in seconds since 1970.
    pub not_before: i64,
    /// Second at which the first list has to be replaced, in seconds since 1970; `None` for never.
    pub next_update: Option<i64>,
}

/// Why an object has no usable list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevocationsError {
    /// No entry of it is one.
    Missing,
    /// The text has no list.
    Empty,
    /// A PEM block that is cut off or no base64.
    Damaged,
    /// A PEM block is no list; counted from 1.
    Malformed(usize),
}

impl fmt::Display for RevocationsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RevocationsError::Missing => f.write_str("it has no entry ca.crl"),
            RevocationsError::Empty => f.write_str("it has no list of revoked certificates in PEM"),
            RevocationsError::Damaged => f.write_str("a PEM block in it is damaged"),
            RevocationsError::Malformed(position) => {
                write!(f, "PEM block {position} in it is no list of revoked certificates (X509 CRL)")
            }
        }
    }
}

impl Revocations {
    /// Why the lists do not count at a time, in words; `None` when they do, or when the time is not known (0).
    pub fn invalid(&self, now: i64) -> Option<&'static str> {
        match () {
            () if now == 0 => None,
            () if now < self.not_before => Some("a list of revoked certificates in it is not valid yet"),
            () if self.next_update.is_some_and(|next| now > next) => {
                Some("a list of revoked certificates in it is out of date: its next update was due")
            }
            () => None,
        }
    }
}

/// The entry of an object's data that holds lists.
pub(crate) fn entry<T>(data: &BTreeMap<Arc<str>, T>) -> Option<&T> {
    data.get(LISTS).or_else(|| data.values().next().filter(|_| data.len() == 1))
}

/// The lists in the data of a Secret.
pub(crate) fn of_secret(
    data: &BTreeMap<Arc<str>, SecretBytes>,
) -> Result<Arc<Revocations>, RevocationsError> {
    read(entry(data).ok_or(RevocationsError::Missing)?.expose_secret())
}

/// Reads lists.
pub(crate) fn read(text: &[u8]) -> Result<Arc<Revocations>, RevocationsError> {
    let pem = pem::read(text);
    if pem.damaged > 0 {
        return Err(RevocationsError::Damaged);
    }
    let mut lists =
        Revocations { pem: Bytes::copy_from_slice(text), not_before: i64::MIN, next_update: None };
    for (i, block) in pem.blocks.iter().enumerate() {
        let malformed = RevocationsError::Malformed(i + 1);
        if block.label != Label::Crl {
            return Err(malformed);
        }
        let Ok(([], list)) = CertificateRevocationList::from_der(&block.der) else { return Err(malformed) };
        lists.not_before = lists.not_before.max(list.last_update().timestamp());
        let next = list.next_update().map(|time| time.timestamp());
        lists.next_update = [lists.next_update, next].into_iter().flatten().min();
    }
    if pem.blocks.is_empty() {
        return Err(RevocationsError::Empty);
    }
    Ok(Arc::new(lists))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(from: i32, until: i32) -> String {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
        let issuer = rcgen::Issuer::new(params, rcgen::KeyPair::generate().unwrap());
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(from, 1, 1),
            next_update: rcgen::date_time_ymd(until, 1, 1),
            crl_number: 1u64.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&issuer).unwrap().pem().unwrap()
    }

    fn january(year: i32) -> i64 {
        rcgen::date_time_ymd(year, 1, 1).unix_timestamp()
    }

    #[test]
    fn lists_count_while_each_of_them_does() {
        let text = format!("{}{}", list(2020, 2030), list(2022, 2028));
        let lists = read(text.as_bytes()).unwrap();
        assert_eq!(lists.pem, text);
        for (year, counts) in [(2021, false), (2022, true), (2028, true), (2029, false)] {
            assert_eq!(lists.invalid(january(year)).is_none(), counts, "{year}");
        }
        assert_eq!(lists.invalid(0), None, "a time that is not known");
    }

    #[test]
    fn a_text_is_taken_as_a_whole_or_not_at_all() {
        let one = list(2020, 2030);
        assert_eq!(read(b"no list").unwrap_err(), RevocationsError::Empty);
        let cut = &one[..one.len() - 30];
        assert_eq!(read(format!("{one}{cut}").as_bytes()).unwrap_err(), RevocationsError::Damaged);
        let other = one.replace("X509 CRL", "CERTIFICATE");
        assert_eq!(read(format!("{one}{other}").as_bytes()).unwrap_err(), RevocationsError::Malformed(2));
    }
}
