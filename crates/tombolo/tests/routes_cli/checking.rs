//! `tombolo routes check`: everything that is wrong, with its place and remedy.

use super::desk::{Desk, SHOP, check, expect, mistake};

#[test]
fn good_routes_are_counted() {
    check(
        "check shop.eskip",
        "",
        expect![[r#"
        2 routes are good
        exit 0
    "#]],
    );
    check(
        "check",
        "* -> <shunt>",
        expect![[r#"
        1 route is good
        exit 0
    "#]],
    );
    check(
        "check - shop.eskip",
        "more: * -> <shunt>;",
        expect![[r#"
        3 routes are good
        exit 0
    "#]],
    );
    check(
        "check",
        "// nothing yet\n",
        expect![[r#"
        there are no routes, and nothing is wrong
        exit 0
    "#]],
    );
    check(
        "check shop.eskip --json",
        "",
        expect![[r#"
        []
        exit 0
    "#]],
    );
}

#[test]
fn all_mistakes_of_all_files_are_told_at_once_in_their_order() {
    let desk = Desk::with(&[
        (
            "one.eskip",
            "a: Path(\"/a\") -> stauts(200) -> <shnt>;\nb: Pth(\"/b\") -> setPath(1) -> <shunt>;\n",
        ),
        ("two.eskip", "c: * -> <shunt>;\na: * -> <shunt>;\n"),
    ]);
    expect![[r#"
        --
        error: `three.eskip` is not there
        hint: name files of eskip, or `-` for standard input

        error: there is no backend `<shnt>`
         --> one.eskip:1:34
          |
        1 | a: Path("/a") -> stauts(200) -> <shnt>;
          |                                  ^^^^
          |
          = hint: did you mean `<shunt>`?

        error: route `b`: predicate `Pth` is not known
         --> one.eskip:2:4
          |
        2 | b: Pth("/b") -> setPath(1) -> <shunt>;
          |    ^^^
          |
          = hint: did you mean `Path`?

        error: route `b`: filter `setPath`: argument 1 (path) must be a string, not the number 1
         --> one.eskip:2:25
          |
        2 | b: Pth("/b") -> setPath(1) -> <shunt>;
          |                         ^
          |
          = hint: it is written `setPath(path)`

        4 errors in 2 files
        exit 1
    "#]]
    .assert_eq(&desk.run("check one.eskip two.eskip three.eskip", ""));
    expect![[r#"
        [
          {
            "severity": "error",
            "code": "unreadable_routes",
            "message": "`three.eskip` is not there",
            "file": "three.eskip",
            "hint": "name files of eskip, or `-` for standard input"
          },
          {
            "severity": "error",
            "code": "unknown_backend",
            "message": "there is no backend `<shnt>`",
            "file": "one.eskip",
            "line": 1,
            "column": 34,
            "hint": "did you mean `<shunt>`?"
          },
          {
            "severity": "error",
            "code": "unknown_predicate",
            "message": "route `b`: predicate `Pth` is not known",
            "file": "one.eskip",
            "line": 2,
            "column": 4,
            "hint": "did you mean `Path`?"
          },
          {
            "severity": "error",
            "code": "invalid_filter_params",
            "message": "route `b`: filter `setPath`: argument 1 (path) must be a string, not the number 1",
            "file": "one.eskip",
            "line": 2,
            "column": 25,
            "hint": "it is written `setPath(path)`"
          }
        ]
        exit 1
    "#]]
    .assert_eq(&desk.run("check --json one.eskip two.eskip three.eskip", ""));
}

#[test]
fn every_mistake_of_a_route_is_told_not_its_first() {
    mistake(
        "a: Pth(\"/a\") && Methods(1) -> setQurey(\"a\", \"b\") -> status() -> nothing() -> \"cart:80\";",
        expect![[r#"
            --
            error: route `a`: predicate `Pth` is not known
             --> a.eskip:1:4
              |
            1 | a: Pth("/a") && Methods(1) -> setQurey("a", "b") -> status() -> nothing() -> "cart:80";
              |    ^^^
              |
              = hint: did you mean `Path`?

            error: route `a`: predicate `Methods`: argument 1 (method) must be a string, not the number 1
             --> a.eskip:1:25
              |
            1 | a: Pth("/a") && Methods(1) -> setQurey("a", "b") -> status() -> nothing() -> "cart:80";
              |                         ^
              |
              = hint: it is written `Methods(method, ...)`

            error: route `a`: filter `setQurey` is not known
             --> a.eskip:1:31
              |
            1 | a: Pth("/a") && Methods(1) -> setQurey("a", "b") -> status() -> nothing() -> "cart:80";
              |                               ^^^^^^^^
              |
              = hint: did you mean `setQuery`?

            error: route `a`: filter `status`: argument 1 is missing: status
             --> a.eskip:1:53
              |
            1 | a: Pth("/a") && Methods(1) -> setQurey("a", "b") -> status() -> nothing() -> "cart:80";
              |                                                     ^^^^^^
              |
              = hint: it is written `status(code)`

            error: route `a`: filter `nothing` is not known
             --> a.eskip:1:65
              |
            1 | a: Pth("/a") && Methods(1) -> setQurey("a", "b") -> status() -> nothing() -> "cart:80";
              |                                                                 ^^^^^^^

            error: route `a`: `cart:80` is no backend address: it must begin with http://, https:// or h2c://
             --> a.eskip:1:78
              |
            1 | a: Pth("/a") && Methods(1) -> setQurey("a", "b") -> status() -> nothing() -> "cart:80";
              |                                                                              ^^^^^^^^^

            6 errors in 1 file
            exit 1
        "#]],
    );
}

#[test]
fn a_route_that_is_hidden_by_another_is_checked_too() {
    mistake(
        "a: * -> nothing() -> <shunt>;\na: * -> <shunt>;\n",
        expect![[r#"
        --
        error: route id `a` is used again at a.eskip:2:1
         --> a.eskip:1:1
          |
        1 | a: * -> nothing() -> <shunt>;
          | ^
          |
          = hint: the later one serves; give one of them another id

        error: route `a`: filter `nothing` is not known
         --> a.eskip:1:9
          |
        1 | a: * -> nothing() -> <shunt>;
          |         ^^^^^^^

        2 errors in 1 file
        exit 1
    "#]],
    );
}

#[test]
fn services_are_any_unless_they_are_named() {
    let routes = "a: * -> \"service://crat\";";
    check(
        "check",
        routes,
        expect![[r#"
        1 route is good
        exit 0
    "#]],
    );
    check(
        "check --service cart --service web",
        routes,
        expect![[r#"
        --
        error: route `a`: `crat` is no service of the manifest
         --> <stdin>:1:9
          |
        1 | a: * -> "service://crat";
          |         ^^^^^^^^^^^^^^^^
          |
          = hint: did you mean `cart`?

        1 error in 1 file
        exit 1
    "#]],
    );
    check(
        "check --service crat",
        routes,
        expect![[r#"
        1 route is good
        exit 0
    "#]],
    );
}

#[test]
fn forwarding_and_trailing_slashes_are_as_in_the_gateway() {
    check(
        "check --ignore-trailing-slash",
        "a: Path(\"/a/\") -> <forward>;",
        expect![[r#"
        1 route is good
        exit 0
    "#]],
    );
}

#[test]
fn the_original_s_words_are_kept() {
    check(
        "check --compat-errors",
        "a: * -> <shnt>;",
        expect![[r#"
        --
        parse failed after token >, last route id: a, position 14: syntax error
        exit 1
    "#]],
    );
    check(
        "check --compat-errors - shop.eskip",
        "a: Path(\"/a\") && Path(\"/b\") -> <shunt>;",
        expect![[r#"
            --
            <stdin>: duplicate path tree predicate
            exit 1
        "#]],
    );
    check(
        "check --compat-errors",
        "a: Nope() -> <shunt>; b: * -> nope() -> <shunt>;",
        expect![[r#"
        --
        a: unknown_predicate: predicate "Nope" not found
        b: unknown_filter: filter `nope` is not known
        exit 1
    "#]],
    );
    check(
        "check --compat-errors",
        "a: * -> <shunt>; a: * -> <shunt>;",
        expect![[r#"
        exit 0
    "#]],
    );
    check(
        "check --compat-errors gone.eskip",
        "",
        expect![[r#"
        --
        error: `gone.eskip` is not there
        hint: name files of eskip, or `-` for standard input

        1 error in 1 file
        exit 1
    "#]],
    );
}

#[test]
fn files_that_can_not_be_read() {
    let desk = Desk::with(&[("shop.eskip", SHOP), ("latin.eskip", "")]);
    std::fs::write(desk.path("latin.eskip"), b"// caf\xe9\n").unwrap();
    std::fs::create_dir(desk.path("routes")).unwrap();
    expect![[r#"
        --
        error: `shop.eskp` is not there
        hint: did you mean `shop.eskip`?

        error: `latin.eskip` is not UTF-8 at byte 6
        hint: save it as UTF-8, or name a file of eskip

        error: `routes` is a folder
        hint: name its files: `routes/*.eskip`

        error: `nothing.at/all` is not there
        hint: name files of eskip, or `-` for standard input

        error: standard input is named twice
        hint: it can be read once only: name a file in one place

        5 errors in 5 files
        exit 1
    "#]]
    .assert_eq(&desk.run("check shop.eskp latin.eskip routes nothing.at/all - -", "* -> <shunt>"));
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    check(
        "check --compat",
        "",
        expect![[r#"
        --
        error: unexpected argument '--compat' found

          tip: a similar argument exists: '--compat-errors'

        Usage: tombolo routes check --compat-errors [FILES]...

        For more information, try '--help'.
        exit 2
    "#]],
    );
    check(
        "chekc",
        "",
        expect![[r#"
        --
        error: unrecognized subcommand 'chekc'

          tip: a similar subcommand exists: 'check'

        Usage: tombolo routes <COMMAND>

        For more information, try '--help'.
        exit 2
    "#]],
    );
}
