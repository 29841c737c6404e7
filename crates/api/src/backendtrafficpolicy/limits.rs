//! Limits of bandwidth, faults made on purpose, admission control, compression.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clustersettings::HttpStatus,
    config::declare::{choices, options},
    envoyproxy::CompressorType,
    text::{Duration, Quantity},
};

options! {
    /// Limits of bytes in a time.
    #[x_kube(validation = ("has(self.request) || has(self.response)", "one of request and response must be set"))]
    BandwidthLimitSpec {
        /// Of requests.
        /// Envoy: `BandwidthLimit.enable_mode`.
        request: BandwidthLimitRequestConfig,
        /// Of responses.
        /// Envoy: `BandwidthLimit.enable_mode`.
        response: BandwidthLimitResponseConfig,
    }
    /// Trailers that tell clients of the delay.
    BandwidthLimitResponseTrailers {
        /// What their names begin with; nothing when unset.
        /// Envoy: `BandwidthLimit.response_trailer_prefix`.
        #[schemars(regex(pattern = r"^[^\r\n\x00]*$"))]
        prefix: String,
    }
    /// Delays and errors made on purpose.
    #[x_kube(validation = (" has(self.delay) || has(self.abort) ", "one of delay and abort must be set"))]
    FaultInjection {
        /// Delays.
        delay: FaultInjectionDelay,
        /// Errors.
        abort: FaultInjectionAbort,
    }
    /// Requests refused at random while too many fail.
    #[x_kube(validation = (
        "!has(self.minSuccessRate) || (self.minSuccessRate >= 1 && self.minSuccessRate <= 100)",
        "minSuccessRate must be between 1 and 100"
    ))]
    #[x_kube(validation = (
        "!has(self.maxRejectionPercent) || (self.maxRejectionPercent >= 0 && self.maxRejectionPercent <= 100)",
        "maxRejectionPercent must be between 0 and 100"
    ))]
    #[x_kube(validation = (
        "!has(self.samplingWindow) || duration(self.samplingWindow) >= duration('1s')",
        "samplingWindow must be 1s or more"
    ))]
    AdmissionControl {
        /// Time over which requests are counted; `30s` by default.
        /// Envoy: `AdmissionControl.sampling_window`.
        sampling_window: Duration,
        /// Share of successes, in percent, below which requests are refused; 95 by default.
        /// Envoy: `AdmissionControl.sr_threshold`.
        #[schemars(range(min = 1, max = 100))]
        min_success_rate: u32,
        /// How steeply refusals grow with failures: 1, the default, is in proportion.
        /// Envoy: `AdmissionControl.aggression`.
        #[schemars(range(min = 1))]
        rejection_aggression: u32,
        /// Requests a second below which none is refused; 0 by default.
        /// Envoy: `AdmissionControl.rps_threshold`.
        #[schemars(range(min = 0))]
        min_request_rate: u32,
        /// Share of requests, in percent, that are refused at most; 80 by default.
        /// Envoy: `AdmissionControl.max_rejection_probability`.
        #[schemars(range(min = 0, max = 100))]
        max_rejection_percent: u32,
        /// What is a success; statuses below 500 and gRPC's `OK` by default.
        success_criteria: AdmissionControlSuccessCriteria,
    }
    /// What is a success.
    AdmissionControlSuccessCriteria {
        /// Of HTTP.
        http: HttpSuccessCriteria,
        /// Of gRPC.
        grpc: GrpcSuccessCriteria,
    }
    /// Successes of HTTP.
    HttpSuccessCriteria {
        /// Status codes.
        /// Envoy: `AdmissionControl.success_criteria.http_criteria`.
        status_codes: Vec<HttpStatus>,
    }
    /// Successes of gRPC.
    GrpcSuccessCriteria {
        /// Statuses.
        /// Envoy: `AdmissionControl.success_criteria.grpc_criteria`.
        status_codes: Vec<GrpcSuccessCode>,
    }
    /// Settings of gzip; there are none.
    GzipCompressor {}
    /// Settings of Brotli; there are none.
    BrotliCompressor {}
    /// Settings of Zstandard; there are none.
    ZstdCompressor {}
}

choices! {
    /// A time that bytes are counted in.
    BandwidthLimitUnit {
        /// A second.
        Second,
        /// A minute.
        Minute,
        /// An hour.
        Hour,
    }
    /// A status of gRPC.
    GrpcSuccessCode {
        /// 0.
        Ok,
        /// 1.
        Cancelled,
        /// 2.
        Unknown,
        /// 3.
        InvalidArgument,
        /// 4.
        DeadlineExceeded,
        /// 5.
        NotFound,
        /// 6.
        AlreadyExists,
        /// 7.
        PermissionDenied,
        /// 8.
        ResourceExhausted,
        /// 9.
        FailedPrecondition,
        /// 10.
        Aborted,
        /// 11.
        OutOfRange,
        /// 12.
        Unimplemented,
        /// 13.
        Internal,
        /// 14.
        Unavailable,
        /// 15.
        DataLoss,
        /// 16.
        Unauthenticated,
    }
}

/// A limit of requests' bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BandwidthLimitRequestConfig {
    /// The limit.
    pub limit: BandwidthLimitValue,
}

/// A limit of responses' bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BandwidthLimitResponseConfig {
    /// The limit.
    pub limit: BandwidthLimitValue,
    /// Trailers that tell clients of the delay; none when unset.
    /// Envoy: `BandwidthLimit.enable_response_trailers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_trailers: Option<BandwidthLimitResponseTrailers>,
}

/// Bytes in a time: at least one KiB a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BandwidthLimitValue {
    /// The bytes.
    /// Envoy: `BandwidthLimit.limit_kbps`, in KiB a second.
    pub value: Quantity,
    /// The time.
    pub unit: BandwidthLimitUnit,
}

/// Delays made on purpose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultInjectionDelay {
    /// The delay.
    /// Envoy: `FaultDelay.fixed_delay`.
    pub fixed_delay: Duration,
    /// Share of requests, in percent.
    /// Envoy: `FaultDelay.percentage`.
    #[serde(default = "hundred")]
    pub percentage: f32,
}

/// Errors made on purpose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = (
    " !(has(self.httpStatus) && has(self.grpcStatus)) ",
    "httpStatus and grpcStatus must not both be set"
))]
#[x_kube(validation = (
    " has(self.httpStatus) || has(self.grpcStatus) ",
    "one of httpStatus and grpcStatus must be set"
))]
#[serde(rename_all = "camelCase")]
pub struct FaultInjectionAbort {
    /// Status code of the answer.
    /// Envoy: `FaultAbort.http_status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 200, max = 600))]
    pub http_status: Option<i32>,
    /// gRPC status of the answer.
    /// Envoy: `FaultAbort.grpc_status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16))]
    pub grpc_status: Option<i32>,
    /// Share of requests, in percent.
    /// Envoy: `FaultAbort.percentage`.
    #[serde(default = "hundred")]
    pub percentage: f32,
}

fn hundred() -> f32 {
    100.0
}

/// One way to compress responses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compression {
    /// The way.
    /// Envoy: `Compressor.compressor_library`.
    pub type_: CompressorType,
    /// Brotli is used, in `compressor`, only where this is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brotli: Option<BrotliCompressor>,
    /// Gzip is used, in `compressor`, only where this is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gzip: Option<GzipCompressor>,
    /// Zstandard is used, in `compressor`, only where this is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zstd: Option<ZstdCompressor>,
    /// Bytes of a response below which it is not compressed; 30 by default.
    /// Envoy: `Compressor.response_direction_config.common_config.min_content_length`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_content_length: Option<Quantity>,
}
