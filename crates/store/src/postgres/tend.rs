//! What goes on beside the questions: one task listens for what was written, by whomever, wakes who waits, and
//! looks up to where everything is settled while somebody waits for that. A connection that is lost is made
//! again, and everybody is woken then: what was missed is found by reading.

use super::link::{Link, Links, Parameters};
use super::settled::{Look, Settled};
use super::{Time, micros};
use crate::Wakes;
use base::{Clock, Fault};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio_postgres::Error;

/// Rows of one look; it is repeated while there are more.
const LOOK_ROWS: i64 = 50_000;
/// Between two looks while a gap is open: at first, and at most.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(200);
/// Between two tries to listen again.
const LISTEN_PAUSE: Duration = Duration::from_millis(50);
const LISTEN_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often is asked whether a silent connection is still there, and expired values are cleared away.
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBE_WAIT: Duration = Duration::from_secs(10);
/// How much further is worth writing down.
const SAVE_EVERY: i64 = 10_000;
/// Values that are cleared away at once.
const SWEEP_MAX: i64 = 10_000;
/// How long a lease is kept that nobody holds, so that its token does not come again to somebody who is late.
const LEASE_KEPT_MICROS: i64 = 24 * 3_600 * 1_000_000;

const GIVEN: &str =
    "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM message_store.messages_global_position_seq";
/// A transaction that was prepared has no process.
const INSERTING: &str = "
    SELECT DISTINCT virtualtransaction, pid IS NULL FROM pg_locks
    WHERE locktype = 'relation' AND relation = 'message_store.messages'::regclass
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND mode = 'RowExclusiveLock' AND granted";
const SEEN: &str = "
    SELECT count(*), max(here), array_agg(before + 1 ORDER BY here) FILTER (WHERE here > before + 1),
        array_agg(here - 1 ORDER BY here) FILTER (WHERE here > before + 1)
    FROM (
        SELECT global_position AS here, lag(global_position, 1, $1) OVER (ORDER BY global_position) AS before
        FROM message_store.messages WHERE global_position > $1 ORDER BY global_position LIMIT $2
    ) AS rows";
const SWEEP: &str = "
    DELETE FROM tombolo.entries WHERE (space, key) IN (
        SELECT space, key FROM tombolo.entries WHERE expires <= tombolo.micros($1)
        LIMIT $2 FOR UPDATE SKIP LOCKED) AND expires <= tombolo.micros($1)";

/// Up to where everything is settled, shared by all who ask.
#[derive(Debug)]
pub(super) struct Frontier {
    links: Arc<Links>,
    settled: Mutex<(Settled, u64)>,
    /// Counts who asked, so that one look answers all who came before it began.
    asked: AtomicU64,
    /// Somebody reads and a gap is open.
    pub(super) waits: Notify,
}

impl Frontier {
    /// Begins where everything is settled for certain.
    pub(super) async fn open(links: Arc<Links>) -> Result<Self, Fault> {
        let lent = links.lend().await?;
        let asked = async {
            let saved = "SELECT position FROM tombolo.settled";
            let saved: i64 = lent.client.query_one(saved, &[]).await?.try_get(0)?;
            // At most times nobody is inserting just now: then all that was given is settled.
            for _ in 0..20 {
                let given: i64 = lent.client.query_one(GIVEN, &[]).await?.try_get(0)?;
                if lent.client.query(INSERTING, &[]).await?.is_empty() {
                    let last = "SELECT coalesce(max(global_position), 0) FROM message_store.messages
                        WHERE global_position <= $1";
                    let last: i64 = lent.client.query_one(last, &[&given]).await?.try_get(0)?;
                    return Ok(if saved > given { last } else { last.max(saved) });
                }
                tokio::time::sleep(LOOK_PAUSE).await;
            }
            Ok(saved)
        };
        let position = links.patiently(asked).await?;
        lent.give_back();
        Ok(Self {
            links,
            settled: Mutex::new((Settled::at(position), 0)),
            asked: AtomicU64::new(0),
            waits: Notify::new(),
        })
    }

    /// Up to here, as it was known last.
    pub(super) async fn known(&self) -> i64 {
        self.settled.lock().await.0.position()
    }

    /// Up to here, as it is now, and whether an open gap holds up more.
    pub(super) async fn now(&self) -> Result<(i64, bool), Fault> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let mut settled = self.settled.lock().await;
        if settled.1 <= asked {
            let covers = self.asked.load(Ordering::SeqCst);
            let lent = self.links.lend().await?;
            while self.links.patiently(look(&lent, &mut settled.0)).await? == LOOK_ROWS {}
            lent.give_back();
            settled.1 = covers;
        }
        Ok((settled.0.position(), settled.0.waits()))
    }

    /// Writes down how far it is, for who opens the store next.
    pub(super) async fn save(&self, position: i64) -> Result<(), Fault> {
        let lent = self.links.lend().await?;
        let sql = "UPDATE tombolo.settled SET position = greatest(position, $1)";
        self.links.patiently(lent.client.execute(sql, &[&position])).await?;
        lent.give_back();
        Ok(())
    }
}

/// Looks once, and takes it into account. Answers how many rows it saw.
async fn look(link: &Link, settled: &mut Settled) -> Result<i64, Error> {
    let (given, inserting, seen) =
        (link.statement(GIVEN).await?, link.statement(INSERTING).await?, link.statement(SEEN).await?);
    let position = settled.position();
    // On their way at once, and answered one after the other: the order is what makes it sound.
    let of_seen: Parameters = &[&position, &LOOK_ROWS];
    let (given, inserting, seen) = tokio::try_join!(
        biased;
        link.client.query_one(&given, &[]),
        link.client.query(&inserting, &[]),
        link.client.query_one(&seen, of_seen),
    )?;
    let mut look = Look { given: given.try_get(0)?, seen: seen.try_get(1)?, ..Look::default() };
    for row in inserting {
        look.prepared |= row.try_get::<_, bool>(1)?;
        look.inserting.insert(row.try_get(0)?);
    }
    let firsts: Option<Vec<i64>> = seen.try_get(2)?;
    let lasts: Option<Vec<i64>> = seen.try_get(3)?;
    look.gaps = firsts.unwrap_or_default().into_iter().zip(lasts.unwrap_or_default()).collect();
    look.cut();
    let rows = seen.try_get(0)?;
    settled.look(&look);
    if settled.position() < position {
        // The table was emptied: once more from its beginning.
        return Ok(LOOK_ROWS);
    }
    // An open gap ends it: more rows would not bring it further.
    Ok(if settled.waits() { 0 } else { rows })
}

/// All that the task needs.
#[derive(Debug)]
pub(super) struct Tender {
    pub(super) links: Arc<Links>,
    pub(super) frontier: Arc<Frontier>,
    pub(super) wakes: Arc<Wakes>,
    pub(super) timers_set: Arc<watch::Sender<u64>>,
    pub(super) time: Time,
    pub(super) clock: Clock,
}

impl Tender {
    /// Listens and tends, for ever. `listening` is told when it began to listen.
    pub(super) async fn run(self, listening: Arc<Notify>) {
        let mut pause = LISTEN_PAUSE;
        let (mut woken_at, mut saved) = (self.frontier.known().await, self.frontier.known().await);
        loop {
            let (tell, mut news) = mpsc::channel(1);
            let (wakes, timers_set) = (self.wakes.clone(), self.timers_set.clone());
            let told = move |channel: &str, payload: &str| {
                match (channel, payload) {
                    ("tombolo_timers", _) => return timers_set.send_modify(|times| *times += 1),
                    (_, "") => wakes.everybody(),
                    (_, stream) => wakes.appended_to(stream),
                }
                // One that is not taken yet says it, too.
                let _ = tell.try_send(());
            };
            let Ok(link) = self.links.connect(told).await else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LISTEN_PAUSE_MAX);
                continue;
            };
            if link.client.batch_execute("LISTEN tombolo_messages; LISTEN tombolo_timers").await.is_err() {
                tokio::time::sleep(pause).await;
                continue;
            }
            pause = LISTEN_PAUSE;
            listening.notify_one();
            self.wakes.everybody();
            self.timers_set.send_modify(|times| *times += 1);
            self.listen(&link, &mut news, &mut woken_at, &mut saved).await;
        }
    }

    /// Until the connection is lost.
    async fn listen(&self, link: &Link, news: &mut mpsc::Receiver<()>, woken_at: &mut i64, saved: &mut i64) {
        let mut probe = tokio::time::interval(PROBE_EVERY);
        probe.tick().await;
        let mut open_gap = None;
        loop {
            let look_again = async {
                match open_gap {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            let looks = tokio::select! {
                told = news.recv() => match told {
                    Some(()) => true,
                    // The connection has ended.
                    None => return,
                },
                () = self.frontier.waits.notified() => true,
                () = look_again => true,
                _ = probe.tick() => false,
            };
            if !looks {
                let sweep = link.client.query_one("SELECT 1", &[]);
                if !matches!(tokio::time::timeout(PROBE_WAIT, sweep).await, Ok(Ok(_))) {
                    return;
                }
                self.sweep(link).await;
                continue;
            }
            if !self.wakes.is_all_watched() {
                open_gap = None;
                continue;
            }
            let Ok((position, waits)) = self.frontier.now().await else {
                open_gap = Some(LOOK_PAUSE_MAX);
                continue;
            };
            open_gap = match (waits, open_gap) {
                (false, _) => None,
                (true, Some(pause)) if position == *woken_at => Some((pause * 2).min(LOOK_PAUSE_MAX)),
                (true, _) => Some(LOOK_PAUSE),
            };
            if position != *woken_at {
                *woken_at = position;
                self.wakes.all(position);
            }
            if (position - *saved).abs() >= SAVE_EVERY && self.frontier.save(position).await.is_ok() {
                *saved = position;
            }
        }
    }

    /// Clears expired values and forgotten leases away. They can't be seen in any case, so that it may fail.
    async fn sweep(&self, link: &Link) {
        let now = (self.time == Time::Clock).then(|| micros(&self.clock));
        drop(link.client.execute(SWEEP, &[&now, &SWEEP_MAX]).await);
        let leases = "DELETE FROM tombolo.leases WHERE until < tombolo.micros($1) - $2";
        drop(link.client.execute(leases, &[&now, &LEASE_KEPT_MICROS]).await);
    }
}

impl Look {
    /// Leaves out what the look can't judge: gaps behind the last position that the sequence had given by then.
    fn cut(&mut self) {
        if let Some(nth) = self.gaps.iter().position(|&(_, last)| last > self.given) {
            let (first, _) = self.gaps[nth];
            self.gaps.truncate(nth);
            if first <= self.given {
                self.gaps.push((first, self.given));
                self.seen = Some(self.given);
            } else {
                self.seen = Some(first - 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn check(given: i64, seen: i64, gaps: &[(i64, i64)], expected: (i64, &[(i64, i64)])) {
        let mut look = Look {
            given,
            seen: Some(seen),
            gaps: gaps.to_vec(),
            inserting: BTreeSet::new(),
            prepared: false,
        };
        look.cut();
        assert_eq!((look.seen, look.gaps.as_slice()), (Some(expected.0), expected.1));
    }

    #[test]
    fn a_look_does_not_judge_what_was_given_after_it_began() {
        check(9, 9, &[(5, 6)], (9, &[(5, 6)]));
        check(9, 12, &[(5, 6)], (12, &[(5, 6)]));
        check(9, 15, &[(5, 6), (12, 13)], (11, &[(5, 6)]));
        check(9, 15, &[(5, 6), (8, 13)], (9, &[(5, 6), (8, 9)]));
    }
}
