//! What fuzzing kept, and messages to begin with, by the properties that fuzz targets hold.

#[path = "../../../fuzz/http.rs"]
mod http_properties;

use std::path::Path;

#[test]
fn bytes_that_fuzzing_kept_are_no_reason_to_panic() {
    replay("request_head", 10, http_properties::any_request_head);
    replay("response_head", 8, http_properties::any_response_head);
    replay("proxy_header", 6, http_properties::any_proxy_header);
    replay("chunks", 8, http_properties::any_chunks);
    replay("connection", 10, http_properties::any_connection);
    replay("answer", 8, http_properties::any_answer);
}

/// Runs a property on each seed of a target, of which there must be some.
fn replay(target: &str, at_least: usize, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let entries = std::fs::read_dir(&folder).expect("the target has a folder of seeds");
    let files: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    assert!(files.len() >= at_least, "{} has too few files", folder.display());
    for file in files {
        let bytes = std::fs::read(&file).expect("the seed can be read");
        let held = std::panic::catch_unwind(|| property(&bytes));
        assert!(held.is_ok(), "{} does not hold", file.display());
    }
}
