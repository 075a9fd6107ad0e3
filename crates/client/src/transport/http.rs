//! Streams over the HTTP API of a Tombolo. Each call may be made again without harm: reads as they are, appends by
//! their `Idempotency-Key`.

use super::pool::{Answered, Call, Pool};
use super::{Ack, Acknowledged, Answer, Append, Appended, Delivery, Outcome, Page, Read, Scope, Transport};
use crate::metadata::TRACEPARENT;
use crate::{Error, MessageData, bounds};
use base::{Clock, Fault, Kind};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Duration;
use wire::{Origin, RequestHead, Scheme};

/// Where the API begins.
const PREFIX: &str = "/api/v1";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What stays as it is in a segment of a path and in a value of a query (RFC 3986 section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Streams of a Tombolo somewhere.
pub struct Http {
    pool: Pool,
    host: HeaderValue,
}

impl Http {
    /// Those behind an address such as `http://127.0.0.1:4600`. Nothing is asked yet.
    pub fn new(url: &str, clock: Clock) -> Result<Self, Fault> {
        let wrong = |why: &str| {
            Fault::new(Kind::Invalid, format!("`{url}` is no address of the API: {why}"))
                .hint("write it as `http://127.0.0.1:4600`, or `https://` before another machine's name")
        };
        let uri: Uri = url.parse().map_err(|_| wrong("it is no URL"))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("something stands behind the host"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("it names a user"));
        }
        let origin = Origin::parse(url)?;
        if origin.scheme == Scheme::H2c {
            return Err(wrong("the scheme `h2c` is not served"));
        }
        let host = HeaderValue::try_from(origin.host_header()).map_err(|_| wrong("its host is no name"))?;
        Ok(Self { pool: Pool::new(origin, clock), host })
    }

    fn head(&self, method: Method, target: &str) -> Result<RequestHead, Fault> {
        let uri = target.parse().map_err(|_| {
            Fault::new(Kind::Invalid, format!("a name is too long: the target has `{}` bytes", target.len()))
        })?;
        let mut head = RequestHead { method, uri, ..RequestHead::default() };
        head.headers.insert(HOST, self.host.clone());
        head.headers.insert(ACCEPT, JSON);
        Ok(head)
    }

    async fn get(&self, target: &str, wait: Duration) -> Result<Answered, Error> {
        let head = self.head(Method::GET, target)?;
        Ok(self.pool.call(&Call { head, body: Bytes::new(), wait }).await?)
    }

    async fn post(
        &self,
        target: &str,
        body: &impl Serialize,
        key: Option<&str>,
        trace: Option<&str>,
    ) -> Result<Answered, Error> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Fault::new(Kind::Invalid, format!("a message can't be told as JSON: {error}"))
        })?;
        let mut head = self.head(Method::POST, target)?;
        head.headers.insert(CONTENT_TYPE, JSON);
        if let Some(key) = key {
            let value = HeaderValue::try_from(key)
                .ok()
                .filter(|value| (1..=bounds::KEY_BYTES_MAX).contains(&value.len()))
                .ok_or_else(|| {
                    let max = bounds::KEY_BYTES_MAX;
                    Fault::new(Kind::Invalid, format!("`{key}` is no idempotency key"))
                        .hint(format!("take 1 to {max} visible characters"))
                })?;
            head.headers.insert(IDEMPOTENCY_KEY, value);
        }
        // One that is none belongs to nothing; the append does not depend on it.
        if let Some(trace) = trace.and_then(|trace| HeaderValue::from_str(trace).ok()) {
            head.headers.insert(HeaderName::from_static(TRACEPARENT), trace);
        }
        Ok(self.pool.call(&Call { head, body: body.into(), wait: Duration::ZERO }).await?)
    }

    /// What is not there is deleted.
    async fn delete_at(&self, target: &str) -> Result<(), Error> {
        let head = self.head(Method::DELETE, target)?;
        let answered = self.pool.call(&Call { head, body: Bytes::new(), wait: Duration::ZERO }).await?;
        if answered.status == StatusCode::NOT_FOUND && code(&answered.body) == "not_found" {
            return Ok(());
        }
        self.read::<serde::de::IgnoredAny>(&answered).map(drop)
    }

    fn read<T: DeserializeOwned>(&self, answered: &Answered) -> Result<T, Error> {
        if !answered.status.is_success() {
            return Err(refusal(answered.status, &answered.body));
        }
        serde_json::from_slice(&answered.body).map_err(|error| {
            Error::Fault(Fault::new(
                Kind::Unavailable,
                format!("`{}` answered what is not understood: {error}", self.pool.origin()),
            ))
        })
    }
}

impl Transport for Http {
    fn append(&self, appends: Vec<Append>, key: String) -> Answer<'_, Vec<Appended>> {
        Box::pin(async move {
            let mut messages = appends.iter().flat_map(|append| &append.messages);
            let trace = messages.find_map(|message| message.metadata.trace.as_deref());
            if let [append] = appends.as_slice() {
                let mut target = format!("{PREFIX}/streams/{}/messages", encoded(&append.stream));
                if let Some(version) = append.expected_version {
                    let _ = write!(target, "?expected_version={version}");
                }
                let body = append.outgoing()?.messages;
                let answered = self.post(&target, &body, Some(&key), trace).await?;
                return Ok(vec![self.read(&answered)?]);
            }
            let appends = appends.iter().map(Append::outgoing).collect::<Result<Vec<_>, _>>()?;
            let body = OutgoingAppends { appends: &appends };
            let answered = self.post(&format!("{PREFIX}/messages"), &body, Some(&key), trace).await?;
            Ok(self.read::<IncomingAppended>(&answered)?.appended)
        })
    }

    fn read(&self, read: Read) -> Answer<'_, Page> {
        Box::pin(async move { self.read(&self.get(&target(&read), read.wait).await?) })
    }

    fn last<'a>(&'a self, stream: &'a str, kind: Option<&'a str>) -> Answer<'a, Option<MessageData>> {
        Box::pin(async move {
            let mut target = format!("{PREFIX}/streams/{}/last", encoded(stream));
            if let Some(kind) = kind {
                let _ = write!(target, "?type={}", encoded(kind));
            }
            let answered = self.get(&target, Duration::ZERO).await?;
            if answered.status == StatusCode::NOT_FOUND && code(&answered.body) == "not_found" {
                return Ok(None);
            }
            self.read(&answered).map(Some)
        })
    }

    fn version<'a>(&'a self, stream: &'a str) -> Answer<'a, i64> {
        #[derive(Deserialize)]
        struct Info {
            version: i64,
        }
        Box::pin(async move {
            let target = format!("{PREFIX}/streams/{}", encoded(stream));
            Ok(self.read::<Info>(&self.get(&target, Duration::ZERO).await?)?.version)
        })
    }

    fn delete<'a>(&'a self, stream: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.delete_at(&format!("{PREFIX}/streams/{}", encoded(stream))).await })
    }

    fn take<'a>(&'a self, consumer: &'a str, limit: usize, wait: Duration) -> Answer<'a, Vec<Delivery>> {
        #[derive(Deserialize)]
        struct Taken {
            deliveries: Vec<Delivery>,
        }
        Box::pin(async move {
            let target = format!(
                "{PREFIX}/consumers/{}/take?limit={limit}&wait={}",
                encoded(consumer),
                wait.as_secs_f64()
            );
            let head = self.head(Method::POST, &target)?;
            let answered = self.pool.call(&Call { head, body: Bytes::new(), wait }).await?;
            Ok(self.read::<Taken>(&answered)?.deliveries)
        })
    }

    fn acknowledge<'a>(&'a self, consumer: &'a str, acks: Vec<Ack>) -> Answer<'a, Vec<Acknowledged>> {
        #[derive(Deserialize)]
        struct Acked {
            acks: Vec<One>,
        }
        #[derive(Deserialize)]
        struct One {
            result: Acknowledged,
        }
        Box::pin(async move {
            let target = format!("{PREFIX}/consumers/{}/ack", encoded(consumer));
            let acks = acks.iter().map(OutgoingAck::of).collect::<Result<Vec<_>, _>>()?;
            let answered = self.post(&target, &OutgoingAcks { acks }, None, None).await?;
            Ok(self.read::<Acked>(&answered)?.acks.into_iter().map(|one| one.result).collect())
        })
    }

    fn lend_reply_stream(&self, hold: Duration) -> Answer<'_, String> {
        #[derive(Deserialize)]
        struct Lent {
            stream_name: String,
        }
        Box::pin(async move {
            let target = format!("{PREFIX}/reply-streams?hold={}", hold.as_secs_f64());
            let head = self.head(Method::POST, &target)?;
            let answered = self.pool.call(&Call { head, body: Bytes::new(), wait: Duration::ZERO }).await?;
            Ok(self.read::<Lent>(&answered)?.stream_name)
        })
    }

    fn give_back_reply_stream<'a>(&'a self, stream: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.delete_at(&format!("{PREFIX}/reply-streams/{}", encoded(stream))).await })
    }
}

/// Where a page is asked for.
fn target(read: &Read) -> String {
    let mut target = match &read.scope {
        Scope::Stream(name) => format!("{PREFIX}/streams/{}/messages", encoded(name)),
        Scope::Category(name) => format!("{PREFIX}/categories/{}/messages", encoded(name)),
        Scope::All => format!("{PREFIX}/messages"),
    };
    // Writing to memory does not fail.
    let _ = write!(target, "?from={}&limit={}", read.from, read.limit);
    if let Some(kind) = &read.kind {
        let _ = write!(target, "&type={}", encoded(kind));
    }
    if let Some(category) = &read.correlation {
        let _ = write!(target, "&correlation={}", encoded(category));
    }
    if let Some((member, size)) = read.member {
        let _ = write!(target, "&member={member}&size={size}");
    }
    if !read.wait.is_zero() {
        let _ = write!(target, "&wait={}", read.wait.as_secs_f64());
    }
    target
}

fn encoded(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, ENCODED)
}

#[derive(Serialize)]
struct OutgoingAppends<'a> {
    appends: &'a [super::OutgoingAppend<'a>],
}

#[derive(Deserialize)]
struct IncomingAppended {
    appended: Vec<Appended>,
}

#[derive(Serialize)]
struct OutgoingAcks<'a> {
    acks: Vec<OutgoingAck<'a>>,
}

#[derive(Serialize)]
struct OutgoingAck<'a> {
    token: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    append: Vec<super::OutgoingAppend<'a>>,
}

impl<'a> OutgoingAck<'a> {
    fn of(ack: &'a Ack) -> Result<Self, Error> {
        let (outcome, reason, append) = match &ack.outcome {
            Outcome::Done(appends) => ("done", None, appends.as_slice()),
            Outcome::Retry(reason) => ("retry", Some(reason.as_str()), [].as_slice()),
            Outcome::Dead(reason) => ("dead", Some(reason.as_str()), [].as_slice()),
        };
        let append = append.iter().map(Append::outgoing).collect::<Result<_, _>>()?;
        Ok(Self { token: &ack.token, outcome, reason, append })
    }
}

/// Why the server did not do as asked, as it says it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    error: String,
    hint: Option<String>,
    code: String,
    stream_name: Option<String>,
    expected: Option<i64>,
    actual: Option<i64>,
}

/// The machine's word for what is wrong; empty where there is none.
fn code(body: &[u8]) -> String {
    serde_json::from_slice::<Refusal>(body).map(|refusal| refusal.code).unwrap_or_default()
}

/// An answer that is no success, as an error.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> Error {
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    if refusal.code == "wrong_expected_version"
        && let (Some(expected), Some(actual)) = (refusal.expected, refusal.actual)
    {
        return Error::WrongVersion { stream: refusal.stream_name.unwrap_or_default(), expected, actual };
    }
    let kind = match status {
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => Kind::Conflict,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Refused,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => Kind::TooMuch,
        StatusCode::GATEWAY_TIMEOUT => Kind::Timeout,
        status if status.is_server_error() => Kind::Unavailable,
        _ => Kind::Invalid,
    };
    let text = if refusal.error.is_empty() { format!("the API answered `{status}`") } else { refusal.error };
    let mut fault = Fault::new(kind, text);
    fault.hint = refusal.hint;
    Error::Fault(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn refused(url: &str, expected: Expect) {
        expected.assert_eq(&Http::new(url, Clock::system()).map(drop).unwrap_err().to_string());
    }

    #[test]
    fn an_address_that_can_t_be_meant_is_refused() {
        assert!(Http::new("http://127.0.0.1:4600", Clock::system()).is_ok());
        assert!(Http::new("https://streams.example/", Clock::system()).is_ok());
        refused(
            "http://a:4600/api/v1",
            expect!["`http://a:4600/api/v1` is no address of the API: something stands behind the host"],
        );
        refused("http://me@a:4600", expect!["`http://me@a:4600` is no address of the API: it names a user"]);
        refused(
            "h2c://a:4600",
            expect!["`h2c://a:4600` is no address of the API: the scheme `h2c` is not served"],
        );
        refused("a b", expect!["`a b` is no address of the API: it is no URL"]);
        refused(
            "localhost",
            expect!["`localhost` is no backend address: it must begin with http://, https:// or h2c://"],
        );
    }

    #[test]
    fn names_are_encoded_where_they_stand() {
        let read = Read {
            kind: Some("A&B".into()),
            correlation: Some("c".into()),
            member: Some((1, 3)),
            ..Read::stream("order:command-1/7 ä").from(5).limit(10).wait(Duration::from_millis(1500))
        };
        expect!["/api/v1/streams/order%3Acommand-1%2F7%20%C3%A4/messages?from=5&limit=10&type=A%26B&correlation=c&member=1&size=3&wait=1.5"]
            .assert_eq(&target(&read));
        assert_eq!(target(&Read::all()), "/api/v1/messages?from=0&limit=1000");
        assert_eq!(target(&Read::category("order")), "/api/v1/categories/order/messages?from=0&limit=1000");
    }

    #[test]
    fn what_the_server_says_is_the_error() {
        let wrong = refusal(
            StatusCode::CONFLICT,
            br#"{"error":"x","code":"wrong_expected_version","stream_name":"a-1","expected":3,"actual":4}"#,
        );
        assert!(matches!(&wrong, Error::WrongVersion { stream, expected: 3, actual: 4 } if stream == "a-1"));
        let fault = refusal(StatusCode::UNPROCESSABLE_ENTITY, br#"{"error":"used","hint":"take another"}"#)
            .into_fault();
        assert_eq!(
            (fault.kind, fault.message.as_str(), fault.hint.as_deref()),
            (Kind::Conflict, "used", Some("take another"))
        );
        let plain = refusal(StatusCode::BAD_GATEWAY, b"<html>").into_fault();
        assert_eq!(
            (plain.kind, plain.message.as_str()),
            (Kind::Unavailable, "the API answered `502 Bad Gateway`")
        );
    }
}
