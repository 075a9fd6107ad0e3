//! Streams for answers: lent, renewed while somebody waits, given back.

use super::Api;
use super::answer::{Answered, Problem, json_answer, value};
use super::call::Call;
use super::json;
use crate::replies::HOLD_MAX;
use base::Kind;
use http::StatusCode;
use serde_json::json;
use std::time::Duration;

/// How long a stream is lent for if nobody says it.
const USUAL: Duration = Duration::from_secs(60);

/// `POST /reply-streams`.
pub(crate) async fn lend(api: Api, call: Call) -> Answered {
    let hold = call.seconds("hold", HOLD_MAX)?.unwrap_or(USUAL);
    let (stream, until) = api.replies().lend(hold).await?;
    let about = json!({ "stream_name": stream, "until": json::time(until) });
    Ok(json_answer(StatusCode::CREATED, about.to_string()))
}

/// `POST /reply-streams/{stream}/renew`.
pub(crate) async fn renew(api: Api, call: Call) -> Answered {
    let hold = call.seconds("hold", HOLD_MAX)?.unwrap_or(USUAL);
    let stream = call.name(0);
    match api.replies().renew(stream, hold).await? {
        Some(until) => Ok(value(&json!({ "stream_name": stream, "until": json::time(until) }))),
        None => Err(not_lent(stream)),
    }
}

/// `DELETE /reply-streams/{stream}`.
pub(crate) async fn give_back(api: Api, call: Call) -> Answered {
    let stream = call.name(0);
    if api.replies().give_back(stream).await? {
        return Ok(value(&json!({ "stream_name": stream, "given_back": true })));
    }
    Err(not_lent(stream))
}

fn not_lent(stream: &str) -> Problem {
    Problem::new(Kind::NotFound, format!("`{stream}` is not lent to anybody"))
        .hint("`POST /api/v1/reply-streams` lends one, until its time is over")
}
