//! A request's head as it goes to an upstream. It is borrowed, since whoever sends it may have to send it again
//! elsewhere: an engine that writes heads itself copies nothing, one that wants a map of its own is given one.

use crate::{Body, Headers, RequestHead};
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Uri};

/// The head of a request on its way out.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query, as they shall stand on the wire.
    pub target: &'a Uri,
    /// Its Host, in the place of any that its fields have.
    pub host: Option<&'a HeaderValue>,
    /// Its fields, before what follows. What they say of the body's length is left out: the body says so.
    pub headers: &'a Headers,
    /// Which of them go no further.
    pub ends_here: fn(&HeaderName) -> bool,
    /// Fields that stand in the place of all of their name, or leave it empty.
    pub changes: &'a [(HeaderName, Option<HeaderValue>)],
    /// Fields that are made for this request, in the place of all of their names. Their values have letters that a
    /// value may have.
    pub made: &'a [(&'a HeaderName, &'a [u8])],
}

impl Outgoing<'_> {
    /// The fields as they go out.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&HeaderName, &[u8])> {
        self.others().map(|(name, value)| (name, value.as_bytes())).chain(self.made.iter().copied())
    }

    /// All but those that are made.
    fn others(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let goes = |name: &HeaderName| {
            (self.ends_here)(name)
                || (self.host.is_some() && *name == HOST)
                || self.made.iter().any(|(made, _)| *made == name)
                || self.changes.iter().any(|(changed, _)| changed == name)
        };
        let added = self.changes.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        // The Host comes first (RFC 9110 section 7.2).
        let host = self.host.map(|host| (&HOST, host));
        host.into_iter().chain(self.headers.iter().filter(move |(name, _)| !goes(name))).chain(added)
    }

    /// A request of its own, for an engine that wants one. hyper leaves out a body of unknown length for GET,
    /// and trusts a length that is written, so the fields are made to say what the body is.
    pub(crate) fn with(&self, body: Body) -> Request<Body> {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + self.changes.len() + self.made.len());
        for (name, value) in self.others() {
            headers.append(name, value.clone());
        }
        for (name, value) in self.made {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(*name, value);
            }
        }
        headers.remove(TRANSFER_ENCODING);
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
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = headers;
        request
    }
}

/// All of it goes out as it is.
impl<'a> From<&'a RequestHead> for Outgoing<'a> {
    fn from(head: &'a RequestHead) -> Self {
        Self {
            method: &head.method,
            target: &head.uri,
            host: None,
            headers: &head.headers,
            ends_here: |_| false,
            changes: &[],
            made: &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CONNECTION;

    #[test]
    fn what_ends_here_stays_and_changes_stand_in_the_place_of_what_was() {
        let mut headers = Headers::new();
        for (name, value) in
            [("host", "a"), ("x", "1"), ("x", "2"), ("connection", "close"), ("y", "3"), ("z", "4")]
        {
            headers.append(name, value.parse().unwrap());
        }
        headers.insert(CONTENT_LENGTH, "99".parse().unwrap());
        let (host, y) = (HeaderValue::from_static("b"), HeaderName::from_static("y"));
        let z = HeaderName::from_static("z");
        let outgoing = Outgoing {
            method: &Method::POST,
            target: &Uri::from_static("/p?q"),
            host: Some(&host),
            headers: &headers,
            ends_here: |name| *name == CONNECTION,
            changes: &[(y, None)],
            made: &[(&z, b"5")],
        };
        let told = |body: Body| {
            let request = outgoing.with(body);
            let mut fields: Vec<_> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
                .collect();
            fields.sort();
            format!("{} {} {}", request.method(), request.uri(), fields.join(" "))
        };
        assert_eq!(told(Body::full("abc")), "POST /p?q content-length=3 host=b x=1 x=2 z=5");
        assert_eq!(told(Body::empty()), "POST /p?q content-length=0 host=b x=1 x=2 z=5");
    }
}
