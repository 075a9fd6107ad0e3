//! `tombolo routes diff`: what is different for requests.

use super::desk::{Desk, Expect, expect};

const OLD: &str = "a: Path(\"/a\") && Method(\"GET\") -> setPath(\"/x\") -> status(200) -> <shunt>;
b: * -> \"http://b\";
c: Header(\"A\", \"1\") && Path(\"/c\") -> <\"http://c1\", \"http://c2\">;
";
const NEW: &str = "// another order, another form
c: Path(\"/c\") && Header(\"A\", \"1\")
  -> <\"http://c2\", \"http://c1\">;
a: Path(\"/a\") && Method(\"POST\") && Host(/x/) -> setPath(\"/y\") -> flowId() -> status(200) -> <loopback>;
d: * -> <shunt>;
";

fn compare(line: &str, old: &str, new: &str, expected: Expect) {
    expected.assert_eq(&Desk::with(&[("old.eskip", old), ("new.eskip", new)]).run(line, ""));
}

#[test]
fn form_and_order_make_no_difference_and_the_rest_is_shown_part_by_part() {
    compare(
        "diff old.eskip new.eskip",
        OLD,
        NEW,
        expect![[r#"
            ~ a: predicates, filters, backend
              - Method("GET")
              + Host("x")
              + Method("POST")
              - setPath("/x")
              + setPath("/y")
              + flowId()
                status(200)
              - <shunt>
              + <loopback>
            - b: * -> "http://b"
            + d: * -> <shunt>
            exit 1
        "#]],
    );
    compare(
        "diff --json old.eskip new.eskip",
        OLD,
        NEW,
        expect![[r#"
            [
              {
                "change": "changed",
                "id": "a",
                "parts": [
                  "predicates",
                  "filters",
                  "backend"
                ],
                "old": "Path(\"/a\") && Method(\"GET\") -> setPath(\"/x\") -> status(200) -> <shunt>",
                "new": "Path(\"/a\") && Host(/x/) && Method(\"POST\") -> setPath(\"/y\") -> flowId() -> status(200) -> <loopback>"
              },
              {
                "change": "removed",
                "id": "b",
                "old": "* -> \"http://b\""
              },
              {
                "change": "added",
                "id": "d",
                "new": "* -> <shunt>"
              }
            ]
            exit 1
        "#]],
    );
    compare(
        "diff old.eskip old.eskip",
        OLD,
        NEW,
        expect![[r#"
            exit 0
        "#]],
    );
    compare(
        "diff --json old.eskip old.eskip",
        OLD,
        NEW,
        expect![[r#"
            []
            exit 0
        "#]],
    );
}

#[test]
fn a_lone_route_is_compared_with_a_lone_route() {
    compare(
        "diff old.eskip new.eskip",
        "* -> <shunt>",
        "* -> <loopback>",
        expect![[r#"
            ~ (without an id): backend
              - <shunt>
              + <loopback>
            exit 1
        "#]],
    );
}

#[test]
fn what_can_not_be_compared_ends_with_2() {
    compare(
        "diff old.eskip gone.eskip",
        OLD,
        NEW,
        expect![[r#"
                --
                error: `gone.eskip` is not there
                hint: name files of eskip, or `-` for standard input

                1 error in 1 file
                exit 2
            "#]],
    );
    compare(
        "diff old.eskip new.eskip",
        OLD,
        "a: * -> <shnt>;",
        expect![[r#"
            --
            error: there is no backend `<shnt>`
             --> new.eskip:1:10
              |
            1 | a: * -> <shnt>;
              |          ^^^^
              |
              = hint: did you mean `<shunt>`?

            1 error in 1 file
            exit 2
        "#]],
    );
    compare(
        "diff - -",
        OLD,
        NEW,
        expect![[r#"
            --
            error: standard input is named twice
            hint: it can be read once only: name a file in one place

            1 error in 1 file
            exit 2
        "#]],
    );
    compare(
        "diff old.eskip",
        OLD,
        NEW,
        expect![[r#"
            --
            error: the following required arguments were not provided:
              <NEW>

            Usage: tombolo routes diff <OLD> <NEW>

            For more information, try '--help'.
            exit 2
        "#]],
    );
}

#[test]
fn an_id_that_stands_twice_is_warned_of() {
    compare(
        "diff old.eskip new.eskip",
        "a: * -> <shunt>;",
        "a: * -> <loopback>; a: * -> <shunt>;",
        expect![[r#"
                --
                warning: the id `a` is taken by the route on line 1
                 --> new.eskip:1:21
                  |
                1 | a: * -> <loopback>; a: * -> <shunt>;
                  |                     ^
                  |
                  = hint: the later one serves, and is the one compared

                1 warning in 1 file
                exit 0
            "#]],
    );
}
