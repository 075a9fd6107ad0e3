//! Lists and single things: streams with their versions, categories, one stream, one message.

use super::answer::{Answered, Problem, json_answer, value};
use super::call::Call;
use super::{Api, bounds, json};
use base::Kind;
use http::StatusCode;
use serde_json::json;
use store::{Message, StreamList, Uuid, names};

/// Entries of a list if nobody says how many.
const USUAL: usize = 100;

/// `GET /streams`.
pub(crate) async fn streams(api: Api, call: Call) -> Answered {
    let limit = call.limit(USUAL, bounds::LIST_MAX)?;
    let list = StreamList {
        prefix: call.text("prefix").unwrap_or_default().to_owned(),
        category: call.text("category").map(str::to_owned),
        after: call.text("after").map(str::to_owned),
        limit: limit + 1,
    };
    let mut streams = api.store.streams(list).await?;
    let more = streams.len() > limit;
    streams.truncate(limit);
    let streams: Vec<_> = streams
        .iter()
        .map(|stream| json!({ "stream_name": stream.stream, "version": stream.version }))
        .collect();
    Ok(value(&json!({ "streams": streams, "more": more })))
}

/// `GET /categories`.
pub(crate) async fn categories(api: Api, call: Call) -> Answered {
    let limit = call.limit(USUAL, bounds::LIST_MAX)?;
    let mut categories = api.store.categories(call.text("after"), limit + 1).await?;
    let more = categories.len() > limit;
    categories.truncate(limit);
    let categories: Vec<_> = categories
        .iter()
        .map(|category| json!({ "category": category.category, "messages": category.messages }))
        .collect();
    Ok(value(&json!({ "categories": categories, "more": more })))
}

/// `GET /streams/{stream}`.
pub(crate) async fn stream(api: Api, call: Call) -> Answered {
    let stream = call.name(0);
    Ok(value(&json!({
        "stream_name": stream,
        "category": names::category(stream),
        "id": names::id(stream),
        "cardinal_id": names::cardinal_id(stream),
        "version": api.store.version(stream).await?,
    })))
}

/// `GET /streams/{stream}/last`.
pub(crate) async fn last(api: Api, call: Call) -> Answered {
    let stream = call.name(0);
    let kind = call.text("type");
    match api.store.last(stream, kind).await? {
        Some(message) => Ok(one(&message)),
        None => {
            let of = kind.map_or_else(String::new, |kind| format!(" of type `{kind}`"));
            Err(Problem::new(Kind::NotFound, format!("stream `{stream}` has no message{of}")))
        }
    }
}

/// `GET /messages/{id}`.
pub(crate) async fn by_id(api: Api, call: Call) -> Answered {
    let text = call.name(0);
    let Ok(id) = Uuid::try_parse(text) else {
        return Err(Problem::invalid(format!("the id `{text}` is no UUID")));
    };
    match api.store.by_id(id).await? {
        Some(message) => Ok(one(&message)),
        None => Err(Problem::new(Kind::NotFound, format!("there is no message `{id}`"))),
    }
}

fn one(message: &Message) -> wire::Response {
    let mut out = Vec::with_capacity(256);
    json::write_message(&mut out, message);
    json_answer(StatusCode::OK, out)
}
