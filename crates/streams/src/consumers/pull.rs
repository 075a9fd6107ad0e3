//! Messages for those who ask for them: what is lent out and until when, the tokens by which it is acknowledged, and
//! what an acknowledgement does.

use super::body;
use super::deliver::Verdict;
use super::handling::Handling;
use super::window::{End, Item};
use crate::http::json::IncomingAppend;
use crate::spans::Delivering;
use base::{Fault, Kind, Moment};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use store::Message;
use telemetry::TraceContext;

/// Messages of one call of take.
pub const TAKE_MAX: usize = 100;
/// Acknowledgements of one call.
pub const ACKS_MAX: usize = 1_000;

/// A message that somebody took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// By which it is acknowledged.
    pub token: Token,
    /// The how-manieth attempt this is, from 1.
    pub attempt: u32,
    /// The span of the delivery, where there are spans.
    pub trace: Option<TraceContext>,
    /// The message.
    pub message: Arc<Message>,
}

/// Names one delivery, of one share, under one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub(super) share: u16,
    pub(super) fence: i64,
    pub(super) number: u64,
    pub(super) global_position: i64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{:x}.{}", self.share, self.fence, self.number, self.global_position)
    }
}

impl std::str::FromStr for Token {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault::new(Kind::Invalid, format!("`{}` is no token", body::reason(text)));
        let parts: Vec<&str> = text.splitn(5, '.').collect();
        let [share, fence, number, global_position] = parts.as_slice() else { return Err(wrong()) };
        Ok(Self {
            share: share.parse().map_err(|_| wrong())?,
            fence: fence.parse().map_err(|_| wrong())?,
            number: u64::from_str_radix(number, 16).map_err(|_| wrong())?,
            global_position: global_position.parse().map_err(|_| wrong())?,
        })
    }
}

/// What became of a message that was taken.
#[derive(Debug)]
pub enum Outcome {
    /// It is handled, and these messages follow from it.
    Done(Answered),
    /// It failed, for this reason.
    Retry(String),
    /// It never can be handled, for this reason.
    Dead(String),
}

/// Messages that follow from another, as they came in.
#[derive(Debug, Default)]
pub struct Answered(pub(super) Vec<IncomingAppend>);

impl Answered {
    /// Reads `{"append":[…]}`.
    pub fn read(text: &[u8]) -> Result<Self, Fault> {
        body::answered(text).map(Self)
    }
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// It counts.
    Yes,
    /// The delivery is no longer this caller's: it was too late, or the share is elsewhere.
    Lost,
    /// What was to be appended could not be: the message comes again.
    Failed,
}

/// A message that somebody has.
pub(super) struct Loan {
    pub(super) item: Item,
    /// The span of its delivery.
    pub(super) span: Option<Delivering>,
}

/// What a share has lent out.
#[derive(Default)]
pub(super) struct Lent {
    items: HashMap<u64, (Loan, Moment)>,
    due: BTreeSet<(Moment, u64)>,
}

impl Lent {
    /// Lends a message until then.
    pub(super) fn lend(&mut self, number: u64, loan: Loan, until: Moment) {
        self.items.insert(number, (loan, until));
        self.due.insert((until, number));
    }

    /// Takes back what was lent; `None` where it is not lent any more.
    pub(super) fn take(&mut self, number: u64) -> Option<Loan> {
        let (loan, until) = self.items.remove(&number)?;
        self.due.remove(&(until, number));
        Some(loan)
    }

    /// What should have been acknowledged by now.
    pub(super) fn overdue(&self, now: Moment) -> Vec<u64> {
        self.due.iter().take_while(|(until, _)| *until <= now).map(|(_, number)| *number).collect()
    }

    /// When the next should be acknowledged.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(until, _)| *until)
    }
}

/// Does what an acknowledgement asks for.
pub(super) async fn acknowledge(handling: &Handling, loan: Loan, outcome: Outcome) -> (Acked, End) {
    let is_done = matches!(outcome, Outcome::Done(_));
    let verdict = match outcome {
        Outcome::Done(Answered(appends)) => Verdict::Done(appends),
        Outcome::Retry(reason) => Verdict::Failed(reason),
        Outcome::Dead(reason) => Verdict::Refused(reason),
    };
    let end = handling.follow(loan, verdict).await;
    let acked = match end {
        End::Done => Acked::Yes,
        End::Failed(_) if !is_done => Acked::Yes,
        End::Failed(_) | End::Later(_) => Acked::Failed,
    };
    (acked, end)
}

/// Nobody acknowledged it in time.
pub(super) async fn late(handling: &Handling, loan: Loan) -> End {
    let why = "the delivery was not acknowledged in time".to_owned();
    handling.follow(loan, Verdict::Failed(why)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_what_it_prints_and_nothing_else() {
        let token = Token { share: 3, fence: 77, number: (9 << 32) + 1, global_position: 12 };
        assert_eq!(token.to_string(), "3.77.900000001.12");
        assert_eq!(token.to_string().parse::<Token>().unwrap(), token);
        for wrong in ["", "1.2.3", "1.2.3.4.5", "70000.1.1.1", "a.b.c.d", "1.2.x.4"] {
            assert!(wrong.parse::<Token>().is_err(), "{wrong}");
        }
    }
}
