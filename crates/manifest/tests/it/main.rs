//! The manifest as its users meet it: a text goes in, values or diagnostics come out.

mod changes;
mod consumers;
mod env_file;
mod mistakes;
mod names_and_ports;
mod places;
mod properties;
mod services;
mod streams;
mod syntax;
mod values;

use base::Source;

/// The diagnostics of a manifest, as they are printed.
fn said(text: &str) -> String {
    let (manifest, diagnostics) = manifest::read(&Source::new("tombolo.yaml", text));
    let broken = diagnostics.iter().any(|d| d.severity == base::Severity::Error);
    assert_eq!(manifest.is_none(), broken, "a manifest comes if and only if there is no error");
    let texts: Vec<String> = diagnostics.iter().map(|diagnostic| diagnostic.render(false)).collect();
    texts.join("\n")
}

/// A manifest that must be without a fault.
fn good(text: &str) -> manifest::Manifest {
    let (manifest, diagnostics) = manifest::read(&Source::new("tombolo.yaml", text));
    let texts: Vec<String> = diagnostics.iter().map(|diagnostic| diagnostic.render(false)).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
    manifest.expect("there was no error")
}

/// What must be said of a text.
#[expect(clippy::needless_pass_by_value, reason = "so that a test may write its expectation in place")]
fn check(text: &str, expected: expect_test::Expect) {
    expected.assert_eq(&said(text));
}
