//! Texts that are no YAML, or not the YAML that was meant.

use crate::check;
use expect_test::expect;

#[test]
fn a_tab_is_named_as_such() {
    check(
        "services:\n\tweb:\n\t\trun: npm start\n",
        expect![[r#"
        error: this line is indented with a tab
         --> tombolo.yaml:2:1
          |
        2 |     web:
          | ^^^^
          |
          = hint: YAML indents with spaces only: use two for each level"#]],
    );
    check(
        "services:\n  web:\n    run: npm start\n\tport: 3000\n",
        expect![[r#"
            error: this line is indented with a tab
             --> tombolo.yaml:4:1
              |
            4 |     port: 3000
              | ^^^^
              |
              = hint: YAML indents with spaces only: use two for each level"#]],
    );
    check(
        "routes: |\n\tr: * -> <shunt>;\n",
        expect![[r#"
        error: this line is indented with a tab
         --> tombolo.yaml:2:1
          |
        2 |     r: * -> <shunt>;
          | ^^^^
          |
          = hint: YAML indents with spaces only: use two for each level"#]],
    );
}

#[test]
fn a_line_that_is_indented_too_deep_or_like_no_other() {
    check(
        "services:\n  web:\n    run: npm start\n     port: 3000\n",
        expect![[r#"
        error: `port` is indented deeper than the key above it, which already has a value
         --> tombolo.yaml:4:6
          |
        4 |      port: 3000
          |      ^^^^
          |
          = hint: keys of one map begin in the same column"#]],
    );
    check(
        "services:\n  web:\n    run: npm start\n   port: 3000\n",
        expect![[r#"
        error: this line is indented like none of the lines above
         --> tombolo.yaml:4:4
          |
        4 |    port: 3000
          |    ^^^^^^^^^^
          |
          = hint: keys of one map begin in the same column, two spaces deeper than the key they belong to"#]],
    );
    check(
        "  name: shop\nservices:\n",
        expect![[r#"
        error: this line is indented less than the first one
         --> tombolo.yaml:2:1
          |
        2 | services:
          | ^^^^^^^^^
          |
          = hint: the top-level keys all begin in the same column: remove the spaces before the first"#]],
    );
    check(
        "services:\n  - a\n b: 1\n",
        expect![[r#"
        error: this line is indented like none of the lines above
         --> tombolo.yaml:3:2
          |
        3 |  b: 1
          |  ^^^^
          |
          = hint: keys of one map begin in the same column, two spaces deeper than the key they belong to"#]],
    );
}

#[test]
fn colons_that_are_missing_stick_or_are_too_many() {
    check(
        "services:\n  web\n    run: npm start\n",
        expect![[r#"
        error: this line is neither `key: value` nor a list entry
         --> tombolo.yaml:2:3
          |
        2 |   web
          |   ^^^
          |
          = hint: write `web:`"#]],
    );
    check(
        "name: a\nservices\nlog:\n",
        expect![[r#"
        error: this line is neither `key: value` nor a list entry
         --> tombolo.yaml:2:1
          |
        2 | services
          | ^^^^^^^^
          |
          = hint: write `services:`, with a space after the colon"#]],
    );
    check(
        "name:shop\nservices:\n",
        expect![[r#"
        error: a space is missing after the colon
         --> tombolo.yaml:1:1
          |
        1 | name:shop
          | ^^^^^^^^^
          |
          = hint: write `name: shop`"#]],
    );
    check(
        "routes: hello: Path(\"/\") -> <shunt>\n",
        expect![[r#"
            error: a value that holds `: ` needs quotes
             --> tombolo.yaml:1:9
              |
            1 | routes: hello: Path("/") -> <shunt>
              |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = hint: write routes on the lines below, after `|`"#]],
    );
    check(
        "services:\n  web:\n    run: echo a: b\n",
        expect![[r#"
            error: a value that holds `: ` needs quotes
             --> tombolo.yaml:3:10
              |
            3 |     run: echo a: b
              |          ^^^^^^^^^
              |
              = hint: write `'echo a: b'`"#]],
    );
}

#[test]
fn signs_that_need_quotes() {
    check(
        "routes: * -> <shunt>\n",
        expect![[r#"
        error: a value can't begin with `*`, which is YAML's sign for an anchor
         --> tombolo.yaml:1:9
          |
        1 | routes: * -> <shunt>
          |         ^
          |
          = hint: put quotes around the value; write routes on the lines below, after `|`"#]],
    );
    check(
        "name: @shop\n",
        expect![[r#"
        error: a value can't begin with `@`
         --> tombolo.yaml:1:7
          |
        1 | name: @shop
          |       ^
          |
          = hint: put quotes around the value"#]],
    );
    check(
        "name: `shop`\n",
        expect![[r#"
            error: a value can't begin with a backquote
             --> tombolo.yaml:1:7
              |
            1 | name: `shop`
              |       ^
              |
              = hint: put quotes around the value"#]],
    );
    check(
        "name: %shop\n",
        expect![[r#"
        error: a value can't begin with `%`
         --> tombolo.yaml:1:7
          |
        1 | name: %shop
          |       ^
          |
          = hint: put quotes around the value"#]],
    );
    check(
        "name: &shop\n",
        expect![[r#"
        error: `name` has no value
         --> tombolo.yaml:1:1
          |
        1 | name: &shop
          | ^^^^
          |
          = hint: for example `name: shop`, or remove the line"#]],
    );
    check(
        "name: {{ shop }}\n",
        expect![[r#"
            error: a key must be a word
             --> tombolo.yaml:1:8
              |
            1 | name: {{ shop }}
              |        ^^^^^^^^
              |
              = hint: a text that begins with `{`, `[` or `?` needs quotes around it"#]],
    );
    check(
        "name: !shop\n",
        expect![[r#"
            error: this tag means nothing here
             --> tombolo.yaml:1:7
              |
            1 | name: !shop
              |       ^^^^^
              |
              = hint: put quotes around a text that begins with `!`; otherwise remove the tag"#]],
    );
    check(
        "gateway:\n  address: [::]:9090\n",
        expect![[r#"
            error: nothing may follow the closing bracket or quote
             --> tombolo.yaml:2:16
              |
            2 |   address: [::]:9090
              |                ^
              |
              = hint: put quotes around the whole value"#]],
    );
}

#[test]
fn quotes_and_brackets_that_do_not_close() {
    check(
        "name: \"shop\nservices:\n",
        expect![[r#"
        error: this quote is never closed
         --> tombolo.yaml:1:7
          |
        1 | name: "shop
          |       ^
          |
          = hint: add the closing quote; inside single quotes write `''` for one, inside double quotes `\"`"#]],
    );
    check(
        "name: 'it's'\n",
        expect![[r#"
        error: nothing may follow the closing quote
         --> tombolo.yaml:1:11
          |
        1 | name: 'it's'
          |           ^
          |
          = hint: put the whole value inside the quotes; a comment needs a space before its `#`"#]],
    );
    check(
        "name: \"a\\d\"\n",
        expect![[r#"
        error: `\d` is no escape of YAML's double quotes
         --> tombolo.yaml:1:9
          |
        1 | name: "a\d"
          |         ^^
          |
          = hint: write `\\d`, or put single quotes around the value"#]],
    );
    check(
        "services:\n  web:\n    run: [npm, start\n    port: 3000\n",
        expect![[r#"
        error: a `,` or the closing `]` is missing
         --> tombolo.yaml:4:9
          |
        4 |     port: 3000
          |         ^
          |
          = hint: the `[` is on line 3"#]],
    );
    check(
        "services:\n  web: {run: a\n  b: {run: b}\n",
        expect![[r#"
        error: a `,` or the closing `}` is missing
         --> tombolo.yaml:3:4
          |
        3 |   b: {run: b}
          |    ^
          |
          = hint: the `{` is on line 2"#]],
    );
    check(
        "services:\n  web: {run: a, calls: [b}\n",
        expect![[r#"
        error: `[` is closed by `}`
         --> tombolo.yaml:2:24
          |
        2 |   web: {run: a, calls: [b}
          |                        ^
          |
          = hint: write `]`"#]],
    );
    check(
        "name: shop]\nlog: ]\n",
        expect![[r#"
        error: this closing bracket was never opened
         --> tombolo.yaml:2:6
          |
        2 | log: ]
          |      ^
          |
          = hint: remove it, or put quotes around a text that holds it"#]],
    );
    check(
        "services: {",
        expect![[r#"
        error: `{` is never closed
         --> tombolo.yaml:1:11
          |
        1 | services: {
          |           ^
          |
          = hint: add `}` after the last entry"#]],
    );
}

#[test]
fn lists_in_the_wrong_place() {
    check(
        "services:\n  web:\n    run: a\n    calls: - b\n",
        expect![[r#"
        error: a list can't begin with `- ` here
         --> tombolo.yaml:4:12
          |
        4 |     calls: - b
          |            ^
          |
          = hint: put each `- entry` on a line of its own below the key, or write `[one, two]`"#]],
    );
}

#[test]
fn keys_given_twice_are_all_said_with_both_places() {
    check(
        "services:\n  web:\n    run: a\n    run: b\n  web:\n    run: c\nname: x\nname: y\n",
        expect![[r#"
        error: `run` is given twice
         --> tombolo.yaml:4:5
          |
        4 |     run: b
          |     ^^^
          |
          = hint: the first is on line 3: keep one of them
        error: `web` is given twice
         --> tombolo.yaml:5:3
          |
        5 |   web:
          |   ^^^
          |
          = hint: the first is on line 2: keep one of them
        error: `name` is given twice
         --> tombolo.yaml:8:1
          |
        8 | name: y
          | ^^^^
          |
          = hint: the first is on line 7: keep one of them"#]],
    );
}

#[test]
fn anchors_and_merges_that_lead_nowhere() {
    check(
        "x-defaults: &defaults {stop_grace: 5s}\nservices:\n  web:\n    <<: *default\n    run: a\n",
        expect![[r#"
            error: this alias names an anchor that is not there
             --> tombolo.yaml:4:9
              |
            4 |     <<: *default
              |         ^^^^^^^^
              |
              = hint: did you mean `defaults`?"#]],
    );
    check(
        "services:\n  web:\n    <<: hello\n    run: a\n",
        expect![[r#"
        error: `<<` takes in a map, and this is none
         --> tombolo.yaml:3:9
          |
        3 |     <<: hello
          |         ^^^^^
          |
          = hint: for example `<<: *defaults`, where `defaults: &defaults` stands above a map"#]],
    );
    check(
        "? [a, b]\n: c\n",
        expect![[r#"
        error: a key must be a word
         --> tombolo.yaml:1:3
          |
        1 | ? [a, b]
          |   ^^^^^^
          |
          = hint: a text that begins with `{`, `[` or `?` needs quotes around it"#]],
    );
}

#[test]
fn one_file_is_one_document() {
    check(
        "name: a\n---\nname: b\n",
        expect![[r#"
        error: a second YAML document begins here
         --> tombolo.yaml:2:1
          |
        2 | ---
          | ^^^
          |
          = hint: a manifest is one document: remove the line `---` or `...`"#]],
    );
}

#[test]
fn an_empty_file_is_a_manifest_with_a_warning() {
    check(
        "",
        expect![[r#"
        warning: the manifest is empty: nothing runs here and no route answers
         --> tombolo.yaml:1:1
          |
        1 |
          | ^
          |
          = hint: `tombolo init` writes a first one"#]],
    );
    check(
        "# nothing yet\n",
        expect![[r#"
        warning: the manifest is empty: nothing runs here and no route answers
         --> tombolo.yaml:1:1
          |
        1 | # nothing yet
          | ^
          |
          = hint: `tombolo init` writes a first one"#]],
    );
}

#[test]
fn a_file_that_is_no_map() {
    check(
        "npm start\n",
        expect![[r#"
        error: a manifest is a map of settings, found the text `npm start`
         --> tombolo.yaml:1:1
          |
        1 | npm start
          | ^^^^^^^^^
          |
          = hint: it begins with a key such as `services:` or `routes:`"#]],
    );
    check(
        "- web\n- cart\n",
        expect![[r#"
        error: a manifest is a map of settings, found a list
         --> tombolo.yaml:1:1
          |
        1 | - web
          | ^
          |
          = hint: it begins with a key such as `services:` or `routes:`"#]],
    );
}

#[test]
fn a_list_that_has_hardly_begun_is_pointed_at_within_the_file() {
    let (_, diagnostics) = manifest::read(&base::Source::new("t", "services:\r\n- "));
    let spans: Vec<_> =
        diagnostics.iter().filter_map(|d| d.place.as_ref()).map(|place| place.span.clone()).collect();
    assert_eq!(spans, vec![13..13]);
}
