//! The thread that writes: it takes what waits as one batch and writes it in one transaction, again and again while the
//! database is away; counts links when too many wait for it, and sees to it that the oldest parts go.

use super::parts::Newest;
use super::rows::{self, Row};
use super::{Database, is_gone, links};
use crate::spans::Span;
use crate::spans::store::COUNTED_AT_ONCE;
use crate::spans::store::intake::{Batch, Command, Commands, Intake};
use crate::spans::store::names::{self, Names};
use base::{Chance, Fault, Kind, Retry};
use std::sync::Arc;
use std::time::Duration;
use store::Lent;
use tokio_postgres::Error;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

/// How often it is looked whether parts are too old, and links are counted that nobody asks for.
const TEND_EVERY: Duration = Duration::from_secs(10);
/// Batches, of whichever node, that may wait to be counted in links.
const UNCOUNTED_MAX: u64 = 32;
/// Spans of a part at which the server is to look at what is frequent in it, and at four times as many, and so on.
const ANALYSED_AT: u64 = 5_000;
/// Between two tries to write a batch: at first, and at most.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Times that a batch is given to a database that is there and refuses it.
const REFUSED_MAX: u32 = 3;
/// Longest wait for a batch to be written, and how much longer once the store is closed.
const WRITE_WAIT: Duration = Duration::from_secs(30);
const END_WAIT: Duration = Duration::from_secs(2);
/// How long whoever flushes waits while it is known that the database has trouble.
const TROUBLED_WAIT: Duration = Duration::from_secs(2);
/// Bits of a batch's number that are drawn: two nodes may write in the same microsecond.
const DRAWN_BITS: u32 = 10;
/// What transactions that write batches lock, beside the batch's number: "span" as a number.
const LOCKS: i32 = 0x7370_616e;

/// What the thread works with.
pub(super) struct Writer {
    database: Arc<Database>,
    chance: Chance,
    /// The part that was written to last, and the names that it has.
    part: i64,
    known: Names,
    /// The number of the last batch.
    last: i64,
    /// How it stood when the last batch was written.
    newest: Option<Newest>,
    /// How large it was when it was last looked at what is frequent in it, by the steps of [`ANALYSED_AT`].
    analysed: u32,
}

/// A batch on its way.
struct Going {
    rows: Vec<Row>,
    names: Names,
    spans: i64,
    /// Its number.
    number: i64,
    /// The part of an attempt whose end nobody heard.
    tried: Option<i64>,
}

/// What comes in while something is done, most often a batch on its way.
struct Behind {
    intake: Arc<Intake>,
    /// What is done, for whoever waits for it.
    doing: Batch,
    batch: Batch,
    /// Why the batch does not get on is told already.
    is_told: bool,
    /// No more can come.
    has_ended: bool,
}

impl Writer {
    pub(super) fn new(database: Arc<Database>) -> Self {
        let chance = Chance::from_entropy();
        Self { database, chance, part: 0, known: Names::default(), last: 0, newest: None, analysed: 0 }
    }

    /// Writes until nobody can give it anything any more.
    pub(super) async fn run(mut self, mut commands: Commands) {
        let clock = self.database.intake.clock.clone();
        let mut tended = clock.now();
        let mut batch = Batch::default();
        loop {
            let passed = clock.now().since(tended);
            if passed >= TEND_EVERY {
                let mut behind = Behind::new(&self.database.intake, Batch::default());
                behind.batch = batch;
                let told = behind.during(self.tend(), [Duration::MAX, END_WAIT], &mut commands).await;
                if let Some(told) = told {
                    self.database.intake.tell(told.map_err(|fault| fault.to_string()));
                }
                batch = behind.batch;
                tended = clock.now();
            }
            if batch.is_empty() {
                tokio::select! {
                    first = commands.recv() => match first {
                        None => return,
                        Some(first) => batch.put(first),
                    },
                    () = clock.sleep(TEND_EVERY.saturating_sub(passed)) => continue,
                }
            }
            batch.fill(&mut commands, &clock).await;
            batch = self.keep(batch, &mut commands).await;
        }
    }

    /// Writes a batch, or gives it up. Answers what came in meanwhile.
    async fn keep(&mut self, mut batch: Batch, commands: &mut Commands) -> Batch {
        let intake = self.database.intake.clone();
        let (mut pause, mut refused) = (PAUSE, 0);
        let (spans, bytes) = (std::mem::take(&mut batch.spans), batch.bytes);
        let count = spans.len();
        let mut behind = Behind::new(&intake, batch);
        if count == 0 {
            behind.doing.tell_flushed();
            return behind.batch;
        }
        let mut going = match self.prepare(spans).await {
            Ok(going) => going,
            Err(fault) => {
                intake.tell(Err(fault.to_string()));
                intake.done(count, bytes, false);
                behind.doing.tell_flushed();
                return behind.batch;
            }
        };
        loop {
            let written = match behind.during(self.write(&mut going), [WRITE_WAIT, END_WAIT], commands).await
            {
                Some(written) => written,
                None => Err(Fault::new(Kind::Timeout, "writing spans took too long").retry(Retry::Safe)),
            };
            let Err(fault) = written else {
                intake.done(count, bytes, true);
                // What was written is kept, whatever comes of the links.
                let cared = self.care().await;
                intake.tell(cared.map_err(|fault| fault.to_string()));
                behind.doing.tell_flushed();
                return behind.batch;
            };
            intake.tell(Err(fault.to_string()));
            behind.tell();
            let is_away = fault.retry == Retry::Safe || fault.kind == Kind::Refused;
            refused += u32::from(!is_away);
            if refused >= REFUSED_MAX {
                intake.done(count, bytes, false);
                return behind.batch;
            }
            if behind.has_ended {
                // Nor would what came behind it be written.
                let Batch { spans, bytes: more, .. } = behind.batch;
                intake.done(count + spans.len(), bytes + more, false);
                return Batch::default();
            }
            _ = behind.during(std::future::pending::<()>(), [pause, Duration::ZERO], commands).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Makes rows of what came in.
    async fn prepare(&mut self, spans: Vec<Span>) -> Result<Going, Fault> {
        // Before the time is asked, so that the first batch is told by the server's clock, too.
        let ready = self.database.ready.get_or_try_init(|| self.database.make_ready());
        drop(tokio::time::timeout(END_WAIT, ready).await);
        let arrived_us = self.database.now_us();
        let mut names = Names::default();
        for span in &spans {
            names.note(span, &self.database.intake.settings.autocomplete_keys);
        }
        let number = self.number(arrived_us);
        Ok(Going {
            rows: rows::build(&spans, arrived_us)?,
            names,
            spans: super::signed(spans.len() as u64),
            number,
            tried: None,
        })
    }

    /// A number that rises with time, and that no other node is likely to have.
    fn number(&mut self, arrived_us: u64) -> i64 {
        let drawn = self.chance.bits() & ((1 << DRAWN_BITS) - 1);
        let time = arrived_us.min(u64::MAX >> (DRAWN_BITS + 2));
        self.last = (time << DRAWN_BITS | drawn).cast_signed().max(self.last + 1);
        self.last
    }

    /// Makes a batch durable.
    async fn write(&mut self, going: &mut Going) -> Result<(), Fault> {
        let database = self.database.clone();
        let lent = database.lend().await?;
        let newest = database.part_to_write(&lent).await?;
        self.newest = Some(newest);
        if self.part != newest.part {
            self.known = database.links.patiently(names_of(&lent, newest.part)).await?;
            self.part = newest.part;
            self.analysed = 0;
            database.remove_old(&lent).await?;
        }
        if !database.links.patiently(is_kept(&lent, going)).await? {
            let written = transaction(&lent, newest.part, going, &self.known).await;
            let is_taken = |error: &Error| error.code().is_some_and(|code| code.code() == "23505");
            if written.as_ref().is_err_and(is_taken) {
                // Another node has this number.
                going.number = self.number(database.now_us());
                return database.fine(written).map_err(|fault| fault.retry(Retry::Safe));
            }
            database.fine(written)?;
        }
        self.known.absorb(&going.names);
        lent.give_back();
        Ok(())
    }

    /// Counts links if too many batches wait for it, and has the server look at what is frequent in a part that has grown
    /// much: until it does so by itself, a minute or more, it would choose wrong ways to look for anything.
    async fn care(&mut self) -> Result<(), Fault> {
        let Some(newest) = self.newest else { return Ok(()) };
        if newest.uncounted >= UNCOUNTED_MAX {
            links::settle(&self.database, false).await?;
        }
        let step = (newest.spans / ANALYSED_AT).checked_ilog2().map_or(0, |doubled| doubled / 2 + 1);
        if step > self.analysed {
            self.analysed = step;
            let lent = self.database.lend().await?;
            let sql = format!("ANALYZE tombolo_traces.spans_{}", newest.part);
            self.database.links.patiently(lent.client().batch_execute(&sql)).await?;
            lent.give_back();
        }
        Ok(())
    }

    /// What time asks for.
    async fn tend(&mut self) -> Result<(), Fault> {
        let lent = self.database.lend().await?;
        self.database.look_at_time(&lent).await?;
        self.database.part_to_write(&lent).await?;
        self.database.remove_old(&lent).await?;
        lent.give_back();
        let mut counted = 0;
        while counted < COUNTED_AT_ONCE {
            match links::settle(&self.database, false).await? {
                0 => break,
                traces => counted += traces,
            }
        }
        Ok(())
    }
}

impl Behind {
    fn new(intake: &Arc<Intake>, doing: Batch) -> Self {
        Self { intake: intake.clone(), doing, batch: Batch::default(), is_told: false, has_ended: false }
    }

    /// Whoever waits is told, and whoever comes does not wait.
    fn tell(&mut self) {
        self.doing.tell_flushed();
        self.batch.tell_flushed();
        self.is_told = true;
    }

    /// Does something while others come in, for as long as the first time says, or for the second one more when no more
    /// can come. Where trouble is known already, whoever waits for it is told so before long, and it goes on.
    async fn during<T>(
        &mut self,
        doing: impl Future<Output = T>,
        [longest, at_end]: [Duration; 2],
        commands: &mut Commands,
    ) -> Option<T> {
        let mut doing = std::pin::pin!(doing);
        let longest = if self.has_ended { at_end } else { longest };
        let mut over = std::pin::pin!(tokio::time::sleep(longest));
        let mut troubled = std::pin::pin!(tokio::time::sleep(TROUBLED_WAIT));
        loop {
            tokio::select! {
                biased;
                done = &mut doing => return Some(done),
                () = &mut over => return None,
                () = &mut troubled, if !self.is_told => {
                    if self.intake.trouble().is_some() {
                        self.tell();
                    }
                    troubled.as_mut().reset(tokio::time::Instant::now() + TROUBLED_WAIT);
                }
                command = commands.recv(), if !self.has_ended => match command {
                    None => {
                        self.has_ended = true;
                        over.as_mut().reset(tokio::time::Instant::now() + at_end);
                    }
                    Some(Command::Flush(done)) if self.is_told => _ = done.send(()),
                    Some(command) => self.batch.put(command),
                },
            }
        }
    }
}

/// The names that a part has.
async fn names_of(lent: &Lent, part: i64) -> Result<Names, Error> {
    let sql = format!("SELECT list, under, name FROM tombolo_traces.names_{part} LIMIT {}", names::NAMES_MAX);
    let mut names = Names::default();
    for row in lent.client().query_typed(&sql, &[]).await? {
        let text =
            |column| row.try_get::<_, &[u8]>(column).map(|name| String::from_utf8_lossy(name).into_owned());
        names.put_back(row.try_get::<_, i16>(0)?.into(), &text(1)?, &text(2)?);
    }
    Ok(names)
}

/// Whether an attempt before kept a batch. Once its lock is free that has ended, however its connection did.
async fn is_kept(lent: &Lent, going: &mut Going) -> Result<bool, Error> {
    let (Some(part), Some(row)) = (going.tried, going.rows.first()) else { return Ok(false) };
    let client = lent.client();
    client.batch_execute("BEGIN").await?;
    lock(lent, going.number).await?;
    let sql =
        format!("SELECT EXISTS (SELECT FROM tombolo_traces.spans_{part} WHERE trace = $1 AND batch = $2)");
    let place = [&row.trace, &going.number].map(|number| (number as _, Type::INT8));
    let is_kept = match client.query_typed_one(&sql, &place).await {
        Ok(row) => row.try_get(0)?,
        // Its part was removed since.
        Err(error) if is_gone(&error) => false,
        Err(error) => return Err(error),
    };
    client.batch_execute("ROLLBACK").await?;
    going.tried = None;
    Ok(is_kept)
}

async fn lock(lent: &Lent, number: i64) -> Result<(), Error> {
    // Batches whose numbers end alike wait for each other, which is seldom and short.
    let sql = "SELECT pg_advisory_xact_lock($1, $2)";
    let keys = [(&LOCKS as _, Type::INT4), (&(number as i32) as _, Type::INT4)];
    lent.client().query_typed(sql, &keys).await.map(drop)
}

/// Writes a batch into a part.
async fn transaction(lent: &Lent, part: i64, going: &mut Going, known: &Names) -> Result<(), Error> {
    let client = lent.client();
    client.batch_execute("BEGIN").await?;
    lock(lent, going.number).await?;
    let copy = format!(
        "COPY tombolo_traces.spans_{part} (trace, batch, began, shortest, longest, terms, data) FROM STDIN (FORMAT binary)"
    );
    let number = Type::INT8;
    let types =
        [&number, &number, &number, &number, &number, &Type::INT8_ARRAY, &Type::BYTEA].map(Type::clone);
    let writer = BinaryCopyInWriter::new(client.copy_in(&copy).await?, &types);
    let mut writer = std::pin::pin!(writer);
    for row in &going.rows {
        let values: [&(dyn ToSql + Sync); 7] =
            [&row.trace, &going.number, &row.began, &row.shortest, &row.longest, &row.terms, &row.data];
        writer.as_mut().write(&values).await?;
    }
    writer.finish().await?;
    let (mut lists, mut under, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (list, listed_under, name) in going.names.missing_in(known) {
        lists.push(list as i16);
        under.push(listed_under.as_bytes());
        names.push(name.as_bytes());
    }
    if !lists.is_empty() {
        // In their order, so that two nodes that write the same names wait for each other and not in a circle.
        let sql = format!(
            "INSERT INTO tombolo_traces.names_{part}
            SELECT * FROM unnest($1::smallint[], $2::bytea[], $3::bytea[]) ON CONFLICT DO NOTHING"
        );
        let columns: [(&(dyn ToSql + Sync), Type); 3] =
            [(&lists, Type::INT2_ARRAY), (&under, Type::BYTEA_ARRAY), (&names, Type::BYTEA_ARRAY)];
        client.query_typed(&sql, &columns).await?;
    }
    let traces = rows::traces_of(&going.rows);
    let note = "INSERT INTO tombolo_traces.uncounted (batch, part, spans, traces) VALUES ($1, $2, $3, $4)";
    let values: [(&(dyn ToSql + Sync), Type); 4] = [
        (&going.number, Type::INT8),
        (&part, Type::INT8),
        (&going.spans, Type::INT8),
        (&traces, Type::INT8_ARRAY),
    ];
    client.query_typed(note, &values).await?;
    going.tried = Some(part);
    client.batch_execute("COMMIT").await
}
