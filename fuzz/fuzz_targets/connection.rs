//! Any bytes as what a client sends on a connection.
#![no_main]

#[path = "../http.rs"]
mod http_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| http_properties::any_connection(bytes));
