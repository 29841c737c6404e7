//! The answer.

use serde::{Deserialize, Serialize};

use crate::Question;

/// What becomes of a request, and why. The JSON form is what the admin port and `-o json` show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Explanation {
    /// The request in a line: `GET https://shop.example.com/cart`.
    pub request: String,
    /// The Gateway, as `namespace/name`.
    pub gateway: String,
    /// The socket that takes the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<Socket>,
    /// The filter chain that takes it there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    /// The virtual host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_host: Option<Host>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// HTTP filters in the order in which they act.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// What is set for the route, with who set it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
    /// Policies that apply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// What may happen; one alone is certain.
    pub outcomes: Vec<Possible>,
    /// Where copies of the request go, each with its share.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Mirror>,
    /// Other routes that take the request as well, and why they do not get it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
    /// Where no route takes the request: routes of the virtual host, and what each misses in the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<Lost>,
    /// What is wrong with objects that have to do with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<Trouble>,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A socket of the proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Socket {
    /// Name of the listener in xDS.
    pub name: String,
    /// Address that is bound.
    pub address: String,
    /// Port that is bound.
    pub port: u16,
    /// Port of the Gateway's listener.
    pub gateway_port: u16,
    /// `TCP`, or `UDP` for HTTP/3.
    pub transport: String,
    /// Listeners of Gateway API on it, such as `Gateway default/eg listener https`.
    pub listeners: Vec<String>,
}

/// A filter chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// Name in xDS.
    pub name: String,
    /// Why this one.
    pub chosen: String,
    /// Certificates that it shows, as `namespace/name` of Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// Protocols that it offers in the handshake, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// The protocol that is spoken: `HTTP/1.1`, `HTTP/2`, `HTTP/3`, `TCP`; empty when the handshake fails.
    pub protocol: String,
    /// What is set for its connections and their requests, with who set it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

/// A virtual host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Name in xDS.
    pub name: String,
    /// The route configuration that it is in.
    pub table: String,
    /// The domain that took the request.
    pub domain: String,
    /// The listener of Gateway API that it belongs to.
    pub listener: String,
    /// Broader domains of the route configuration that would have taken it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broader: Vec<String>,
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Name in xDS.
    pub name: String,
    /// The object, such as `HTTPRoute default/shop`; the product for routes that are nobody's.
    pub object: String,
    /// Field of the rule, and of the match where the rule has matches, such as `spec.rules[0].matches[1]`.
    pub field: String,
    /// Name of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What it asks of a request, in words.
    pub wants: String,
}

/// An HTTP filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Name in xDS.
    pub name: String,
    /// What it does with this request.
    pub does: String,
    /// The status with which it may answer, by what cannot be foreseen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_answer: Option<u16>,
    /// Who has put it in its place in the order, and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Setting>,
}

/// Something that is set for a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// What is set, in Envoy's words.
    pub name: String,
    /// The value.
    pub value: String,
    /// The object that says so; `default` where nobody does.
    pub object: String,
    /// The field of that object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// A policy that applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The policy.
    pub object: String,
    /// The broader policies that it is merged over, the closest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_over: Vec<String>,
    /// What it says, by field, with the policy that the field comes from.
    pub settings: Vec<Setting>,
    /// Why it cannot be applied; its requests are answered with 500 then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invalid: Vec<String>,
}

/// Something that may happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Possible {
    /// Share of requests in percent; 100 for what is certain.
    pub percent: f64,
    /// What happens.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "result")]
pub enum Outcome {
    /// It goes to a backend.
    Forwarded {
        /// Request line as the backend sees it: method, path and host.
        request: String,
        /// Headers as the backend sees them, without those that Envoy adds by itself.
        headers: Vec<String>,
        /// Where to.
        to: Box<Upstream>,
    },
    /// The proxy answers.
    Answered {
        /// HTTP status.
        status: u16,
        /// What clients of gRPC get instead: this `grpc-status`, with HTTP status 200.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grpc_status: Option<u8>,
        /// Why.
        why: String,
    },
    /// The proxy redirects.
    Redirected {
        /// HTTP status.
        status: u16,
        /// Where to.
        location: String,
        /// Why.
        why: String,
    },
    /// The connection fails.
    Closed {
        /// Why.
        why: String,
    },
}

impl Outcome {
    pub(crate) fn answer(status: u16, why: impl Into<String>) -> Outcome {
        Outcome::Answered { status, grpc_status: None, why: why.into() }
    }

    pub(crate) fn closed(why: impl Into<String>) -> Outcome {
        Outcome::Closed { why: why.into() }
    }
}

/// A cluster with its endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// Name of the cluster.
    pub cluster: String,
    /// Share of requests in percent.
    pub percent: f64,
    /// How its endpoints become known: `EDS`, `DNS`, `host of the request`.
    pub discovery: String,
    /// Its backends, with shares of what the cluster gets.
    pub backends: Vec<Backend>,
    /// What is set of it, with who set it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

/// Where copies of a request go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// The target; its percent is the share of requests that are copied.
    #[serde(flatten)]
    pub to: Upstream,
    /// The object that asks for them.
    pub object: String,
    /// The filter of that object.
    pub field: String,
}

/// A backend of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// The object, such as `Service default/shop port 80`.
    pub object: String,
    /// Share of the cluster's requests in percent.
    pub percent: f64,
    /// 0 is used first; others only when too few endpoints before them are healthy.
    pub priority: u32,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// TLS towards them, with who says what of it; empty for plain text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tls: Vec<Setting>,
}

/// An endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Address and port, or path of a Unix socket.
    pub address: String,
    /// Gets no new requests but finishes those it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}

/// A route that does not get the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// The route.
    #[serde(flatten)]
    pub route: Route,
    /// Why not.
    pub why: String,
}

/// What is wrong with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// The object.
    pub object: String,
    /// Path of the field; empty for the whole object.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Explanation {
    /// An answer that knows nothing yet.
    pub(crate) fn of(question: &Question, gateway: &str) -> Explanation {
        Explanation {
            request: question.to_string(),
            gateway: gateway.to_owned(),
            notes: question.notes.clone(),
            ..Explanation::default()
        }
    }

    /// Ends with something certain.
    pub(crate) fn conclude(&mut self, outcome: Outcome) {
        self.outcomes = vec![Possible { percent: 100.0, outcome }];
    }

    /// Notes a problem once.
    pub(crate) fn trouble(&mut self, problem: &ir::Problem) {
        let trouble = Trouble {
            object: problem.object.to_string(),
            field: problem.field.clone(),
            message: problem.message.clone(),
        };
        if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
    }
}
