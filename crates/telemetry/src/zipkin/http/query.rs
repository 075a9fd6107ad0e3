//! What is asked of the store: names, traces, dependencies.

use super::call::Call;
use super::{Answered, Api, Problem, json};
use crate::spans::{Query, TraceKey, parse_annotations};
use crate::zipkin::{write_links, write_names, write_spans, write_traces};
use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use wire::Response;

/// Traces of one call by their ids.
const IDS_MAX: usize = 1_000;
/// From so many names on, lists change seldom enough to be kept by who asks.
const FEW_NAMES: usize = 3;

fn names(names: &BTreeSet<String>, is_kept: bool) -> Response {
    let mut text = String::new();
    write_names(&mut text, names.iter().map(String::as_str));
    let mut response = json(text);
    if is_kept {
        let value = HeaderValue::from_static("max-age=300, must-revalidate");
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}

impl Api {
    fn has_many_services(&self) -> bool {
        self.0.services.load(Ordering::Relaxed) > FEW_NAMES
    }
}

pub(super) async fn services(api: Api) -> Answered {
    let found = if api.0.options.search { api.0.store.services().await? } else { BTreeSet::new() };
    api.0.services.store(found.len(), Ordering::Relaxed);
    Ok(names(&found, api.has_many_services()))
}

pub(super) async fn span_names(api: Api, service: String) -> Answered {
    let found = if api.0.options.search { api.0.store.span_names(&service).await? } else { BTreeSet::new() };
    Ok(names(&found, api.has_many_services()))
}

pub(super) async fn remote_services(api: Api, service: String) -> Answered {
    let found =
        if api.0.options.search { api.0.store.remote_services(&service).await? } else { BTreeSet::new() };
    Ok(names(&found, api.has_many_services()))
}

pub(super) fn tag_keys(api: &Api) -> Answered {
    let keys = &api.0.store.settings().autocomplete_keys;
    let found = if api.0.options.search { keys.iter().cloned().collect() } else { BTreeSet::new() };
    Ok(names(&found, true))
}

pub(super) async fn tag_values(api: Api, key: String) -> Answered {
    let found = if api.0.options.search { api.0.store.tag_values(&key).await? } else { BTreeSet::new() };
    Ok(names(&found, found.len() > FEW_NAMES))
}

/// Reads what is looked for.
pub(super) fn query(api: &Api, call: &Call) -> Result<Query, Problem> {
    let text = |name: &str| Ok::<_, Problem>(call.text(name)?.unwrap_or_default());
    let limit = call.number("limit")?.unwrap_or(api.0.options.query_limit as u64);
    let query = Query {
        service: text("serviceName")?,
        remote: text("remoteServiceName")?,
        name: text("spanName")?,
        annotations: parse_annotations(&text("annotationQuery")?),
        duration_us_min: call.number("minDuration")?,
        duration_us_max: call.number("maxDuration")?,
        end_ms: call.number("endTs")?.unwrap_or_else(|| api.now_ms()),
        lookback_ms: call.number("lookback")?.unwrap_or(api.0.options.lookback_ms),
        limit: limit.try_into().unwrap_or(usize::MAX),
    };
    Ok(query.check()?)
}

impl Api {
    fn now_ms(&self) -> u64 {
        self.0.store.clock().unix().micros() / 1_000
    }
}

pub(super) async fn search(api: Api, query: Query) -> Answered {
    let traces = if api.0.options.search { api.0.store.search(query).await? } else { Vec::new() };
    let mut text = String::new();
    write_traces(&mut text, &traces);
    Ok(json(text))
}

pub(super) async fn trace(api: Api, id: String) -> Answered {
    let id = id.trim();
    let traces = api.0.store.traces(vec![TraceKey::parse(id)?]).await?;
    match traces.first() {
        Some(spans) => {
            let mut text = String::new();
            write_spans(&mut text, spans);
            Ok(json(text))
        }
        None => Err(Problem { status: StatusCode::NOT_FOUND, text: format!("{id} not found") }),
    }
}

pub(super) async fn traces(api: Api, ids: String) -> Answered {
    let mut wanted = Vec::new();
    for id in ids.split(',') {
        let key = TraceKey::parse(id.trim())?;
        if wanted.contains(&key) {
            return Err(Problem::invalid(format!("redundant traceId: {id}")));
        }
        if wanted.len() >= IDS_MAX {
            return Err(Problem::invalid(format!("more than {IDS_MAX} traces at once")));
        }
        wanted.push(key);
    }
    if wanted.len() == 1 {
        return Err(Problem::invalid("Use /api/v2/trace/{traceId} endpoint to retrieve a single trace"));
    }
    let mut text = String::new();
    write_traces(&mut text, &api.0.store.traces(wanted).await?);
    Ok(json(text))
}

pub(super) async fn dependencies(api: Api, end_ms: u64, lookback_ms: Option<u64>) -> Answered {
    let lookback_ms = lookback_ms.unwrap_or(api.0.options.lookback_ms);
    for (number, wrong) in [(end_ms, "endTs <= 0"), (lookback_ms, "lookback <= 0")] {
        if number == 0 {
            return Err(Problem::invalid(wrong));
        }
    }
    let mut text = String::new();
    let links = api.0.store.dependencies(end_ms.saturating_sub(lookback_ms), end_ms).await?;
    write_links(&mut text, &links);
    Ok(json(text))
}
