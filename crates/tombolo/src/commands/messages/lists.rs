//! What there is: categories with how many messages they have, streams with their versions.

use super::{Ask, Client, Where, target};
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
        let client = self.place.client()?;
        let rows = list(&client, "/api/v1/categories", &[], "categories", "category", LIST_MAX).await?;
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
        let (client, path) = (self.place.client()?, "/api/v1/streams");
        let narrowed = [("category", self.category.clone()), ("prefix", self.prefix.clone())];
        let mut rows = list(&client, path, &narrowed, "streams", "stream_name", self.limit).await?;
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
pub(in crate::commands) const LIST_MAX: usize = 100_000;
/// The same, of one page.
const PAGE: usize = 500;

/// The first entries of a list, at most so many, page by page. The next page begins behind the last one's `name`.
pub(in crate::commands) async fn list(
    client: &Client,
    path: &str,
    parameters: &[(&str, Option<String>)],
    of: &str,
    name: &str,
    most: usize,
) -> Result<Vec<Value>, Fault> {
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let limit = (most - rows.len()).clamp(1, PAGE);
        let after = rows.last().map(|last| match &last[name] {
            Value::String(name) => name.clone(),
            number => number.to_string(),
        });
        let own = [("limit", Some(limit.to_string())), ("after", after)];
        let mut answer = client.json(Ask::get(&target(path, own.iter().chain(parameters)))).await?;
        if let Value::Array(entries) = answer[of].take() {
            rows.extend(entries);
        }
        if answer["more"] != true || rows.len() >= most {
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
        let client = self.place.client()?;
        let rows = list(&client, "/api/v1/scheduled", &[], "scheduled", "scheduled", LIST_MAX).await?;
        if self.json {
            rows.iter().for_each(out);
            return Ok(ExitCode::SUCCESS);
        }
        let columns = ["scheduled", "deliver_at", "stream_name", "messages"];
        print_table(&["SCHEDULED", "FOR", "STREAM", "MESSAGES"], &rows, &columns, "nothing is scheduled");
        Ok(ExitCode::SUCCESS)
    }
}
