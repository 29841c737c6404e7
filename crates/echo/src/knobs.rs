//! What a request can ask of its answer.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Longest delay that a request may ask for.
const MAX_DELAY: Duration = Duration::from_secs(600);

/// What a request asks of its answer, by request header or, when the header is absent, by query parameter of the
/// same name.
///
/// | name | meaning |
/// |---|---|
/// | `x-echo-status` | HTTP status 200–599 of the answer; of a gRPC call its status code 0–16 |
/// | `x-echo-delay` | wait before answering: `200ms`, `1.5s`, at most ten minutes |
/// | `x-echo-fail-first` | apply `x-echo-status` (503 when absent; gRPC 14) or `x-echo-close` to the first N requests with the same key only |
/// | `x-echo-key` | that key; the path when absent |
/// | `x-echo-headers` | response headers `name:value`, several separated by commas or in several headers |
/// | `x-echo-close` | drop the connection instead of answering; any value but `false` |
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Knobs {
    /// `x-echo-status`.
    pub status: Option<u16>,
    /// `x-echo-delay`.
    pub delay: Option<Duration>,
    /// `x-echo-fail-first`.
    pub fail_first: Option<u32>,
    /// `x-echo-key`.
    pub key: Option<String>,
    /// `x-echo-headers`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `x-echo-close`.
    pub close: bool,
}

/// A knob whose value makes no sense; answered with 400 so that a mistyped test does not pass.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {value:?} is not {wanted}")]
pub struct BadKnob {
    name: &'static str,
    value: String,
    wanted: &'static str,
}

impl Knobs {
    /// Reads the knobs of a request. Unknown `x-echo-…` names are left alone.
    ///
    /// # Errors
    /// When a known knob has a value that makes no sense.
    pub fn read(headers: &HeaderMap, query: Option<&str>) -> Result<Self, BadKnob> {
        let one = |name| values(headers, query, name).into_iter().next();
        let mut knobs = Self { key: one("x-echo-key"), ..Self::default() };
        if let Some(value) = one("x-echo-status") {
            knobs.status = Some(number("x-echo-status", value, "a status code")?);
        }
        if let Some(value) = one("x-echo-delay") {
            knobs.delay = Some(delay(value)?);
        }
        if let Some(value) = one("x-echo-fail-first") {
            knobs.fail_first = Some(number("x-echo-fail-first", value, "a count")?);
        }
        knobs.close = one("x-echo-close").is_some_and(|value| value != "false");
        for value in values(headers, query, "x-echo-headers") {
            for pair in value.split(',').filter(|pair| !pair.trim().is_empty()) {
                knobs.headers.push(header(pair)?);
            }
        }
        Ok(knobs)
    }
}

/// All values of a knob: those of the headers, or else those of the query.
fn values(headers: &HeaderMap, query: Option<&str>, name: &str) -> Vec<String> {
    let from_headers: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    if !from_headers.is_empty() {
        return from_headers;
    }
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| percent_decoded(value)).collect()
}

fn number<T: std::str::FromStr>(
    name: &'static str,
    value: String,
    wanted: &'static str,
) -> Result<T, BadKnob> {
    value.trim().parse().map_err(|_| BadKnob { name, value, wanted })
}

fn delay(value: String) -> Result<Duration, BadKnob> {
    let text = value.trim();
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 0.001),
        None => (text.strip_suffix('s').unwrap_or(""), 1.0),
    };
    let seconds = digits.parse::<f64>().ok().map(|count| count * unit);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|delay| *delay <= MAX_DELAY)
        .ok_or(BadKnob {
            name: "x-echo-delay",
            value,
            wanted: "a duration such as 200ms or 1.5s, at most 600s",
        })
}

fn header(pair: &str) -> Result<(HeaderName, HeaderValue), BadKnob> {
    let parsed = pair.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    parsed.ok_or_else(|| BadKnob {
        name: "x-echo-headers",
        value: pair.to_owned(),
        wanted: "a header written name:value",
    })
}

/// Decodes `%XX` and `+`; a `%` without two hexadecimal digits stands for itself.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (*first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &'static str)], query: &str) -> Result<Knobs, BadKnob> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Knobs::read(&map, Some(query))
    }

    #[test]
    fn headers_win_over_the_query() {
        let knobs = read(&[("x-echo-status", "503")], "x-echo-status=200&x-echo-delay=1.5s").unwrap();
        assert_eq!(knobs.status, Some(503));
        assert_eq!(knobs.delay, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn response_headers_come_in_lists_and_repeated() {
        let knobs = read(&[("x-echo-headers", "a:1, b: x:y"), ("x-echo-headers", "a:2")], "").unwrap();
        let pairs: Vec<_> = knobs.headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(pairs, [("a", "1"), ("b", "x:y"), ("a", "2")]);
        assert_eq!(read(&[], "x-echo-headers=a%3A1").unwrap().headers.len(), 1);
    }

    #[test]
    fn nonsense_is_named() {
        for (name, value) in [
            ("x-echo-status", "many"),
            ("x-echo-delay", "200"),
            ("x-echo-delay", "-1s"),
            ("x-echo-delay", "1e300s"),
            ("x-echo-delay", "NaNs"),
            ("x-echo-headers", "novalue"),
            ("x-echo-headers", "sp ace:1"),
        ] {
            let problem = read(&[(name, value)], "").unwrap_err();
            assert_eq!(problem.name, name, "{value}");
        }
    }

    #[test]
    fn odd_escapes_stand_for_themselves() {
        assert_eq!(percent_decoded("a%2Cb+c%zz%4"), "a,b c%zz%4");
    }
}
