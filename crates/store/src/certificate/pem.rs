//! Text to DER: the PEM reader for certificates and keys.
//!
//! Our own, because the crates at hand either stop at the first damaged block or hide the labels of blocks that they do
//! not know, and both are needed here: to read what Envoy Gateway reads, and to tell a person that a key is encrypted.
//! One pass over the lines, so the cost is linear whatever the input holds.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::{BufMut, BytesMut};

/// Spare bits of the last character are ignored, as other PEM readers do; padding is not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Characters of base64 in a line of PEM (RFC 7468 §2).
const LINE: usize = 64;

const DASHES: &[u8] = b"-----";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// One block that has a BEGIN line, a matching END line and base64 between them.
pub(crate) struct Block {
    pub label: Label,
    /// Carries a `Proc-Type: 4,ENCRYPTED` header (RFC 1421 §4.6.1.1), so `der` is ciphertext.
    pub encrypted: bool,
    pub der: Vec<u8>,
}

/// What a block says it is. A closed list, so that no text of a secret can reach a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Certificate,
    TrustedCertificate,
    CertificateRequest,
    Crl,
    Pkcs7,
    PublicKey,
    PrivateKey,
    RsaPrivateKey,
    EcPrivateKey,
    DsaPrivateKey,
    OpenSshPrivateKey,
    EncryptedPrivateKey,
    EcParameters,
    DhParameters,
    Other,
}

impl Label {
    fn read(text: &[u8]) -> Label {
        match text {
            b"CERTIFICATE" | b"X509 CERTIFICATE" => Label::Certificate,
            b"TRUSTED CERTIFICATE" => Label::TrustedCertificate,
            b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => Label::CertificateRequest,
            b"X509 CRL" => Label::Crl,
            b"PKCS7" => Label::Pkcs7,
            b"PUBLIC KEY" | b"RSA PUBLIC KEY" => Label::PublicKey,
            b"PRIVATE KEY" => Label::PrivateKey,
            b"RSA PRIVATE KEY" => Label::RsaPrivateKey,
            b"EC PRIVATE KEY" => Label::EcPrivateKey,
            b"DSA PRIVATE KEY" => Label::DsaPrivateKey,
            b"OPENSSH PRIVATE KEY" => Label::OpenSshPrivateKey,
            b"ENCRYPTED PRIVATE KEY" => Label::EncryptedPrivateKey,
            b"EC PARAMETERS" => Label::EcParameters,
            b"DH PARAMETERS" => Label::DhParameters,
            _ => Label::Other,
        }
    }

    /// The words between `BEGIN` and the dashes.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Label::Certificate => "CERTIFICATE",
            Label::TrustedCertificate => "TRUSTED CERTIFICATE",
            Label::CertificateRequest => "CERTIFICATE REQUEST",
            Label::Crl => "X509 CRL",
            Label::Pkcs7 => "PKCS7",
            Label::PublicKey => "PUBLIC KEY",
            Label::PrivateKey => "PRIVATE KEY",
            Label::RsaPrivateKey => "RSA PRIVATE KEY",
            Label::EcPrivateKey => "EC PRIVATE KEY",
            Label::DsaPrivateKey => "DSA PRIVATE KEY",
            Label::OpenSshPrivateKey => "OPENSSH PRIVATE KEY",
            Label::EncryptedPrivateKey => "ENCRYPTED PRIVATE KEY",
            Label::EcParameters => "EC PARAMETERS",
            Label::DhParameters => "DH PARAMETERS",
            Label::Other => "unknown",
        }
    }
}

/// All that a PEM text holds.
pub(crate) struct Pem {
    /// Blocks in the order of the text.
    pub blocks: Vec<Block>,
    /// BEGIN lines that no block came of: no END line of the same label, or no base64 between them.
    pub damaged: u32,
}

/// A block whose END line is still to come.
struct Open<'a> {
    label: &'a [u8],
    /// Header lines may still come: no line without a colon has been seen.
    in_headers: bool,
    encrypted: bool,
    /// Where the base64 starts in the text.
    body: usize,
}

/// Reads every block. Text before, between and after blocks is ignored, and so is a block that is damaged.
///
/// The dashes must start their line. Lines may end in CRLF or in blanks.
pub(crate) fn read(text: &[u8]) -> Pem {
    let mut pem = Pem { blocks: Vec::new(), damaged: 0 };
    let mut open: Option<Open<'_>> = None;
    let mut next = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let start = next;
        next += line.len();
        let line = line.trim_ascii_end();
        if let Some(label) = line.strip_prefix(BEGIN) {
            if open.is_some() {
                pem.damaged += 1;
            }
            open = label.strip_suffix(DASHES).map(|label| Open {
                label,
                in_headers: true,
                encrypted: false,
                body: next,
            });
            pem.damaged += u32::from(open.is_none());
        } else if let Some(label) = line.strip_prefix(END) {
            let Some(block) = open.take() else { continue };
            match close(&block, label, text.get(block.body..start).unwrap_or_default()) {
                Some(block) => pem.blocks.push(block),
                None => pem.damaged += 1,
            }
        } else if let Some(block) = &mut open
            && block.in_headers
        {
            if line.contains(&b':') {
                block.encrypted |= line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
                block.body = next;
            } else {
                block.in_headers = false;
            }
        }
    }
    pem.damaged += u32::from(open.is_some());
    pem
}

/// The block, if its END line names the same label and its body is base64.
fn close(open: &Open<'_>, label: &[u8], body: &[u8]) -> Option<Block> {
    if label.strip_suffix(DASHES)? != open.label {
        return None;
    }
    let base64: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let der = BASE64.decode(base64).ok()?;
    Some(Block { label: Label::read(open.label), encrypted: open.encrypted, der })
}

/// Appends a block in the form that all writers agree on: lines of 64 characters, LF, no headers.
pub(crate) fn write(out: &mut BytesMut, label: Label, der: &[u8]) {
    let base64 = BASE64.encode(der);
    out.reserve(base64.len() + base64.len() / LINE + 2 * (END.len() + label.text().len() + DASHES.len() + 3));
    out.put_slice(BEGIN);
    out.put_slice(label.text().as_bytes());
    out.put_slice(DASHES);
    out.put_u8(b'\n');
    for line in base64.as_bytes().chunks(LINE) {
        out.put_slice(line);
        out.put_u8(b'\n');
    }
    out.put_slice(END);
    out.put_slice(label.text().as_bytes());
    out.put_slice(DASHES);
    out.put_u8(b'\n');
}
