//! Makes the schema `tombolo_traces` and brings it up to date, one node at a time.

use base::{Fault, Kind};
use std::sync::Arc;
use store::{Lent, Links};
use tokio_postgres::Error;

/// Each in its own transaction with its number; a change is a new one at the end.
const MIGRATIONS: &[(&str, &str)] = &[("parts", include_str!("schema.sql"))];
/// Whoever migrates holds this: "tracesm" as a number.
const LOCK: i64 = 0x7472_6163_6573_6d00;
/// From PostgreSQL 13 on tables that only grow are looked after as well.
const SERVER_MIN: i32 = 130_000;

const SETTINGS: &str = "
    SET statement_timeout = 0;
    SET lock_timeout = 0";
const OURS: &str = "
    CREATE SCHEMA IF NOT EXISTS tombolo_traces;
    CREATE TABLE IF NOT EXISTS tombolo_traces.migrations (
        version bigint NOT NULL PRIMARY KEY,
        name text NOT NULL,
        applied timestamptz NOT NULL DEFAULT now()
    )";

/// Applies what is missing.
pub(super) async fn migrate(links: &Arc<Links>) -> Result<(), Fault> {
    let lent = links.lend().await?;
    let failed = |error: Error| {
        let fault = links.failed(error);
        let hint = "open the store of spans once with a role that may create schemas in this database";
        if fault.kind == Kind::Refused { fault.hint(hint) } else { fault }
    };
    let client = lent.client();
    let server = client.query_one("SHOW server_version_num", &[]).await;
    let server: String = server.and_then(|row| row.try_get(0)).map_err(failed)?;
    if server.parse().unwrap_or(0) < SERVER_MIN {
        let text = format!("{} is PostgreSQL `{server}`, at least `{SERVER_MIN}` is needed", links.place());
        return Err(Fault::new(Kind::Invalid, text));
    }
    // What is done already needs no rights.
    let newest = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if version(&lent).await.map_err(failed)? == newest {
        lent.give_back();
        return Ok(());
    }
    client.batch_execute(SETTINGS).await.map_err(failed)?;
    // The session's, not the transaction's: one that begins behind the lock sees tables that its last holder made.
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(failed)?;
    client.batch_execute("BEGIN").await.map_err(failed)?;
    let applied = version(&lent).await.map_err(failed)?;
    if applied > newest {
        let text = format!(
            "{} has tables of spans of version `{applied}`, this program knows up to `{newest}`",
            links.place()
        );
        return Err(Fault::new(Kind::Invalid, text).hint("a newer version of the program made them"));
    }
    client.batch_execute(OURS).await.map_err(failed)?;
    for ((name, sql), version) in MIGRATIONS.iter().zip(1i64..).skip(applied as usize) {
        client.batch_execute(sql).await.map_err(failed)?;
        let note = "INSERT INTO tombolo_traces.migrations (version, name) VALUES ($1, $2)";
        client.execute(note, &[&version, name]).await.map_err(failed)?;
    }
    client.batch_execute("COMMIT").await.map_err(failed)?;
    // The connection is closed, with its settings and its lock.
    Ok(())
}

async fn version(lent: &Lent) -> Result<i64, Error> {
    let there = "SELECT to_regclass('tombolo_traces.migrations') IS NOT NULL";
    if !lent.client().query_one(there, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let version = "SELECT coalesce(max(version), 0) FROM tombolo_traces.migrations";
    lent.client().query_one(version, &[]).await?.try_get(0)
}
