//! The properties that the fuzz targets hold, on generated input and on files of a real store with a few bytes
//! changed.

#[path = "../../../fuzz/store.rs"]
mod store_properties;

use base::{Chance, Clock};
use proptest::prelude::*;
use std::path::Path;
use store::{Append, Embedded, Json, LogOptions, NewMessage, Uuid};

#[test]
fn texts_that_fuzzing_kept_are_no_reason_to_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/jsonb");
    let mut texts = 0;
    for entry in std::fs::read_dir(folder).expect("a folder of seeds") {
        let bytes = std::fs::read(entry.expect("a seed").path()).expect("a seed");
        store_properties::any_json(&String::from_utf8_lossy(&bytes));
        texts += 1;
    }
    assert!(texts >= 2);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_json_or_is_not(text in "\\PC{0,40}|[\\[\\]{}:,\"\\\\au0-9.eE+\\- ]{0,40}") {
        store_properties::any_json(&text);
    }
}

/// A segment and a backup of a small store.
async fn files() -> [Vec<u8>; 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let options = LogOptions { segment_bytes: 4 << 10, ..LogOptions::default() };
    let (embedded, _) = Embedded::open(&data, Clock::system(), options).expect("it opens");
    for id in 0..12u128 {
        let data = Json::parse("{\"some\": \"data\"}").expect("JSON");
        let message = NewMessage {
            id: Uuid::from_u128(id),
            kind: "T".into(),
            data: Some(data.clone()),
            metadata: Some(data),
        };
        let append = Append { stream: "a-1".into(), expected_version: None, messages: vec![message; 1] };
        embedded.store().append(vec![append]).await.expect("it is appended");
    }
    embedded.backup(&folder.path().join("backup")).expect("it is backed up");
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect("a file");
    [read("data/log/00000000000000000001.log"), read("backup")]
}

#[tokio::test]
async fn files_with_bytes_changed_are_read_or_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let chance = Chance::seeded(1);
    let [segment, backup] = files().await;
    for _ in 0..300 {
        let (which, bytes) = if chance.below(4) == 0 { (3, &backup) } else { (0, &segment) };
        let mut changed = [&[which][..], bytes].concat();
        for _ in 0..chance.below(3) {
            let at = 1 + chance.below(bytes.len());
            changed[at] = chance.bits() as u8;
        }
        if chance.below(3) == 0 {
            changed.truncate(chance.below(changed.len()));
        }
        store_properties::any_file(&changed, folder.path());
    }
}
