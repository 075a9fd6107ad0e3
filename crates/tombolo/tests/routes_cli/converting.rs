//! `tombolo routes json`: to the JSON form and back.

use super::desk::{Desk, SHOP, check, expect};

#[test]
fn eskip_becomes_the_json_form_in_the_original_s_order() {
    check(
        "json shop.eskip",
        "",
        expect![[r#"
        [{"id":"cart","backend":{"type":"network","address":"http://127.0.0.1:8080"},"predicates":[{"name":"Method","args":["GET"]},{"name":"Path","args":["/cart/:id"]}],"filters":[{"name":"setRequestHeader","args":["X-From","gateway"]}]},{"id":"old","backend":{"type":"shunt"},"predicates":[{"name":"PathSubtree","args":["/basket"]}],"filters":[{"name":"redirectTo","args":[301,"/cart"]}]}]
        exit 0
    "#]],
    );
    check(
        "json --pretty",
        "a: Path(\"/a\") -> status(200) -> <shunt>;",
        expect![[r#"
        [
          {
            "id": "a",
            "backend": {
              "type": "shunt"
            },
            "predicates": [
              {
                "name": "Path",
                "args": [
                  "/a"
                ]
              }
            ],
            "filters": [
              {
                "name": "status",
                "args": [
                  200
                ]
              }
            ]
          }
        ]
        exit 0
    "#]],
    );
    check(
        "json",
        "",
        expect![[r#"
        []
        exit 0
    "#]],
    );
}

#[test]
fn json_becomes_eskip_and_is_the_same_again() {
    let desk = Desk::with(&[("shop.eskip", SHOP)]);
    let json = desk.run("json shop.eskip", "").replace("exit 0\n", "");
    std::fs::write(desk.path("shop.json"), &json).unwrap();
    let eskip = desk.run("json --to eskip shop.json", "").replace("exit 0\n", "");
    expect![[r#"
        cart: Path("/cart/:id") && Method("GET")
          -> setRequestHeader("X-From", "gateway")
          -> "http://127.0.0.1:8080";

        old: PathSubtree("/basket")
          -> redirectTo(301, "/cart")
          -> <shunt>;
    "#]]
    .assert_eq(&eskip);
    assert_eq!(desk.run("json", &eskip).replace("exit 0\n", ""), json);
    expect![[r#"
        exit 0
    "#]]
    .assert_eq(&desk.run("diff shop.eskip -", &eskip));
}

#[test]
fn mistakes_of_form_are_told_with_the_remedy() {
    check(
        "json",
        "[{\"id\":\"a\"}]",
        expect![[r#"
        --
        error: unexpected `[`
         --> <stdin>:1:1
          |
        1 | [{"id":"a"}]
          | ^
          |
          = hint: this is JSON already; `--to eskip` reads it

        1 error in 1 file
        exit 1
    "#]],
    );
    check(
        "json --to eskip",
        "a: * -> <shunt>;",
        expect![[r#"
        --
        error: expected value
         --> <stdin>:1:1
          |
        1 | a: * -> <shunt>;
          | ^
          |
          = hint: with `--to eskip` JSON is read, not written

        1 error in 1 file
        exit 1
    "#]],
    );
    check(
        "json --to eskip",
        "[{\"id\":\"a\",\"backend\":{\"type\":\"shnt\"}}]",
        expect![[r#"
        --
        error: unsupported backend type: `shnt`; there are `network`, `shunt`, `loopback`, `dynamic`, `forward` and `lb`
         --> <stdin>:1:38
          |
        1 | [{"id":"a","backend":{"type":"shnt"}}]
          |                                      ^

        1 error in 1 file
        exit 1
    "#]],
    );
    check(
        "json --to yaml",
        "",
        expect![[r#"
        --
        error: invalid value 'yaml' for '--to <TO>'
          [possible values: json, eskip]

        For more information, try '--help'.
        exit 2
    "#]],
    );
}

#[test]
fn what_eskip_can_not_say_is_told_and_not_written() {
    check(
        "json --to eskip",
        r#"[{"id":"my-route","backend":{"type":"shunt"}},{"backend":{"type":"shunt"}},
            {"id":"c","backend":{"type":"lb"}},{"id":"good","backend":{"type":"shunt"}}]"#,
        expect![[r#"
            --
            error: route 1 `my-route` can't be written in eskip: the name `my-route` has a `-`
            hint: names have letters, digits and `_` only: `my_route`

            error: route 2 can't be written in eskip: it has no id
            hint: give it an "id": only a lone route may be without

            error: route 3 `c` can't be written in eskip: expected an address in quotes, found `>`
            hint: a balanced backend is written `<roundRobin, "http://a", "http://b">`

            3 errors
            exit 1
        "#]],
    );
}
