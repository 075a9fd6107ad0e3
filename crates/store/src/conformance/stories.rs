//! Stories of the messages that every engine tells alike.

use super::{Which, World, append, each_engine, message, pages};
use crate::state::{Key, State};
use crate::{Append, AppendError, Encrypted, Json, NewMessage, Page, Read, Removal, Scope, Uuid, is_erased};
use base::{Chance, Clock};
use std::sync::Arc;

each_engine! {
    an_append_to_several_streams_goes_as_a_whole_or_not_at_all
    many_at_once_get_positions_without_gap_and_wake_who_waits
    a_page_keeps_within_its_bounds_and_the_next_goes_on
    a_deleted_stream_leaves_its_positions_and_a_tombstone
    a_category_that_was_emptied_goes_on_where_it_was
    what_is_appended_is_read_to_the_letter
    a_person_is_forgotten
}

async fn world(which: Which) -> World {
    World::open(which, Clock::system(), &Chance::seeded(1)).await
}

async fn an_append_to_several_streams_goes_as_a_whole_or_not_at_all(which: Which) {
    let mut world = world(which).await;
    let store = world.store();
    let one = |stream: &str, expected_version, id| Append {
        stream: stream.into(),
        expected_version,
        messages: vec![message(id, "1"), message(id + 100, "2")],
    };
    let appended =
        store.append(vec![one("b-1", Some(-1), 1), one("a-1", Some(-1), 2), one("b-1", Some(1), 3)]).await;
    let places: Vec<_> = appended.unwrap().iter().map(|a| (a.first_position, a.last_position)).collect();
    assert_eq!(places, [(0, 1), (0, 1), (2, 3)]);
    let error = store.append(vec![one("a-1", Some(1), 4), one("b-1", Some(1), 5)]).await.unwrap_err();
    assert_eq!(error.to_string(), "stream `b-1` is at version `3`, expected was `1`");
    let error = store.append(vec![one("c-1", None, 4), one("b-1", Some(3), 2)]).await.unwrap_err();
    assert!(matches!(error, AppendError::DuplicateId { id } if id == Uuid::from_u128(2)), "{error}");
    let error = store.append(vec![one("c-1", None, 4), one("d-1", None, 4)]).await.unwrap_err();
    assert!(matches!(error, AppendError::DuplicateId { .. }), "{error}");
    drop(store);
    world.open_again().await;
    let all = pages(&world.store(), Read::all()).await;
    let streams: Vec<&str> = all.iter().map(|message| message.stream.as_str()).collect();
    assert_eq!(streams, ["b-1", "b-1", "a-1", "a-1", "b-1", "b-1"]);
    assert_eq!(world.store().version("c-1").await.unwrap(), -1);
}

async fn many_at_once_get_positions_without_gap_and_wake_who_waits(which: Which) {
    let world = world(which).await;
    let store = world.store();
    let mut watches = [Scope::All, Scope::Category("a".into())].map(|scope| store.watch(scope));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..20u128 {
        let store = store.clone();
        tasks.spawn(async move {
            for nth in 0..25 {
                let messages = vec![message(task * 1000 + nth, "1")];
                store.append(append(format!("a-{}", task % 3), messages)).await.unwrap();
            }
        });
    }
    // Each reads along, woken and never asking on its own.
    for (watch, read) in watches.iter_mut().zip([Read::all(), Read::category("a")]) {
        let (mut seen, mut read) = (Vec::new(), read);
        while seen.len() < 500 {
            tokio::time::timeout(testkit::PATIENCE, watch.changed()).await.unwrap();
            loop {
                let page = store.read(read.clone()).await.unwrap();
                seen.extend(page.messages.into_iter().map(|message| (message.stream, message.position)));
                read.from = page.next;
                if !page.more {
                    break;
                }
            }
        }
        for stream in ["a-0", "a-1", "a-2"] {
            let positions = seen.iter().filter(|(of, _)| of == stream).map(|(_, position)| *position);
            assert!(positions.eq(0..=store.version(stream).await.unwrap()), "each once, in order");
        }
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
}

async fn a_page_keeps_within_its_bounds_and_the_next_goes_on(which: Which) {
    let world = world(which).await;
    let store = world.store();
    store.append(append("a", (0..10_000).map(|id| message(id, "1")).collect())).await.unwrap();
    store.append(append("a", vec![message(10_000, "1")])).await.unwrap();
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    for id in 0..20 {
        store.append(append("b", vec![message(20_000 + id, &large)])).await.unwrap();
    }
    let first = store.read(Read::stream("a").limit(usize::MAX)).await.unwrap();
    assert_eq!((first.messages.len(), first.more, first.next), (10_000, true, 10_000));
    let rest = store.read(Read::stream("a").from(first.next)).await.unwrap();
    assert_eq!((rest.messages.len(), rest.more), (1, false));
    let first = store.read(Read::stream("b")).await.unwrap();
    assert_eq!((first.messages.len(), first.more), (16, true));
    let rest = store.read(Read::stream("b").from(first.next)).await.unwrap();
    assert_eq!((rest.messages.len(), rest.more), (4, false));
    assert_eq!(store.read(Read::all().limit(0)).await.unwrap(), Page { next: 1, ..Page::default() });
}

async fn a_deleted_stream_leaves_its_positions_and_a_tombstone(which: Which) {
    let mut world = world(which).await;
    let store = world.store();
    for nth in 0..40u128 {
        store.append(append(format!("a-{}", nth % 2), vec![message(nth, "1")])).await.unwrap();
    }
    let tombstone = NewMessage { kind: "Deleted".into(), ..message(1000, "null") };
    assert_eq!(store.delete_stream("a-0", tombstone).await.unwrap(), 20);
    let again = Removal::Stream { stream: "a-0".into(), before: 20 };
    assert_eq!(store.remove(again).await.unwrap(), 0);
    drop(store);
    world.open_again().await;
    let store = world.store();
    let left = pages(&store, Read::stream("a-0")).await;
    assert_eq!(left.iter().map(|m| (m.position, m.kind.as_str())).collect::<Vec<_>>(), [(20, "Deleted")]);
    assert_eq!(store.version("a-0").await.unwrap(), 20);
    assert_eq!(store.by_id(Uuid::from_u128(0)).await.unwrap(), None);
    assert_eq!(pages(&store, Read::all()).await.len(), 21);
    // An id may be used again.
    store.append(append("a-0", vec![message(0, "1")])).await.unwrap();
    assert_eq!(store.version("a-0").await.unwrap(), 21);
}

async fn a_category_that_was_emptied_goes_on_where_it_was(which: Which) {
    let mut world = world(which).await;
    let store = world.store();
    for nth in 0..6u128 {
        store.append(append(format!("a-{}", nth % 2), vec![message(nth, "1")])).await.unwrap();
    }
    let all = Removal::Category { category: "a".into(), before: None, keep: Some(0) };
    assert_eq!(store.remove(all).await.unwrap(), 6);
    drop(store);
    world.open_again().await;
    let store = world.store();
    assert_eq!((store.version("a-1").await.unwrap(), store.head().await.unwrap()), (2, 6));
    assert_eq!(store.categories(None, 9).await.unwrap()[0].messages, 6);
    let appended = store.append(append("a-1", vec![message(9, "1")])).await.unwrap();
    assert_eq!((appended[0].first_position, appended[0].first_global_position), (3, 7));
}

async fn what_is_appended_is_read_to_the_letter(which: Which) {
    let world = world(which).await;
    let store = world.store();
    let texts = [
        "null",
        "{}",
        r#"{"b": 1.50, "aa": [-0.0, 1e2, 123456789012345678901234567890, "é\u0001\"\\"], "b": 2}"#,
        "\"\u{1f980} and \\ud83e\\udd80\"",
    ];
    let messages: Vec<NewMessage> = (0..)
        .zip(texts)
        .map(|(id, text)| NewMessage { metadata: Some(Json::parse(text).unwrap()), ..message(id, text) })
        .chain([NewMessage { kind: "\u{7f}é 'T' \"".into(), data: None, ..message(9, "1") }])
        .collect();
    let stream = "ä \n'\"$1-\u{1f980}+x";
    store.append(append(stream, messages.clone())).await.unwrap();
    let read = store.read(Read::category("ä \n'\"$1")).await.unwrap().messages;
    assert_eq!(read.len(), messages.len());
    for (read, message) in read.into_iter().zip(messages) {
        let NewMessage { id, kind, data, metadata } = message;
        assert_eq!((read.id, read.kind, read.data, read.metadata), (id, kind, data, metadata));
        assert_eq!(read.stream, stream);
    }
}

async fn a_person_is_forgotten(which: Which) {
    let world = world(which).await;
    let (encrypted, state, _folder);
    match &world {
        World::Postgres { store, .. } => {
            let store = store.as_ref().unwrap();
            (encrypted, state, _folder) = (store.encrypted(Clock::system()), store.state(), None);
        }
        World::Memory(_) | World::Log(_) => {
            let folder = tempfile::tempdir().unwrap();
            let sqlite = crate::state::Sqlite::open(folder.path(), Clock::system()).unwrap();
            state = State::new(sqlite);
            let inner = Arc::new(crate::Memory::new(Clock::system()));
            encrypted = Arc::new(Encrypted::new(inner, state.clone(), Clock::system()));
            _folder = Some(folder);
        }
    }
    let store = crate::Store::of(encrypted.clone());
    let of_ann = NewMessage {
        metadata: Some(Json::parse("{\"subject\": \"ann\"}").unwrap()),
        ..message(1, "{\"name\": \"Ann\"}")
    };
    store.append(append("a-1", vec![of_ann.clone(), message(2, "1")])).await.unwrap();
    let read = async || pages(&store, Read::all()).await;
    assert_eq!(read().await[0].data, of_ann.data);
    assert!(encrypted.forget("ann").await.unwrap());
    assert_eq!(read().await.iter().map(is_erased).collect::<Vec<_>>(), [true, false]);
    assert_eq!(state.get(Key::new("$subject-keys", "ann")).await.unwrap(), None);
}
