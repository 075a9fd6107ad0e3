//! `tombolo traces`: looks for traces, shows one as a waterfall, and prints new ones as they complete; all over the API
//! of a running `tombolo up`.

mod bars;
mod found;
mod list;
mod show;
mod tail;

pub(super) use bars::duration;

use super::asking::{Ask, Client, block_on};
use super::later::Later;
use super::messages::{Where, escaped, target};
use base::{Fault, Kind, parse_duration};
use clap::{Args, Subcommand};
use found::Found;
use serde_json::value::RawValue;
use std::process::ExitCode;
use std::time::Duration;

/// What to do with traces.
#[derive(Subcommand)]
pub(crate) enum Traces {
    /// List the latest traces
    List(Later<list::List>),
    /// Show a trace as a waterfall
    Show(Later<show::Show>),
    /// Print traces as they complete
    Tail(Later<tail::Tail>),
}

impl Traces {
    /// Does it.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        block_on(async {
            match self {
                Traces::List(command) => command.run().await,
                Traces::Show(command) => command.run().await,
                Traces::Tail(command) => command.run().await,
            }
        })
    }
}

/// Which traces.
#[derive(Args)]
struct Which {
    /// Only traces in which this service reported; what else is asked is met by its spans
    #[arg(long, value_name = "NAME")]
    service: Option<String>,

    /// Only traces with a span of this name
    #[arg(long, value_name = "NAME")]
    span: Option<String>,

    /// Only traces with a call to or from this service
    #[arg(long, value_name = "NAME")]
    remote: Option<String>,

    /// Only traces with these tags or annotations, such as `http.method=GET and cache.miss`
    #[arg(long, short, value_name = "QUERY")]
    query: Option<String>,

    /// Only traces in which something failed
    #[arg(long)]
    error: bool,

    /// Only traces with a span that lasted so long, such as `250ms`
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    min_duration: Option<Duration>,

    /// The same span lasted no longer
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_duration: Option<Duration>,
}

impl Which {
    /// The question for traces of the last `lookback` before a time, at most so many.
    fn target(&self, end_ms: Option<u64>, lookback: Duration, limit: usize) -> String {
        let micros = |duration: Duration| duration.as_micros().max(1).to_string();
        // The API knows no longest duration alone.
        let min = self.min_duration.or(self.max_duration.map(|_| Duration::ZERO));
        let error = self.error.then(|| "error".to_owned());
        let query: Vec<String> = self.query.clone().into_iter().chain(error).collect();
        let parameters = [
            ("serviceName", self.service.clone()),
            ("spanName", self.span.clone()),
            ("remoteServiceName", self.remote.clone()),
            ("annotationQuery", (!query.is_empty()).then(|| query.join(" and "))),
            ("minDuration", min.map(micros)),
            ("maxDuration", self.max_duration.map(micros)),
            ("endTs", end_ms.map(|end| end.to_string())),
            ("lookback", Some(lookback.as_millis().max(1).to_string())),
            ("limit", Some(limit.to_string())),
        ];
        target("/api/v2/traces", &parameters)
    }
}

/// The traces of an answer, each as it came, the latest first.
async fn ask(client: &Client, target: &str) -> Result<Vec<Box<RawValue>>, Fault> {
    let text = client.text(Ask::get(target)).await?;
    serde_json::from_str(&text).map_err(|error| not_understood(&error))
}

fn not_understood(error: &impl ToString) -> Fault {
    Fault::new(Kind::Bug, "the answer is no list of traces").because(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_a_question_of_zipkin_s_api() {
        let which = Which {
            service: Some("cart".into()),
            span: None,
            remote: Some("a b".into()),
            query: Some("http.method=GET and cache.miss".into()),
            error: true,
            min_duration: None,
            max_duration: Some(Duration::from_millis(250)),
        };
        assert_eq!(
            which.target(Some(5), Duration::from_secs(3600), 20),
            "/api/v2/traces?serviceName=cart&remoteServiceName=a%20b\
             &annotationQuery=http.method%3DGET%20and%20cache.miss%20and%20error\
             &minDuration=1&maxDuration=250000&endTs=5&lookback=3600000&limit=20"
        );
    }
}
