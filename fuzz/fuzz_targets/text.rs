//! Any text as a document, as lists of calls and as a template.
#![no_main]

#[path = "../properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|text: &str| properties::any_text(text));
