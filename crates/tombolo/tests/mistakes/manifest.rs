//! Mistakes within a manifest, and within the routes of one.

use crate::check;
use crate::support::Folder;
use expect_test::expect;

#[test]
fn a_misspelt_key() {
    check(
        "servces:\n  web:\n    run: ./web\n",
        expect![[r#"
        error: unknown key `servces` at the top level
         --> tombolo.yaml:1:1
          |
        1 | servces:
          | ^^^^^^^
          |
          = hint: did you mean `services`?

        1 error
        exit 1
    "#]],
    );
    check(
        "services:\n  web:\n    run: ./web\n    helth: /health\n",
        expect![[r#"
        error: unknown key `helth` in service `web`
         --> tombolo.yaml:4:5
          |
        4 |     helth: /health
          |     ^^^^^
          |
          = hint: did you mean `health`?

        1 error
        exit 1
    "#]],
    );
}

#[test]
fn a_value_of_the_wrong_kind() {
    check(
        "services:\n  web:\n    run: ./web\n    replicas: many\n",
        expect![[r#"
        error: `replicas` of service `web` must be a whole number from 1 to 64, found the text `many`
         --> tombolo.yaml:4:15
          |
        4 |     replicas: many
          |               ^^^^
          |
          = hint: for example `replicas: 3`

        1 error
        exit 1
    "#]],
    );
    check(
        "services:\n  web:\n    run: { a: b }\n",
        expect![[r#"
        error: `run` of service `web` must be a command: a text for the shell, or a list of the program and its arguments, found a map
         --> tombolo.yaml:3:10
          |
        3 |     run: { a: b }
          |          ^^^^^^^^
          |
          = hint: for example `run: npm start`

        1 error
        exit 1
    "#]],
    );
    check(
        "services: [web, cart]\n",
        expect![[r#"
        error: `services` must be a map of services by their names, found a list
         --> tombolo.yaml:1:11
          |
        1 | services: [web, cart]
          |           ^^^^^^^^^^^
          |
          = hint: for example `services: {web: {run: npm start}}`

        1 error
        exit 1
    "#]],
    );
}

#[test]
fn a_service_nobody_declared() {
    let services = "services:\n  web:\n    run: ./web\n    calls: [crat]\n  cart:\n    run: ./cart\n";
    check(
        services,
        expect![[r#"
        error: `calls` of service `web` names `crat`, which is no service
         --> tombolo.yaml:4:13
          |
        4 |     calls: [crat]
          |             ^^^^
          |
          = hint: did you mean `cart`?

        1 error
        exit 1
    "#]],
    );
    check(
        &services.replace("calls", "depends_on"),
        expect![[r#"
        error: `depends_on` of service `web` names `crat`, which is no service
         --> tombolo.yaml:4:18
          |
        4 |     depends_on: [crat]
          |                  ^^^^
          |
          = hint: did you mean `cart`?

        1 error
        exit 1
    "#]],
    );
    check(
        "services:\n  cart:\n    run: ./cart\nroutes: |\n  all: * -> \"service://crat\";\n",
        expect![[r#"
            error: route `all`: `crat` is no service of the manifest
             --> tombolo.yaml:5:13
              |
            5 |   all: * -> "service://crat";
              |             ^^^^^^^^^^^^^^^^
              |
              = hint: did you mean `cart`?

            1 error
            exit 1
        "#]],
    );
}

#[test]
fn services_that_wait_for_each_other() {
    check(
        "services:\n  web:\n    run: ./web\n    depends_on: [cart]\n  cart:\n    run: ./cart\n    depends_on: [web]\n",
        expect![[r#"
            error: `depends_on` goes in a circle: web -> cart -> web
             --> tombolo.yaml:7:18
              |
            7 |     depends_on: [web]
              |                  ^^^
              |
              = hint: none of them could ever start: remove one of these dependencies; a service may name another in `calls` without waiting for it

            1 error
            exit 1
        "#]],
    );
}

#[test]
fn files_that_are_not_there() {
    check(
        "routes: shop.eskip\n",
        expect![[r#"
        error: routes file `shop.eskip` is not there
         --> tombolo.yaml:1:9
          |
        1 | routes: shop.eskip
          |         ^^^^^^^^^^
          |
          = hint: paths begin at `DIR`

        1 error
        exit 1
    "#]],
    );
    check(
        "services:\n  web:\n    run: ./web\n    dir: wbe\n",
        expect![[r#"
            error: `dir` of service `web` names `wbe`, which is not there
             --> tombolo.yaml:4:10
              |
            4 |     dir: wbe
              |          ^^^
              |
              = hint: paths begin at `DIR`

            1 error
            exit 1
        "#]],
    );
    check(
        "services:\n  web:\n    run: ./web\n    env_file: .env\n",
        expect![[r#"
            error: `env_file` of service `web` names `.env`, which is not there
             --> tombolo.yaml:4:15
              |
            4 |     env_file: .env
              |               ^^^^
              |
              = hint: paths begin at `DIR`

            1 error
            exit 1
        "#]],
    );
}

#[test]
fn a_slip_in_inline_routes_points_into_the_manifest() {
    check(
        "name: shop\nroutes: |\n  good: Path(\"/a\") -> <shunt>;\n  bad: Path(\"/b\" -> <shunt>;\n",
        expect![[r#"
            error: expected `,` or `)`, found `->`
             --> tombolo.yaml:4:16
              |
            4 |   bad: Path("/b" -> <shunt>;
              |                ^
              |
              = hint: close the arguments with `)`

            1 error
            exit 1
        "#]],
    );
    check(
        "name: shop\nroutes: 'all: * -> stauts(200) -> <shunt>'\n",
        expect![[r#"
        error: route `all`: filter `stauts` is not known
         --> tombolo.yaml:2:20
          |
        2 | routes: 'all: * -> stauts(200) -> <shunt>'
          |                    ^^^^^^
          |
          = hint: did you mean `status`?

        1 error
        exit 1
    "#]],
    );
    check(
        "routes:\n  - |\n    a: Path(\"/a\") -> <shunt>;\n  - |\n    b: Path(\"/b\") -> status(\"teapot\") -> <shunt>;\n",
        expect![[r#"
            error: route `b`: filter `status`: argument 1 (status) must be a number, not a string
             --> tombolo.yaml:5:29
              |
            5 |     b: Path("/b") -> status("teapot") -> <shunt>;
              |                             ^^^^^^^^
              |
              = hint: it is written `status(code)`

            1 error
            exit 1
        "#]],
    );
}

#[test]
fn a_slip_in_a_routes_file_points_into_it() {
    let folder = Folder::with("routes: shop.eskip\n");
    folder.write("shop.eskip", "// the shop\nall: *\n  -> setPath(\"/x\"\n  -> <shunt>;\n");
    expect![[r#"
        error: expected `,` or `)`, found `->`
         --> shop.eskip:3:17
          |
        3 |   -> setPath("/x"
          |                 ^
          |
          = hint: close the arguments with `)`

        1 error
        exit 1
    "#]]
    .assert_eq(&folder.run(&["check"]));
    folder.write("shop.eskip", "// the shop\nall: *\n  -> setQurey(\"a\", \"b\")\n  -> <shunt>;\n");
    expect![[r#"
        error: route `all`: filter `setQurey` is not known
         --> shop.eskip:3:6
          |
        3 |   -> setQurey("a", "b")
          |      ^^^^^^^^
          |
          = hint: did you mean `setQuery`?

        1 error
        exit 1
    "#]]
    .assert_eq(&folder.run(&["check"]));
}

#[test]
fn two_routes_of_one_id() {
    check(
        "routes: |\n  a: Path(\"/a\") -> <shunt>;\n  a: Path(\"/b\") -> <shunt>;\n",
        expect![[r#"
            error: route `a`: route id `a` is used again at tombolo.yaml:3:3
             --> tombolo.yaml:2:3
              |
            2 |   a: Path("/a") -> <shunt>;
              |   ^
              |
              = hint: the later one serves; give one of them another id

            1 error
            exit 1
        "#]],
    );
}

#[test]
fn bad_filters_of_a_service() {
    check(
        "services:\n  web:\n    run: ./web\n    filters: rety(3)\n",
        expect![[r#"
            error: `filters` of service `web`: filter `rety` is not known
             --> tombolo.yaml:4:14
              |
            4 |     filters: rety(3)
              |              ^^^^
              |
              = hint: did you mean `retry`?

            1 error
            exit 1
        "#]],
    );
    check(
        "services:\n  web:\n    run: ./web\n    filters: retry(3\n",
        expect![[r#"
        error: expected `,` or `)`, found the end of the text
         --> tombolo.yaml:4:20
          |
        4 |     filters: retry(3
          |                    ^
          |
          = hint: close the arguments with `)`

        1 error
        exit 1
    "#]],
    );
}

#[test]
fn yaml_that_is_none() {
    check(
        "services:\n\tweb:\n\t\trun: ./web\n",
        expect![[r#"
        error: this line is indented with a tab
         --> tombolo.yaml:2:1
          |
        2 |     web:
          | ^^^^
          |
          = hint: YAML indents with spaces only: use two for each level

        1 error
        exit 1
    "#]],
    );
    check(
        "services:\n  web:\n    run: \"./web\n",
        expect![[r#"
        error: this quote is never closed
         --> tombolo.yaml:3:10
          |
        3 |     run: "./web
          |          ^
          |
          = hint: add the closing quote; inside single quotes write `''` for one, inside double quotes `\"`

        1 error
        exit 1
    "#]],
    );
    check(
        "",
        expect![[r#"
        warning: the manifest is empty: nothing runs here and no route answers
         --> tombolo.yaml:1:1
          |
        1 |
          | ^
          |
          = hint: `tombolo init` writes a first one

        1 warning
        exit 0
    "#]],
    );
}

#[test]
fn a_flag_that_is_wrong_or_has_a_key_of_its_own() {
    let with = |flags: &str| format!("routes: '* -> <shunt>'\ngateway:\n  flags:\n{flags}");
    check(
        &with("    - -proxy-preserve-host\n    - -pasive-health-check=period=1s\n"),
        expect![[r#"
        error: unexpected argument '--pasive-health-check' found
         --> tombolo.yaml:5:7
          |
        5 |     - -pasive-health-check=period=1s
          |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: a similar argument exists: '--passive-health-check'

        1 error
        exit 1
    "#]],
    );
    check(
        &with("    - -passive-health-check=period=soon\n"),
        expect![[r#"
        error: invalid value 'period=soon' for '--passive-health-check <SETTINGS>': `soon` is not a duration: write numbers with units, such as `1m30s` or `250ms`
         --> tombolo.yaml:4:7
          |
        4 |     - -passive-health-check=period=soon
          |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: `tombolo gateway --help` lists the flags

        1 error
        exit 1
    "#]],
    );
    check(
        &with("    - -address=:9999\n    - -proxy-preserve-host\n    - --workers=2\n"),
        expect![[r#"
        error: `address` is no flag of a manifest
         --> tombolo.yaml:4:7
          |
        4 |     - -address=:N
          |       ^^^^^^^^^^^^^^
          |
          = hint: that is the key `address` beside `flags`

        error: `workers` is no flag of a manifest
         --> tombolo.yaml:6:7
          |
        6 |     - --workers=2
          |       ^^^^^^^^^^^
          |
          = hint: that is the key `workers` beside `flags`

        2 errors
        exit 1
    "#]],
    );
    check(
        &with("    - -enable-prometheus-metrics\n    - -kubernetes\n"),
        expect![[r#"
        error: Skipper's flag `-kubernetes` is not here
         --> tombolo.yaml:5:7
          |
        5 |     - -kubernetes
          |       ^^^^^^^^^^^
          |
          = hint: Tombolo does not read Kubernetes' resources: a routes server (Skipper's RouteSRV) can, and --routes-urls reads from that

        1 error
        exit 1
    "#]],
    );
    check(
        &with("    - passive-health-check=period=1s\n"),
        expect![[r#"
        error: unexpected argument 'passive-health-check=period=1s' found
         --> tombolo.yaml:4:7
          |
        4 |     - passive-health-check=period=1s
          |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: `tombolo gateway --help` lists the flags

        1 error
        exit 1
    "#]],
    );
    check(
        &with("    - -insecure\n    - -enable-proxy-protocol\n"),
        expect![[r#"
        error: --enable-proxy-protocol would close every connection
         --> tombolo.yaml:5:7
          |
        5 |     - -enable-proxy-protocol
          |       ^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: name the load balancers' networks with --proxy-allow-cidrs

        1 error
        exit 1
    "#]],
    );
    check(
        &with("    - -proxy-allow-cidrs=10.0.0.0/8\n"),
        expect![[r#"
        error: the following required arguments were not provided: --enable-proxy-protocol
         --> tombolo.yaml:4:7
          |
        4 |     - -proxy-allow-cidrs=10.0.0.0/8
          |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: `tombolo gateway --help` lists the flags

        1 error
        exit 1
    "#]],
    );
    check(
        &with("    - -insecure\n    - -default-filters-append=setPth(\"/\") ->\n"),
        expect![[r#"
        error: --default-filters-append: expected a filter, found the end of the text
         --> tombolo.yaml:5:7
          |
        5 |     - -default-filters-append=setPth("/") ->
          |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: a filter is a name with arguments: `setPath("/")`

        1 error
        exit 1
    "#]],
    );
    check(
        &with("    - -backend-roots=ca.pem\n"),
        expect![[r#"
        error: `DIR/ca.pem` can't be read as PEM certificates: I/O error: No such file or directory (os error 2)
         --> tombolo.yaml:4:7
          |
        4 |     - -backend-roots=ca.pem
          |       ^^^^^^^^^^^^^^^^^^^^^

        1 error
        exit 1
    "#]],
    );
    check(
        &with("    - -default-filters-append=setPth(\"/\")\n    - -suppress-route-update-logs\n"),
        expect![[r#"
            warning: -suppress-route-update-logs: the gateway writes what happens to standard error, one line each
             --> tombolo.yaml:5:7
              |
            5 |     - -suppress-route-update-logs
              |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^

            error: filter `setPth` is not known
             --> tombolo.yaml:1:10
              |
            1 | routes: '* -> <shunt>'
              |          ^^^^^^
              |
              = hint: did you mean `setPath`?

            1 error, 1 warning
            exit 1
        "#]],
    );
}
