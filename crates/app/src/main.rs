//! The `ferrogate` binary.

fn main() {}
