//! Faults, limits of bytes, buffering and compression.

use api::backendtrafficpolicy::{
    BackendTrafficPolicySpec, BandwidthLimitSpec, BandwidthLimitUnit, BandwidthLimitValue,
    Compression as CompressionSpec, FaultInjection, RequestBuffer,
};
use api::envoyproxy::CompressorType;
use ir::traffic::{Abort, Bandwidth, Compression, Compressor, Fault, ResponseBandwidth};

use super::{Findings, span};

/// Bytes of a KiB, Envoy's unit of bandwidth and the least that it can limit in a second.
const KIB: u64 = 1 << 10;
/// Millionths of one percent.
const MILLIONTHS: f32 = 10_000.0;
/// All requests, in millionths.
const ALL: u32 = 1_000_000;

pub(super) fn fault(spec: &FaultInjection) -> Fault {
    let abort = spec.abort.as_ref().and_then(|abort| {
        let number = |status: i32| u32::try_from(status).unwrap_or_default();
        let http = abort.http_status.map(|status| Abort::Http(number(status)));
        let error = http.or(abort.grpc_status.map(|status| Abort::Grpc(number(status))))?;
        Some((error, share(abort.percentage)))
    });
    let delay = spec.delay.as_ref();
    Fault { delay: delay.and_then(|d| Some((span(Some(&d.fixed_delay))?, share(d.percentage)))), abort }
}

/// Percent as millionths. The cast cuts what is below nothing and what is no number to nothing.
fn share(percent: f32) -> u32 {
    ((percent * MILLIONTHS) as u32).min(ALL)
}

pub(super) fn bandwidth(spec: &BandwidthLimitSpec, findings: &mut Findings) -> Bandwidth {
    let request = spec.request.as_ref();
    let response = spec.response.as_ref();
    Bandwidth {
        request: request.and_then(|request| kib_a_second("request", &request.limit, findings)),
        response: response.and_then(|response| {
            Some(ResponseBandwidth {
                limit: kib_a_second("response", &response.limit, findings)?,
                trailers: (response.response_trailers.as_ref())
                    .map(|trailers| trailers.prefix.as_deref().unwrap_or_default().into()),
            })
        }),
    }
}

fn kib_a_second(direction: &str, limit: &BandwidthLimitValue, findings: &mut Findings) -> Option<u64> {
    let (seconds, unit) = match limit.unit {
        BandwidthLimitUnit::Second => (1, "second"),
        BandwidthLimitUnit::Minute => (60, "minute"),
        BandwidthLimitUnit::Hour => (3600, "hour"),
    };
    let kib = limit.value.bytes().map(|bytes| bytes / (seconds * KIB)).filter(|kib| *kib > 0);
    if kib.is_none() {
        let least = seconds * KIB;
        let message =
            format!("{} per {unit} is below the least, {least} bytes (1Ki per second)", limit.value.0);
        findings.add(&format!("spec.bandwidthLimit.{direction}.limit.value"), message);
    }
    kib
}

pub(super) fn buffer(spec: &RequestBuffer, findings: &mut Findings) -> Option<u32> {
    let bytes = spec.limit.bytes().and_then(|bytes| u32::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    if bytes.is_none() {
        findings.add("spec.requestBuffer.limit", format!("{:?} must be above 0 and below 4Gi", spec.limit.0));
    }
    bytes
}

/// Ways to compress, of which the first is used where a client likes several as much. In `compressor` a way counts only
/// with the member of its name, so that a merging policy can switch one off; the older `compression` knows no such.
pub(super) fn compressors(spec: &BackendTrafficPolicySpec) -> Box<[Compressor]> {
    let older = spec.compressor.is_empty();
    let specs = if older { &spec.compression } else { &spec.compressor };
    let mut all: Vec<Compressor> = Vec::with_capacity(specs.len());
    for (i, spec) in specs.iter().enumerate() {
        let (format, on) = format(spec);
        if (older || on) && all.iter().all(|other| other.format != format) {
            let min_length = spec.min_content_length.as_ref().and_then(|length| length.bytes());
            all.push(Compressor {
                format,
                first: i == 0,
                min_length: min_length.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX)),
            });
        }
    }
    all.into()
}

fn format(spec: &CompressionSpec) -> (Compression, bool) {
    match spec.type_ {
        CompressorType::Brotli => (Compression::Brotli, spec.brotli.is_some()),
        CompressorType::Gzip => (Compression::Gzip, spec.gzip.is_some()),
        CompressorType::Zstd => (Compression::Zstd, spec.zstd.is_some()),
    }
}
