//! The whole binary with real Envoy and real traffic. One program, so that it is linked once.

#![allow(clippy::unwrap_used, reason = "functions shared by tests fail by panicking")]

mod backend_health;
mod backend_tls;
mod balancing;
mod bootstrap;
mod breakers;
mod browser;
mod certificate_kinds;
mod client_certificate_neighbours;
mod client_certificates;
mod client_traffic;
mod explain;
mod faults;
mod grpc;
mod hitless;
mod http;
mod http3;
mod https;
mod layer4;
mod listener_sets;
mod live;
mod merged_backends;
mod merged_gateways;
mod misdirected;
mod neighbours;
mod overlaps;
mod protocols;
mod retries;
mod stage;
mod surface;
mod telemetry;
mod told;
mod traffic_policies;
mod upstream;
