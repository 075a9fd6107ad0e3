//! One node, one consumer: the order of a stream, failures and dead letters, restarts, filters, pauses and moves.

use super::*;
use store::state::Change;

#[tokio::test]
async fn messages_are_handled_in_the_order_of_their_streams_and_streams_beside_each_other() {
    let world = World::new();
    let node = world.node(None);
    *lock(&world.seen.takes) = Duration::from_millis(300);
    world.append(&["order-1", "order-2", "order-1", "cart-1", "order-3"]).await;
    assert!(node.consumers.put("billing", pushed("order")).await.unwrap());
    assert!(!node.consumers.put("billing", pushed("order")).await.unwrap(), "nothing changed");
    node.caught_up(&world, "billing").await;
    assert_eq!(world.seen.texts(), ["order-1/0#1", "order-2/0#1", "order-3/0#1", "order-1/1#1"]);
    assert_eq!(world.seen.under_way_most.load(Ordering::SeqCst), 3);
    world.append(&["order-2"]).await;
    world.called(5).await;
    node.caught_up(&world, "billing").await;
    let status = node.consumers.show("billing").await.unwrap();
    assert_eq!((status.position, status.shares[0].counted.handled), (6, 5));
    assert_eq!(status.shares[0].node.as_deref(), Some("alone"));
    assert!(lock(&world.seen.together).is_empty());
}

#[tokio::test]
async fn a_failing_message_is_tried_again_and_is_at_last_a_dead_letter() {
    let world = World::new();
    let node = world.node(None);
    world.seen.answer(|call| Ok(if call.messages[0].0 == "order-1" { failed() } else { ok() }));
    let definition = Definition { attempts: 3, ..pushed("order") };
    node.consumers.put("billing", definition).await.unwrap();
    world.append(&["order-1", "order-2", "order-2"]).await;
    world.called(3).await;
    node.caught_up(&world, "billing").await;
    let calls = world.seen.texts();
    let of = |stream: &str| calls.iter().filter(|call| call.starts_with(stream)).cloned().collect::<Vec<_>>();
    assert_eq!(of("order-1"), ["order-1/0#1", "order-1/0#2", "order-1/0#3"]);
    assert_eq!(of("order-2"), ["order-2/0#1", "order-2/1#1"]);

    let letters = node.consumers.dead_letters("billing", 0, 10).await.unwrap();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.global_position, letter.attempts, letter.before), (1, 3, 0));
    assert_eq!(letter.reason, "the handler answered 500");
    let told = world.store.last("deadLetters-billing", None).await.unwrap().unwrap();
    let causation = told.metadata.unwrap();
    assert_eq!(causation.field("causationMessageStreamName").unwrap(), "order-1");
    assert_eq!(told.data.unwrap().field("reason").unwrap(), "the handler answered 500");
}

#[tokio::test]
async fn a_dead_letter_is_tried_again_or_discarded() {
    let world = World::new();
    let node = world.node(None);
    world.seen.answer(|_| Ok(failed()));
    let definition = Definition { attempts: 1, ..pushed("order") };
    node.consumers.put("billing", definition).await.unwrap();
    world.append(&["order-1", "order-2", "order-3"]).await;
    node.caught_up(&world, "billing").await;
    let dead = async || {
        let letters = node.consumers.dead_letters("billing", 0, 10).await.unwrap();
        letters.iter().map(|letter| (letter.global_position, letter.before)).collect::<Vec<_>>()
    };
    assert_eq!(dead().await, [(1, 0), (2, 0), (3, 0)]);
    node.consumers.resolve("billing", 2, Wish::Discard).await.unwrap();
    assert!(node.consumers.resolve("billing", 2, Wish::Retry).await.is_err(), "it is discarded");
    node.consumers.resolve("billing", 3, Wish::Retry).await.unwrap();
    world.until("it died again", async || dead().await == [(1, 0), (3, 1)]).await;
    world.seen.answer(|_| Ok(ok()));
    assert_eq!(node.consumers.retry_all("billing").await.unwrap(), 2);
    world.called(6).await;
    world.until("none is left", async || records::count(&world.state, "again/", 1).await.unwrap() == 0).await;
    assert!(dead().await.is_empty());
    let mut retried = world.seen.texts().split_off(4);
    retried.sort();
    assert_eq!(retried, ["order-1/0#1", "order-3/0#1"], "as what they were");
    let page = world.store.read(Read::stream("deadLetters-billing")).await.unwrap();
    let mut kinds: Vec<_> = page.messages.iter().map(|message| message.kind.as_str()).collect();
    kinds.sort_unstable();
    let died = ["DeadLettered"; 4];
    let rest = ["DeadLetterDiscarded", "DeadLetterRetried", "DeadLetterRetried", "DeadLetterRetried"];
    assert_eq!(kinds, [rest, died].concat());
}

#[tokio::test]
async fn with_enough_dead_letters_what_fails_waits_until_there_is_room() {
    let world = World::new();
    let node = world.node(None);
    world.seen.answer(|_| Ok(failed()));
    node.consumers.put("billing", Definition { attempts: 1, ..pushed("order") }).await.unwrap();
    world.append(&["order-1"]).await;
    node.caught_up(&world, "billing").await;
    let letter = node.consumers.dead_letters("billing", 0, 1).await.unwrap().remove(0);
    let letter = serde_json::to_vec(&letter).unwrap();
    let filled: Vec<i64> = (1_000_001..).take(definition::bounds::DEAD_LETTERS_KEPT_MAX - 1).collect();
    for positions in filled.chunks(1_000) {
        let set = |position: &i64| Change::set(records::dead_key("billing", *position), letter.clone());
        world.state.apply(positions.iter().map(set).collect()).await.unwrap();
    }
    // The share counts anew when it begins, which it does once it has seen that it was set.
    node.consumers.replay("billing", Start::End).await.unwrap();
    let etag = async || records::place(&world.state, "billing", 0).await.unwrap().unwrap().1;
    let (set, begun) = (etag().await, world.clock.now());
    let is_begun = async || etag().await != set || world.clock.now().since(begun) > Duration::from_secs(10);
    world.until("it begins", is_begun).await;
    world.append(&["order-2"]).await;
    world.called(3).await;
    let show = async || node.consumers.show("billing").await.unwrap();
    let is_told = async || show().await.error.is_some_and(|error| error.contains("dead letters wait"));
    world.until("it is told", is_told).await;
    let status = show().await;
    let error = status.error.unwrap();
    assert_eq!(status.lag.messages, 1, "it was tried twice and is no dead letter");
    assert!(error.starts_with("`10000` dead letters wait") && error.ends_with("answered 500"), "{error}");
    node.consumers.resolve("billing", 1_000_001, Wish::Discard).await.unwrap();
    // To show all counts the dead letters, for which the clock would have to wait each time.
    let is_put_aside =
        async || node.consumers.dead_letters("billing", 1, 1).await.unwrap()[0].stream_name == "order-2";
    world.until("there is room", is_put_aside).await;
    node.caught_up(&world, "billing").await;
    // Those that wait already take no more room than they have.
    node.consumers.replay("billing", Start::Position(0)).await.unwrap();
    let calls = world.seen.count();
    world.called(calls + 2).await;
    node.caught_up(&world, "billing").await;
    assert_eq!(world.seen.texts().split_off(calls), ["order-1/0#1", "order-2/0#1"]);
}

#[tokio::test]
async fn a_handler_that_asks_for_time_has_not_failed() {
    let world = World::new();
    let node = world.node(None);
    world.seen.answer(|call| match call.attempt {
        1 if call.messages[0].1 == 0 => {
            Ok(Pushed { status: 503, retry_after: Some(Duration::from_secs(30)), body: vec![] })
        }
        _ => Ok(ok()),
    });
    node.consumers.put("billing", Definition { attempts: 1, ..pushed("order") }).await.unwrap();
    world.append(&["order-1"]).await;
    world.called(1).await;
    let begun = world.clock.now();
    world.called(3).await;
    assert!(world.clock.now().since(begun) >= Duration::from_secs(59), "twice half a minute");
    assert_eq!(node.consumers.dead_letters("billing", 0, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_handler_that_does_not_answer_is_broken_off() {
    let world = World::new();
    let node = world.node(None);
    *lock(&world.seen.takes) = Duration::from_secs(3_600);
    let definition = Definition { attempts: 2, timeout: Duration::from_secs(5), ..pushed("order") };
    node.consumers.put("billing", definition).await.unwrap();
    world.append(&["order-1"]).await;
    node.caught_up(&world, "billing").await;
    let letters = node.consumers.dead_letters("billing", 0, 10).await.unwrap();
    assert_eq!(letters[0].reason, "the handler did not answer within 5s");
    assert_eq!(world.seen.texts(), ["order-1/0#1", "order-1/0#2"]);
}

#[tokio::test]
async fn what_a_handler_refuses_is_a_dead_letter_at_once_where_that_is_wished() {
    let world = World::new();
    let node = world.node(None);
    world.seen.answer(|_| Ok(Pushed { status: 422, ..Pushed::default() }));
    let definition = Definition { refused: Refused::DeadLetter, ..pushed("order") };
    node.consumers.put("billing", definition).await.unwrap();
    world.append(&["order-1"]).await;
    node.caught_up(&world, "billing").await;
    assert_eq!(world.seen.count(), 1);
    assert_eq!(node.consumers.show("billing").await.unwrap().dead_letters, 1);
}

#[tokio::test]
async fn a_restart_repeats_nothing_that_was_written_down() {
    let world = World::new();
    let node = world.node(None);
    world.seen.answer(|call| Ok(if call.messages[0].0 == "order-1" { failed() } else { ok() }));
    node.consumers.put("billing", pushed("order")).await.unwrap();
    world.append(&["order-1", "order-2", "order-3", "order-2"]).await;
    world.called(4).await;
    let lag = async || node.consumers.show("billing").await.unwrap().lag.messages;
    world.until("only one is left", async || lag().await == 1).await;
    // The position stands before the first message, and those behind it are known to be handled.
    assert_eq!(node.consumers.show("billing").await.unwrap().position, 0);
    node.scope.stop(Duration::from_secs(3_600)).await;
    lock(&world.seen.calls).clear();
    world.seen.answer(|_| Ok(ok()));
    let node = world.node(None);
    node.caught_up(&world, "billing").await;
    assert_eq!(world.seen.texts(), ["order-1/0#1"]);
}

#[tokio::test]
async fn what_handlers_answer_is_appended_once_whatever_is_repeated() {
    let world = World::new();
    let node = world.node(None);
    world.seen.answer(|call| {
        let (stream, position) = &call.messages[0];
        Ok(appending(&format!("did-{stream}.{position}")))
    });
    node.consumers.put("billing", pushed("order")).await.unwrap();
    world.append(&["order-1", "order-2"]).await;
    let both = async || world.length("did-order-1.0").await + world.length("did-order-2.0").await;
    world.until("both are in", async || both().await == 2).await;
    // Killed before it could write how far it is.
    let before = world.seen.count();
    node.kill().await;
    let node = world.node(None);
    node.caught_up(&world, "billing").await;
    assert_eq!((world.seen.count(), both().await), (before, 2), "they were not even delivered again");
    let message = world.store.last("did-order-1.0", None).await.unwrap().unwrap();
    assert_eq!(message.metadata.unwrap().field("causationMessageStreamName").unwrap(), "order-1");
    // Who sets it back wants its handler called; what that answers is in.
    node.consumers.replay("billing", Start::Beginning).await.unwrap();
    world.called(before + 2).await;
    node.caught_up(&world, "billing").await;
    assert_eq!(both().await, 2);
}

#[tokio::test]
async fn what_was_set_back_is_handled_again_though_its_node_is_killed() {
    let world = World::new();
    let mut node = world.node(None);
    world.seen.answer(|call| {
        let (stream, position) = &call.messages[0];
        Ok(appending(&format!("did-{stream}.{position}")))
    });
    node.consumers.put("billing", pushed("order")).await.unwrap();
    world.append(&["order-1", "order-2"]).await;
    node.caught_up(&world, "billing").await;
    for is_removed in [false, true] {
        lock(&world.seen.calls).clear();
        *lock(&world.seen.takes) = Duration::from_secs(3_600);
        if is_removed {
            node.consumers.remove("billing").await.unwrap();
            node.consumers.put("billing", pushed("order")).await.unwrap();
        } else {
            node.consumers.replay("billing", Start::Beginning).await.unwrap();
        }
        world.called(2).await;
        node.kill().await;
        *lock(&world.seen.takes) = Duration::ZERO;
        node = world.node(None);
        node.caught_up(&world, "billing").await;
        // What was answered the first time is there, and is no answer to the second.
        assert_eq!(world.seen.texts().split_off(2), ["order-1/0#1", "order-2/0#1"]);
        assert_eq!(world.length("did-order-1.0").await, 1);
    }
}

#[tokio::test]
async fn a_consumer_takes_only_what_it_asks_for() {
    let world = World::new();
    let node = world.node(None);
    for (stream, kind, correlation) in [
        ("order-1", "A", "cart-1"),
        ("order-2", "B", "cart-1"),
        ("order-3", "C", "cart-2"),
        ("order-4", "A", "shop-1"),
    ] {
        let metadata = format!(r#"{{"correlationStreamName":"{correlation}"}}"#);
        let message = NewMessage {
            id: Uuid::from_u128(rand()),
            kind: kind.to_owned(),
            data: None,
            metadata: Some(Json::parse(&metadata).unwrap()),
        };
        let append = Append { stream: stream.to_owned(), expected_version: None, messages: vec![message] };
        world.store.append(vec![append]).await.unwrap();
    }
    let types = |types: &[&str]| types.iter().map(|kind| (*kind).to_owned()).collect();
    let of = |name: &str| {
        let calls = lock(&world.seen.calls);
        let mine = calls.iter().filter(|call| call.consumer == name).map(|call| call.messages[0].0.clone());
        mine.collect::<Vec<_>>()
    };
    for (name, definition, expected) in [
        ("one", Definition { types: types(&["A"]), ..pushed("order") }, vec!["order-1", "order-4"]),
        (
            "two",
            Definition { types: types(&["A", "C"]), ..pushed("order") },
            vec!["order-1", "order-3", "order-4"],
        ),
        (
            "three",
            Definition { correlation: Some("cart".into()), types: types(&["A", "B"]), ..pushed("order") },
            vec!["order-1", "order-2"],
        ),
        ("four", Definition { start: Start::End, ..pushed("order") }, vec![]),
        ("five", Definition { start: Start::Position(3), ..pushed("order") }, vec!["order-3", "order-4"]),
        (
            "six",
            Definition { handler: Some(Handler::parse("elsewhere").unwrap()), ..pushed("order") },
            vec![],
        ),
    ] {
        node.consumers.put(name, definition).await.unwrap();
        if name != "six" {
            node.caught_up(&world, name).await;
        }
        assert_eq!(of(name), expected, "{name}");
    }
    let lag = node.consumers.show("six").await.unwrap().lag;
    assert_eq!((lag.messages, lag.is_exact, lag.age.is_some()), (4, true, true));
    assert_eq!(node.consumers.list().await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_consumer_begins_at_a_time() {
    let world = World::new();
    world.append(&["order-1"]).await;
    world.hand.advance(Duration::from_secs(10));
    world.append(&["order-2", "order-3"]).await;
    let at = i64::try_from(world.clock.unix().micros()).unwrap();
    let place = async |start| moves::resolve(&world.store, "order", start).await.unwrap();
    assert_eq!(place(Start::Time(at)).await, 1);
    assert_eq!(place(Start::Time(at + 1)).await, 3);
    assert_eq!(place(Start::Time(0)).await, 0);
    assert_eq!((place(Start::Beginning).await, place(Start::End).await), (0, 3));
}

#[tokio::test]
async fn a_consumer_is_paused_set_back_and_lets_messages_out() {
    let world = World::new();
    let node = world.node(None);
    node.consumers.put("billing", pushed("order")).await.unwrap();
    world.append(&["order-1", "order-2"]).await;
    node.caught_up(&world, "billing").await;
    node.consumers.pause("billing").await.unwrap();
    let share = async || node.consumers.show("billing").await.unwrap().shares[0].node.clone();
    world.until("nobody has it", async || share().await.is_none()).await;
    world.append(&["order-3", "order-4", "order-5"]).await;
    world.hand.advance(Duration::from_secs(60));
    assert_eq!((world.seen.count(), node.consumers.show("billing").await.unwrap().is_paused), (2, true));
    node.consumers.skip("billing", Skip::To(4)).await.unwrap();
    node.consumers.resume("billing").await.unwrap();
    world.called(3).await;
    node.consumers.replay("billing", Start::Position(2)).await.unwrap();
    world.called(7).await;
    node.caught_up(&world, "billing").await;
    let mut texts = world.seen.texts();
    texts[3..].sort();
    let order = ["order-1/0#1", "order-2/0#1", "order-5/0#1"];
    assert_eq!(texts, [&order[..], &["order-2/0#1", "order-3/0#1", "order-4/0#1", "order-5/0#1"]].concat());
}

#[tokio::test]
async fn one_message_that_holds_up_its_stream_is_left_out() {
    let world = World::new();
    let node = world.node(None);
    world.seen.answer(|call| Ok(if call.messages[0].1 == 0 { failed() } else { ok() }));
    let definition = Definition { attempts: 1_000, ..pushed("order") };
    node.consumers.put("billing", definition).await.unwrap();
    world.append(&["order-1", "order-1"]).await;
    world.called(2).await;
    assert!(node.consumers.skip("billing", Skip::Message(7)).await.is_err());
    node.consumers.skip("billing", Skip::Message(1)).await.unwrap();
    node.caught_up(&world, "billing").await;
    assert_eq!(world.seen.texts().last().unwrap(), "order-1/1#1");
}

#[tokio::test]
async fn a_batch_is_handled_at_once_and_one_by_one_where_it_failed() {
    let world = World::new();
    let node = world.node(None);
    world
        .seen
        .answer(|call| Ok(if call.messages.iter().any(|m| m.0 == "order-2") { failed() } else { ok() }));
    world.append(&["order-1", "order-2", "order-1"]).await;
    let definition = Definition { batch: 10, attempts: 2, ..pushed("order") };
    node.consumers.put("billing", definition).await.unwrap();
    node.caught_up(&world, "billing").await;
    let mut texts = world.seen.texts();
    assert_eq!(texts.remove(0), "order-1/0 order-1/1 order-2/0#1");
    texts.sort();
    assert_eq!(texts, ["order-1/0#2", "order-1/1#1", "order-2/0#2"]);
    assert_eq!(node.consumers.show("billing").await.unwrap().dead_letters, 1);
}

#[tokio::test]
async fn consumers_of_a_manifest_come_and_go_with_it_and_keep_their_positions() {
    let world = World::new();
    let node = world.node(None);
    let declared = || Declared { name: "billing".into(), definition: pushed("order"), member: None };
    node.consumers.put("mail", pushed("order")).await.unwrap();
    node.consumers.declare(vec![declared()]).await.unwrap();
    world.append(&["order-1"]).await;
    node.caught_up(&world, "billing").await;
    node.caught_up(&world, "mail").await;
    assert!(node.consumers.remove("billing").await.is_err(), "it is the manifest's");
    assert!(node.consumers.put("billing", pushed("cart")).await.is_err());
    node.consumers.declare(Vec::new()).await.unwrap();
    let fault = node.consumers.show("billin").await.unwrap_err();
    assert_eq!(fault.kind, Kind::NotFound);
    assert_eq!(node.consumers.list().await.unwrap().len(), 1, "mail stays");
    node.consumers.declare(vec![declared()]).await.unwrap();
    node.caught_up(&world, "billing").await;
    assert_eq!(world.seen.count(), 2, "nothing is handled again");
    node.consumers.remove("mail").await.unwrap();
    assert!(node.consumers.remove("mail").await.is_err());
    assert_eq!(records::count(&world.state, "position/mail", 1).await.unwrap(), 0);
}
