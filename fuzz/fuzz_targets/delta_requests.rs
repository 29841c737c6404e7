//! Any bytes as a conversation with a session of the xDS server.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| server::fake::fuzz::drive(bytes));
