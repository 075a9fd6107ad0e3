//! Any bytes as a header of the PROXY protocol.
#![no_main]

#[path = "../http.rs"]
mod http_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| http_properties::any_proxy_header(bytes));
