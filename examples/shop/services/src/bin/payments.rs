//! The payments: charges an amount once for each `Idempotency-Key`. Like many a payment provider it fails
//! at times: `FAIL_RATE=0.3` makes three of ten new charges answer 503, in an order decided by `SEED`. Orders that are
//! to be paid later it reads from their streams, and answers there.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shop::Problem;
use shop::order::{self, ChargeBegun, Order, Paid, Pay, Placed, Refused, Status};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tombolo_client::{
    Append, Client, Consumer, EntityStore, Error, Fault, Handlers, Kind, Message, Received,
};

/// The card's limit; a charge beyond it is refused for good.
const CARD_LIMIT_CENTS: u32 = 500_000;
/// So many results are remembered; the oldest is forgotten first.
const REMEMBERED_MAX: usize = 10_000;
const KEY_BYTES_MAX: usize = 100;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
struct Charge {
    amount_cents: u32,
}

#[derive(Clone, PartialEq, Debug)]
enum Outcome {
    Charged { id: String },
    Refused,
}

/// Whether the outcome was there before.
#[derive(Clone, PartialEq, Debug)]
enum Done {
    Now(Outcome),
    Before(Outcome),
}

#[derive(Clone, Default, PartialEq, Debug, Serialize)]
struct Statistics {
    charged: u64,
    refused: u64,
    failed: u64,
    replayed: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shop::Error> {
    let (fail_rate, seed) = (shop::env_or("FAIL_RATE", 0.0)?, shop::env_or("SEED", 0)?);
    if !(0.0..=1.0).contains(&fail_rate) {
        return Err(format!("`FAIL_RATE` is `{fail_rate}`, not 0 to 1").into());
    }
    let client = Client::from_env()?;
    let ledger = Arc::new(Mutex::new(Ledger::new(fail_rate, seed)));
    let app = Router::new()
        .route("/charge", post(charge))
        .route("/statistics", get(statistics))
        .with_state(ledger.clone());
    let handlers = handlers(Desk::new(client.clone(), ledger));
    let consumer =
        Consumer::new(client, order::ORDER, handlers).identifier("payments").on_error(shop::trouble);
    tokio::select! {
        served = shop::serve("payments", app) => served,
        ended = consumer.run(std::future::pending()) => Ok(ended?),
    }
}

/// Where orders are paid that were placed before they were paid.
#[derive(Clone)]
struct Desk {
    orders: EntityStore<Order>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Desk {
    fn new(client: Client, ledger: Arc<Mutex<Ledger>>) -> Self {
        Self { orders: EntityStore::new(client, order::ORDER, order::projection()), ledger }
    }
}

fn handlers(desk: Desk) -> Handlers<Desk> {
    Handlers::new(desk).on(placed)
}

/// Says first that it charges, so that nobody cancels the order meanwhile. A second time it goes on where it was: the
/// order's stream is the key of its charge.
async fn placed(desk: Desk, placed: Received<Placed>) -> Result<Option<Append>, Error> {
    if placed.pay != Pay::Later {
        return Ok(None);
    }
    let begin = |order: &Order| match order.status {
        Status::Placed => vec![ChargeBegun {}.following(&placed)],
        _ => vec![],
    };
    desk.orders.update(placed.entity_id(), begin).await?;
    if desk.orders.fetch(placed.entity_id()).await?.status != Status::Charging {
        return Ok(None);
    }
    let charge = Charge { amount_cents: placed.total_cents };
    let charged = {
        let mut ledger = desk.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.charge(placed.stream_name(), charge)
    };
    let answer = match charged {
        Ok(Done::Now(Outcome::Charged { id }) | Done::Before(Outcome::Charged { id })) => {
            Paid { charge: id }.following(&placed)
        }
        Ok(Done::Now(Outcome::Refused) | Done::Before(Outcome::Refused)) => {
            Refused { reason: "the card was refused".to_owned() }.following(&placed)
        }
        Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => {
            return Err(Fault::new(Kind::Unavailable, problem.error).into());
        }
        Err(problem) => Refused { reason: problem.error }.following(&placed),
    };
    Ok(Some(Append::to(placed.stream_name(), answer)))
}

async fn charge(
    State(ledger): State<Arc<Mutex<Ledger>>>,
    headers: HeaderMap,
    Json(charge): Json<Charge>,
) -> Result<Response, Problem> {
    let key = headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok());
    let key = key.filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len())).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "no usable `Idempotency-Key`")
            .hint(format!("send one of 1 to {KEY_BYTES_MAX} characters; the same key is charged once"))
    })?;
    let done = ledger.lock().unwrap_or_else(PoisonError::into_inner).charge(key, charge)?;
    let (outcome, replayed) = match done {
        Done::Now(outcome) => (outcome, "false"),
        Done::Before(outcome) => (outcome, "true"),
    };
    let Charge { amount_cents } = charge;
    let answer = match outcome {
        Outcome::Charged { id } => {
            (StatusCode::CREATED, Json(json!({ "charge": id, "amount_cents": amount_cents }))).into_response()
        }
        Outcome::Refused => Problem::new(StatusCode::PAYMENT_REQUIRED, "the card was refused")
            .hint(format!("its limit is {CARD_LIMIT_CENTS} cents"))
            .into_response(),
    };
    Ok(([(REPLAYED, replayed)], answer).into_response())
}

async fn statistics(State(ledger): State<Arc<Mutex<Ledger>>>) -> Json<Statistics> {
    Json(ledger.lock().unwrap_or_else(PoisonError::into_inner).statistics.clone())
}

struct Ledger {
    fail_rate: f64,
    dice: Dice,
    outcomes: HashMap<String, (Charge, Outcome)>,
    oldest: VecDeque<String>,
    statistics: Statistics,
}

impl Ledger {
    fn new(fail_rate: f64, seed: u64) -> Self {
        let (outcomes, oldest) = (HashMap::new(), VecDeque::new());
        Self { fail_rate, dice: Dice(seed), outcomes, oldest, statistics: Statistics::default() }
    }

    fn charge(&mut self, key: &str, charge: Charge) -> Result<Done, Problem> {
        if let Some((first, outcome)) = self.outcomes.get(key) {
            if *first != charge {
                let error = "this `Idempotency-Key` was used for another charge";
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error));
            }
            self.statistics.replayed += 1;
            return Ok(Done::Before(outcome.clone()));
        }
        if self.dice.roll() < self.fail_rate {
            self.statistics.failed += 1;
            // Nothing was charged and nothing is remembered, so the caller may come again at once.
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the bank does not answer");
            return Err(problem.hint("nothing was charged; try again").retry_after(0));
        }
        let outcome = if charge.amount_cents > CARD_LIMIT_CENTS {
            self.statistics.refused += 1;
            Outcome::Refused
        } else {
            self.statistics.charged += 1;
            Outcome::Charged { id: format!("charge-{}", self.statistics.charged) }
        };
        if self.oldest.len() == REMEMBERED_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.outcomes.remove(&oldest);
        }
        self.oldest.push_back(key.to_owned());
        self.outcomes.insert(key.to_owned(), (charge, outcome.clone()));
        Ok(Done::Now(outcome))
    }
}

/// Numbers from 0 to 1 that look random; the same seed gives the same ones (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shop::order::Cancelled;
    use tombolo_client::testing::Substitute;
    use tombolo_client::{NewMessage, Read};

    const ROPE: Charge = Charge { amount_cents: 1495 };

    fn order(total_cents: u32, pay: Pay) -> Placed {
        let user = "ada".to_owned().try_into().unwrap();
        Placed { user, cart: "cart-1".into(), items: vec![], total_cents, pay }
    }

    /// What the stream of an order says after payments has handled it, and with which error.
    async fn after(fail_rate: f64, placed: Placed, then: Option<NewMessage>) -> (Vec<String>, Option<Error>) {
        let substitute = Substitute::new();
        let client = substitute.client();
        let ledger = Arc::new(Mutex::new(Ledger::new(fail_rate, 0)));
        let handlers = handlers(Desk::new(client.clone(), ledger));
        let given = substitute.given("order-7", NewMessage::from(placed).correlate("order-7")).await.unwrap();
        if let Some(message) = then {
            substitute.given("order-7", message).await.unwrap();
        }
        let error = match handlers.handle(&given).await {
            Ok(appends) => {
                for append in appends.into_iter().flatten() {
                    client.append(vec![append]).await.unwrap();
                }
                None
            }
            Err(error) => Some(error),
        };
        for message in client.read(Read::stream("order-7").from(1)).take(9).await.unwrap() {
            let metadata = message.metadata().unwrap();
            let follows = metadata.follows(&given.metadata().unwrap()) && metadata.is_correlated("order");
            assert!(follows || message.is::<Cancelled>(), "{message:?}");
        }
        let messages = client.read(Read::stream("order-7")).take(9).await.unwrap();
        (messages.into_iter().map(|message| message.kind).collect(), error)
    }

    #[tokio::test]
    async fn an_order_that_is_paid_later_is_charged_and_told_what_became_of_it() {
        let (said, _) = after(0.0, order(1495, Pay::Later), None).await;
        assert_eq!(said, ["Placed", "ChargeBegun", "Paid"]);
        let (said, _) = after(0.0, order(890_000, Pay::Later), None).await;
        assert_eq!(said, ["Placed", "ChargeBegun", "Refused"]);
        let (said, _) = after(0.0, order(1495, Pay::Now), None).await;
        assert_eq!(said, ["Placed"], "it was paid before");
        let cancelled = Cancelled { reason: "late".into() };
        let (said, _) = after(0.0, order(1495, Pay::Later), Some(cancelled.into())).await;
        assert_eq!(said, ["Placed", "Cancelled"], "nothing is charged for it");
        let (said, error) = after(1.0, order(1495, Pay::Later), None).await;
        assert_eq!(said, ["Placed", "ChargeBegun"]);
        assert!(error.unwrap().is_passing(), "the bank will answer again");
    }

    #[test]
    fn a_key_is_charged_once_and_only_for_its_amount() {
        let mut ledger = Ledger::new(0.0, 0);
        let first = Outcome::Charged { id: "charge-1".into() };
        assert_eq!(ledger.charge("a", ROPE), Ok(Done::Now(first.clone())));
        assert_eq!(ledger.charge("a", ROPE), Ok(Done::Before(first)));
        let other = ledger.charge("a", Charge { amount_cents: 1 }).unwrap_err();
        assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(ledger.statistics, Statistics { charged: 1, replayed: 1, ..Statistics::default() });
    }

    #[test]
    fn a_refusal_is_final_and_replayed_like_a_charge() {
        let mut ledger = Ledger::new(0.0, 0);
        let sloop = Charge { amount_cents: 890_000 };
        assert_eq!(ledger.charge("a", sloop), Ok(Done::Now(Outcome::Refused)));
        assert_eq!(ledger.charge("a", sloop), Ok(Done::Before(Outcome::Refused)));
    }

    #[test]
    fn failures_come_at_their_rate_and_the_same_for_the_same_seed() {
        let failures = |seed| -> Vec<bool> {
            let mut ledger = Ledger::new(0.3, seed);
            (0..1000).map(|n| ledger.charge(&n.to_string(), ROPE).is_err()).collect()
        };
        let failed = failures(1).iter().filter(|failed| **failed).count();
        assert!((250..350).contains(&failed), "{failed} of 1000 failed");
        assert_eq!(failures(1), failures(1));
        assert_ne!(failures(1), failures(2));
    }

    #[test]
    fn a_failure_leaves_nothing_behind_but_the_promise_to_try_again() {
        let mut ledger = Ledger::new(1.0, 0);
        let problem = ledger.charge("a", ROPE).unwrap_err();
        assert_eq!((problem.status, problem.retry_after_s), (StatusCode::SERVICE_UNAVAILABLE, Some(0)));
        ledger.fail_rate = 0.0;
        assert!(matches!(ledger.charge("a", ROPE), Ok(Done::Now(Outcome::Charged { .. }))));
    }

    #[test]
    fn the_oldest_outcome_is_forgotten_first() {
        let mut ledger = Ledger::new(0.0, 0);
        for n in 0..=REMEMBERED_MAX {
            ledger.charge(&n.to_string(), ROPE).unwrap();
        }
        assert_eq!(ledger.outcomes.len(), REMEMBERED_MAX);
        assert!(matches!(ledger.charge("1", ROPE), Ok(Done::Before(_))));
        assert!(matches!(ledger.charge("0", ROPE), Ok(Done::Now(_))));
    }
}
