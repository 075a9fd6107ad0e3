//! Whatever the text, reading it ends, within its bounds and without a panic.

use base::Source;
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Pieces that texts of this kind are made of, so that chance finds the paths behind the first error.
const PIECES: &[&str] = &[
    "services:",
    "web:",
    "run: a",
    "at: http://x:80",
    "port: 3000",
    "env:",
    "A: b",
    "calls: [web]",
    "depends_on:",
    "health: /x",
    "restart:",
    "when: never",
    "routes: |",
    "a: * -> <shunt>;",
    "gateway:",
    "address: 0.0.0.0:1",
    "limits:",
    "- ",
    "  ",
    "\n",
    "\n  ",
    "\n    ",
    "\t",
    "\"",
    "'",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ": ",
    "&a ",
    "*a",
    "<<: *a",
    "!x ",
    "|2",
    ">-",
    "#",
    "\u{e4}",
    "\u{1f600}",
    "\r\n",
    "---",
    "...",
    "\u{feff}",
    "~",
    "\0",
    "%YAML 1.2",
    "? ",
    "x-a: ",
    "*",
];

fn pieces() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES), 0..60).prop_map(|pieces| pieces.concat())
}

/// A good manifest with a few bytes changed.
fn slips() -> impl Strategy<Value = String> {
    let at = 0..manifest::EXAMPLE.len();
    proptest::collection::vec((at, proptest::sample::select(PIECES), 0..3_usize), 1..4).prop_map(|edits| {
        let mut text = manifest::EXAMPLE.to_owned();
        for (at, piece, cut) in edits {
            let at = at.min(text.len());
            let end = (at + cut).min(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, piece);
            }
        }
        text
    })
}

fn read(text: &str) -> Result<(), TestCaseError> {
    let source = Source::new("t", text);
    let (manifest, diagnostics) = manifest::read(&source);
    let broken = diagnostics.iter().any(|d| d.severity == base::Severity::Error);
    prop_assert_eq!(manifest.is_none(), broken);
    for diagnostic in &diagnostics {
        prop_assert!(!diagnostic.render(false).is_empty());
        let span = &diagnostic.place.as_ref().expect("every slip has a place").span;
        prop_assert!(span.start <= span.end && span.end <= text.len(), "{:?}", span);
        prop_assert!(
            text.is_char_boundary(span.start) && text.is_char_boundary(span.end),
            "{:?}",
            diagnostic
        );
    }
    for entry in manifest.iter().flat_map(|manifest| &manifest.routes) {
        if let (manifest::RoutesEntry::Inline { text: eskip, span }, Some(manifest)) = (entry, &manifest) {
            for at in 0..=eskip.len() {
                let place = manifest.place_of(span, at..at + 1);
                prop_assert!(place.start <= place.end, "{:?}", place);
            }
        }
    }
    let (_, diagnostics) = manifest::env_file(&source);
    for diagnostic in diagnostics {
        prop_assert!(!diagnostic.render(false).is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        read(&text)?;
    }

    #[test]
    fn pieces_of_manifests_are_read_or_refused(text in pieces()) {
        read(&text)?;
    }

    #[test]
    fn a_manifest_with_slips_is_read_or_refused(text in slips()) {
        read(&text)?;
    }

    #[test]
    fn a_variable_is_never_shown(
        secret in "[a-z]{12}",
        name in "[A-Za-z_=-]{1,6}",
        before in "[ :{\\[\"'&*-]{0,3}",
        after in "[ :}\\],\"'#|-]{0,3}",
    ) {
        for text in [
            format!("services:\n  web:\n    run: a\n    env:\n      {name}: {before}{secret}{after}\n"),
            format!("services:\n  web: {{run: a, env: {{{name}: {before}{secret}{after}}}}}\n"),
            format!("services:\n  web: {{run: a, env: {{b-c: d, A: b, A: {before}{secret}{after}}}}}\n"),
            format!("services:\n  web: {{run: a, env: {{b-c: d, ? [{secret}] : {before}{secret}{after}}}}}\n"),
            format!("services:\n  web: {{run: a, port: b, env: {{{{{secret}}}: c}}}}\n"),
        ] {
            let (_, diagnostics) = manifest::read(&Source::new("t", text.as_str()));
            for diagnostic in diagnostics {
                let shown = diagnostic.render(false);
                prop_assert!(!shown.contains(&secret), "{}\n{}", text, shown);
            }
        }
    }
}

#[test]
fn the_largest_texts_take_no_longer_than_a_blink() {
    let most = 1 << 20;
    for piece in [
        "a",
        "[",
        "{",
        "- ",
        "a: ",
        "a: b\n",
        "\"",
        "'\n",
        "x: |\n ",
        "&a ",
        "[a,",
        "? ",
        "\n",
        " ",
        "\t",
        "#\n",
        "*a\n",
        "- [a, b]\n",
    ] {
        let text = piece.repeat(most / piece.len());
        let began = Instant::now();
        let (manifest, diagnostics) = manifest::read(&Source::new("t", text));
        assert!(manifest.is_none() || diagnostics.iter().all(|d| d.severity == base::Severity::Warning));
        // Generous: a slow machine in debug mode. What is quadratic takes minutes.
        assert!(began.elapsed() < Duration::from_secs(20), "{piece:?} took {:?}", began.elapsed());
    }
}
