//! DER, as far as nobody else reads it for us.

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

/// A SEQUENCE of elements that are written already.
pub(super) fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    let length: usize = elements.iter().map(|element| element.len()).sum();
    let bytes = length.to_be_bytes();
    let significant = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let mut out = vec![0x30];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            // At most eight bytes hold a length.
            out.push(0x80 | (bytes.len() - significant) as u8);
            out.extend(bytes.iter().skip(significant));
        }
    }
    elements.iter().for_each(|element| out.extend_from_slice(element));
    out
}

/// The elements of a DER structure, one after the other.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The elements of a SEQUENCE that is all of `der`.
    pub(super) fn of_sequence(der: &'a [u8]) -> Option<Self> {
        let (rest, any) = Any::from_der(der).ok()?;
        (rest.is_empty() && any.class() == Class::Universal && any.tag() == Tag::Sequence)
            .then_some(Fields(any.data))
    }

    pub(super) fn next(&mut self) -> Option<Any<'a>> {
        let (rest, any) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(any)
    }

    /// The next element as it is written.
    pub(super) fn raw(&mut self) -> Option<&'a [u8]> {
        let from = self.0;
        self.next()?;
        from.get(..from.len() - self.0.len())
    }

    /// The content of the next element, if it is of this kind.
    pub(super) fn take(&mut self, class: Class, tag: Tag) -> Option<&'a [u8]> {
        self.next().filter(|any| any.class() == class && any.tag() == tag).map(|any| any.data)
    }
}
