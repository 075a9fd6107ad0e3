//! What holds for every text that is given to the store, and for every file that it finds. The fuzz targets and
//! the ordinary tests of the store share these.
#![allow(dead_code, reason = "each of those who share this file uses a part of it")]

use std::ops::ControlFlow;
use std::path::Path;
use store::Json;

/// A text is read or refused. What is read is its own canonical text, and each of its fields can be found.
pub(crate) fn any_json(text: &str) {
    match Json::parse(text) {
        Ok(json) => {
            assert_eq!(Json::parse(json.as_str()).as_ref(), Ok(&json));
            drop(json.field("a"));
        }
        Err(error) => {
            assert!(error.offset <= text.len() && !error.to_string().is_empty());
            assert_eq!(error.kind.sqlstate().len(), 5);
        }
    }
}

/// Files of a store are read or refused, whatever is in them. The first byte says which file it is.
pub(crate) fn any_file(bytes: &[u8], folder: &Path) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let data = folder.join("data");
    drop(std::fs::remove_dir_all(&data));
    let write =
        |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("a folder to write to");
    if which % 4 == 3 {
        write("backup", bytes);
        drop(store::restore(&folder.join("backup"), &data));
        return;
    }
    std::fs::create_dir_all(&data).expect("a folder to write to");
    let first = "data/00000000000000000001.log";
    match which % 4 {
        0 => {
            write("data/FORMAT", b"tombolo store 1\n");
            write(first, bytes);
        }
        1 => write("data/FORMAT", bytes),
        _ => {
            write("data/FORMAT", b"tombolo store 1\n");
            write("data/00000000000000000001-00000000000000000002.idx", bytes);
        }
    }
    drop(store::verify(&data));
    let mut next = 1;
    let dumped = store::dump(&data, 1, &mut |record| {
        assert_eq!(record.message.global_position, next);
        next += 1;
        ControlFlow::Continue(())
    });
    if dumped.is_ok() && which % 4 == 0 {
        let clock = base::Clock::system();
        let (log, recovered) =
            store::Log::open(&data, clock, store::LogOptions::default()).expect("what is dumped opens");
        assert_eq!(recovered.messages, next - 1);
        drop(log);
    }
}
