//! `tombolo routes explain`: which route a request takes, who comes next, and what refused it on the others.

use crate::term::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, err, out, paint, table};
use base::{Chance, Clock, Fault, Kind, UnixTime};
use clap::Args;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use proxy::Question;
use proxy::lookup::{Explanation, Matched};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `tombolo routes explain`.
#[derive(Args)]
pub(crate) struct Explain {
    /// The request's method
    method: String,

    /// The request's URL, or its path
    url: String,

    /// Files of eskip; standard input if none is named
    #[arg(long = "routes-file", short = 'f', value_name = "FILE")]
    files: Vec<PathBuf>,

    /// A header of the request, such as `-H 'X-Beta: true'`
    #[arg(long = "header", short = 'H', value_name = "HEADER")]
    headers: Vec<String>,

    /// Who sends the request
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    remote: IpAddr,

    /// The time of the request in seconds since 1970, for predicates of time; now if not given
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,

    /// The number that `Traffic` and its kin draw, at least 0 and below 1; a random one if not given
    #[arg(long, value_name = "NUMBER")]
    random: Option<f64>,

    /// `/a` and `/a/` are one path
    #[arg(long)]
    ignore_trailing_slash: bool,

    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Prints the explanation; fails if no route matches.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let wrong = |why: String| Fault::new(Kind::Invalid, why);
        let method: Method = self.method.to_ascii_uppercase().parse().map_err(|_| {
            wrong(format!("`{}` is no method", self.method))
                .hint("explain METHOD URL, such as `explain GET /cart`")
        })?;
        let uri: Uri = self.url.parse().map_err(|_| {
            wrong(format!("`{}` is no URL", self.url))
                .hint("write a path such as `/cart?x=1`, or a whole URL")
        })?;
        let mut headers = HeaderMap::new();
        if let Some(authority) = uri.authority() {
            headers.insert(HOST, header_value(authority.as_str())?);
        }
        for header in &self.headers {
            let (name, value) = header.split_once(':').ok_or_else(|| {
                wrong(format!("`{header}` is no header")).hint("write it as `-H 'Name: value'`")
            })?;
            let name: HeaderName =
                name.trim().parse().map_err(|_| wrong(format!("`{name}` is no header's name")))?;
            if name == HOST {
                headers.insert(name, header_value(value.trim())?);
            } else {
                headers.append(name, header_value(value.trim())?);
            }
        }
        let (definitions, errors) = super::parse(&super::read_all(&self.files)?);
        let mut told = super::diagnostics(errors);
        let table = super::build(&definitions, &self.files, self.ignore_trailing_slash)?;
        told.extend(super::invalid(&table).cloned());
        if !told.is_empty() {
            crate::term::diagnostics(&told);
            err(format_args!(
                "{}; the other routes are explained",
                crate::term::count(&told).unwrap_or_default()
            ));
            err("");
        }
        let chance = Chance::from_entropy();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let mut question = Question::new(&method, uri.path(), host, &headers, &chance);
        question.query = uri.query();
        question.remote = Some(self.remote);
        question.tls = uri.scheme_str() == Some("https");
        question.now = self.time.map_or_else(|| Clock::system().unix(), |s| UnixTime(Duration::from_secs(s)));
        if let Some(number) = self.random {
            question = question.with_random(number);
        }
        let explanation = table.explain(&question);
        if self.json {
            out(serde_json::to_string_pretty(&explanation).unwrap_or_default());
        } else {
            show(&explanation, &table, &method);
        }
        Ok(if explanation.winner.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn header_value(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::try_from(text).map_err(|_| Fault::new(Kind::Invalid, "a header has forbidden characters"))
}

fn show(explanation: &Explanation, routes: &proxy::Table, method: &Method) {
    match &explanation.winner {
        Some(winner) => {
            out(format_args!("{method} {} takes {}", explanation.path, paint(GREEN.bold(), &winner.id)));
            let text = routes.routes.iter().find(|route| *route.id == *winner.id);
            if let Some(route) = text {
                out(paint(DIM, format_args!("  {}", eskip::Printer::default().expression(&route.source))));
            }
            for (name, value) in &winner.params {
                out(format_args!("  {} = {value}", paint(CYAN, name)));
            }
        }
        None => out(paint(
            YELLOW,
            format_args!("no route for {method} {}, of {} routes", explanation.path, explanation.routes),
        )),
    }
    if !explanation.runners_up.is_empty() {
        out(format_args!("\n{}", paint(BOLD, "would serve if it were not there, in this order")));
        out(indented(&table(&["ROUTE", "WEIGHT", "PATH"], explanation.runners_up.iter().map(row).collect())));
    }
    if !explanation.refused.is_empty() {
        out(format_args!("\n{}", paint(BOLD, "refused by")));
        let rows = explanation.refused.iter().map(|refused| {
            let style = if refused.path_matches { RED } else { DIM };
            vec![refused.id.clone(), refused.weight.to_string(), paint(style, &refused.predicate)]
        });
        out(indented(&table(&["ROUTE", "WEIGHT", "PREDICATE"], rows.collect())));
    }
    if explanation.unlisted > 0 {
        out(paint(DIM, format_args!("  and {} more", explanation.unlisted)));
    }
}

fn row(matched: &Matched) -> Vec<String> {
    let place = matched.place.clone().unwrap_or_else(|| "any (routes without a path come last)".to_owned());
    vec![matched.id.clone(), matched.weight.to_string(), paint(DIM, place)]
}

fn indented(table: &str) -> String {
    table.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
