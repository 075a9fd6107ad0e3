//! The filter that counts requests that were answered without the token they should have brought. It checks nothing;
//! that is done by those of [`super::jwt`].

use super::strangers::{KEY_BYTES_MAX, Strangers};
use super::{Built, Example, Filter, FilterEnv, FilterSpec, Step, plain};
use crate::args::Args;
use crate::exchange::{Claims, Exchange};
use crate::lasting::IDLE;
use crate::predicates::Regexp;
use crate::question::read_claims;
use http::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use telemetry::Metrics;
use telemetry::metrics::{CUSTOM_TOTAL, Counter};
use wire::Response;

pub(super) const FILTERS: &[FilterSpec] = &[FilterSpec {
    name: "jwtMetrics",
    args: "[config]",
    docs: "Counts answers, but for those with 4xx, to requests whose `Authorization` is not what the route expects: \
           `missing-token`, `invalid-token-type` (no `Bearer`) and, where issuers or claims are named, `invalid-token` \
           (no JWT), `missing-issuer`, `invalid-issuer` and `invalid-claims`. The token is read and not checked. The \
           counts are `jwtMetrics.custom.METHOD.HOST.STATUS.WHAT` in `skipper_custom_total`, in the host all but \
           letters, digits and `_` being `_`; the span's tag `jwt` says it too. The argument is YAML: a map that may \
           have `issuers`, a list; `claims`, a list of maps of which one must be within the token's claims; and, for \
           requests that are not counted, `optOutAnnotations`, keys of `annotate`; `optOutStateBag`, names of what \
           filters have left (`auth-user`); and `optOutHosts`, expressions. Skipper takes any number of hosts; here \
           what comes beyond 1000 keys has `{other}` for method and host.",
    example: Example {
        filters: r#"jwtMetrics("{issuers: ['https://login.example'], optOutAnnotations: [public]}")"#,
        request: "GET /",
        saw: "GET /",
        got: "200",
    },
    build: jwt_metrics,
}];

/// The argument as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase", expecting = "a map")]
struct Config {
    issuers: Vec<String>,
    claims: Vec<Claims>,
    opt_out_annotations: Vec<String>,
    opt_out_state_bag: Vec<String>,
    opt_out_hosts: Vec<String>,
}

/// What filters with the same argument share.
struct Expected {
    config: Config,
    free_hosts: Vec<Regexp>,
}

struct JwtMetrics {
    expected: Arc<Expected>,
    /// By method, host, status and what is wrong: the first two are what clients say.
    counts: Arc<Strangers<Counter>>,
    metrics: Arc<Metrics>,
}

fn jwt_metrics(args: &mut Args<'_>, env: &FilterEnv) -> Result<Built, String> {
    let text = args.optional(|args| args.text("config"))?.unwrap_or_default();
    let expected = env.lasting.try_get(&format!("jwtMetrics {text}"), IDLE, || Expected::read(text));
    let expected = expected.map_err(|why| args.refuse("config", &why))?;
    let counts = env.lasting.get("jwtMetrics", Strangers::default);
    Ok(plain(JwtMetrics { expected, counts, metrics: env.metrics.clone() }))
}

impl Expected {
    fn read(text: &str) -> Result<Self, String> {
        let config = match manifest::yaml_value(text)? {
            None => Config::default(),
            Some(value) => serde_json::from_value(value).map_err(|error| error.to_string())?,
        };
        let free_hosts =
            config.opt_out_hosts.iter().map(|text| Regexp::new(text)).collect::<Result<_, _>>()?;
        Ok(Self { config, free_hosts })
    }

    fn is_free(&self, exchange: &Exchange) -> bool {
        let notes = &exchange.notes;
        self.config
            .opt_out_annotations
            .iter()
            .any(|key| notes.annotations.iter().any(|known| **known == **key))
            || self.config.opt_out_state_bag.iter().any(|name| notes.fact(name).is_some())
            || self.free_hosts.iter().any(|host| host.matches(exchange.host()))
    }

    /// What is wrong with the request's token. Issuer and claims may both be.
    fn faults(&self, exchange: &Exchange) -> [Option<&'static str>; 2] {
        let Config { issuers, claims, .. } = &self.config;
        let header = exchange.headers.get(AUTHORIZATION).filter(|value| !value.is_empty());
        let Some(header) = header else { return [Some("missing-token"), None] };
        if !header.as_bytes().starts_with(b"Bearer ") {
            return [Some("invalid-token-type"), None];
        }
        if issuers.is_empty() && claims.is_empty() {
            return [None, None];
        }
        let Some(token) = read_claims(&exchange.headers) else { return [Some("invalid-token"), None] };
        let issuer = match token.get("iss").and_then(Value::as_str) {
            _ if issuers.is_empty() => None,
            None => Some("missing-issuer"),
            Some(issuer) => (!issuers.iter().any(|known| known == issuer)).then_some("invalid-issuer"),
        };
        let has = |wanted: &Claims| {
            wanted.iter().all(|(key, value)| token.get(key).is_some_and(|has| same(has, value)))
        };
        let claims = (!claims.is_empty() && !claims.iter().any(has)).then_some("invalid-claims");
        [issuer, claims]
    }
}

/// Whether two values are the same; numbers may be written differently.
fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other).is_eq(),
        _ => one == other,
    }
}

impl JwtMetrics {
    fn count(&self, method: &str, host: &str, status: u16, what: &str) {
        let key = |method: &str, host: &str| format!("jwtMetrics.custom.{method}.{host}.{status}.{what}");
        let plain = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
        // With what stands around it, it is then too long.
        let host: String = host.chars().take(KEY_BYTES_MAX).map(plain).collect();
        let make = |key: &str| self.metrics.counter(CUSTOM_TOTAL, &[key]);
        self.counts.count(&key(method, &host), || key("{other}", "{other}"), make, Counter::increment);
    }
}

impl Filter for JwtMetrics {
    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        if response.status().is_client_error() || self.expected.is_free(exchange) {
            return Step::Next;
        }
        let status = response.status().as_u16();
        for fault in self.expected.faults(exchange).into_iter().flatten() {
            self.count(exchange.method.as_str(), exchange.host(), status, fault);
            exchange.notes.tags.set("jwt", fault);
        }
        Step::Next
    }
}
