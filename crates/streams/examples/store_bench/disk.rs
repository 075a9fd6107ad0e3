//! What the disk allows: the bytes of a group of messages, as the store would write them, written over zeros and synced
//! (`fdatasync`), with nothing else done.

use crate::load;
use base::{Chance, Clock};
use serde_json::{Value, json};
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use store::{Append, Embedded, LOG_FOLDER, LogOptions};

/// Bytes of the file, which is written again from its beginning when it is full.
const FILE_BYTES: usize = 64 << 20;

/// Writes groups of so many messages for so long, in a folder that is empty before and after.
pub(crate) fn measure(folder: &Path, group: usize, time: Duration) -> Value {
    let bytes = record_bytes(&folder.join("record")) * group;
    let path = folder.join("disk");
    std::fs::write(&path, vec![0; FILE_BYTES]).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.sync_all().unwrap();
    let written = vec![b'x'; bytes];
    let (mut offset, mut waits, begun) = (0, Vec::new(), Instant::now());
    while begun.elapsed() < time {
        if offset + bytes > FILE_BYTES {
            offset = 0;
        }
        let sent = Instant::now();
        file.write_all_at(&written, offset as u64).unwrap();
        file.sync_data().unwrap();
        waits.push(sent.elapsed());
        offset += bytes;
    }
    let rate = (waits.len() * group) as f64 / begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path).unwrap();
    let mut measured = crate::told(&mut waits);
    measured["rate"] = json!(rate);
    measured["bytes"] = json!(bytes);
    measured
}

/// How many bytes a message takes in the store's files.
fn record_bytes(folder: &Path) -> usize {
    let (embedded, _) = Embedded::open(folder, Clock::system(), LogOptions::default()).unwrap();
    let message = load::message(&Chance::seeded(1)).into_new();
    let append = Append { stream: "order0-500".into(), expected_version: None, messages: vec![message] };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(embedded.store().append(vec![append])).unwrap();
    drop(embedded);
    let mut bytes = 0;
    store::dump(&folder.join(LOG_FOLDER), 1, &mut |record| {
        bytes = record.bytes as usize;
        ControlFlow::Break(())
    })
    .unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    bytes
}
