//! Mistakes that show only when several keys are looked at together.

use crate::check;
use expect_test::expect;

#[test]
fn a_name_that_is_no_service() {
    check(
        "
services:
  web: {run: a, calls: [crat, cart, cart, web, banana], depends_on: [web, catr]}
  cart: {run: b}
",
        expect![[r#"
            error: `calls` of service `web` names `crat`, which is no service
             --> tombolo.yaml:3:25
              |
            3 |   web: {run: a, calls: [crat, cart, cart, web, banana], depends_on: [web, catr]}
              |                         ^^^^
              |
              = hint: did you mean `cart`?
            warning: `calls` of service `web` names `cart` twice
             --> tombolo.yaml:3:37
              |
            3 |   web: {run: a, calls: [crat, cart, cart, web, banana], depends_on: [web, catr]}
              |                                     ^^^^
              |
              = hint: remove one of them
            error: service `web` names itself in `calls`
             --> tombolo.yaml:3:43
              |
            3 |   web: {run: a, calls: [crat, cart, cart, web, banana], depends_on: [web, catr]}
              |                                           ^^^
              |
              = hint: remove `web` from `calls`
            error: `calls` of service `web` names `banana`, which is no service
             --> tombolo.yaml:3:48
              |
            3 |   web: {run: a, calls: [crat, cart, cart, web, banana], depends_on: [web, catr]}
              |                                                ^^^^^^
              |
              = hint: the other service is `cart`
            error: service `web` waits for itself
             --> tombolo.yaml:3:70
              |
            3 |   web: {run: a, calls: [crat, cart, cart, web, banana], depends_on: [web, catr]}
              |                                                                      ^^^
              |
              = hint: remove `web` from `depends_on`
            error: `depends_on` of service `web` names `catr`, which is no service
             --> tombolo.yaml:3:75
              |
            3 |   web: {run: a, calls: [crat, cart, cart, web, banana], depends_on: [web, catr]}
              |                                                                           ^^^^
              |
              = hint: did you mean `cart`?"#]],
    );
    check(
        "services:\n  web: {run: a, calls: [cart]}\n",
        expect![[r#"
        error: `calls` of service `web` names `cart`, which is no service
         --> tombolo.yaml:2:25
          |
        2 |   web: {run: a, calls: [cart]}
          |                         ^^^^
          |
          = hint: there is no other service here yet"#]],
    );
}

#[test]
fn a_circle_is_shown_as_such() {
    check(
        "
services:
  a: {run: a, depends_on: [b]}
  b: {run: b, depends_on: {c: started}}
  c: {run: c, depends_on: [d, a]}
  d: {run: d}
  x: {run: x, depends_on: [y, a]}
  y: {run: y, depends_on: [x]}
",
        expect![[r#"
            error: `depends_on` goes in a circle: a -> b -> c -> a
             --> tombolo.yaml:5:31
              |
            5 |   c: {run: c, depends_on: [d, a]}
              |                               ^
              |
              = hint: none of them could ever start: remove one of these dependencies; a service may name another in `calls` without waiting for it
            error: `depends_on` goes in a circle: x -> y -> x
             --> tombolo.yaml:8:28
              |
            8 |   y: {run: y, depends_on: [x]}
              |                            ^
              |
              = hint: none of them could ever start: remove one of these dependencies; a service may name another in `calls` without waiting for it"#]],
    );
}

#[test]
fn a_port_is_taken_once() {
    check(
        "
services:
  a: {run: a, port: 3000}
  b: {run: b, port: 3000}
  c: {run: c, port: 9090}
  d: {run: d, port: 9911}
gateway:
  support: off
",
        expect![[r#"
            error: port 3000 is taken twice, by service `a` and service `b`
             --> tombolo.yaml:4:21
              |
            4 |   b: {run: b, port: 3000}
              |                     ^^^^
              |
              = hint: give it another port, or remove `port`: a free one is then assigned and given to it as `PORT`
            error: port 9090 is taken twice, by `address` of `gateway` (its default) and service `c`
             --> tombolo.yaml:5:21
              |
            5 |   c: {run: c, port: 9090}
              |                     ^^^^
              |
              = hint: give it another port, or remove `port`: a free one is then assigned and given to it as `PORT`"#]],
    );
    check(
        "gateway:\n  address: 0.0.0.0:4600\n",
        expect![[r#"
        error: port 4600 is taken twice, by `address` of `gateway` and `api` of `gateway` (its default)
         --> tombolo.yaml:2:12
          |
        2 |   address: 0.0.0.0:4600
          |            ^^^^^^^^^^^^
          |
          = hint: give one of them another port"#]],
    );
    check(
        "gateway:\n  address: 10.0.0.1:80\n  api: 127.0.0.1:80\n  support: 127.0.0.1:80\n",
        expect![[r#"
        error: port 80 is taken twice, by `api` of `gateway` and `support` of `gateway`
         --> tombolo.yaml:4:12
          |
        4 |   support: 127.0.0.1:80
          |            ^^^^^^^^^^^^
          |
          = hint: give one of them another port"#]],
    );
    check("gateway:\n  address: 127.0.0.1:0\n  api: 127.0.0.1:0\n  support: 127.0.0.1:0\n", expect![[""]]);
}

#[test]
fn replicas_need_an_assigned_port() {
    check(
        "services:\n  a:\n    run: a\n    port: 3000\n    replicas: 2\n",
        expect![[r#"
        error: the 2 replicas of service `a` can't all listen on port 3000
         --> tombolo.yaml:5:15
          |
        5 |     replicas: 2
          |               ^
          |
          = hint: remove `port`: each replica is then assigned one and given it as `PORT`"#]],
    );
}

#[test]
fn variables_that_calls_sets_too() {
    check(
        "
services:
  web:
    run: a
    calls: [payment-api]
    env:
      PAYMENT_API_URL: http://hunter2
      PORT: 3000
  payment-api: {at: 'http://x:80'}
",
        expect![[r#"
            warning: `env` of service `web` sets `PAYMENT_API_URL`, which `calls` sets too
             --> tombolo.yaml:7:7
              |
            7 |       PAYMENT_API_URL: **************
              |       ^^^^^^^^^^^^^^^
              |
              = hint: the one from `calls` wins: remove the variable, or `payment-api` from `calls`
            warning: `env` of service `web` sets `PORT`, which is set to the service's port
             --> tombolo.yaml:8:7
              |
            8 |       PORT: ****
              |       ^^^^
              |
              = hint: write `port:` in the service instead, or leave both out and have one assigned"#]],
    );
}

#[test]
fn there_are_at_most_so_many_services() {
    let many = (0..=256).fold(String::new(), |all, n| all + &format!("  s{n}: {{run: a}}\n"));
    check(
        &format!("services:\n{many}"),
        expect![[r#"
            error: `services` has 257 entries, at most 256 go
               --> tombolo.yaml:258:3
                |
            258 |   s256: {run: a}
                |   ^^^^"#]],
    );
}

#[test]
fn diagnostics_do_not_go_on_for_ever() {
    let many = (0..300).fold(String::new(), |all, n| all + &format!("k{n}: 1\n"));
    let said = crate::said(&many);
    assert_eq!(said.matches("error:").count(), 101);
    assert!(said.ends_with("error: and 200 more like these"), "{}", &said[said.len() - 200..]);
}

#[test]
fn a_slip_behind_an_anchor_is_said_once() {
    check(
        "
x-health: &health {http: /h, interval: soon}
services:
  a: {run: a, health: *health}
  b: {run: b, health: *health}
x-base: &base {stop_grace: 1s, dri: x}
",
        expect![[r#"
            error: `interval` of `health` of service `a`: `soon` is not a duration: write numbers with units, such as `1m30s` or `250ms`
             --> tombolo.yaml:2:40
              |
            2 | x-health: &health {http: /h, interval: soon}
              |                                        ^^^^
              |
              = hint: write it like `interval: 5s` or `1m30s`; a day is `24h`"#]],
    );
}
