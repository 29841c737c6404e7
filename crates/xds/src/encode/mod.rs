//! The proxy-neutral model to encoded Envoy messages: one pure function for each resource.
//!
//! Names and shapes are Envoy Gateway's, because users' patches, dashboards and alerts depend on them; where one is
//! better off, the function says why. Equal input gives equal bytes, in every process.
//!
//! **Invariant:** every value of the model has an encoding. What Envoy would refuse is found before, where its author
//! can be told.

mod access_log;
mod address;
mod cluster;
mod command;
mod config_source;
mod cors;
mod downstream;
mod endpoints;
mod filter_order;
mod forward;
mod hash;
mod headers;
mod http;
mod limits;
mod listener;
mod loopback;
mod matching;
mod metadata;
mod misdirected;
mod rate_limit;
mod ready;
mod redirect;
mod response;
mod rewrite;
mod route;
mod secret;
mod server_name;
mod session;
mod socket;
mod telemetry;
mod tls;
mod tracing;
mod wire;

#[cfg(test)]
mod tests;

pub use cluster::{cluster, empty_cluster};
pub use endpoints::endpoints;
pub use listener::listener;
pub use misdirected::{misdirected_route_field, note_removal};
pub use ready::{READY_PORT, ready_listener, ready_listener_name};
pub use route::{
    clusters_of, cors_answer_field, cors_preflight_field, route_configuration_head, route_field,
    virtual_host_field,
};
pub use secret::{authorities, secret};
