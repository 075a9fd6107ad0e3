//! Dead letters: messages that were tried often enough. Each is told in the stream `deadLetters-CONSUMER`, which is
//! the record for ever, and stands in the small state while it waits for somebody to try it again or to discard it.

use super::body::{derived_id, following, reason};
use super::records::{self, again_key, again_prefix, dead_key, dead_prefix};
use crate::http::json;
use base::{Fault, Kind};
use serde::{Deserialize, Serialize};
use store::state::{Change, ChangeError, Condition};
use store::{Append, AppendError, Json, Message, NewMessage, State, Store, Uuid};

/// Dead letters of one list.
pub const LIST_MAX: usize = 1_000;

/// A message that its consumer could not handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Where the message stands in the store.
    pub global_position: i64,
    /// Its stream.
    pub stream_name: String,
    /// Where it stands in its stream.
    pub position: i64,
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Why it was given up.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, in RFC 3339.
    pub time: String,
    /// How often it has been a dead letter before.
    pub before: u32,
}

/// The stream of a consumer's dead letters.
pub fn stream_name(consumer: &str) -> String {
    format!("deadLetters-{consumer}")
}

/// The id of what tells that a message died the nth time.
pub(super) fn id(consumer: &str, message: Uuid, before: u32) -> Uuid {
    derived_id(consumer, message, &format!("dead {before}"))
}

/// Makes a message a dead letter. Doing it twice does it once.
pub(super) async fn bury(
    store: &Store,
    state: &State,
    consumer: &str,
    message: &Message,
    letter: &DeadLetter,
) -> Result<(), Fault> {
    let text = serde_json::to_string(letter).expect("texts and numbers are JSON");
    let told = told(consumer, "DeadLettered", &text, message, letter.before)?;
    match store.append(vec![told]).await {
        Ok(_) | Err(AppendError::DuplicateId { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let position = message.global_position;
    let changes =
        vec![Change::set(dead_key(consumer, position), text), Change::delete(again_key(consumer, position))];
    state.apply(changes).await?;
    Ok(())
}

/// Lists what the stream tells already, should that have been missed: both are not written at once.
pub(super) async fn list_again(
    state: &State,
    consumer: &str,
    global_position: i64,
    told: &Message,
) -> Result<(), Fault> {
    if state.get(again_key(consumer, global_position)).await?.is_some() {
        return Ok(());
    }
    let text = told.data.as_ref().map(Json::as_str).unwrap_or_default();
    let change = Change::set(dead_key(consumer, global_position), text).when(Condition::Absent);
    match state.apply(vec![change]).await {
        Ok(_) | Err(ChangeError::Conflict { .. }) => Ok(()),
        Err(ChangeError::Failed(fault)) => Err(fault),
    }
}

fn told(consumer: &str, kind: &str, data: &str, message: &Message, before: u32) -> Result<Append, Fault> {
    let what = if kind == "DeadLettered" { "dead" } else { kind };
    let data = Json::parse(data).map_err(|error| Fault::new(Kind::Bug, format!("a dead letter: {error}")))?;
    let message = NewMessage {
        id: derived_id(consumer, message.id, &format!("{what} {before}")),
        kind: kind.to_owned(),
        data: Some(data),
        // Not its subject: what is told of it is of no person, and has to be read when the person is forgotten.
        metadata: Some(without_subject(message)),
    };
    Ok(Append { stream: stream_name(consumer), expected_version: None, messages: vec![message] })
}

fn without_subject(message: &Message) -> Json {
    let mut metadata: serde_json::Value =
        serde_json::from_str(following(message, false).as_str()).unwrap_or_default();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.remove("subject");
    }
    Json::parse(&metadata.to_string()).expect("it was within the bounds with more in it")
}

/// The letter of a message that is given up now.
pub(super) fn letter(
    message: &Message,
    why: &str,
    attempts: u32,
    before: u32,
    now_micros: i64,
) -> DeadLetter {
    DeadLetter {
        global_position: message.global_position,
        stream_name: message.stream.clone(),
        position: message.position,
        id: message.id.to_string(),
        kind: message.kind.clone(),
        reason: reason(why),
        attempts,
        time: json::time(now_micros),
        before,
    }
}

/// A consumer's dead letters behind this global position, at most `limit` and [`LIST_MAX`].
pub(super) async fn list(
    state: &State,
    consumer: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<DeadLetter>, Fault> {
    let after = dead_key(consumer, after.max(0)).key;
    let entries = records::entries(state, &dead_prefix(consumer), Some(&after), limit.min(LIST_MAX)).await?;
    entries.iter().map(|(_, bytes)| read(bytes)).collect()
}

fn read(bytes: &[u8]) -> Result<DeadLetter, Fault> {
    serde_json::from_slice(bytes)
        .map_err(|error| Fault::new(Kind::Bug, format!("a dead letter can't be read: {error}")))
}

/// What somebody wants to become of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The consumer is to try it again.
    Retry,
    /// It is to be forgotten.
    Discard,
}

/// Does so with one dead letter. Answers whether there was one.
pub(super) async fn resolve(
    store: &Store,
    state: &State,
    consumer: &str,
    global_position: i64,
    wish: Wish,
) -> Result<bool, Fault> {
    let key = dead_key(consumer, global_position);
    let Some(value) = state.get(key.clone()).await? else { return Ok(false) };
    let letter = read(&value.bytes)?;
    let is_there = Condition::Etag(value.etag);
    let mut changes = vec![Change { condition: is_there, ..Change::delete(key) }];
    let kind = match wish {
        Wish::Retry => {
            changes.push(Change::set(again_key(consumer, global_position), value.bytes.clone()));
            "DeadLetterRetried"
        }
        Wish::Discard => "DeadLetterDiscarded",
    };
    match state.apply(changes).await {
        Ok(_) => {}
        Err(ChangeError::Conflict { .. }) => return Ok(false),
        Err(ChangeError::Failed(fault)) => return Err(fault),
    }
    let id = Uuid::parse_str(&letter.id).unwrap_or_default();
    if let Some(message) = store.by_id(id).await? {
        let data = serde_json::json!({ "global_position": global_position, "id": letter.id }).to_string();
        match store.append(vec![told(consumer, kind, &data, &message, letter.before)?]).await {
            Ok(_) | Err(AppendError::DuplicateId { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Dead letters of a consumer that are to be tried again, at most `limit`.
pub(super) async fn again(state: &State, consumer: &str, limit: usize) -> Result<Vec<DeadLetter>, Fault> {
    let entries = records::entries(state, &again_prefix(consumer), None, limit).await?;
    entries.iter().map(|(_, bytes)| read(bytes)).collect()
}

/// A dead letter that was tried again is handled, or its message is gone.
pub(super) async fn forget_again(state: &State, consumer: &str, global_position: i64) -> Result<(), Fault> {
    state.apply(vec![Change::delete(again_key(consumer, global_position))]).await?;
    Ok(())
}
