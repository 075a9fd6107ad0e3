//! Consumers in a manifest: what is read, and what is said of mistakes.

use crate::{check, good};
use expect_test::expect;
use manifest::{ConsumerHandler, ConsumerStart};
use std::time::Duration;

#[test]
fn a_consumer_has_a_category_and_brings_streams_with_it() {
    let manifest =
        good("services: {shop: {run: a}}\nconsumers: {billing: {category: order, handler: shop/new/orders}}");
    assert_eq!(manifest.streams, Some(manifest::Streams::default()));
    let [consumer] = manifest.consumers.as_slice() else { panic!("{:?}", manifest.consumers) };
    assert_eq!((consumer.name.as_str(), consumer.category.as_str()), ("billing", "order"));
    let handler = ConsumerHandler { service: "shop".to_owned(), path: "/new/orders".to_owned() };
    assert_eq!(consumer.handler, Some(handler));
    assert_eq!((consumer.size, consumer.attempts, consumer.concurrency), (1, 10, 16));
    assert_eq!((consumer.timeout, consumer.backoff), (Duration::from_secs(30), Duration::from_millis(200)));
}

#[test]
fn a_consumer_begins_where_it_says() {
    for (text, start) in [
        ("beginning", ConsumerStart::Beginning),
        ("end", ConsumerStart::End),
        ("17", ConsumerStart::Position(17)),
        ("2026-11-26T12:00:00Z", ConsumerStart::Time("2026-11-26T12:00:00Z".to_owned())),
    ] {
        let manifest = good(&format!("consumers: {{mail: {{category: order, start: {text}}}}}"));
        assert_eq!(manifest.consumers[0].start, start, "{text}");
    }
}

#[test]
fn a_change_of_consumers_is_theirs_alone() {
    let text = "services: {shop: {run: a}}\nconsumers: {billing: {category: order}}";
    let changes = manifest::diff(&good(text), &good(&format!("# new\n{text}")));
    assert!(changes.is_empty(), "{changes:?}");
    let changes = manifest::diff(&good(text), &good(&text.replace("order", "cart")));
    assert_eq!(changes, manifest::Changes { consumers: true, ..Default::default() });
}

#[test]
fn mistakes_are_told_with_their_places() {
    check(
        "
services: {shop: {run: a}}
consumers:
  a b: {category: order}
  one: {handler: shop}
  two: {category: order-1, handler: shpo/orders}
  three: {category: order, handler: 'http://shop/x', types: A, start: yesterday}
  four: {category: order, size: 2, member: 2, backoff: 2m, attempts: 0, refused: drop}
  five: order
",
        expect![[r#"
            error: `a b` can't be a consumer's name
             --> tombolo.yaml:4:3
              |
            4 |   a b: {category: order}
              |   ^^^
              |
              = hint: use up to 100 letters, digits, `-`, `_` and `.`
            error: consumer `one` has no `category`
             --> tombolo.yaml:5:3
              |
            5 |   one: {handler: shop}
              |   ^^^
              |
              = hint: write which messages it takes, such as `category: order`
            error: `category` of consumer `two` must be a category, found `order-1`
             --> tombolo.yaml:6:19
              |
            6 |   two: {category: order-1, handler: shpo/orders}
              |                   ^^^^^^^
              |
              = hint: the category of the stream `order-1` is `order`
            error: `handler` of consumer `two` names `shpo`, which is no service
             --> tombolo.yaml:6:37
              |
            6 |   two: {category: order-1, handler: shpo/orders}
              |                                     ^^^^^^^^^^^
              |
              = hint: did you mean `shop`?
            error: `handler` of consumer `three` must be a service and a path, such as `shop/orders`, found `http://shop/x`
             --> tombolo.yaml:7:37
              |
            7 |   three: {category: order, handler: 'http://shop/x', types: A, start: yesterday}
              |                                     ^^^^^^^^^^^^^^^
              |
              = hint: name a service: one that runs elsewhere is declared with `at`
            error: `types` of consumer `three` must be a list of texts, found the text `A`
             --> tombolo.yaml:7:61
              |
            7 |   three: {category: order, handler: 'http://shop/x', types: A, start: yesterday}
              |                                                             ^
              |
              = hint: for example `types: [OrderPlaced, OrderCancelled]`
            error: `start` of consumer `three` must be `beginning`, `end`, a global position or a time, found the text `yesterday`
             --> tombolo.yaml:7:71
              |
            7 |   three: {category: order, handler: 'http://shop/x', types: A, start: yesterday}
              |                                                                       ^^^^^^^^^
              |
              = hint: for example `start: end`
            error: `member` of consumer `four` is 2, of a group of 2
             --> tombolo.yaml:8:44
              |
            8 |   four: {category: order, size: 2, member: 2, backoff: 2m, attempts: 0, refused: drop}
              |                                            ^
              |
              = hint: members count from 0 to `size` - 1
            error: `backoff_max` of consumer `four` is shorter than `backoff`: 1m and 2m
             --> tombolo.yaml:8:56
              |
            8 |   four: {category: order, size: 2, member: 2, backoff: 2m, attempts: 0, refused: drop}
              |                                                        ^^
              |
              = hint: write `backoff_max: 2m` or longer
            error: `attempts` of consumer `four` must be a whole number from 1 to 1000, found the number `0`
             --> tombolo.yaml:8:70
              |
            8 |   four: {category: order, size: 2, member: 2, backoff: 2m, attempts: 0, refused: drop}
              |                                                                      ^
              |
              = hint: for example `attempts: 3`
            error: `refused` of consumer `four` must be `retry` or `dead-letter`, found the text `drop`
             --> tombolo.yaml:8:82
              |
            8 |   four: {category: order, size: 2, member: 2, backoff: 2m, attempts: 0, refused: drop}
              |                                                                                  ^^^^
            error: consumer `five` must be a map, found the text `order`
             --> tombolo.yaml:9:9
              |
            9 |   five: order
              |         ^^^^^
              |
              = hint: for example `five: {category: order, handler: shop/orders}`"#]],
    );
}
