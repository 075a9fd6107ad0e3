//! Headers that end at each hop (RFC 9110 section 7.6.1), for they are about one connection and not the
//! message, and those that say how long the message is.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, StatusCode};
use wire::{Body, Response};

/// Removes what is about the connection it came on, and what `Connection` names besides.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(name);
    }
    // The one value of TE that may go on (RFC 9110 section 10.1.4; gRPC needs it).
    if headers.contains_key(TE) {
        let trailers =
            headers.get_all(TE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
        headers.remove(TE);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
}

/// Makes what a response says of its length true: of its body, whatever filters made of that, or of the
/// body that GET would have for one that has none (RFC 9110 section 8.6).
pub(crate) fn settle_length(method: &Method, response: &mut Response) {
    let told = response.headers().get(CONTENT_LENGTH).cloned();
    let length = response.body().exact_len().map(HeaderValue::from);
    let status = response.status();
    let length = if status == StatusCode::NO_CONTENT || status.is_informational() {
        None
    } else if *method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
        told.clone().or(length.filter(|_| !response.body().is_empty()))
    } else if length.is_none() {
        return;
    } else {
        length
    };
    if *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        // Nobody would read it.
        *response.body_mut() = Body::empty();
    }
    if length != told {
        match length {
            Some(length) => response.headers_mut().insert(CONTENT_LENGTH, length),
            None => response.headers_mut().remove(CONTENT_LENGTH),
        };
    }
}

/// Makes what a request says of its body true: its length, or that it comes in chunks. hyper would leave out
/// a body of unknown length for GET, and trusts a length that is written.
pub(crate) fn announce_body(body: &Body, headers: &mut HeaderMap) {
    match body.exact_len() {
        Some(0) if !headers.contains_key(CONTENT_LENGTH) => {}
        Some(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None => {
            headers.remove(CONTENT_LENGTH);
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_the_connection_ends_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
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
}
