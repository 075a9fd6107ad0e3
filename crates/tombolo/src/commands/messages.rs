//! `tombolo messages`: writes, reads and follows streams of messages, lists them, and takes them in and out in bulk;
//! all over the API of a running `tombolo up`.

mod bulk;
mod lists;
mod shown;

pub(super) use lists::{LIST_MAX, list};

use super::asking::{Ask, Client, Lines, block_on};
use super::later::Later;
use crate::term::{DIM, GREEN, err, out, out_if_read, paint};
use base::{Fault, Kind};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use http::Method;
use http::header::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use wire::Body;

/// What need not be escaped in a path's segment or a parameter.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');
/// How long a `tombolo up` that restarts is waited for by who follows it, and the pause between tries.
const AWAY_MAX: Duration = Duration::from_secs(30);
const AWAY_PAUSE: Duration = Duration::from_millis(250);

/// What to do with messages.
#[derive(Subcommand)]
pub(crate) enum Messages {
    /// Append a message to a stream
    Write(Later<Write>),
    /// Print the messages of a stream, a category or all
    Read(Later<Read>),
    /// Print a stream's last message
    Last(Later<Last>),
    /// Print messages as they come
    Tail(Later<Tail>),
    /// List the categories
    Categories(Later<lists::Categories>),
    /// List streams and their versions
    Streams(Later<lists::Streams>),
    /// List messages that are to be written later
    Scheduled(Later<lists::Scheduled>),
    /// Take messages back that are to be written later
    Cancel(Later<Cancel>),
    /// Append messages of a file, one JSON object a line
    Import(Later<bulk::Import>),
    /// Write messages to a file, one JSON object a line
    Export(Later<bulk::Export>),
    /// Delete the messages of a stream for good
    Delete(Later<Delete>),
    /// Erase what messages say of a person, by forgetting the person's key
    Forget(Later<Forget>),
}

impl Messages {
    /// Does it.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        block_on(async {
            match self {
                Messages::Write(command) => command.run().await,
                Messages::Read(command) => command.run().await,
                Messages::Last(command) => command.run().await,
                Messages::Tail(command) => command.run().await,
                Messages::Categories(command) => command.run().await,
                Messages::Streams(command) => command.run().await,
                Messages::Scheduled(command) => command.run().await,
                Messages::Cancel(command) => command.run().await,
                Messages::Import(command) => command.run().await,
                Messages::Export(command) => command.run().await,
                Messages::Delete(command) => command.run().await,
                Messages::Forget(command) => command.run().await,
            }
        })
    }
}

/// Whose streams are meant.
#[derive(Args)]
pub(super) struct Where {
    /// The manifest that `tombolo up` runs, or its folder
    #[arg(long, short = 'C', default_value = ".", value_name = "DIR")]
    dir: PathBuf,

    /// The address of an API, in place of a folder; services that `tombolo up` runs have it in `TOMBOLO_API_URL`
    #[arg(long, env = "TOMBOLO_API_URL", value_name = "URL")]
    url: Option<String>,
}

impl Where {
    pub(super) fn client(&self) -> Result<Client, Fault> {
        match &self.url {
            Some(url) => Client::at(url),
            None => Client::find(&self.dir),
        }
    }
}

/// A name in a path.
pub(super) fn escaped(name: &str) -> String {
    utf8_percent_encode(name, ESCAPED).to_string()
}

/// A path with those parameters that are given.
pub(super) fn target<'a>(
    path: &str,
    parameters: impl IntoIterator<Item = &'a (&'a str, Option<String>)>,
) -> String {
    let given = parameters.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let pairs: Vec<String> = given.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// Which messages.
#[derive(Args)]
struct Which {
    /// A stream such as `account-1`, or a category such as `account`; all messages if none is given
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    name: Option<String>,

    /// NAME is a stream although it has no `-`
    #[arg(long)]
    stream: bool,

    /// Only messages of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,

    /// Of a category: only messages whose `correlationStreamName` is of this category
    #[arg(long, value_name = "CATEGORY")]
    correlation: Option<String>,

    /// Of a category: only what this member of a consumer group is to handle, from 0
    #[arg(long, value_name = "NUMBER", requires = "size")]
    member: Option<u16>,

    /// How many members the group has
    #[arg(long, value_name = "NUMBER", requires = "member")]
    size: Option<u16>,
}

impl Which {
    /// The path of these messages, with what narrows them down.
    fn target(&self, more: &[(&str, Option<String>)]) -> String {
        let path = match &self.name {
            None => "/api/v1/messages".to_owned(),
            Some(name) if self.stream || name.contains('-') => {
                format!("/api/v1/streams/{}/messages", escaped(name))
            }
            Some(name) => format!("/api/v1/categories/{}/messages", escaped(name)),
        };
        let number = |number: Option<u16>| number.map(|number| number.to_string());
        let own = [
            ("type", self.kind.clone()),
            ("correlation", self.correlation.clone()),
            ("member", number(self.member)),
            ("size", number(self.size)),
        ];
        target(&path, own.iter().chain(more))
    }
}

/// Arguments of `tombolo messages write`.
#[derive(Args)]
pub(crate) struct Write {
    #[command(flatten)]
    place: Where,

    /// The stream, such as `account-1`
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    stream: String,

    /// The message's type, such as `Opened`
    #[arg(value_name = "TYPE")]
    kind: String,

    /// What it says, as JSON; `-` reads it from standard input
    data: Option<String>,

    /// What is to be known about it, as JSON
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,

    /// Its id, a UUID; one is drawn if none is given
    #[arg(long, value_name = "UUID")]
    id: Option<String>,

    /// The version the stream must have: the position of its last message, `none` where there is no stream
    #[arg(long, value_name = "VERSION", allow_hyphen_values = true)]
    expected_version: Option<String>,

    /// Written once, however often this is run with the same key
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Written at this time, such as 2026-11-26T12:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with_all = ["delay", "expected_version"])]
    at: Option<String>,

    /// Written so many seconds from now
    #[arg(long, value_name = "SECONDS", conflicts_with = "expected_version")]
    delay: Option<String>,

    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Write {
    async fn run(&self) -> Result<ExitCode, Fault> {
        let mut given = String::new();
        let data = match self.data.as_deref() {
            None => None,
            Some("-") => {
                std::io::stdin().lock().read_to_string(&mut given)?;
                Some(json("the data", &given)?)
            }
            Some(text) => Some(json("the data", text)?),
        };
        let metadata = self.metadata.as_deref().map(|text| json("the metadata", text)).transpose()?;
        let kind = Value::from(self.kind.as_str()).to_string();
        let id = self.id.as_deref().map(|id| Value::from(id).to_string());
        let fields = [("type", Some(&*kind)), ("id", id.as_deref()), ("data", data), ("metadata", metadata)];
        let given = fields.iter().filter_map(|(name, value)| Some(format!("\"{name}\":{}", (*value)?)));
        let message = format!("{{{}}}", given.collect::<Vec<_>>().join(","));
        let path = format!("/api/v1/streams/{}/messages", escaped(&self.stream));
        let target = target(
            &path,
            &[
                ("expected_version", self.expected_version.clone()),
                ("deliver_at", self.at.clone()),
                ("delay", self.delay.clone()),
            ],
        );
        let mut ask = Ask::post(&target).with("application/json", Body::full(message));
        if let Some(key) = &self.idempotency_key {
            ask = ask.field(HeaderName::from_static("idempotency-key"), key);
        }
        let answer = self.place.client()?.json(ask).await?;
        if self.json {
            out(answer);
        } else if let Some(id) = answer["scheduled"].as_str() {
            let at = answer["deliver_at"].as_str().unwrap_or_default();
            out(format_args!("{} {id}, for {at}", paint(GREEN, "scheduled")));
        } else {
            out(format_args!(
                "{} {}[{}] at global position {}",
                paint(GREEN, "written"),
                self.stream,
                answer["last_position"],
                answer["last_global_position"]
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Refuses what is not JSON before it is sent: the shell may have eaten its quotes.
fn json<'a>(what: &str, text: &'a str) -> Result<&'a str, Fault> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(text.trim()),
        Err(error) => {
            Err(Fault::new(Kind::Invalid, format!("{what} `{}` is not JSON: {error}", text.trim()))
                .hint("put it in single quotes: '{\"amount\": 5}'; a text is '\"text\"'"))
        }
    }
}

/// Arguments of `tombolo messages read`.
#[derive(Args)]
pub(crate) struct Read {
    #[command(flatten)]
    place: Where,

    #[command(flatten)]
    which: Which,

    /// The position to begin at: of a stream its own, otherwise the global one
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,

    /// Most messages to print
    #[arg(long, short = 'n', default_value = "100", value_name = "NUMBER")]
    limit: u64,

    /// From new to old
    #[arg(long)]
    backward: bool,

    /// Only what was there at this time, such as 2026-11-26T12:00:00Z
    #[arg(long, value_name = "TIME")]
    as_at: Option<String>,

    /// Only up to this global position
    #[arg(long, value_name = "POSITION")]
    until: Option<u64>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Read {
    async fn run(&self) -> Result<ExitCode, Fault> {
        let target = self.which.target(&[
            ("from", self.from.map(|from| from.to_string())),
            ("limit", Some(self.limit.clamp(1, 10_000).to_string())),
            ("backward", self.backward.then(|| "true".to_owned())),
            ("as_at", self.as_at.clone()),
            ("until", self.until.map(|until| until.to_string())),
        ]);
        let client = self.place.client()?;
        let mut lines = Lines::of(client.send(Ask::get(&target).accept("application/x-ndjson")).await?);
        let mut printed = 0;
        while printed < self.limit
            && let Some(line) = lines.next().await?
        {
            if !out_if_read(shown::message(&line, self.json)) {
                return Ok(ExitCode::SUCCESS);
            }
            printed += 1;
        }
        if printed == 0 && !self.json {
            let of = self.which.name.as_ref().map_or_else(String::new, |name| format!(" of `{name}`"));
            err(paint(DIM, format_args!("no messages{of}")));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Arguments of `tombolo messages last`.
#[derive(Args)]
pub(crate) struct Last {
    #[command(flatten)]
    place: Where,

    /// The stream
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    stream: String,

    /// The last one of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,

    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Last {
    async fn run(&self) -> Result<ExitCode, Fault> {
        let path = format!("/api/v1/streams/{}/last", escaped(&self.stream));
        let target = target(&path, &[("type", self.kind.clone())]);
        let mut lines = Lines::of(self.place.client()?.send(Ask::get(&target)).await?);
        if let Some(line) = lines.next().await? {
            out(shown::message(&line, self.json));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Arguments of `tombolo messages tail`.
#[derive(Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    place: Where,

    #[command(flatten)]
    which: Which,

    /// Begin at this position; otherwise with what comes from now on
    #[arg(long, value_name = "POSITION")]
    from: Option<u64>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Tail {
    async fn run(&self) -> Result<ExitCode, Fault> {
        let mut client = self.place.client()?;
        let from = self.from.map(|from| from.to_string());
        let new = from.is_none().then(|| "true".to_owned());
        let target = self.which.target(&[("from", from), ("new", new)]);
        let again = self.which.target(&[]);
        // The position of the last message that was printed, to go on behind it.
        let mut last: Option<String> = None;
        let mut away = Duration::ZERO;
        loop {
            let ask = match &last {
                None => Ask::get(&target),
                Some(id) => Ask::get(&again).field(HeaderName::from_static("last-event-id"), id),
            };
            let followed = async {
                let mut lines = Lines::of(client.send(ask.accept("text/event-stream")).await?);
                away = Duration::ZERO;
                let mut id = None;
                while let Some(line) = lines.next().await? {
                    if let Some(now) = line.strip_prefix("id: ") {
                        id = Some(now.to_owned());
                    } else if let Some(data) = line.strip_prefix("data: ") {
                        if !out_if_read(shown::message(data, self.json)) {
                            return Ok(true);
                        }
                        last = id.take();
                    }
                }
                Ok(false)
            }
            .await;
            match followed {
                Ok(true) => return Ok(ExitCode::SUCCESS),
                // It restarts, perhaps: what comes meanwhile is there when it is back.
                Ok(false) => {}
                Err(Fault { kind: Kind::Unavailable, .. }) if last.is_some() || away > Duration::ZERO => {}
                Err(fault) => return Err(fault),
            }
            if away >= AWAY_MAX {
                let who = client.who();
                return Err(Fault::new(Kind::Unavailable, format!("{who} has gone")));
            }
            tokio::time::sleep(AWAY_PAUSE).await;
            away += AWAY_PAUSE;
            // Another process, another port.
            if let Ok(now) = self.place.client() {
                client = now;
            }
        }
    }
}

/// Arguments of `tombolo messages cancel`.
#[derive(Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    place: Where,

    /// What they are scheduled as
    id: String,
}

impl Cancel {
    async fn run(&self) -> Result<ExitCode, Fault> {
        let target = format!("/api/v1/scheduled/{}", escaped(&self.id));
        self.place.client()?.json(Ask::new(Method::DELETE, &target)).await?;
        out(format_args!("{} {}", paint(GREEN, "cancelled"), self.id));
        Ok(ExitCode::SUCCESS)
    }
}

/// Arguments of `tombolo messages delete`.
#[derive(Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    place: Where,

    /// The stream
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    stream: String,

    /// Do it: the messages can't be brought back
    #[arg(long, required = true)]
    yes: bool,
}

impl Delete {
    async fn run(&self) -> Result<ExitCode, Fault> {
        let target = format!("/api/v1/streams/{}", escaped(&self.stream));
        let answer = self.place.client()?.json(Ask::new(Method::DELETE, &target)).await?;
        out(format_args!("{} {} messages of {}", paint(GREEN, "deleted"), answer["removed"], self.stream));
        Ok(ExitCode::SUCCESS)
    }
}

/// Arguments of `tombolo messages forget`.
#[derive(Args)]
pub(crate) struct Forget {
    #[command(flatten)]
    place: Where,

    /// Whom the metadata of messages name in `subject`
    subject: String,

    /// Do it: what is erased can't be brought back
    #[arg(long, required = true)]
    yes: bool,
}

impl Forget {
    async fn run(&self) -> Result<ExitCode, Fault> {
        let target = format!("/api/v1/subjects/{}", escaped(&self.subject));
        self.place.client()?.json(Ask::new(Method::DELETE, &target)).await?;
        out(format_args!(
            "{} {}; backups that hold the key have to go, too",
            paint(GREEN, "forgotten"),
            self.subject
        ));
        Ok(ExitCode::SUCCESS)
    }
}
