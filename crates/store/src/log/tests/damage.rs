//! What opening does with files that are not as they were left: a torn end is cut, anything else is refused
//! and nothing changed.

use super::sim::SimDisk;
use super::{all_messages, message};
use crate::log::disk::Disk;
use crate::log::verify::verify_disk;
use crate::log::{Log, open, record::HEAD_BYTES, run, segment};
use crate::{Append, LogOptions, Store, Uuid};
use base::{Chance, Clock, UnixTime};
use expect_test::expect;
use std::sync::Arc;

const OPTIONS: LogOptions = LogOptions {
    segment_bytes: 4 << 10,
    segment_messages: 1000,
    filter_bytes: 0,
    runs_in_filter: 4,
    background: false,
};

fn clock() -> Clock {
    Clock::by_hand(UnixTime::default()).0
}

/// A store with so many appends of two messages, each a group of its own.
async fn written(appends: u128) -> SimDisk {
    let disk = SimDisk::new(Chance::seeded(1));
    let (log, _) = Log::on(Arc::new(disk.clone()), clock(), OPTIONS).unwrap();
    let store = Store::new(log);
    for nth in 0..appends {
        let messages = vec![message(nth * 2, "{\"some\":\"data\"}"), message(nth * 2 + 1, "[1,2,3]")];
        let append = Append { stream: format!("a-{nth}"), expected_version: None, messages };
        store.append(vec![append]).await.unwrap();
    }
    disk
}

/// How many messages are there, or why it does not open.
fn opened(disk: &SimDisk) -> Result<usize, String> {
    let (writer, _) = open::open(Arc::new(disk.clone()), clock(), OPTIONS)
        .map_err(|fault| format!("{fault}\nhint: {}", fault.hint.as_deref().unwrap_or_default()))?;
    Ok(all_messages(&writer.shared).len())
}

/// Overwrites the first segment from an offset on.
fn overwrite(disk: &SimDisk, offset: usize, bytes: &[u8]) {
    disk.open(&segment::file_name(1)).unwrap().write_at(bytes, offset as u64).unwrap();
}

#[tokio::test]
async fn a_torn_end_is_cut_wherever_it_is_torn() {
    let disk = written(3).await;
    let content = disk.content(&segment::file_name(1));
    let group = HEAD_BYTES + "a-0T".len() + "{\"some\": \"data\"}".len();
    let group = group.next_multiple_of(8) + (HEAD_BYTES + "a-0T[1, 2, 3]".len()).next_multiple_of(8);
    let last = segment::HEADER_BYTES as usize + 2 * group;
    assert_eq!(content[last + group..].iter().position(|byte| *byte != 0), None);
    assert_ne!(content[last + 4], 0);
    let end = last + group - content[..last + group].iter().rev().take_while(|byte| **byte == 0).count();
    for torn in last..=end {
        // The disk got so far, the rest is as it was prepared: zeros.
        let cut = disk.copy();
        overwrite(&cut, torn, &vec![0; content.len() - torn]);
        let report = verify_disk(Arc::new(cut.copy())).unwrap();
        assert!(
            report.findings.is_empty() && (report.torn_bytes > 0) == (last < torn && torn < end),
            "{report:?}"
        );
        assert_eq!(opened(&cut), Ok(if torn < end { 4 } else { 6 }), "cut at {torn}");
        // Or it wrote what is behind and not what is before, one sector or the other.
        let hole = disk.copy();
        overwrite(&hole, last, &vec![0; torn - last]);
        assert_eq!(opened(&hole), Ok(if torn > last { 4 } else { 6 }), "hole up to {torn}");
        assert_eq!(opened(&hole), Ok(if torn > last { 4 } else { 6 }), "once cut, it stays so");
        let left = hole.content(&segment::file_name(1));
        assert!(torn == last || left[last..].iter().all(|byte| *byte == 0));
    }
}

#[tokio::test]
async fn a_damaged_middle_is_refused_and_nothing_changed() {
    let disk = written(3).await;
    let content = disk.content(&segment::file_name(1));
    let first_record = HEAD_BYTES + "a-0T{\"some\": \"data\"}".len();
    for offset in 64..64 + first_record {
        let damaged = disk.copy();
        damaged.damage(&segment::file_name(1), offset);
        let before = damaged.content(&segment::file_name(1));
        assert!(opened(&damaged).unwrap_err().contains("is damaged at byte `64`"), "{offset}");
        assert_eq!(damaged.content(&segment::file_name(1)), before);
    }
    let damaged = disk.copy();
    overwrite(&damaged, 64, &[0; 100]);
    expect![[r#"
        `00000000000000000001.log` is damaged at byte `64`: a record is not what was written
        hint: nothing was changed; bring this file back from a backup or a replica of the disk, or restore the backup"#]]
    .assert_eq(&opened(&damaged).unwrap_err());
    assert_eq!(content.len() % 8, 0);
}

#[tokio::test]
async fn a_sealed_segment_may_not_end_early_nor_be_missing() {
    let disk = written(100).await;
    let segments: Vec<i64> = open::files(&disk).unwrap().segments;
    assert!(segments.len() > 4, "{segments:?}");
    let (second, third) = (segments[1], segments[2]);
    // The index still stands for the segment, so that opening looks at no message of it; verify does.
    let damaged = disk.copy();
    damaged.damage(&segment::file_name(second), 1000);
    let report = verify_disk(Arc::new(damaged.clone())).unwrap();
    assert!(report.findings.iter().any(|finding| finding.contains("are no record")), "{report:?}");
    damaged.remove(&run::file_name(second, third)).unwrap();
    assert!(opened(&damaged).unwrap_err().contains("is damaged at byte"));

    let missing = disk.copy();
    missing.remove(&segment::file_name(third)).unwrap();
    let error = opened(&missing).unwrap_err();
    assert!(error.contains(&format!("the messages `{third}` to")), "{error}");
    let headless = disk.copy();
    headless.remove(&segment::file_name(1)).unwrap();
    assert!(opened(&headless).unwrap_err().contains("the messages `1` to"));
}

#[tokio::test]
async fn indexes_are_made_anew_where_they_are_missing_or_damaged() {
    let disk = written(100).await;
    let runs = open::files(&disk).unwrap().runs;
    assert!(verify_disk(Arc::new(disk.clone())).unwrap().findings.is_empty());
    for (first, end) in runs {
        let name = run::file_name(first, end);
        let sound = disk.content(&name);
        let removed = disk.copy();
        removed.remove(&name).unwrap();
        let damaged = disk.copy();
        damaged.damage(&name, 20);
        for disk in [removed, damaged] {
            let (_, recovered) = open::open(Arc::new(disk.clone()), clock(), OPTIONS).unwrap();
            assert_eq!((recovered.messages, recovered.indexes_made), (200, 1));
            assert_eq!(disk.content(&name), sound);
            assert!(verify_disk(Arc::new(disk)).unwrap().findings.is_empty());
        }
        // Elsewhere it does not show until somebody looks.
        let damaged = disk.copy();
        damaged.damage(&name, disk.content(&name).len() - 100);
        let report = verify_disk(Arc::new(damaged)).unwrap();
        assert!(report.findings[0].contains("delete this index file"), "{report:?}");
    }
}

#[tokio::test]
async fn a_store_of_a_newer_program_and_a_strange_directory_are_refused() {
    let disk = written(1).await;
    let newer = disk.copy();
    newer.create("FORMAT").unwrap().write_at(b"tombolo store 2\n", 0).unwrap();
    assert!(opened(&newer).unwrap_err().starts_with("the store is of format `tombolo store 2`"));
    let strange = SimDisk::new(Chance::seeded(1));
    strange.create("photo.jpg").unwrap();
    assert!(opened(&strange).unwrap_err().starts_with("the directory holds `photo.jpg` but no store"));
    let segment = disk.copy();
    let mut header = segment::header(1);
    header[8] = 2;
    overwrite(&segment, 0, &header);
    assert!(opened(&segment).unwrap_err().contains("is of version `2`"));
}

#[tokio::test]
async fn verify_finds_an_id_that_is_there_twice_and_a_stream_that_jumps() {
    let disk = written(100).await;
    // Written by a program that is not ours: the checksums are right, the content is not.
    let files = open::files(&disk).unwrap();
    let last = files.segments[files.segments.len() - 1];
    let mut bytes = Vec::new();
    let forged = crate::log::record::Record {
        removed: false,
        more: false,
        group: 64,
        global_position: last,
        position: 7,
        time: -5,
        id: Uuid::from_u128(1),
        stream: "a-0",
        kind: "T",
        metadata: None,
        data: Some("{ }"),
    };
    forged.write(&mut bytes);
    bytes.resize(4000, 0);
    disk.open(&segment::file_name(last)).unwrap().write_at(&bytes, 64).unwrap();
    let report = verify_disk(Arc::new(disk)).unwrap();
    let name = segment::file_name(last);
    assert_eq!(
        report.findings,
        [
            format!("`{name}` at byte `64`: message `{last}` is older than the one before it"),
            format!("`{name}` at byte `64`: message `{last}` holds JSON that is not canonical"),
            format!("`{name}`: stream `a-0` goes on at `7` and not at `2`"),
            format!("the messages `2` and `{last}` have the same id `{}`", Uuid::from_u128(1)),
        ]
    );
}
