//! What filters write: texts and header values, fixed when the route is built or filled in for each request,
//! and the regular expressions they read.

use crate::args::Args;
use crate::exchange::Exchange;
use crate::net;
use crate::pattern::Rewrite;
use crate::predicates::Regexp;
use eskip::{Context, Placeholder, Template};
use http::header::{COOKIE, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::fmt::Write as _;
use wire::Headers;
use wire::Response;

/// A text that may have placeholders.
pub(super) struct Text(Template);

impl Text {
    /// Reads a text argument.
    pub(super) fn read(args: &mut Args<'_>, what: &str) -> Result<Self, String> {
        args.text(what).map(|text| Self(Template::parse(text)))
    }

    /// The text, if it is the same for all requests.
    pub(super) fn fixed(&self) -> Option<&str> {
        self.0.is_plain().then(|| self.0.text())
    }

    /// The text for a request; what has no value is empty.
    pub(super) fn fill(&self, exchange: &Exchange) -> Cow<'_, str> {
        match self.fixed() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(self.0.expand(&Facts { exchange, response: None }).text),
        }
    }

    /// The text for a request, if everything in it has a value.
    pub(super) fn fill_whole(
        &self,
        exchange: &Exchange,
        response: Option<&Response>,
    ) -> Option<Cow<'_, str>> {
        if let Some(text) = self.fixed() {
            return Some(Cow::Borrowed(text));
        }
        let filled = self.0.expand(&Facts { exchange, response });
        filled.complete.then_some(Cow::Owned(filled.text))
    }
}

/// The value of a header that may have placeholders.
pub(super) enum Value {
    Fixed(HeaderValue),
    Template(Text),
}

impl Value {
    /// Reads a value argument.
    pub(super) fn read(args: &mut Args<'_>, what: &str) -> Result<Self, String> {
        let text = Text::read(args, what)?;
        match text.fixed() {
            Some(fixed) => value(fixed).map(Value::Fixed).map_err(|why| args.refuse(what, &why)),
            None => Ok(Value::Template(text)),
        }
    }

    /// Reads a value argument that is taken as it is.
    pub(super) fn read_fixed(args: &mut Args<'_>, what: &str) -> Result<HeaderValue, String> {
        let text = args.text(what)?;
        value(text).map_err(|why| args.refuse(what, &why))
    }

    /// The value for a request; `None` if something in it has no value, or no header can carry it.
    pub(super) fn fill(&self, exchange: &Exchange, response: Option<&Response>) -> Option<HeaderValue> {
        match self {
            Value::Fixed(value) => Some(value.clone()),
            Value::Template(text) => value(&text.fill_whole(exchange, response)?).ok(),
        }
    }
}

/// A header value of this text.
pub(super) fn value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| format!("{text:?} has characters that no header may carry"))
}

/// Reads a regular expression.
pub(super) fn regexp(args: &mut Args<'_>, what: &str) -> Result<Regexp, String> {
    let text = args.text(what)?;
    Regexp::new(text).map_err(|why| args.refuse(what, &why))
}

/// Reads a regular expression and what its matches become.
pub(super) fn rewrite(args: &mut Args<'_>) -> Result<Rewrite, String> {
    let expression = regexp(args, "expression")?;
    Ok(Rewrite::new(expression, args.text("replacement")?))
}

/// The first value of a header as text; empty if there is none. What is not UTF-8 becomes U+FFFD.
pub(super) fn first<'h>(headers: &'h Headers, name: &HeaderName) -> Cow<'h, str> {
    headers.get(name).map_or(Cow::Borrowed(""), |value| String::from_utf8_lossy(value.as_bytes()))
}

/// The value of the first cookie of this name, without the quotes round it.
pub(super) fn cookie<'h>(headers: &'h Headers, name: &str) -> Option<&'h str> {
    let pairs =
        headers.get_all(COOKIE).filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found.trim() == name).then_some(value)
    });
    let value = values.next()?;
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// What placeholders may ask of an exchange.
struct Facts<'a> {
    exchange: &'a Exchange,
    response: Option<&'a Response>,
}

impl Context for Facts<'_> {
    fn append(&self, placeholder: Placeholder<'_>, out: &mut String) {
        let Exchange { arrival, headers, .. } = self.exchange;
        let header = |headers: &Headers, name: &str, out: &mut String| {
            if let Some(value) = headers.get(name) {
                out.push_str(&String::from_utf8_lossy(value.as_bytes()));
            }
        };
        let address = |address: std::net::IpAddr, out: &mut String| {
            let _ = write!(out, "{}", address.to_canonical());
        };
        match placeholder {
            Placeholder::Method => out.push_str(self.exchange.method.as_str()),
            Placeholder::Host => {
                let host = arrival.host.as_ref().and_then(|host| host.to_str().ok());
                out.push_str(host.unwrap_or_default());
            }
            Placeholder::Path => out.push_str(&self.exchange.path()),
            Placeholder::RawQuery => out.push_str(self.exchange.query().unwrap_or_default()),
            Placeholder::Source => address(self.exchange.client(), out),
            Placeholder::SourceFromLast => address(net::remote_last(headers, arrival.remote.ip()), out),
            Placeholder::ClientIp => address(arrival.remote.ip(), out),
            Placeholder::RequestHeader(name) => header(headers, name, out),
            Placeholder::Query(name) => {
                if let Some(value) = super::form::Form::of(self.exchange.query()).get(name) {
                    out.push_str(&value);
                }
            }
            Placeholder::Cookie(name) => out.push_str(cookie(headers, name).unwrap_or_default()),
            Placeholder::ResponseHeader(name) => {
                if let Some(response) = self.response {
                    header(response.headers(), name, out);
                }
            }
            Placeholder::PathParam(name) => out.push_str(self.exchange.params.get(name).unwrap_or_default()),
        }
    }
}
