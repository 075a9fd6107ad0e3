//! Routes: the table as it serves, with what each did within the last minute; those that are left out, and why; and a
//! form that asks which route a request would take, as `tombolo routes explain` does.

use crate::access::Viewer;
use crate::asked::{Asked, question};
use crate::map::Flow;
use crate::pages::View;
use crate::problem::Problem;
use crate::{Console, answer, units};
use base::{Chance, Diagnostic, Report};
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Uri};
use maud::{Markup, html};
use proxy::Question;
use proxy::lookup::{Explanation, Matched};
use serde::Serialize;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use wire::Headers;

/// Routes of one page.
const PAGE: usize = 100;
/// Routes left out that are shown.
const INVALID_MAX: usize = 100;
/// Refusals that are shown of an explanation.
const REFUSED_SHOWN: usize = 30;

#[derive(Serialize)]
pub(crate) struct Routes {
    /// What the list is narrowed to.
    filter: String,
    offset: usize,
    /// How many routes there are, and how many fit the filter.
    all: usize,
    fitting: usize,
    /// Seconds of the rates.
    seconds: f64,
    #[serde(rename = "routes")]
    shown: Vec<Route>,
    left_out: Vec<LeftOut>,
    explained: Option<Explained>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Route {
    id: String,
    /// Whether it serves calls between services, made from the manifest.
    is_of_calls: bool,
    predicates: String,
    filters: Vec<String>,
    backend: String,
    flow: Option<Flow>,
}

#[derive(Clone, Debug, Serialize)]
struct LeftOut {
    id: String,
    /// Skipper's reason.
    reason: &'static str,
    report: Report,
    /// The diagnostic with its place in the text, as the command line prints it.
    text: String,
}

/// What was asked of the table, and its answer.
#[derive(Clone, Debug, Default, Serialize)]
struct Explained {
    method: String,
    url: String,
    headers: String,
    remote: String,
    answer: Option<Explanation>,
    #[serde(skip)]
    problem: Option<Problem>,
    /// The route that serves, as it was written.
    source: Option<String>,
}

/// The page.
pub(crate) fn show(console: &Console, asked: &Asked) -> Result<Routes, Problem> {
    let filter = asked.text("filter").to_owned();
    let offset = asked.number::<usize>("offset")?.unwrap_or(0);
    let counted = console.counted();
    let rates = console.history().rates(console.clock.now(), counted);
    let (gateway, calls) = (console.gateway.table(), console.calls.table());
    let every = gateway
        .routes
        .iter()
        .map(|route| (route, false))
        .chain(calls.routes.iter().map(|route| (route, true)));
    let all = gateway.routes.len() + calls.routes.len();
    let wanted = filter.to_lowercase();
    let fits =
        |route: &proxy::Route| wanted.is_empty() || route.source.to_string().to_lowercase().contains(&wanted);
    let (mut fitting, mut shown) = (0, Vec::new());
    for (route, is_of_calls) in every.filter(|(route, _)| fits(route)) {
        if (offset..offset.saturating_add(PAGE)).contains(&fitting) {
            let flow = rates.counted.routes.get(&*route.id).and_then(|of| Flow::of(of, rates.seconds));
            shown.push(one(&route.source, is_of_calls, flow));
        }
        fitting += 1;
    }
    let invalid = gateway.invalid.iter().chain(&calls.invalid).take(INVALID_MAX);
    let left_out = invalid.map(|invalid| left_out(&invalid.route.id, invalid.code, &invalid.diagnostic));
    Ok(Routes {
        offset,
        all,
        fitting,
        seconds: rates.seconds,
        shown,
        left_out: left_out.collect(),
        explained: (!asked.text("url").is_empty()).then(|| explained(console, asked)),
        filter,
    })
}

fn one(source: &eskip::Route, is_of_calls: bool, flow: Option<Flow>) -> Route {
    let predicates: Vec<String> = source.predicates.iter().map(ToString::to_string).collect();
    Route {
        id: source.id.clone(),
        is_of_calls,
        predicates: if predicates.is_empty() { "*".to_owned() } else { predicates.join(" && ") },
        filters: source.filters.iter().map(ToString::to_string).collect(),
        backend: source.backend.to_string(),
        flow,
    }
}

fn left_out(id: &str, reason: &'static str, diagnostic: &Diagnostic) -> LeftOut {
    LeftOut { id: id.to_owned(), reason, report: diagnostic.report(), text: diagnostic.render(false) }
}

fn explained(console: &Console, asked: &Asked) -> Explained {
    let text = |name: &str| asked.text(name).to_owned();
    let mut explained = Explained {
        method: text("method"),
        url: text("url"),
        headers: text("headers"),
        remote: text("remote"),
        ..Explained::default()
    };
    match explain(console, &explained) {
        Ok(answer) => {
            let table = console.gateway.table();
            let winner = answer.winner.as_ref();
            let route = winner.and_then(|won| table.routes.iter().find(|route| *route.id == *won.id));
            explained.source = route.map(|route| route.source.to_string());
            explained.answer = Some(answer);
        }
        Err(problem) => explained.problem = Some(problem),
    }
    explained
}

fn explain(console: &Console, asked: &Explained) -> Result<Explanation, Problem> {
    let method = if asked.method.is_empty() { "GET" } else { &asked.method };
    let method: Method =
        method.to_uppercase().parse().map_err(|_| Problem::invalid(format!("`{method}` is no method")))?;
    let url = uri(&asked.url)?;
    let mut headers = Headers::new();
    let authority = url.authority().map_or("", |authority| authority.as_str());
    if let Ok(host) = HeaderValue::from_str(authority)
        && !authority.is_empty()
    {
        headers.insert(HOST, host);
    }
    for line in asked.headers.lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) = header(line)?;
        if name == HOST {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    let remote: IpAddr = match asked.remote.as_str() {
        "" => Ipv4Addr::LOCALHOST.into(),
        text => text.parse().map_err(|_| {
            Problem::invalid(format!("`{text}` is no address"))
                .hint("write it like 192.0.2.7, without a port")
        })?,
    };
    let chance = Chance::from_entropy();
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut question = Question::new(&method, url.path(), host, &headers, &chance);
    question.query = url.query();
    question.remote = Some(remote);
    question.tls = url.scheme_str() == Some("https");
    question.now = console.clock.unix();
    Ok(console.gateway.table().explain(&question))
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), Problem> {
    let wrong =
        || Problem::invalid(format!("`{line}` is no header")).hint("write each as `Name: value` on a line");
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    Ok((name.trim().parse().map_err(|_| wrong())?, HeaderValue::from_str(value.trim()).map_err(|_| wrong())?))
}

/// A path or a URL; what browsers would encode is encoded.
fn uri(text: &str) -> Result<Uri, Problem> {
    if !text.starts_with('/') && !text.contains("://") {
        return Err(Problem::invalid(format!("`{text}` is neither a path nor a URL"))
            .hint(format!("write a path such as `/{text}`, or a URL such as `http://{text}`")));
    }
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() && !matches!(character, ' ' | '"' | '<' | '>' | '`') {
            encoded.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded.parse().map_err(|error| Problem::invalid(format!("`{text}`: {error}")))
}

impl View for Routes {
    fn title(&self) -> String {
        "Routes".to_owned()
    }

    fn body(&self, _viewer: &Viewer) -> Markup {
        html! {
            h1 { "Routes" }
            @if !self.left_out.is_empty() { (self.invalid()) }
            section aria-labelledby="explain-title" {
                h2 #explain-title { "Which route does a request take?" }
                (self.explanation())
            }
            section aria-labelledby="table-title" {
                h2 #table-title { "The table" }
                form.ask action="/routes" method="get" {
                    label.wide { "Only routes whose text has"
                        input name="filter" value=(self.filter) placeholder="cart";
                    }
                    button type="submit" { "Show" }
                }
                @if self.all == 0 {
                    p.empty {
                        "There are no routes. " code { "routes:" } " in the manifest names files of them, or has them \
                         as text: " code { "all: * -> \"service://web\";" }
                    }
                } @else if self.fitting == 0 {
                    p.empty { "None of " (units::count(self.all as u64, "route")) " has `" (self.filter) "`." }
                } @else {
                    (self.table())
                    (self.others())
                }
            }
        }
    }

    fn live(&self, _viewer: &Viewer) -> Vec<(&'static str, Markup)> {
        vec![("routes", self.table())]
    }

    fn json(&self) -> String {
        answer::json_of(self)
    }
}

impl Routes {
    fn table(&self) -> Markup {
        html! {
            div #routes {
                p.note {
                    (units::count(self.fitting as u64, "route")) ", rates of the last "
                    (units::duration(self.seconds * 1e6)) "; durations lie between the bounds of their buckets"
                }
                div.scroll tabindex="0" role="region" aria-label="Routes, as a table" {
                    table {
                        thead { tr {
                            th scope="col" { "Route" } th.number scope="col" { "Rate" } th.number scope="col" { "Errors" }
                            th.number scope="col" { "p50" } th.number scope="col" { "p99" }
                            th scope="col" { "Requests" } th scope="col" { "Filters" } th scope="col" { "Backend" }
                        } }
                        tbody { @for route in &self.shown { (row(route)) } }
                    }
                }
            }
        }
    }

    /// Links to the pages before and behind.
    fn others(&self) -> Markup {
        let link =
            |offset: usize| question("/routes", &[("filter", &self.filter), ("offset", &offset.to_string())]);
        html! {
            p {
                @if self.offset > 0 { a href=(link(self.offset.saturating_sub(PAGE))) { "Before" } " " }
                @if self.offset + self.shown.len() < self.fitting { a href=(link(self.offset + PAGE)) { "More" } }
            }
        }
    }

    fn invalid(&self) -> Markup {
        html! {
            section aria-labelledby="invalid-title" {
                h2 #invalid-title.bad { (units::count(self.left_out.len() as u64, "route")) " left out of the table" }
                @for invalid in &self.left_out {
                    div.problem {
                        p { strong { (invalid.id) } " " code { (invalid.reason) } }
                        pre { (invalid.text) }
                    }
                }
            }
        }
    }

    fn explanation(&self) -> Markup {
        let empty = Explained::default();
        let asked = self.explained.as_ref().unwrap_or(&empty);
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        html! {
            form.ask action="/routes" method="get" {
                label { "Method"
                    select name="method" {
                        @for method in methods { option selected[asked.method == method] { (method) } }
                    }
                }
                label.wide { "Path or URL" input name="url" value=(asked.url) placeholder="/api/cart" required; }
                label.wide { "Headers, one a line"
                    textarea name="headers" rows="1" placeholder="X-Beta: true" { (asked.headers) }
                }
                label { "From the address" input name="remote" value=(asked.remote) placeholder="127.0.0.1" size="14"; }
                button type="submit" { "Explain" }
            }
            @if let Some(problem) = &asked.problem { (problem.render()) }
            @if let Some(answer) = &asked.answer { (explanation(asked, answer)) }
        }
    }
}

fn row(route: &Route) -> Markup {
    html! {
        tr {
            th scope="row" { (named(&route.id)) @if route.is_of_calls { " " span.tag { "calls" } } }
            @match route.flow {
                Some(flow) => {
                    td.number { (units::rate(flow.rate_per_s)) }
                    td.number .bad[flow.error_share > 0.0] { (units::share(flow.error_share)) }
                    td.number { (units::bucketed(flow.p50_ms)) }
                    td.number { (units::bucketed(flow.p99_ms)) }
                }
                None => { td.number { "–" } td.number { "–" } td.number { "–" } td.number { "–" } }
            }
            td.mono { (route.predicates) }
            td.mono { @for filter in &route.filters { div { (filter) } } }
            td.mono { (route.backend) }
        }
    }
}

fn named(id: &str) -> &str {
    if id.is_empty() { "(the lone route)" } else { id }
}

fn explanation(asked: &Explained, answer: &Explanation) -> Markup {
    let (here, elsewhere): (Vec<_>, Vec<_>) = answer.refused.iter().partition(|refused| refused.path_matches);
    let shown: Vec<_> = here.into_iter().chain(elsewhere).take(REFUSED_SHOWN).collect();
    let hidden = answer.refused.len() - shown.len() + answer.unlisted;
    html! {
        div.explained {
            @match &answer.winner {
                Some(winner) => {
                    p { (asked.method) " " code { (answer.path) } " takes " strong.good { (named(&winner.id)) } }
                    @if let Some(source) = &asked.source { pre { (source) } }
                    @for (name, value) in &winner.params { p { code { (name) } " = " code { (value) } } }
                }
                None => p { strong.bad { "No route" } " takes " (asked.method) " " code { (answer.path) } "." },
            }
            @if !answer.runners_up.is_empty() {
                h3 { "Would serve if it were not there, in this order" }
                ol { @for next in &answer.runners_up { li { (matched(next)) } } }
            }
            @if !shown.is_empty() {
                h3 { "Refused by" }
                table {
                    thead { tr { th scope="col" { "Route" } th scope="col" { "Predicate" } } }
                    tbody {
                        @for refused in &shown {
                            tr {
                                td { (named(&refused.id)) }
                                td.mono .bad[refused.path_matches] { (refused.predicate) }
                            }
                        }
                    }
                }
                @if hidden > 0 { p.note { "and " (hidden) " more" } }
            }
        }
    }
}

fn matched(matched: &Matched) -> Markup {
    html! { (named(&matched.id)) @if let Some(place) = &matched.place { " " code { (place) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_path_is_told_how_to_be_one() {
        assert_eq!(uri("/a b?x=é").unwrap().to_string(), "/a%20b?x=%C3%A9");
        assert!(uri("cart").is_err() && uri("http://").is_err());
        assert!(header("X-A: b").is_ok() && header("nonsense").is_err() && header("a b: c").is_err());
    }
}
