//! The mistakes people make in their first days, and word for word what they are told. A text is good when it
//! names the file, the line, the cause and what to do.

mod commands;
mod manifest;
mod starting;
#[path = "../support/mod.rs"]
mod support;

use expect_test::Expect;
use support::Folder;

/// What `tombolo check` says about a manifest.
fn check(manifest: &str, expected: Expect) {
    expected.assert_eq(&Folder::with(manifest).run(&["check"]));
}

/// What `tombolo` says when called so in an empty folder.
fn call(arguments: &[&str], expected: Expect) {
    expected.assert_eq(&Folder::new().run(arguments));
}
