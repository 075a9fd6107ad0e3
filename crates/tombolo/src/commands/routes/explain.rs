//! `tombolo routes explain`: which route a request takes, who comes next, and what refused it on the others.

use super::told::Told;
use super::{Build, input, nearest};
use crate::term::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, err, out, paint, table};
use base::{Chance, Clock, Fault, UnixTime};
use clap::Args;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderName, HeaderValue, Method, Uri};
use proxy::lookup::{Explanation, Matched, Refused};
use proxy::{Question, Table};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use wire::Headers;

/// So many routes of other paths are shown; they tell little.
const ELSEWHERE_MAX: usize = 10;

/// Arguments of `tombolo routes explain`.
#[derive(Args)]
pub(crate) struct Explain {
    /// The request's method
    #[arg(value_parser = method)]
    method: Method,

    /// The request's path, or its whole URL
    #[arg(value_parser = uri)]
    url: Uri,

    /// Files of eskip; standard input if none is named
    #[arg(value_name = "FILES")]
    more_files: Vec<PathBuf>,

    /// The same as FILES
    #[arg(long = "routes-file", short = 'f', value_name = "FILE")]
    files: Vec<PathBuf>,

    /// A header of the request, such as `-H 'X-Beta: true'`
    #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// Who sends the request
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = remote)]
    remote: IpAddr,

    /// When, such as 2026-12-24T18:00:00+01:00, or in seconds since 1970; now if not given
    #[arg(long, value_name = "TIME", value_parser = time)]
    time: Option<UnixTime>,

    /// The number that `Traffic` and its kin draw, at least 0 and below 1; one by chance if not given
    #[arg(long, value_name = "NUMBER", value_parser = random)]
    random: Option<f64>,

    /// `/a` and `/a/` are one path
    #[arg(long)]
    ignore_trailing_slash: bool,

    /// Show up to 100 routes of other paths, not 10
    #[arg(long)]
    all: bool,

    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A request to explain, as the table is asked about it.
struct Request<'a> {
    command: &'a Explain,
    headers: Headers,
    now: UnixTime,
    chance: Chance,
}

impl Explain {
    /// Prints the explanation; fails if no route matches.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let files: Vec<PathBuf> = self.files.iter().chain(&self.more_files).cloned().collect();
        let mut told = Told::default();
        let sources = input::read_all(&files, &mut told);
        if told.is_unreadable() {
            told.show("");
            return Ok(told.exit());
        }
        let (definitions, failed) = super::parse(&sources);
        for (_, errors) in failed {
            told.extend(errors.diagnostics());
        }
        let build = Build { files: &files, services: &[], ignore_trailing_slash: self.ignore_trailing_slash };
        let table = build.table(definitions, &mut told)?;
        if !told.is_empty() {
            told.show("; the other routes are explained");
            err("");
        }
        let request = Request {
            command: self,
            headers: self.headers(),
            now: self.time.unwrap_or_else(|| Clock::system().unix()),
            chance: Chance::from_entropy(),
        };
        let explanation = request.ask(&table, self.url.path());
        if self.json {
            super::put_json(&explanation)?;
        } else {
            self.show(&explanation, &table);
            if explanation.winner.is_none() {
                self.show_remedies(&explanation, &table, &request);
            }
        }
        Ok(if explanation.winner.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The headers as they would arrive: one Host, the URL's unless `-H` gives another.
    fn headers(&self) -> Headers {
        let mut headers = Headers::new();
        let authority = self.url.authority().map_or("", http::uri::Authority::as_str);
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if let Ok(host) = HeaderValue::from_str(host)
            && !host.is_empty()
        {
            headers.insert(HOST, host);
        }
        for (name, value) in &self.headers {
            if name == HOST {
                headers.insert(name, value.clone());
            } else {
                headers.append(name, value.clone());
            }
        }
        headers
    }

    fn show(&self, explanation: &Explanation, routes: &Table) {
        let method = &self.method;
        match &explanation.winner {
            Some(winner) => {
                let id = paint(GREEN.bold(), name(&winner.id));
                out(format_args!("{method} {} takes {id}", explanation.path));
                let route = routes.routes.iter().find(|route| *route.id == *winner.id);
                if let Some(route) = route {
                    out(paint(DIM, format_args!("  {}", route.source)));
                }
                for (name, value) in &winner.params {
                    out(format_args!("  {} = {value}", paint(CYAN, name)));
                }
            }
            None => {
                let of = match explanation.routes {
                    0 => "there are none".to_owned(),
                    1 => "the one there is refuses".to_owned(),
                    number => format!("all {number} refuse"),
                };
                out(paint(YELLOW, format_args!("no route for {method} {}: {of}", explanation.path)));
            }
        }
        if !explanation.runners_up.is_empty() {
            out(format_args!("\n{}", paint(BOLD, "would serve if it were not there, in this order")));
            let rows = explanation.runners_up.iter().map(runner_up);
            out(indented(&table(&["ROUTE", "WEIGHT", "PATH"], rows.collect())));
        }
        let elsewhere = if self.all { usize::MAX } else { ELSEWHERE_MAX };
        let (here, others): (Vec<&Refused>, Vec<&Refused>) =
            explanation.refused.iter().partition(|refused| refused.path_matches);
        let shown = here.iter().chain(others.iter().take(elsewhere));
        if !explanation.refused.is_empty() {
            out(format_args!("\n{}", paint(BOLD, "refused by")));
            let rows = shown.map(|refused| {
                let style = if refused.path_matches { RED } else { DIM };
                vec![name(&refused.id), refused.weight.to_string(), paint(style, &refused.predicate)]
            });
            out(indented(&table(&["ROUTE", "WEIGHT", "PREDICATE"], rows.collect())));
        }
        let hidden = others.len().saturating_sub(elsewhere);
        if hidden + explanation.unlisted > 0 {
            let all = if hidden > 0 { " (--all)" } else { "" };
            out(paint(DIM, format_args!("  and {} more{all}", hidden + explanation.unlisted)));
        }
    }

    /// What might have been meant by a request that no route takes.
    fn show_remedies(&self, explanation: &Explanation, routes: &Table, request: &Request<'_>) {
        let path = self.url.path();
        let turned = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
        let hint = if let Some(other) = request.ask(routes, &turned).winner.filter(|_| !turned.is_empty()) {
            let id = name(&other.id);
            format!("`{turned}` takes `{id}`; with --ignore-trailing-slash both paths are one")
        } else if knows_path(explanation, routes) {
            // The path is right, and what refused it is told.
            return;
        } else if let Some((near, id)) = nearest::path(routes, &explanation.path) {
            format!("did you mean `{near}`? It is a path of `{}`", name(&id))
        } else {
            return;
        };
        out(format_args!("\n{}: {hint}", paint(CYAN.bold(), "hint")));
    }
}

/// Whether a route that names its path has the request's.
fn knows_path(explanation: &Explanation, routes: &Table) -> bool {
    let here = explanation.refused.iter().filter(|refused| refused.path_matches);
    let here: HashSet<&str> = here.map(|refused| refused.id.as_str()).collect();
    routes.routes.iter().any(|route| here.contains(&*route.id) && nearest::place(&route.source).is_some())
}

impl Request<'_> {
    /// Asks about the request with this path.
    fn ask(&self, table: &Table, path: &str) -> Explanation {
        let text = |name: HeaderName| self.headers.get(name).and_then(|value| value.to_str().ok());
        let Explain { method, url, remote, random, .. } = self.command;
        let host = text(HOST).unwrap_or_default();
        let mut question = Question::new(method, path, host, &self.headers, &self.chance);
        question.query = url.query();
        question.remote = Some(*remote);
        question.content_length = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
        question.tls = url.scheme_str() == Some("https");
        question.now = self.now;
        if let Some(number) = random {
            question = question.with_random(*number);
        }
        table.explain(&question)
    }
}

fn method(text: &str) -> Result<Method, String> {
    match text.to_ascii_uppercase().parse() {
        Ok(method) if !text.contains('/') => Ok(method),
        _ => Err("the method comes first: `explain GET /cart`".to_owned()),
    }
}

/// A path or a URL; what browsers and curl would encode is encoded.
fn uri(text: &str) -> Result<Uri, String> {
    if !text.starts_with('/') && !text.contains("://") {
        return Err(format!("it is neither a path such as `/{text}` nor a URL such as `http://{text}`"));
    }
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() && !matches!(character, ' ' | '"' | '<' | '>' | '`') {
            encoded.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded.parse().map_err(|error: http::uri::InvalidUri| error.to_string())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    let name = name.trim();
    let read = name.parse().map_err(|_| format!("`{name}` is no name of a header"))?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| "its value has forbidden characters")?;
    Ok((read, value))
}

fn remote(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "write an IP address, such as 192.0.2.7, without a port".to_owned())
}

fn time(text: &str) -> Result<UnixTime, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(UnixTime(Duration::from_secs(seconds)));
    }
    let wrong = "write it like 2026-12-24T18:00:00Z, with the zone, or in seconds since 1970";
    let time: jiff::Timestamp = text.parse().map_err(|_| wrong)?;
    Ok(UnixTime(time.as_duration().try_into().map_err(|_| "there was no HTTP before 1970")?))
}

fn random(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..1.0).contains(number));
    number.ok_or_else(|| "write a number of at least 0 and below 1, such as 0.25".to_owned())
}

fn name(id: &str) -> String {
    if id.is_empty() { "the lone route".to_owned() } else { id.to_owned() }
}

fn runner_up(matched: &Matched) -> Vec<String> {
    let place = matched.place.clone().unwrap_or_else(|| "any (routes without a path come last)".to_owned());
    vec![name(&matched.id), matched.weight.to_string(), paint(DIM, place)]
}

fn indented(table: &str) -> String {
    table.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_browsers_write_it() {
        for (text, expected) in [
            ("/cart?x=1", Ok("/cart?x=1")),
            ("/caf\u{e9} bar", Ok("/caf%C3%A9%20bar")),
            ("http://shop.example/a%20b", Ok("http://shop.example/a%20b")),
            ("https://shop.example", Ok("https://shop.example/")),
        ] {
            assert_eq!(uri(text).map(|uri| uri.to_string()), expected.map(str::to_owned), "{text}");
        }
        for wrong in ["", "cart", "localhost:8080/cart", "http://", "http://a b/"] {
            assert!(uri(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_has_a_zone_or_is_a_number() {
        assert_eq!(time("1970-01-01T01:00:05+01:00"), Ok(UnixTime(Duration::from_secs(5))));
        assert_eq!(time("5"), Ok(UnixTime(Duration::from_secs(5))));
        assert!(time("2026-12-24").is_err() && time("1969-12-24T00:00:00Z").is_err() && time("-5").is_err());
    }
}
