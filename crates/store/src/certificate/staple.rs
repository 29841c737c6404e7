//! OCSP staples (RFC 6960): whether Envoy takes one.
//!
//! Envoy checks a staple when it loads the certificate, and refuses both when the staple does not please it. A Secret
//! that brings a new certificate beside the staple of the old one would then take its whole port down, so such a staple
//! is left out instead.

use x509_parser::asn1_rs::{Class, Oid, Tag, oid};

use super::der::Fields;

/// `id-pkix-ocsp-basic` (RFC 6960 §4.2.1), the only type of responses there is.
const BASIC: Oid<'static> = oid!(1.3.6.1.5.5.7.48.1.1);

/// Digits and end of a time as Envoy reads it: `20260101000000Z`.
const TIME_LENGTH: usize = 15;

/// Why Envoy does not take a staple for the certificate with this serial number (as DER has it). Nobody looks at the
/// signature, nor at the times: a staple that is out of date is not shown to clients.
pub(super) fn check(staple: &[u8], serial: &[u8]) -> Result<(), &'static str> {
    const MALFORMED: &str = "is no OCSP response in DER with exactly one certificate";
    let mut response = Fields::of_sequence(staple).ok_or(MALFORMED)?;
    match response.take(Class::Universal, Tag::Enumerated) {
        Some([0]) => {}
        Some(_) => return Err("is an OCSP response that says why there is none"),
        None => return Err(MALFORMED),
    }
    let of = serial_of(&mut response).ok_or(MALFORMED)?;
    if significant(of) == significant(serial) { Ok(()) } else { Err("is for another certificate") }
}

/// The serial number in a successful response.
fn serial_of<'a>(response: &mut Fields<'a>) -> Option<&'a [u8]> {
    let bytes = response.take(Class::ContextSpecific, Tag(0))?;
    let mut bytes = Fields::of_sequence(bytes)?;
    let kind = bytes.next()?.oid().ok()?;
    let basic = bytes.take(Class::Universal, Tag::OctetString).filter(|_| kind == BASIC)?;
    let data = Fields::of_sequence(basic)?.take(Class::Universal, Tag::Sequence)?;
    let mut data = Fields(data);
    let mut responder = data.next()?;
    if (responder.class(), responder.tag()) == (Class::ContextSpecific, Tag(0)) {
        // The version, which is 1 where it is given: number 0.
        let version = Fields(responder.data).take(Class::Universal, Tag::Integer);
        if version != Some(&[0]) {
            return None;
        }
        responder = data.next()?;
    }
    if responder.class() != Class::ContextSpecific || ![Tag(1), Tag(2)].contains(&responder.tag()) {
        return None;
    }
    data.take(Class::Universal, Tag::GeneralizedTime)?;
    let mut responses = Fields(data.take(Class::Universal, Tag::Sequence)?);
    let mut only = Fields(responses.take(Class::Universal, Tag::Sequence)?);
    let mut id = Fields(only.take(Class::Universal, Tag::Sequence).filter(|_| responses.0.is_empty())?);
    id.take(Class::Universal, Tag::Sequence)?;
    id.take(Class::Universal, Tag::OctetString)?;
    id.take(Class::Universal, Tag::OctetString)?;
    let serial = id.take(Class::Universal, Tag::Integer)?;
    let status = only.next()?;
    let known = status.class() == Class::ContextSpecific && status.tag().0 <= 2;
    let time = |bytes: &[u8]| {
        bytes.len() == TIME_LENGTH
            && bytes
                .split_last()
                .is_some_and(|(end, digits)| *end == b'Z' && digits.iter().all(u8::is_ascii_digit))
    };
    only.take(Class::Universal, Tag::GeneralizedTime).filter(|bytes| known && time(bytes))?;
    let next = only.next().filter(|any| (any.class(), any.tag()) == (Class::ContextSpecific, Tag(0)));
    let readable = next
        .is_none_or(|next| Fields(next.data).take(Class::Universal, Tag::GeneralizedTime).is_some_and(time));
    readable.then_some(serial)
}

/// An integer without zeros in front.
fn significant(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}
