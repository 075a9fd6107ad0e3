//! Each rule just below its minimum, where it says nothing, and just above, where it does; and innocent systems of any
//! shape, of which nothing is found.

mod innocent;

use super::rules::{availability, calls, chains, cycles, policies, retries};
use super::world::{Made, World, call, chain, facts};
use super::*;
use expect_test::{Expect, expect};
use std::collections::BTreeMap;
use std::time::Duration;

/// A policy with all that can be wished for.
fn sound() -> Policy {
    Policy {
        timeout: Some(Duration::from_secs(2)),
        retry: Some(Retry { times: 2, budget: 0.2 }),
        breaker: true,
    }
}

/// Looks at traces; what one rule says of them.
fn check(code: &str, world: &mut World, expected: &Expect) {
    expected.assert_eq(&world.told(code));
}

fn nothing(code: &str, world: &mut World) {
    assert_eq!(world.told(code), "");
}

#[test]
fn a_circle_of_calls_is_told_once_each_of_them_was_seen_often_enough() {
    let world = |times| {
        let mut world = World::new(Facts::default());
        world.see(50, &chain("orders payments")).see(times, &call("payments", [chain("ledger orders")]));
        world
    };
    nothing("cyclic-dependency", &mut world(cycles::CALL_TRACES_MIN - 1));
    check(
        "cyclic-dependency",
        &mut world(cycles::CALL_TRACES_MIN),
        &expect![[r#"
        `ledger` -> `orders` -> `payments` -> `ledger` call each other in a circle; each of the calls is in 3 traces at least [51 52 53]
    "#]],
    );
    // A service that calls itself is no circle of services.
    nothing(
        "cyclic-dependency",
        World::new(Facts::default()).see(50, &chain("a a b")).see(50, &chain("b c")),
    );
}

#[test]
fn a_chain_is_told_when_it_is_too_deep() {
    let world = |services: &str, times| {
        let mut world = World::new(Facts::default());
        world.see(times, &chain(services));
        world
    };
    assert_eq!(chains::DEEP_CALLS_MIN, 5);
    nothing("deep-chain", &mut world("a b c d e", 100));
    nothing("deep-chain", &mut world("a b c d e f", chains::TRACES_MIN - 1));
    check(
        "deep-chain",
        &mut world("a b c d e f", chains::TRACES_MIN),
        &expect![[r#"
        `a` -> `b` -> `c` -> `d` -> `e` -> `f`: 5 calls wait for each other, in 3 traces [1 2 3]
    "#]],
    );
    // Databases at its end are not counted, and a service within a service is one.
    let mut deep = chain("a b c d d e");
    deep.below[0].below[0].below[0].below[0].below[0].below.push(call("postgres", []).silent());
    nothing("deep-chain", World::new(Facts::default()).see(100, &deep));
}

#[test]
fn many_calls_of_a_kind_are_told_if_they_follow_closely() {
    let page = |count: usize, pause_us| {
        call("web", (0..count).map(|_| call("cart", []).named("get item").after(pause_us)))
    };
    let world = |times, page: &Made| {
        let mut world = World::new(Facts::default());
        world.see(times, page);
        world
    };
    let (count, times) = (calls::BURST_CALLS_MIN, calls::BURST_TRACES_MIN);
    nothing("chatty-calls", &mut world(100, &page(count - 1, 10)));
    nothing("chatty-calls", &mut world(times - 1, &page(count, 10)));
    nothing("chatty-calls", &mut world(100, &page(count * 10, 200_000)));
    check(
        "chatty-calls",
        &mut world(times, &page(count * 25, 10)),
        &expect![[r#"
        `web` calls `get item` of `cart` 10 times and more for one request, in 3 traces; 250 times or so at most [1 2 3]
    "#]],
    );
    // Other things, or other tries, are not more of the same.
    let kinds = call("web", (0..count * 3).map(|kind| call("cart", []).named(&format!("get {}", kind % 4))));
    nothing("chatty-calls", &mut world(100, &kinds));
    let tries = call("web", (0..count).map(|_| call("cart", []).failing().tagged("http.path", "/1")));
    nothing("chatty-calls", &mut world(100, &tries));
}

#[test]
fn calls_without_a_timeout_are_told_if_there_are_enough() {
    let world = |policy, times| {
        let mut world = World::new(facts(&[("web>cart", policy)]));
        world.see(times, &chain("web cart"));
        world
    };
    let careless = Policy { timeout: None, ..sound() };
    nothing("no-timeout", &mut world(careless, policies::TIMEOUT_TRACES_MIN - 1));
    nothing("no-timeout", &mut world(sound(), 100));
    check(
        "no-timeout",
        &mut world(careless, policies::TIMEOUT_TRACES_MIN),
        &expect![[r#"
        20 calls to `cart` by `web` have no timeout; the longest took 0.7 ms [1 2 3]
    "#]],
    );
    // Of calls that somebody else carries nothing is known.
    nothing("no-timeout", World::new(Facts::default()).see(100, &chain("web cart")));
}

#[test]
fn failures_that_are_not_tried_again_are_told() {
    let careless = Policy { retry: None, ..sound() };
    let failing = call("web", [call("cart", []).failing()]);
    let world = |policy, good, bad| {
        let mut world = World::new(facts(&[("web>cart", policy)]));
        world.see(good, &chain("web cart")).see(bad, &failing);
        world
    };
    nothing("no-retry", &mut world(careless, 50, policies::FAILURES_MIN - 1));
    nothing("no-retry", &mut world(sound(), 50, 50));
    nothing("no-retry", &mut world(careless, 49, 50));
    check(
        "no-retry",
        &mut world(careless, 50, policies::FAILURES_MIN),
        &expect![[r#"
        5 of 55 calls to `cart` by `web` failed, and none was tried again [51 52 53]
    "#]],
    );
    let in_one = call("web", (0..10).map(|_| call("cart", []).failing()));
    nothing(
        "no-retry",
        World::new(facts(&[("web>cart", careless)]))
            .see(50, &chain("web cart"))
            .see(policies::FAILED_TRACES_MIN - 1, &in_one),
    );
    let wrong = call("web", [call("cart", []).tagged("http.status_code", "404").tagged("error", "404")]);
    nothing("no-retry", World::new(facts(&[("web>cart", careless)])).see(50, &wrong));
}

#[test]
fn retries_are_told_where_they_multiply() {
    let retry = |times, budget| Policy { retry: Some(Retry { times, budget }), ..Policy::default() };
    let world = |first, second, times| {
        let mut world =
            World::new(facts(&[(">web", retry(1, 1.0)), ("web>cart", first), ("cart>catalog", second)]));
        world.see(times, &chain("web cart catalog"));
        world
    };
    let times = retries::CHAIN_TRACES_MIN;
    // 2 * 1.4 * 1.4 is less than 4, 2 * 2 is not.
    nothing("retries-multiply", &mut world(retry(3, 0.4), retry(3, 0.4), 100));
    nothing("retries-multiply", &mut world(retry(1, 1.0), retry(1, 0.0), times - 1));
    check(
        "retries-multiply",
        &mut world(retry(1, 1.0), retry(1, 0.0), times),
        &expect![[r#"
        `web` -> `cart`: 2 levels try again, so that `cart` may get 4.0 times its calls when it fails [1 2 3]
    "#]],
    );
    check(
        "retries-multiply",
        &mut world(retry(0, 1.0), retry(3, 2.0), times),
        &expect![[r#"
        `web` -> `cart` -> `catalog`: 2 levels try again, so that `catalog` may get 6.0 times its calls when it fails [1 2 3]
    "#]],
    );
    // One level alone multiplies nothing, however much.
    let mut alone = World::new(facts(&[("web>cart", retry(9, 9.0))]));
    nothing("retries-multiply", alone.see(100, &chain("web cart")));
}

#[test]
fn retries_within_retries_are_told_when_they_happened() {
    let tried = |made: Made, fails: bool| {
        let made = made.tagged("http.path", "/1");
        if fails { made.failing() } else { made }
    };
    let inner = || [tried(call("bank", []), true), tried(call("bank", []), true)];
    let outer = || call("web", [tried(call("pay", inner()), true), tried(call("pay", inner()), false)]);
    let times = retries::RETRIED_TRACES_MIN;
    nothing("retried-retries", World::new(Facts::default()).see(times - 1, &outer()));
    check(
        "retried-retries",
        World::new(Facts::default()).see(times, &outer()),
        &expect![[r#"
        `web` tried its call to `pay` again while `pay` tried its call to `bank` again, in 3 traces [1 2 3]
    "#]],
    );
    // At one level only.
    let above = call("web", [tried(call("pay", []), true), tried(chain("pay bank"), false)]);
    let below = call("web", [call("pay", inner())]);
    nothing("retried-retries", World::new(Facts::default()).see(100, &above).see(100, &below));
}

#[test]
fn what_everything_depends_on_needs_a_breaker() {
    let careless = Policy { breaker: false, ..sound() };
    let edges = |policy| {
        [("web>cart", sound()), ("cart>stock", policy), ("mail>stock", policy), ("ads>news", sound())]
    };
    let world = |policy, with_ads: bool, times| {
        let mut world = World::new(facts(&edges(policy)));
        world.see(times, &chain("web cart stock")).see(1, &chain("mail stock"));
        if with_ads {
            world.see(1, &chain("ads news")).see(1, &chain("news x"));
        }
        world
    };
    let times = policies::BREAKER_TRACES_MIN - 1;
    assert_eq!((policies::DEPENDENTS_MIN, policies::DEPENDENTS_SHARE_MIN), (3, 0.75));
    nothing("no-breaker", &mut world(careless, false, times - 1));
    nothing("no-breaker", &mut world(sound(), false, 100));
    nothing("no-breaker", &mut world(careless, true, 100));
    check(
        "no-breaker",
        &mut world(careless, false, times),
        &expect![[r#"
        3 of the 3 other services that call somebody depend on `stock`: `cart`, `mail` and `web` [1 2 3]
    "#]],
    );
    let mut two = World::new(facts(&[("cart>stock", careless), ("mail>stock", careless)]));
    nothing("no-breaker", two.see(100, &chain("cart stock")).see(100, &chain("mail stock")));
}

#[test]
fn calls_that_are_made_and_declared_differ() {
    let declared = || facts(&[("web>cart", sound()), ("web>news", sound()), ("cart>web", sound())]);
    let times = policies::UNUSED_TRACES_MIN;
    let world = |undeclared, used| {
        let mut world = World::new(declared());
        world.see(used, &chain("web cart")).see(undeclared, &chain("cart news"));
        world
    };
    nothing("unused-call", &mut world(0, times - 1));
    nothing("undeclared-call", &mut world(policies::UNDECLARED_TRACES_MIN - 1, 0));
    check(
        "undeclared-call",
        &mut world(policies::UNDECLARED_TRACES_MIN, 0),
        &expect![[r#"
        `cart` calls `news` in 3 traces and does not declare it [1 2 3]
    "#]],
    );
    check(
        "unused-call",
        &mut world(0, times),
        &expect![[r#"
        `cart` declares to call `web`, was at work in 100 traces and never did []
        `web` declares to call `news`, was at work in 100 traces and never did []
    "#]],
    );
    // A link of another time is as good; and who reports no calls may have made any.
    let mut world = world(0, times);
    nothing("unused-call", world.see_link("web", "news").see_link("cart", "web"));
    let quiet = Facts { sees_calls: false, ..declared() };
    nothing("unused-call", World::new(quiet).see(times, &chain("web")));
    let elsewhere = Facts { edges: BTreeMap::new(), ..declared() };
    nothing("unused-call", World::new(elsewhere).see(times, &chain("web")));
    // Of services that are in no manifest nothing is declared.
    nothing("undeclared-call", World::new(declared()).see(100, &chain("web stranger cart")));
}

#[test]
fn calls_at_once_need_a_deadline() {
    let careless = Policy { timeout: None, ..sound() };
    let page = |count| {
        call("web", (0..count).map(|_| call("cart", [call("db", []).silent()]))).at_once().named("/page")
    };
    let world = |outside, policy, times, page: &Made| {
        let mut world = World::new(facts(&[(">web", outside), ("web>cart", policy)]));
        world.see(times, page);
        world
    };
    let (count, times) = (calls::AT_ONCE_MIN, calls::FAN_TRACES_MIN);
    nothing("unbounded-fan-out", &mut world(careless, careless, 100, &page(count - 1)));
    nothing("unbounded-fan-out", &mut world(careless, careless, times - 1, &page(count)));
    nothing("unbounded-fan-out", &mut world(sound(), careless, 100, &page(count)));
    nothing("unbounded-fan-out", &mut world(careless, sound(), 100, &page(count)));
    check(
        "unbounded-fan-out",
        &mut world(careless, careless, times, &page(count)),
        &expect![[r#"
        `web` has 5 calls and more to `cart` under way at once to answer `/page`, in 3 traces; 5 or so at most; nothing bounds how long they take [1 2 3]
    "#]],
    );
    // Who waits may be bounded further up than the one that calls.
    let within = call("edge", [page(count)]);
    let edges = [(">edge", sound()), ("edge>web", careless), ("web>cart", careless)];
    nothing("unbounded-fan-out", World::new(facts(&edges)).see(100, &within));
    // One after the other is not at once.
    let slow = Made { at_once: false, ..page(count) };
    nothing("unbounded-fan-out", &mut world(careless, careless, 100, &slow));
}

#[test]
fn what_an_entry_needs_bounds_its_availability() {
    let failing = |service: &str| {
        let fail = |made: Made| if made.callee == service { made.failing() } else { made };
        call("web", [fail(call("cart", [])), fail(call("pay", []))]).named("/checkout").failing()
    };
    let good = call("web", [call("cart", []), call("pay", [])]).named("/checkout");
    let world = |well, cart, pay| {
        let mut world = World::new(Facts::default());
        world.see(well, &good).see(cart, &failing("cart")).see(pay, &failing("pay"));
        world
    };
    let (all, least) = (availability::ENTRY_TRACES_MIN, availability::FAILURES_MIN);
    nothing("availability", &mut world(all - 11, 5, 5));
    nothing("availability", &mut world(all, least - 1, 0));
    // Five of a thousand is less than what is lost in any case.
    nothing("availability", &mut world(1_000, least, 0));
    check(
        "availability",
        &mut world(all, 10, 5),
        &expect![[r#"
        `/checkout` of `web` needs 3 services one after the other and can be available 93.43 % of the time at best: `cart` 91.30 %, `pay` 95.65 % (15 of 115 traces failed) [101 102 103]
    "#]],
    );
    // What is made good, or called now and then, costs nothing.
    let tolerated = call("web", [call("cart", []).failing(), call("pay", [])]).named("/checkout");
    nothing("availability", World::new(Facts::default()).see(100, &good).see(50, &tolerated));
    let alone = call("web", []).failing();
    nothing("availability", World::new(Facts::default()).see(100, &call("web", [])).see(50, &alone));
    let retried = call(
        "web",
        [call("cart", []).failing().tagged("http.path", "/"), call("cart", []).tagged("http.path", "/")],
    );
    nothing("availability", World::new(Facts::default()).see(100, &retried));
}

#[test]
fn the_worst_comes_first_and_what_is_too_much_is_counted() {
    let mut world = World::new(Facts::default());
    for number in 0..FINDINGS_MAX + 3 {
        world.see(3, &chain(&format!("a b c d e f{number}")));
        world.see(3, &chain(&format!("x{number} y{number} x{number}")));
    }
    let report = world.report();
    assert_eq!((report.more, report.findings.len()), (6, 2 * FINDINGS_MAX));
    assert!(report.findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
    assert_eq!((report.traces, report.left_out), (78, 0));
}

#[test]
fn codes_are_told_apart_and_each_rule_has_a_minimum() {
    let mut codes: Vec<&str> = RULES.iter().map(|rule| rule.code).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), RULES.len());
    assert!(RULES.iter().all(|rule| rule.minimums.iter().all(|minimum| minimum.least > 0.0)));
    assert!(RULES.iter().all(|rule| !rule.minimums.is_empty()));
}
