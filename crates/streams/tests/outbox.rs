//! Outboxes: messages that a service writes into a table of its own PostgreSQL database are appended in their order,
//! each once, whatever is killed meanwhile; what can't be appended is put aside and told.

#![expect(clippy::unwrap_used, reason = "tests")]

use base::{Chance, Clock};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Append, Embedded, LogOptions, NewMessage, Postgres, PostgresOptions, Read, State, Store, Uuid};
use streams::Spans;
use streams::outbox::{News, Outbox, run};
use telemetry::spans::{Recorder, Sample};
use testkit::Postgres as Server;
use tokio::task::JoinHandle;

const TABLE: &str = "
    CREATE TABLE outbox (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id uuid NOT NULL DEFAULT gen_random_uuid(),
        stream_name text NOT NULL,
        type text NOT NULL,
        data jsonb,
        metadata jsonb,
        refused text
    )";

/// A service's database with an outbox, and a store that its messages come into.
struct Place {
    server: &'static Server,
    database: String,
    embedded: Embedded,
    told: Arc<Mutex<Vec<String>>>,
    recorder: Recorder,
    _folder: tempfile::TempDir,
}

impl Place {
    fn new(table: &str) -> Self {
        let server = Server::shared();
        let database = server.database();
        if !table.is_empty() {
            server.run(&database, table);
        }
        let folder = tempfile::tempdir().unwrap();
        let (embedded, _) = Embedded::open(folder.path(), Clock::system(), LogOptions::default()).unwrap();
        Self { server, database, embedded, told: Arc::default(), recorder: Recorder::new(1), _folder: folder }
    }

    fn sql(&self, sql: &str) -> String {
        self.server.run(&self.database, sql)
    }

    fn store(&self) -> Store {
        self.embedded.store()
    }

    fn start(&self) -> JoinHandle<Result<(), base::Fault>> {
        self.start_with(self.store(), self.embedded.state(), Duration::from_secs(3600))
    }

    fn start_with(&self, store: Store, state: State, every: Duration) -> JoinHandle<Result<(), base::Fault>> {
        self.start_at(self.server.url(&self.database), store, state, every)
    }

    fn start_at(
        &self,
        url: String,
        store: Store,
        state: State,
        every: Duration,
    ) -> JoinHandle<Result<(), base::Fault>> {
        let outbox = Outbox { name: "billing".into(), url, table: "outbox".into(), every };
        let told = self.told.clone();
        let tell = move |outbox: &Outbox, news| {
            let text = match news {
                News::Halted(fault) => {
                    format!("halted: {fault}; {}", fault.hint.as_deref().unwrap_or_default())
                }
                News::Resumed => "resumed".to_owned(),
                News::Refused { position, reason } => format!("{} refused {position}: {reason}", outbox.name),
            };
            told.lock().unwrap().push(text);
        };
        let spans = Spans::new(self.recorder.clone(), Sample::Share(1.0), Chance::seeded(1));
        tokio::spawn(run(store, state, Clock::system(), Some(spans), outbox, tell))
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// The rows that are left.
    fn left(&self) -> String {
        self.sql("SELECT count(*) FROM outbox")
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < testkit::PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn read(store: &Store, stream: &str) -> Vec<String> {
    let page = store.read(Read::stream(stream)).await.unwrap();
    page.messages
        .iter()
        .map(|message| format!("{} {}", message.kind, message.data.clone().unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_become_messages_in_their_order_and_go() {
    let place = Place::new(TABLE);
    let id = "687c3cfa-79c7-4799-8e50-6078951f0b75";
    place.sql(&format!(
        "INSERT INTO outbox (id, stream_name, type, data, metadata) VALUES
            ('{id}', 'invoice-1', 'Opened', '{{\"total\": 40}}', '{{\"correlationStreamName\": \"order-7\"}}'),
            (gen_random_uuid(), 'invoice-2', 'Opened', '{{\"total\": 2}}', NULL),
            (gen_random_uuid(), 'invoice-1', 'Paid', '{{\"total\": 40}}', NULL)"
    ));
    // What was rolled back never was; what is not committed yet comes when it is.
    place.sql(
        "BEGIN; INSERT INTO outbox (stream_name, type, data) VALUES ('invoice-1', 'Wrong', '{}'); ROLLBACK",
    );
    let running = place.start();
    let store = place.store();
    until("rows are appended", async || store.version("invoice-1").await.unwrap() == 1).await;
    assert_eq!(read(&store, "invoice-1").await, [r#"Opened {"total": 40}"#, r#"Paid {"total": 40}"#]);
    let first = store.by_id(Uuid::parse_str(id).unwrap()).await.unwrap().unwrap();
    assert_eq!(first.metadata.unwrap().as_str(), r#"{"correlationStreamName": "order-7"}"#);
    until("the table is empty", async || place.left() == "0").await;
    let spans: Vec<_> = place.recorder.take();
    assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["import invoice"]);
    assert_eq!(spans[0].tag("tombolo.correlation"), Some("order-7"));
    // It sleeps for an hour now, unless it is told.
    place.sql(
        "INSERT INTO outbox (stream_name, type, data) VALUES ('invoice-2', 'Paid', '{}'); NOTIFY tombolo_outbox",
    );
    until("a notification is heard", async || store.version("invoice-2").await.unwrap() == 1).await;
    assert_eq!(place.told(), [] as [String; 0]);
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_appended_before_a_crash_is_not_appended_again() {
    let place = Place::new(TABLE);
    let store = place.store();
    let id = Uuid::new_v4();
    let data = Some("{\"b\": 1, \"a\": 2}".parse().unwrap());
    let message = NewMessage { id, kind: "Opened".into(), data, metadata: None };
    let append = Append { stream: "invoice-1".into(), expected_version: None, messages: vec![message] };
    store.append(vec![append]).await.unwrap();
    place.sql(&format!(
        "INSERT INTO outbox (id, stream_name, type, data) VALUES
            ('{id}', 'invoice-1', 'Opened', '{{\"a\": 2, \"b\": 1}}'),
            (gen_random_uuid(), 'invoice-1', 'Paid', '{{}}')"
    ));
    let running = place.start();
    until("the table is empty", async || place.left() == "0").await;
    assert_eq!(read(&store, "invoice-1").await, [r#"Opened {"a": 2, "b": 1}"#, "Paid {}"]);
    assert_eq!(place.told(), [] as [String; 0]);
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_appended_is_put_aside_and_holds_up_no_other() {
    let place = Place::new(
        "CREATE TABLE outbox (position bigserial PRIMARY KEY, id text, stream_name text, type text, data text,
            metadata text, refused text)",
    );
    let store = place.store();
    let id = Uuid::new_v4();
    let message = NewMessage { id, kind: "Other".into(), data: None, metadata: None };
    let append = Append { stream: "other-1".into(), expected_version: None, messages: vec![message] };
    store.append(vec![append]).await.unwrap();
    place.sql(&format!(
        "INSERT INTO outbox (id, stream_name, type, data) VALUES
            ('seven', 'invoice-1', 'T', '{{}}'),
            (gen_random_uuid(), NULL, 'T', '{{}}'),
            (gen_random_uuid(), 'invoice-1', '', '{{}}'),
            (gen_random_uuid(), 'invoice-1', 'T', '{{\"a\":'),
            ('{id}', 'invoice-1', 'T', '{{}}'),
            (gen_random_uuid(), repeat('s', 3000), 'T', '{{}}'),
            (gen_random_uuid(), 'invoice-1', 'T', '\"' || repeat('x', 9000000) || '\"'),
            (gen_random_uuid(), 'invoice-1', 'Good', '{{}}')"
    ));
    let running = place.start();
    until("the good one is appended", async || store.version("invoice-1").await.unwrap() == 0).await;
    until("it is taken away", async || place.left() == "7").await;
    assert_eq!(read(&store, "invoice-1").await, ["Good {}"]);
    until("all are told", async || place.told().len() == 7).await;
    let told = place.told().join("\n").replace(&id.to_string(), "ID");
    expect_test::expect![[r#"
        billing refused 1: its `id` `seven` is no UUID
        billing refused 2: it has no `stream_name`
        billing refused 3: it has no `type`
        billing refused 4: its `data`: this is not JSON at byte `5`: The input string ended unexpectedly
        billing refused 7: its data or metadata has 9000002 bytes, at most 8388608 go
        billing refused 5: another message of id `ID` is there already
        billing refused 6: the name of a stream has `3000` bytes, at most `2048` go"#]]
    .assert_eq(&told);
    assert!(place.sql("SELECT refused FROM outbox WHERE position = 1").contains("is no UUID"));
    // It is mended, and wanted again.
    place.sql(
        "UPDATE outbox SET id = gen_random_uuid(), refused = NULL WHERE position = 1; NOTIFY tombolo_outbox",
    );
    until("the mended one is appended", async || store.version("invoice-1").await.unwrap() == 1).await;
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_another_shape_is_told_once_with_the_remedy_until_it_is_right() {
    let place = Place::new("");
    let running = place.start();
    until("it is told", async || place.told().len() == 1).await;
    let told = place.told().remove(0);
    assert!(told.starts_with("halted: there is no table `outbox` in database `test_"), "{told}");
    // The remedy is taken to the letter, and then a column is taken away.
    let remedy = told.split('`').find(|part| part.starts_with("CREATE TABLE")).unwrap();
    place.sql(remedy);
    until("it goes on", async || place.told().len() == 2).await;
    assert_eq!(place.told().remove(1), "resumed");
    place.sql("ALTER TABLE outbox RENAME COLUMN metadata TO meta; NOTIFY tombolo_outbox");
    until("it is told", async || place.told().len() == 3).await;
    until("it is looked at anew", async || place.told().len() == 3).await;
    place.sql("ALTER TABLE outbox RENAME COLUMN meta TO metadata");
    until("it goes on", async || place.told().len() == 4).await;
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_a_trigger_keeps_are_told_and_go_once_it_is_dropped() {
    let place = Place::new(TABLE);
    place.sql(
        "CREATE FUNCTION keeps() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER keeps BEFORE DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION keeps();
        INSERT INTO outbox (stream_name, type, data) VALUES ('invoice-1', 'Opened', '{}')",
    );
    let running = place.start();
    until("it is told", async || place.told().len() == 1).await;
    let told = place.told().remove(0);
    assert!(told.contains("are not gone after they were deleted; look whether a trigger"), "{told}");
    place.sql(
        "DROP TRIGGER keeps ON outbox;
        INSERT INTO outbox (stream_name, type, data) VALUES ('invoice-1', 'Paid', '{}')",
    );
    until("it goes on", async || place.told().len() == 2).await;
    assert_eq!(place.told()[1], "resumed");
    until("all are gone", async || place.left() == "0").await;
    assert_eq!(read(&place.store(), "invoice-1").await, ["Opened {}", "Paid {}"]);
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_at_one_position_are_told_apart_and_none_is_lost() {
    let place = Place::new(
        "CREATE TABLE outbox (position bigint, id text, stream_name text, type text, data jsonb, metadata jsonb, refused text)",
    );
    // More than one page of them, of which some are bad.
    place.sql(
        "INSERT INTO outbox SELECT 7, upper(gen_random_uuid()::text), CASE WHEN n % 100 = 0 THEN NULL ELSE 'invoice-1' END,
            'T', to_jsonb(n) FROM generate_series(1, 1200) AS n",
    );
    let running = place.start();
    until("the good ones are gone", async || place.left() == "12").await;
    let store = place.store();
    assert_eq!(store.version("invoice-1").await.unwrap(), 1_187);
    assert_eq!(place.sql("SELECT DISTINCT refused FROM outbox"), "it has no `stream_name`");
    assert!(place.told().iter().all(|told| told.starts_with("billing refused 7: ")), "{:?}", place.told());
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_others_is_read_through_a_view() {
    let place = Place::new(
        "CREATE TABLE outbox_event (seq bigserial PRIMARY KEY, event_id uuid DEFAULT gen_random_uuid(),
            aggregatetype text, aggregateid text, kind text, payload json, failed text);
        CREATE VIEW outbox AS SELECT seq AS position, event_id AS id, aggregatetype || '-' || aggregateid AS stream_name,
            kind AS type, payload AS data, NULL::json AS metadata, failed AS refused FROM outbox_event",
    );
    place.sql(
        "INSERT INTO outbox_event (aggregatetype, aggregateid, kind, payload) VALUES ('order', '7', 'Placed', '{}'),
            ('order', '7', NULL, '{}')",
    );
    let running = place.start();
    let store = place.store();
    until("it is appended and taken away", async || place.left() == "1").await;
    assert_eq!(read(&store, "order-7").await, ["Placed {}"]);
    until("it is told", async || place.told().len() == 1).await;
    assert_eq!(place.sql("SELECT failed FROM outbox_event"), "it has no `type`");
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_in_between_is_told_once_and_nothing_is_lost_or_twice() {
    const ROWS: usize = 3_000;
    let mut server = Server::start();
    let mut place = Place::new("");
    place.database = server.database();
    let url = server.url(&place.database);
    server.run(&place.database, TABLE);
    server.run(
        &place.database,
        &format!(
            "INSERT INTO outbox (stream_name, type, data)
                SELECT 'invoice-1', 'T', to_jsonb(n) FROM generate_series(1, {ROWS}) AS n"
        ),
    );
    let store = place.store();
    let running = place.start_at(url, store.clone(), place.embedded.state(), Duration::from_millis(20));
    // In the midst of it.
    until("some are appended", async || store.version("invoice-1").await.unwrap() > 300).await;
    server.crash();
    until("it is told", async || place.told().len() == 1).await;
    assert!(place.told()[0].starts_with("halted: "), "{:?}", place.told());
    server.resume();
    until("it goes on", async || place.told().len() == 2).await;
    assert_eq!(place.told()[1], "resumed");
    until("all are gone", async || server.run(&place.database, "SELECT count(*) FROM outbox") == "0").await;
    running.abort();
    let page = store.read(Read::stream("invoice-1").limit(ROWS * 2)).await.unwrap();
    let numbers: Vec<usize> = page
        .messages
        .iter()
        .map(|message| message.data.as_ref().unwrap().as_str().parse().unwrap())
        .collect();
    assert_eq!(numbers, (1..=ROWS).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_come_and_go_append_each_row_once_and_in_order() {
    const STREAMS: usize = 5;
    const ROWS: usize = 4_000;
    let place = Place::new(TABLE);
    // Messages come into PostgreSQL here, so that several nodes share them.
    let kept = place.server.database();
    let open = async || {
        let url = place.server.url(&kept);
        Postgres::open(&url, Clock::system(), PostgresOptions::default()).await.unwrap()
    };
    let nodes = [open().await, open().await];
    let start = |nth: usize| {
        let node = &nodes[nth % 2];
        place.start_with(node.store(), node.state(), Duration::from_millis(20))
    };
    let mut running = [start(0), start(1)];
    let store = nodes[0].store();
    let database = place.database.clone();
    let writing = std::thread::spawn(move || {
        for _ in 0..ROWS / 100 {
            let rows = format!(
                "INSERT INTO outbox (stream_name, type, data)
                    SELECT 'invoice-' || n % {STREAMS}, 'T', to_jsonb(n) FROM generate_series(1, 100) AS n"
            );
            Server::shared().run(&database, &rows);
        }
    });
    // One after the other is cut off in the middle of what it does.
    let mut nth = 0;
    while !writing.is_finished() {
        tokio::time::sleep(Duration::from_millis(30)).await;
        running[nth % 2].abort();
        running[nth % 2] = start(nth);
        // Nobody waits for the end of a lease, and two may work at once.
        place.server.run(&kept, "DELETE FROM tombolo.leases");
        nth += 1;
    }
    writing.join().unwrap();
    until("all are appended", async || place.left() == "0").await;
    let mut count = 0;
    for stream in 0..STREAMS {
        let mut read = Read::stream(format!("invoice-{stream}"));
        read.limit = ROWS;
        let page = store.read(read).await.unwrap();
        let numbers: Vec<usize> = page
            .messages
            .iter()
            .map(|message| message.data.as_ref().unwrap().as_str().parse().unwrap())
            .collect();
        let expected: Vec<usize> =
            (0..ROWS / 100).flat_map(|_| (1..=100).filter(|n| n % STREAMS == stream)).collect();
        assert_eq!(numbers, expected, "stream {stream}");
        count += numbers.len();
    }
    assert_eq!(count, ROWS);
    assert!(nth > 3, "nodes were cut off");
    assert_eq!(place.told(), [] as [String; 0]);
    for task in running {
        task.abort();
    }
}
