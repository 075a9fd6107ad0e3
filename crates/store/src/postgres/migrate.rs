//! Makes tables and brings them up to date, one program at a time: those of whoever keeps something in the database, and
//! the store's own. A database that Message DB's own scripts made is taken as it is; what is ours stands beside it.

use super::link::Links;
use base::{Fault, Kind};
use std::sync::Arc;
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, Error};

/// PostgreSQL 13 has `gen_random_uuid` of its own, and looks after tables that only grow.
const SERVER_MIN: i32 = 130_000;
const SETTINGS: &str = "
    SET statement_timeout = 0;
    SET lock_timeout = 0";

/// How the tables of somebody come to be.
pub struct Migrations {
    /// Whose they are, in a sentence: `the store`.
    pub owner: &'static str,
    /// What they are, in a sentence: `tables`.
    pub tables: &'static str,
    /// The schema in which it is noted what was done.
    pub schema: &'static str,
    /// Whoever migrates holds this advisory lock of the database.
    pub lock: i64,
    /// Names and texts, applied in their order and never changed; a change is a new one at the end.
    pub steps: &'static [(&'static str, &'static str)],
}

impl Migrations {
    /// Applies what is missing, all or nothing; as many of the first steps as are `there` already are only noted.
    pub async fn apply(&self, links: &Arc<Links>, there: usize) -> Result<(), Fault> {
        let lent = links.lend().await?;
        let client = &lent.client;
        let failed = |error: Error| {
            let fault = links.failed(error);
            let hint = format!(
                "open {} once with a role that may create schemas in this database, best its owner",
                self.owner
            );
            if fault.kind == Kind::Refused { fault.hint(hint) } else { fault }
        };
        let server: String = one(client, "SHOW server_version_num").await.map_err(failed)?;
        if server.parse().unwrap_or(0) < SERVER_MIN {
            let text =
                format!("{} is PostgreSQL `{server}`, at least `{SERVER_MIN}` is needed", links.place());
            return Err(Fault::new(Kind::Invalid, text));
        }
        // What is done already needs no rights.
        if self.applied(client).await.map_err(failed)? == self.steps.len() as i64 {
            lent.give_back();
            return Ok(());
        }
        client.batch_execute(SETTINGS).await.map_err(failed)?;
        // The session's, not the transaction's: one that begins behind the lock sees tables that its last holder made.
        client.execute("SELECT pg_advisory_lock($1)", &[&self.lock]).await.map_err(failed)?;
        client.batch_execute("BEGIN").await.map_err(failed)?;
        let applied = self.applied(client).await.map_err(failed)?;
        if applied > self.steps.len() as i64 {
            let text = format!(
                "{} has {} of version `{applied}`, this program knows up to `{}`",
                links.place(),
                self.tables,
                self.steps.len()
            );
            return Err(Fault::new(Kind::Invalid, text).hint("a newer version of the program made them"));
        }
        let schema = self.schema;
        let notes = format!(
            "CREATE SCHEMA IF NOT EXISTS {schema};
            CREATE TABLE IF NOT EXISTS {schema}.migrations (
                version bigint NOT NULL PRIMARY KEY,
                name text NOT NULL,
                applied timestamptz NOT NULL DEFAULT now()
            )"
        );
        client.batch_execute(&notes).await.map_err(failed)?;
        for (nth, (name, sql)) in self.steps.iter().enumerate().skip(applied as usize) {
            if nth >= there {
                client.batch_execute(sql).await.map_err(failed)?;
            }
            let note = format!("INSERT INTO {schema}.migrations (version, name) VALUES ($1, $2)");
            client.execute(&note, &[&(nth as i64 + 1), name]).await.map_err(failed)?;
        }
        // The connection is closed, with its settings and its lock.
        client.batch_execute("COMMIT").await.map_err(failed)
    }

    /// How many steps were applied.
    async fn applied(&self, client: &Client) -> Result<i64, Error> {
        let notes = format!("{}.migrations", self.schema);
        if !one::<bool>(client, &format!("SELECT to_regclass('{notes}') IS NOT NULL")).await? {
            return Ok(0);
        }
        one(client, &format!("SELECT coalesce(max(version), 0) FROM {notes}")).await
    }
}

/// The store's own. The first step makes what Message DB's own scripts make.
const OWN: Migrations = Migrations {
    owner: "the store",
    tables: "tables",
    schema: "tombolo",
    // "tombolo" as a number.
    lock: 0x746f_6d62_6f6c_6f00,
    steps: &[
        ("messages", include_str!("schema/messages.sql")),
        ("beside", include_str!("schema/beside.sql")),
        ("privileges", include_str!("schema/privileges.sql")),
    ],
};
/// Whether somebody else made what the first step makes.
const FOREIGN: &str = "
    SELECT to_regclass('message_store.messages') IS NOT NULL AND to_regclass('tombolo.migrations') IS NULL";
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

/// Applies what is missing of the store's tables.
pub(super) async fn migrate(links: &Arc<Links>) -> Result<(), Fault> {
    let ask = |error| links.failed(error);
    let lent = links.lend().await?;
    let is_foreign: bool = one(&lent.client, FOREIGN).await.map_err(ask)?;
    if is_foreign && one::<i64>(&lent.client, COLUMNS).await.map_err(ask)? != 8 {
        let text = format!("{} has a table `message_store.messages` of other columns", links.place());
        return Err(Fault::new(Kind::Invalid, text).hint("Message DB 1.3.0 is what goes"));
    }
    // There may be but one connection.
    lent.give_back();
    OWN.apply(links, usize::from(is_foreign)).await?;
    let lent = links.lend().await?;
    let cached: i64 = one(&lent.client, CACHED).await.map_err(ask)?;
    if cached != 1 {
        let text = format!("the sequence of global positions in {} has a cache of `{cached}`", links.place());
        return Err(Fault::new(Kind::Invalid, text)
            .hint("ALTER SEQUENCE message_store.messages_global_position_seq CACHE 1"));
    }
    lent.give_back();
    Ok(())
}

async fn one<T: for<'a> FromSql<'a>>(client: &Client, sql: &str) -> Result<T, Error> {
    client.query_one(sql, &[]).await?.try_get(0)
}
