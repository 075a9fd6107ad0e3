//! What newcomers get wrong in a service: its form, its name, its addresses, its variables.

use crate::check;
use expect_test::expect;

#[test]
fn services_of_the_wrong_form() {
    check(
        "services:\n  - web\n",
        expect![[r#"
        error: `services` must be a map of services by their names, found a list
         --> tombolo.yaml:2:3
          |
        2 |   - web
          |   ^
          |
          = hint: for example `services: {web: {run: npm start}}`"#]],
    );
    check(
        "services:\n  web: npm start\n  pay: http://10.0.0.5:80\n  old: [a]\n  new:\n",
        expect![[r#"
        error: service `web` must be a map, found the text `npm start`
         --> tombolo.yaml:2:8
          |
        2 |   web: npm start
          |        ^^^^^^^^^
          |
          = hint: write `web: {run: npm start}`
        error: service `pay` must be a map, found the text `http://10.0.0.5:80`
         --> tombolo.yaml:3:8
          |
        3 |   pay: http://10.0.0.5:80
          |        ^^^^^^^^^^^^^^^^^^
          |
          = hint: write `pay: {at: http://10.0.0.5:80}`
        error: service `old` must be a map, found a list
         --> tombolo.yaml:4:8
          |
        4 |   old: [a]
          |        ^^^
          |
          = hint: for example `old: {run: npm start}`
        error: service `new` has neither `run` nor `at`
         --> tombolo.yaml:5:3
          |
        5 |   new:
          |   ^^^
          |
          = hint: add `run: COMMAND` to have it started, or `at: http://HOST:PORT` if somebody else runs it"#]],
    );
    check(
        "services:\n  web:\n    run: a\n    at: http://b:80\n",
        expect![[r#"
        error: service `web` has both `run` and `at`
         --> tombolo.yaml:4:5
          |
        4 |     at: http://b:80
          |     ^^
          |
          = hint: keep `run` if Tombolo starts it, `at` if somebody else does"#]],
    );
    check(
        "services:\n  web:\n    at: http://b:80\n    port: 80\n    env: {A: b}\n",
        expect![[r#"
        error: `port` of service `web` means nothing beside `at`
         --> tombolo.yaml:4:5
          |
        4 |     port: 80
          |     ^^^^
          |
          = hint: Tombolo does not run what stands at an address: remove the line
        error: `env` of service `web` means nothing beside `at`
         --> tombolo.yaml:5:5
          |
        5 |     env: {A: *}
          |     ^^^
          |
          = hint: Tombolo does not run what stands at an address: remove the line"#]],
    );
    check(
        "services:\n  web:\n    run: [npm, [start]]\n  b:\n    run: []\n  c:\n    run: {cmd: x}\n",
        expect![[r#"
            error: an entry of `run` of service `web` must be a text, found a list
             --> tombolo.yaml:3:16
              |
            3 |     run: [npm, [start]]
              |                ^^^^^^^
              |
              = hint: one word each, as in `run: [npm, start]`
            error: `run` of service `b` must be a command: a text for the shell, or a list of the program and its arguments, found a list
             --> tombolo.yaml:5:10
              |
            5 |     run: []
              |          ^^
              |
              = hint: for example `run: npm start`
            error: `run` of service `c` must be a command: a text for the shell, or a list of the program and its arguments, found a map
             --> tombolo.yaml:7:10
              |
            7 |     run: {cmd: x}
              |          ^^^^^^^^
              |
              = hint: for example `run: npm start`"#]],
    );
}

#[test]
fn names_of_services() {
    check(
        "services:\n  My_Service: {run: a}\n  paymentAPI: {run: a}\n  web.v2: {run: a}\n  \"123\": {run: a}\n",
        expect![[r#"
            error: `My_Service` can't be a service's name
             --> tombolo.yaml:2:3
              |
            2 |   My_Service: {run: a}
              |   ^^^^^^^^^^
              |
              = hint: write `my-service`: lower-case letters, digits and dashes
            error: `paymentAPI` can't be a service's name
             --> tombolo.yaml:3:3
              |
            3 |   paymentAPI: {run: a}
              |   ^^^^^^^^^^
              |
              = hint: write `payment-api`: lower-case letters, digits and dashes
            error: `web.v2` can't be a service's name
             --> tombolo.yaml:4:3
              |
            4 |   web.v2: {run: a}
              |   ^^^^^^
              |
              = hint: write `web-v2`: lower-case letters, digits and dashes
            error: `123` can't be a service's name
             --> tombolo.yaml:5:3
              |
            5 |   "123": {run: a}
              |   ^^^^^
              |
              = hint: use lower-case letters, digits and dashes, beginning with a letter"#]],
    );
}

#[test]
fn addresses_of_services_run_elsewhere() {
    check(
        "
services:
  a: {at: '10.0.0.5:8080'}
  b: {at: 'http://10.0.0.5:8080/api'}
  c: {at: ['http://ok:80', 'ftp://x:80']}
  d: {at: 'http://user:password@x:80'}
  e: {at: 'http://x:99999'}
  f: {at: ':8080'}
  g: {at: []}
  h: {at: 'http://'}
",
        expect![[r#"
            error: `at` of service `a` needs a scheme, found `10.0.0.5:8080`
             --> tombolo.yaml:3:11
              |
            3 |   a: {at: '10.0.0.5:8080'}
              |           ^^^^^^^^^^^^^^^
              |
              = hint: write `http://10.0.0.5:8080`
            error: `at` of service `b` takes no path, found `http://10.0.0.5:8080/api`
             --> tombolo.yaml:4:11
              |
            4 |   b: {at: 'http://10.0.0.5:8080/api'}
              |           ^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = hint: write `http://10.0.0.5:8080`
            error: `at` of service `c` knows no scheme `ftp`, found `ftp://x:80`
             --> tombolo.yaml:5:28
              |
            5 |   c: {at: ['http://ok:80', 'ftp://x:80']}
              |                            ^^^^^^^^^^^^
              |
              = hint: use `http://` or `https://`
            error: `at` of service `d` takes no user or password, found `http://user:********@x:80`
             --> tombolo.yaml:6:11
              |
            6 |   d: {at: 'http://user:********@x:80'}
              |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = hint: send them with a filter on the route
            error: `at` of service `e` has no port from 1 to 65535, found `http://x:99999`
             --> tombolo.yaml:7:11
              |
            7 |   e: {at: 'http://x:99999'}
              |           ^^^^^^^^^^^^^^^^
              |
              = hint: for example `http://x:8080`
            error: `at` of service `f` needs a scheme, found `:8080`
             --> tombolo.yaml:8:11
              |
            8 |   f: {at: ':8080'}
              |           ^^^^^^^
              |
              = hint: write `http://127.0.0.1:8080`
            error: `at` of service `g` must be an address like `http://10.0.0.5:8080`, or a list of them, found a list
             --> tombolo.yaml:9:11
              |
            9 |   g: {at: []}
              |           ^^
              |
              = hint: for example `at: http://10.0.0.5:8080`
            error: `at` of service `h` has no host name or address, found `http://`
              --> tombolo.yaml:10:11
               |
            10 |   h: {at: 'http://'}
               |           ^^^^^^^^^
               |
               = hint: for example `http://10.0.0.5:8080`; an IPv6 address stands in `[` and `]`"#]],
    );
}

#[test]
fn forms_of_health() {
    check(
        "
services:
  a: {run: a, health: healthz}
  b: {run: b, health: 'http://localhost:3000/healthz'}
  c: {run: c, health: curl -f localhost}
  d: {run: d, health: {http: /x, tcp: true}}
  e: {run: e, health: {tcp: false}}
  f: {run: f, health: {http: 'a b'}}
  g: {run: g, health: 5}
  h: {run: h, health: [a]}
",
        expect![[r#"
            error: `health` of service `a` must be a path that begins with `/`, the word `tcp`, or a map, found the text `healthz`
             --> tombolo.yaml:3:23
              |
            3 |   a: {run: a, health: healthz}
              |                       ^^^^^^^
              |
              = hint: write `health: /healthz` for an HTTP path, or `health: tcp`
            error: `health` of service `b` must be a path that begins with `/`, the word `tcp`, or a map, found the text `http://localhost:3000/healthz`
             --> tombolo.yaml:4:23
              |
            4 |   b: {run: b, health: 'http://localhost:3000/healthz'}
              |                       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = hint: write the path alone: `health: /healthz`
            error: `health` of service `c` must be a path that begins with `/`, the word `tcp`, or a map, found the text `curl -f localhost`
             --> tombolo.yaml:5:23
              |
            5 |   c: {run: c, health: curl -f localhost}
              |                       ^^^^^^^^^^^^^^^^^
              |
              = hint: a command is written `health: {command: curl -f localhost}`
            error: `health` of service `d` has both `http` and `tcp`
             --> tombolo.yaml:6:34
              |
            6 |   d: {run: d, health: {http: /x, tcp: true}}
              |                                  ^^^
              |
              = hint: keep one of them
            error: `tcp` of `health` of service `e` can't be `false`
             --> tombolo.yaml:7:23
              |
            7 |   e: {run: e, health: {tcp: false}}
              |                       ^^^^^^^^^^^^
              |
              = hint: write `tcp: true`, `http` or `command`
            error: `http` of `health` of service `f` must be a path that begins with `/` and holds no spaces, found the text `a b`
             --> tombolo.yaml:8:30
              |
            8 |   f: {run: f, health: {http: 'a b'}}
              |                              ^^^^^
              |
              = hint: write `/a%20b`, any sign but ASCII's percent-encoded
            error: `health` of service `g` must be a path that begins with `/`, the word `tcp`, or a map, found the number `5`
             --> tombolo.yaml:9:23
              |
            9 |   g: {run: g, health: 5}
              |                       ^
              |
              = hint: for example `health: /healthz`
            error: `health` of service `h` must be a path that begins with `/`, the word `tcp`, or a map, found a list
              --> tombolo.yaml:10:23
               |
            10 |   h: {run: h, health: [a]}
               |                       ^^^
               |
               = hint: for example `health: /healthz`"#]],
    );
}

#[test]
fn forms_of_restart() {
    check(
        "
services:
  a: {run: a, restart: unless-stopped}
  b: {run: b, restart: no}
  c: {run: c, restart: on_failure}
  d: {run: d, restart: false}
  e: {run: e, restart: 5}
  f: {run: f, restart: {when: sometimes}}
",
        expect![[r#"
            error: `restart` of service `a` must be `always`, `on-failure` or `never`, found the text `unless-stopped`
             --> tombolo.yaml:3:24
              |
            3 |   a: {run: a, restart: unless-stopped}
              |                        ^^^^^^^^^^^^^^
              |
              = hint: write `always`
            error: `restart` of service `b` must be `always`, `on-failure` or `never`, found the text `no`
             --> tombolo.yaml:4:24
              |
            4 |   b: {run: b, restart: no}
              |                        ^^
              |
              = hint: write `never`
            error: `restart` of service `c` must be `always`, `on-failure` or `never`, found the text `on_failure`
             --> tombolo.yaml:5:24
              |
            5 |   c: {run: c, restart: on_failure}
              |                        ^^^^^^^^^^
              |
              = hint: write `on-failure`
            error: `restart` of service `d` must be `always`, `on-failure` or `never`, found `false`
             --> tombolo.yaml:6:24
              |
            6 |   d: {run: d, restart: false}
              |                        ^^^^^
              |
              = hint: write `never`
            error: `restart` of service `e` must be `always`, `on-failure` or `never`, or a map, found the number `5`
             --> tombolo.yaml:7:24
              |
            7 |   e: {run: e, restart: 5}
              |                        ^
              |
              = hint: for example `restart: on-failure`
            error: `when` of `restart` of service `f` must be `always`, `on-failure` or `never`, found the text `sometimes`
             --> tombolo.yaml:8:31
              |
            8 |   f: {run: f, restart: {when: sometimes}}
              |                               ^^^^^^^^^"#]],
    );
}

#[test]
fn variables_and_never_their_values() {
    check(
        "
services:
  a: {run: a, env: {log-level: hunter2, 2FA: hunter2, OK: hunter2}}
  b:
    run: b
    env:
      - API_KEY=hunter2
  c: {run: c, env: API_KEY=hunter2}
  d: {run: d, env: {API_KEY=hunter2}}
  e: {run: e, env: {A: , B: [hunter2], C: {d: hunter2}}}
  f: {run: f, evn: {A: hunter2}}
  g: {run: g, env: {A: hunter2, A: hunter2}}
",
        expect![[r#"
            error: `log-level` can't be a variable's name
             --> tombolo.yaml:3:21
              |
            3 |   a: {run: a, env: {log-level: *******, 2FA: *******, OK: *******}}
              |                     ^^^^^^^^^
              |
              = hint: write `log_level`: letters, digits and `_`
            error: `2FA` can't be a variable's name
             --> tombolo.yaml:3:41
              |
            3 |   a: {run: a, env: {log-level: *******, 2FA: *******, OK: *******}}
              |                                         ^^^
              |
              = hint: write `_2FA`: letters, digits and `_`
            error: `env` of service `b` must be a map of variables, found a list
             --> tombolo.yaml:7:7
              |
            7 |       * ***************
              |       ^
              |
              = hint: write `NAME: value`, each on a line of its own below `env:`
            error: `env` of service `c` must be a map of variables, found something else
             --> tombolo.yaml:8:20
              |
            8 |   c: {run: c, env: ***************}
              |                    ^^^^^^^^^^^^^^^
              |
              = hint: write `NAME: value`, each on a line of its own below `env:`
            error: `env` of service `d` sets a variable with `=`
             --> tombolo.yaml:9:21
              |
            9 |   d: {run: d, env: {API_KEY=*******}}
              |                     ^^^^^^^^^^^^^^^
              |
              = hint: write `API_KEY: value`
            error: variable `A` of service `e` has no value
              --> tombolo.yaml:10:21
               |
            10 |   e: {run: e, env: {A: , B: *********, C: *** ********}}
               |                     ^
               |
               = hint: write `A: ""` for an empty one
            error: variable `B` of service `e` must be a text, found a list
              --> tombolo.yaml:10:26
               |
            10 |   e: {run: e, env: {A: , B: *********, C: *** ********}}
               |                          ^
               |
               = hint: put quotes around it: `B: "…"`
            error: variable `C` of service `e` must be a text, found a map
              --> tombolo.yaml:10:40
               |
            10 |   e: {run: e, env: {A: , B: *********, C: *** ********}}
               |                                        ^
               |
               = hint: put quotes around it: `C: "…"`
            error: unknown key `evn` in service `f`
              --> tombolo.yaml:11:15
               |
            11 |   f: {run: f, evn: {A: *******}}
               |               ^^^
               |
               = hint: did you mean `env`?
            error: `A` is given twice
              --> tombolo.yaml:12:33
               |
            12 |   g: {run: g, env: {A: *******, A: *******}}
               |                                 ^
               |
               = hint: the first is on line 12: keep one of them"#]],
    );
    check(
        "services:\n  a: {run: a, env: {A: hunter2}\n  b: {run: b}\n",
        expect![[r#"
        error: a `,` or the closing `}` is missing
         --> tombolo.yaml:3:3
          |
        3 |   b: {run: b}
          |   ^
          |
          = hint: the `{` is on line 2"#]],
    );
    check(
        "services:\n  a:\n    run: a\n    env:\n      A: hunter2: hunter3\n",
        expect![[r#"
            error: a value that holds `: ` needs quotes
             --> tombolo.yaml:5:10
              |
            5 |       A: ******** *******
              |          ^^^^^^^^^^^^^^^^
              |
              = hint: put quotes around the whole value"#]],
    );
}

#[test]
fn forms_of_calls_and_depends_on() {
    check(
        "
services:
  a: {run: a, calls: b, depends_on: b}
  b: {run: b, calls: {a: true}, depends_on: {a: ready}}
  c: {run: c, calls: [[a]], depends_on: {a: {condition: service_healthy}}}
  d: {run: d, depends_on: {a: service_healthy}}
",
        expect![[r#"
            error: `calls` of service `a` must be a list of names of services, found the text `b`
             --> tombolo.yaml:3:22
              |
            3 |   a: {run: a, calls: b, depends_on: b}
              |                      ^
              |
              = hint: write `calls: [b]`
            error: `depends_on` of service `a` must be a list of names of services, or a map of them to `started` or `healthy`, found the text `b`
             --> tombolo.yaml:3:37
              |
            3 |   a: {run: a, calls: b, depends_on: b}
              |                                     ^
              |
              = hint: write `depends_on: [b]`
            error: `calls` of service `b` must be a list of names of services, found a map
             --> tombolo.yaml:4:22
              |
            4 |   b: {run: b, calls: {a: true}, depends_on: {a: ready}}
              |                      ^^^^^^^^^
              |
              = hint: for example `calls: [cart, payment-api]`
            error: `depends_on` of service `b` must be `started` or `healthy`, found the text `ready`
             --> tombolo.yaml:4:49
              |
            4 |   b: {run: b, calls: {a: true}, depends_on: {a: ready}}
              |                                                 ^^^^^
            error: an entry of `calls` of service `c` must be a service's name, found a list
             --> tombolo.yaml:5:23
              |
            5 |   c: {run: c, calls: [[a]], depends_on: {a: {condition: service_healthy}}}
              |                       ^^^
              |
              = hint: for example `calls: [cart, payment-api]`
            error: `depends_on` of service `c` must say `started` or `healthy` for each service
             --> tombolo.yaml:5:45
              |
            5 |   c: {run: c, calls: [[a]], depends_on: {a: {condition: service_healthy}}}
              |                                             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = hint: write `a: healthy`
            error: `depends_on` of service `d` must be `started` or `healthy`, found the text `service_healthy`
             --> tombolo.yaml:6:31
              |
            6 |   d: {run: d, depends_on: {a: service_healthy}}
              |                               ^^^^^^^^^^^^^^^
              |
              = hint: write `healthy`"#]],
    );
}
