//! Pages generated from tables in the code. They are committed, so that people find them; a stale one is
//! rewritten by the test that checks it, which fails once.

use std::path::Path;

/// Checks that a generated file of the project (`docs/reference/metrics.md`) holds this text.
///
/// # Panics
/// When it did not: it does now, and wants to be looked at and committed.
pub fn check_generated(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::fs::read_to_string(&file).is_ok_and(|found| found == text) {
        return;
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    std::fs::write(&file, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    panic!("{path} was stale and is written anew: look at it and commit it");
}
