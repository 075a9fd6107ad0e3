//! What the disk allows: groups of messages as large as the store made them, written over zeros and synced
//! (`fdatasync`) as the store does it, with nothing else done.

use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of the file, which is written again from its beginning when it is full.
const FILE_BYTES: usize = 64 << 20;

/// How large a group is.
pub(crate) struct Group {
    pub(crate) messages: f64,
    pub(crate) bytes: usize,
}

/// Writes such groups for so long, in a folder that is empty before and after.
pub(crate) fn measure(folder: &Path, group: Group, time: Duration) -> Value {
    let path = folder.join("disk");
    std::fs::write(&path, vec![0; FILE_BYTES]).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.sync_all().unwrap();
    let written = vec![b'x'; group.bytes];
    let (mut offset, mut waits, begun) = (0, Vec::new(), Instant::now());
    while begun.elapsed() < time {
        if offset + group.bytes > FILE_BYTES {
            offset = 0;
        }
        let sent = Instant::now();
        file.write_all_at(&written, offset as u64).unwrap();
        file.sync_data().unwrap();
        waits.push(sent.elapsed());
        offset += group.bytes;
    }
    let rate = waits.len() as f64 * group.messages / begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path).unwrap();
    let mut measured = crate::told(&mut waits);
    measured["rate"] = json!(rate);
    measured["group"] = json!(group.messages);
    measured["group_bytes"] = json!(group.bytes);
    measured
}
