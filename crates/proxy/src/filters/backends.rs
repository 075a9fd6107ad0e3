//! Filters that choose the backend: the target of `<dynamic>`, and what `consistentHash` goes by.

use super::values::Text;
use super::{Built, Example, Filter, FilterSpec, Step, plain};
use crate::args::Args;
use crate::exchange::{DynamicTarget, Exchange};
use http::Uri;
use http::header::{HeaderName, HeaderValue};

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "setDynamicBackendHost",
        args: "host",
        docs: "Sets the host (and port) of a `<dynamic>` backend, and the Host header it sees.",
        example: Example {
            filters: r#"setDynamicBackendHost("cart.internal:8080")"#,
            request: "GET /",
            saw: "GET /\nhost: cart.internal:8080",
            got: "200",
        },
        build: |args, _| fixed(args, Part::Host),
    },
    FilterSpec {
        name: "setDynamicBackendScheme",
        args: "\"http\" | \"https\"",
        docs: "Sets the scheme of a `<dynamic>` backend.",
        example: Example {
            filters: r#"setDynamicBackendScheme("https")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| fixed(args, Part::Scheme),
    },
    FilterSpec {
        name: "setDynamicBackendUrl",
        args: "url",
        docs: "Sets scheme, host and port of a `<dynamic>` backend, and the Host header it sees. Wins over the \
               other two.",
        example: Example {
            filters: r#"setDynamicBackendUrl("https://cart.internal:8443")"#,
            request: "GET /",
            saw: "GET /\nhost: cart.internal:8443",
            got: "200",
        },
        build: |args, _| fixed(args, Part::Url),
    },
    FilterSpec {
        name: "setDynamicBackendHostFromHeader",
        args: "header",
        docs: "Like `setDynamicBackendHost`, with the value of a header of the request. Without that header \
               nothing changes. Whoever may send the header decides where requests go.",
        example: Example {
            filters: r#"setDynamicBackendHostFromHeader("X-Target")"#,
            request: "GET /\nx-target: cart.internal",
            saw: "GET /\nhost: cart.internal",
            got: "200",
        },
        build: |args, _| from_header(args, Part::Host),
    },
    FilterSpec {
        name: "setDynamicBackendSchemeFromHeader",
        args: "header",
        docs: "Like `setDynamicBackendScheme`, with the value of a header of the request.",
        example: Example {
            filters: r#"setDynamicBackendSchemeFromHeader("X-Scheme")"#,
            request: "GET /\nx-scheme: http",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| from_header(args, Part::Scheme),
    },
    FilterSpec {
        name: "setDynamicBackendUrlFromHeader",
        args: "header",
        docs: "Like `setDynamicBackendUrl`, with the value of a header of the request.",
        example: Example {
            filters: r#"setDynamicBackendUrlFromHeader("X-Target")"#,
            request: "GET /\nx-target: http://cart.internal:81",
            saw: "GET /\nhost: cart.internal:81",
            got: "200",
        },
        build: |args, _| from_header(args, Part::Url),
    },
    FilterSpec {
        name: "consistentHashKey",
        args: "key",
        docs: "Sets what the algorithm `consistentHash` goes by in the place of the client's address. If a \
               placeholder has no value, nothing is set.",
        example: Example {
            filters: r#"consistentHashKey("${request.cookie.session}")"#,
            request: "GET /\ncookie: session=abc",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| Ok(plain(HashKey(Text::read(args, "key")?))),
    },
    FilterSpec {
        name: "consistentHashBalanceFactor",
        args: "factor",
        docs: "Bounds an endpoint's requests under way to the average times this factor, at least 1: beyond that \
               the next one on the ring is chosen.",
        example: Example {
            filters: "consistentHashBalanceFactor(1.25)",
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| {
            let factor = args.number("factor")?;
            if factor < 1.0 {
                return Err(args.refuse("factor", &format!("{factor} is less than 1")));
            }
            Ok(plain(BalanceFactor(factor)))
        },
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Host,
    Scheme,
    Url,
}

impl Part {
    fn set(self, target: &mut DynamicTarget, value: &str) {
        let place = match self {
            Part::Host => &mut target.host,
            Part::Scheme => &mut target.scheme,
            Part::Url => &mut target.url,
        };
        *place = Some(value.to_owned());
    }

    /// The Host header that goes with the value, if it says one.
    fn host(self, value: &str) -> Option<HeaderValue> {
        match self {
            Part::Host => HeaderValue::try_from(value).ok(),
            Part::Scheme => None,
            Part::Url => {
                let uri: Uri = value.parse().ok()?;
                let authority = uri.authority()?.as_str();
                HeaderValue::try_from(authority.rsplit_once('@').map_or(authority, |(_, host)| host)).ok()
            }
        }
    }
}

fn fixed(args: &mut Args<'_>, part: Part) -> Result<Built, String> {
    let what = match part {
        Part::Host => "host",
        Part::Scheme => "scheme",
        Part::Url => "url",
    };
    let value = args.text(what)?.to_owned();
    let whole = match part {
        Part::Host => format!("http://{value}"),
        Part::Scheme => format!("{value}://host"),
        Part::Url => value.clone(),
    };
    wire::Origin::parse(&whole).map_err(|fault| args.refuse(what, &fault.to_string()))?;
    let host = part.host(&value);
    Ok(plain(Fixed { part, value, host }))
}

fn from_header(args: &mut Args<'_>, part: Part) -> Result<Built, String> {
    Ok(plain(FromHeader { part, header: args.header("header")? }))
}

struct Fixed {
    part: Part,
    value: String,
    host: Option<HeaderValue>,
}

impl Filter for Fixed {
    fn request(&self, exchange: &mut Exchange) -> Step {
        self.part.set(&mut exchange.notes.dynamic, &self.value);
        if let Some(host) = &self.host {
            exchange.notes.outgoing_host = Some(host.clone());
        }
        Step::Next
    }
}

struct FromHeader {
    part: Part,
    header: HeaderName,
}

impl Filter for FromHeader {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let value = exchange.headers.get(&self.header).and_then(|value| value.to_str().ok());
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.part.set(&mut exchange.notes.dynamic, value);
            if let Some(host) = self.part.host(value) {
                exchange.notes.outgoing_host = Some(host);
            }
        }
        Step::Next
    }
}

struct HashKey(Text);

impl Filter for HashKey {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if let Some(key) = self.0.fill_whole(exchange, None).map(std::borrow::Cow::into_owned) {
            exchange.notes.hash_key = Some(key);
        }
        Step::Next
    }
}

struct BalanceFactor(f64);

impl Filter for BalanceFactor {
    fn request(&self, exchange: &mut Exchange) -> Step {
        exchange.notes.balance_factor = Some(self.0);
        Step::Next
    }
}
