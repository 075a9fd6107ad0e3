//! Makes the tables and brings them up to date, one program at a time. A database that Message DB's own scripts
//! made is taken as it is; what is ours stands beside it.

use super::link::Links;
use base::{Fault, Kind};
use std::sync::Arc;
use tokio_postgres::{Client, Error};

/// Each in its own transaction with its number; a change is a new one at the end.
const MIGRATIONS: &[(&str, &str)] = &[
    ("messages", include_str!("schema/messages.sql")),
    ("beside", include_str!("schema/beside.sql")),
    ("privileges", include_str!("schema/privileges.sql")),
];
/// The first makes what Message DB's own scripts make.
const MESSAGE_DB: usize = 0;
/// Whoever migrates holds this: "tombolo" as a number.
const LOCK: i64 = 0x746f_6d62_6f6c_6f00;
/// PostgreSQL 13 has `gen_random_uuid` of its own.
const SERVER_MIN: i32 = 130_000;

const SETTINGS: &str = "
    SET statement_timeout = 0;
    SET lock_timeout = 0";
const OURS: &str = "
    CREATE SCHEMA IF NOT EXISTS tombolo;
    CREATE TABLE IF NOT EXISTS tombolo.migrations (
        version bigint NOT NULL PRIMARY KEY,
        name text NOT NULL,
        applied timestamptz NOT NULL DEFAULT now()
    )";
/// The columns that Message DB has.
const COLUMNS: &str = "
    SELECT count(*) FROM information_schema.columns
    WHERE table_schema = 'message_store' AND table_name = 'messages' AND (column_name, data_type) IN (
        ('global_position', 'bigint'), ('position', 'bigint'), ('time', 'timestamp without time zone'),
        ('stream_name', 'text'), ('type', 'text'), ('data', 'jsonb'), ('metadata', 'jsonb'), ('id', 'uuid'))";
/// How many positions a session takes at once from the sequence of global positions.
const CACHED: &str = "
    SELECT cache_size FROM pg_sequences WHERE format('%I.%I', schemaname, sequencename)::regclass
        = pg_get_serial_sequence('message_store.messages', 'global_position')::regclass";

/// Applies what is missing.
pub(super) async fn migrate(links: &Arc<Links>) -> Result<(), Fault> {
    let lent = links.lend().await?;
    let client = &lent.client;
    let failed = |error: Error| {
        let fault = links.failed(error);
        let hint = "open the store once with a role that may create schemas in this database, best its owner";
        if fault.kind == Kind::Refused { fault.hint(hint) } else { fault }
    };
    let server: String = one(client, "SHOW server_version_num").await.map_err(failed)?;
    if server.parse().unwrap_or(0) < SERVER_MIN {
        let text = format!("{} is PostgreSQL `{server}`, at least `{SERVER_MIN}` is needed", links.place());
        return Err(Fault::new(Kind::Invalid, text));
    }
    // What is done already needs no rights.
    let is_done = version(client).await.map_err(failed)? == MIGRATIONS.len() as i64;
    if !is_done {
        client.batch_execute(SETTINGS).await.map_err(failed)?;
        // The session's, not the transaction's: one that begins behind the lock sees tables that its last holder made.
        client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(failed)?;
        client.batch_execute("BEGIN").await.map_err(failed)?;
        let applied = version(client).await.map_err(failed)?;
        if applied > MIGRATIONS.len() as i64 {
            let text = format!(
                "{} has tables of version `{applied}`, this program knows up to `{}`",
                links.place(),
                MIGRATIONS.len()
            );
            return Err(Fault::new(Kind::Invalid, text).hint("a newer version of the program made them"));
        }
        client.batch_execute(OURS).await.map_err(failed)?;
        let is_there: bool =
            one(client, "SELECT to_regclass('message_store.messages') IS NOT NULL").await.map_err(failed)?;
        for (nth, (name, sql)) in MIGRATIONS.iter().enumerate().skip(applied as usize) {
            let is_adopted = nth == MESSAGE_DB && is_there;
            if is_adopted && one::<i64>(client, COLUMNS).await.map_err(failed)? != 8 {
                let text = format!("{} has a table `message_store.messages` of other columns", links.place());
                return Err(Fault::new(Kind::Invalid, text).hint("Message DB 1.3.0 is what goes"));
            }
            if !is_adopted {
                client.batch_execute(sql).await.map_err(failed)?;
            }
            let note = "INSERT INTO tombolo.migrations (version, name) VALUES ($1, $2)";
            client.execute(note, &[&(nth as i64 + 1), name]).await.map_err(failed)?;
        }
        client.batch_execute("COMMIT").await.map_err(failed)?;
    }
    let cached: i64 = one(client, CACHED).await.map_err(failed)?;
    if cached != 1 {
        let text = format!("the sequence of global positions in {} has a cache of `{cached}`", links.place());
        return Err(Fault::new(Kind::Invalid, text)
            .hint("ALTER SEQUENCE message_store.messages_global_position_seq CACHE 1"));
    }
    if is_done {
        lent.give_back();
    }
    // Otherwise it is closed, with its settings and its lock.
    Ok(())
}

async fn version(client: &Client) -> Result<i64, Error> {
    if !one::<bool>(client, "SELECT to_regclass('tombolo.migrations') IS NOT NULL").await? {
        return Ok(0);
    }
    one(client, "SELECT coalesce(max(version), 0) FROM tombolo.migrations").await
}

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, sql: &str) -> Result<T, Error> {
    client.query_one(sql, &[]).await?.try_get(0)
}
