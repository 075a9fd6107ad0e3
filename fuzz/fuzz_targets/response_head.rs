//! Any bytes as the head of a response.
#![no_main]

#[path = "../http.rs"]
mod http_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| http_properties::any_response_head(bytes));
