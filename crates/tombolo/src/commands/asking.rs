//! Asks the API of a running `tombolo up`, found by its folder, or one at an address. What goes wrong is told as the
//! API tells it.

use crate::up::run_file::RunFile;
use base::{Fault, Kind};
use bytes::BytesMut;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::{Body, Dialer, Origin, Request, Response, Scheme};

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Most bytes of a line of an answer.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Bytes of a plain text that tells what is wrong.
const TOLD_BYTES_MAX: usize = 500;

/// How long an answer may take: a restart may build first.
const ANSWER_WAIT: Duration = Duration::from_secs(3600);

/// Runs something that asks.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    crate::wiring::runtime()?.block_on(work)
}

/// What is asked.
pub(crate) struct Ask<'a> {
    method: Method,
    target: &'a str,
    fields: Vec<(HeaderName, String)>,
    body: Body,
}

impl<'a> Ask<'a> {
    /// Something of this method at this path.
    pub(crate) fn new(method: Method, target: &'a str) -> Self {
        Self { method, target, fields: Vec::new(), body: Body::empty() }
    }

    /// To be told something.
    pub(crate) fn get(target: &'a str) -> Self {
        Self::new(Method::GET, target)
    }

    /// To have something done.
    pub(crate) fn post(target: &'a str) -> Self {
        Self::new(Method::POST, target)
    }

    /// With a body of this type.
    pub(crate) fn with(mut self, kind: &str, body: Body) -> Self {
        self.body = body;
        self.field(CONTENT_TYPE, kind)
    }

    /// For an answer of this type.
    pub(crate) fn accept(self, kind: &str) -> Self {
        self.field(ACCEPT, kind)
    }

    /// With a field.
    pub(crate) fn field(mut self, name: HeaderName, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }
}

/// Who is asked.
pub(crate) struct Client {
    origin: Origin,
    /// The `tombolo up` of a folder, if it was found by that.
    run: Option<(PathBuf, RunFile)>,
}

impl Client {
    /// The `tombolo up` that runs the manifest of this folder.
    pub(crate) fn find(place: &Path) -> Result<Self, Fault> {
        let absolute = std::path::absolute(place)?;
        let folder =
            if absolute.is_file() { absolute.parent().unwrap_or(&absolute).to_owned() } else { absolute };
        let run = RunFile::read(&folder).ok_or_else(|| {
            Fault::new(Kind::NotFound, format!("no `tombolo up` runs in `{}`", folder.display()))
                .hint("start one, or name another folder with -C DIR")
        })?;
        let origin = Origin { scheme: Scheme::Http, host: run.api.ip().to_string(), port: run.api.port() };
        Ok(Self { origin, run: Some((folder, run)) })
    }

    /// An API at an address, as `TOMBOLO_API_URL` gives it.
    pub(crate) fn at(url: &str) -> Result<Self, Fault> {
        let wrong = || {
            Fault::new(Kind::Invalid, format!("`{url}` is no address of an API"))
                .hint("write it like `http://127.0.0.1:4600`")
        };
        let uri: http::Uri = url.parse().map_err(|_| wrong())?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(wrong()),
        };
        let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if scheme == Scheme::Http { 80 } else { 443 });
        Ok(Self { origin: Origin { scheme, host, port }, run: None })
    }

    /// Where a browser opens its console and is signed in; only for what was found by its folder.
    pub(crate) fn sign_in_link(&self) -> String {
        let Origin { host, port, .. } = &self.origin;
        let host = match host.parse::<std::net::IpAddr>() {
            // An address that stands for all of them is none to go to.
            Ok(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            Ok(std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
            _ => host.clone(),
        };
        let token = self.run.as_ref().map_or("", |(_, run)| run.token.as_str());
        format!("http://{host}:{port}/sign-in?token={token}")
    }

    /// Whether what was found by its folder has ended.
    pub(crate) fn has_gone(&self) -> bool {
        self.run.is_some() && !self.still_runs()
    }

    /// Whether what was found by its folder still runs.
    pub(crate) fn still_runs(&self) -> bool {
        self.run
            .as_ref()
            .is_some_and(|(folder, run)| RunFile::read(folder).is_some_and(|now| now.pid == run.pid))
    }

    /// Its name for people.
    pub(crate) fn who(&self) -> String {
        match &self.run {
            Some((_, run)) => format!("`tombolo up` (pid {})", run.pid),
            None => format!("the API at `{}:{}`", self.origin.host, self.origin.port),
        }
    }

    /// Asks, and waits for the head of the answer.
    pub(crate) async fn send(&self, ask: Ask<'_>) -> Result<Response, Fault> {
        let gone = |fault: Fault| {
            Fault::new(Kind::Unavailable, format!("{} does not answer", self.who())).because(fault)
        };
        let mut connection = Dialer::default().dial(&self.origin).await.map_err(gone)?;
        let mut request = Request::new(ask.body);
        *request.method_mut() = ask.method;
        *request.uri_mut() = ask
            .target
            .parse()
            .map_err(|_| Fault::new(Kind::Invalid, format!("`{}` is no path", ask.target)))?;
        let host = if self.origin.host.contains(':') {
            format!("[{}]:{}", self.origin.host, self.origin.port)
        } else {
            format!("{}:{}", self.origin.host, self.origin.port)
        };
        let token = self.run.iter().map(|(_, run)| (AUTHORIZATION, format!("Bearer {}", run.token)));
        for (name, value) in ask.fields.into_iter().chain([(HOST, host)]).chain(token) {
            let value = HeaderValue::try_from(value)
                .map_err(|_| Fault::new(Kind::Invalid, format!("the value of `{name}` can't be sent")))?;
            request.headers_mut().insert(name, value);
        }
        let by = tokio::time::Instant::now() + ANSWER_WAIT;
        let response = connection.send(request, by).await.map_err(|error| gone(error.fault))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(told(response).await?)
    }

    /// Asks for JSON.
    pub(crate) async fn json(&self, ask: Ask<'_>) -> Result<serde_json::Value, Fault> {
        serde_json::from_str(&self.text(ask).await?)
            .map_err(|error| Fault::new(Kind::Bug, "the answer is not JSON").because(error))
    }

    /// Asks for text.
    pub(crate) async fn text(&self, ask: Ask<'_>) -> Result<String, Fault> {
        let bytes = self.send(ask).await?.into_body().collect(ANSWER_BYTES_MAX).await?;
        String::from_utf8(bytes.into())
            .map_err(|error| Fault::new(Kind::Bug, "the answer is not UTF-8").because(error))
    }
}

/// What an answer says that went wrong.
async fn told(response: Response) -> Result<Fault, Fault> {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_plain = kind.is_some_and(|kind| kind.starts_with("text/plain"));
    let bytes = response.into_body().collect(ANSWER_BYTES_MAX).await?;
    let problem: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    // Zipkin's API tells in plain text what is wrong.
    let plain = std::str::from_utf8(&bytes).ok().filter(|_| is_plain).map(crate::term::harmless);
    let plain = plain.filter(|text| (1..=TOLD_BYTES_MAX).contains(&text.len()));
    let message = problem["error"].as_str().map(str::to_owned).or(plain);
    let message = message.unwrap_or_else(|| format!("the answer is {status}"));
    let kind = match status {
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::CONFLICT => Kind::Conflict,
        _ => Kind::Refused,
    };
    let fault = Fault::new(kind, message);
    Ok(match problem["hint"].as_str() {
        Some(hint) => fault.hint(hint),
        None => fault,
    })
}

/// An answer line by line, as it comes.
pub(crate) struct Lines {
    body: Body,
    rest: BytesMut,
    /// Up to where the rest is known to hold no end of a line.
    seen: usize,
}

impl Lines {
    /// Those of this answer.
    pub(crate) fn of(response: Response) -> Self {
        Self { body: response.into_body(), rest: BytesMut::new(), seen: 0 }
    }

    /// The next one, without its end; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Fault> {
        loop {
            if let Some(at) = self.rest[self.seen..].iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(self.seen + at + 1);
                self.seen = 0;
                return Ok(Some(String::from_utf8_lossy(&line[..line.len() - 1]).into_owned()));
            }
            self.seen = self.rest.len();
            if self.seen > LINE_BYTES_MAX {
                return Err(Fault::new(
                    Kind::TooMuch,
                    format!("a line has more than {LINE_BYTES_MAX} bytes"),
                ));
            }
            let Some(frame) = http_body_util::BodyExt::frame(&mut self.body).await else {
                let rest = self.rest.split();
                self.seen = 0;
                return Ok((!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned()));
            };
            if let Ok(data) = frame?.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }
}
