//! Any bytes as a file of the store.
#![no_main]

#[path = "../store.rs"]
mod store_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = std::env::temp_dir().join(format!("store_files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the files");
    store_properties::any_file(bytes, &folder);
});
