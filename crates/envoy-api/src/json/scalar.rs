//! Numbers, bytes, durations and timestamps between protobuf and JSON.

use base64::{
    Engine,
    alphabet::{Alphabet, STANDARD, URL_SAFE},
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig},
    },
};
use prost_types::{Duration, Timestamp};
use serde_json::{Number, Value};

/// The messages whose JSON is not an object of their fields. `FieldMask` is one too, but no message of Envoy's has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WellKnown {
    Any,
    Duration,
    Timestamp,
    Struct,
    Value,
    ListValue,
    Empty,
    /// One of the wrappers, such as `UInt32Value`.
    Wrapper,
}

impl WellKnown {
    /// `None` for a message that is an object of its fields.
    pub(super) fn of(full_name: &str) -> Option<Self> {
        Some(match full_name.strip_prefix("google.protobuf.")? {
            "Any" => Self::Any,
            "Duration" => Self::Duration,
            "Timestamp" => Self::Timestamp,
            "Struct" => Self::Struct,
            "Value" => Self::Value,
            "ListValue" => Self::ListValue,
            "Empty" => Self::Empty,
            "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value" | "UInt32Value"
            | "BoolValue" | "StringValue" | "BytesValue" => Self::Wrapper,
            _ => return None,
        })
    }
}

/// A number; whole ones without a fraction, as `5` and not `5.0`; what JSON has no number for by its name.
pub(super) fn float(value: f64) -> Value {
    /// 2^53: above it not every whole number is an `f64`, so they stay in floating form.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    if value.fract() == 0.0 && value.abs() <= EXACT && !(value == 0.0 && value.is_sign_negative()) {
        // Whole and within 2^53, so the cast loses nothing.
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A 32-bit number, with the digits that tell it from its neighbours and no more: `0.1`, not `0.10000000149`.
pub(super) fn float32(value: f32) -> Value {
    float(value.to_string().parse().unwrap_or(f64::from(value)))
}

/// A floating number from JSON: a number or its name.
pub(super) fn parse_float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => {
                text.parse().ok()
            }
            _ => None,
        },
        _ => None,
    }
}

/// A whole number from JSON: a number, also one with a zero fraction or an exponent, or a string of one.
pub(super) fn parse_integer<I: TryFrom<i128>>(value: &Value) -> Option<I> {
    let number = match value {
        Value::Number(number) => number.clone(),
        Value::String(text) => text.parse::<Number>().ok()?,
        _ => return None,
    };
    let whole = if let Some(signed) = number.as_i64() {
        i128::from(signed)
    } else if let Some(unsigned) = number.as_u64() {
        i128::from(unsigned)
    } else {
        // 2^64: every integer field is narrower.
        number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 18_446_744_073_709_551_616.0)?
            as i128
    };
    I::try_from(whole).ok()
}

pub(super) fn encode_bytes(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Bytes from base64, in the standard or the URL-safe alphabet, with or without padding.
pub(super) fn parse_bytes(text: &str) -> Option<Vec<u8>> {
    let alphabet: &Alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config.with_decode_allow_trailing_bits(true)).decode(text).ok()
}

/// A duration in seconds with 0, 3, 6 or 9 digits of fraction.
pub(super) fn duration(duration: &Duration) -> String {
    let sign = if duration.seconds < 0 || duration.nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (duration.seconds.unsigned_abs(), duration.nanos.unsigned_abs());
    let fraction = match nanos {
        0 => String::new(),
        _ if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
        _ if nanos % 1_000 == 0 => format!(".{:06}", nanos / 1_000),
        _ => format!(".{nanos:09}"),
    };
    format!("{sign}{seconds}{fraction}s")
}

/// A duration from `"1.5s"`: up to nine digits of fraction, within the 10,000 years that protobuf allows.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    /// 10,000 years of 365.25 days, the limit that `duration.proto` gives.
    const MAX_SECONDS: i64 = 315_576_000_000;
    let text = text.strip_suffix('s')?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: i64 = seconds.parse().ok().filter(|seconds| *seconds <= MAX_SECONDS)?;
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Some(if negative { Duration { seconds: -seconds, nanos: -nanos } } else { Duration { seconds, nanos } })
}

/// A timestamp as RFC 3339 in UTC.
pub(super) fn timestamp(timestamp: Timestamp) -> String {
    timestamp.to_string()
}

/// A timestamp from RFC 3339, with any offset.
pub(super) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
