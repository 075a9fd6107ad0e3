//! Predicates of the Host header.

use super::{Built, HostNames, Predicate, PredicateEnv, PredicateSpec, Regexp, Unfit, check, some_texts};
use crate::args::Args;
use crate::question::Question;
use std::sync::Arc;

pub(super) static HOST: PredicateSpec = PredicateSpec {
    name: "Host",
    args: "regexp",
    docs: "Matches if the expression matches somewhere in the Host header, port included. May be repeated. \
           Expressions that stand for a list of hosts, such as `^(shop[.]example[.]org(:[0-9]+)?)$`, are \
           found by hash however many routes there are.",
    example: "Host(/^shop[.]example[.]org(:[0-9]+)?$/)",
    matches: &["GET /\nHost: shop.example.org", "GET /\nHost: shop.example.org:8080"],
    refuses: &["GET /\nHost: myshop.example.org", "GET /"],
    weight_extra: 0,
    build: host,
};

pub(super) static HOST_ANY: PredicateSpec = PredicateSpec {
    name: "HostAny",
    args: "host, ...",
    docs: "Matches if the Host header is one of these texts, port included, letter for letter.",
    example: r#"HostAny("shop.example.org", "shop.example.org:443")"#,
    matches: &["GET /\nHost: shop.example.org", "GET /\nHost: shop.example.org:443"],
    refuses: &["GET /\nHost: shop.example.org:80", "GET /\nHost: shop.example.org."],
    weight_extra: 0,
    build: host_any,
};

struct Exact(HostNames);

struct HostRegexp(Arc<Regexp>);

fn host(args: &mut Args<'_>, env: &PredicateEnv) -> Result<Built, Unfit> {
    let text = args.text("regular expression")?;
    args.end()?;
    if let Some(names) = HostNames::of_regexp(text) {
        return Ok(check(Exact(names)));
    }
    Ok(check(HostRegexp(env.regexp(text)?)))
}

fn host_any(args: &mut Args<'_>, _: &PredicateEnv) -> Result<Built, Unfit> {
    Ok(check(Exact(HostNames::exact(some_texts(args, "host")?))))
}

impl Predicate for Exact {
    fn matches(&self, question: &Question<'_>) -> bool {
        self.0.matches(question.host)
    }

    fn hosts(&self) -> Option<&HostNames> {
        Some(&self.0)
    }
}

impl Predicate for HostRegexp {
    fn matches(&self, question: &Question<'_>) -> bool {
        self.0.matches(question.host)
    }
}
