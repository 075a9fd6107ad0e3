//! Bulk in: any number of messages, one a line, appended in batches as they come. Who sends no faster than the disk
//! takes them needs no more memory than a batch.

use super::answer::{Answered, Problem, value};
use super::append::{is_same, to_streams, with_ids};
use super::call::Call;
use super::json::{self, IncomingAppend};
use super::{Api, bounds};
use crate::spans::Appender;
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use serde_json::json;
use store::{Append, AppendError};
use wire::{Body, Headers};

/// Messages of one batch, and bytes of their lines.
const BATCH_MESSAGES_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 4 << 20;

/// `POST /messages`: a list of appends in JSON, or bulk where there is one message a line.
pub(crate) async fn messages(api: Api, call: Call, body: Body) -> Answered {
    if call.is_lines() { bulk(api, call, body).await } else { to_streams(api, call, body).await }
}

/// What was read and not yet appended.
#[derive(Default)]
struct Batch {
    appends: Vec<Append>,
    messages: usize,
    bytes: usize,
}

impl Batch {
    /// Behind what is there, in the order of the lines.
    fn push(&mut self, append: Append, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
        match self.appends.last_mut() {
            Some(last) if last.stream == append.stream => last.messages.extend(append.messages),
            _ => self.appends.push(append),
        }
    }

    fn is_full(&self) -> bool {
        self.messages >= BATCH_MESSAGES_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

async fn bulk(api: Api, call: Call, mut body: Body) -> Answered {
    let skips = call.flag("skip_existing")?;
    let mut import = Import {
        api: &api,
        headers: &call.head.headers,
        skips,
        batch: Batch::default(),
        line: 0,
        appended: 0,
        skipped: 0,
    };
    let mut rest = BytesMut::new();
    // Up to where the rest is known to hold no end of a line.
    let mut seen = 0;
    let done = async {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            rest.extend_from_slice(&data);
            while let Some(at) = rest[seen..].iter().position(|byte| *byte == b'\n') {
                let line = rest.split_to(seen + at + 1);
                seen = 0;
                import.line(&line[..line.len() - 1]).await?;
            }
            seen = rest.len();
            if seen > bounds::LINE_BYTES_MAX {
                return Err(Problem::new(
                    base::Kind::TooMuch,
                    format!("line {} has more than {} bytes", import.line + 1, bounds::LINE_BYTES_MAX),
                ));
            }
        }
        import.line(&rest).await?;
        import.flush().await
    }
    .await;
    let (appended, skipped) = (import.appended, import.skipped);
    match done {
        Ok(()) => Ok(value(&json!({ "messages": appended, "skipped": skipped }))),
        Err(problem) => Err(problem.with("messages", appended).with("skipped", skipped)),
    }
}

struct Import<'a> {
    api: &'a Api,
    headers: &'a Headers,
    /// Whether messages that are there already are passed over.
    skips: bool,
    batch: Batch,
    line: u64,
    appended: u64,
    skipped: u64,
}

impl Import<'_> {
    async fn line(&mut self, line: &[u8]) -> Result<(), Problem> {
        self.line += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let read = json::line(line).map_err(|problem| problem.at(&format!("line {}", self.line)));
        let (stream, message) = match read {
            Ok(read) => read,
            Err(problem) => {
                // What stood before it is in, as the answer says.
                self.flush().await?;
                return Err(problem);
            }
        };
        let incoming = IncomingAppend { stream, expected_version: None, messages: vec![message] };
        self.batch.push(with_ids(incoming, None), line.len());
        if self.batch.is_full() { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Problem> {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.messages == 0 {
            return Ok(());
        }
        let kept = if self.skips { batch.appends.clone() } else { Vec::new() };
        let place = |error: AppendError, line: u64| {
            Problem::from(error).at(&format!("a message at or before line {line}"))
        };
        let (api, appender) = (self.api, Appender::Import(self.headers));
        let span = api.spans.as_ref();
        let span = span.map(|spans| spans.append(&api.clock, "append", &appender, &mut batch.appends));
        let appended = api.store.append(batch.appends).await;
        if let Some(span) = span {
            span.end(&api.clock, appended.as_ref().map(drop));
        }
        match appended {
            Ok(_) => {
                self.appended += batch.messages as u64;
                Ok(())
            }
            Err(AppendError::DuplicateId { .. }) if self.skips => {
                for append in kept {
                    self.one_by_one(append).await?;
                }
                Ok(())
            }
            Err(error) => Err(place(error, self.line)),
        }
    }

    /// Appends those of a run that are not there yet.
    async fn one_by_one(&mut self, run: Append) -> Result<(), Problem> {
        for message in &run.messages {
            let one = Append {
                stream: run.stream.clone(),
                expected_version: None,
                messages: vec![message.clone()],
            };
            match self.api.store.append(vec![one]).await {
                Ok(_) => self.appended += 1,
                Err(error @ AppendError::DuplicateId { id }) => match self.api.store.by_id(id).await? {
                    Some(kept) if is_same(&kept, &run, message) => self.skipped += 1,
                    _ => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
