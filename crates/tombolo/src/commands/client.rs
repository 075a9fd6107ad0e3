//! `tombolo status`, `logs`, `restart` and `stop`: ask the `tombolo up` that runs a manifest.

use crate::term::{BOLD, CYAN, DIM, RED, err, out, out_if_read, paint};
use crate::up::run_file::RunFile;
use base::{Fault, Kind};
use bytes::BytesMut;
use clap::Args;
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{Method, StatusCode};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use wire::{Body, Dialer, Origin, Request, Response, Scheme};

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How long an answer may take: a restart may build first.
const ANSWER_WAIT: Duration = Duration::from_secs(3600);

/// How long `tombolo stop` waits for everything to end.
const STOP_PATIENCE: Duration = Duration::from_secs(120);

/// Which `tombolo up` is meant.
#[derive(Args)]
struct Where {
    /// The manifest, or its folder
    #[arg(long, short = 'C', default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

/// Arguments of `tombolo status`.
#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    place: Where,

    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `tombolo logs`.
#[derive(Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    place: Where,

    /// The services; all if none is named
    services: Vec<String>,

    /// Go on with what they print from now on
    #[arg(long, short)]
    follow: bool,

    /// So many lines of what they printed before
    #[arg(long, short = 'n', default_value = "100")]
    tail: usize,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Arguments of `tombolo restart`.
#[derive(Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    place: Where,

    /// The services
    #[arg(required = true)]
    services: Vec<String>,

    /// Do not build them first
    #[arg(long)]
    no_build: bool,
}

/// Arguments of `tombolo stop`.
#[derive(Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    place: Where,

    /// The services; the whole of `tombolo up` if none is named
    services: Vec<String>,
}

impl Status {
    /// Prints a table.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let about =
            block_on(async { Client::find(&self.place.dir)?.json(Method::GET, "/api/v1/status").await })?;
        if self.json {
            out(serde_json::to_string_pretty(&about).unwrap_or_default());
            return Ok(ExitCode::SUCCESS);
        }
        let text = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
        out(format_args!(
            "{} gateway at {}  {}",
            paint(BOLD, text("name")),
            paint(CYAN, text("gateway")),
            paint(DIM, format_args!("pid {}", about["pid"]))
        ));
        out("");
        out(crate::up::overview(&about));
        let empty = Vec::new();
        let calls = about["calls"].as_array().unwrap_or(&empty);
        if !calls.is_empty() {
            let rows = calls.iter().map(|call| {
                let text = |key: &str| call[key].as_str().unwrap_or_default();
                let variable = manifest::url_variable(text("callee"));
                vec![format!("{} -> {}", text("caller"), text("callee")), variable, paint(CYAN, text("url"))]
            });
            out("");
            out(indented(&crate::term::table(&["CALL", "VARIABLE", "ADDRESS"], rows.collect())));
        }
        out("");
        let routes = &about["routes"];
        let left_out = match routes["left_out"].as_u64() {
            None | Some(0) => String::new(),
            Some(left_out) => paint(RED, format_args!(", {left_out} left out for errors")),
        };
        out(format_args!("  {} routes serve{left_out}", routes["serving"]));
        Ok(ExitCode::SUCCESS)
    }
}

fn indented(table: &str) -> String {
    table.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

impl Logs {
    /// Prints lines until there are no more, or for ever with `--follow`.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        block_on(async {
            let client = Client::find(&self.place.dir)?;
            let mut target = format!("/api/v1/logs?tail={}&follow={}", self.tail, self.follow);
            for service in &self.services {
                check_name(service)?;
                target.push_str("&service=");
                target.push_str(service);
            }
            let response = client.send(Method::GET, &target).await?;
            let mut body = response.into_body();
            let mut rest = BytesMut::new();
            while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
                let frame = match frame {
                    Ok(frame) => frame,
                    // What was followed has ended, which is no error.
                    Err(_) if self.follow && RunFile::read(&client.folder).is_none() => break,
                    Err(fault) => return Err(fault),
                };
                let Ok(data) = frame.into_data() else { continue };
                rest.extend_from_slice(&data);
                while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
                    let line = rest.split_to(at + 1);
                    if !self.print(&String::from_utf8_lossy(&line[..at])) {
                        // As with `head`: nobody is left to print for.
                        return Ok(ExitCode::SUCCESS);
                    }
                }
            }
            Ok(ExitCode::SUCCESS)
        })
    }

    /// Prints a line; whether somebody still reads.
    fn print(&self, line: &str) -> bool {
        if self.json {
            return out_if_read(line);
        }
        let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { return true };
        if let Some(missed) = value["missed"].as_u64() {
            err(paint(DIM, format_args!("{missed} lines came too fast to be shown")));
            return true;
        }
        let text = value["text"].as_str().unwrap_or_default();
        let name = value["service"].as_str().unwrap_or_default();
        let instance =
            value["instance"].as_u64().filter(|n| *n > 1).map_or_else(String::new, |n| format!(".{n}"));
        out_if_read(format_args!("{} {text}", paint(CYAN, format_args!("{name}{instance} |"))))
    }
}

impl Restart {
    /// Asks for each service.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        let verb = if self.no_build { "restart" } else { "rebuild" };
        block_on(async {
            for service in &self.services {
                check_name(service)?;
                let client = Client::find(&self.place.dir)?;
                client.json(Method::POST, &format!("/api/v1/services/{service}/{verb}")).await?;
                out(format_args!("{} restarts", paint(BOLD, service)));
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Stop {
    /// Stops services, or everything; waits until everything has ended.
    pub(crate) fn run(&self) -> Result<ExitCode, Fault> {
        block_on(async {
            for service in &self.services {
                check_name(service)?;
                let client = Client::find(&self.place.dir)?;
                client.json(Method::POST, &format!("/api/v1/services/{service}/stop")).await?;
                out(format_args!("{} stops", paint(BOLD, service)));
            }
            if !self.services.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            let client = Client::find(&self.place.dir)?;
            client.json(Method::POST, "/api/v1/stop").await?;
            let gone = async {
                while RunFile::read(&client.folder).is_some_and(|run| run.pid == client.run.pid) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            if tokio::time::timeout(STOP_PATIENCE, gone).await.is_err() {
                return Err(Fault::new(
                    Kind::Timeout,
                    format!("`tombolo up` (pid {}) still runs", client.run.pid),
                )
                .hint("a service may have a long `stop_grace`; `tombolo status` shows which"));
            }
            out("stopped");
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// What can't be a service's name must not get into the path of a request.
fn check_name(service: &str) -> Result<(), Fault> {
    if !service.is_empty() && service.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(());
    }
    Err(Fault::new(Kind::Invalid, format!("`{service}` can't be the name of a service"))
        .hint("`tombolo status` shows the names"))
}

fn block_on<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    crate::wiring::runtime()?.block_on(work)
}

/// Asks a running `tombolo up`.
struct Client {
    folder: PathBuf,
    run: RunFile,
}

impl Client {
    fn find(place: &Path) -> Result<Self, Fault> {
        let absolute = std::path::absolute(place)?;
        let folder =
            if absolute.is_file() { absolute.parent().unwrap_or(&absolute).to_owned() } else { absolute };
        let run = RunFile::read(&folder).ok_or_else(|| {
            Fault::new(Kind::NotFound, format!("no `tombolo up` runs in `{}`", folder.display()))
                .hint("start one, or name another folder with -C DIR")
        })?;
        Ok(Self { folder, run })
    }

    async fn send(&self, method: Method, target: &str) -> Result<Response, Fault> {
        let origin =
            Origin { scheme: Scheme::Http, host: self.run.api.ip().to_string(), port: self.run.api.port() };
        let gone = |fault: Fault| {
            Fault::new(Kind::Unavailable, format!("`tombolo up` (pid {}) does not answer", self.run.pid))
                .because(fault)
        };
        let mut connection = Dialer::default().dial(&origin).await.map_err(gone)?;
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() =
            target.parse().map_err(|_| Fault::new(Kind::Invalid, format!("`{target}` is no path")))?;
        let header =
            |text: String| HeaderValue::try_from(text).map_err(|_| Fault::new(Kind::Bug, "a header of ours"));
        request.headers_mut().insert(HOST, header(self.run.api.to_string())?);
        request.headers_mut().insert(AUTHORIZATION, header(format!("Bearer {}", self.run.token))?);
        let by = tokio::time::Instant::now() + ANSWER_WAIT;
        let response = connection.send(request, by).await.map_err(|error| gone(error.fault))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.into_body().collect(ANSWER_BYTES_MAX).await?;
        let problem: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let message =
            problem["error"].as_str().map_or_else(|| format!("the answer is {status}"), str::to_owned);
        let kind = if status == StatusCode::NOT_FOUND { Kind::NotFound } else { Kind::Refused };
        let fault = Fault::new(kind, message);
        Err(match problem["hint"].as_str() {
            Some(hint) => fault.hint(hint),
            None => fault,
        })
    }

    async fn json(&self, method: Method, target: &str) -> Result<serde_json::Value, Fault> {
        let bytes = self.send(method, target).await?.into_body().collect(ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Fault::new(Kind::Bug, "the answer is not JSON").because(error))
    }
}
