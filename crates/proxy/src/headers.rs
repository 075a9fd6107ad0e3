//! Headers that end at each hop (RFC 9110 section 7.6.1), for they are about one connection and not the
//! message, and those that say how long the message is.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, TE, UPGRADE};
use http::{Method, StatusCode};
use wire::{Body, Headers, Response};

/// What `Connection` may name without taking it away: marks of the connection, and fields that are not the
/// client's to take off (RFC 9110 section 7.6.1).
const NEVER_NAMED: [&str; 7] =
    ["close", "keep-alive", "upgrade", "te", "host", "content-length", "transfer-encoding"];

/// Removes what a client's `Connection` names, and the names. That ends where the request comes in: later it
/// would take off what is added on the way, such as who calls.
pub(crate) fn strip_named(headers: &mut Headers) {
    if !headers.contains_key(CONNECTION) {
        return;
    }
    let is_mark = |token: &str| NEVER_NAMED.iter().any(|mark| token.eq_ignore_ascii_case(mark));
    if tokens(headers, &CONNECTION).all(is_mark) {
        return;
    }
    let (marks, names): (Vec<String>, Vec<String>) =
        tokens(headers, &CONNECTION).map(str::to_owned).partition(|token| is_mark(token));
    for name in names {
        headers.remove(name.as_str());
    }
    match HeaderValue::try_from(marks.join(", ")) {
        Ok(marks) if !marks.is_empty() => headers.insert(CONNECTION, marks),
        _ => headers.remove(CONNECTION),
    };
}

/// Whether a request's field goes no further: it is about one hop, or it was for us (we have read the body's
/// beginning ourselves by now, or will when the backend wants it).
pub(crate) fn ends_here(name: &HeaderName) -> bool {
    *name == EXPECT || is_about_one_hop(name)
}

/// Whether a field ends at each hop. `TE` has a value that may go on.
fn is_about_one_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "keep-alive"
            | "proxy-connection"
            | "te"
    )
}

/// The one value of TE that may go on (RFC 9110 section 10.1.4; gRPC needs it).
pub(crate) fn wants_trailers(headers: &Headers) -> bool {
    headers.get_all(TE).any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"))
}

/// Removes what is about the connection it came on, and what `Connection` names besides.
pub(crate) fn strip_hop_by_hop(headers: &mut Headers) {
    // Most messages have none of them, or `Connection: keep-alive`.
    let mut there = headers.iter().filter(|(name, _)| is_about_one_hop(name));
    match (there.next(), there.next()) {
        (None, _) => return,
        (Some((name, value)), None) if *name == CONNECTION && value == "keep-alive" => {
            headers.remove(CONNECTION);
            return;
        }
        _ => {}
    }
    let trailers = wants_trailers(headers);
    let usual = |token: &&str| !["keep-alive", "close"].iter().any(|it| token.eq_ignore_ascii_case(it));
    let named: Vec<HeaderName> =
        tokens(headers, &CONNECTION).filter(usual).filter_map(|name| name.parse().ok()).collect();
    headers.retain(|name, _| !is_about_one_hop(name) && !named.contains(name));
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The protocols that a request asks to change to (RFC 9110 section 7.8), if it does. Those that are HTTP
/// again or about the connection itself are ours to offer, and passing them on would let requests slip by.
pub(crate) fn wanted_upgrade(headers: &Headers) -> Option<HeaderValue> {
    let first = headers.get(UPGRADE)?;
    if !tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    let ours = |token: &str| {
        let name = token.split('/').next().unwrap_or_default();
        ["h2c", "http", "tls"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
    };
    let count = headers.get_all(UPGRADE).count();
    if count == 1 && first.to_str().is_ok_and(|value| !value.contains(',')) {
        return tokens(headers, &UPGRADE).next().filter(|token| !ours(token)).map(|_| first.clone());
    }
    let wanted: Vec<_> = tokens(headers, &UPGRADE).filter(|token| !ours(token)).collect();
    HeaderValue::try_from(wanted.join(", ")).ok().filter(|wanted| !wanted.is_empty())
}

/// Whether a protocol that the backend changed to is among those it was asked for.
pub(crate) fn is_among(protocol: &HeaderValue, wanted: &HeaderValue) -> bool {
    let (Ok(protocol), Ok(wanted)) = (protocol.to_str(), wanted.to_str()) else { return false };
    wanted.split(',').any(|token| token.trim().eq_ignore_ascii_case(protocol.trim()))
}

/// Says that the connection changes to these protocols.
pub(crate) fn announce_upgrade(protocols: HeaderValue, headers: &mut Headers) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocols);
}

/// The members of a list that may stand in several lines.
fn tokens<'a>(headers: &'a Headers, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// Makes what a response says of its length true: of its body, whatever filters made of that, or of the
/// body that GET would have for one that has none (RFC 9110 section 8.6).
pub(crate) fn settle_length(method: &Method, response: &mut Response) {
    let status = response.status();
    let exact = response.body().exact_len();
    let told = response.headers().get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    let empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if status == StatusCode::NO_CONTENT || status.is_informational() {
        response.headers_mut().remove(CONTENT_LENGTH);
    } else if *method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
        if let (None, Some(exact @ 1..)) = (told, exact) {
            response.headers_mut().insert(CONTENT_LENGTH, exact.into());
        }
    } else if let Some(exact) = exact
        && told.and_then(plain_number) != Some(exact)
    {
        response.headers_mut().insert(CONTENT_LENGTH, exact.into());
    }
    if *method == Method::HEAD || empty {
        // Nobody would read it.
        *response.body_mut() = Body::empty();
    }
}

/// A number as it is written without need: no sign, no zeros before it.
fn plain_number(text: &[u8]) -> Option<u64> {
    let plain = text == b"0" || text.first().is_some_and(|first| (b'1'..=b'9').contains(first));
    if plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_the_connection_ends_here() {
        let mut headers = Headers::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("connection", "TE"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
            ("authorization", "Basic x"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "authorization", "te"]);
    }

    #[test]
    fn what_a_request_wants_to_change_to_is_read_from_every_form() {
        let wanted = |lines: &[(&str, &str)]| {
            let mut headers = Headers::new();
            for (name, value) in lines {
                headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            wanted_upgrade(&headers).map(|value| value.to_str().unwrap().to_owned())
        };
        let connection = ("connection", "keep-alive, Upgrade");
        assert_eq!(wanted(&[connection, ("upgrade", "websocket")]).as_deref(), Some("websocket"));
        assert_eq!(wanted(&[("connection", "close"), ("upgrade", "websocket")]), None);
        assert_eq!(wanted(&[connection]), None);
        for ours in ["h2c", "HTTP/2.0", "TLS/1.0", "h2c, tls/1.2", ""] {
            assert_eq!(wanted(&[connection, ("upgrade", ours)]), None, "{ours}");
        }
        let several = [connection, ("upgrade", "h2c, irc/6.9"), ("upgrade", "websocket")];
        assert_eq!(wanted(&several).as_deref(), Some("irc/6.9, websocket"));
        let asked = HeaderValue::from_static("irc/6.9, websocket");
        assert!(is_among(&HeaderValue::from_static("WebSocket"), &asked));
        assert!(!is_among(&HeaderValue::from_static("irc"), &asked));
    }

    #[test]
    fn names_end_where_they_come_in_and_marks_stay() {
        let mut headers = Headers::new();
        for (name, value) in [
            ("connection", "Upgrade, X-Mine, Host"),
            ("connection", "not a name, authorization,"),
            ("host", "h"),
            ("x-mine", "1"),
            ("authorization", "Basic x"),
            ("x-stays", "1"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        strip_named(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["connection", "host", "x-stays"]);
        assert_eq!(headers[CONNECTION], "Upgrade, Host");
        let before = headers.clone();
        strip_named(&mut headers);
        assert_eq!(headers, before);
    }
}
