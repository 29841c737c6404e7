//! Faults, buffering, limits of bytes, compression: filters of a listener, and what routes have for them.

use std::collections::BTreeMap;

use envoy_api::{
    any,
    bandwidth_limit::{BandwidthLimit, bandwidth_limit::EnableMode},
    brotli::Brotli,
    buffer::{self, BufferPerRoute, buffer_per_route},
    compressor::{
        self, CompressorOverrides, CompressorPerRoute, ResponseDirectionOverrides,
        compressor::{CommonDirectionConfig, ResponseDirectionConfig},
        compressor_per_route,
    },
    core::TypedExtensionConfig,
    duration,
    fault::{FaultAbort, HttpFault, fault_abort::ErrorType},
    fault_common::{FaultDelay, fault_delay::FaultDelaySecifier},
    gzip::Gzip,
    hcm::HttpFilter,
    types::{FractionalPercent, fractional_percent::DenominatorType},
    well_known::{Any, uint32, uint64},
    zstd::Zstd,
};
use ir::{
    listener::HttpFilter as Filter,
    traffic::{Abort, Bandwidth, Compression, Compressor, Fault},
};

use super::http::filter;

pub(super) const FAULT_FILTER: &str = "envoy.filters.http.fault";
pub(super) const BUFFER_FILTER: &str = "envoy.filters.http.buffer";
/// Two filters, because one has one limit for both directions.
pub(super) const REQUEST_BANDWIDTH_FILTER: &str = "envoy.filters.http.bandwidth_limit/request";
pub(super) const RESPONSE_BANDWIDTH_FILTER: &str = "envoy.filters.http.bandwidth_limit/response";

/// Prefix of statistics of bandwidth limits.
const BANDWIDTH_STATS: &str = "http_bandwidth_limiter";
/// Bytes below which Envoy does not compress a response, unless told otherwise.
const MIN_LENGTH: u32 = 30;

/// Name of the filter that compresses in a format.
pub(super) fn compressor_filter(format: Compression) -> String {
    format!("envoy.filters.http.compressor.{}", format.name())
}

/// Does nothing unless a route says otherwise.
pub(super) fn fault_filter() -> HttpFilter {
    filter(FAULT_FILTER, any(&HttpFault::default()))
}

/// What a route has for the fault filter.
pub(super) fn fault(fault: &Fault) -> Any {
    let share = |numerator| FractionalPercent { numerator, denominator: DenominatorType::Million.into() };
    any(&HttpFault {
        delay: fault.delay.map(|(delay, millionths)| FaultDelay {
            percentage: Some(share(millionths)),
            fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(duration(delay))),
        }),
        abort: fault.abort.map(|(abort, millionths)| FaultAbort {
            percentage: Some(share(millionths)),
            error_type: Some(match abort {
                Abort::Http(status) => ErrorType::HttpStatus(status),
                Abort::Grpc(status) => ErrorType::GrpcStatus(status),
            }),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// Off unless a route says how. Envoy wants a limit here all the same: that of a route, as Envoy Gateway has it.
pub(super) fn buffer_filter(limit: u32) -> HttpFilter {
    HttpFilter { disabled: true, ..filter(BUFFER_FILTER, any(&of_limit(limit))) }
}

fn of_limit(limit: u32) -> buffer::Buffer {
    buffer::Buffer { max_request_bytes: uint32(limit) }
}

/// What a route has for the buffer filter.
pub(super) fn buffer(limit: u32) -> Any {
    any(&BufferPerRoute { r#override: Some(buffer_per_route::Override::Buffer(of_limit(limit))) })
}

/// Off unless a route says how.
pub(super) fn bandwidth_filter(name: &str) -> HttpFilter {
    let config = BandwidthLimit { stat_prefix: BANDWIDTH_STATS.to_owned(), ..Default::default() };
    HttpFilter { disabled: true, ..filter(name, any(&config)) }
}

/// What a route has for the two bandwidth filters: requests, responses.
pub(super) fn bandwidth(bandwidth: &Bandwidth) -> (Option<Any>, Option<Any>) {
    let limit = |mode: EnableMode, kib| BandwidthLimit {
        stat_prefix: BANDWIDTH_STATS.to_owned(),
        enable_mode: mode.into(),
        limit_kbps: uint64(kib),
        ..Default::default()
    };
    let request = bandwidth.request.map(|kib| any(&limit(EnableMode::Request, kib)));
    let response = bandwidth.response.as_ref().map(|response| {
        any(&BandwidthLimit {
            enable_response_trailers: response.trailers.is_some(),
            response_trailer_prefix: response.trailers.as_deref().unwrap_or_default().to_owned(),
            ..limit(EnableMode::Response, response.limit)
        })
    });
    (request, response)
}

/// The filters that compress, one for each format that some route asks for; off unless a route says otherwise. A route
/// cannot say by itself from which length on and in which preference, so of several wishes the most willing one counts.
pub(super) fn compressor_filters<'a>(filters: impl IntoIterator<Item = &'a Filter>) -> Vec<HttpFilter> {
    let mut formats: BTreeMap<Compression, Compressor> = BTreeMap::new();
    for wish in filters {
        let Filter::Compressor(wish) = wish else { continue };
        let length = |compressor: &Compressor| compressor.min_length.unwrap_or(MIN_LENGTH);
        let known = formats.entry(wish.format).or_insert(*wish);
        known.first |= wish.first;
        if length(wish) < length(known) {
            known.min_length = wish.min_length;
        }
    }
    formats.into_values().map(compressor).collect()
}

fn compressor(wish: Compressor) -> HttpFilter {
    let (library, config) = match wish.format {
        Compression::Brotli => ("envoy.compression.brotli.compressor", any(&Brotli::default())),
        Compression::Gzip => ("envoy.compression.gzip.compressor", any(&Gzip::default())),
        Compression::Zstd => ("envoy.compression.zstd.compressor", any(&Zstd::default())),
    };
    let config = compressor::Compressor {
        compressor_library: Some(TypedExtensionConfig {
            name: library.to_owned(),
            typed_config: Some(config),
        }),
        choose_first: wish.first,
        response_direction_config: wish.min_length.map(|bytes| ResponseDirectionConfig {
            common_config: Some(CommonDirectionConfig {
                min_content_length: uint32(bytes),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    HttpFilter { disabled: true, ..filter(&compressor_filter(wish.format), any(&config)) }
}

/// What a route has for a filter that compresses: that it is on.
pub(super) fn compression() -> Any {
    any(&CompressorPerRoute {
        r#override: Some(compressor_per_route::Override::Overrides(CompressorOverrides {
            response_direction_config: Some(ResponseDirectionOverrides::default()),
            ..Default::default()
        })),
    })
}
