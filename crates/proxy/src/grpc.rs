//! What a gateway must know of gRPC: how an answer of ours is said in it, what an answer without messages
//! means, and how long a caller waits. The protocol itself passes as any HTTP/2 does.

use crate::answer::Reason;
use base::Moment;
use http::StatusCode;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::time::Duration;
use wire::{Body, Headers, Response};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What `grpc-message` may not hold as it is: all but printable ASCII, and `%`.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// gRPC statuses beside HTTP's, as the specification's table for gateways has them; a caller that came too
/// often is told that something is exhausted, and one whose time is up that it is.
const CODES: &[(u16, u8)] = &[
    (400, INTERNAL),
    (401, UNAUTHENTICATED),
    (403, PERMISSION_DENIED),
    (404, UNIMPLEMENTED),
    (408, DEADLINE_EXCEEDED),
    (413, RESOURCE_EXHAUSTED),
    (429, RESOURCE_EXHAUSTED),
    (499, CANCELLED),
    (500, INTERNAL),
    (502, UNAVAILABLE),
    (503, UNAVAILABLE),
    (504, DEADLINE_EXCEEDED),
];

const CANCELLED: u8 = 1;
const UNKNOWN: u8 = 2;
const DEADLINE_EXCEEDED: u8 = 4;
const PERMISSION_DENIED: u8 = 7;
const RESOURCE_EXHAUSTED: u8 = 8;
const UNIMPLEMENTED: u8 = 12;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;
const DATA_LOSS: u8 = 15;
const UNAUTHENTICATED: u8 = 16;

/// Says an error of ours in gRPC's way: HTTP 200 with the status in a head that is all there is
/// (Trailers-Only). An answer that a route is written to give in gRPC's own form stays as it is.
pub(crate) fn translate(response: &mut Response, reason: &Reason) {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || wire::is_grpc(response.headers()) {
        return;
    }
    let code = CODES.iter().find(|(http, _)| *http == status.as_u16()).map_or(UNKNOWN, |(_, code)| *code);
    let mut message = format!("tombolo: {}", reason.cause.0);
    if !reason.details.is_empty() {
        message += ": ";
        message += &reason.details;
    }
    let message = utf8_percent_encode(&message, ESCAPED).to_string();
    *response.status_mut() = StatusCode::OK;
    *response.body_mut() = Body::empty();
    let headers = response.headers_mut();
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from(u16::from(code)));
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(MESSAGE, message);
    }
}

/// The HTTP status that says the same as an answer: its own, unless it is a gRPC error without messages
/// whose cause is not in the request.
pub(crate) fn status(response: &Response) -> StatusCode {
    let code = response.headers().get(STATUS).and_then(|code| code.to_str().ok()?.parse().ok());
    match code {
        Some(UNAVAILABLE) => StatusCode::SERVICE_UNAVAILABLE,
        Some(RESOURCE_EXHAUSTED) => StatusCode::TOO_MANY_REQUESTS,
        Some(DEADLINE_EXCEEDED) => StatusCode::GATEWAY_TIMEOUT,
        Some(UNKNOWN | INTERNAL | DATA_LOSS) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => response.status(),
    }
}

/// How long the caller of a gRPC request that came at `since` still waits (`grpc-timeout`).
pub(crate) fn time_left(headers: &Headers, since: Moment, now: Moment) -> Option<Duration> {
    let wait = timeout(headers.get(TIMEOUT)?.to_str().ok()?)?;
    Some(wait.saturating_sub(now.since(since)))
}

/// Reads `100m`: at most eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > 8 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Cause, answer};

    #[test]
    fn timeouts_are_read_as_the_specification_writes_them() {
        for (text, wait) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("100m", Duration::from_millis(100)),
            ("99999999u", Duration::from_micros(99_999_999)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(timeout(text), Some(wait), "{text}");
        }
        for bad in ["", "m", "1", "-1S", "+1S", "1.5S", "123456789S", "1h", "1\u{e4}"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_error_of_ours_is_one_of_grpc_too() {
        let said = |status: u16, reason: Reason| {
            let mut response = answer(StatusCode::from_u16(status).unwrap());
            translate(&mut response, &reason);
            let header =
                |name: &str| response.headers().get(name).map_or("-", |value| value.to_str().unwrap());
            format!("{} {} {}", response.status().as_u16(), header("grpc-status"), header("grpc-message"))
        };
        let details = Reason::of(Cause::CONNECTION_REFUSED).because("50% of \u{e4}ll\n");
        assert_eq!(said(502, details), "200 14 tombolo: connection_refused: 50%25 of %C3%A4ll%0A");
        assert_eq!(said(418, Reason::of(Cause::FILTER)), "200 2 tombolo: filter");
        assert_eq!(said(204, Reason::of(Cause::FILTER)), "204 - -");
        let told = CODES.iter().map(|(http, code)| (said(*http, Reason::of(Cause::DENIED)), code));
        for (said, code) in told {
            assert_eq!(said, format!("200 {code} tombolo: http_request_denied"));
        }
    }
}
