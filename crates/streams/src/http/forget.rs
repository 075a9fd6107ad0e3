//! What goes for good: a stream with a tombstone in its place, and the key of a person.

use super::Api;
use super::answer::{Answered, Problem, value};
use super::call::Call;
use base::Kind;
use serde_json::json;
use store::{NewMessage, Uuid};

/// The type of the message that is left of a deleted stream.
pub(crate) const TOMBSTONE: &str = "$deleted";

/// `DELETE /streams/{stream}`.
pub(crate) async fn stream(api: Api, call: Call) -> Answered {
    let stream = call.name(0);
    if api.store.version(stream).await? < 0 {
        return Err(Problem::new(Kind::NotFound, format!("there is no stream `{stream}`")));
    }
    let tombstone = NewMessage { id: Uuid::new_v4(), kind: TOMBSTONE.to_owned(), data: None, metadata: None };
    let removed = api.store.delete_stream(stream, tombstone).await?;
    Ok(value(&json!({ "stream_name": stream, "removed": removed })))
}

/// `DELETE /subjects/{subject}`.
pub(crate) async fn subject(api: Api, call: Call) -> Answered {
    let subject = call.name(0);
    if !api.encrypted.forget(subject).await? {
        return Err(Problem::new(Kind::NotFound, format!("there is no key of `{subject}`")).hint(
            "a subject has a key from the first message on whose metadata name it in `subject`, until it is forgotten",
        ));
    }
    Ok(value(&json!({ "subject": subject, "forgotten": true })))
}
