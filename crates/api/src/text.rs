//! Strings with a grammar: names, hostnames, durations. Each carries its limits and pattern once, for every
//! field that holds one.

use std::{borrow::Cow, fmt, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A DNS subdomain (RFC 1123): labels of lower-case letters, digits and hyphens, joined by dots.
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A DNS subdomain that may begin with the wildcard label `*.`.
const WILDCARD_SUBDOMAIN: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

const GROUP: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const KIND: &str = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";
/// A DNS label (RFC 1123): lower-case letters, digits and hyphens.
const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const HEADER_NAME: &str = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$";
const HEADER_VALUE: &str = r"^[!-~]+([\t ]?[!-~]+)*$";
/// Scheme, authority, path, query and fragment (RFC 3986, appendix B).
const ABSOLUTE_URI: &str = r"^(([^:/?#]+):)(//([^/?#]*))([^?#]*)(\?([^#]*))?(#(.*))?";
const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
const QUANTITY: &str = "^[1-9]+[0-9]*([EPTGMK]i|[EPTGMk])?$";

/// What a pattern of these types (and of [`crate::FqdnEndpoint`] and the like) asks for, in words that go on from
/// "must be"; `None` for other patterns.
pub fn pattern_in_words(pattern: &str) -> Option<&'static str> {
    Some(match pattern {
        SUBDOMAIN => {
            "a host name in lower case (letters, digits, '-' and '.', each label beginning and ending with a letter or digit)"
        }
        WILDCARD_SUBDOMAIN => {
            "a host name in lower case (letters, digits, '-' and '.'), perhaps beginning with '*.'"
        }
        GROUP => "an API group: empty, or a DNS name in lower case",
        KIND => "a kind: letters, digits and '-', beginning with a letter",
        LABEL => {
            "a DNS label: lower-case letters, digits and '-', beginning and ending with a letter or digit"
        }
        HEADER_NAME => "the name of a header: letters, digits and !#$%&'*+-.^_`|~",
        HEADER_VALUE => "the value of a header: visible ASCII characters with single blanks between them",
        DURATION => {
            "a duration such as 1h, 30s or 1m500ms (up to four whole numbers with the units h, m, s, ms)"
        }
        ABSOLUTE_URI => "a URI with scheme and authority, such as spiffe://cluster.local/ns/shop",
        QUANTITY => "a whole number above 0, perhaps with a suffix such as Ki, Mi, k or M",
        crate::backend::FQDN => "a host name in lower case, without a wildcard; a dot may stand at its end",
        crate::backend::IP_ADDRESS => "an IPv4 or IPv6 address",
        _ => return None,
    })
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident { $($schema:tt)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                $name(text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", $($schema)* })
            }
        }
    )*};
}

texts! {
    /// An API group such as `gateway.networking.k8s.io`; empty for the core group.
    Group {
        "maxLength": 253,
        "pattern": GROUP
    }
    /// A kind such as `Service`.
    Kind { "minLength": 1, "maxLength": 63, "pattern": KIND }
    /// The name of an object. What else is asked of it depends on the object's kind.
    ObjectName { "minLength": 1, "maxLength": 253 }
    /// The name of a namespace (RFC 1123 label).
    Namespace { "minLength": 1, "maxLength": 63, "pattern": LABEL }
    /// The name of a part of an object: a listener of a Gateway, a rule of a route.
    SectionName { "minLength": 1, "maxLength": 253, "pattern": SUBDOMAIN }
    /// A host name that may begin with `*.`, which stands for one or more labels. IP addresses are not host names.
    Hostname { "minLength": 1, "maxLength": 253, "pattern": WILDCARD_SUBDOMAIN }
    /// A URI with its scheme, such as `spiffe://cluster.local/ns/shop/sa/web`.
    AbsoluteUri { "minLength": 1, "maxLength": 253, "pattern": ABSOLUTE_URI }
    /// A host name without a wildcard.
    PreciseHostname { "minLength": 1, "maxLength": 253, "pattern": SUBDOMAIN }
    /// The name of a controller: a domain and a path, such as `example.com/gateway`.
    GatewayController {
        "minLength": 1,
        "maxLength": 253,
        "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$"
    }
    /// The name of an HTTP header (RFC 9110 §5.1); compared without regard to case.
    HttpHeaderName { "minLength": 1, "maxLength": 256, "pattern": HEADER_NAME }
    /// The value of an HTTP header: visible ASCII, with single blanks inside.
    HttpHeaderValue { "minLength": 1, "maxLength": 4096, "pattern": HEADER_VALUE }
    /// A span of time as GEP-2257 writes it: up to four numbers with a unit of `h`, `m`, `s` or `ms`, such as `1m30s`.
    Duration { "pattern": DURATION }
    /// An origin of a cross-origin request: `*`, or scheme, host (perhaps a wildcard) and optional port.
    CorsOrigin {
        "minLength": 1,
        "maxLength": 253,
        "pattern": r"(^\*$)|(^(http(s)?):\/\/(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$)"
    }
    /// The kind of a Gateway address: `IPAddress`, `Hostname`, `NamedAddress`, or an own type with a domain prefix.
    AddressType {
        "minLength": 1,
        "maxLength": 253,
        "pattern": r"^Hostname|IPAddress|NamedAddress|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$"
    }
    /// What a listener speaks: `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`, or an own protocol with a domain prefix.
    ProtocolType {
        "minLength": 1,
        "maxLength": 255,
        "pattern": r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9]+$"
    }
    /// The value of an annotation-like option.
    AnnotationValue { "minLength": 0, "maxLength": 4096 }
    /// The value of a label.
    LabelValue { "minLength": 0, "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$" }
    /// A set of trusted authorities by name: `System` for the host's, or an own name with a domain prefix.
    WellKnownCaCertificates {
        "minLength": 1,
        "maxLength": 253,
        "pattern": r"^(System|([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]))$"
    }
}

/// A number of bytes, as Kubernetes writes quantities: a whole number, perhaps with a suffix such as `Ki` or `M`. A plain
/// number in a document is read as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

/// Binary and decimal suffixes, with what they multiply by.
const SUFFIXES: [(&str, u64); 12] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];

impl Quantity {
    /// The number of bytes; `None` when the text is not a quantity of the form above, or is above 2⁶³ − 1.
    pub fn bytes(&self) -> Option<u64> {
        let (number, factor) = (SUFFIXES.iter())
            .find_map(|(suffix, factor)| Some((self.0.strip_suffix(suffix)?, *factor)))
            .unwrap_or((&self.0, 1));
        let bytes = number.parse::<u64>().ok()?.checked_mul(factor)?;
        i64::try_from(bytes).is_ok().then_some(bytes)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(document: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u64),
            Text(String),
        }
        Ok(Quantity(match Form::deserialize(document)? {
            Form::Number(number) => number.to_string(),
            Form::Text(text) => text,
        }))
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "pattern": QUANTITY })
    }
}

impl Duration {
    /// The span, or `None` when the text does not follow GEP-2257. The largest, four times `99999h`, is
    /// far below what `std::time::Duration` holds.
    pub fn to_std(&self) -> Option<std::time::Duration> {
        let mut rest = self.0.as_str();
        let mut total = std::time::Duration::ZERO;
        for _ in 0..4 {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if !(1..=5).contains(&digits) {
                return None;
            }
            let (number, tail) = rest.split_at(digits);
            let number: u64 = number.parse().ok()?;
            let (span, tail) = if let Some(tail) = tail.strip_prefix("ms") {
                (std::time::Duration::from_millis(number), tail)
            } else if let Some(tail) = tail.strip_prefix('h') {
                (std::time::Duration::from_secs(number * 3600), tail)
            } else if let Some(tail) = tail.strip_prefix('m') {
                (std::time::Duration::from_secs(number * 60), tail)
            } else if let Some(tail) = tail.strip_prefix('s') {
                (std::time::Duration::from_secs(number), tail)
            } else {
                return None;
            };
            total += span;
            rest = tail;
            if rest.is_empty() {
                return Some(total);
            }
        }
        None
    }
}
