//! The properties of the fuzz target on its seeds and on bytes of chance.

#[path = "../../../fuzz/streams.rs"]
mod streams_properties;

use proptest::prelude::*;
use streams_properties::{any_connection, message};

#[test]
fn what_was_found_once_stays_mended() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/messagedb");
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder).expect("the seeds are there") {
        any_connection(&std::fs::read(entry.expect("an entry").path()).expect("a seed"));
        seeds += 1;
    }
    assert!(seeds >= 3);
}

/// A piece of SQL or of the protocol.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let sql = prop_oneof![
        Just("SELECT write_message(gen_random_uuid()::varchar, 'a-1', 'T', '{\"a\": [1]}', NULL, -1)"),
        Just("BEGIN"),
        Just("COMMIT"),
        Just("ROLLBACK TO s"),
        Just("SAVEPOINT s"),
        Just("SELECT * FROM messages WHERE stream_name LIKE 'a%' ORDER BY type DESC LIMIT 1"),
        Just("SELECT count(DISTINCT time), max(position) FROM messages; SELECT 1"),
        Just(
            "SET message_store.sql_condition = on; SELECT * FROM get_stream_messages('a-1', condition => 'data->0 = ''1''')"
        ),
        Just("LISTEN a"),
        Just("SELECT position, (data->'a')::int FROM messages"),
        Just("DISCARD ALL"),
        Just("SELECT * FROM stream_summary"),
        Just("SHOW ALL"),
        Just("INSERT INTO messages (stream_name, position, type) VALUES ('b', 0, 'T') RETURNING *"),
        Just("SELECT $1, $2::int + 1, $3 IS NULL"),
    ];
    let bytes = proptest::collection::vec(any::<u8>(), 0..24);
    prop_oneof![
        4 => sql.clone().prop_map(|sql| message(b'Q', &[sql.as_bytes(), &[0]].concat())),
        2 => sql.prop_map(|sql| message(b'P', &[&[0], sql.as_bytes(), &[0, 0, 0]].concat())),
        2 => Just(message(b'B', &[0, 0, 0, 0, 0, 0, 0, 0])),
        1 => Just(message(b'B', b"\0\0\0\0\0\x03\0\0\0\x01x\0\0\0\x017\xff\xff\xff\xff\0\x01\0\x01")),
        2 => Just(message(b'E', &[0, 0, 0, 0, 1])),
        1 => Just(message(b'D', b"S\0")),
        1 => Just(message(b'D', b"P\0")),
        2 => Just(message(b'S', b"")),
        1 => Just(message(b'H', b"")),
        1 => (any::<u8>(), bytes.clone()).prop_map(|(kind, body)| message(kind, &body)),
        1 => bytes,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_messages_are_served_to_the_end(pieces in proptest::collection::vec(piece(), 0..12)) {
        any_connection(&[&[1][..], &pieces.concat()].concat());
    }

    #[test]
    fn any_bytes_are_served_to_the_end(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        any_connection(&bytes);
    }
}
