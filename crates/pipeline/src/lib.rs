//! All stages wired in order: one commit that yields xDS, status and infrastructure.
