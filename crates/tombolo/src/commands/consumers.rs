//! `tombolo consumers`: who handles messages and how far they are; pauses them, sets them back, lets messages out, and
//! deals with dead letters; all over the API of a running `tombolo up`.

use super::asking::{Ask, Client, block_on};
use super::later::Later;
use super::messages::{LIST_MAX, Where, escaped, list};
use crate::term::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, err, harmless, out, paint, table};
use base::{Fault, Kind, format_duration};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use wire::Body;

/// What to do with consumers.
#[derive(Subcommand)]
pub(crate) enum Consumers {
    /// List the consumers and how far they are
    List(Later<List>),
    /// Show how a consumer does, share by share
    Show(Later<One>),
    /// Print how many messages a consumer is behind, or all of them
    Lag(Later<List>),
    /// Stop deliveries to a consumer
    Pause(Later<One>),
    /// Let deliveries to a consumer go on
    Resume(Later<One>),
    /// Set a consumer back, so that it handles messages again
    Replay(Later<Replay>),
    /// Let a consumer leave messages out
    Skip(Later<Skip>),
    /// List messages that a consumer gave up, try them again or discard them
    DeadLetters(Later<DeadLetters>),
}

/// Arguments of `tombolo consumers list` and `lag`.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Where,

    /// Only this consumer
    name: Option<String>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Arguments of what is done with one consumer.
#[derive(Args)]
pub(crate) struct One {
    #[command(flatten)]
    place: Where,

    /// The consumer
    name: String,

    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `tombolo consumers replay`.
#[derive(Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    one: One,

    /// `beginning`, a global position, or a time such as 2026-11-26T12:00:00Z
    #[arg(long, value_name = "PLACE")]
    from: String,
}

/// Arguments of `tombolo consumers skip`.
#[derive(Args)]
#[group(skip)]
pub(crate) struct Skip {
    #[command(flatten)]
    one: One,

    /// Leave out everything up to here: `end`, or a global position
    #[arg(long, value_name = "PLACE", required_unless_present = "message", conflicts_with = "message")]
    to: Option<String>,

    /// Leave out only the message at this global position, which holds up its stream
    #[arg(long, value_name = "POSITION")]
    message: Option<i64>,
}

/// Arguments of `tombolo consumers dead-letters`.
#[derive(Args)]
#[group(skip)]
pub(crate) struct DeadLetters {
    #[command(flatten)]
    one: One,

    /// Have the one at this global position tried again, or `all`
    #[arg(long, value_name = "POSITION", conflicts_with = "discard")]
    retry: Option<String>,

    /// Discard the one at this global position
    #[arg(long, value_name = "POSITION")]
    discard: Option<i64>,
}

impl Consumers {
    /// Does it.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        block_on(async {
            match self {
                Consumers::List(list) => list.print(listed).await,
                Consumers::Lag(list) => list.print(lags).await,
                Consumers::Show(one) => one.show().await,
                Consumers::Pause(one) => one.ask("pause", None, "is paused").await,
                Consumers::Resume(one) => one.ask("resume", None, "goes on").await,
                Consumers::Replay(replay) => replay.run().await,
                Consumers::Skip(skip) => skip.run().await,
                Consumers::DeadLetters(letters) => letters.run().await,
            }
        })
    }
}

/// A number as such, any other word as text.
fn place(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Into::into)
}

impl List {
    async fn print(&self, rows: fn(&[Value]) -> String) -> Result<ExitCode, Fault> {
        let client = self.place.client()?;
        let consumers = match &self.name {
            Some(name) => vec![client.json(Ask::get(&path(name, ""))).await?],
            None => match client.json(Ask::get("/api/v1/consumers")).await?["consumers"].take() {
                Value::Array(consumers) => consumers,
                _ => Vec::new(),
            },
        };
        if self.json {
            consumers.iter().for_each(out);
        } else if consumers.is_empty() {
            err(paint(DIM, "no consumers yet"));
        } else {
            out(rows(&consumers));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn listed(consumers: &[Value]) -> String {
    let row = |consumer: &Value| {
        let settings = &consumer["settings"];
        vec![
            paint(BOLD, text(&consumer["name"])),
            text(&settings["category"]),
            settings["handler"].as_str().map_or_else(|| paint(DIM, "taken"), str::to_owned),
            state(consumer),
            consumer["position"].to_string(),
            lag(&consumer["lag"]),
            dead(consumer),
        ]
    };
    let head = ["CONSUMER", "CATEGORY", "HANDLER", "STATE", "POSITION", "LAG", "DEAD"];
    table(&head, consumers.iter().map(row).collect())
}

fn lags(consumers: &[Value]) -> String {
    let row = |consumer: &Value| {
        let age = consumer["lag"]["age_seconds"].as_f64().map_or_else(String::new, |seconds| {
            // To the second: what is older than that is what matters.
            format_duration(Duration::from_secs(seconds as u64))
        });
        vec![paint(BOLD, text(&consumer["name"])), lag(&consumer["lag"]), age]
    };
    table(&["CONSUMER", "LAG", "AGE"], consumers.iter().map(row).collect())
}

fn state(consumer: &Value) -> String {
    match (text(&consumer["state"]).as_str(), consumer["error"].as_str()) {
        ("paused", _) => paint(YELLOW, "paused"),
        (state, None) => paint(GREEN, state),
        (state, Some(_)) => paint(YELLOW, state),
    }
}

/// Counted, or at most so many.
fn lag(lag: &Value) -> String {
    let sign = if lag["exact"] == true { "" } else { "<=" };
    let shown = format!("{sign}{}", lag["messages"]);
    if lag["messages"] == 0 { shown } else { paint(CYAN, shown) }
}

fn dead(consumer: &Value) -> String {
    let more = if consumer["more_dead_letters"] == true { "+" } else { "" };
    let shown = format!("{}{more}", consumer["dead_letters"]);
    if consumer["dead_letters"] == 0 { shown } else { paint(RED, shown) }
}

fn text(value: &Value) -> String {
    harmless(value.as_str().unwrap_or_default())
}

/// The path of a consumer, and of something of it.
fn path(name: &str, of: &str) -> String {
    format!("/api/v1/consumers/{}{of}", escaped(name))
}

impl One {
    async fn show(&self) -> Result<ExitCode, Fault> {
        let consumer = self.place.client()?.json(Ask::get(&path(&self.name, ""))).await?;
        if self.json {
            out(serde_json::to_string_pretty(&consumer).unwrap_or_default());
            return Ok(ExitCode::SUCCESS);
        }
        out(listed(std::slice::from_ref(&consumer)));
        if let Some(error) = consumer["error"].as_str() {
            out(format_args!("\n{} {}", paint(YELLOW, "last trouble:"), text(&error.into())));
        }
        let empty = Vec::new();
        let shares = consumer["shares"].as_array().unwrap_or(&empty);
        let row = |share: &Value| {
            let node = share["node"].as_str();
            let mut row =
                vec![share["share"].to_string(), node.map_or_else(|| paint(DIM, "nobody"), str::to_owned)];
            let figures = ["position", "pending", "in_flight", "handled", "failed", "dead"];
            row.extend(figures.map(|key| share[key].to_string()));
            row
        };
        out("");
        let head = ["SHARE", "NODE", "POSITION", "PENDING", "IN FLIGHT", "HANDLED", "FAILED", "DEAD"];
        out(table(&head, shares.iter().map(row).collect()));
        Ok(ExitCode::SUCCESS)
    }

    /// Asks for something, and prints how the consumer does then, or that it is done.
    async fn ask(&self, verb: &str, body: Option<Value>, done: &str) -> Result<ExitCode, Fault> {
        let target = path(&self.name, &format!("/{verb}"));
        let mut ask = Ask::post(&target);
        if let Some(body) = body {
            ask = ask.with("application/json", Body::full(body.to_string()));
        }
        let consumer = self.place.client()?.json(ask).await?;
        if self.json {
            out(serde_json::to_string_pretty(&consumer).unwrap_or_default());
        } else {
            out(format_args!("{} {done}", paint(BOLD, &self.name)));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Replay {
    async fn run(&self) -> Result<ExitCode, Fault> {
        let body = json!({ "from": place(&self.from) });
        self.one.ask("replay", Some(body), &format!("handles messages again from {}", self.from)).await
    }
}

impl Skip {
    async fn run(&self) -> Result<ExitCode, Fault> {
        let (body, done) = match (&self.to, self.message) {
            (Some(to), _) => (json!({ "to": place(to) }), format!("leaves out everything up to {to}")),
            (None, Some(message)) => {
                (json!({ "message": message }), format!("leaves out the message at {message}"))
            }
            (None, None) => return Err(Fault::new(Kind::Invalid, "give either --to or --message")),
        };
        self.one.ask("skip", Some(body), &done).await
    }
}

impl DeadLetters {
    async fn run(&self) -> Result<ExitCode, Fault> {
        let name = &self.one.name;
        match (self.retry.as_deref(), self.discard) {
            (Some("all"), _) => {
                let target = path(name, "/dead-letters/retry");
                let answer = self.one.place.client()?.json(Ask::post(&target)).await?;
                out(format_args!("{} dead letters are tried again", answer["retried"]));
            }
            (Some(position), _) => {
                let position: i64 = position.parse().map_err(|_| {
                    Fault::new(Kind::Invalid, format!("`{position}` is no global position"))
                        .hint("give the POSITION of the list, or `all`")
                })?;
                self.resolve(position, "retry").await?;
                out(format_args!("the message at {position} is tried again"));
            }
            (None, Some(position)) => {
                self.resolve(position, "discard").await?;
                out(format_args!("the message at {position} is discarded"));
            }
            (None, None) => self.list(&self.one.place.client()?).await?,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn resolve(&self, position: i64, verb: &str) -> Result<(), Fault> {
        let target = path(&self.one.name, &format!("/dead-letters/{position}/{verb}"));
        self.one.place.client()?.json(Ask::post(&target)).await.map(drop)
    }

    async fn list(&self, client: &Client) -> Result<(), Fault> {
        let of = path(&self.one.name, "/dead-letters");
        let letters = list(client, &of, &[], "dead_letters", "global_position", LIST_MAX).await?;
        if self.one.json {
            letters.iter().for_each(out);
        } else if letters.is_empty() {
            err(paint(DIM, "no dead letters"));
        } else {
            let row = |letter: &Value| {
                vec![
                    letter["global_position"].to_string(),
                    paint(CYAN, format_args!("{}[{}]", text(&letter["stream_name"]), letter["position"])),
                    paint(GREEN, text(&letter["type"])),
                    letter["attempts"].to_string(),
                    text(&letter["reason"]),
                ]
            };
            let head = ["POSITION", "MESSAGE", "TYPE", "ATTEMPTS", "REASON"];
            out(table(&head, letters.iter().map(row).collect()));
        }
        Ok(())
    }
}
