//! Any bytes as the head of a request.
#![no_main]

#[path = "../http.rs"]
mod http_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| http_properties::any_request_head(bytes));
