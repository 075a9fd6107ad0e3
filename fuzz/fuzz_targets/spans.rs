//! Any bytes as spans in each of the formats.
#![no_main]

#[path = "../spans.rs"]
mod spans_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| spans_properties::any_spans(bytes));
