//! What newcomers get wrong in one key: its name, its kind, its form.

use crate::check;
use expect_test::expect;

#[test]
fn several_mistakes_are_said_at_once_in_the_order_of_the_file() {
    check(
        "
nam: shop
services:
  Web_App:
    run: npm start
    prot: 3000
    stop_grace: 30
    calls: [crat]
  cart:
    run: ./cart
    replicas: many
    health: healthz
gateway:
  address: :9090
  api: 0.0.0.0:4600
",
        expect![[r#"
            error: unknown key `nam` at the top level
             --> tombolo.yaml:2:1
              |
            2 | nam: shop
              | ^^^
              |
              = hint: did you mean `name`?
            error: `Web_App` can't be a service's name
             --> tombolo.yaml:4:3
              |
            4 |   Web_App:
              |   ^^^^^^^
              |
              = hint: write `web-app`: lower-case letters, digits and dashes
            error: unknown key `prot` in service `Web_App`
             --> tombolo.yaml:6:5
              |
            6 |     prot: 3000
              |     ^^^^
              |
              = hint: did you mean `port`?
            error: `stop_grace` of service `Web_App` must be a duration from 0s to 1h, found the number `30`
             --> tombolo.yaml:7:17
              |
            7 |     stop_grace: 30
              |                 ^^
              |
              = hint: a unit is missing: `stop_grace: 30s`
            error: `calls` of service `Web_App` names `crat`, which is no service
             --> tombolo.yaml:8:13
              |
            8 |     calls: [crat]
              |             ^^^^
              |
              = hint: did you mean `cart`?
            error: `replicas` of service `cart` must be a whole number from 1 to 64, found the text `many`
              --> tombolo.yaml:11:15
               |
            11 |     replicas: many
               |               ^^^^
               |
               = hint: for example `replicas: 3`
            error: `health` of service `cart` must be a path that begins with `/`, the word `tcp`, or a map, found the text `healthz`
              --> tombolo.yaml:12:13
               |
            12 |     health: healthz
               |             ^^^^^^^
               |
               = hint: write `health: /healthz` for an HTTP path, or `health: tcp`
            error: `address` of `gateway` must be an address like `127.0.0.1:8080`, found the text `:9090`
              --> tombolo.yaml:14:12
               |
            14 |   address: :9090
               |            ^^^^^
               |
               = hint: write `address: 127.0.0.1:9090` for this machine only, or `0.0.0.0:9090` for every machine that reaches it
            error: `api` of `gateway` would be open to other machines
              --> tombolo.yaml:15:8
               |
            15 |   api: 0.0.0.0:4600
               |        ^^^^^^^^^^^^
               |
               = hint: write `api: 127.0.0.1:4600`: it asks nobody who they are yet, so it stays on this machine"#]],
    );
}

#[test]
fn words_from_other_tools_are_answered_with_ours() {
    check(
        "
version: '3'
services:
  web:
    image: nginx
    command: npm start
    environment: {A: b}
    ports: ['8080:80']
    healthcheck: {test: x}
    working_dir: web
    run: npm start
    health: {path: /x, retries: 3}
    restart: {policy: always}
gateway: {listen: ':80', tls: true}
log: {level: debug}
",
        expect![[r#"
            error: unknown key `version` at the top level
             --> tombolo.yaml:2:1
              |
            2 | version: '3'
              | ^^^^^^^
              |
              = hint: a manifest has no version: remove the line
            error: unknown key `image` in service `web`
             --> tombolo.yaml:5:5
              |
            5 |     image: nginx
              |     ^^^^^
              |
              = hint: Tombolo runs programs: `run: docker run --rm -p $PORT:80 IMAGE` starts an image
            error: unknown key `command` in service `web`
             --> tombolo.yaml:6:5
              |
            6 |     command: npm start
              |     ^^^^^^^
              |
              = hint: write `run`
            error: unknown key `environment` in service `web`
             --> tombolo.yaml:7:5
              |
            7 |     environment: {A: *}
              |     ^^^^^^^^^^^
              |
              = hint: write `env`
            error: unknown key `ports` in service `web`
             --> tombolo.yaml:8:5
              |
            8 |     ports: ['8080:80']
              |     ^^^^^
              |
              = hint: write `port`, with one number; traffic from outside comes in through `routes`
            error: unknown key `healthcheck` in service `web`
             --> tombolo.yaml:9:5
              |
            9 |     healthcheck: {test: x}
              |     ^^^^^^^^^^^
              |
              = hint: write `health`
            error: unknown key `working_dir` in service `web`
              --> tombolo.yaml:10:5
               |
            10 |     working_dir: web
               |     ^^^^^^^^^^^
               |
               = hint: write `dir`
            error: unknown key `path` in `health` of service `web`
              --> tombolo.yaml:12:14
               |
            12 |     health: {path: /x, retries: 3}
               |              ^^^^
               |
               = hint: write `http`
            error: unknown key `retries` in `health` of service `web`
              --> tombolo.yaml:12:24
               |
            12 |     health: {path: /x, retries: 3}
               |                        ^^^^^^^
               |
               = hint: write `failures`
            error: unknown key `policy` in `restart` of service `web`
              --> tombolo.yaml:13:15
               |
            13 |     restart: {policy: always}
               |               ^^^^^^
               |
               = hint: write `when`
            error: unknown key `listen` in `gateway`
              --> tombolo.yaml:14:11
               |
            14 | gateway: {listen: ':80', tls: true}
               |           ^^^^^^
               |
               = hint: write `address`
            error: unknown key `tls` in `gateway`
              --> tombolo.yaml:14:26
               |
            14 | gateway: {listen: ':80', tls: true}
               |                          ^^^
               |
               = hint: write `tls_cert` and `tls_key`
            error: unknown key `level` in `log`
              --> tombolo.yaml:15:7
               |
            15 | log: {level: debug}
               |       ^^^^^
               |
               = hint: there is no level to set"#]],
    );
}

#[test]
fn a_key_in_the_wrong_section_is_sent_to_its_own() {
    check(
        "run: npm start\naddress: 127.0.0.1:80\nservices:\n  web:\n    run: a\n    gateway: b\n    interval: 5s\n",
        expect![[r#"
            error: unknown key `run` at the top level
             --> tombolo.yaml:1:1
              |
            1 | run: npm start
              | ^^^
              |
              = hint: `run` belongs to a service: `services: {NAME: {run: …}}`
            error: unknown key `address` at the top level
             --> tombolo.yaml:2:1
              |
            2 | address: 127.0.0.1:80
              | ^^^^^^^
              |
              = hint: `address` belongs in `gateway`
            error: unknown key `gateway` in service `web`
             --> tombolo.yaml:6:5
              |
            6 |     gateway: b
              |     ^^^^^^^
              |
              = hint: `gateway` stands at the top level
            error: unknown key `interval` in service `web`
             --> tombolo.yaml:7:5
              |
            7 |     interval: 5s
              |     ^^^^^^^^
              |
              = hint: `interval` belongs in `health`"#]],
    );
    check(
        "log:\n  colour: true\n",
        expect![[r#"
            error: unknown key `colour` in `log`
             --> tombolo.yaml:2:3
              |
            2 |   colour: true
              |   ^^^^^^
              |
              = hint: the keys here are `format`, `access` and `strip_query`"#]],
    );
}

#[test]
fn a_key_without_a_value() {
    check(
        "name:\nservices:\n  web:\n    run:\n    port:\n    env:\n",
        expect![[r#"
        error: `name` has no value
         --> tombolo.yaml:1:1
          |
        1 | name:
          | ^^^^
          |
          = hint: for example `name: shop`, or remove the line
        error: `run` of service `web` has no value
         --> tombolo.yaml:4:5
          |
        4 |     run:
          |     ^^^
          |
          = hint: for example `run: npm start`, or remove the line
        error: `port` of service `web` has no value
         --> tombolo.yaml:5:5
          |
        5 |     port:
          |     ^^^^
          |
          = hint: for example `port: 3000`, or remove the line"#]],
    );
    check(
        "services:\n  web:\n    run: ''\n",
        expect![[r#"
        error: `run` of service `web` is an empty text
         --> tombolo.yaml:3:10
          |
        3 |     run: ''
          |          ^^
          |
          = hint: for example `run: npm start`, or remove the line"#]],
    );
}

#[test]
fn texts_that_yaml_takes_for_something_else() {
    check(
        "name: 7\nservices:\n  web:\n    run: true\n    dir: 1.5\n",
        expect![[r#"
        error: `name` must be a text, found the number `7`
         --> tombolo.yaml:1:7
          |
        1 | name: 7
          |       ^
          |
          = hint: put quotes around it: `name: "7"`
        error: `run` of service `web` must be a command: a text for the shell, or a list of the program and its arguments, found `true`
         --> tombolo.yaml:4:10
          |
        4 |     run: true
          |          ^^^^
          |
          = hint: put quotes around it: `run: "true"`
        error: `dir` of service `web` must be a path, found the number `1.5`
         --> tombolo.yaml:5:10
          |
        5 |     dir: 1.5
          |          ^^^
          |
          = hint: put quotes around it: `dir: "1.5"`"#]],
    );
    check(
        "log:\n  access: yes\n  strip_query: off\n  format: xml\ngateway:\n  strict: maybe\n",
        expect![[r#"
            error: `access` of `log` must be `true` or `false`, found the text `yes`
             --> tombolo.yaml:2:11
              |
            2 |   access: yes
              |           ^^^
              |
              = hint: write `access: true`
            error: `strip_query` of `log` must be `true` or `false`, found the text `off`
             --> tombolo.yaml:3:16
              |
            3 |   strip_query: off
              |                ^^^
              |
              = hint: write `strip_query: false`
            error: `format` of `log` must be `text` or `json`, found the text `xml`
             --> tombolo.yaml:4:11
              |
            4 |   format: xml
              |           ^^^
            error: `strict` of `gateway` must be `true` or `false`, found the text `maybe`
             --> tombolo.yaml:6:11
              |
            6 |   strict: maybe
              |           ^^^^^
              |
              = hint: for example `strict: true`"#]],
    );
}

#[test]
fn numbers_and_their_bounds() {
    check(
        "
services:
  a: {run: a, replicas: 0}
  b: {run: b, replicas: '3'}
  c: {run: c, replicas: 2.5}
  d: {run: d, port: 80800}
  e: {run: e, port: 0}
  f: {run: f, port: '8080'}
  g: {run: g, port: '8080:80'}
  h: {run: h, health: {failures: 0}}
gateway: {workers: 99999}
",
        expect![[r#"
            error: `replicas` of service `a` must be a whole number from 1 to 64, found the number `0`
             --> tombolo.yaml:3:25
              |
            3 |   a: {run: a, replicas: 0}
              |                         ^
              |
              = hint: for example `replicas: 3`
            error: `replicas` of service `b` must be a whole number from 1 to 64, found the text `3`
             --> tombolo.yaml:4:25
              |
            4 |   b: {run: b, replicas: '3'}
              |                         ^^^
              |
              = hint: remove the quotes: `replicas: 3`
            error: `replicas` of service `c` must be a whole number from 1 to 64, found the number `2.5`
             --> tombolo.yaml:5:25
              |
            5 |   c: {run: c, replicas: 2.5}
              |                         ^^^
              |
              = hint: for example `replicas: 3`
            error: `port` of service `d` must be a port, a number from 1 to 65535, found the number `80800`
             --> tombolo.yaml:6:21
              |
            6 |   d: {run: d, port: 80800}
              |                     ^^^^^
              |
              = hint: for example `port: 3000`
            error: `port` of service `e` can't be 0
             --> tombolo.yaml:7:21
              |
            7 |   e: {run: e, port: 0}
              |                     ^
              |
              = hint: leave `port` out: a free one is assigned then
            error: `port` of service `f` must be a port, a number from 1 to 65535, found the text `8080`
             --> tombolo.yaml:8:21
              |
            8 |   f: {run: f, port: '8080'}
              |                     ^^^^^^
              |
              = hint: remove the quotes: `port: 8080`
            error: `port` of service `g` must be a port, a number from 1 to 65535, found the text `8080:80`
             --> tombolo.yaml:9:21
              |
            9 |   g: {run: g, port: '8080:80'}
              |                     ^^^^^^^^^
              |
              = hint: for example `port: 3000`
            error: `failures` of `health` of service `h` must be a whole number from 1 to 1000, found the number `0`
              --> tombolo.yaml:10:34
               |
            10 |   h: {run: h, health: {failures: 0}}
               |                                  ^
               |
               = hint: for example `failures: 5`
            error: `workers` of `gateway` must be a whole number from 1 to 1024, found the number `99999`
              --> tombolo.yaml:11:20
               |
            11 | gateway: {workers: 99999}
               |                    ^^^^^
               |
               = hint: for example `workers: 4`"#]],
    );
}

#[test]
fn durations_and_sizes() {
    check(
        "
services:
  a: {run: a, stop_grace: 10}
  b: {run: b, stop_grace: 10 seconds}
  c: {run: c, stop_grace: 1d}
  d: {run: d, stop_grace: 5h}
  e: {run: e, stop_grace: -5s}
  f: {run: f, health: {interval: 0}}
  g: {run: g, restart: {backoff: 2m}}
limits:
  body_bytes: 10 megs
  header_bytes: 0
  read_timeout: [1s]
  connections: 0
",
        expect![[r#"
            error: `stop_grace` of service `a` must be a duration from 0s to 1h, found the number `10`
             --> tombolo.yaml:3:27
              |
            3 |   a: {run: a, stop_grace: 10}
              |                           ^^
              |
              = hint: a unit is missing: `stop_grace: 10s`
            error: `stop_grace` of service `b`: `10 seconds` is not a duration: ` seconds` is no unit, use ns, us, ms, s, m or h
             --> tombolo.yaml:4:27
              |
            4 |   b: {run: b, stop_grace: 10 seconds}
              |                           ^^^^^^^^^^
              |
              = hint: write it like `stop_grace: 30s` or `1m30s`; a day is `24h`
            error: `stop_grace` of service `c`: `1d` is not a duration: `d` is no unit, use ns, us, ms, s, m or h
             --> tombolo.yaml:5:27
              |
            5 |   c: {run: c, stop_grace: 1d}
              |                           ^^
              |
              = hint: write it like `stop_grace: 30s` or `1m30s`; a day is `24h`
            error: `stop_grace` of service `d` must be a duration from 0s to 1h, found the text `5h`
             --> tombolo.yaml:6:27
              |
            6 |   d: {run: d, stop_grace: 5h}
              |                           ^^
              |
              = hint: for example `stop_grace: 30s`
            error: `stop_grace` of service `e`: `-5s` is not a duration: write numbers with units, such as `1m30s` or `250ms`
             --> tombolo.yaml:7:27
              |
            7 |   e: {run: e, stop_grace: -5s}
              |                           ^^^
              |
              = hint: write it like `stop_grace: 30s` or `1m30s`; a day is `24h`
            error: `interval` of `health` of service `f` must be a duration from 100ms to 1h, found the number `0`
             --> tombolo.yaml:8:34
              |
            8 |   f: {run: f, health: {interval: 0}}
              |                                  ^
              |
              = hint: for example `interval: 5s`
            error: `backoff_max` of `restart` of service `g` is shorter than `backoff`: 30s and 2m
             --> tombolo.yaml:9:34
              |
            9 |   g: {run: g, restart: {backoff: 2m}}
              |                                  ^^
              |
              = hint: write `backoff_max: 2m` or longer
            error: `body_bytes` of `limits`: `megs` is no unit of size, use KiB, MiB or GiB
              --> tombolo.yaml:11:15
               |
            11 |   body_bytes: 10 megs
               |               ^^^^^^^
               |
               = hint: write it like `body_bytes: 10MiB`
            error: `header_bytes` of `limits` must be a size from 1KiB to 16MiB, found the number `0`
              --> tombolo.yaml:12:17
               |
            12 |   header_bytes: 0
               |                 ^
               |
               = hint: for example `header_bytes: 32KiB`
            error: `read_timeout` of `limits` must be a duration from 1ms to 24h, found a list
              --> tombolo.yaml:13:17
               |
            13 |   read_timeout: [1s]
               |                 ^^^^
               |
               = hint: for example `read_timeout: 30s`
            error: `connections` of `limits` must be a whole number from 1 to 10000000, found the number `0`
              --> tombolo.yaml:14:16
               |
            14 |   connections: 0
               |                ^
               |
               = hint: for example `connections: 1000`"#]],
    );
}

#[test]
fn addresses_of_the_gateway() {
    check(
        "gateway:\n  address: :9090\n  api: 4600\n  support: example.org:80\n",
        expect![[r#"
            error: `address` of `gateway` must be an address like `127.0.0.1:8080`, found the text `:9090`
             --> tombolo.yaml:2:12
              |
            2 |   address: :9090
              |            ^^^^^
              |
              = hint: write `address: 127.0.0.1:9090` for this machine only, or `0.0.0.0:9090` for every machine that reaches it
            error: `api` of `gateway` must be an address like `127.0.0.1:8080`, found the number `4600`
             --> tombolo.yaml:3:8
              |
            3 |   api: 4600
              |        ^^^^
              |
              = hint: write `api: 127.0.0.1:4600`
            error: `support` of `gateway` must be an address like `127.0.0.1:8080`, or `off`, found the text `example.org:80`
             --> tombolo.yaml:4:12
              |
            4 |   support: example.org:80
              |            ^^^^^^^^^^^^^^
              |
              = hint: write an IP address and a port: `support: 127.0.0.1:9911`"#]],
    );
    check(
        "gateway:\n  address: http://127.0.0.1:80\n  api: 127.0.0.1\n  support: 0.0.0.0:9911\n",
        expect![[r#"
            error: `address` of `gateway` must be an address like `127.0.0.1:8080`, found the text `http://127.0.0.1:80`
             --> tombolo.yaml:2:12
              |
            2 |   address: http://127.0.0.1:80
              |            ^^^^^^^^^^^^^^^^^^^
              |
              = hint: write `address: 127.0.0.1:80`
            error: `api` of `gateway` must be an address like `127.0.0.1:8080`, found the text `127.0.0.1`
             --> tombolo.yaml:3:8
              |
            3 |   api: 127.0.0.1
              |        ^^^^^^^^^
              |
              = hint: add the port: `api: 127.0.0.1:4600`
            error: `support` of `gateway` would be open to other machines
             --> tombolo.yaml:4:12
              |
            4 |   support: 0.0.0.0:9911
              |            ^^^^^^^^^^^^
              |
              = hint: write `support: 127.0.0.1:9911`: it asks nobody who they are yet, so it stays on this machine"#]],
    );
    check(
        "gateway:\n  tls_cert: a.pem\n",
        expect![[r#"
        error: `tls_cert` of `gateway` needs `tls_key` beside it
         --> tombolo.yaml:2:3
          |
        2 |   tls_cert: a.pem
          |   ^^^^^^^^
          |
          = hint: for example `tls_key: tls/server.key`"#]],
    );
    check(
        "gateway:\n  tls_key: a.pem\n  api: '[::]:4600'\n",
        expect![[r#"
        error: `tls_key` of `gateway` needs `tls_cert` beside it
         --> tombolo.yaml:2:3
          |
        2 |   tls_key: a.pem
          |   ^^^^^^^
          |
          = hint: for example `tls_cert: tls/server.pem`
        error: `api` of `gateway` would be open to other machines
         --> tombolo.yaml:3:8
          |
        3 |   api: '[::]:4600'
          |        ^^^^^^^^^^^
          |
          = hint: write `api: 127.0.0.1:4600`: it asks nobody who they are yet, so it stays on this machine"#]],
    );
}

#[test]
fn forms_of_routes() {
    check(
        "routes:\n  - {inline: 'a', file: b}\n  - {fil: b}\n  - 5\n  - [a]\n  - ''\n",
        expect![[r#"
            error: an entry of `routes` has one of `inline` and `file`
             --> tombolo.yaml:2:5
              |
            2 |   - {inline: 'a', file: b}
              |     ^^^^^^^^^^^^^^^^^^^^^^
              |
              = hint: write `- inline: …` or `- file: routes.eskip`
            error: unknown key `fil` in `routes`
             --> tombolo.yaml:3:6
              |
            3 |   - {fil: b}
              |      ^^^
              |
              = hint: did you mean `file`?
            error: `routes` must be eskip, a file name, or a list of them, found the number `5`
             --> tombolo.yaml:4:5
              |
            4 |   - 5
              |     ^
              |
              = hint: for example `routes: routes.eskip`
            error: `routes` must be eskip, a file name, or a list of them, found a list
             --> tombolo.yaml:5:5
              |
            5 |   - [a]
              |     ^^^
              |
              = hint: for example `routes: routes.eskip`
            error: `routes` is an empty text
             --> tombolo.yaml:6:5
              |
            6 |   - ''
              |     ^^
              |
              = hint: for example `routes: routes.eskip`, or remove the line"#]],
    );
}
