//! Predicates of credentials. They choose a route; they verify nothing, so a route that trusts a token has
//! a filter that checks its signature.

use super::header::header_name;
use super::{Built, Predicate, PredicateEnv, PredicateSpec, Regexp, Unfit, check};
use crate::args::Args;
use crate::question::Question;
use http::header::HeaderName;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// `{"iss":"https://id.example","sub":"ann"}`, unsigned.
macro_rules! token {
    () => {
        "GET /\nAuthorization: Bearer e30.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJzdWIiOiJhbm4ifQ.c2ln"
    };
}

pub(super) static JWT_ANY: PredicateSpec = PredicateSpec {
    name: "JWTPayloadAnyKV",
    args: "claim, value, ...",
    docs: "Matches if at least one of these claims of the bearer token has this value. The token's signature \
           is not verified.",
    example: r#"JWTPayloadAnyKV("iss", "https://other.example", "sub", "ann")"#,
    matches: &[token!()],
    refuses: &["GET /", "GET /\nAuthorization: Bearer e30.e30.c2ln"],
    weight_extra: 0,
    build: |args, env| claims(args, env, Which::Any, exact),
};

pub(super) static JWT_ALL: PredicateSpec = PredicateSpec {
    name: "JWTPayloadAllKV",
    args: "claim, value, ...",
    docs: "Matches if all of these claims of the bearer token have these values. The token's signature is \
           not verified.",
    example: r#"JWTPayloadAllKV("iss", "https://id.example", "sub", "ann")"#,
    matches: &[token!()],
    refuses: &["GET /", "GET /\nAuthorization: Bearer e30.eyJzdWIiOiJhbm4ifQ.c2ln"],
    weight_extra: 0,
    build: |args, env| claims(args, env, Which::All, exact),
};

pub(super) static JWT_ANY_REGEXP: PredicateSpec = PredicateSpec {
    name: "JWTPayloadAnyKVRegexp",
    args: "claim, regexp, ...",
    docs: "Like `JWTPayloadAnyKV`, with a regular expression for each value.",
    example: r#"JWTPayloadAnyKVRegexp("iss", "^http:", "sub", "^a")"#,
    matches: &[token!()],
    refuses: &["GET /\nAuthorization: Basic YTpi"],
    weight_extra: 0,
    build: |args, env| claims(args, env, Which::Any, regexp),
};

pub(super) static JWT_ALL_REGEXP: PredicateSpec = PredicateSpec {
    name: "JWTPayloadAllKVRegexp",
    args: "claim, regexp, ...",
    docs: "Like `JWTPayloadAllKV`, with a regular expression for each value.",
    example: r#"JWTPayloadAllKVRegexp("iss", "^https:", "sub", "^a")"#,
    matches: &[token!()],
    refuses: &["GET /\nAuthorization: Bearer e30.eyJzdWIiOiJhbm4ifQ.c2ln"],
    weight_extra: 0,
    build: |args, env| claims(args, env, Which::All, regexp),
};

pub(super) static HEADER_SHA256: PredicateSpec = PredicateSpec {
    name: "HeaderSHA256",
    args: "name, hash, ...",
    docs: "Matches if the SHA-256 hash of the header's value is one of these, in hex: a secret that need not \
           stand in the routes.",
    example: r#"HeaderSHA256("X-Secret", "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8")"#,
    matches: &["GET /\nX-Secret: password"],
    refuses: &["GET /\nX-Secret: letmein", "GET /"],
    weight_extra: 0,
    build: header_sha256,
};

enum Wanted {
    Exact(Box<str>),
    Like(Arc<Regexp>),
}

#[derive(Clone, Copy, PartialEq)]
enum Which {
    Any,
    All,
}

struct Claims {
    wanted: Vec<(Box<str>, Wanted)>,
    which: Which,
}

type HashBytes = [u8; 32];

struct HeaderSha256 {
    name: HeaderName,
    hashes: Vec<HashBytes>,
}

#[expect(clippy::unnecessary_wraps, reason = "the counterpart of `regexp`, which can fail")]
fn exact(text: &str, _: &PredicateEnv) -> Result<Wanted, String> {
    Ok(Wanted::Exact(text.into()))
}

fn regexp(text: &str, env: &PredicateEnv) -> Result<Wanted, String> {
    env.regexp(text).map(Wanted::Like)
}

fn claims(
    args: &mut Args<'_>,
    env: &PredicateEnv,
    which: Which,
    want: fn(&str, &PredicateEnv) -> Result<Wanted, String>,
) -> Result<Built, Unfit> {
    let mut wanted = Vec::with_capacity(args.left() / 2);
    while wanted.is_empty() || args.left() > 0 {
        wanted.push((args.text("claim")?.into(), want(args.text("value of the claim")?, env)?));
    }
    Ok(check(Claims { wanted, which }))
}

fn header_sha256(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    let name = header_name(args)?;
    let hashes = super::some_texts(args, "hash")?.into_iter().map(hash_bytes).collect::<Result<_, _>>()?;
    Ok(check(HeaderSha256 { name, hashes }))
}

fn hash_bytes(hex: &str) -> Result<HashBytes, String> {
    let wrong = || format!("`{hex}` is not the 64 hex digits of a SHA-256 hash");
    let mut bytes = HashBytes::default();
    if hex.len() != 64 || !hex.is_ascii() {
        return Err(wrong());
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

impl Predicate for Claims {
    fn matches(&self, question: &Question<'_>) -> bool {
        let Some(claims) = question.claims() else {
            return false;
        };
        let holds = |(key, wanted): &(Box<str>, Wanted)| {
            claims.get(&**key).and_then(|value| value.as_str()).is_some_and(|value| match wanted {
                Wanted::Exact(text) => **text == *value,
                Wanted::Like(regexp) => regexp.matches(value),
            })
        };
        match self.which {
            Which::Any => self.wanted.iter().any(holds),
            Which::All => self.wanted.iter().all(holds),
        }
    }
}

impl Predicate for HeaderSha256 {
    fn matches(&self, question: &Question<'_>) -> bool {
        let value = question.headers.get(&self.name).filter(|value| !value.is_empty());
        value.is_some_and(|value| self.hashes.contains(&Sha256::digest(value).into()))
    }
}
