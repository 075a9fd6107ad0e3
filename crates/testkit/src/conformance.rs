//! Conformance data: read from the folder beside the project, never copied into it. Where the folder is
//! absent the suite says so in one line and does not run.

use serde_json::Value;
use std::path::PathBuf;

/// The data file of this name below the conformance folder (`../shared/conformance` beside the project, or
/// `TOMBOLO_CONFORMANCE`), such as `skipper/net.json`. `None`, and one line, where the folder is absent.
///
/// # Panics
/// When the folder is there but the file is not, or is not JSON: that is a mistake in the test.
#[expect(clippy::print_stderr, reason = "the one line that says which suite did not run")]
pub fn conformance(name: &str) -> Option<Value> {
    let folder = std::env::var_os("TOMBOLO_CONFORMANCE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        eprintln!("conformance suite `{name}` did not run: no folder {}", folder.display());
        return None;
    }
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// Gathers the cases that differ, so that a suite prints all of them and not the first.
#[derive(Debug, Default)]
pub struct Differences {
    cases: usize,
    texts: Vec<String>,
}

impl Differences {
    /// Counts one case as run.
    pub fn ran(&mut self) {
        self.cases += 1;
    }

    /// Notes a case that differs: its table, request, expected and got.
    pub fn add(&mut self, text: impl Into<String>) {
        self.texts.push(text.into());
    }

    /// Ends the suite.
    ///
    /// # Panics
    /// When a case differs, with all of them; and when fewer cases ran than `at_least`, so that a suite
    /// whose data was not understood can't pass.
    #[expect(clippy::print_stdout, reason = "a suite says how much it ran")]
    pub fn finish(self, suite: &str, at_least: usize) {
        let differing = self.texts.len();
        assert!(
            self.texts.is_empty(),
            "{suite}: {differing} of {} cases differ\n\n{}",
            self.cases,
            self.texts.join("\n\n")
        );
        assert!(
            self.cases >= at_least,
            "{suite}: only {} cases ran, expected {at_least} or more",
            self.cases
        );
        println!("{suite}: {} cases", self.cases);
    }
}
