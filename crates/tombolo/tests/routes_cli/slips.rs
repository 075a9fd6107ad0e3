//! What everybody gets wrong in the first days with eskip, and word for word what `check` says of it.

use super::desk::{expect, mistake};

#[test]
fn mistakes_that_everybody_makes() {
    mistake(
        "a: Path('/a') -> <shunt>;",
        expect![[r#"
        --
        error: unexpected `'`
         --> a.eskip:1:9
          |
        1 | a: Path('/a') -> <shunt>;
          |         ^
          |
          = hint: strings stand in double quotes: `"text"`

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "a: Path(\"/a\") -> http://127.0.0.1:80;",
        expect![[r#"
        --
        error: the address `http://127.0.0.1:80` has no quotes
         --> a.eskip:1:18
          |
        1 | a: Path("/a") -> http://127.0.0.1:80;
          |                  ^^^^^^^^^^^^^^^^^^^
          |
          = hint: write `"http://127.0.0.1:80"`

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "a: Path(\"/a\") -> <shunt>\nb: * -> <shunt>;",
        expect![[r#"
        --
        error: `;` is missing between route `a` and route `b`
         --> a.eskip:1:24
          |
        1 | a: Path("/a") -> <shunt>
          |                        ^
          |
          = hint: each route ends with `;`

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "my-route: * -> <shunt>;",
        expect![[r#"
        --
        error: the name `my-route` has a `-`
         --> a.eskip:1:1
          |
        1 | my-route: * -> <shunt>;
          | ^^^^^^^^
          |
          = hint: names have letters, digits and `_` only: `my_route`

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "a: Path(\"/a\") -> setPath(\"/b) -> <shunt>;\n",
        expect![[r#"
        --
        error: the string that begins here has no end on its line
         --> a.eskip:1:26
          |
        1 | a: Path("/a") -> setPath("/b) -> <shunt>;
          |                          ^^^^^^^^^^^^^^^^
          |
          = hint: close it with `"`; inside a string, write `"` as `\"`

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "a: Path(\"/a\") || Path(\"/b\") -> <shunt>;",
        expect![[r#"
        --
        error: unexpected `|`
         --> a.eskip:1:15
          |
        1 | a: Path("/a") || Path("/b") -> <shunt>;
          |               ^
          |
          = hint: there is no `or`: write two routes with the same backend

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "a: Path(\"/a\") && PathSubtree(\"/b\") -> <shunt>;",
        expect![[r#"
        --
        error: route `a`: `PathSubtree("/b")` is a second path of the route
         --> a.eskip:1:18
          |
        1 | a: Path("/a") && PathSubtree("/b") -> <shunt>;
          |                  ^^^^^^^^^^^
          |
          = hint: a route has at most one `Path` or `PathSubtree`; write two routes, or `PathRegexp`

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "a: Path(\"/a*\") -> <shunt>;",
        expect![[r#"
        --
        error: route `a`: predicate `Path`: a wildcard must fill its segment, it can't stand in the middle of `a*`
         --> a.eskip:1:9
          |
        1 | a: Path("/a*") -> <shunt>;
          |         ^^^^^
          |
          = hint: it is written `Path(path)`

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "a: Host(/[/) -> <shunt>;",
        expect![[r#"
        --
        error: the regular expression that begins here has no end on its line
         --> a.eskip:1:9
          |
        1 | a: Host(/[/) -> <shunt>;
          |         ^^^^^^^^^^^^^^^^
          |
          = hint: close it with `/`, or write a path in quotes: `"/cart"`

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "a: * -> ratelimit(\"many\", \"1m\") -> <shunt>;",
        expect![[r#"
        --
        error: route `a`: filter `ratelimit`: argument 1 (requests) must be a number, not a string
         --> a.eskip:1:19
          |
        1 | a: * -> ratelimit("many", "1m") -> <shunt>;
          |                   ^^^^^^
          |
          = hint: it is written `ratelimit(max, window[, code])`

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "a: * -> backendTimeout(\"5\") -> <shunt>;",
        expect![[r#"
        --
        error: route `a`: filter `backendTimeout`: argument 1 (timeout): `5` is not a duration: a unit is missing, such as `s` or `ms`
         --> a.eskip:1:24
          |
        1 | a: * -> backendTimeout("5") -> <shunt>;
          |                        ^^^
          |
          = hint: it is written `backendTimeout(duration)`

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "a: * -> <rundRobin, \"http://a\", \"http://b\">;",
        expect![[r#"
        --
        error: route `a`: `rundRobin` is no way to balance load, did you mean `roundRobin`?
         --> a.eskip:1:9
          |
        1 | a: * -> <rundRobin, "http://a", "http://b">;
          |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

        1 error in 1 file
        exit 1
    "#]],
    );
    mistake(
        "a: * -> \"127.0.0.1:8080\";",
        expect![[r#"
            --
            error: route `a`: `127.0.0.1:8080` is no backend address: it must begin with http://, https:// or h2c://
             --> a.eskip:1:9
              |
            1 | a: * -> "127.0.0.1:8080";
              |         ^^^^^^^^^^^^^^^^

            1 error in 1 file
            exit 1
        "#]],
    );
    mistake(
        "* -> <shunt>;",
        expect![[r#"
        --
        error: unexpected `;` behind a route without an id
         --> a.eskip:1:13
          |
        1 | * -> <shunt>;
          |             ^
          |
          = hint: leave the `;` out, or give the route an id: `all: ...;`

        1 error in 1 file
        exit 1
    "#]],
    );
}
