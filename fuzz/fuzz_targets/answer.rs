//! Any bytes as what an upstream answers.
#![no_main]

#[path = "../http.rs"]
mod http_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| http_properties::any_answer(bytes));
