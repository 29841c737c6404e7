//! Envoy's protobuf types behind one facade, with their JSON mapping.
//!
//! Each module that is one protobuf package under a short, flat name comes from a line of `packages.rs`.
//! Callers name `envoy_api::route::VirtualHost` and never see who generated it.

mod any;
mod canonical;
pub mod cel_matcher;
pub mod json;
pub mod well_known;

pub use any::{any, duration, encode, unpack};

/// Turns each line of `packages.rs` into a module that holds the types of that protobuf package.
macro_rules! packages {
    ($($module:ident: $($package:ident)::+;)+) => {
        $(
            #[doc = concat!("Types of the protobuf package `", packages!(@path $($package)+), "`.")]
            pub mod $module {
                pub use envoy_types::pb::$($package::)+*;
            }
        )+
    };
    (@path $first:ident $($rest:ident)*) => {
        concat!(stringify!($first) $(, "::", stringify!($rest))*)
    };
}

include!("packages.rs");

/// The gRPC services of discovery: the server to implement and the client to call it with.
pub mod service {
    pub use envoy_types::pb::envoy::service::discovery::v3::{
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
    };
}
