//! What a person reads when the words are right and the routes are not: ids, ends, predicates, addresses; and
//! the sentence Skipper would have printed.

use base::Source;
use expect_test::{Expect, expect};

fn check(text: &str, expected: &Expect) {
    let parsed = eskip::parse(&Source::new("shop.eskip", text));
    let errors = parsed.into_result().expect_err("the text has a mistake");
    expected.assert_eq(&format!("{errors}\n\n{}", errors.compat()));
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
