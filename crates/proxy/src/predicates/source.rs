//! Predicates of where a request comes from.

use super::{Built, Predicate, PredicateEnv, PredicateSpec, Regexp, Unfit, check, some_texts};
use crate::args::Args;
use crate::net::Networks;
use crate::question::Question;
use http::header::FORWARDED;
use std::sync::Arc;

pub(super) static SOURCE: PredicateSpec = PredicateSpec {
    name: "Source",
    args: "network, ...",
    docs: "Matches if the client is in one of these networks (addresses or CIDR blocks). The client is the \
           first entry of `X-Forwarded-For`, or whoever sent the request. Anybody can write that header: \
           this is no access control, unless a proxy of ours overwrites it.",
    example: r#"Source("10.0.0.0/8", "2001:db8::1")"#,
    matches: &["GET /\n@remote 10.1.2.3", "GET /\nX-Forwarded-For: 2001:db8::1, 9.9.9.9\n@remote 9.9.9.9"],
    refuses: &["GET /\nX-Forwarded-For: 1.1.1.1\n@remote 10.1.2.3"],
    weight_extra: 0,
    build: |args, _| source(args, Client::First),
};

pub(super) static SOURCE_FROM_LAST: PredicateSpec = PredicateSpec {
    name: "SourceFromLast",
    args: "network, ...",
    docs: "Like `Source`, but the client is the last entry of `X-Forwarded-For`: the one that the proxy \
           before this gateway wrote, as AWS load balancers do.",
    example: r#"SourceFromLast("10.0.0.0/8")"#,
    matches: &["GET /\nX-Forwarded-For: 9.9.9.9, 10.1.2.3\n@remote 9.9.9.9"],
    refuses: &["GET /\nX-Forwarded-For: 10.1.2.3, 9.9.9.9\n@remote 10.0.0.1"],
    weight_extra: 0,
    build: |args, _| source(args, Client::Last),
};

pub(super) static CLIENT_IP: PredicateSpec = PredicateSpec {
    name: "ClientIP",
    args: "network, ...",
    docs: "Matches if the other end of the connection is in one of these networks, whatever the headers say.",
    example: r#"ClientIP("127.0.0.1")"#,
    matches: &["GET /\nX-Forwarded-For: 9.9.9.9\n@remote 127.0.0.1"],
    refuses: &["GET /\nX-Forwarded-For: 127.0.0.1\n@remote 9.9.9.9"],
    weight_extra: 0,
    build: |args, _| source(args, Client::Sender),
};

pub(super) static FORWARDED_HOST: PredicateSpec = PredicateSpec {
    name: "ForwardedHost",
    args: "regexp",
    docs: "Matches if the expression matches somewhere in the last `host` of the `Forwarded` header (RFC \
           7239).",
    example: "ForwardedHost(/^example[.]com$/)",
    matches: &["GET /\nForwarded: host=a.example, for=1.2.3.4;host=\"example.com\""],
    refuses: &["GET /\nForwarded: host=example.com, host=a.example", "GET /"],
    weight_extra: 0,
    build: forwarded_host,
};

pub(super) static FORWARDED_PROTOCOL: PredicateSpec = PredicateSpec {
    name: "ForwardedProtocol",
    args: "\"http\" or \"https\"",
    docs: "Matches if the last `proto` of the `Forwarded` header (RFC 7239) is this one.",
    example: r#"ForwardedProtocol("https")"#,
    matches: &[
        "GET /\nForwarded: proto=http, proto=https;host=a",
        "GET /\nForwarded: proto=https, for=1.2.3.4",
    ],
    refuses: &["GET /\nForwarded: proto=http", "GET /"],
    weight_extra: 0,
    build: forwarded_protocol,
};

/// Whom a predicate takes for the client.
#[derive(Clone, Copy)]
enum Client {
    First,
    Last,
    Sender,
}

struct Source {
    networks: Networks,
    client: Client,
}

struct ForwardedHost(Arc<Regexp>);

struct ForwardedProtocol(&'static str);

fn source(args: &mut Args<'_>, client: Client) -> Result<Built, Unfit> {
    Ok(check(Source { networks: Networks::parse(&some_texts(args, "network")?)?, client }))
}

fn forwarded_host(args: &mut Args<'_>, env: &PredicateEnv) -> Result<Built, Unfit> {
    let text = args.text("regular expression")?;
    args.end()?;
    if text.is_empty() {
        return Err("the expression is empty and would match every host".into());
    }
    Ok(check(ForwardedHost(env.regexp(text)?)))
}

fn forwarded_protocol(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    let text = args.text("protocol")?;
    args.end()?;
    let known = ["http", "https"].into_iter().find(|known| *known == text);
    Ok(check(ForwardedProtocol(known.ok_or_else(|| format!("`{text}` is neither `http` nor `https`"))?)))
}

impl Predicate for Source {
    fn matches(&self, question: &Question<'_>) -> bool {
        let client = match self.client {
            Client::First => question.client_first(),
            Client::Last => question.client_last(),
            Client::Sender => question.sender(),
        };
        client.is_some_and(|client| self.networks.contains(client))
    }
}

impl Predicate for ForwardedHost {
    fn matches(&self, question: &Question<'_>) -> bool {
        forwarded(question, "host").is_some_and(|host| self.0.matches(host))
    }
}

impl Predicate for ForwardedProtocol {
    fn matches(&self, question: &Question<'_>) -> bool {
        forwarded(question, "proto") == Some(self.0)
    }
}

/// The last value of this parameter in the `Forwarded` header. Host and protocol are looked for each on its
/// own, so they may come from different proxies, as in the original. A header without the parameter counts
/// as one with an empty value.
fn forwarded<'a>(question: &'a Question<'_>, name: &str) -> Option<&'a str> {
    let header = question.headers.get(FORWARDED)?.to_str().ok().filter(|header| !header.is_empty())?;
    let mut last_first = header.rsplit(',').flat_map(|element| element.trim().rsplit(';'));
    let value = last_first.find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        Some(value.trim_matches('"')).filter(|value| key == name && !value.is_empty())
    });
    Some(value.unwrap_or_default())
}
