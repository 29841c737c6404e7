//! Generic incremental computation: recorded reads, equality cut-off, one commit.
