//! Appends, to one stream or to several in one transaction. With an idempotency key a call that is made again
//! appends nothing: the ids of its messages follow from the key, so the messages themselves are the record of it, as
//! durable as they are and for as long.

use super::answer::{Answered, Problem, json_answer};
use super::call::{Call, wrong};
use super::json::{self, Incoming, IncomingAppend};
use super::{Api, bounds, scheduled};
use crate::spans::{Appender, is_same_metadata};
use base::{Fault, Kind};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use store::{Append, AppendError, Appended, Message, Store, Uuid, is_erased};
use wire::Body;

/// The key of a call that may be made again (draft-ietf-httpapi-idempotency-key-header).
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is that of an earlier call.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// From which ids follow (RFC 9562 section 5.5), drawn once.
const NAMESPACE: Uuid = Uuid::from_u128(0x8f0e_6a52_3d1b_4c7e_9a64_51c2_07be_d3f9);

/// `POST /streams/{stream}/messages`.
pub(crate) async fn to_stream(api: Api, call: Call, body: Body) -> Answered {
    let expected_version = match call.text("expected_version") {
        None => None,
        Some("none") => Some(-1),
        Some(text) => match text.parse() {
            Ok(version) if version >= -1 => Some(version),
            _ => {
                return Err(wrong(
                    "expected_version",
                    text,
                    "a whole number from -1, or `none` for no stream",
                ));
            }
        },
    };
    let bytes = call.bytes(&api, body).await?;
    let messages = if call.is_lines() { json::message_lines(&bytes)? } else { json::messages(&bytes)? };
    let incoming = IncomingAppend { stream: call.name(0).to_owned(), expected_version, messages };
    if let Some(due) = scheduled::due(&api, &call)? {
        return scheduled::add(&api, &call, due, incoming).await;
    }
    let done = append(&api, &call, vec![incoming]).await?;
    let mut out = Vec::with_capacity(256);
    for ((stream, ids), appended) in done.named.iter().zip(&done.appended) {
        json::appended(&mut out, stream, appended, ids);
    }
    Ok(done.response(out))
}

/// `POST /messages` with a list of appends.
pub(crate) async fn to_streams(api: Api, call: Call, body: Body) -> Answered {
    let bytes = call.bytes(&api, body).await?;
    let appends = json::appends(&bytes)?;
    let done = append(&api, &call, appends).await?;
    let mut out = b"{\"appended\":[".to_vec();
    for (nth, ((stream, ids), appended)) in done.named.iter().zip(&done.appended).enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        json::appended(&mut out, stream, appended, ids);
    }
    out.extend_from_slice(b"]}");
    Ok(done.response(out))
}

/// What was appended, now or by an earlier call.
struct Done {
    /// The stream of each append, and the ids of its messages.
    named: Vec<(String, Vec<Uuid>)>,
    appended: Vec<Appended>,
    replayed: bool,
}

impl Done {
    fn response(&self, out: Vec<u8>) -> wire::Response {
        if !self.replayed {
            return json_answer(StatusCode::CREATED, out);
        }
        let mut response = json_answer(StatusCode::OK, out);
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

async fn append(api: &Api, call: &Call, incoming: Vec<IncomingAppend>) -> Result<Done, Problem> {
    let key = key(call)?;
    let mut appends: Vec<Append> = incoming.into_iter().map(|incoming| with_ids(incoming, key)).collect();
    let appender = Appender::Call(&call.head.headers);
    let span = api.spans.as_ref().map(|spans| spans.append(&api.clock, "append", &appender, &mut appends));
    let sent = if key.is_some() { appends.clone() } else { Vec::new() };
    let named =
        |append: &Append| (append.stream.clone(), append.messages.iter().map(|message| message.id).collect());
    let named = appends.iter().map(named).collect();
    let appended = api.store.append(appends).await;
    if let Some(span) = span {
        span.end(&api.clock, appended.as_ref().map(drop));
    }
    match appended {
        Ok(appended) => Ok(Done { named, appended, replayed: false }),
        Err(error @ (AppendError::DuplicateId { .. } | AppendError::WrongVersion { .. }))
            if key.is_some() =>
        {
            match earlier(api, &sent).await? {
                Some(appended) => Ok(Done { named, appended, replayed: true }),
                None => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// The key of a call, if it has one.
pub(crate) fn key(call: &Call) -> Result<Option<&str>, Problem> {
    let Some(key) = call.strict_field(IDEMPOTENCY_KEY)? else { return Ok(None) };
    // The draft has a string of structured fields, many clients send it bare.
    let key = key.trim();
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    if key.is_empty() || key.len() > bounds::KEY_BYTES_MAX {
        let text =
            format!("an `Idempotency-Key` has 1 to {} bytes, this one {}", bounds::KEY_BYTES_MAX, key.len());
        return Err(Problem::invalid(text));
    }
    Ok(Some(key))
}

/// Messages with ids: theirs, or those that follow from the key, or any.
pub(crate) fn with_ids(incoming: IncomingAppend, key: Option<&str>) -> Append {
    let IncomingAppend { stream, expected_version, messages } = incoming;
    let id = |nth: usize| match key {
        Some(key) => derived(&stream, key, nth),
        None => Uuid::new_v4(),
    };
    let messages = messages.into_iter().enumerate();
    let messages = messages.map(|(nth, message): (usize, Incoming)| message.with(|| id(nth))).collect();
    Append { expected_version, messages, stream }
}

/// The id of the nth message of a call with a key.
pub(crate) fn derived(stream: &str, key: &str, nth: usize) -> Uuid {
    // No key holds a NUL, so that different calls have different names.
    Uuid::new_v5(&NAMESPACE, format!("{key}\0{nth}\0{stream}").as_bytes())
}

/// What an earlier call with the same messages appended; `None` where there was none.
async fn earlier(api: &Api, appends: &[Append]) -> Result<Option<Vec<Appended>>, Problem> {
    let mut appended = Vec::with_capacity(appends.len());
    let mut missing = 0;
    let mut there = 0;
    for append in appends {
        let mut span: Option<Appended> = None;
        for message in &append.messages {
            let Some(kept) = api.store.by_id(message.id).await? else {
                missing += 1;
                continue;
            };
            if !is_same(&kept, append, message) {
                return Err(reused());
            }
            there += 1;
            let span = span.get_or_insert(Appended {
                first_position: kept.position,
                last_position: kept.position,
                first_global_position: kept.global_position,
                last_global_position: kept.global_position,
                time: kept.time,
            });
            span.last_position = kept.position;
            span.last_global_position = kept.global_position;
        }
        appended.extend(span);
    }
    match (there, missing) {
        (0, _) => Ok(None),
        (_, 0) => Ok(Some(appended)),
        _ => Err(reused()),
    }
}

/// Whether a message is the one that is sent again; of an erased one nobody can say more than that.
pub(crate) fn is_same(kept: &Message, append: &Append, message: &store::NewMessage) -> bool {
    kept.stream == append.stream
        && kept.kind == message.kind
        && is_same_metadata(kept.metadata.as_ref(), message.metadata.as_ref())
        && (kept.data == message.data || is_erased(kept))
}

/// Whether all of it came already: by another node, or before a crash.
pub(crate) async fn is_there(store: &Store, append: &Append) -> Result<bool, Fault> {
    for message in &append.messages {
        let kept = store.by_id(message.id).await?;
        if !kept.is_some_and(|kept| is_same(&kept, append, message)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn reused() -> Problem {
    Problem::new(Kind::Conflict, "this `Idempotency-Key` was used for other messages")
        .status(StatusCode::UNPROCESSABLE_ENTITY)
        .code("idempotency_key_reused")
        .hint("a key belongs to one call; another call needs another one")
}
