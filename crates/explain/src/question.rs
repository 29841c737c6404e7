//! The question: a request, and whom it is sent to.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::Unanswerable;

/// A request as a client would send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The Gateway, as `namespace/name` or `name`; `None` where there is only one.
    pub gateway: Option<String>,
    /// Request method.
    pub method: String,
    /// With or without TLS.
    pub scheme: Scheme,
    /// Host of the URL.
    pub host: String,
    /// Port of the URL, or of its scheme.
    pub port: u16,
    /// Value of `:authority`: host of the URL, with its port where the URL names one, or what a `Host` header says.
    pub authority: String,
    /// Path with query, as it is sent.
    pub path: String,
    /// Headers but for `Host`, in order.
    pub headers: Vec<(String, String)>,
    /// Server name of the handshake; `None` to send none.
    pub server_name: Option<String>,
    /// Protocol; `None` for what client and proxy agree on.
    pub protocol: Option<Protocol>,
    /// Whether the client speaks what else it can where HTTP/3 is not offered, as `curl --http3` does.
    pub falls_back: bool,
    /// Whether the client shows a certificate that the Gateway trusts.
    pub client_certificate: bool,
    /// Length of the body in bytes.
    pub body: u64,
    /// HTTP/1.0 is spoken, where HTTP/1 is.
    pub http10: bool,
    /// What of a command could not be followed.
    pub notes: Vec<String>,
}

/// Scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// As URLs have it.
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of URLs that name none.
    pub const fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// Version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1.
    #[serde(rename = "http1")]
    Http1,
    /// HTTP/2.
    #[serde(rename = "h2")]
    Http2,
    /// HTTP/3.
    #[serde(rename = "h3")]
    Http3,
}

impl Protocol {
    /// As Envoy writes it (`%PROTOCOL%`).
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
            Protocol::Http3 => "HTTP/3",
        }
    }
}

impl Question {
    /// A GET of a URL. One without scheme is `http`, as `curl` has it.
    ///
    /// # Errors
    /// When it is no URL of `http` or `https`.
    pub fn get(url: &str) -> Result<Question, Unanswerable> {
        let refuse = |why: &str| Err(Unanswerable::Question(format!("{url:?} {why}")));
        let (scheme, rest) = match url.split_once("://") {
            None => (Scheme::Http, url),
            Some((name, rest)) if name.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((name, rest)) if name.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some(_) => return refuse("is no URL of http or https"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (site, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let site = site.rsplit('@').next().unwrap_or_default();
        let (host, port) = match site.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => return refuse("has a port that is no number up to 65535"),
            },
            _ => (site, None),
        };
        if host.is_empty() {
            return refuse("names no host");
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Question {
            gateway: None,
            method: "GET".to_owned(),
            scheme,
            host: host.to_owned(),
            port: port.unwrap_or(scheme.port()),
            authority: site.to_owned(),
            path,
            headers: Vec::new(),
            server_name: is_name(host).then(|| host.to_owned()),
            protocol: None,
            falls_back: false,
            client_certificate: false,
            body: 0,
            http10: false,
            notes: Vec::new(),
        })
    }

    /// True for calls of gRPC.
    pub(crate) fn is_grpc(&self) -> bool {
        let kind = self.headers.iter().find(|(name, _)| name == "content-type");
        let rest = kind.and_then(|(_, kind)| kind.strip_prefix("application/grpc"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
    }

    /// Adds a header line, `Name: value`. `Host` replaces the host of the request, not that of the connection.
    ///
    /// # Errors
    /// When it has no colon.
    pub fn header(&mut self, line: &str) -> Result<(), Unanswerable> {
        let Some((name, value)) = line.split_once(':') else {
            return Err(Unanswerable::Question(format!("header {line:?} has no colon")));
        };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("host") {
            value.clone_into(&mut self.authority);
        } else {
            self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Ok(())
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}://{}{}", self.method, self.scheme.name(), self.authority, self.path)
    }
}

/// True for a name; addresses are no server names (RFC 6066 §3).
fn is_name(host: &str) -> bool {
    !host.starts_with('[') && host.parse::<IpAddr>().is_err()
}

/// Percent-encoding for a query (RFC 3986 §2.1): all but unreserved characters.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
