//! A scripted Envoy, and small resources to feed it with. For tests of this crate and of others.
//!
//! [`Model`] is the client's half of the protocol without IO; [`FakeEnvoy`] drives it, or a script, over real gRPC;
//! [`fuzz`] drives a session with any bytes.

pub mod build;
pub mod fuzz;
mod model;
mod wire;

pub use model::{Held, Model};
pub use wire::{FakeEnvoy, Proxy};
