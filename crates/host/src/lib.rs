//! Standalone infrastructure: Envoy as a child process.
