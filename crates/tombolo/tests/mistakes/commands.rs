//! Mistakes at the command line: no manifest, a command or a flag that is none, a port that somebody has.

use crate::call;
use crate::support::{Folder, taken};
use expect_test::expect;

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
