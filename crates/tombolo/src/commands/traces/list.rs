//! `tombolo traces list`: the latest traces that meet what is asked, a line each.

use super::{Found, Where, Which, ask, found};
use crate::term::{DIM, YELLOW, err, out, out_if_read, paint, table};
use base::{Fault, Kind, format_duration, parse_duration};
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `tombolo traces list`.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Where,

    #[command(flatten)]
    which: Which,

    /// Only traces that began so long before `--until` at most
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    lookback: Duration,

    /// Only traces that began by this time, such as 2026-11-26T12:00:00Z; now if not given
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Most traces to print
    #[arg(long, short = 'n', default_value = "20", value_name = "NUMBER",
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,

    /// One JSON array of spans a line, as Zipkin's API has them
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) async fn run(&self) -> Result<ExitCode, Fault> {
        let client = self.place.client()?;
        let limit = usize::from(self.limit);
        let target = self.which.target(self.until.as_deref().map(end_ms).transpose()?, self.lookback, limit);
        let traces = ask(&client, &target).await?;
        if self.json {
            for trace in &traces {
                if !out_if_read(trace.get()) {
                    break;
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        if traces.is_empty() {
            err(paint(DIM, format_args!("no such traces in the last {}", format_duration(self.lookback))));
            return Ok(ExitCode::SUCCESS);
        }
        let found = traces.iter().map(|trace| Found::read(trace)).collect::<Result<Vec<_>, _>>()?;
        let longest = found.iter().map(|found| found.duration_us).max().unwrap_or(0);
        out(table(&found::HEAD, found.iter().map(|found| found.cells(longest)).collect()));
        if found.len() >= limit {
            err(paint(YELLOW, format_args!("the latest {limit}; --limit takes more")));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn end_ms(text: &str) -> Result<u64, Fault> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.ok().and_then(|time| u64::try_from(time.as_millisecond()).ok()).ok_or_else(|| {
        Fault::new(Kind::Invalid, format!("`{text}` is no time")).hint("write it like `2026-11-26T12:00:00Z`")
    })
}
