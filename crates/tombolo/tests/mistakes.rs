//! The mistakes people make in their first days, and word for word what they are told. A text is good when it
//! names the file, the line, the cause and what to do.

mod support;

use expect_test::{Expect, expect};
use support::{Folder, taken};

/// What `tombolo check` says about a manifest.
fn check(manifest: &str, expected: Expect) {
    expected.assert_eq(&Folder::with(manifest).run(&["check"]));
}

/// What `tombolo` says when called so in an empty folder.
fn call(arguments: &[&str], expected: Expect) {
    expected.assert_eq(&Folder::new().run(arguments));
}

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
fn no_manifest() {
    call(
        &["check"],
        expect![[r#"
        error: no tombolo.yaml in `DIR`
        hint: `tombolo init` writes a first one; `tombolo up DIR` takes another folder
        exit 1
    "#]],
    );
    call(
        &["up"],
        expect![[r#"
        error: no tombolo.yaml in `DIR`
        hint: `tombolo init` writes a first one; `tombolo up DIR` takes another folder
        exit 1
    "#]],
    );
    call(
        &["up", "elsewhere"],
        expect![[r#"
        error: `elsewhere` is not there
        hint: give the folder of a tombolo.yaml, or the file itself
        exit 1
    "#]],
    );
    call(
        &["status"],
        expect![[r#"
        error: no `tombolo up` runs in `DIR`
        hint: start one, or name another folder with -C DIR
        exit 1
    "#]],
    );
    call(
        &["stop"],
        expect![[r#"
        error: no `tombolo up` runs in `DIR`
        hint: start one, or name another folder with -C DIR
        exit 1
    "#]],
    );
}

#[test]
fn a_command_that_is_none() {
    call(
        &["upp"],
        expect![[r#"
        error: unrecognized subcommand 'upp'

          tip: a similar subcommand exists: 'up'

        Usage: tombolo <COMMAND>

        For more information, try '--help'.
        exit 2
    "#]],
    );
    call(
        &["up", "--jsn"],
        expect![[r#"
        error: unexpected argument '--jsn' found

          tip: a similar argument exists: '--json'

        Usage: tombolo up --json [PATH]

        For more information, try '--help'.
        exit 2
    "#]],
    );
}

#[test]
fn init_where_a_manifest_is() {
    let folder = Folder::new();
    expect![[r#"
        wrote tombolo.yaml
        next: tombolo up
        exit 0
    "#]]
    .assert_eq(&folder.run(&["init"]));
    expect![[r#"
        good tombolo.yaml: 0 services, 1 route
        exit 0
    "#]]
    .assert_eq(&folder.run(&["check"]));
    expect![[r#"
        error: `tombolo.yaml` is there already
        hint: `tombolo check` says what is wrong with it, if anything is
        exit 1
    "#]]
    .assert_eq(&folder.run(&["init"]));
}

#[test]
fn nothing_runs_where_status_is_asked() {
    let folder = Folder::with("routes: 'all: * -> <shunt>'\n");
    expect![[r#"
        error: no `tombolo up` runs in `DIR`
        hint: start one, or name another folder with -C DIR
        exit 1
    "#]]
    .assert_eq(&folder.run(&["status"]));
    expect![[r#"
        error: no `tombolo up` runs in `DIR`
        hint: start one, or name another folder with -C DIR
        exit 1
    "#]]
    .assert_eq(&folder.run(&["logs"]));
    expect![[r#"
        error: no `tombolo up` runs in `DIR`
        hint: start one, or name another folder with -C DIR
        exit 1
    "#]]
    .assert_eq(&folder.run(&["restart", "web"]));
}

#[test]
fn a_gateway_with_bad_flags() {
    call(
        &["gateway"],
        expect![[r#"
        error: the gateway has no routes
        hint: give --routes-file FILE, --inline-routes ESKIP or --routes-urls URL
        exit 1
    "#]],
    );
    call(
        &["gateway", "-routes-flie=a"],
        expect![[r#"
        error: unexpected argument '--routes-flie' found

          tip: a similar argument exists: '--routes-file'

        Usage: tombolo gateway --routes-file <FILE>

        For more information, try '--help'.
        exit 2
    "#]],
    );
    call(
        &["gateway", "-routes-file", "a.eskip", "-address", "9090x"],
        expect![[r#"
        error: invalid value 'Nx' for '--address <ADDRESS>': `Nx` is no address: write it like `127.0.0.1:N` or `:N`

        For more information, try '--help'.
        exit 2
    "#]],
    );
    call(
        &["gateway", "-routes-file", "gone.eskip"],
        expect![[r#"
            error: routes file `gone.eskip` can't be read: No such file or directory (os error 2)
             |
             = hint: check the path; a relative one begins at the current folder or the manifest's

            error: the routes have errors, nothing was started
            hint: each source must be readable at the start; later its last good routes stay in force
            exit 1
        "#]],
    );
    call(
        &["gateway", "-inline-routes", "* -> <shunt>", "-read-timeout-server", "5 apples"],
        expect![[r#"
        error: invalid value '5 apples' for '--read-timeout-server <TIME>': `5 apples` is not a duration: ` apples` is no unit, use ns, us, ms, s, m or h

        For more information, try '--help'.
        exit 2
    "#]],
    );
    call(
        &["gateway", "-inline-routes", "* -> <shunt>", "-passive-health-check", "period=1s,min-request=1"],
        expect![[r#"
        error: invalid value 'period=1s,min-request=1' for '--passive-health-check <SETTINGS>': `min-request` is nothing passive health checks know, did you mean `min-requests`?

        For more information, try '--help'.
        exit 2
    "#]],
    );
    call(
        &["gateway", "-inline-routes", "* -> <shunt>", "-tls-cert", "a.pem"],
        expect![[r#"
        error: the following required arguments were not provided:
          --tls-key <FILE>

        Usage: tombolo gateway --tls-cert <FILE> --tls-key <FILE> --inline-routes <ESKIP>

        For more information, try '--help'.
        exit 2
    "#]],
    );
    call(
        &["gateway", "-inline-routes", "* -> <shunt>", "-tls-cert", "a.pem", "-tls-key", "b.pem"],
        expect![[r#"
            error: `a.pem` can't be read as PEM certificates: I/O error: No such file or directory (os error 2)
            exit 1
        "#]],
    );
    call(
        &["gateway", "-inline-routes", "* -> <shunt>", "-tls-cert", "a.pem,b.pem", "-tls-key", "b.pem"],
        expect![[r#"
            error: --tls-cert names 2, --tls-key 1
            hint: give a key for each certificate, in the same order
            exit 1
        "#]],
    );
    call(
        &["gateway", "-inline-routes", "* -> <shunt>", "-tls-min-version", "1.0"],
        expect![[r#"
        error: invalid value '1.0' for '--tls-min-version <VERSION>': TLS 1.0 is broken (RFC N) and not served; use 1.2 or 1.3

        For more information, try '--help'.
        exit 2
    "#]],
    );
    call(
        &["gateway", "-inline-routes", "* -> <shunt>", "-enable-proxy-protocol"],
        expect![[r#"
        error: --enable-proxy-protocol would close every connection
        hint: name the load balancers' networks with --proxy-allow-cidrs
        exit 1
    "#]],
    );
    call(
        &[
            "gateway",
            "-inline-routes",
            "* -> <shunt>",
            "-enable-proxy-protocol",
            "-proxy-allow-cidrs",
            "10.0.0.0/99",
        ],
        expect![[r#"
            error: `10.0.0.0/99` is neither a network such as `10.0.0.0/8` nor an address
            exit 1
        "#]],
    );
    call(
        &["gateway", "-inline-routes", "* -> <shunt>", "-edit-route", "pattern"],
        expect![[r#"
        error: --edit-route: `pattern` is not `/pattern/replacement/`
        hint: choose as the separator a character that stands in neither: `#Source[(](.*)[)]#ClientIP($1)#`
        exit 1
    "#]],
    );
    call(
        &["gateway", "-inline-routes", "* -> <shunt>", "-default-filters-append", "a("],
        expect![[r#"
        error: --default-filters-append: expected an argument or `)`, found the end of the text
        hint: close the arguments with `)`
        exit 1
    "#]],
    );
    call(
        &["gateway", "-inline-routes", "* -> <shunt>", "-forwarded-headers", "X-Real-Ip"],
        expect![[r#"
            error: `X-Real-Ip` is no header that --forwarded-headers can set
            hint: X-Forwarded-For, -Host, -Method, -Uri, -Proto and -Port are, and Forwarded
            exit 1
        "#]],
    );
    call(
        &["gateway", "-inline-routes", "* -> <shunt", "-address", "127.0.0.1:0"],
        expect![[r#"
            error: `>` is missing behind `<shunt`
             --> --inline-routes:1:7
              |
            1 | * -> <shunt
              |       ^^^^^

            error: the routes have errors, nothing was started
            hint: each source must be readable at the start; later its last good routes stay in force
            exit 1
        "#]],
    );
}

#[test]
fn a_port_that_somebody_has() {
    let (_held, port) = taken();
    let address = format!("127.0.0.1:{port}");
    let folder = Folder::new();
    let routes = ["-inline-routes", "* -> <shunt>"];
    expect![[r#"
        error: port N for the gateway is taken by `TEST` (pid N)
        hint: stop what listens there, or choose another address
        exit 1
    "#]]
    .assert_eq(&folder.run(&[&["gateway", "-address", &address][..], &routes].concat()));
    let support = ["gateway", "-address", "127.0.0.1:0", "-support-listener", &address];
    expect![[r#"
        error: port N for --support-listener is taken by `TEST` (pid N)
        hint: choose another address with --support-listener, or `off` for none
        exit 1
    "#]]
    .assert_eq(&folder.run(&[&support[..], &routes].concat()));
    let gateway = "address: 127.0.0.1:0, api: 127.0.0.1:0, support: off";
    folder.write("tombolo.yaml", &format!("gateway: {{ {gateway} }}\n").replacen("127.0.0.1:0", &address, 1));
    expect![[r#"
        error: port N for the gateway is taken by `TEST` (pid N)
        hint: stop what listens there, or choose another address
        exit 1
    "#]]
    .assert_eq(&folder.run(&["up"]));
}

/// What `tombolo up` says about services that do not start, up to a text. Lines that a service prints come
/// beside what happens to it, in an order that nobody promises: they are left out.
fn up(services: &str, until: &str, expected: Expect) {
    let gateway = "gateway: { address: 127.0.0.1:0, api: 127.0.0.1:0, support: off }";
    let folder = Folder::with(&format!("name: shop\n{gateway}\nservices:\n{services}"));
    let mut up = folder.start(&["up"]);
    up.wait_for(until);
    up.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(up.wait(), 0);
    let said = folder.plain(&up.said());
    let printed = ["web     | web reads its settings", "web     | fatal: no database at db.invalid"];
    let told: Vec<_> = said.lines().filter(|line| !printed.contains(line)).collect();
    expected.assert_eq(&(told.join("\n") + "\n"));
}

#[test]
fn a_program_that_is_not_there() {
    up(
        "  web:\n    run: [./wbe]\n    health: /health\n",
        "logs`, `restart`",
        expect![[r#"
            shop gateway at http://127.0.0.1:N
            web     | service `web` names program `./wbe`, which does not exist
            web     | hint: looked for `DIR/./wbe`; a path is taken relative to the service's `dir`, and a program that must first be compiled needs a `build`

              SERVICE  STATE   ADDRESS  PID  RESTARTS
              web      failed                          service `web` names program `./wbe`, which does not exist

              gateway  http://127.0.0.1:N
              Ctrl-C stops everything; `tombolo status`, `logs`, `restart` and `stop` work from another terminal

            tombolo | SIGINT: finishing requests, then stopping services in order (again: at once)
            web     | stopped
            tombolo | all stopped in TIME
        "#]],
    );
}

#[test]
fn a_service_that_ends_as_soon_as_it_starts() {
    let service = "  web:\n    run: exec APP\n    env: { NAME: web, CRASH_AT_START: 1 }\n    health: /health\n    restart: { when: always, limit: 1, backoff: 10ms }\n";
    up(
        service,
        "logs`, `restart`",
        expect![[r#"
            shop gateway at http://127.0.0.1:N
            web     | exited with status 3
            web     | restart 1 in TIME
            web     | exited with status 3
            web     | its last lines:
            web     |   web reads its settings
            web     |   fatal: no database at db.invalid
            web     | crash-looping: ended again after 1 restarts, left ended
            web     | hint: fix it and run `tombolo restart web`

              SERVICE  STATE         ADDRESS                 PID  RESTARTS
              web      crash looped  http://127.0.0.1:N       1         exited with status 3

              gateway  http://127.0.0.1:N
              Ctrl-C stops everything; `tombolo status`, `logs`, `restart` and `stop` work from another terminal

            tombolo | SIGINT: finishing requests, then stopping services in order (again: at once)
            web     | stopped
            tombolo | all stopped in TIME
        "#]],
    );
}

#[test]
fn a_service_whose_port_somebody_has() {
    let (_held, port) = taken();
    up(
        &format!("  web:\n    run: exec APP\n    port: {port}\n    restart: never\n"),
        "logs`, `restart`",
        expect![[r#"
            shop gateway at http://127.0.0.1:N
            web     | port N of service `web` is taken by `TEST` (pid N)
            web     | hint: stop it, or change `port` in the manifest (without it a free port is given as `PORT`)

              SERVICE  STATE   ADDRESS  PID  RESTARTS
              web      failed                          port N of service `web` is taken by `TEST` (pid N)

              gateway  http://127.0.0.1:N
              Ctrl-C stops everything; `tombolo status`, `logs`, `restart` and `stop` work from another terminal

            tombolo | SIGINT: finishing requests, then stopping services in order (again: at once)
            web     | stopped
            tombolo | all stopped in TIME
        "#]],
    );
}
