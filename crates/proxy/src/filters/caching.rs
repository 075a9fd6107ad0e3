//! The filter `cache`: gives what is kept, has one request fetch what many ask for, and keeps what may be kept.
//! Storage is in `cache`, the standard's rules are in `rules::freshness`; this file says which of them a
//! request meets.

use super::{Built, Example, Filter, FilterEnv, FilterSpec, Later, Step, plain};
use crate::answer::{Cause, Reason, answer};
use crate::args::Args;
use crate::cache::{
    Done, Entry, Found, Key, Lead, Part, Recorded, Role, Served, Store, Visit, directives, facts, mark,
    record, varies,
};
use crate::exchange::Exchange;
use base::{Moment, UnixTime};
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
};
use http::{Method, StatusCode};
use rules::freshness::{Directives, Lifetime};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wire::Headers;
use wire::{Body, Response};

pub(super) const FILTERS: &[FilterSpec] = &[FilterSpec {
    name: "cache",
    args: "[ttl, errorTtl, staleWhileRevalidate[, staleIfError[, keyHeaders]]]",
    docs: "Keeps answers in memory that all routes share (64 MiB; `-cache-bytes` sets another number), and gives \
           them again. Without arguments the answers' headers decide, as RFC 9111 has it for shared caches: \
           `Cache-Control`, `Expires`, `Age`, `Vary`, `stale-while-revalidate` and `stale-if-error`, and a guess from \
           `Last-Modified`; what is stale is asked about with its ETag or date. With arguments answers of 200 are \
           fresh for `ttl` and those of 404 and 5xx for `errorTtl`, whatever they say, even `private` and \
           `no-store`; what is stale is given for `staleWhileRevalidate` while a new one is fetched once, and for \
           `staleIfError` while the backend fails. Requests with different values of `keyHeaders` (names with \
           commas between) have answers of their own. Of many requests for what is not kept one goes to the \
           backend, and the others wait for its answer, half a minute at most. Only GET is kept; HEAD is answered \
           from it; a successful request that may change things (POST, PUT, DELETE, PATCH) makes the cache forget \
           the address. `no-store`, `no-cache`, `max-age=0`, `only-if-cached`, `max-stale` and `min-fresh` of \
           requests count. `X-Cache-Status` says HIT, STALE or MISS, `Cache-Status` (RFC 9211) the same in more \
           words. An answer of more than a sixteenth of the memory is not kept. Otherwise than in Skipper, an answer \
           that sets a cookie is never kept, and with arguments a request with `Authorization` passes the cache by \
           unless `keyHeaders` names it: both would hand one user's answer to others. What follows `cache` in the \
           route is done once for each fetch, and a fetch in the background begins there, not at the front door.",
    example: Example {
        filters: r#"cache("5m", "15s", "30s")"#,
        request: "GET /",
        saw: "GET /",
        got: "200\nx-cache-status: MISS\nhello",
    },
    build: cache,
}];

/// Longest wait for another's answer; whoever has waited so long asks for himself.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How often one request waits for others.
const WAITS_MAX: usize = 4;
/// For so long nobody waits for an answer that will not be kept.
const PASS_FOR: Duration = Duration::from_secs(10);
/// For so long a backend that failed is left alone, if there is something to give.
const FAIL_FOR: Duration = Duration::from_secs(5);
/// Bytes of a key at most; longer targets are not kept.
const KEY_BYTES_MAX: usize = 8 << 10;

/// Conditions are judged here: what is fetched is fetched whole.
const CONDITIONS: [HeaderName; 5] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE];

fn cache(args: &mut Args<'_>, env: &FilterEnv) -> Result<Built, String> {
    let store = Store::of(&env.lasting, env.handles.cache_bytes);
    if args.left() == 0 {
        return Ok(plain(Cache(Arc::new(Caching { store, forced: None, keys: Vec::new() }))));
    }
    let ok =
        Lifetime { fresh: args.span("ttl")?, while_revalidated: Duration::ZERO, if_error: Duration::ZERO };
    let error = Lifetime { fresh: args.span("error ttl")?, ..ok };
    let while_revalidated = args.span("stale while revalidate")?;
    let if_error = args.optional(|args| args.span("stale if error"))?.unwrap_or_default();
    let mut keys = Vec::new();
    if let Some(names) = args.optional(|args| args.text("key headers"))? {
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let wrong = |_| args.refuse("key headers", &format!("`{name}` is no header name"));
            keys.push(HeaderName::try_from(name).map_err(wrong)?);
        }
    }
    let forced = Some(Forced { ok: Lifetime { while_revalidated, if_error, ..ok }, error });
    Ok(plain(Cache(Arc::new(Caching { store, forced, keys }))))
}

struct Cache(Arc<Caching>);

struct Caching {
    store: Arc<Store>,
    /// What the route says in the place of the answers.
    forced: Option<Forced>,
    keys: Vec<HeaderName>,
}

struct Forced {
    ok: Lifetime,
    error: Lifetime,
}

impl Filter for Cache {
    fn request(&self, exchange: &mut Exchange) -> Step {
        let Some(key) = self.0.key(exchange) else { return Step::Next };
        match exchange.method {
            Method::GET if exchange.body.is_empty() => self.0.get(exchange, key, 0),
            Method::HEAD => self.0.head(exchange, key),
            Method::POST | Method::PUT | Method::DELETE | Method::PATCH => {
                self.0.visit(exchange, key, Part::Invalidates)
            }
            _ => Step::Next,
        }
    }

    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        let owner = self.0.owner();
        let visits = &mut exchange.notes.cache_visits;
        let Some(at) = visits.iter().rposition(|visit| visit.owner == owner) else { return Step::Next };
        let visit = visits.remove(at);
        let status = response.status();
        match visit.part {
            Part::Fetches(lead) => return self.0.fetched(exchange, response, *lead),
            Part::Invalidates if status.is_success() || status.is_redirection() => {
                self.0.store.forget(&visit.key);
            }
            Part::Invalidates => {}
            Part::Checks => self.0.checked(exchange, response, &visit.key),
            Part::Passes => self.0.missed(response, "fwd=bypass"),
        }
        Step::Next
    }
}

impl Caching {
    /// Tells this filter from others of its kind.
    fn owner(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn visit(&self, exchange: &mut Exchange, key: Key, part: Part) -> Step {
        exchange.notes.cache_visits.push(Visit { owner: self.owner(), key, part });
        Step::Next
    }

    /// The key of a request; `None` if it has nothing to do with the cache.
    fn key(&self, exchange: &Exchange) -> Option<Key> {
        let headers = &exchange.headers;
        let for_all = self.forced.is_some() && !self.keys.contains(&AUTHORIZATION);
        if exchange.notes.switch.is_some() || (for_all && headers.contains_key(AUTHORIZATION)) {
            return None;
        }
        let target = exchange.uri.path_and_query().map_or("/", |target| target.as_str());
        let host = exchange.host().to_ascii_lowercase();
        // Routes for declared calls are in a table of their own, whose ids may be the same.
        let edge = exchange.arrival.edge.as_ref();
        let edge = edge.map_or_else(String::new, |edge| format!("{} to {}", edge.caller, edge.callee));
        let mut key = format!("{}\0{edge}\0{host}\0{target}", exchange.route);
        for name in &self.keys {
            key.push('\0');
            for value in headers.get_all(name) {
                key.push_str(&String::from_utf8_lossy(value.as_bytes()));
                key.push('\u{1}');
            }
        }
        (key.len() <= KEY_BYTES_MAX).then(|| key.into())
    }

    fn get(self: &Arc<Self>, exchange: &mut Exchange, key: Key, waits: usize) -> Step {
        let asked = asked_for(&exchange.headers);
        if asked.no_store {
            return self.visit(exchange, key, Part::Passes);
        }
        let now = exchange.clock.now();
        let found = self.store.look(&key, &exchange.headers, now);
        let reload = asked.no_cache || asked.max_age == Some(Duration::ZERO);
        if !reload && let Some(step) = self.kept(exchange, &key, &found, &asked, now) {
            return step;
        }
        if asked.only_if_cached {
            exchange.notes.reason =
                Some(Reason::of(Cause::FILTER).by("cache").because("the client asks for what is kept only"));
            let mut response = answer(StatusCode::GATEWAY_TIMEOUT);
            self.missed(&mut response, "fwd=request");
            return Step::Reply(response);
        }
        // A part can't be kept, and the whole may be much more than is wanted.
        if found.passes || waits >= WAITS_MAX || exchange.headers.contains_key(RANGE) {
            return self.visit(exchange, key, Part::Passes);
        }
        match self.store.fetch(&key, &exchange.headers, (now, exchange.clock.unix())) {
            Role::Leads(mut lead) => {
                lead.known = found.entry;
                prepare(&mut exchange.headers, &mut lead);
                self.visit(exchange, key, Part::Fetches(lead))
            }
            Role::Follows(_) if reload => self.visit(exchange, key, Part::Passes),
            Role::Follows(mut told) => {
                let caching = self.clone();
                let later: Later = Box::pin(async move {
                    let wait = tokio::time::timeout(WAIT_MAX, told.wait_for(Option::is_some));
                    let done = match wait.await {
                        Ok(Ok(done)) => *done,
                        // Whoever fetched is gone without a word.
                        Ok(Err(_)) => Some(Done::Look),
                        Err(_) => None,
                    };
                    let decide: Box<dyn FnOnce(&mut Exchange) -> Step + Send> =
                        Box::new(move |exchange| match done {
                            Some(Done::Look) => caching.get(exchange, key, waits + 1),
                            Some(Done::NotKept) | None => caching.visit(exchange, key, Part::Passes),
                        });
                    decide
                });
                Step::Wait(later)
            }
        }
    }

    /// What is given of what is kept, if it is good enough.
    fn kept(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        key: &Key,
        found: &Found,
        asked: &Directives,
        now: Moment,
    ) -> Option<Step> {
        let entry = found.entry.as_ref()?;
        if entry.is_fresh(now) {
            // RFC 9111 section 5.2.1.3.
            let enough = asked.min_fresh.is_none_or(|least| entry.fresh_for(now) >= least);
            return enough.then(|| self.give(exchange, entry, Served::Fresh, now));
        }
        let too_stale = asked.max_stale.is_some_and(|most| entry.stale_for(now) > most);
        if too_stale || asked.min_fresh.is_some() {
            return None;
        }
        if found.fails && (entry.is_better_than_an_error(now) || entry.is_good_meanwhile(now)) {
            return Some(self.give(exchange, entry, Served::Stale, now));
        }
        if !entry.is_good_meanwhile(now) {
            return None;
        }
        // Whoever comes first has it fetched; nobody waits for that.
        if let Role::Leads(mut lead) = self.store.fetch(key, &exchange.headers, (now, exchange.clock.unix()))
        {
            lead.known = Some(entry.clone());
            let part = Part::Fetches(lead);
            exchange.notes.refresh = Some(Visit { owner: self.owner(), key: key.clone(), part });
        }
        Some(self.give(exchange, entry, Served::Stale, now))
    }

    fn give(&self, exchange: &mut Exchange, entry: &Entry, served: Served, now: Moment) -> Step {
        let counts = self.store.counts();
        let count = if served == Served::Stale { &counts.stale } else { &counts.hits };
        count.fetch_add(1, Ordering::Relaxed);
        exchange.notes.reason = Some(Reason::of(Cause::FILTER).by("cache"));
        Step::Reply(entry.respond(&exchange.method, &exchange.headers, served, now))
    }

    /// HEAD is answered from what GET has left; it fetches nothing that could be kept.
    fn head(self: &Arc<Self>, exchange: &mut Exchange, key: Key) -> Step {
        let asked = asked_for(&exchange.headers);
        let now = exchange.clock.now();
        let found = self.store.look(&key, &exchange.headers, now);
        let reload = asked.no_store || asked.no_cache || asked.max_age == Some(Duration::ZERO);
        match &found.entry {
            Some(entry) if !reload && entry.is_fresh(now) => self.give(exchange, entry, Served::Fresh, now),
            _ => self.visit(exchange, key, Part::Checks),
        }
    }

    /// Compares what is kept with the answer to HEAD (RFC 9111 section 4.3.5).
    fn checked(&self, exchange: &Exchange, response: &Response, key: &Key) {
        let now = exchange.clock.now();
        let Some(entry) = self.store.look(key, &exchange.headers, now).entry else { return };
        if response.status() != StatusCode::OK || entry.status != StatusCode::OK {
            return;
        }
        let headers = response.headers();
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let same = length.is_none_or(|length: usize| length == entry.body.len())
            && headers.get(http::header::ETAG) == entry.etag()
            && headers.get(http::header::LAST_MODIFIED) == entry.modified();
        let asked = (now, exchange.clock.unix());
        match self.lifetime(StatusCode::OK, headers, &exchange.headers, asked, asked.1) {
            Some((age, lifetime)) if same => {
                let mut renewed = entry.renewed(headers, now);
                (renewed.initial_age, renewed.lifetime) = (age, lifetime);
                self.store.keep(key, Arc::new(renewed));
            }
            _ => self.store.forget(key),
        }
    }

    fn missed(&self, response: &mut Response, why: &str) {
        self.store.counts().misses.fetch_add(1, Ordering::Relaxed);
        mark(response.headers_mut(), "MISS", why);
    }

    /// How old an answer is and how long it stays good; `None` if it is not kept.
    fn lifetime(
        &self,
        status: StatusCode,
        headers: &Headers,
        request: &Headers,
        (_, asked): (Moment, UnixTime),
        answered: UnixTime,
    ) -> Option<(Duration, Lifetime)> {
        let mut facts = facts(status, headers);
        (facts.asked, facts.answered) = (asked.0, answered.0);
        facts.authorized = request.contains_key(AUTHORIZATION);
        let age = facts.initial_age();
        let Some(forced) = &self.forced else { return facts.by_standard().map(|lifetime| (age, lifetime)) };
        let mut lifetime = match status.as_u16() {
            200 => forced.ok,
            404 | 500..600 => forced.error,
            _ => return None,
        };
        if facts.directives.is_strict() {
            (lifetime.while_revalidated, lifetime.if_error) = (Duration::ZERO, Duration::ZERO);
        }
        let kept = !facts.sets_cookie && !lifetime.fresh.is_zero();
        kept.then_some((age, lifetime))
    }

    /// The answer that one request has fetched for all.
    fn fetched(self: &Arc<Self>, exchange: &mut Exchange, response: &mut Response, mut lead: Lead) -> Step {
        restore(&mut exchange.headers, &lead);
        let (now, answered) = (exchange.clock.now(), exchange.clock.unix());
        let status = response.status();
        let lifetime = self.lifetime(status, response.headers(), &lead.request, lead.asked, answered);
        if let Some(entry) = lead.known.take() {
            if status == StatusCode::NOT_MODIFIED {
                return self.confirmed(exchange, response, lead, &entry, now);
            }
            if status.is_server_error() {
                self.store.fail(&lead.key, now + FAIL_FOR);
                if entry.is_better_than_an_error(now) {
                    lead.done(Done::Look);
                    let step = self.give(exchange, &entry, Served::Stale, now);
                    let reason = Reason::of(Cause::FILTER).by("cache").because("the backend failed");
                    exchange.notes.reason = Some(reason);
                    return step;
                }
            }
        }
        let varies = varies(response.headers(), &lead.request);
        let (Some((initial_age, lifetime)), Some(varies)) = (lifetime, varies) else {
            // An error says nothing of what the next answer will be.
            if !status.is_client_error() && !status.is_server_error() {
                self.store.pass(&lead.key, now + PASS_FOR);
            }
            lead.done(Done::NotKept);
            self.missed(response, "fwd=miss");
            return Step::Next;
        };
        let known = response.body().exact_len();
        if known.is_some_and(|length| length > self.store.entry_bytes_max() as u64) {
            self.store.counts().oversized.fetch_add(1, Ordering::Relaxed);
            self.store.pass(&lead.key, now + PASS_FOR);
            lead.done(Done::NotKept);
            self.missed(response, "fwd=miss");
            return Step::Next;
        }
        let headers = response.headers().clone();
        let mut entry =
            Entry { status, headers, body: bytes::Bytes::new(), at: now, initial_age, lifetime, varies };
        let judged = (!lead.conditions.is_empty())
            .then(|| entry.respond(&exchange.method, &exchange.headers, Served::Fresh, now));
        let body = std::mem::take(response.body_mut());
        if body.is_empty() {
            self.store.keep(&lead.key, Arc::new(entry));
            lead.done(Done::Look);
        } else {
            let (given, recording) = record(body, self.store.clone());
            *response.body_mut() = given;
            let (store, clock) = (self.store.clone(), exchange.clock.clone());
            tokio::spawn(async move {
                let key = lead.key.clone();
                let done = match recording.await {
                    Recorded::Whole(bytes) => {
                        entry.body = bytes;
                        if store.keep(&key, Arc::new(entry)) { Done::Look } else { Done::NotKept }
                    }
                    Recorded::TooLarge => {
                        store.counts().oversized.fetch_add(1, Ordering::Relaxed);
                        store.pass(&key, clock.now() + PASS_FOR);
                        Done::NotKept
                    }
                    Recorded::BrokenOff => Done::Look,
                };
                lead.done(done);
            });
        }
        // Only what the headers alone decide: the client may have it already.
        if let Some(judged) = judged
            && matches!(judged.status(), StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED)
        {
            *response.status_mut() = judged.status();
            response.headers_mut().remove(CONTENT_LENGTH);
            *response.body_mut() = Body::empty();
        }
        self.missed(response, "fwd=miss; stored");
        Step::Next
    }

    /// What was kept is still good: the backend has said so.
    fn confirmed(
        &self,
        exchange: &mut Exchange,
        response: &Response,
        lead: Lead,
        entry: &Entry,
        now: Moment,
    ) -> Step {
        let mut renewed = entry.renewed(response.headers(), now);
        let answered = exchange.clock.unix();
        match self.lifetime(entry.status, &renewed.headers, &lead.request, lead.asked, answered) {
            Some((age, lifetime)) => {
                (renewed.initial_age, renewed.lifetime) = (age, lifetime);
                let renewed = Arc::new(renewed);
                self.store.keep(&lead.key, renewed.clone());
                lead.done(Done::Look);
                self.give(exchange, &renewed, Served::Confirmed, now)
            }
            // Good for this once; but it says now that it is not to be kept.
            None => {
                self.store.forget(&lead.key);
                lead.done(Done::NotKept);
                self.give(exchange, &renewed, Served::Confirmed, now)
            }
        }
    }
}

/// What a request says of what is kept; `Pragma` counts where nothing else is said (RFC 9111 section 5.4).
fn asked_for(headers: &Headers) -> Directives {
    let mut asked = directives(headers);
    if !headers.contains_key(http::header::CACHE_CONTROL) {
        let mut pragma = headers.get_all(PRAGMA).filter_map(|value| value.to_str().ok());
        asked.no_cache |= pragma.any(|text| text.trim().eq_ignore_ascii_case("no-cache"));
    }
    asked
}

/// Makes a request fetch the whole answer, or word that what is kept is still good.
fn prepare(headers: &mut Headers, lead: &mut Lead) {
    for name in CONDITIONS {
        for value in headers.get_all(&name) {
            lead.conditions.append(&name, value.clone());
        }
        headers.remove(&name);
    }
    if let Some(entry) = &lead.known {
        if let Some(etag) = entry.etag() {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        if let Some(modified) = entry.modified() {
            headers.insert(IF_MODIFIED_SINCE, modified.clone());
        }
    }
}

/// Gives the request its own conditions back.
fn restore(headers: &mut Headers, lead: &Lead) {
    for name in CONDITIONS {
        headers.remove(&name);
        for value in lead.conditions.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
}

/// Has a request fetch what is kept already, for those who come later.
pub(crate) fn begin_refresh(exchange: &mut Exchange, mut visit: Visit) {
    for name in CONDITIONS.iter().chain([&RANGE]) {
        exchange.headers.remove(name);
    }
    if let Part::Fetches(lead) = &mut visit.part {
        prepare(&mut exchange.headers, lead);
    }
    exchange.notes.cache_visits.push(visit);
}
