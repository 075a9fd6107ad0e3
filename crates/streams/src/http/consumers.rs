//! Consumers over HTTP: declared, looked at, paused, set back; their dead letters; messages taken and acknowledged.
//! What each does is in [`crate::consumers`].

mod shown;
mod table;

pub(super) use shown::schemas;
pub(super) use table::OPERATIONS;

use super::answer::{Answered, Problem, json_answer, value};
use super::call::Call;
use super::{Api, bounds, following, json};
use crate::consumers::{
    ACKS_MAX, Acked, Answered as Follows, Consumers, DEAD_LETTERS_MAX, Definition, Outcome, Skip, Start,
    TAKE_MAX, Taken, Wish,
};
use base::Kind;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::time::Duration;
use wire::Body;

fn of(api: &Api) -> Result<&Consumers, Problem> {
    api.0.consumers.as_ref().ok_or_else(|| Problem::new(Kind::NotFound, "there are no consumers here"))
}

/// `PUT /consumers/{name}`.
async fn put(api: Api, call: Call, body: Body) -> Answered {
    let bytes = call.bytes(&api, body).await?;
    of(&api)?.put(call.name(0), Definition::from_json(&bytes)?).await?;
    show(api, call).await
}

/// `GET /consumers`.
async fn list(api: Api) -> Answered {
    let list = of(&api)?.list().await?;
    Ok(value(&json!({ "consumers": list.iter().map(shown::consumer).collect::<Vec<_>>() })))
}

/// `GET /consumers/{name}`.
async fn show(api: Api, call: Call) -> Answered {
    Ok(value(&shown::consumer(&of(&api)?.show(call.name(0)).await?)))
}

/// `DELETE /consumers/{name}`.
async fn remove(api: Api, call: Call) -> Answered {
    of(&api)?.remove(call.name(0)).await?;
    Ok(value(&json!({ "name": call.name(0), "removed": true })))
}

/// `POST /consumers/{name}/pause` and `…/resume`.
async fn set_paused(api: Api, call: Call, paused: bool) -> Answered {
    if paused {
        of(&api)?.pause(call.name(0)).await?;
    } else {
        of(&api)?.resume(call.name(0)).await?;
    }
    show(api, call).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenReplay {
    from: serde_json::Value,
}

/// `POST /consumers/{name}/replay`.
async fn replay(api: Api, call: Call, body: Body) -> Answered {
    let given: GivenReplay = read(&call.bytes(&api, body).await?)?;
    of(&api)?.replay(call.name(0), Start::read(&given.from)?).await?;
    show(api, call).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenSkip {
    to: Option<serde_json::Value>,
    message: Option<i64>,
}

/// `POST /consumers/{name}/skip`.
async fn skip(api: Api, call: Call, body: Body) -> Answered {
    let given: GivenSkip = read(&call.bytes(&api, body).await?)?;
    let skip = match (&given.to, given.message) {
        (Some(to), None) if to == "end" => Skip::ToEnd,
        (Some(to), None) => match to.as_i64().filter(|to| *to >= 0) {
            Some(to) => Skip::To(to),
            None => return Err(Problem::invalid("`to` is `end` or a global position")),
        },
        (None, Some(message)) => Skip::Message(message),
        _ => return Err(Problem::invalid("give either `to` or `message`")),
    };
    of(&api)?.skip(call.name(0), skip).await?;
    show(api, call).await
}

/// `GET /consumers/{name}/dead-letters`.
async fn dead_letters(api: Api, call: Call) -> Answered {
    let limit = call.limit(100, DEAD_LETTERS_MAX - 1)?;
    let after = call.number("after", 0)?.unwrap_or(0);
    let mut letters = of(&api)?.dead_letters(call.name(0), after, limit + 1).await?;
    let more = letters.len() > limit;
    letters.truncate(limit);
    Ok(value(&json!({ "dead_letters": letters, "more": more })))
}

/// `POST /consumers/{name}/dead-letters/{global_position}/retry` and `…/discard`.
async fn resolve(api: Api, call: Call, wish: Wish) -> Answered {
    let text = call.name(1);
    let position = text
        .parse()
        .map_err(|_| Problem::invalid(format!("`{text}` is no global position of a dead letter")))?;
    of(&api)?.resolve(call.name(0), position, wish).await?;
    let done = if wish == Wish::Retry { "retried" } else { "discarded" };
    Ok(value(&json!({ "global_position": position, "done": done })))
}

/// `POST /consumers/{name}/dead-letters/retry`.
async fn retry_all(api: Api, call: Call) -> Answered {
    Ok(value(&json!({ "retried": of(&api)?.retry_all(call.name(0)).await? })))
}

/// `POST /consumers/{name}/take`.
async fn take(api: Api, call: Call) -> Answered {
    let limit = call.limit(10, TAKE_MAX)?;
    let wait = call.seconds("wait", bounds::WAIT_MAX)?.unwrap_or_default();
    let mut drain = api.drain.clone();
    let taken = if wait.is_zero() {
        of(&api)?.take(call.name(0), limit, wait).await?
    } else {
        let _permit = following::permit(&api)?;
        tokio::select! {
            taken = of(&api)?.take(call.name(0), limit, wait) => taken?,
            // Nothing is lost: who breaks off has been given nothing.
            () = drain.begun() => Vec::new(),
        }
    };
    Ok(json_answer(StatusCode::OK, deliveries(&taken)))
}

fn deliveries(taken: &[Taken]) -> Vec<u8> {
    let mut out = b"{\"deliveries\":[".to_vec();
    for (nth, taken) in taken.iter().enumerate() {
        let comma = if nth == 0 { "" } else { "," };
        let head = format!("{comma}{{\"token\":\"{}\",\"attempt\":{},", taken.token, taken.attempt);
        out.extend_from_slice(head.as_bytes());
        if let Some(trace) = &taken.trace {
            out.extend_from_slice(b"\"traceparent\":\"");
            out.extend_from_slice(&trace.traceparent());
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(b"\"message\":");
        json::write_message(&mut out, &taken.message);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenAcks<'a> {
    #[serde(borrow)]
    acks: Vec<GivenAck<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenAck<'a> {
    token: String,
    outcome: String,
    reason: Option<String>,
    #[serde(borrow)]
    append: Option<&'a RawValue>,
}

impl GivenAck<'_> {
    fn outcome(self) -> Result<Outcome, Problem> {
        let reason = |usual: &str| self.reason.clone().unwrap_or_else(|| usual.to_owned());
        match (self.outcome.as_str(), self.append) {
            ("done", None) => Ok(Outcome::Done(Follows::default())),
            ("done", Some(append)) => {
                let text = format!("{{\"append\":{append}}}");
                Ok(Outcome::Done(Follows::read(text.as_bytes())?))
            }
            ("retry" | "dead", Some(_)) => Err(Problem::invalid("only what is `done` appends messages")),
            ("retry", None) => Ok(Outcome::Retry(reason("whoever took it wants it tried again"))),
            ("dead", None) => Ok(Outcome::Dead(reason("whoever took it gave it up"))),
            (other, _) => {
                Err(Problem::invalid(format!("`{other}` is no outcome: use `done`, `retry` or `dead`")))
            }
        }
    }
}

/// `POST /consumers/{name}/ack`.
async fn ack(api: Api, call: Call, body: Body) -> Answered {
    let bytes = call.bytes(&api, body).await?;
    let given: GivenAcks<'_> = read(&bytes)?;
    if given.acks.len() > ACKS_MAX {
        let text = format!("`{}` acknowledgements in one call, at most `{ACKS_MAX}` go", given.acks.len());
        return Err(Problem::new(Kind::TooMuch, text));
    }
    // All are read before the first counts.
    let acks: Vec<_> = given
        .acks
        .into_iter()
        .map(|ack| Ok((ack.token.parse()?, ack.token.clone(), ack.outcome()?)))
        .collect::<Result<_, Problem>>()?;
    let mut results = Vec::new();
    for (token, text, outcome) in acks {
        let result = match of(&api)?.acknowledge(call.name(0), token, outcome).await? {
            Acked::Yes => "acknowledged",
            Acked::Lost => "lost",
            Acked::Failed => "not_appended",
        };
        results.push(json!({ "token": text, "result": result }));
    }
    Ok(value(&json!({ "acks": results })))
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::invalid(format!("the body is wrong: {error}")))
}

/// Seconds with a fraction, as JSON has them.
fn seconds(wait: Duration) -> f64 {
    (wait.as_millis() as f64) / 1_000.0
}
