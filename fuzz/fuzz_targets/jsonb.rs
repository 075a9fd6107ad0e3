//! Any text as the JSON of a message.
#![no_main]

#[path = "../store.rs"]
mod store_properties;

libfuzzer_sys::fuzz_target!(|text: &str| store_properties::any_json(text));
