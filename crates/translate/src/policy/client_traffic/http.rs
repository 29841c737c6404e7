//! What a policy says of requests.

use std::{net::IpAddr, sync::Arc};

use api::{
    ClientTrafficPolicySpec, Quantity,
    clienttrafficpolicy::{
        ClientIpDetectionSettings, HeaderSettings, Http1Settings, PathEscapedSlashAction, RequestIdAction,
        SchemeHeaderTransform, WithUnderscoresAction, XForwardedClientCert, XForwardedForSettings,
        XfccCertData, XfccForwardMode,
    },
};
use ir::downstream::{
    CertificateDetails, ClientAddress, EscapedSlashes, ForwardedCertificate, Http1, Http10, HttpSettings,
    RequestId, Trusted, Underscores,
};

use super::{Findings, headers, socket::limits, span, text_match};
use crate::policy::backend_traffic::http2;

/// KiB of all headers of a request together, at most (Envoy, `max_request_headers_kb`).
const MAX_HEADERS: u64 = 8192;

/// Reads the parts of a policy that connection managers have.
pub(super) fn read(spec: &ClientTrafficPolicySpec, findings: &mut Findings) -> HttpSettings {
    let timeout = spec.timeout.as_ref().and_then(|timeout| timeout.http.as_ref());
    let (path, limits) = (spec.path.as_ref(), limits(spec));
    let none = HeaderSettings::default();
    let headers = spec.headers.as_ref().unwrap_or(&none);
    let max_connection_duration = span(limits.and_then(|limits| limits.max_connection_duration.as_ref()));
    HttpSettings {
        client_address: spec.client_ip_detection.as_ref().and_then(|spec| client_address(spec, findings)),
        escaped_slashes: path.and_then(|path| path.escaped_slashes_action).map(|action| match action {
            PathEscapedSlashAction::KeepUnchanged => EscapedSlashes::Keep,
            PathEscapedSlashAction::RejectRequest => EscapedSlashes::Reject,
            PathEscapedSlashAction::UnescapeAndForward => EscapedSlashes::Unescape,
            PathEscapedSlashAction::UnescapeAndRedirect => EscapedSlashes::Redirect,
        }),
        keeps_slashes: path.and_then(|path| path.disable_merge_slashes).unwrap_or_default(),
        underscores: headers.with_underscores_action.map(|action| match action {
            WithUnderscoresAction::Allow => Underscores::Allow,
            WithUnderscoresAction::RejectRequest => Underscores::Reject,
            WithUnderscoresAction::DropHeader => Underscores::Drop,
        }),
        request_id: request_id(headers),
        client_certificate: headers.x_forwarded_client_cert.as_ref().map(forwarded),
        early: headers::edits(
            "spec.headers.earlyRequestHeaders",
            headers.early_request_headers.as_ref(),
            findings,
        ),
        late: headers::edits(
            "spec.headers.lateResponseHeaders",
            headers.late_response_headers.as_ref(),
            findings,
        ),
        envoy_headers: headers.enable_envoy_headers.unwrap_or_default(),
        strips_dot: (headers.host.as_ref()).and_then(|host| host.strip_trailing_host_dot).unwrap_or_default(),
        max_headers: headers.max_request_header_limit.as_ref().and_then(|limit| kib(limit, findings)),
        request_timeout: span(timeout.and_then(|timeout| timeout.request_received_timeout.as_ref())),
        headers_timeout: span(timeout.and_then(|timeout| timeout.request_headers_received_timeout.as_ref())),
        idle_timeout: span(timeout.and_then(|timeout| timeout.idle_timeout.as_ref())),
        stream_idle_timeout: span(timeout.and_then(|timeout| timeout.stream_idle_timeout.as_ref())),
        max_connection_duration,
        ends_unsafely: (spec.http1.as_ref())
            .and_then(|http1| http1.disable_safe_max_connection_duration)
            .unwrap_or_default(),
        max_requests: limits.and_then(|limits| limits.max_requests_per_connection),
        max_stream_duration: span(limits.and_then(|limits| limits.max_stream_duration.as_ref())),
        http1: spec.http1.as_ref().map(|spec| Arc::new(http1(spec, findings))),
        http2: spec.http2.as_ref().map(|spec| http2(spec, findings)),
        grpc_web: spec.grpc.as_ref().map(|grpc| grpc.enable_web.unwrap_or_default()),
        health_check: spec.health_check.as_ref().map(|check| check.path.as_str().into()),
        scheme_of_backend: spec.scheme == Some(SchemeHeaderTransform::MatchBackend),
    }
}

fn client_address(spec: &ClientIpDetectionSettings, findings: &mut Findings) -> Option<ClientAddress> {
    if let Some(header) = &spec.custom_header {
        let required = header.fail_closed.unwrap_or_default();
        return Some(ClientAddress::Header { name: header.name.as_str().into(), required });
    }
    let forwarded = spec.x_forwarded_for.as_ref()?;
    Some(ClientAddress::ForwardedFor {
        trusted: trusted(forwarded, findings),
        keeps: forwarded.disable_x_forwarded_for_append.unwrap_or_default(),
    })
}

fn trusted(spec: &XForwardedForSettings, findings: &mut Findings) -> Trusted {
    let Some(ranges) = &spec.trusted_cidrs else {
        return Trusted::Hops(spec.num_trusted_hops.unwrap_or_default());
    };
    let ranges = ranges.iter().enumerate().filter_map(|(i, text)| {
        let range = range(text);
        if range.is_none() {
            let field = format!("spec.clientIPDetection.xForwardedFor.trustedCIDRs[{i}]");
            findings.add(&field, format!("{text:?} is no range of addresses such as 10.0.0.0/8"));
        }
        range
    });
    Trusted::Ranges(ranges.collect())
}

/// `10.0.0.0/8` as address and length.
fn range(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
    let most = if address.is_ipv4() { 32 } else { 128 };
    (length <= most).then_some((address, length))
}

fn request_id(headers: &HeaderSettings) -> Option<RequestId> {
    let action = headers.request_id.or_else(|| {
        (headers.preserve_x_request_id == Some(true)).then_some(RequestIdAction::PreserveOrGenerate)
    })?;
    let (generates, preserves) = match action {
        RequestIdAction::PreserveOrGenerate => (true, true),
        RequestIdAction::Preserve => (false, true),
        RequestIdAction::Generate => (true, false),
        RequestIdAction::Disable => (false, false),
    };
    Some(RequestId { generates, preserves })
}

fn forwarded(spec: &XForwardedClientCert) -> ForwardedCertificate {
    let details = || {
        let told = |data| spec.cert_details_to_add.as_ref().is_some_and(|list| list.contains(&data));
        CertificateDetails {
            subject: told(XfccCertData::Subject),
            certificate: told(XfccCertData::Cert),
            chain: told(XfccCertData::Chain),
            dns: told(XfccCertData::DNS),
            uri: told(XfccCertData::URI),
        }
    };
    match spec.mode {
        None | Some(XfccForwardMode::Sanitize) => ForwardedCertificate::Sanitize,
        Some(XfccForwardMode::ForwardOnly) => ForwardedCertificate::Forward,
        Some(XfccForwardMode::AppendForward) => ForwardedCertificate::Append(details()),
        Some(XfccForwardMode::SanitizeSet) => ForwardedCertificate::Set(details()),
        Some(XfccForwardMode::AlwaysForwardOnly) => ForwardedCertificate::AlwaysForward,
    }
}

fn kib(limit: &Quantity, findings: &mut Findings) -> Option<u32> {
    let kib = limit.bytes().filter(|bytes| *bytes >= 1024).map(|bytes| bytes.div_ceil(1024));
    let kib = kib.filter(|kib| *kib <= MAX_HEADERS);
    if kib.is_none() {
        let message = format!("{} must be between 1Ki and {MAX_HEADERS}Ki", limit.0);
        findings.add("spec.headers.maxRequestHeaderLimit", message);
    }
    kib.and_then(|kib| u32::try_from(kib).ok())
}

fn http1(spec: &Http1Settings, findings: &mut Findings) -> Http1 {
    let ignored = spec.ignored_upgrade_types.iter().flatten().enumerate().filter_map(|(i, matched)| {
        let field = format!("spec.http1.ignoredUpgradeTypes[{i}]");
        text_match(&field, (matched.type_, &matched.value), findings)
    });
    Http1 {
        ignored_upgrades: ignored.collect(),
        trailers: spec.enable_trailers.unwrap_or_default(),
        keeps_case: spec.preserve_header_case.unwrap_or_default(),
        // The host is that of a listener, which is not known here.
        http10: spec.http10.as_ref().map(|_| Http10::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_have_an_address_and_a_length_that_fits() {
        assert_eq!(range("10.0.0.0/8"), Some(("10.0.0.0".parse().unwrap(), 8)));
        assert_eq!(range("2001:db8::/32"), Some(("2001:db8::".parse().unwrap(), 32)));
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/129", "x/8", "10.0.0.0/-1"] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
