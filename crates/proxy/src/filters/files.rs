//! Serves files of a folder (Skipper's `static`). Disks are read in a bounded pool of threads and never by a
//! core; what leaves the folder by a link is not served. Which part of a file is answered is decided by
//! `conditions`.

use super::conditions::{Representation, Verdict, content_range, judge};
use super::{Built, Example, Filter, FilterEnv, FilterSpec, Later, Step, media, plain, sniff};
use crate::answer::{Cause, Reason, answer};
use crate::args::Args;
use crate::body::{body_from, exactly};
use crate::exchange::Exchange;
use base::{Fault, Kind};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED,
    LOCATION,
};
use http::{Method, StatusCode};
use http_body::Frame;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;
use wire::{Body, Response};

pub(super) const FILTERS: &[FilterSpec] = &[FilterSpec {
    name: "static",
    args: "strip, folder",
    docs: "Serves the files of a folder: the path without its beginning `strip` names one. Ranges (of one part), \
           `If-*` conditions, ETag and Last-Modified work; types are told by the file's ending or first bytes. For \
           a folder its `index.html` is served, or a list of what is in it (1,000 names at most); a folder without \
           a slash behind it and `index.html` itself are redirected, so that each page has one address. Only GET \
           and HEAD are served, others get 405. A path with `..`, NUL or what is no UTF-8 gets 400, however it is \
           encoded; `%2F` is a slash. Links are followed as long as they stay within the folder; what leads out of \
           it, and what is neither file nor folder, is not there (404). Files are read 64 at a time, and kept in \
           memory by 64 KiB each.",
    example: Example {
        filters: r#"static("/docs/", "/nowhere")"#,
        request: "GET /docs/manual.html",
        saw: "-",
        got: "404",
    },
    build: files,
}];

/// Bytes that are read in one go; a file that small is read when it is opened.
const PIECE: u64 = 64 << 10;
/// Names that a list of a folder has at most.
const LISTED_MAX: usize = 1000;
/// Reads of disks that are under way at once, of all cores together.
const READS_MAX: usize = 64;
/// Longest wait for one of these places.
const PLACE_WAIT: Duration = Duration::from_secs(10);

/// `ELOOP`, which the standard library has no stable name for: Linux's number, and that of the BSDs.
const LINKS_IN_A_CIRCLE: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };

static READS: Semaphore = Semaphore::const_new(READS_MAX);

fn files(args: &mut Args<'_>, env: &FilterEnv) -> Result<Built, String> {
    let strip = args.text("strip")?.to_owned();
    let folder = args.text("folder")?;
    if folder.is_empty() {
        return Err(args.refuse("folder", "it is empty"));
    }
    Ok(plain(Files { strip, folder: env.folder.join(folder) }))
}

struct Files {
    strip: String,
    folder: PathBuf,
}

/// What a path leads to.
enum Found {
    File(Opened),
    /// A folder's list, as a page.
    List(String),
    /// The same, under another address.
    Elsewhere(String),
    Nothing,
    Forbidden,
}

/// A file that is there.
struct Opened {
    file: File,
    length: u64,
    modified: Option<SystemTime>,
    kind: &'static str,
    /// All of it, if it is small.
    content: Option<Bytes>,
}

impl Filter for Files {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if exchange.method != Method::GET && exchange.method != Method::HEAD {
            let mut response = refused(exchange, StatusCode::METHOD_NOT_ALLOWED, "files can only be read");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Step::Reply(response);
        }
        let Ok(path) = percent_decode_str(exchange.raw_path()).decode_utf8() else {
            return Step::Reply(refused(exchange, StatusCode::BAD_REQUEST, "the path is not UTF-8"));
        };
        if path.contains('\0') || path.split('/').any(|segment| segment == "..") {
            return Step::Reply(refused(exchange, StatusCode::BAD_REQUEST, "the path has `..` or NUL"));
        }
        let Some(name) = path.strip_prefix(&*self.strip) else {
            return Step::Reply(not_there(exchange));
        };
        if path.ends_with("/index.html") {
            return Step::Reply(moved(exchange, "./"));
        }
        // An absolute path would take the folder's place when joined.
        let name: PathBuf = name.split('/').filter(|segment| !matches!(*segment, "" | ".")).collect();
        let (folder, slash) = (self.folder.clone(), path.ends_with('/'));
        let later: Later = Box::pin(async move {
            let found = in_pool(move || find(&folder, &name, slash)).await;
            let decide: Box<dyn FnOnce(&mut Exchange) -> Step + Send> =
                Box::new(move |exchange| Step::Reply(answered(exchange, found)));
            decide
        });
        Step::Wait(later)
    }
}

/// Runs what waits for a disk, when there is a place.
async fn in_pool<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let late = |_| Fault::new(Kind::Timeout, "too many files are being read");
    let place = tokio::time::timeout(PLACE_WAIT, READS.acquire()).await.map_err(late)?;
    let place = place.map_err(|closed| Fault::new(Kind::Bug, "no file can be read").because(closed))?;
    let work = move || {
        let done = work();
        // Held by the thread, not by whoever waits for it: that one may leave.
        drop(place);
        done
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::new(Kind::Bug, "a read of a file broke off").because(error))?
        .map_err(|error| Fault::new(Kind::Io, "a file can't be read").because(error))
}

/// What a name in a folder leads to.
fn find(folder: &Path, name: &Path, slash: bool) -> io::Result<Found> {
    let found = |error: io::Error| match error.kind() {
        ErrorKind::PermissionDenied => Ok(Found::Forbidden),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => Ok(Found::Nothing),
        _ if error.raw_os_error() == Some(LINKS_IN_A_CIRCLE) => Ok(Found::Nothing),
        _ => Err(error),
    };
    let within = match folder.canonicalize() {
        Ok(folder) => folder,
        Err(error) => return found(error),
    };
    let resolve = |path: PathBuf| -> io::Result<(PathBuf, Metadata)> {
        let path = path.canonicalize()?;
        if !path.starts_with(&within) {
            return Err(ErrorKind::NotFound.into());
        }
        let metadata = path.metadata()?;
        Ok((path, metadata))
    };
    let (path, metadata) = match resolve(within.join(name)) {
        Ok(resolved) => resolved,
        Err(error) => return found(error),
    };
    if metadata.is_dir() {
        if !slash {
            let base = name.file_name().and_then(|base| base.to_str()).unwrap_or_default();
            return Ok(Found::Elsewhere(format!("{}/", encoded(base))));
        }
        return match resolve(path.join("index.html")) {
            Ok((path, metadata)) if metadata.is_file() => open(&path).or_else(found),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(Found::Forbidden),
            _ => list(&path).or_else(found),
        };
    }
    // To open a pipe or a device might wait for ever.
    if !metadata.is_file() || slash {
        return Ok(Found::Nothing);
    }
    open(&path).or_else(found)
}

fn open(path: &Path) -> io::Result<Found> {
    let file = File::open(path)?;
    // Of what was opened: the name may mean another file by now.
    let metadata = file.metadata()?;
    let length = metadata.len();
    let named = path.file_name().and_then(|name| name.to_str()).and_then(media::by_name);
    let (mut content, mut kind) = (None, named);
    if length <= PIECE {
        content = Some(read(&file, 0..length)?);
    }
    if kind.is_none() {
        let first = match &content {
            Some(content) => content.clone(),
            None => read(&file, 0..512)?,
        };
        kind = Some(sniff::content_type(&first));
    }
    let kind = kind.unwrap_or("application/octet-stream");
    Ok(Found::File(Opened { file, length, modified: metadata.modified().ok(), kind, content }))
}

/// Bytes of a file, 64 KiB at most.
fn read(file: &File, part: Range<u64>) -> io::Result<Bytes> {
    let mut bytes = vec![0; (part.end - part.start).min(PIECE) as usize];
    file.read_exact_at(&mut bytes, part.start)?;
    Ok(bytes.into())
}

/// A page with the names in a folder.
fn list(folder: &Path) -> io::Result<Found> {
    let mut names = Vec::new();
    let mut more = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if names.len() >= LISTED_MAX {
            more = true;
            break;
        }
        let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
        // A name that is no text can't be asked for either.
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name + slash);
        }
    }
    names.sort_unstable();
    let mut page = String::from("<!doctype html>\n<meta charset=\"utf-8\">\n<pre>\n");
    for name in names {
        let shown = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(page, "<a href=\"./{}\">{shown}</a>", encoded(&name));
    }
    page.push_str(if more { "and more\n</pre>\n" } else { "</pre>\n" });
    Ok(Found::List(page))
}

/// A name as part of an address.
fn encoded(name: &str) -> String {
    const KEPT: percent_encoding::AsciiSet =
        NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
    utf8_percent_encode(name, &KEPT).to_string()
}

fn answered(exchange: &mut Exchange, found: Result<Found, Fault>) -> Response {
    match found {
        Ok(Found::File(opened)) => serve(exchange, opened),
        Ok(Found::List(page)) => ours(exchange, page.into(), "text/html; charset=utf-8"),
        Ok(Found::Elsewhere(location)) => moved(exchange, &location),
        Ok(Found::Nothing) => not_there(exchange),
        Ok(Found::Forbidden) => refused(exchange, StatusCode::FORBIDDEN, "the file may not be read"),
        Err(fault) => {
            let status = match fault.kind {
                Kind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            exchange.notes.reason = Some(Reason::of(Cause::INTERNAL).by("static").because(fault.to_string()));
            answer(status)
        }
    }
}

fn ours(exchange: &mut Exchange, body: Body, kind: &'static str) -> Response {
    exchange.notes.reason = Some(Reason::of(Cause::FILTER).by("static"));
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn refused(exchange: &mut Exchange, status: StatusCode, why: &'static str) -> Response {
    exchange.notes.reason = Some(Reason::of(Cause::FILTER).by("static").because(why));
    answer(status)
}

fn not_there(exchange: &mut Exchange) -> Response {
    refused(exchange, StatusCode::NOT_FOUND, "there is no such file")
}

fn moved(exchange: &mut Exchange, location: &str) -> Response {
    exchange.notes.reason = Some(Reason::of(Cause::FILTER).by("static"));
    let location = match exchange.query() {
        Some(query) => format!("{location}?{query}"),
        None => location.to_owned(),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn serve(exchange: &mut Exchange, opened: Opened) -> Response {
    let length = opened.length;
    let etag = opened.modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let etag = etag.map(|at| format!("\"{:x}.{:x}-{length:x}\"", at.as_secs(), at.subsec_nanos()));
    let (kind, modified) = (opened.kind, opened.modified);
    let has = Representation { etag: etag.as_deref(), modified, length };
    let verdict = judge(&exchange.method, &exchange.headers, &has);
    let (status, part) = match verdict {
        Verdict::Whole => (StatusCode::OK, 0..length),
        Verdict::Part(ref part) => (StatusCode::PARTIAL_CONTENT, part.clone()),
        Verdict::NotModified => (StatusCode::NOT_MODIFIED, 0..0),
        Verdict::Failed => {
            return refused(exchange, StatusCode::PRECONDITION_FAILED, "a condition does not hold");
        }
        Verdict::Unsatisfiable => {
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            let mut response = refused(exchange, status, "the file has no such bytes");
            response.headers_mut().insert(CONTENT_RANGE, content_range(None, length));
            return response;
        }
    };
    let size = part.end - part.start;
    let body = match &opened.content {
        _ if exchange.method == Method::HEAD || size == 0 => Body::empty(),
        Some(content) => Body::full(content.slice(part.start as usize..part.end as usize)),
        None => streamed(Arc::new(opened.file), part.clone()),
    };
    let mut response = ours(exchange, body, kind);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(etag) = etag.and_then(|etag| HeaderValue::try_from(etag).ok()) {
        headers.insert(ETAG, etag);
    }
    if let Some(modified) = modified.map(httpdate::fmt_http_date)
        && let Ok(modified) = HeaderValue::try_from(modified)
    {
        headers.insert(LAST_MODIFIED, modified);
    }
    match verdict {
        Verdict::Part(part) => {
            headers.insert(CONTENT_RANGE, content_range(Some(&part), length));
        }
        // RFC 9110 section 15.4.5: nothing about a body that is not there.
        Verdict::NotModified => {
            headers.remove(CONTENT_TYPE);
        }
        _ => {}
    }
    if status != StatusCode::NOT_MODIFIED {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    response
}

/// A read under way.
type Reading = Pin<Box<dyn Future<Output = Result<Bytes, Fault>> + Send>>;

/// A part of a file, read piece by piece as it is taken.
fn streamed(file: Arc<File>, part: Range<u64>) -> Body {
    let mut at = part.start;
    let mut reading: Option<Reading> = None;
    body_from(exactly(part.end - part.start), move |cx| {
        if at >= part.end {
            return Poll::Ready(None);
        }
        let piece = at..part.end.min(at + PIECE);
        let future = reading.get_or_insert_with(|| {
            let file = file.clone();
            Box::pin(in_pool(move || read(&file, piece)))
        });
        let bytes = ready!(future.as_mut().poll(cx));
        reading = None;
        Poll::Ready(Some(bytes.map(|bytes| {
            at += bytes.len() as u64;
            Frame::data(bytes)
        })))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_is_in_the_folder_is_found() {
        let root = tempfile::tempdir().unwrap();
        let (inside, outside) = (root.path().join("in"), root.path().join("out"));
        fs::create_dir_all(inside.join("sub")).unwrap();
        fs::create_dir(&outside).unwrap();
        for file in [inside.join("a.txt"), inside.join("sub/b"), outside.join("secret")] {
            fs::write(file, "hello").unwrap();
        }
        symlink("../a.txt", inside.join("sub/link")).unwrap();
        symlink(&outside, inside.join("escape")).unwrap();
        symlink("../../out/secret", inside.join("sub/secret")).unwrap();
        symlink("circle", inside.join("circle")).unwrap();
        let check = |name: &str, slash: bool, expected: &str| {
            let found = match find(&inside, Path::new(name), slash).unwrap() {
                Found::File(opened) => format!("file {} {}", opened.length, opened.kind),
                Found::List(page) => page,
                Found::Elsewhere(to) => format!("to {to}"),
                Found::Nothing => "nothing".to_owned(),
                Found::Forbidden => "forbidden".to_owned(),
            };
            assert!(found.contains(expected), "{name}: {found}");
        };
        check("a.txt", false, "file 5 text/plain; charset=utf-8");
        check("a.txt", true, "nothing");
        check("a.txt/b", false, "nothing");
        check("sub/b", false, "file 5 text/plain; charset=utf-8");
        check("sub/link", false, "file 5 text/plain");
        check("sub", false, "to sub/");
        check("sub", true, "<a href=\"./link\">link</a>");
        for nothing in ["escape/secret", "escape", "sub/secret", "circle", "no", &"x".repeat(5000)] {
            check(nothing, false, "nothing");
        }
        fs::write(inside.join("sub/index.html"), "<p>").unwrap();
        check("sub", true, "file 3 text/html; charset=utf-8");
    }

    #[test]
    fn a_list_shows_names_as_they_are_and_not_too_many() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a <b>&\"c:.txt"), "").unwrap();
        let Found::List(page) = list(folder.path()).unwrap() else { panic!("a list") };
        assert!(
            page.contains("<a href=\"./a%20%3Cb%3E%26%22c%3A.txt\">a &lt;b&gt;&amp;\"c:.txt</a>\n"),
            "{page}"
        );
        for number in 0..LISTED_MAX + 5 {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }
        let Found::List(page) = list(folder.path()).unwrap() else { panic!("a list") };
        assert_eq!(page.matches("<a ").count(), LISTED_MAX);
        assert!(page.contains("and more"));
    }

    #[tokio::test]
    async fn so_many_reads_are_under_way_at_once() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NOW: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let read = || {
            MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            NOW.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        let mut reads = tokio::task::JoinSet::new();
        for _ in 0..READS_MAX * 3 {
            reads.spawn(in_pool(read));
        }
        assert!(reads.join_all().await.into_iter().all(|read| read.is_ok()));
        let most = MOST.load(Ordering::SeqCst);
        assert!(most > 1 && most <= READS_MAX, "{most}");
    }

    #[tokio::test]
    async fn a_file_that_shrinks_breaks_off() {
        let path = tempfile::NamedTempFile::new().unwrap();
        fs::write(path.path(), vec![b'x'; 200_000]).unwrap();
        let Found::File(opened) = open(path.path()).unwrap() else { panic!("a file") };
        assert!(opened.content.is_none());
        let file = Arc::new(opened.file);
        assert_eq!(streamed(file.clone(), 100..150_000).collect(1 << 20).await.unwrap().len(), 149_900);
        fs::write(path.path(), vec![b'x'; 100_000]).unwrap();
        assert_eq!(streamed(file, 0..200_000).collect(1 << 20).await.unwrap_err().kind, Kind::Io);
    }
}
