//! What a policy says of TLS, and of certificates of clients.

use std::{collections::BTreeSet, sync::Arc};

use api::{
    ClientTrafficPolicySpec,
    clienttrafficpolicy::{
        ClientTlsSettings, ClientValidationContext, ClientValidationModeType, SubjectAltNames,
    },
    envoyproxy::StringMatchType,
    tls::MisdirectedRequests,
};
use bytes::{Bytes, BytesMut};
use ir::{
    secret::Revocations,
    tls::{ClientValidation, NameKind, NameMatch, TlsParameters, TlsVersion},
};
use serde_json::Value;
use store::{ObjectId, facts};

use super::{Findings, KIND, Source, text_match};
use crate::{
    Finding, Reader,
    secret::SecretKey,
    trust::{self, Referrer, Untrusted},
};

/// What a policy says of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// What a handshake may agree on. Versions are always given.
    pub parameters: TlsParameters,
    /// Protocols to offer; `None` for those of the listener.
    pub alpn: Option<Box<[Arc<str>]>>,
    /// What becomes of misdirected requests; `None` for what the Gateway says.
    pub misdirected: Option<MisdirectedRequests>,
    /// What clients must show.
    pub client: Option<ClientCheck>,
    /// Clients may go on with a session by tickets that they keep.
    pub tickets: bool,
    /// Clients may go on with a session that the proxy keeps.
    pub sessions: bool,
}

/// What clients must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCheck {
    /// What SDS has to serve for it; `None` without authorities.
    pub authorities: Option<SecretKey>,
    /// The demand.
    pub validation: ClientValidation,
    /// Why names cannot be asked for where nobody names authorities.
    unvouched: Option<Finding>,
}

impl ClientCheck {
    /// Why names of certificates cannot be asked for; `None` when they can, or are not asked for. `vouched` when a Gateway
    /// has authorities.
    pub fn unvouched(&self, vouched: bool) -> Option<Finding> {
        self.unvouched.clone().filter(|_| !vouched)
    }
}

/// Suites for TLS up to 1.2 that can be chosen, in BoringSSL's names and IANA's (Envoy Gateway's list).
const CIPHERS: [(&str, &str); 14] = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-ECDSA-AES128-SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    ("ECDHE-RSA-AES128-SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    ("AES128-GCM-SHA256", "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    ("AES128-SHA", "TLS_RSA_WITH_AES_128_CBC_SHA"),
    ("ECDHE-ECDSA-AES256-SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    ("ECDHE-RSA-AES256-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    ("AES256-GCM-SHA384", "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    ("AES256-SHA", "TLS_RSA_WITH_AES_256_CBC_SHA"),
];

/// Reads the parts of a policy that TLS has.
pub(super) fn read(
    spec: &ClientTrafficPolicySpec,
    source: &Source,
    reader: &mut Reader<'_>,
    findings: &mut Findings,
) -> Tls {
    let none = ClientTlsSettings::default();
    let spec = spec.tls.as_ref().unwrap_or(&none);
    let resumption = spec.session.as_ref().and_then(|session| session.resumption.as_ref());
    let unknown =
        |cipher: &&String| !CIPHERS.iter().any(|(ours, iana)| **cipher == *ours || **cipher == *iana);
    if let Some(cipher) = spec.ciphers.iter().find(unknown) {
        findings.add("spec.tls.ciphers", format!("{cipher:?} is no cipher suite that can be chosen"));
    }
    let usable = !spec.ciphers.iter().any(|cipher| unknown(&cipher));
    let min = spec.min_version.map_or(TlsVersion::V1_2, version);
    let max = spec.max_version.map_or(TlsVersion::V1_3, version);
    // Of merged policies one may name the oldest version, and another one the newest.
    if min > max && max != TlsVersion::Auto {
        let broader = source.owner("tls.minVersion").meta.id != source.policy().meta.id;
        let field = if broader { "spec.tls.minVersion" } else { "spec.tls.maxVersion" };
        findings.add(field, "no version is left: minVersion is above maxVersion");
    }
    Tls {
        parameters: TlsParameters {
            min: Some(min),
            max: Some(max),
            ciphers: if usable { texts(&spec.ciphers) } else { [].into() },
            curves: texts(&spec.ecdh_curves),
            signature_algorithms: texts(&spec.signature_algorithms),
        },
        alpn: spec.alpn_protocols.as_deref().map(texts),
        misdirected: spec.misdirected_requests,
        client: spec.client_validation.as_ref().map(|spec| client(spec, source, reader, findings)),
        tickets: resumption.is_some_and(|resumption| resumption.stateless.is_some()),
        sessions: resumption.is_some_and(|resumption| resumption.stateful.is_some()),
    }
}

fn version(version: api::TlsVersion) -> TlsVersion {
    match version {
        api::TlsVersion::Auto => TlsVersion::Auto,
        api::TlsVersion::V1_0 => TlsVersion::V1_0,
        api::TlsVersion::V1_1 => TlsVersion::V1_1,
        api::TlsVersion::V1_2 => TlsVersion::V1_2,
        api::TlsVersion::V1_3 => TlsVersion::V1_3,
    }
}

fn texts(list: &[String]) -> Box<[Arc<str>]> {
    list.iter().map(|text| text.as_str().into()).collect()
}

fn client(
    spec: &ClientValidationContext,
    source: &Source,
    reader: &mut Reader<'_>,
    findings: &mut Findings,
) -> ClientCheck {
    use ClientValidationModeType::{RequireAndVerify, RequireAny, VerifyIfGiven};
    const FIELD: &str = "spec.tls.clientValidation";
    let mode = spec.mode.unwrap_or(if spec.optional { VerifyIfGiven } else { RequireAndVerify });
    let mut add = |field: &str, message: String| {
        findings.0.push(Finding::new(format!("{FIELD}.{field}"), "Invalid", message));
    };
    // Merged policies may name authorities and lists in different namespaces.
    let of = source.owner("tls.clientValidation.caCertificateRefs");
    let lists = source.owner("tls.clientValidation.crl.refs");
    let trusted = match trusted(of, reader) {
        Ok(trusted) => trusted,
        Err(untrusted) => {
            add("caCertificateRefs", format!("{FIELD}: {}", untrusted.message()));
            None
        }
    };
    let verifies = matches!(mode, VerifyIfGiven | RequireAndVerify);
    if verifies && of.authorities.is_empty() {
        let message = format!("{mode:?} checks certificates by authorities: name some in caCertificateRefs");
        add("mode", format!("{FIELD}: {message}"));
    }
    if let Err(untrusted) = revoked(lists, reader) {
        add("crl.refs", format!("{FIELD}.crl: {}", untrusted.message()));
    }
    let names = names(spec.subject_alt_names.as_ref(), findings);
    let hashes =
        |field: &str, list: &[String], valid: fn(&str) -> bool, what: &str, findings: &mut Findings| {
            for (i, hash) in list.iter().enumerate().filter(|(_, hash)| !valid(hash)) {
                findings.add(&format!("{FIELD}.{field}[{i}]"), format!("{hash:?} is not {what}"));
            }
            list.iter().filter(|hash| valid(hash)).map(|hash| hash.as_str().into()).collect()
        };
    let lists = (!lists.revocations.is_empty() && lists.meta.id != of.meta.id).then_some(lists.meta.id);
    let authorities = trusted.map(|_| SecretKey::Authorities(of.meta.id, lists));
    let unvouched = (authorities.is_none() && !names.is_empty()).then(|| {
        let field = format!("{FIELD}.subjectAltNames");
        let message = "anybody can write a name into a certificate: name authorities in caCertificateRefs";
        let message = format!("{field}: {message}");
        source.blamed(Finding::new(field, "Invalid", message), reader)
    });
    ClientCheck {
        authorities,
        unvouched,
        validation: ClientValidation {
            authorities: authorities.map(|_| name_of_authorities(of.meta.id, lists, reader)),
            required: matches!(mode, RequireAny | RequireAndVerify),
            untrusted: !verifies,
            expired: spec.allow_expired_certificate.unwrap_or_default(),
            key_hashes: hashes("spkiHashes", &spec.spki_hashes, is_spki, "SHA-256 in base64", findings),
            certificate_hashes: hashes(
                "certificateHashes",
                &spec.certificate_hashes,
                is_sha256,
                "SHA-256 in hexadecimal digits",
                findings,
            ),
            names: names.into(),
        },
    }
}

/// 32 bytes in base64, as Envoy wants them.
fn is_spki(hash: &str) -> bool {
    let (digits, end) = hash.split_at_checked(43).unwrap_or((hash, ""));
    end == "=" && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// 32 bytes in hexadecimal digits, perhaps with a colon between each two.
fn is_sha256(hash: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match hash.len() {
        64 => digits(hash),
        95 => hash.split(':').all(|byte| byte.len() == 2 && digits(byte)),
        _ => false,
    }
}

/// Names of which a certificate must have one.
fn names(spec: Option<&SubjectAltNames>, findings: &mut Findings) -> Vec<NameMatch> {
    let Some(spec) = spec else { return Vec::new() };
    let mut names = Vec::new();
    let mut add =
        |kind: NameKind, field: String, (how, value): (StringMatchType, &str), findings: &mut Findings| {
            let field = format!("spec.tls.clientValidation.subjectAltNames.{field}");
            names.extend(text_match(&field, (how, value), findings).map(|text| NameMatch { kind, text }));
        };
    let lists = [
        ("dnsNames", NameKind::Dns, &spec.dns_names),
        ("emailAddresses", NameKind::Email, &spec.email_addresses),
        ("ipAddresses", NameKind::Ip, &spec.ip_addresses),
        ("uris", NameKind::Uri, &spec.uris),
    ];
    for (field, kind, list) in lists {
        for (i, matched) in list.iter().flatten().enumerate() {
            add(kind.clone(), format!("{field}[{i}]"), (matched.type_, &matched.value), findings);
        }
    }
    for (i, other) in spec.other_names.iter().flatten().enumerate() {
        let kind = NameKind::Other(other.oid.as_str().into());
        add(kind, format!("otherNames[{i}]"), (other.type_, &other.value), findings);
    }
    names
}

/// Name in xDS of the authorities that a policy trusts, with the lists of revoked certificates of another one where it is
/// merged with that.
pub(crate) fn name_of_authorities(
    policy: ObjectId,
    lists: Option<ObjectId>,
    reader: &Reader<'_>,
) -> Arc<str> {
    let object = reader.object(policy);
    let name = format!("{}/{}/ca.crt", object.namespace, object.name);
    match lists.map(|lists| reader.object(lists)) {
        Some(lists) => format!("{name}/{}/{}/ca.crl", lists.namespace, lists.name).into(),
        None => name.into(),
    }
}

/// What SDS serves for a policy: authorities, and what the lists of the same policy, or of another one, tell that they
/// have revoked.
pub(crate) fn authorities(
    policy: &facts::Policy,
    lists: &facts::Policy,
    reader: &mut Reader<'_>,
) -> Option<(Bytes, Option<Revocations>)> {
    let pem = trusted(policy, reader).ok().flatten()?;
    Some((pem, revoked(lists, reader).ok().flatten()))
}

/// The authorities that count: each once, and only those whose time has come and is not over. `None` when the policy
/// names none.
fn trusted(policy: &facts::Policy, reader: &mut Reader<'_>) -> Result<Option<Bytes>, Untrusted> {
    if policy.authorities.is_empty() {
        return Ok(None);
    }
    let namespace = reader.object(policy.meta.id).namespace;
    let bundles = trust::resolve(referrer(&namespace), &policy.authorities, reader)?;
    let now = reader.now();
    let mut seen: BTreeSet<[u8; 32]> = BTreeSet::new();
    let mut pem = BytesMut::new();
    for (bundle, reference) in bundles.iter().zip(&policy.authorities) {
        let valid: Vec<_> = bundle.valid(now).collect();
        if valid.is_empty() {
            return Err(Untrusted::Reference(format!(
                "caCertificateRefs: the certificates in {} {} are not valid yet, or no more",
                reference.kind, reference.name
            )));
        }
        for authority in valid.into_iter().filter(|authority| seen.insert(authority.fingerprint)) {
            authority.write(&mut pem);
        }
    }
    Ok(Some(pem.freeze()))
}

/// What the authorities have revoked; `None` when the policy does not say.
fn revoked(policy: &facts::Policy, reader: &mut Reader<'_>) -> Result<Option<Revocations>, Untrusted> {
    if policy.revocations.is_empty() {
        return Ok(None);
    }
    let namespace = reader.object(policy.meta.id).namespace;
    let pem = trust::revocations(referrer(&namespace), &policy.revocations, reader)?;
    let leaf_only = policy.document.pointer("/tls/clientValidation/crl/onlyVerifyLeafCertificate");
    Ok(Some(Revocations { pem, leaf_only: leaf_only.and_then(Value::as_bool).unwrap_or_default() }))
}

fn referrer(namespace: &str) -> Referrer<'_> {
    Referrer { group: KIND.group(), kind: KIND.name(), namespace }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_have_the_form_that_envoy_takes() {
        assert!(is_spki("NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A="));
        for hash in [
            "",
            "NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A",
            "NvqYIYSbgK2vCJpQhObf77vv*bQWtc5ek5RIOwPiC9A=",
        ] {
            assert!(!is_spki(hash), "{hash}");
        }
        let plain = "df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a";
        let with_colons: Vec<&str> =
            plain.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
        assert!(is_sha256(plain) && is_sha256(&with_colons.join(":")));
        for hash in ["", &plain[1..], &plain.replace('d', "g"), &with_colons.join("-")] {
            assert!(!is_sha256(hash), "{hash}");
        }
    }
}
