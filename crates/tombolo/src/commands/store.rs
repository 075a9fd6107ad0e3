//! `tombolo store`: what keeps the messages, looked at and copied without the server. While `tombolo up` has the
//! directory, only what reads goes on.

use super::asking::{Ask, Client, block_on};
use super::later::Later;
use crate::term::{GREEN, RED, err, out, paint};
use base::{Clock, Fault, Kind};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::{DumpedRecord, Embedded, LOG_FOLDER, LogOptions};
use wire::Body;

/// Where `tombolo up` keeps messages if nobody says otherwise.
const DIR: &str = ".tombolo/store";

/// What to do with a store.
#[derive(Subcommand)]
pub(crate) enum StoreCommand {
    /// Look at everything: positions without gaps, checksums, indexes that agree with the messages
    Verify(Later<Verify>),
    /// Print the messages as they lie in the files
    Dump(Later<Dump>),
    /// Copy everything into one file
    Backup(Later<Backup>),
    /// Make a data directory of a backup
    Restore(Later<Restore>),
}

/// Arguments of `tombolo store verify`.
#[derive(Args)]
pub(crate) struct Verify {
    /// The data directory
    #[arg(default_value = DIR)]
    dir: PathBuf,

    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `tombolo store dump`.
#[derive(Args)]
pub(crate) struct Dump {
    /// The data directory
    #[arg(default_value = DIR)]
    dir: PathBuf,

    /// The global position to begin at
    #[arg(long, default_value = "1", value_name = "POSITION")]
    from: i64,

    /// Most messages to print
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Arguments of `tombolo store backup`.
#[derive(Args)]
pub(crate) struct Backup {
    /// The file to write, in place of any of its name
    file: PathBuf,

    /// The data directory
    #[arg(default_value = DIR)]
    dir: PathBuf,

    /// The manifest whose `tombolo up` is asked if it has the directory, or its folder
    #[arg(long, short = 'C', default_value = ".", value_name = "DIR")]
    place: PathBuf,
}

/// Arguments of `tombolo store restore`.
#[derive(Args)]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,

    /// The data directory to make; it must not be there, or be empty
    dir: PathBuf,
}

impl StoreCommand {
    /// Does it.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        match self {
            StoreCommand::Verify(verify) => verify.run(),
            StoreCommand::Dump(dump) => dump.run(),
            StoreCommand::Backup(backup) => backup.run(),
            StoreCommand::Restore(restore) => restore.run(),
        }
    }
}

/// Where the messages of a data directory are. Fails where there are none.
fn log_of(dir: &Path) -> Result<PathBuf, Fault> {
    let log = dir.join(LOG_FOLDER);
    if log.is_dir() {
        return Ok(log);
    }
    Err(Fault::new(Kind::NotFound, format!("there is no store `{}`", dir.display())).hint(
        "give its data directory: `dir` of `streams` in the manifest, `.tombolo/store` if it says nothing",
    ))
}

impl Verify {
    fn run(&self) -> Result<ExitCode, Fault> {
        let report = store::verify(&log_of(&self.dir)?)?;
        let good = report.findings.is_empty();
        if self.json {
            out(serde_json::json!({
                "messages": report.messages,
                "removed": report.removed,
                "segments": report.segments,
                "indexes": report.indexes,
                "torn_bytes": report.torn_bytes,
                "findings": report.findings,
                "findings_beyond": report.findings_beyond,
            }));
        } else {
            for finding in &report.findings {
                err(format_args!("{}: {finding}", paint(RED, "error")));
            }
            if report.findings_beyond > 0 {
                err(format_args!("and {} more", report.findings_beyond));
            }
            let seen = format!(
                "{} messages in {} segments, {} indexes, {} removed",
                report.messages, report.segments, report.indexes, report.removed
            );
            let word = if good { paint(GREEN, "good") } else { paint(RED, "damaged") };
            out(format_args!("{word} {}: {seen}", self.dir.display()));
        }
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Dump {
    fn run(&self) -> Result<ExitCode, Fault> {
        let mut left = self.limit.unwrap_or(u64::MAX);
        if left == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        store::dump(&log_of(&self.dir)?, self.from, &mut |record| {
            out(if self.json { object(&record) } else { line(&record) });
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(record: &DumpedRecord) -> String {
    let message = &record.message;
    let time =
        Timestamp::from_microsecond(message.time).map_or_else(|_| "?".to_owned(), |time| time.to_string());
    let data = match (&message.data, record.removed) {
        (_, true) => "(removed)",
        (Some(data), false) => data.as_str(),
        (None, false) => "",
    };
    format!(
        "{:>8}  {time}  {}[{}]  {}  {data}",
        message.global_position, message.stream, message.position, message.kind
    )
}

fn object(record: &DumpedRecord) -> String {
    let message = &record.message;
    let json = |json: &Option<store::Json>| {
        json.as_ref().and_then(|json| serde_json::value::RawValue::from_string(json.as_str().to_owned()).ok())
    };
    serde_json::to_string(&Dumped {
        global_position: message.global_position,
        stream: &message.stream,
        position: message.position,
        id: message.id.to_string(),
        r#type: &message.kind,
        data: json(&message.data),
        metadata: json(&message.metadata),
        time_us: message.time,
        removed: record.removed,
        file: &record.file,
        offset: record.offset,
        bytes: record.bytes,
    })
    .unwrap_or_default()
}

#[derive(serde::Serialize)]
struct Dumped<'a> {
    global_position: i64,
    stream: &'a str,
    position: i64,
    id: String,
    r#type: &'a str,
    data: Option<Box<serde_json::value::RawValue>>,
    metadata: Option<Box<serde_json::value::RawValue>>,
    time_us: i64,
    removed: bool,
    file: &'a str,
    offset: u64,
    bytes: u64,
}

impl Backup {
    fn run(&self) -> Result<ExitCode, Fault> {
        log_of(&self.dir)?;
        let (messages, bytes) = match Embedded::open(&self.dir, Clock::system(), LogOptions::default()) {
            Ok((store, _)) => {
                let backup = store.backup(&self.file)?;
                (backup.messages, backup.bytes)
            }
            // Somebody has it; whoever runs the manifest there is asked.
            Err(fault) if fault.kind == Kind::Conflict => {
                let Ok(client) = Client::find(&self.place) else { return Err(fault) };
                let file = std::path::absolute(&self.file)?;
                let asked = serde_json::json!({ "file": file }).to_string();
                let ask = Ask::post("/api/v1/store/backup").with("application/json", Body::full(asked));
                let answer = block_on(client.json(ask))?;
                let number = |name: &str| answer[name].as_u64().unwrap_or_default();
                (number("messages").cast_signed(), number("bytes"))
            }
            Err(fault) => return Err(fault),
        };
        let file = self.file.display();
        out(format_args!("{} {file}: {messages} messages, {bytes} bytes", paint(GREEN, "written")));
        Ok(ExitCode::SUCCESS)
    }
}

impl Restore {
    fn run(&self) -> Result<ExitCode, Fault> {
        store::restore(&self.file, &self.dir)?;
        out(format_args!("{} {}", paint(GREEN, "restored"), self.dir.display()));
        Ok(ExitCode::SUCCESS)
    }
}
