//! Any bytes as bodies that are shown, and as decisions on how a body with secrets looks.
#![no_main]

#[path = "../mask.rs"]
mod mask_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mask_properties::any_body(bytes));
