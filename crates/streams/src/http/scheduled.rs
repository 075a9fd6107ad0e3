//! Messages that are to be appended later: scheduled, listed, cancelled.

use super::answer::{Answered, Problem, json_answer, value};
use super::append::{key, with_ids};
use super::call::Call;
use super::json::{self, IncomingAppend};
use super::{Api, bounds};
use crate::spans::Appender;
use base::Kind;
use http::StatusCode;
use serde_json::json;
use std::time::Duration;
use store::AppendError;

/// Longest delay that can be asked for.
const DELAY_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// When a call wants its messages to be appended, in microseconds since the epoch; `None`: now.
pub(crate) fn due(api: &Api, call: &Call) -> Result<Option<i64>, Problem> {
    let delay = call.seconds("delay", DELAY_MAX)?;
    match (call.time("deliver_at")?, delay) {
        (Some(_), Some(_)) => Err(Problem::invalid("`deliver_at` and `delay` don't go together")),
        (at, None) => Ok(at),
        (None, Some(delay)) => {
            let now = api.clock.unix().micros().cast_signed();
            Ok(Some(now.saturating_add(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX))))
        }
    }
}

/// Schedules what `POST /streams/{stream}/messages` brings.
pub(crate) async fn add(api: &Api, call: &Call, due: i64, incoming: IncomingAppend) -> Answered {
    let mut append = with_ids(incoming, key(call)?);
    let appender = Appender::Call(&call.head.headers);
    let appends = std::slice::from_mut(&mut append);
    let span = api.spans.as_ref().map(|spans| spans.append(&api.clock, "schedule", &appender, appends));
    let added = api.schedule().add(due, &append).await.map_err(AppendError::Failed);
    if let Some(span) = span {
        span.end(&api.clock, added.as_ref().map(drop));
    }
    let id = added?;
    let ids: Vec<String> = append.messages.iter().map(|message| message.id.to_string()).collect();
    let about = json!({ "scheduled": id, "deliver_at": json::time(due), "ids": ids });
    Ok(json_answer(StatusCode::ACCEPTED, about.to_string()))
}

/// `GET /scheduled`.
pub(crate) async fn list(api: Api, call: Call) -> Answered {
    let limit = call.limit(100, bounds::LIST_MAX)?;
    let mut scheduled = api.schedule().list(call.text("after"), limit + 1).await?;
    let more = scheduled.len() > limit;
    scheduled.truncate(limit);
    let scheduled: Vec<_> = scheduled
        .iter()
        .map(|one| {
            json!({
                "scheduled": one.id,
                "deliver_at": json::time(one.due),
                "stream_name": one.stream,
                "messages": one.messages,
            })
        })
        .collect();
    Ok(value(&json!({ "scheduled": scheduled, "more": more })))
}

/// `DELETE /scheduled/{scheduled}`.
pub(crate) async fn cancel(api: Api, call: Call) -> Answered {
    let id = call.name(0);
    if api.schedule().cancel(id).await? {
        return Ok(value(&json!({ "scheduled": id, "cancelled": true })));
    }
    Err(Problem::new(Kind::NotFound, format!("nothing is scheduled as `{id}`; it may have been appended")))
}
