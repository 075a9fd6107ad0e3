//! Filters about tokens that say who calls: which are accepted, and what of them the backend is told. Keys
//! and signatures are the business of [`super::jwks`].

use super::jwks::{Keys, Verdict};
use super::values::value;
use super::{Built, Example, Filter, FilterEnv, FilterSpec, Later, Step, plain};
use crate::answer::{Cause, Reason, answer};
use crate::exchange::{Claims, Exchange};
use base::UnixTime;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use serde_json::Value;
use std::sync::Arc;

/// Most bytes of claims that go into a header.
const FORWARDED_BYTES_MAX: usize = 8 << 10;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "jwtValidationKeys",
        args: "jwks",
        docs: "Lets requests through that bring a token (`Authorization: Bearer`) signed by one of these keys and \
               valid now (`exp`, `nbf`, `iat`, where it has them); answers others with 401. The keys are a JWKS \
               (RFC 7517) at an http or https address; beyond Skipper, also in a file, or written here (it then \
               begins with `{`). An address is asked when the first token comes, again every hour, and when a token \
               names an unknown key, but not within five minutes of the last answer; keys that are known stay in \
               force when it fails (the span's tag `jwks.error` says why). The key says how it signs, not the token; shared secrets are no keys here. The \
               claims are there for `forwardTokenField` and `forwardToken`, and `sub` is the user in the access log.",
        example: Example {
            filters: r#"jwtValidationKeys("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\",\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}]}")"#,
            request: "GET /\nauthorization: Bearer no.token.this",
            saw: "-",
            got: "401\nwww-authenticate: Bearer error=\"invalid_token\", error_description=\"the token can't be read\"",
        },
        build: |args, env| {
            let source = args.text("jwks")?;
            let keys = match source {
                text if text.trim_start().starts_with('{') => Keys::inline(text),
                url if url.contains("://") => reachable(url).map(|()| Keys::url(url, &env.handles.dialer)),
                path => Keys::file(env.folder.join(path)),
            };
            let keys = keys.map_err(|why| args.refuse("jwks", &why))?;
            Ok(validation("jwtValidationKeys", source, false, keys, env))
        },
    },
    FilterSpec {
        name: "jwtValidation",
        args: "issuer",
        docs: "Like `jwtValidationKeys`, with the keys of an OpenID provider: `ISSUER/.well-known/openid-configuration` \
               says where they are. A token must have a `sub`.",
        example: Example {
            filters: r#"jwtValidation("https://login.example")"#,
            request: "GET /",
            saw: "-",
            got: "401\nwww-authenticate: Bearer",
        },
        build: |args, env| {
            let issuer = args.text("issuer")?;
            reachable(issuer).map_err(|why| args.refuse("issuer", &why))?;
            let keys = Keys::issuer(issuer, &env.handles.dialer);
            Ok(validation("jwtValidation", issuer, true, keys, env))
        },
    },
    FilterSpec {
        name: "forwardTokenField",
        args: "header, field",
        docs: "Sets a header of the request to one claim of the token that a filter before has checked: a text as it \
               is, anything else as JSON, up to 8 KiB. `a.b` is the claim `b` within `a`; `claims.` before it may be written, as \
               Skipper needs it. The header that came in is removed in any case.",
        example: Example {
            filters: r#"forwardTokenField("X-User", "sub")"#,
            request: "GET /\nx-user: mallory",
            saw: "GET /\n! x-user",
            got: "200",
        },
        build: |args, _| {
            let header = args.header("header")?;
            Ok(plain(ForwardField { header, field: args.text("field")?.to_owned() }))
        },
    },
    FilterSpec {
        name: "forwardToken",
        args: "header[, field, ...]",
        docs: "Sets a header of the request to the claims of the token that a filter before has checked, as a JSON \
               object: all of them, or only these. More than 8 KiB are not set. The header that came in is removed \
               in any case.",
        example: Example {
            filters: r#"forwardToken("X-Claims", "sub", "scope")"#,
            request: "GET /\nx-claims: {}",
            saw: "GET /\n! x-claims",
            got: "200",
        },
        build: |args, _| {
            let header = args.header("header")?;
            let fields = args.texts("field")?.into_iter().map(str::to_owned).collect();
            Ok(plain(Forward { header, fields }))
        },
    },
];

/// Whether an address can be asked at all.
fn reachable(url: &str) -> Result<(), String> {
    wire::Origin::parse(url).map(|_| ()).map_err(|fault| fault.to_string())
}

struct Validate(Arc<Check>);

/// What a token must be.
struct Check {
    name: &'static str,
    keys: Arc<Keys>,
    needs_subject: bool,
}

/// Why a request is refused, in Skipper's words and in ours.
struct Refused {
    reason: &'static str,
    details: String,
}

fn validation(name: &'static str, source: &str, needs_subject: bool, keys: Keys, env: &FilterEnv) -> Built {
    let keys = env.lasting.get(&format!("{name} {source}"), || keys);
    plain(Validate(Arc::new(Check { name, keys, needs_subject })))
}

impl Filter for Validate {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let Some(token) = token(exchange) else {
            return self.0.refuse(exchange, Refused { reason: "missing-token", details: String::new() });
        };
        match self.0.keys.check(&token, exchange.clock.now(), true) {
            Verdict::After(mut end) => {
                let check = self.0.clone();
                let later: Later = Box::pin(async move {
                    // Its sender is dropped when the keys have come or have not.
                    let _ = end.changed().await;
                    let decide: Box<dyn FnOnce(&mut Exchange) -> Step + Send> = Box::new(move |exchange| {
                        let verdict = check.keys.check(&token, exchange.clock.now(), false);
                        check.decide(verdict, exchange)
                    });
                    decide
                });
                Step::Wait(later)
            }
            verdict => self.0.decide(verdict, exchange),
        }
    }
}

impl Check {
    fn decide(&self, verdict: Verdict, exchange: &mut Exchange) -> Step {
        let invalid = |details: String| Refused { reason: "invalid-token", details };
        let claims = match verdict {
            Verdict::Signed(claims) => claims,
            Verdict::Unfit(unfit) => return self.refuse(exchange, invalid(unfit.0)),
            Verdict::NoKeys(why) => {
                exchange.notes.tags.set("jwks.error", &why);
                return self.refuse(exchange, invalid("its keys can't be fetched now".to_owned()));
            }
            Verdict::After(_) => return self.refuse(exchange, invalid("its key did not come".to_owned())),
        };
        if let Err(why) = valid_at(&claims, exchange.clock.unix()) {
            return self.refuse(exchange, invalid(why.to_owned()));
        }
        let subject = claims.get("sub").and_then(Value::as_str);
        if self.needs_subject && subject.is_none() {
            let details = "the token has no `sub`".to_owned();
            return self.refuse(exchange, Refused { reason: "invalid-sub-in-token", details });
        }
        exchange.notes.user = subject.map(Arc::from);
        exchange.notes.claims = Some(Arc::new(claims));
        Step::Next
    }

    fn refuse(&self, exchange: &mut Exchange, refused: Refused) -> Step {
        let Refused { reason, details } = refused;
        let told = if details.is_empty() { reason.to_owned() } else { format!("{reason}: {details}") };
        exchange.notes.reject_reason = Some(reason);
        exchange.notes.reason = Some(Reason::of(Cause::DENIED).by(self.name).because(told));
        // RFC 6750 section 3: without a token nothing more is said.
        let challenge = match details.as_str() {
            "" => HeaderValue::from_static("Bearer"),
            why => {
                let why: String =
                    why.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
                let text = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
                value(&text).unwrap_or(HeaderValue::from_static("Bearer"))
            }
        };
        let mut response = answer(StatusCode::UNAUTHORIZED);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        Step::Reply(response)
    }
}

/// The token of `Authorization: Bearer`.
fn token(exchange: &Exchange) -> Option<String> {
    let value = exchange.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case("bearer ") && !token.is_empty()).then(|| token.to_owned())
}

/// Whether a token is valid at this time (RFC 7519 section 4.1; `iat` as Skipper checks it).
fn valid_at(claims: &Claims, now: UnixTime) -> Result<(), &'static str> {
    let now = now.0.as_secs_f64();
    let time = |name: &str, wrong: &'static str| match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(time) => time.as_f64().map(Some).ok_or(wrong),
    };
    if time("exp", "`exp` is no time")?.is_some_and(|end| now >= end) {
        return Err("the token has expired");
    }
    if time("nbf", "`nbf` is no time")?.is_some_and(|begin| now < begin) {
        return Err("the token is not valid yet");
    }
    if time("iat", "`iat` is no time")?.is_some_and(|made| now < made) {
        return Err("the token was made in the future");
    }
    Ok(())
}

struct ForwardField {
    header: HeaderName,
    field: String,
}

impl Filter for ForwardField {
    fn request(&self, exchange: &mut Exchange) -> Step {
        // Whoever calls must not be able to say what only the token may.
        exchange.headers.remove(&self.header);
        let claims = exchange.notes.claims.as_deref();
        let found = claims.and_then(|claims| {
            let plain = self.field.strip_prefix("claims.");
            field(claims, &self.field).or_else(|| field(claims, plain?))
        });
        if let Some(value) = found.and_then(|found| forwarded(&text_of(found))) {
            exchange.headers.insert(&self.header, value);
        }
        Step::Next
    }
}

/// The claim of this name, else the one at this path.
fn field<'c>(claims: &'c Claims, path: &str) -> Option<&'c Value> {
    if let Some(found) = claims.get(path) {
        return Some(found);
    }
    let mut names = path.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |within, name| match within {
        Value::Object(fields) => fields.get(name),
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

fn text_of(claim: &Value) -> String {
    match claim {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What a header carries of a token, if it can and may.
fn forwarded(text: &str) -> Option<HeaderValue> {
    if text.len() > FORWARDED_BYTES_MAX {
        return None;
    }
    value(text).ok()
}

struct Forward {
    header: HeaderName,
    /// All if there are none.
    fields: Vec<String>,
}

impl Filter for Forward {
    fn request(&self, exchange: &mut Exchange) -> Step {
        exchange.headers.remove(&self.header);
        let Some(claims) = &exchange.notes.claims else { return Step::Next };
        let wanted = |name: &String| self.fields.is_empty() || self.fields.contains(name);
        let told: Claims = claims
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, claim)| (name.clone(), claim.clone()))
            .collect();
        if let Some(value) = forwarded(&Value::Object(told).to_string()) {
            exchange.headers.insert(&self.header, value);
        }
        Step::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn claims(json: Value) -> Claims {
        let Value::Object(claims) = json else { panic!("no object") };
        claims
    }

    #[test]
    fn a_token_is_valid_for_a_time() {
        let check = |json, expected: Result<(), &str>| {
            assert_eq!(valid_at(&claims(json), UnixTime(Duration::from_secs(100))), expected);
        };
        check(json!({}), Ok(()));
        check(json!({"exp": 101, "nbf": 100, "iat": 99.5}), Ok(()));
        check(json!({"exp": 100}), Err("the token has expired"));
        check(json!({"exp": "101"}), Err("`exp` is no time"));
        check(json!({"nbf": 101}), Err("the token is not valid yet"));
        check(json!({"iat": 1e300}), Err("the token was made in the future"));
    }

    #[test]
    fn fields_are_found_by_name_and_by_path() {
        let claims = claims(json!({"a": {"b": ["x", {"c": 1}]}, "a.b": "whole", "n": null}));
        let found = |path| field(&claims, path).map(text_of);
        assert_eq!(found("a.b").as_deref(), Some("whole"), "a name with dots is a name first");
        assert_eq!(found("a.b.1.c").as_deref(), Some("1"));
        assert_eq!(found("a").as_deref(), Some(r#"{"b":["x",{"c":1}]}"#));
        assert_eq!((found("n").as_deref(), found("z"), found("n.z")), (Some(""), None, None));
    }
}
