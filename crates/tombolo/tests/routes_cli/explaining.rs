//! `tombolo routes explain`: who takes a request, and what kept the others from it.

use super::desk::{Desk, Expect, check, expect, many};

const ROUTES: &str = r#"
    cart: Path("/cart/:id") && Method("GET") -> "http://cart";
    beta: Path("/cart/:id") && Header("X-Beta", "true") && Weight(10) -> "http://beta";
    share: Path("/share") && Traffic(0.3) -> "http://share";
    late: Path("/late") && After("2026-12-24T18:00:00Z") -> <shunt>;
    inner: Path("/inner") && ClientIP("10.0.0.0/8") -> <shunt>;
    big: Path("/big") && ContentLengthBetween(1000, 2000) -> <shunt>;
    admin: Host(/^admin[.]/) && QueryParam("as", "^root$") -> <shunt>;
    files: Path("/files/*rest") -> <shunt>;
"#;

fn explain(request: &str, expected: Expect) {
    check(&format!("explain {request}"), ROUTES, expected);
}

#[test]
fn the_winner_its_runners_up_and_who_refused_the_others() {
    explain(
        "GET /cart/7 -H 'x-beta: true'",
        expect![[r#"
        GET /cart/7 takes beta
          Path("/cart/:id") && Header("X-Beta", "true") && Weight(10) -> "http://beta"
          id = 7

        would serve if it were not there, in this order
          ROUTE  WEIGHT  PATH
          cart   1       Path("/cart/:id")

        refused by
          ROUTE  WEIGHT  PREDICATE
          admin  2       Host("^admin[.]")
          share  1       Path("/share")
          late   1       Path("/late")
          inner  1       Path("/inner")
          big    1       Path("/big")
          files  0       Path("/files/*rest")
        exit 0
    "#]],
    );
    explain(
        "GET /cart/7",
        expect![[r#"
        GET /cart/7 takes cart
          Path("/cart/:id") && Method("GET") -> "http://cart"
          id = 7

        refused by
          ROUTE  WEIGHT  PREDICATE
          beta   11      Header("X-Beta", "true")
          admin  2       Host("^admin[.]")
          share  1       Path("/share")
          late   1       Path("/late")
          inner  1       Path("/inner")
          big    1       Path("/big")
          files  0       Path("/files/*rest")
        exit 0
    "#]],
    );
    explain(
        "get 'https://u:p@shop.example/files/a b/\u{e9}?x=1'",
        expect![[r#"
        GET /files/a b/é takes files
          Path("/files/*rest") -> <shunt>
          rest = /a b/é

        refused by
          ROUTE  WEIGHT  PREDICATE
          admin  2       Host("^admin[.]")
          cart   1       Path("/cart/:id")
          beta   11      Path("/cart/:id")
          share  1       Path("/share")
          late   1       Path("/late")
          inner  1       Path("/inner")
          big    1       Path("/big")
        exit 0
    "#]],
    );
    explain(
        "GET http://admin.example:8080/nothing?as=root",
        expect![[r#"
        GET /nothing takes admin
          Host(/^admin[.]/) && QueryParam("as", "^root$") -> <shunt>

        refused by
          ROUTE  WEIGHT  PREDICATE
          cart   1       Path("/cart/:id")
          beta   11      Path("/cart/:id")
          share  1       Path("/share")
          late   1       Path("/late")
          inner  1       Path("/inner")
          big    1       Path("/big")
          files  0       Path("/files/*rest")
        exit 0
    "#]],
    );
    explain(
        "GET /x?as=root -H 'Host: admin.example'",
        expect![[r#"
        GET /x takes admin
          Host(/^admin[.]/) && QueryParam("as", "^root$") -> <shunt>

        refused by
          ROUTE  WEIGHT  PREDICATE
          cart   1       Path("/cart/:id")
          beta   11      Path("/cart/:id")
          share  1       Path("/share")
          late   1       Path("/late")
          inner  1       Path("/inner")
          big    1       Path("/big")
          files  0       Path("/files/*rest")
        exit 0
    "#]],
    );
}

#[test]
fn everything_a_predicate_may_ask_can_be_given() {
    let first = |request: &str| {
        let said = Desk::with(&[]).run(&format!("explain {request}"), ROUTES);
        said.lines().next().unwrap().to_owned()
    };
    for (request, expected) in [
        ("GET /share --random 0.29", "GET /share takes share"),
        ("GET /share --random 0.3", "no route for GET /share: all 8 refuse"),
        ("GET /late --time 2026-12-24T19:00:00+01:00", "GET /late takes late"),
        ("GET /late --time 1798135199", "no route for GET /late: all 8 refuse"),
        ("GET /late --time 1798135200", "GET /late takes late"),
        ("GET /inner --remote 10.1.2.3", "GET /inner takes inner"),
        ("GET /inner", "no route for GET /inner: all 8 refuse"),
        ("POST /big -H 'Content-Length: 1500'", "POST /big takes big"),
        ("POST /big", "no route for POST /big: all 8 refuse"),
        ("GET /share/ --ignore-trailing-slash --random 0", "GET /share/ takes share"),
    ] {
        assert_eq!(first(request), expected, "{request}");
    }
}

#[test]
fn where_none_matches_the_nearest_are_shown() {
    explain(
        "GET /crat/7",
        expect![[r#"
            no route for GET /crat/7: all 8 refuse

            refused by
              ROUTE  WEIGHT  PREDICATE
              admin  2       Host("^admin[.]")
              cart   1       Path("/cart/:id")
              beta   11      Path("/cart/:id")
              share  1       Path("/share")
              late   1       Path("/late")
              inner  1       Path("/inner")
              big    1       Path("/big")
              files  0       Path("/files/*rest")

            hint: did you mean `/cart/7`? It is a path of `cart`
            exit 1
        "#]],
    );
    explain(
        "GET /big/",
        expect![[r#"
            no route for GET /big/: all 8 refuse

            refused by
              ROUTE  WEIGHT  PREDICATE
              admin  2       Host("^admin[.]")
              cart   1       Path("/cart/:id")
              beta   11      Path("/cart/:id")
              share  1       Path("/share")
              late   1       Path("/late")
              inner  1       Path("/inner")
              big    1       Path("/big")
              files  0       Path("/files/*rest")

            hint: did you mean `/big`? It is a path of `big`
            exit 1
        "#]],
    );
    explain(
        "GET /files",
        expect![[r#"
        no route for GET /files: all 8 refuse

        refused by
          ROUTE  WEIGHT  PREDICATE
          admin  2       Host("^admin[.]")
          cart   1       Path("/cart/:id")
          beta   11      Path("/cart/:id")
          share  1       Path("/share")
          late   1       Path("/late")
          inner  1       Path("/inner")
          big    1       Path("/big")
          files  0       Path("/files/*rest")
        exit 1
    "#]],
    );
    explain(
        "POST /cart/7",
        expect![[r#"
        no route for POST /cart/7: all 8 refuse

        refused by
          ROUTE  WEIGHT  PREDICATE
          beta   11      Header("X-Beta", "true")
          cart   1       Method("GET")
          admin  2       Host("^admin[.]")
          share  1       Path("/share")
          late   1       Path("/late")
          inner  1       Path("/inner")
          big    1       Path("/big")
          files  0       Path("/files/*rest")
        exit 1
    "#]],
    );
    check(
        "explain GET /",
        "// none\n",
        expect![[r#"
        no route for GET /: there are none
        exit 1
    "#]],
    );
}

#[test]
fn programs_read_it_as_json() {
    explain(
        "GET /cart/7 --json",
        expect![[r#"
            {
              "path": "/cart/7",
              "routes": 8,
              "winner": {
                "id": "cart",
                "weight": 1,
                "place": "Path(\"/cart/:id\")",
                "params": {
                  "id": "7"
                }
              },
              "runners_up": [],
              "refused": [
                {
                  "id": "beta",
                  "weight": 11,
                  "path_matches": true,
                  "predicate": "Header(\"X-Beta\", \"true\")",
                  "start": 95,
                  "end": 101
                },
                {
                  "id": "admin",
                  "weight": 2,
                  "path_matches": true,
                  "predicate": "Host(\"^admin[.]\")",
                  "start": 427,
                  "end": 431
                },
                {
                  "id": "share",
                  "weight": 1,
                  "path_matches": false,
                  "predicate": "Path(\"/share\")",
                  "start": 163,
                  "end": 167
                },
                {
                  "id": "late",
                  "weight": 1,
                  "path_matches": false,
                  "predicate": "Path(\"/late\")",
                  "start": 223,
                  "end": 227
                },
                {
                  "id": "inner",
                  "weight": 1,
                  "path_matches": false,
                  "predicate": "Path(\"/inner\")",
                  "start": 293,
                  "end": 297
                },
                {
                  "id": "big",
                  "weight": 1,
                  "path_matches": false,
                  "predicate": "Path(\"/big\")",
                  "start": 355,
                  "end": 359
                },
                {
                  "id": "files",
                  "weight": 0,
                  "path_matches": false,
                  "predicate": "Path(\"/files/*rest\")",
                  "start": 498,
                  "end": 502
                }
              ],
              "unlisted": 0
            }
            exit 0
        "#]],
    );
}

#[test]
fn routes_of_other_paths_are_shown_in_small_numbers() {
    let routes: String = many(150, |at| format!("r{at}: Path(\"/{at}\") -> <shunt>;"));
    check(
        "explain GET /7",
        &routes,
        expect![[r#"
        GET /7 takes r7
          Path("/7") -> <shunt>

        refused by
          ROUTE  WEIGHT  PREDICATE
          r0     0       Path("/0")
          r1     0       Path("/1")
          r2     0       Path("/2")
          r3     0       Path("/3")
          r4     0       Path("/4")
          r5     0       Path("/5")
          r6     0       Path("/6")
          r8     0       Path("/8")
          r9     0       Path("/9")
          r10    0       Path("/10")
          and 139 more (--all)
        exit 0
    "#]],
    );
    let all = Desk::with(&[]).run("explain GET /7 --all", &routes);
    assert_eq!((all.lines().count(), all.lines().rev().nth(1)), (107, Some("  and 49 more")), "{all}");
}

#[test]
fn files_are_named_behind_the_url_or_with_f() {
    check(
        "explain GET /basket shop.eskip",
        "",
        expect![[r#"
        GET /basket takes old
          PathSubtree("/basket") -> redirectTo(301, "/cart") -> <shunt>
          * = /

        refused by
          ROUTE  WEIGHT  PREDICATE
          cart   1       Path("/cart/:id")
        exit 0
    "#]],
    );
    check(
        "explain GET /basket -f shop.eskip -f -",
        "more: Path(\"/basket\") -> <shunt>;",
        expect![[r#"
        GET /basket takes old
          PathSubtree("/basket") -> redirectTo(301, "/cart") -> <shunt>
          * = /

        would serve if it were not there, in this order
          ROUTE  WEIGHT  PATH
          more   0       Path("/basket")

        refused by
          ROUTE  WEIGHT  PREDICATE
          cart   1       Path("/cart/:id")
        exit 0
    "#]],
    );
}

#[test]
fn bad_routes_are_told_and_the_others_explained() {
    check(
        "explain GET /a",
        "a: Path(\"/a\") -> <shunt>; b: Path(\"/b\") -> nope() -> <shunt>;",
        expect![[r#"
            GET /a takes a
              Path("/a") -> <shunt>
            --
            error: route `b`: filter `nope` is not known
             --> <stdin>:1:44
              |
            1 | a: Path("/a") -> <shunt>; b: Path("/b") -> nope() -> <shunt>;
              |                                            ^^^^

            1 error in 1 file; the other routes are explained

            exit 0
        "#]],
    );
}

#[test]
fn slips_on_the_command_line_are_told_with_the_remedy() {
    explain(
        "/cart/7 GET",
        expect![[r#"
        --
        error: invalid value '/cart/7' for '<METHOD>': the method comes first: `explain GET /cart`

        For more information, try '--help'.
        exit 2
    "#]],
    );
    explain(
        "GET cart/7",
        expect![[r#"
        --
        error: invalid value 'cart/7' for '<URL>': it is neither a path such as `/cart/7` nor a URL such as `http://cart/7`

        For more information, try '--help'.
        exit 2
    "#]],
    );
    explain(
        "GET /x --remote localhost",
        expect![[r#"
        --
        error: invalid value 'localhost' for '--remote <ADDRESS>': write an IP address, such as 192.0.2.7, without a port

        For more information, try '--help'.
        exit 2
    "#]],
    );
    explain(
        "GET /x --time tomorrow",
        expect![[r#"
        --
        error: invalid value 'tomorrow' for '--time <TIME>': write it like 2026-12-24T18:00:00Z, with the zone, or in seconds since 1970

        For more information, try '--help'.
        exit 2
    "#]],
    );
    explain(
        "GET /x --random 1",
        expect![[r#"
        --
        error: invalid value '1' for '--random <NUMBER>': write a number of at least 0 and below 1, such as 0.25

        For more information, try '--help'.
        exit 2
    "#]],
    );
    explain(
        "GET /x -H X-Beta",
        expect![[r#"
        --
        error: invalid value 'X-Beta' for '--header <HEADER>': write it as 'Name: value'

        For more information, try '--help'.
        exit 2
    "#]],
    );
    explain(
        "GET /x gone.eskip",
        expect![[r#"
        --
        error: `gone.eskip` is not there
        hint: name files of eskip, or `-` for standard input

        1 error in 1 file
        exit 1
    "#]],
    );
}
