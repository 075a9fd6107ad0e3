//! Stories of backups.

use super::*;
use crate::state::{Change, Key};
use crate::{Append, Json, NewMessage, Read, Uuid, verify};

fn open(path: &Path) -> Embedded {
    let options = LogOptions { segment_bytes: 16 << 10, ..LogOptions::default() };
    Embedded::open(path, Clock::system(), options).unwrap().0
}

async fn append(store: &Store, nth: u128) {
    let data = Json::parse(&format!("\"{}\"", "x".repeat(100))).unwrap();
    let message = NewMessage { id: Uuid::from_u128(nth), kind: "T".into(), data: Some(data), metadata: None };
    let append = Append { stream: format!("a-{}", nth % 7), expected_version: None, messages: vec![message] };
    store.append(vec![append]).await.unwrap();
}

#[tokio::test]
async fn a_backup_taken_while_appends_go_on_is_whole_and_can_be_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(&folder.path().join("data"));
    let store = embedded.store();
    for nth in 0..300 {
        append(&store, nth).await;
    }
    embedded.state().apply(vec![Change::set(Key::new("app", "position"), "300")]).await.unwrap();
    let file = folder.path().join("backup");
    let appending = tokio::spawn({
        let store = store.clone();
        async move {
            for nth in 300..600 {
                append(&store, nth).await;
            }
        }
    });
    let backup = tokio::task::spawn_blocking({
        let (embedded, file) = (embedded.clone(), file.clone());
        move || embedded.backup(&file).unwrap()
    });
    let backup = backup.await.unwrap();
    appending.await.unwrap();
    assert!(backup.messages >= 300);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), backup.bytes);

    let other = folder.path().join("other");
    restore(&file, &other).unwrap();
    assert_eq!(restore(&file, &other).unwrap_err().kind, Kind::Conflict);
    let report = verify(&other.join(LOG_FOLDER)).unwrap();
    assert_eq!(report.messages as i64, backup.messages);
    let restored = open(&other);
    assert_eq!(restored.store().head().await.unwrap(), backup.messages);
    let read = Read::all().limit(10_000).until(backup.messages);
    let ours = restored.store().read(read.clone()).await.unwrap().messages;
    assert_eq!(ours, store.read(read).await.unwrap().messages);
    let position = restored.state().get(Key::new("app", "position")).await.unwrap().unwrap();
    assert_eq!(position.bytes, b"300");
    append(&restored.store(), 1_000).await;
    drop(restored);
    assert!(verify(&other.join(LOG_FOLDER)).unwrap().findings.is_empty());
}

#[tokio::test]
async fn a_damaged_or_cut_backup_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(&folder.path().join("data"));
    append(&embedded.store(), 1).await;
    let (file, other) = (folder.path().join("backup"), folder.path().join("other"));
    embedded.backup(&file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    for offset in (0..bytes.len()).step_by(997) {
        let mut damaged = bytes.clone();
        damaged[offset] ^= 4;
        std::fs::write(&file, &damaged).unwrap();
        restore(&file, &other).unwrap_err();
        std::fs::write(&file, &bytes[..offset]).unwrap();
        restore(&file, &other).unwrap_err();
        assert!(!other.exists());
    }
    std::fs::write(&file, &bytes).unwrap();
    restore(&file, &other).unwrap();
}
