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
fn several_routes_need_ids() {
    check(
        "Path(\"/a\") -> <shunt>;\nb: * -> <shunt>;",
        &expect![[r#"
            error: this route has no id
             --> shop.eskip:1:1
              |
            1 | Path("/a") -> <shunt>;
              | ^^^^
              |
              = hint: where there are several routes, each has an id: `cart: Path("/cart") -> <shunt>;`

            parse failed after token ;, position 22: syntax error"#]],
    );
    check(
        "a: * -> <shunt>;\nPath(\"/b\") -> <shunt>;",
        &expect![[r#"
        error: this route has no id
         --> shop.eskip:2:1
          |
        2 | Path("/b") -> <shunt>;
          | ^^^^
          |
          = hint: where there are several routes, each has an id: `cart: Path("/cart") -> <shunt>;`

        parse failed after token (, last route id: a, position 22: syntax error"#]],
    );
    check(
        "a Path(\"/b\") -> <shunt>;",
        &expect![[r#"
        error: `:` is missing behind the id `a`
         --> shop.eskip:1:1
          |
        1 | a Path("/b") -> <shunt>;
          | ^
          |
          = hint: a route begins with its id: `cart: Path("/cart") -> <shunt>;`

        parse failed after token Path, position 6: syntax error"#]],
    );
    check(
        "* -> <shunt>;",
        &expect![[r"
            error: unexpected `;` behind a route without an id
             --> shop.eskip:1:13
              |
            1 | * -> <shunt>;
              |             ^
              |
              = hint: leave the `;` out, or give the route an id: `all: ...;`

            parse failed after token ;, position 13: syntax error"]],
    );
}

#[test]
fn a_route_without_a_backend_is_told_behind_its_last_word() {
    check(
        "a: Path(\"/a\");",
        &expect![[r#"
        error: route `a` has no backend
         --> shop.eskip:1:13
          |
        1 | a: Path("/a");
          |             ^
          |
          = hint: end the route with a backend: `-> "https://example.org"` or `-> <shunt>`

        parse failed after token ;, last route id: a, position 14: syntax error"#]],
    );
    check(
        "a: Path(\"/a\") ->\n\n;",
        &expect![[r#"
        error: route `a` has no backend behind `->`
         --> shop.eskip:1:16
          |
        1 | a: Path("/a") ->
          |                ^
          |
          = hint: end the route with a backend: `-> "https://example.org"` or `-> <shunt>`

        parse failed after token ;, last route id: a, position 19: syntax error"#]],
    );
    check(
        "a: Path(\"/a\") -> status(200)\nb: * -> <shunt>;",
        &expect![[r#"
        error: route `a` has no backend
         --> shop.eskip:1:28
          |
        1 | a: Path("/a") -> status(200)
          |                            ^
          |
          = hint: end the route with a backend: `-> "https://example.org"` or `-> <shunt>`

        parse failed after token b, last route id: a, position 30: syntax error"#]],
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

#[test]
fn what_the_language_knows_of_predicates_is_checked() {
    check(
        "a: Path(\"/a\") && Path(\"/b\") -> <shunt>;",
        &expect![[r#"
        error: the route has a second `Path`; the first is on line 1
         --> shop.eskip:1:18
          |
        1 | a: Path("/a") && Path("/b") -> <shunt>;
          |                  ^^^^
          |
          = hint: write one route for each path, or one `PathRegexp`

        duplicate path tree predicate"#]],
    );
    check(
        "a: Method(\"GET\", \"POST\") && Header(\"X\", 1) -> <shunt>;",
        &expect![[r#"
        error: `Method` expects 1 string argument, found 2
         --> shop.eskip:1:4
          |
        1 | a: Method("GET", "POST") && Header("X", 1) -> <shunt>;
          |    ^^^^^^
          |
          = hint: write `Methods("GET", "HEAD")` for several methods

        error: `Header` expects 2 string arguments, found a number
         --> shop.eskip:1:41
          |
        1 | a: Method("GET", "POST") && Header("X", 1) -> <shunt>;
          |                                         ^
          |
          = hint: write `Header("X-Name", "value")`

        invalid route "a": Method predicate expects 1 string argument"#]],
    );
    check(
        "a: Header(\"X\", \"1\") && Header(\"X\", \"2\") -> <shunt>;",
        &expect![[r#"
        error: the route has a second `Header` for `X`; the first is on line 1
         --> shop.eskip:1:24
          |
        1 | a: Header("X", "1") && Header("X", "2") -> <shunt>;
          |                        ^^^^^^
          |
          = hint: use `HeaderRegexp` to match one of several values

        duplicate header predicate: X"#]],
    );
}

#[test]
fn addresses_of_one_backend_are_alike() {
    check(
        "a: * -> <\"http://a\", \"https://b\">;",
        &expect![[r#"
        error: the addresses mix the schemes `http` and `https`
         --> shop.eskip:1:23
          |
        1 | a: * -> <"http://a", "https://b">;
          |                       ^^^^^^^^^
          |
          = hint: all addresses of a balanced backend have one scheme

        loadbalancer endpoints cannot have mixed protocols"#]],
    );
    check(
        "a: * -> <\"10.0.0.1:80\">;",
        &expect![[r#"
        error: `10.0.0.1:80` is no address: invalid URI for request
         --> shop.eskip:1:11
          |
        1 | a: * -> <"10.0.0.1:80">;
          |           ^^^^^^^^^^^
          |
          = hint: an address has a scheme and a host: `http://10.0.0.1:8080`

        parse "10.0.0.1:80": invalid URI for request"#]],
    );
}

#[test]
fn a_number_past_all_bounds_is_told() {
    check(
        &format!("a: * -> f({}) -> <shunt>;", "9".repeat(310)),
        &expect![[r"
        error: the number is too large for 64-bit floating point
         --> shop.eskip:1:11
          |
        1 | ... f(999999999999999999999999999999999999999999999...999999999999999999999999999999999999999999999) -...
          |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^...^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        parse failed after token 9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999, last route id: a, position 320: syntax error"]],
    );
}

#[test]
fn all_mistakes_of_a_text_are_told_at_once() {
    check(
        "a: Path(/a) -> <shunt>;\nb: * -> <shunt>\nc: Path(\"/c\" -> <shunt>;\nd: Method() -> <shunt>;",
        &expect![[r#"
            error: the regular expression that begins here has no end on its line
             --> shop.eskip:1:9
              |
            1 | a: Path(/a) -> <shunt>;
              |         ^^^^^^^^^^^^^^^
              |
              = hint: close it with `/`, or write a path in quotes: `"/cart"`

            error: `;` is missing between route `b` and route `c`
             --> shop.eskip:2:15
              |
            2 | b: * -> <shunt>
              |               ^
              |
              = hint: each route ends with `;`

            error: expected `,` or `)`, found `->`
             --> shop.eskip:3:12
              |
            3 | c: Path("/c" -> <shunt>;
              |            ^
              |
              = hint: close the arguments with `)`

            error: `Method` expects 1 string argument, found 0
             --> shop.eskip:4:4
              |
            4 | d: Method() -> <shunt>;
              |    ^^^^^^
              |
              = hint: write `Methods("GET", "HEAD")` for several methods

            parse failed after token c, last route id: a, position 51: syntax error"#]],
    );
}

/// A broken token is told as such only where the text might have ended; the original stops there, and finds
/// that what it has read so far is whole.
#[test]
fn the_original_names_a_broken_token_where_the_text_might_end() {
    let compat = |text: &str| eskip::parse_text(text).unwrap_err().compat().to_owned();
    assert_eq!(compat("#"), "parse failed after token , position 0: unexpected token");
    assert_eq!(
        compat("a: * -> <shunt>; \"b"),
        "parse failed after token ;, last route id: a, position 19: incomplete token"
    );
    assert_eq!(
        compat("a: * -> <shunt> /"),
        "parse failed after token <shunt>, last route id: a, position 16: invalid character"
    );
    assert_eq!(compat("* -> f(\"a\\\"b\" 7."), "parse failed after token a\"b, position 16: syntax error");
    let predicates =
        |text: &str| eskip::parse_predicates(&Source::new("p", text)).unwrap_err().compat().to_owned();
    assert_eq!(predicates("Method(\"HEAD\") #"), "parse failed after token ), position 15: unexpected token");
    assert_eq!(predicates("Method"), "parse failed after token Method, position 6: syntax error");
    let filters = |text: &str| eskip::parse_filters(&Source::new("f", text)).unwrap_err().compat().to_owned();
    assert_eq!(filters("status()->"), "parse failed after token ->, position 10: syntax error");
}

#[test]
fn ids_and_algorithms_are_checked_on_request() {
    let source =
        Source::new("shop.eskip", "a: * -> <shunt>;\nb: * -> <roundrobin, \"http://h\">;\na: * -> <shunt>;");
    let routes = eskip::parse(&source).into_result().unwrap();
    let told: Vec<String> = eskip::check_ids(&source, &routes)
        .into_iter()
        .chain(routes.iter().filter_map(|route| eskip::check_algorithm(&source, route)))
        .map(|diagnostic| diagnostic.render(false))
        .collect();
    expect![[r#"
        error: the id `a` is taken by the route on line 1
         --> shop.eskip:3:1
          |
        3 | a: * -> <shunt>;
          | ^
          |
          = hint: give each route an id of its own

        error: there is no algorithm `roundrobin`
         --> shop.eskip:2:10
          |
        2 | b: * -> <roundrobin, "http://h">;
          |          ^^^^^^^^^^
          |
          = hint: did you mean `roundRobin`?"#]]
    .assert_eq(&told.join("\n\n"));
}
