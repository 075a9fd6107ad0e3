//! Filters for audits: who sent what, written beside the access log or into it, and what no log may show.

use super::{Example, Filter, FilterEnv, FilterSpec, Step, Wishes, plain};
use crate::account::UNVERIFIED_AUDIT;
use crate::body::{FirstBytes, first_bytes};
use crate::exchange::Exchange;
use crate::question::read_claims;
use http::header::HeaderValue;
use serde::Serialize;
use telemetry::AccessLog;
use wire::Response;

/// What is written of a subject that has characters no log should hold (Skipper's).
const INVALID: HeaderValue = HeaderValue::from_static("<invalid-sub>");

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "auditLog",
        args: "",
        docs: "Writes a JSON line to standard error when the response is there: method, path, status, who called \
               and why not if a filter found that out, and the first bytes of the request's body that have passed \
               by then (1024; `-max-audit-body` sets another number, 0 none). Lines that can't be written in time \
               are dropped and counted like those of the access log.",
        example: Example { filters: "auditLog()", request: "GET /", saw: "GET /", got: "200" },
        build: |_, env| Ok(plain(audit_log(env))),
    },
    FilterSpec {
        name: "unverifiedAuditLog",
        args: "[claim]",
        docs: "Sets the request's header `X-Unverified-Audit`, which the access log shows, to a claim (`sub` by \
               default) of the token in `Authorization: Bearer`. Nobody has checked the token. A value with other \
               characters than letters, digits and `_/:?=&%@.#-` becomes `<invalid-sub>`; without the claim the \
               header stays as it is.",
        example: Example {
            filters: "unverifiedAuditLog()",
            request: "GET /\nauthorization: Bearer e30.eyJzdWIiOiJhbm4ifQ.c2ln",
            saw: "GET /\nx-unverified-audit: ann",
            got: "200",
        },
        build: |args, _| {
            let claim = args.optional(|args| args.text("claim"))?.unwrap_or("sub");
            Ok(plain(UnverifiedAuditLog(claim.to_owned())))
        },
    },
    FilterSpec {
        name: "maskAccessLogQuery",
        args: "key[, ...]",
        docs: "Has the access log show a hash in place of the value of these keys of the query, also of the \
               referer, and also for a client that leaves before it has an answer.",
        example: Example {
            filters: r#"maskAccessLogQuery("token", "email")"#,
            request: "GET /?token=abc",
            saw: "GET /?token=abc",
            got: "200",
        },
        build: |args, _| {
            let mut keys = vec![args.text("key")?.to_owned()];
            keys.extend(args.texts("key")?.into_iter().map(str::to_owned));
            Ok(plain(MaskQuery(keys)))
        },
    },
];

struct MaskQuery(Vec<String>);

impl Filter for MaskQuery {
    fn wish(&self, wishes: &mut Wishes) {
        wishes.masked_keys.extend(self.0.iter().cloned());
    }
}

struct UnverifiedAuditLog(String);

impl Filter for UnverifiedAuditLog {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let claims = read_claims(&exchange.headers);
        if let Some(text) = claims.as_ref().and_then(|claims| claims.get(&self.0)?.as_str()) {
            exchange.headers.insert(UNVERIFIED_AUDIT, shown(text));
        }
        Step::Next
    }
}

/// What a log may show of a claim that nobody has checked.
fn shown(text: &str) -> HeaderValue {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_/:?=&%@.#-".contains(&byte);
    match HeaderValue::from_str(text) {
        Ok(value) if text.bytes().all(plain) => value,
        _ => INVALID,
    }
}

struct AuditLog {
    log: Option<AccessLog>,
    body_bytes: usize,
}

fn audit_log(env: &FilterEnv) -> AuditLog {
    AuditLog { log: env.handles.audit.clone(), body_bytes: env.handles.audit_body_bytes }
}

/// The line, with Skipper's names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    method: &'a str,
    path: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_status: Option<AuthStatus<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_body: &'a str,
}

#[derive(Serialize)]
struct AuthStatus<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    rejected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Filter for AuditLog {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.log.is_some() && self.body_bytes > 0 && !exchange.body.is_empty() {
            let (body, first) = first_bytes(std::mem::take(&mut exchange.body), self.body_bytes);
            exchange.body = body;
            exchange.notes.audited_body = Some(first);
        }
        Step::Next
    }

    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        let Some(log) = &self.log else { return Step::Next };
        let notes = &exchange.notes;
        let first = notes.audited_body.as_ref().map(FirstBytes::so_far);
        let body = first.map(|first| String::from_utf8_lossy(&first).into_owned());
        let known = notes.user.is_some() || notes.reject_reason.is_some();
        let line = Line {
            method: exchange.method.as_str(),
            path: &exchange.path(),
            status: response.status().as_u16(),
            auth_status: known.then_some(AuthStatus {
                user: notes.user.as_deref(),
                rejected: notes.reject_reason.is_some(),
                reason: notes.reject_reason,
            }),
            request_body: body.as_deref().unwrap_or_default(),
        };
        if let Ok(line) = serde_json::to_vec(&line) {
            log.write_line(0, &line);
        }
        Step::Next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_shown_if_no_character_of_it_can_mislead() {
        for (text, expected) in [
            ("ann@shop.example", "ann@shop.example"),
            ("", ""),
            ("ann\n", "<invalid-sub>"),
            ("a b", "<invalid-sub>"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
