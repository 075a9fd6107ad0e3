//! What there is: categories with how many messages they have, streams with their versions.

use super::{Ask, Client, Where, escaped, target};
use crate::term::{CYAN, DIM, err, out, paint, table};
use base::Fault;
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

/// Arguments of `tombolo messages categories`.
#[derive(Args)]
pub(crate) struct Categories {
    #[command(flatten)]
    place: Where,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Categories {
    pub(super) async fn run(&self) -> Result<ExitCode, Fault> {
        let rows =
            list(&self.place.client()?, "/api/v1/categories?limit=1000", "categories", "category").await?;
        if self.json {
            rows.iter().for_each(out);
            return Ok(ExitCode::SUCCESS);
        }
        print_table(&["CATEGORY", "MESSAGES"], &rows, &["category", "messages"], "no categories yet");
        Ok(ExitCode::SUCCESS)
    }
}

/// Arguments of `tombolo messages streams`.
#[derive(Args)]
pub(crate) struct Streams {
    #[command(flatten)]
    place: Where,

    /// Only streams of this category
    category: Option<String>,

    /// Only streams whose names begin so
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,

    /// Most streams to print
    #[arg(long, short = 'n', default_value = "1000", value_name = "NUMBER")]
    limit: usize,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Streams {
    pub(super) async fn run(&self) -> Result<ExitCode, Fault> {
        let target = target(
            "/api/v1/streams",
            &[
                ("limit", Some(self.limit.clamp(1, 1_000).to_string())),
                ("category", self.category.clone()),
                ("prefix", self.prefix.clone()),
            ],
        );
        let mut rows = list(&self.place.client()?, &target, "streams", "stream_name").await?;
        rows.truncate(self.limit);
        if self.json {
            rows.iter().for_each(out);
            return Ok(ExitCode::SUCCESS);
        }
        print_table(&["STREAM", "VERSION"], &rows, &["stream_name", "version"], "no streams yet");
        Ok(ExitCode::SUCCESS)
    }
}

/// Most entries that a list is asked for.
const LIST_MAX: usize = 100_000;

/// All entries of a list, page by page.
async fn list(client: &Client, target: &str, of: &str, name: &str) -> Result<Vec<Value>, Fault> {
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let after = rows.last().and_then(|last| last[name].as_str());
        let page = match after {
            None => target.to_owned(),
            Some(after) => format!("{target}&after={}", escaped(after)),
        };
        let mut answer = client.json(Ask::get(&page)).await?;
        if let Value::Array(entries) = answer[of].take() {
            rows.extend(entries);
        }
        if answer["more"] != true || rows.len() >= LIST_MAX {
            return Ok(rows);
        }
    }
}

fn print_table(head: &[&str], rows: &[Value], columns: &[&str], none: &str) {
    if rows.is_empty() {
        return err(paint(DIM, none));
    }
    let cell = |(nth, value): (usize, &Value)| match value {
        Value::String(text) if nth == 0 => paint(CYAN, text),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let row = |row: &Value| columns.iter().map(|name| &row[*name]).enumerate().map(cell).collect();
    out(table(head, rows.iter().map(row).collect()));
}

/// Arguments of `tombolo messages scheduled`.
#[derive(Args)]
pub(crate) struct Scheduled {
    #[command(flatten)]
    place: Where,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Scheduled {
    pub(super) async fn run(&self) -> Result<ExitCode, Fault> {
        let rows =
            list(&self.place.client()?, "/api/v1/scheduled?limit=1000", "scheduled", "scheduled").await?;
        if self.json {
            rows.iter().for_each(out);
            return Ok(ExitCode::SUCCESS);
        }
        let columns = ["scheduled", "deliver_at", "stream_name", "messages"];
        print_table(&["SCHEDULED", "FOR", "STREAM", "MESSAGES"], &rows, &columns, "nothing is scheduled");
        Ok(ExitCode::SUCCESS)
    }
}
