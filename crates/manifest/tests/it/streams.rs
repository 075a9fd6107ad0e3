//! Streams and traces in a manifest: what is said of mistakes in them.

use crate::check;
use expect_test::expect;

#[test]
fn mistakes_in_what_is_kept_name_the_category() {
    check(
        "
streams:
  keep:
    metric: {age: 30d}
    audit: {count: -1}
    log: 720h
    order-1: {age: 24h}
    cart: {}
    mail:
    bill: {agee: 24h}
    old: {age: 720h, count: 10}
",
        expect![[r#"
            error: `age` of keep `metric`: `30d` is not a duration: `d` is no unit, use ns, us, ms, s, m or h
             --> tombolo.yaml:4:19
              |
            4 |     metric: {age: 30d}
              |                   ^^^
              |
              = hint: write it like `age: 720h` or `1m30s`; a day is `24h`
            error: `count` of keep `audit` must be a whole number from 0 to 1000000000000, found the number `-1`
             --> tombolo.yaml:5:20
              |
            5 |     audit: {count: -1}
              |                    ^^
              |
              = hint: for example `count: 1000000`
            error: keep `log` must be a map, found the text `720h`
             --> tombolo.yaml:6:10
              |
            6 |     log: 720h
              |          ^^^^
              |
              = hint: for example `log: {age: 720h}`
            error: `order-1` is no category of messages
             --> tombolo.yaml:7:5
              |
            7 |     order-1: {age: 24h}
              |     ^^^^^^^
              |
              = hint: a category is what stands before the first `-` in the name of a stream
            error: `keep` does not say what stays of `cart`
             --> tombolo.yaml:8:5
              |
            8 |     cart: {}
              |     ^^^^
              |
              = hint: give it an `age`, a `count` or both
            error: `keep` does not say what stays of `mail`
             --> tombolo.yaml:9:5
              |
            9 |     mail:
              |     ^^^^
              |
              = hint: give it an `age`, a `count` or both
            error: unknown key `agee` in keep `bill`
              --> tombolo.yaml:10:12
               |
            10 |     bill: {agee: 24h}
               |            ^^^^
               |
               = hint: did you mean `age`?"#]],
    );
    check(
        "streams: {keep: [metric]}",
        expect![[r#"
        error: `keep` of `streams` must be a map of categories to `age` and `count`, found a list
         --> tombolo.yaml:1:17
          |
        1 | streams: {keep: [metric]}
          |                 ^^^^^^^^
          |
          = hint: for example `keep: {metric: {age: 720h}, audit: {count: 1000000}}`"#]],
    );
    let many = (0..=256).fold(String::new(), |all, n| all + &format!("    c{n}: {{count: 1}}\n"));
    check(
        &format!("streams:\n  keep:\n{many}"),
        expect![[r#"
        error: `keep` of `streams` has 257 entries, at most 256 go
           --> tombolo.yaml:259:5
            |
        259 |     c256: {count: 1}
            |     ^^^^"#]],
    );
}

#[test]
fn a_wrong_store_is_not_shown() {
    check(
        "streams: {store: 'mysql://ada:secret@db/tombolo'}",
        expect![[r#"
            error: `store` of `streams` must be an address like `postgres://user@host:5432/database`
             --> tombolo.yaml:1:18
              |
            1 | streams: {store: *******************************}
              |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = hint: leave it out to keep messages in files of `dir`"#]],
    );
    check(
        "streams: {store: [secret]}",
        expect![[r#"
        error: `store` of `streams` must be an address like `postgres://user@host:5432/database`, found a list
         --> tombolo.yaml:1:18
          |
        1 | streams: {store: ********}
          |                  ^^^^^^^^
          |
          = hint: for example `store: postgres://tombolo@db.internal:5432/tombolo`"#]],
    );
    check(
        "streams: {store: {url: secret}}",
        expect![[r#"
        error: `store` of `streams` must be an address like `postgres://user@host:5432/database`, found a map
         --> tombolo.yaml:1:18
          |
        1 | streams: {store: ***** *******}
          |                  ^^^^^^^^^^^^^
          |
          = hint: for example `store: postgres://tombolo@db.internal:5432/tombolo`"#]],
    );
    check(
        "streams: {store: '', messagedb: '0.0.0.0:5433', sql_condition: yes}",
        expect![[r#"
        error: `store` of `streams` is an empty text
         --> tombolo.yaml:1:18
          |
        1 | streams: {store: **, messagedb: '0.0.0.0:5433', sql_condition: yes}
          |                  ^^
          |
          = hint: for example `store: postgres://tombolo@db.internal:5432/tombolo`, or remove the line
        error: `messagedb` of `streams` would be open to other machines
         --> tombolo.yaml:1:33
          |
        1 | streams: {store: **, messagedb: '0.0.0.0:5433', sql_condition: yes}
          |                                 ^^^^^^^^^^^^^^
          |
          = hint: write `messagedb: 127.0.0.1:5433`: it asks nobody who they are yet, so it stays on this machine
        error: `sql_condition` of `streams` must be `true` or `false`, found the text `yes`
         --> tombolo.yaml:1:64
          |
        1 | streams: {store: **, messagedb: '0.0.0.0:5433', sql_condition: yes}
          |                                                                ^^^
          |
          = hint: write `sql_condition: true`"#]],
    );
}

#[test]
fn a_password_is_not_shown_wherever_it_stands() {
    check(
        "streams: {stor: 'postgres://ada:secret@db/tombolo'}",
        expect![[r#"
        error: unknown key `stor` in `streams`
         --> tombolo.yaml:1:11
          |
        1 | streams: {stor: 'postgres://ada:******@db/tombolo'}
          |           ^^^^
          |
          = hint: did you mean `store`?"#]],
    );
    check(
        "streams: postgres://ada:secret@db/tombolo",
        expect![[r#"
        error: `streams` must be a map of settings, found the text `postgres://ada:******@db/tombolo`
         --> tombolo.yaml:1:10
          |
        1 | streams: postgres://ada:******@db/tombolo
          |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: for example `streams: {messagedb: '127.0.0.1:5433'}`"#]],
    );
    check(
        "streams:\n  store: postgres://ada:secret@db/a\n  store: postgres://ada:secret@db/b",
        expect![[r#"
            error: `store` is given twice
             --> tombolo.yaml:3:3
              |
            3 |   store: postgres://ada:***********
              |   ^^^^^
              |
              = hint: the first is on line 2: keep one of them"#]],
    );
    check(
        "streams: {store: 'postgres://ada:secret@db/tombolo",
        expect![[r#"
        error: this quote is never closed
         --> tombolo.yaml:1:18
          |
        1 | streams: {store: 'postgres://ada:******@db/tombolo
          |                  ^
          |
          = hint: add the closing quote; inside single quotes write `''` for one, inside double quotes `\"`"#]],
    );
}

#[test]
fn mistakes_in_traces_are_told_with_their_places() {
    check(
        "
traces:
  zipkin: 9411
  otlp_http: 127.0.0.1:9411
  otlp_grpc: 127.0.0.1:9411
  keep_age: 10s
  keep_size: 1MiB
  strict_trace_id: no
  sample: 5%
  retention: 7d
",
        expect![[r#"
            error: `zipkin` of `traces` must be an address like `127.0.0.1:8080`, or `off`, found the number `9411`
             --> tombolo.yaml:3:11
              |
            3 |   zipkin: 9411
              |           ^^^^
              |
              = hint: write `zipkin: 127.0.0.1:9411`
            error: port 9411 is taken twice, by `zipkin` of `traces` and `otlp_http` of `traces`
             --> tombolo.yaml:4:14
              |
            4 |   otlp_http: 127.0.0.1:9411
              |              ^^^^^^^^^^^^^^
              |
              = hint: give one of them another port
            error: port 9411 is taken twice, by `zipkin` of `traces` and `otlp_grpc` of `traces`
             --> tombolo.yaml:5:14
              |
            5 |   otlp_grpc: 127.0.0.1:9411
              |              ^^^^^^^^^^^^^^
              |
              = hint: give one of them another port
            error: `keep_age` of `traces` must be a duration from 1m to 87600h, found the text `10s`
             --> tombolo.yaml:6:13
              |
            6 |   keep_age: 10s
              |             ^^^
              |
              = hint: for example `keep_age: 24h`
            error: `keep_size` of `traces` must be a size from 64MiB to 8192GiB, found the text `1MiB`
             --> tombolo.yaml:7:14
              |
            7 |   keep_size: 1MiB
              |              ^^^^
              |
              = hint: for example `keep_size: 500MiB`
            error: `strict_trace_id` of `traces` must be `true` or `false`, found the text `no`
             --> tombolo.yaml:8:20
              |
            8 |   strict_trace_id: no
              |                    ^^
              |
              = hint: write `strict_trace_id: false`
            error: `sample` of `traces` must be a number from 0 to 1, or so many a second like `1000/s`, found the text `5%`
             --> tombolo.yaml:9:11
              |
            9 |   sample: 5%
              |           ^^
              |
              = hint: for example `sample: 0.05`
            error: unknown key `retention` in `traces`
              --> tombolo.yaml:10:3
               |
            10 |   retention: 7d
               |   ^^^^^^^^^
               |
               = hint: write `keep_age`"#]],
    );
}

#[test]
fn consumers_that_say_nothing_are_told_what_is_missing() {
    check(
        "consumers: {mail: }",
        expect![[r#"
        error: consumer `mail` has no `category`
         --> tombolo.yaml:1:13
          |
        1 | consumers: {mail: }
          |             ^^^^
          |
          = hint: write which messages it takes, such as `category: order`"#]],
    );
    check(
        "consumers: [mail]",
        expect![[r#"
        error: `consumers` must be a map of consumers by their names, found a list
         --> tombolo.yaml:1:12
          |
        1 | consumers: [mail]
          |            ^^^^^^
          |
          = hint: for example `consumers: {billing: {category: order}}`"#]],
    );
    check(
        "consumers: {mail: {category: order, refused: never, start: -1, types: [A, '']}}",
        expect![[r#"
        error: `refused` of consumer `mail` must be `retry` or `dead-letter`, found the text `never`
         --> tombolo.yaml:1:46
          |
        1 | consumers: {mail: {category: order, refused: never, start: -1, types: [A, '']}}
          |                                              ^^^^^
        error: `start` of consumer `mail` must be `beginning`, `end`, a global position or a time, found the number `-1`
         --> tombolo.yaml:1:60
          |
        1 | consumers: {mail: {category: order, refused: never, start: -1, types: [A, '']}}
          |                                                            ^^
          |
          = hint: for example `start: end`
        error: `types` of consumer `mail` is an empty text
         --> tombolo.yaml:1:75
          |
        1 | consumers: {mail: {category: order, refused: never, start: -1, types: [A, '']}}
          |                                                                           ^^
          |
          = hint: for example `types: [OrderPlaced, OrderCancelled]`, or remove the line"#]],
    );
}

#[test]
fn mistakes_in_outboxes_name_the_outbox_and_show_no_password() {
    check(
        "
streams:
  outboxes:
    billing: {database: 'mysql://ann:s3cret@db/billing'}
    shop: {table: outbox}
    'a b': {database: 'postgres://ann@db/shop'}
    mail: postgres://ann:s3cret@db/mail
    good: {database: 'postgres://ann:s3cret@db/shop', table: events.outbox, every: 0s}
",
        expect![[r#"
            error: `database` of outbox `billing` must be an address like `postgres://user@host:5432/database`
             --> tombolo.yaml:4:25
              |
            4 |     billing: {database: *******************************}
              |                         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = hint: for example `postgres://user@host:5432/database`
            error: outbox `shop` has no `database`
             --> tombolo.yaml:5:5
              |
            5 |     shop: {table: outbox}
              |     ^^^^
              |
              = hint: for example `shop: {database: 'postgres://user@host/database'}`
            error: `a b` can't be an outbox's name
             --> tombolo.yaml:6:5
              |
            6 |     'a b': {database: ************************}
              |     ^^^^^
              |
              = hint: use up to 100 letters, digits, `-`, `_` and `.`
            error: outbox `mail` must be a map, found the text `postgres://ann:******@db/mail`
             --> tombolo.yaml:7:11
              |
            7 |     mail: postgres://ann:******@db/mail
              |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = hint: for example `mail: {database: 'postgres://user@host/database'}`
            error: `every` of outbox `good` must be a duration from 10ms to 1h, found the text `0s`
             --> tombolo.yaml:8:84
              |
            8 |     good: {database: *******************************, table: events.outbox, every: 0s}
              |                                                                                    ^^
              |
              = hint: for example `every: 5s`"#]],
    );
}

#[test]
fn a_wrong_store_of_traces_is_not_shown() {
    check(
        "traces: {store: 'mysql://ada:secret@db/tombolo'}",
        expect![[r#"
        error: `store` of `traces` must be an address like `postgres://user@host:5432/database`, or the word `files`
         --> tombolo.yaml:1:17
          |
        1 | traces: {store: *******************************}
          |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: write `files` to keep spans in files of `dir`"#]],
    );
    check(
        "traces: {store: file, database: 'postgres://ada:secret@db/b'}",
        expect![[r#"
        error: `store` of `traces` must be an address like `postgres://user@host:5432/database`, or the word `files`
         --> tombolo.yaml:1:17
          |
        1 | traces: {store: ****, database: 'postgres://ada:******@db/b'}
          |                 ^^^^
          |
          = hint: write `files` to keep spans in files of `dir`
        error: unknown key `database` in `traces`
         --> tombolo.yaml:1:23
          |
        1 | traces: {store: ****, database: 'postgres://ada:******@db/b'}
          |                       ^^^^^^^^
          |
          = hint: write `store`"#]],
    );
}

#[test]
fn spans_are_kept_where_the_messages_are_unless_something_is_said() {
    let kept = |text: &str| {
        let (manifest, diagnostics) = manifest::read(&base::Source::new("tombolo.yaml", text));
        assert_eq!(diagnostics.len(), 0, "{text}");
        let traces = manifest.unwrap().traces.unwrap();
        traces.store.map_or_else(|| traces.dir.display().to_string(), |url| url.0)
    };
    let database = "streams: {store: 'postgres://ada@db/a'}";
    assert_eq!(kept(&format!("{database}\ntraces: {{}}")), "postgres://ada@db/a");
    assert_eq!(kept(&format!("traces: {{keep_age: 24h}}\n{database}")), "postgres://ada@db/a");
    assert_eq!(kept(&format!("{database}\ntraces: {{store: 'postgresql://db/b'}}")), "postgresql://db/b");
    assert_eq!(kept(&format!("{database}\ntraces: {{store: files}}")), ".tombolo/traces");
    assert_eq!(kept(&format!("{database}\ntraces: {{dir: spans}}")), "spans");
    assert_eq!(kept("streams: {}\ntraces: {}"), ".tombolo/traces");
    assert_eq!(kept("traces: {store: 'postgres://db/b', dir: spans}"), "postgres://db/b");
}
