//! Stories of the log: on a real directory, and on a disk that does its worst.

mod damage;
mod faults;
mod sim;

use super::*;
use crate::{Json, NewMessage, Store, Uuid};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn message(id: u128, data: &str) -> NewMessage {
    NewMessage {
        id: Uuid::from_u128(id),
        kind: "T".into(),
        data: Some(Json::parse(data).unwrap()),
        metadata: None,
    }
}

/// All that is visible.
fn all_messages(shared: &Shared) -> Vec<Message> {
    let (mut messages, mut read) = (Vec::new(), Read::all());
    loop {
        let page = shared.read(&read).unwrap();
        messages.extend(page.messages);
        if !page.more {
            return messages;
        }
        read.from = page.next;
    }
}

/// A log on a simulated disk, of options by chance, for what every engine has to do alike.
pub(crate) struct Simulated {
    disk: sim::SimDisk,
    clock: Clock,
    options: LogOptions,
    store: Store,
}

impl Simulated {
    pub(crate) fn new(clock: Clock, chance: &base::Chance) -> Self {
        let options = LogOptions {
            segment_bytes: 3_000 + 4_000 * chance.below(3) as u64,
            segment_messages: 5 + chance.below(60),
            filter_bytes: [0, 200, 1 << 20][chance.below(3)],
            runs_in_filter: 2 + chance.below(3),
            background: chance.below(2) == 0,
        };
        let disk = sim::SimDisk::new(chance.fork());
        let store = Store::new(Log::on(Arc::new(disk.clone()), clock.clone(), options).unwrap().0);
        Self { disk, clock, options, store }
    }

    pub(crate) fn store(&self) -> Store {
        self.store.clone()
    }

    /// Closes the log, finds nothing wrong with it, and opens it again.
    pub(crate) fn open_again(&mut self) {
        self.store = Store::new(crate::Memory::new(self.clock.clone()));
        let report = verify::verify_disk(Arc::new(self.disk.clone())).unwrap();
        assert!(report.findings.is_empty(), "{report:?}");
        self.store =
            Store::new(Log::on(Arc::new(self.disk.clone()), self.clock.clone(), self.options).unwrap().0);
    }
}

#[tokio::test]
async fn what_is_appended_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _hand) = Clock::by_hand(base::UnixTime(Duration::from_secs(5)));
    for round in 0..3u128 {
        let (log, recovered) = Log::open(folder.path(), clock.clone(), LogOptions::default()).unwrap();
        assert_eq!(recovered.messages, round as i64 * 2);
        let store = Store::new(log);
        let append = Append {
            stream: "a-1".into(),
            expected_version: Some(round as i64 * 2 - 1),
            messages: vec![message(round * 2, "1"), message(round * 2 + 1, "2")],
        };
        store.append(vec![append]).await.unwrap();
        let page = store.read(Read::stream("a-1")).await.unwrap();
        assert_eq!(page.messages.len() as u128, round * 2 + 2);
    }
}

#[test]
fn two_processes_do_not_hold_one_directory() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, _hand) = Clock::by_hand(base::UnixTime::default());
    let first = Log::open(folder.path(), clock.clone(), LogOptions::default()).unwrap();
    let fault = Log::open(folder.path(), clock.clone(), LogOptions::default()).unwrap_err();
    assert_eq!(fault.to_string(), format!("another process holds the store `{}`", folder.path().display()));
    assert_eq!(verify(folder.path()).unwrap_err().kind, Kind::Conflict);
    // The last words of the one before are waited for.
    let ending = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(first);
    });
    Log::open(folder.path(), clock, LogOptions::default()).unwrap();
    ending.join().unwrap();
}

#[tokio::test]
async fn many_at_once_get_positions_without_gap_and_wake_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let options = LogOptions { segment_messages: 300, ..LogOptions::default() };
    let store = Store::new(Log::open(folder.path(), clock, options).unwrap().0);
    let mut watch = store.watch(crate::Scope::Category("a".into()));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..20u128 {
        let store = store.clone();
        tasks.spawn(async move {
            for nth in 0..50 {
                let messages = vec![message(task * 1000 + nth, "1")];
                let stream = format!("a-{}", task % 3);
                store.append(vec![Append { stream, expected_version: None, messages }]).await.unwrap();
            }
        });
    }
    // Reads along, woken and never asking on its own.
    let (mut seen, mut from) = (0, 1);
    while seen < 1000 {
        tokio::time::timeout(testkit::PATIENCE, watch.changed()).await.unwrap();
        let page = store.read(Read::category("a").from(from).limit(1000)).await.unwrap();
        for message in page.messages {
            assert_eq!(message.global_position, seen + 1);
            seen += 1;
        }
        from = page.next;
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    drop(store);
    let report = verify(folder.path()).unwrap();
    assert_eq!((report.messages, report.findings), (1000, vec![]));
    let mut dumped = 0;
    dump(folder.path(), 500, &mut |record| {
        dumped += 1;
        assert_eq!(dump_bytes(folder.path(), &record).unwrap().len() as u64, record.bytes);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(dumped, 501);
}

#[tokio::test]
async fn a_stream_is_read_from_each_of_its_positions_though_not_every_part_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_messages: 10, ..LogOptions::default() };
    let store = Store::new(Log::open(folder.path(), Clock::system(), options).unwrap().0);
    // Parts of it alone, parts without it, and parts where it has one message among others.
    let streams = ["a-1", "b-1", "b-1", "a-1", "c-1", "b-1"];
    for nth in 0..600u128 {
        let burst = streams[(nth / 25) as usize % streams.len()];
        let stream = if nth % 13 == 0 { "a-1" } else { burst }.to_owned();
        let append = Append { stream, expected_version: None, messages: vec![message(nth, "1")] };
        store.append(vec![append]).await.unwrap();
    }
    for stream in ["a-1", "b-1", "c-1", "d-1"] {
        let version = store.version(stream).await.unwrap();
        for from in 0..=version + 2 {
            let read = store.read(Read::stream(stream).from(from).limit(3)).await.unwrap();
            let positions: Vec<i64> = read.messages.iter().map(|message| message.position).collect();
            assert_eq!(positions, (from..=version).take(3).collect::<Vec<_>>(), "{stream} from {from}");
        }
    }
}

#[tokio::test]
async fn a_deleted_stream_leaves_its_positions_and_a_tombstone_and_nothing_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_messages: 20, ..LogOptions::default() };
    let store = Store::new(Log::open(folder.path(), Clock::system(), options).unwrap().0);
    for nth in 0..100u128 {
        let data = if nth % 2 == 0 { "\"secret\"" } else { "\"open\"" };
        let stream = format!("a-{}", nth % 2);
        let append = Append { stream, expected_version: None, messages: vec![message(nth, data)] };
        store.append(vec![append]).await.unwrap();
    }
    // Who reads meanwhile sees a message or does not, and never an error.
    let reading = tokio::spawn({
        let store = store.clone();
        async move {
            loop {
                let all = store.read(Read::all().limit(1000)).await.unwrap().messages;
                if all.len() < 60 {
                    return all;
                }
            }
        }
    });
    let tombstone = NewMessage { kind: "Deleted".into(), ..message(1000, "null") };
    assert_eq!(store.delete_stream("a-0", tombstone).await.unwrap(), 50);
    assert_eq!(reading.await.unwrap().len(), 51);
    let left = store.read(Read::stream("a-0")).await.unwrap().messages;
    assert_eq!(left.iter().map(|m| (m.position, m.kind.as_str())).collect::<Vec<_>>(), [(50, "Deleted")]);
    assert_eq!(store.version("a-0").await.unwrap(), 50);
    assert_eq!(store.by_id(Uuid::from_u128(0)).await.unwrap(), None);
    // Asked again there is nothing to do, and no segment is sealed for it.
    let segments = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = segments();
    let again = crate::Removal::Stream { stream: "a-0".into(), before: 50 };
    assert_eq!((store.remove(again).await.unwrap(), segments()), (0, before));
    assert_eq!(store.read(Read::stream("a-1")).await.unwrap().messages.len(), 50);
    drop(store);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|bytes| bytes == b"secret"));
    }
    let report = verify(folder.path()).unwrap();
    assert_eq!((report.messages, report.removed, report.findings), (101, 50, vec![]));
}

#[tokio::test]
async fn the_calls_that_wait_for_the_disk_are_bounded_in_number_and_in_bytes() {
    let disk = sim::SimDisk::new(base::Chance::seeded(1));
    let stuck = disk.stuck();
    let (log, _) = Log::on(Arc::new(disk), Clock::system(), LogOptions::default()).unwrap();
    let log = Arc::new(log);
    for (calls, bytes) in [(WAITING_MAX as usize * 2, 1), (100, 1 << 20)] {
        let data = format!("\"{}\"", "x".repeat(bytes));
        stuck.store(true, Ordering::Release);
        let mut tasks = tokio::task::JoinSet::new();
        for call in 0..calls {
            let messages = vec![message((bytes * 100_000 + call) as u128, &data)];
            let append = Append { stream: format!("a-{call}"), expected_version: None, messages };
            let log = log.clone();
            tasks.spawn(async move { log.append_all(vec![append]).await.unwrap() });
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        if bytes == 1 {
            assert_eq!(log.room.available_permits(), 0, "the others wait before the queue");
        } else {
            assert!(log.room.available_permits() < 2_048, "less than two more fit");
        }
        stuck.store(false, Ordering::Release);
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    }
    testkit::eventually("all room is given back", || log.room.available_permits() == ROOM_PIECES as usize)
        .await;
}

#[tokio::test]
async fn the_calls_that_come_while_the_disk_is_busy_are_one_group() {
    let disk = sim::SimDisk::new(base::Chance::seeded(1));
    let stuck = disk.stuck();
    let (log, _) = Log::on(Arc::new(disk), Clock::system(), LogOptions::default()).unwrap();
    let log = Arc::new(log);
    stuck.store(true, Ordering::Release);
    let mut tasks = tokio::task::JoinSet::new();
    for call in 0..20 {
        let append =
            Append { stream: "a-1".into(), expected_version: None, messages: vec![message(call, "1")] };
        let log = log.clone();
        tasks.spawn(async move { log.append_all(vec![append]).await.unwrap() });
        tokio::task::yield_now().await;
    }
    stuck.store(false, Ordering::Release);
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let Grouped { groups, messages, bytes } = log.grouped();
    // The first is of whatever was there when the writer looked.
    assert!(groups == 2 || groups == 1, "{groups}");
    assert_eq!((messages, bytes), (20, 20 * 72));
}

#[tokio::test]
async fn memory_does_not_grow_with_the_log() {
    let (clock, _hand) = Clock::by_hand(base::UnixTime::default());
    let options = LogOptions {
        segment_bytes: 4 << 10,
        segment_messages: 20,
        filter_bytes: 4 << 10,
        runs_in_filter: 32,
        background: false,
    };
    let disk = sim::SimDisk::new(base::Chance::seeded(1));
    let (log, _) = Log::on(Arc::new(disk), clock, options).unwrap();
    for nth in 0..600u128 {
        let messages = (0..10).map(|of| message(nth * 10 + of, "1")).collect();
        let append = Append { stream: format!("a-{nth}"), expected_version: Some(-1), messages };
        log.append_all(vec![append]).await.unwrap();
    }
    assert_eq!(all_messages(&log.shared).len(), 6_000);
    let map = log.shared.map();
    assert!(map.segments.len() > shared::FILES_MAX);
    let in_memory = map.parts.iter().filter(|part| matches!(part, index::Part::Tail(..)));
    assert!(in_memory.count() <= 2);
    assert!(log.shared.open_files() <= shared::FILES_MAX);
    let (filter_bytes, open_runs) = log.shared.runs.held();
    assert!(filter_bytes <= 4 << 10 && open_runs <= run::OPEN_MAX);
    assert!(map.parts.len() > run::OPEN_MAX);
    assert_eq!(map.filters.len(), (map.parts.len() - 1) / 32, "most runs share a filter in a file");
}

#[tokio::test]
async fn a_full_disk_is_used_to_its_end_and_appends_go_on_when_there_is_room() {
    const ROOM: usize = 10 << 20;
    let disk = sim::SimDisk::new(base::Chance::seeded(1));
    disk.set_capacity(ROOM);
    let options = LogOptions { segment_bytes: 8 << 20, ..LogOptions::default() };
    let (log, _) = Log::on(Arc::new(disk.clone()), Clock::system(), options).unwrap();
    let data = format!("\"{}\"", "x".repeat(100_000));
    let append = async |log: &Log, id: u128| {
        let messages = vec![message(id, &data)];
        log.append_all(vec![Append { stream: "a".into(), expected_version: None, messages }]).await
    };
    let mut id = 0;
    let error = loop {
        match append(&log, id).await {
            Ok(_) => id += 1,
            Err(error) => break Fault::from(error),
        }
    };
    assert_eq!(error.to_string(), "the disk of the store is full");
    assert_eq!((error.retry, error.hint.as_deref()), (Retry::Safe, Some("make room on it")));
    assert!(id as usize * data.len() > ROOM * 8 / 10, "{id} messages fit");
    disk.set_capacity(2 * ROOM);
    append(&log, id).await.unwrap();
    drop(log);
    let (log, recovered) = Log::on(Arc::new(disk), Clock::system(), options).unwrap();
    assert_eq!(recovered.messages, id as i64 + 1);
    assert_eq!(all_messages(&log.shared).len(), id as usize + 1);
}
