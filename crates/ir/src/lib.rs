//! The vocabulary that all stages share: object references and ids, the proxy-neutral model of what a gateway
//! shall do, problems found on the way, and the status model.
//!
//! **Invariant:** nothing here performs IO, names an Envoy type or reads a Kubernetes type.

pub mod cluster;
pub mod downstream;
pub mod infra;
pub mod listener;
pub mod metadata;
pub mod object;
pub mod problem;
pub mod resource;
pub mod route;
pub mod secret;
pub mod status;
pub mod telemetry;
pub mod tls;
pub mod traffic;

pub use metadata::Metadata;
pub use object::{Group, Kind, ObjectRef};
pub use problem::{Problem, Severity};
pub use secret::SecretBytes;
pub use status::{Condition, ConditionStatus};
