//! Any bytes as what a client of Message DB sends on a connection.
#![no_main]

#[path = "../streams.rs"]
mod streams_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streams_properties::any_connection(bytes));
