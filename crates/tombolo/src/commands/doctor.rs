//! `tombolo doctor`: what the traffic says about the architecture; of a running `tombolo up`, or of traces in a file.

use super::asking::{Ask, Client, block_on};
use super::messages::target;
use crate::term::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, harmless, out, paint, plural};
use crate::up::{Plan, doctor, read_manifest};
use base::{Fault, Kind, Source, format_duration, parse_duration};
use clap::{Args, ValueEnum};
use proxy::RouteSource;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use telemetry::doctor::{Facts, Observed, examine};
use telemetry::spans::{Span, TraceKey};

/// Most bytes of a file of traces.
const FILE_BYTES_MAX: usize = 256 << 20;

/// Arguments of `tombolo doctor`.
#[derive(Args)]
pub(crate) struct Doctor {
    /// The manifest that `tombolo up` runs, or its folder
    #[arg(long, short = 'C', default_value = ".", value_name = "DIR")]
    dir: PathBuf,

    /// Only traces that began so long ago at most
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    lookback: Duration,

    /// Look at traces of a file, as `tombolo traces list --json` prints them, in place of those of a `tombolo up`
    #[arg(long, value_name = "FILE", conflicts_with = "lookback")]
    file: Option<PathBuf>,

    /// How bad a finding must be to make this command fail
    #[arg(long, value_name = "SEVERITY", default_value = "warning")]
    fail_on: FailOn,

    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What makes the command fail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum FailOn {
    /// Any finding
    Note,
    /// A warning or an error
    Warning,
    /// An error
    Error,
    /// Nothing
    Never,
}

impl Doctor {
    /// Prints what was found; fails if it is bad enough.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let report = match &self.file {
            Some(file) => self.look_at(file)?,
            None => {
                let lookback = Some(format_duration(self.lookback));
                let target = target("/api/v1/doctor", &[("lookback", lookback)]);
                block_on(async { Client::find(&self.dir)?.json(Ask::get(&target)).await })?
            }
        };
        if self.json {
            out(serde_json::to_string_pretty(&report).unwrap_or_default());
        } else {
            self.print(&report);
        }
        let names = [(FailOn::Note, "note"), (FailOn::Warning, "warning"), (FailOn::Error, "error")];
        let counts = names.iter().filter(|(severity, _)| *severity >= self.fail_on);
        let is_bad = counts.filter_map(|(_, name)| report["counts"][name].as_u64()).sum::<u64>() > 0;
        Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Looks at a file, with what the manifest declares if there is one.
    fn look_at(&self, file: &Path) -> Result<Value, Fault> {
        let text = base::read_text(&format!("`{}`", file.display()), file, FILE_BYTES_MAX)?;
        let mut observed = Observed::new(declared(&self.dir)?);
        for spans in traces(&text)? {
            observed.put_trace(spans);
        }
        Ok(doctor::report(&examine(&observed)))
    }

    fn print(&self, report: &Value) {
        let empty = Vec::new();
        for finding in report["findings"].as_array().unwrap_or(&empty) {
            let text = |key: &str| harmless(finding[key].as_str().unwrap_or_default());
            let style = match finding["severity"].as_str() {
                Some("error") => RED,
                Some("warning") => YELLOW,
                _ => CYAN,
            };
            let severity = format!("{}[{}]", text("severity"), text("code"));
            out(format_args!("{}: {}", paint(style.bold(), severity), paint(BOLD, text("title"))));
            out(format_args!("  {}", text("what")));
            let evidence = finding["evidence"].as_array().unwrap_or(&empty).iter().filter_map(Value::as_str);
            let evidence: Vec<String> = evidence.map(harmless).collect();
            if !evidence.is_empty() {
                out(format_args!("  {} {}", paint(DIM, "traces:"), evidence.join(" ")));
            }
            out(format_args!("  {} {}\n", paint(CYAN, "remedy:"), text("remedy")));
        }
        out(self.summary(report));
    }

    /// How much was found in how much.
    fn summary(&self, report: &Value) -> String {
        let number = |value: &Value| value.as_u64().map_or(0, |number| number as usize);
        let looked = |key: &str| number(&report["looked_at"][key]);
        let counts = ["error", "warning", "note"].map(|name| (number(&report["counts"][name]), name));
        let counts: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| plural(*count, name)).collect();
        let counts = if counts.is_empty() { paint(GREEN, "nothing found") } else { counts.join(", ") };
        let more = report["more_findings"].as_u64().filter(|more| *more > 0);
        let more = more.map_or_else(String::new, |more| format!(" ({more} more of these kinds)"));
        let which = match &self.file {
            Some(file) => format!("of `{}`", file.display()),
            None => format!(
                "of the last {}: the latest, {} at most, and up to {} more of each service",
                format_duration(self.lookback),
                looked("latest"),
                looked("of_each_service")
            ),
        };
        let left_out = match looked("left_out") {
            0 => String::new(),
            count => format!("; {count} things found no room"),
        };
        if looked("traces") == 0 {
            let which = which.split(':').next().unwrap_or_default();
            return paint(YELLOW, format_args!("no traces {which}: nothing can be said yet"));
        }
        let traces = plural(looked("traces"), "trace");
        format!("{counts}{more} in {traces} with {} {which}{left_out}", plural(looked("spans"), "span"))
    }
}

/// What the manifest of a folder declares; nothing if there is none.
fn declared(dir: &Path) -> Result<Facts, Fault> {
    let (plan, diagnostics) = match read_manifest(dir) {
        Ok(read) => read,
        Err(fault) if fault.kind == Kind::NotFound => return Ok(Facts::default()),
        Err(fault) => return Err(fault),
    };
    let Some(plan) = plan else {
        crate::term::diagnostics(&diagnostics);
        return Err(Fault::new(Kind::Invalid, "the manifest has errors").hint("they are named above"));
    };
    Ok(doctor::facts(&plan, &routes(&plan)))
}

/// The routes of a manifest, as far as they can be read: what is wrong with them is told by `tombolo check`.
fn routes(plan: &Plan) -> Vec<eskip::Route> {
    let source = |source: RouteSource| match source {
        RouteSource::Text(source) => Some(source),
        RouteSource::File(path) => {
            let name = path.display().to_string();
            let text = base::read_text(&name, &path, eskip::TEXT_BYTES_MAX).ok()?;
            Some(Source::new(name, text))
        }
        RouteSource::Url(_) => None,
    };
    plan.sources().into_iter().filter_map(source).flat_map(|source| eskip::parse(&source).routes).collect()
}

fn wrong(why: &dyn std::fmt::Display) -> Fault {
    Fault::new(Kind::Invalid, format!("the file holds no traces: {why}"))
        .hint("`tombolo traces list --json` prints some")
}

/// The traces of a text in Zipkin's JSON: lists of spans, lists of such lists, or several of either.
fn traces(text: &str) -> Result<Vec<Vec<Span>>, Fault> {
    let mut by_trace: BTreeMap<TraceKey, Vec<Span>> = BTreeMap::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>() {
        let value = value.map_err(|error| wrong(&error))?;
        let nested: Result<Vec<Vec<&RawValue>>, _> = serde_json::from_str(value.get());
        let lists: Vec<Box<RawValue>> = match nested {
            Ok(_) => serde_json::from_str(value.get()).map_err(|error| wrong(&error))?,
            Err(_) => vec![value],
        };
        for list in lists {
            let spans = telemetry::zipkin::decode_json(list.get().as_bytes());
            for span in spans.map_err(|fault| wrong(&fault))? {
                by_trace.entry(span.trace).or_default().push(span);
            }
        }
    }
    Ok(by_trace.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_may_be_written_in_any_way_zipkin_has() {
        let span = |trace: u8, id: u8| format!(r#"{{"traceId":"{trace}","id":"{id}"}}"#);
        let count = |text: &str| traces(text).map(|all| all.iter().map(Vec::len).collect::<Vec<_>>());
        let (one, other, third) = (span(1, 1), span(1, 2), span(2, 1));
        assert_eq!(count(&format!("[{one},{third},{other}]")).expect("spans"), [2, 1]);
        assert_eq!(count(&format!("[[{one},{other}],[{third}]]")).expect("traces"), [2, 1]);
        assert_eq!(count(&format!("[{one},{other}]\n[{third}]\n")).expect("lines"), [2, 1]);
        assert_eq!(count("[]").expect("none"), [0; 0]);
        assert!(count("{").is_err() && count("{}").is_err() && count("[{}]").is_err());
    }
}
