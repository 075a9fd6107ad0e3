//! Filters about the span of a request: its name, and tags that say more of it. They end up in the request's
//! record, and so in the JSON access log.

use super::values::Text;
use super::{Built, Example, Filter, FilterSpec, On, Step, Wishes, plain};
use crate::args::Args;
use crate::exchange::Exchange;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;
use wire::Headers;
use wire::Response;

/// Longest name of a span.
const SPAN_NAME_BYTES_MAX: usize = 256;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "tracingTag",
        args: "name, value",
        docs: "Adds a tag to the request's span. The value may have placeholders; if one of them has no value, \
               there is no tag. A span has at most 32 tags, of 4096 bytes together; what does not fit is left out. \
               The JSON access log shows them as `tags`.",
        example: Example {
            filters: r#"tracingTag("customer", "${request.header.X-Customer}")"#,
            request: "GET /\nx-customer: ann",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| tag(args, On::Request, 0..=999),
    },
    FilterSpec {
        name: "tracingTagFromResponse",
        args: "name, value",
        docs: "Like `tracingTag`, when the response is there: placeholders may name its headers.",
        example: Example {
            filters: r#"tracingTagFromResponse("cached", "${response.header.Age}")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| tag(args, On::Response, 0..=999),
    },
    FilterSpec {
        name: "tracingTagFromResponseIfStatus",
        args: "name, value, least, most",
        docs: "Like `tracingTagFromResponse`, only for responses with a status from `least` to `most`.",
        example: Example {
            filters: r#"tracingTagFromResponseIfStatus("error", "true", 500, 599)"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            // The range is checked before the tag is made, but written behind it.
            let name = tag_name(args)?;
            let value = Text::read(args, "value")?;
            let least = status(args, "least status")?;
            let most = status(args, "most status")?;
            if least > most {
                return Err(args.refuse("most status", &format!("{most} is less than {least}")));
            }
            Ok(plain(Tag { name, value, on: On::Response, statuses: least..=most }))
        },
    },
    FilterSpec {
        name: "tracingSpanName",
        args: "name",
        docs: "Names the span of the request. The JSON access log shows it as `span-name`.",
        example: Example {
            filters: r#"tracingSpanName("add-to-cart")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            let name = args.text("name")?;
            if name.is_empty() || name.len() > SPAN_NAME_BYTES_MAX {
                let why = format!("it has {} bytes, not 1 to {SPAN_NAME_BYTES_MAX}", name.len());
                return Err(args.refuse("name", &why));
            }
            Ok(plain(SpanName(name.into())))
        },
    },
    FilterSpec {
        name: "tracingSampleRate",
        args: "share",
        docs: "Sets which share of the traces that begin with this route is recorded whole, from 0 to 1, in the place \
               of `sample` of the manifest's `traces`. Where the caller has decided, that counts. Requests that \
               failed and the slowest hundredth of a route leave their own spans in any case. Not in Skipper.",
        example: Example { filters: "tracingSampleRate(0.05)", request: "GET /", saw: "GET /", got: "200" },
        build: |args, _| {
            let share = args.number("share")?;
            if !(0.0..=1.0).contains(&share) {
                return Err(args.refuse("share", &format!("{share} is not between 0 and 1")));
            }
            Ok(plain(SampleRate(share)))
        },
    },
    FilterSpec {
        name: "tracingBaggageToTag",
        args: "item[, tag]",
        docs: "Adds a tag with the value of an item of the trace's baggage (the W3C header `baggage`). Without a \
               name of its own the tag is named like the item.",
        example: Example {
            filters: r#"tracingBaggageToTag("customer", "who")"#,
            request: "GET /\nbaggage: customer=ann",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            let item = named(args, "item")?;
            let tag = args.optional(|args| named(args, "tag"))?.unwrap_or_else(|| item.clone());
            Ok(plain(BaggageToTag { item, tag }))
        },
    },
    FilterSpec {
        name: "stateBagToTag",
        args: "key[, tag]",
        docs: "Adds a tag with what an earlier filter found out or left by name: `auth-user` is who calls, `auth-reject-reason` \
               why a caller was refused, `shedder:admission_control` is `reject` when `admissionControl` refused or \
               would have refused. Without a name of its own the tag is named like the key.",
        example: Example {
            filters: r#"stateBagToTag("auth-user", "client_id")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            let key = named(args, "key")?;
            let tag = args.optional(|args| named(args, "tag"))?.unwrap_or_else(|| key.clone());
            Ok(plain(FactToTag { key, tag }))
        },
    },
];

struct Tag {
    name: String,
    value: Text,
    on: On,
    statuses: RangeInclusive<u16>,
}

fn tag(args: &mut Args<'_>, on: On, statuses: RangeInclusive<u16>) -> Result<Built, String> {
    Ok(plain(Tag { name: tag_name(args)?, value: Text::read(args, "value")?, on, statuses }))
}

fn tag_name(args: &mut Args<'_>) -> Result<String, String> {
    args.text("name").map(str::to_owned)
}

/// A text that is not empty.
fn named(args: &mut Args<'_>, what: &str) -> Result<String, String> {
    match args.text(what)? {
        "" => Err(args.refuse(what, "it is empty")),
        text => Ok(text.to_owned()),
    }
}

fn status(args: &mut Args<'_>, what: &str) -> Result<u16, String> {
    let number = args.whole(what, 0)?;
    let status = u16::try_from(number).ok().filter(|status| *status < 1000);
    status.ok_or_else(|| args.refuse(what, &format!("{number} is no status")))
}

impl Filter for Tag {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.on == On::Request
            && let Some(value) = self.value.fill_whole(exchange, None).map(Cow::into_owned)
        {
            exchange.notes.tags.set(&self.name, &value);
        }
        Step::Next
    }

    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        if self.on == On::Response
            && self.statuses.contains(&response.status().as_u16())
            && let Some(value) = self.value.fill_whole(exchange, Some(response)).map(Cow::into_owned)
        {
            exchange.notes.tags.set(&self.name, &value);
        }
        Step::Next
    }
}

struct SpanName(Arc<str>);

impl Filter for SpanName {
    fn request(&self, exchange: &mut Exchange) -> Step {
        exchange.notes.span_name = Some(self.0.clone());
        Step::Next
    }
}

struct SampleRate(f64);

impl Filter for SampleRate {
    fn wish(&self, wishes: &mut Wishes) {
        wishes.sample = Some(self.0);
    }
}

struct BaggageToTag {
    item: String,
    tag: String,
}

impl Filter for BaggageToTag {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if let Some(value) = baggage(&exchange.headers, &self.item) {
            exchange.notes.tags.set(&self.tag, &value);
        }
        Step::Next
    }
}

/// The value of an item of the baggage, decoded. One that is empty counts as none, as in Skipper.
fn baggage(headers: &Headers, item: &str) -> Option<String> {
    let (_, value) = crate::net::baggage(headers).find(|(key, _)| *key == item)?;
    let value = percent_decode_str(value).decode_utf8_lossy();
    (!value.is_empty()).then(|| value.into_owned())
}

struct FactToTag {
    key: String,
    tag: String,
}

impl Filter for FactToTag {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let notes = &mut exchange.notes;
        if let Some(value) = notes.fact(&self.key).map(str::to_owned) {
            notes.tags.set(&self.tag, &value);
        }
        Step::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn baggage_is_read_as_w3c_writes_it() {
        let mut headers = Headers::new();
        headers.append("baggage", HeaderValue::from_static("a=1;p=2, b = x%20y ,c=;d"));
        headers.append("baggage", HeaderValue::from_static("e=%E2%82%AC"));
        let read = |item| baggage(&headers, item);
        assert_eq!([read("a"), read("b"), read("e")], ["1", "x y", "\u{20ac}"].map(|v| Some(v.to_owned())));
        assert_eq!([read("c"), read("d"), read("p"), read("z")], [None, None, None, None]);
    }
}
