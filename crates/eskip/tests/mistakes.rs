//! What a person reads after each of the usual slips, and below it the sentence Skipper would have printed.

use base::Source;
use expect_test::{Expect, expect};

fn check(text: &str, expected: &Expect) {
    let parsed = eskip::parse(&Source::new("shop.eskip", text));
    let errors = parsed.into_result().expect_err("the text has a mistake");
    expected.assert_eq(&format!("{errors}\n\n{}", errors.compat()));
}

#[test]
fn a_backend_that_is_almost_one_is_suggested() {
    check(
        "a: * -> <shnt>;",
        &expect![[r"
        error: there is no backend `<shnt>`
         --> shop.eskip:1:10
          |
        1 | a: * -> <shnt>;
          |          ^^^^
          |
          = hint: did you mean `<shunt>`?

        parse failed after token >, last route id: a, position 14: syntax error"]],
    );
    check(
        "a: * -> < shunt >;",
        &expect![[r"
        error: there is no backend `<shunt>`
         --> shop.eskip:1:11
          |
        1 | a: * -> < shunt >;
          |           ^^^^^
          |
          = hint: write `<shunt>` without spaces

        parse failed after token >, last route id: a, position 17: syntax error"]],
    );
    check(
        "a: * -> <roundRobin>;",
        &expect![[r#"
        error: there is no backend `<roundRobin>`
         --> shop.eskip:1:10
          |
        1 | a: * -> <roundRobin>;
          |          ^^^^^^^^^^
          |
          = hint: name the addresses: `<roundRobin, "http://a", "http://b">`

        parse failed after token >, last route id: a, position 20: syntax error"#]],
    );
}

#[test]
fn an_arrow_that_is_missing_or_written_otherwise_is_told() {
    check(
        "a: Path(\"/a\") setPath(\"/b\") -> <shunt>;",
        &expect![[r#"
        error: expected `->`, found `setPath`
         --> shop.eskip:1:15
          |
        1 | a: Path("/a") setPath("/b") -> <shunt>;
          |               ^^^^^^^
          |
          = hint: filters and the backend stand behind `->`

        parse failed after token setPath, last route id: a, position 21: syntax error"#]],
    );
    check(
        "a: Path(\"/a\") => <shunt>;",
        &expect![[r#"
        error: unexpected `=>`
         --> shop.eskip:1:15
          |
        1 | a: Path("/a") => <shunt>;
          |               ^
          |
          = hint: the arrow is written `->`

        parse failed after token ), last route id: a, position 14: syntax error"#]],
    );
    check(
        "a: Path(\"/a\") -> setPath(\"/b\") <shunt>;",
        &expect![[r#"
        error: expected `->`, found `<shunt>`
         --> shop.eskip:1:32
          |
        1 | a: Path("/a") -> setPath("/b") <shunt>;
          |                                ^^^^^^^
          |
          = hint: filters and the backend stand behind `->`

        parse failed after token <shunt>, last route id: a, position 38: syntax error"#]],
    );
}

#[test]
fn a_semicolon_that_is_missing_is_told_where_it_belongs() {
    check(
        "a: * -> <shunt>\nb: * -> <shunt>;",
        &expect![[r"
        error: `;` is missing between route `a` and route `b`
         --> shop.eskip:1:15
          |
        1 | a: * -> <shunt>
          |               ^
          |
          = hint: each route ends with `;`

        parse failed after token b, last route id: a, position 17: syntax error"]],
    );
}

#[test]
fn an_id_with_a_dash_gets_a_proposal() {
    check(
        "my-shop.cart: * -> <shunt>;",
        &expect![[r"
        error: the name `my-shop.cart` has a `-`
         --> shop.eskip:1:1
          |
        1 | my-shop.cart: * -> <shunt>;
          | ^^^^^^^^^^^^
          |
          = hint: names have letters, digits and `_` only: `my_shop_cart`

        parse failed after token my, position 2: syntax error"]],
    );
}

#[test]
fn quotes_of_the_wrong_kind_are_told() {
    check(
        "a: Path('/a') -> <shunt>;",
        &expect![[r#"
        error: unexpected `'`
         --> shop.eskip:1:9
          |
        1 | a: Path('/a') -> <shunt>;
          |         ^
          |
          = hint: strings stand in double quotes: `"text"`

        parse failed after token (, last route id: a, position 8: syntax error"#]],
    );
    check(
        "a: Path(\u{201c}/a\u{201d}) -> <shunt>;",
        &expect![[r#"
        error: unexpected `“`
         --> shop.eskip:1:9
          |
        1 | a: Path(“/a”) -> <shunt>;
          |         ^
          |
          = hint: strings stand in straight quotes: `"text"`

        parse failed after token (, last route id: a, position 8: syntax error"#]],
    );
}

#[test]
fn a_comma_too_many_or_too_few_is_told() {
    check(
        "a: * -> setQuery(\"a\", \"b\",) -> <shunt>;",
        &expect![[r#"
        error: a comma stands behind the last argument
         --> shop.eskip:1:26
          |
        1 | a: * -> setQuery("a", "b",) -> <shunt>;
          |                          ^
          |
          = hint: leave the comma out

        parse failed after token ), last route id: a, position 27: syntax error"#]],
    );
    check(
        "a: * -> setQuery(\"a\" \"b\") -> <shunt>;",
        &expect![[r#"
        error: expected `,` or `)`, found a string
         --> shop.eskip:1:22
          |
        1 | a: * -> setQuery("a" "b") -> <shunt>;
          |                      ^^^
          |
          = hint: arguments are parted by commas

        parse failed after token b, last route id: a, position 24: syntax error"#]],
    );
}

#[test]
fn a_string_without_its_end_is_told_where_it_begins() {
    check(
        "a: Path(\"/a) -> <shunt>;\nb: Path(\"/b\") -> <shunt>;",
        &expect![[r#"
        error: the string that begins here has no end on its line
         --> shop.eskip:1:9
          |
        1 | a: Path("/a) -> <shunt>;
          |         ^^^^^^^^^^^^^^^^
          |
          = hint: close it with `"`; inside a string, write `"` as `\"`

        parse failed after token /a) -> <shunt>;
        b: Path(, last route id: a, position 50: syntax error"#]],
    );
    check(
        "a: * -> <shunt>;\nb: Path(\"/b) -> <shunt>;",
        &expect![[r#"
        error: the string that begins here has no end on its line
         --> shop.eskip:2:9
          |
        2 | b: Path("/b) -> <shunt>;
          |         ^^^^^^^^^^^^^^^^
          |
          = hint: close it with `"`; inside a string, write `"` as `\"`

        parse failed after token (, last route id: b, position 41: syntax error"#]],
    );
}

#[test]
fn a_url_without_quotes_is_told_and_the_rest_is_read_on() {
    check(
        "a: * -> https://www.example.org/x;\nb: * -> <shunt;",
        &expect![[r#"
            error: the address `https://www.example.org/x` has no quotes
             --> shop.eskip:1:9
              |
            1 | a: * -> https://www.example.org/x;
              |         ^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = hint: write `"https://www.example.org/x"`

            error: `>` is missing behind `<shunt`
             --> shop.eskip:2:10
              |
            2 | b: * -> <shunt;
              |          ^^^^^

            parse failed after token :, last route id: a, position 14: syntax error"#]],
    );
}

#[test]
fn parentheses_are_missed() {
    check(
        "a: * -> compress -> <shunt>;",
        &expect![[r"
        error: `(` is missing behind the name `compress`
         --> shop.eskip:1:9
          |
        1 | a: * -> compress -> <shunt>;
          |         ^^^^^^^^
          |
          = hint: write `compress()` if it has no arguments

        parse failed after token ->, last route id: a, position 19: syntax error"]],
    );
    check(
        "a: * -> status(200 -> <shunt>;",
        &expect![[r"
        error: expected `,` or `)`, found `->`
         --> shop.eskip:1:18
          |
        1 | a: * -> status(200 -> <shunt>;
          |                  ^
          |
          = hint: close the arguments with `)`

        parse failed after token ->, last route id: a, position 21: syntax error"]],
    );
    check(
        "a: * -> shunt;",
        &expect![[r"
        error: `(` is missing behind the name `shunt`
         --> shop.eskip:1:9
          |
        1 | a: * -> shunt;
          |         ^^^^^
          |
          = hint: call the filter `shunt()`, or write the backend `<shunt>`

        parse failed after token ;, last route id: a, position 14: syntax error"]],
    );
}

#[test]
fn a_word_without_quotes_is_told() {
    check(
        "a: Host(example) -> <shunt>;",
        &expect![[r#"
        error: the argument `example` has no quotes
         --> shop.eskip:1:9
          |
        1 | a: Host(example) -> <shunt>;
          |         ^^^^^^^
          |
          = hint: arguments are numbers, regular expressions and strings: `"example"`

        parse failed after token example, last route id: a, position 15: syntax error"#]],
    );
}

#[test]
fn habits_from_other_languages_are_answered() {
    check(
        "# routes\na: * -> <shunt>;",
        &expect![[r"
        error: unexpected `#`
         --> shop.eskip:1:1
          |
        1 | # routes
          | ^
          |
          = hint: comments begin with `//`

        parse failed after token , position 0: unexpected token"]],
    );
    check(
        "/* routes */ a: * -> <shunt>;",
        &expect![[r"
            error: there are no block comments
             --> shop.eskip:1:1
              |
            1 | /* routes */ a: * -> <shunt>;
              | ^^^^^^^^^^^^
              |
              = hint: begin each line of the comment with `//`

            parse failed after token * routes *, position 12: syntax error"]],
    );
    check(
        "a: Path(\"/a\") || Path(\"/b\") -> <shunt>;",
        &expect![[r#"
        error: unexpected `|`
         --> shop.eskip:1:15
          |
        1 | a: Path("/a") || Path("/b") -> <shunt>;
          |               ^
          |
          = hint: there is no `or`: write two routes with the same backend

        parse failed after token ), last route id: a, position 14: syntax error"#]],
    );
    check(
        "a: Path(\"/a\") Method(\"GET\") -> <shunt>;",
        &expect![[r#"
        error: `&&` is missing before the predicate `Method`
         --> shop.eskip:1:15
          |
        1 | a: Path("/a") Method("GET") -> <shunt>;
          |               ^^^^^^
          |
          = hint: predicates are joined by `&&`

        parse failed after token Method, last route id: a, position 20: syntax error"#]],
    );
    check(
        "a: * -> status(200.) -> <shunt>;",
        &expect![[r"
        error: the number `200.` ends with a point
         --> shop.eskip:1:16
          |
        1 | a: * -> status(200.) -> <shunt>;
          |                ^^^^
          |
          = hint: write digits behind the point, or leave the point out

        parse failed after token (, last route id: a, position 19: syntax error"]],
    );
    check(
        "a: *\u{a0}-> <shunt>;",
        &expect![[r"
        error: the space here is the character `U+00A0`
         --> shop.eskip:1:5
          |
        1 | a: * -> <shunt>;
          |     ^
          |
          = hint: replace it by an ordinary space

        parse failed after token *, last route id: a, position 4: syntax error"]],
    );
}

#[test]
fn a_path_between_slashes_that_do_not_match_is_told() {
    check(
        "a: Path(/a) -> <shunt>;\nb: Path(\"/b\") -> <shunt>;",
        &expect![[r#"
        error: the regular expression that begins here has no end on its line
         --> shop.eskip:1:9
          |
        1 | a: Path(/a) -> <shunt>;
          |         ^^^^^^^^^^^^^^^
          |
          = hint: close it with `/`, or write a path in quotes: `"/cart"`

        parse failed after token b, last route id: a, position 35: syntax error"#]],
    );
    check(
        "a: Path(/a) -> <shunt>;",
        &expect![[r#"
        error: the regular expression that begins here has no end on its line
         --> shop.eskip:1:9
          |
        1 | a: Path(/a) -> <shunt>;
          |         ^^^^^^^^^^^^^^^
          |
          = hint: close it with `/`, or write a path in quotes: `"/cart"`

        parse failed after token (, last route id: a, position 23: syntax error"#]],
    );
}

#[test]
fn filters_behind_the_backend_are_told() {
    check(
        "a: * -> \"http://h\" -> status(200);",
        &expect![[r#"
        error: unexpected `->` behind the backend
         --> shop.eskip:1:20
          |
        1 | a: * -> "http://h" -> status(200);
          |                    ^^
          |
          = hint: the backend ends the route: filters stand before it

        parse failed after token ->, last route id: a, position 21: syntax error"#]],
    );
}
