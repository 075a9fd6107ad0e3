//! Places inside inline eskip are places of the file.

use crate::good;
use base::Source;
use manifest::RoutesEntry;

/// Every word of every inline text is found in the file at the place that is told for it.
fn check(text: &str) {
    let manifest = good(text);
    let source = Source::new("t", text);
    let mut texts: Vec<(&str, &base::Span)> = manifest
        .routes
        .iter()
        .filter_map(|entry| match entry {
            RoutesEntry::Inline { text, span } => Some((text.as_str(), span)),
            RoutesEntry::File { .. } => None,
        })
        .collect();
    texts.extend(manifest.services.iter().map(|s| (s.filters.as_str(), &s.filters_span)));
    let mut words = 0;
    for (text, span) in texts {
        for word in text.split_whitespace() {
            let at = word.as_ptr() as usize - text.as_ptr() as usize;
            let place = manifest.place_of(span, at..at + word.len());
            let written =
                source.text[place.clone()].replace("\\\"", "\"").replace("''", "'").replace("\\x41", "A");
            assert_eq!(written, word, "{place:?} of {:?}", source.text);
            words += 1;
        }
    }
    assert!(words > 0, "no inline text in {text}");
}

#[test]
fn in_a_literal_block_however_it_is_indented() {
    check("routes: |\n  a: Path(\"/\u{e4}\")\n    -> <shunt>;\n\n  b: * -> <shunt>;\n");
    check("routes:\n  - |\n      a: *\n        -> <shunt>;\n  - |-\n    b: * -> <shunt>\n");
    check("routes: |\n\n\n  a: * -> <shunt>;\n");
    check("routes: |2\n    a: * -> <shunt>;\n   b: * -> <shunt>;\n");
    check("routes: |\r\n  a: * -> <shunt>;\r\n  b: * -> <shunt>;\r\n");
    check("routes: |+\n  a: * -> <shunt>;\n  b: * -> <shunt>;\n\n\nname: x\n");
}

#[test]
fn in_a_folded_block() {
    check("routes: >\n  a: *\n  -> status(200)\n  -> <shunt>;\n\n  b: *\n    -> <shunt>\n");
    check("routes:\n  - inline: >-\n      a: *\n      -> <shunt>\n");
}

#[test]
fn in_quotes_and_in_a_bare_text() {
    check("routes: 'a: Path(\"/\") -> setPath(\"it''s\") -> <shunt>'\n");
    check("routes: \"a: Path(\\\"/\\\")\\n -> setPath(\\\"\\x41\\\")\\\n    \\ -> <shunt>\"\n");
    check("routes: 'a: *\n  -> <shunt>;\n\n  b: * -> <shunt>'\n");
    check("routes: Path(\"/\")\n  -> <shunt>\n");
    check("services:\n  a:\n    run: a\n    filters: retry(2) -> backendTimeout(\"2s\")\n");
    check(
        "x-f: &f |\n  retry(2)\n  -> status(200)\nservices:\n  a: {run: a, filters: *f}\n  b: {run: b, filters: *f}\n",
    );
}

#[test]
fn a_span_over_several_lines_ends_where_its_last_byte_does() {
    let text = "routes: |\n    a: *\n    -> <shunt>;\n";
    let manifest = good(text);
    let RoutesEntry::Inline { text: eskip, span } = &manifest.routes[0] else { panic!("not inline") };
    let place = manifest.place_of(span, 0..eskip.len());
    assert_eq!(&text[place], "a: *\n    -> <shunt>;\n");
    assert_eq!(manifest.place_of(span, 4..4), 18..18, "an empty place has a place");
    assert_eq!(manifest.place_of(span, 900..901).start, text.len(), "past the end is the end");
    assert_eq!(manifest.place_of(&(1..2), 5..6), 1..1, "an unknown text has a start");
}
