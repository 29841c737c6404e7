//! Standalone infrastructure: Envoy as a child process.
//!
//! One [`Proxy`] is one Envoy under supervision: it is started with a [`Bootstrap`] that points at our xDS server,
//! watched, started again when it dies, and drained before it is stopped. Its log and its access log come out
//! through `tracing`. [`EnvoyBinary`] finds the program, [`RunDir`] holds the sockets.
//!
//! **Envoy dies with us.** Envoy is started through our own binary ([`guard`]), which asks the kernel for SIGKILL at
//! the parent's death and then becomes Envoy by `exec`. So there is no process in between that could itself be
//! killed, signals and exit status are Envoy's own, and even SIGKILL of the parent leaves no orphan.

mod admin;
mod binary;
mod bootstrap;
mod drain;
pub mod guard;
mod log;
mod proxy;
mod rundir;
mod validate;

pub use admin::{Admin, AdminError, Reply};
pub use binary::{EnvoyBinary, LocateError};
pub use bootstrap::Bootstrap;
pub use drain::Drain;
pub use proxy::{BackOff, Proxy, ProxySpec, State};
pub use rundir::{ProxyFiles, RunDir, RunDirError, fits_socket};
pub use validate::{Validator, Verdict};

/// The Envoy release line that this control plane is built and tested for.
pub const ENVOY_VERSION: &str = "1.40";
