//! Messages made up by chance, all of them valid, and how they stand on the wire.

use crate::Pace;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// A request or a response.
#[derive(Clone)]
pub(crate) struct Text {
    /// The method of a request.
    pub(crate) method: &'static str,
    /// Its first line.
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Framed,
}

/// A body as it stands on the wire.
#[derive(Clone, Debug)]
pub(crate) enum Framed {
    None,
    Length(Vec<u8>),
    Chunks { chunks: Vec<Vec<u8>>, extension: &'static str, trailers: Vec<(String, Vec<u8>)> },
    UntilClose(Vec<u8>),
}

impl std::fmt::Debug for Text {
    /// As on the wire, of a long one its beginning and its end.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.bytes();
        match bytes.len() {
            0..600 => write!(f, "\"{}\"", bytes.escape_ascii()),
            length => {
                let (begin, end) = (&bytes[..500], &bytes[length - 60..]);
                write!(f, "\"{}...{}\" of {length} bytes", begin.escape_ascii(), end.escape_ascii())
            }
        }
    }
}

impl Text {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.start).into_bytes();
        lines(&self.headers, &mut bytes);
        match &self.body {
            Framed::None => bytes.extend(b"\r\n"),
            Framed::UntilClose(body) => bytes.extend([b"\r\n", &body[..]].concat()),
            Framed::Length(body) => {
                bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
                bytes.extend(body);
            }
            Framed::Chunks { chunks, extension, trailers } => {
                let names: Vec<_> = trailers.iter().map(|(name, _)| name.as_str()).collect();
                if !names.is_empty() {
                    bytes.extend(format!("Trailer: {}\r\n", names.join(", ")).into_bytes());
                }
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                    bytes.extend(format!("{:X}{extension}\r\n", chunk.len()).into_bytes());
                    bytes.extend([chunk, &b"\r\n"[..]].concat());
                }
                bytes.extend(b"0\r\n");
                lines(trailers, &mut bytes);
                bytes.extend(b"\r\n");
            }
        }
        bytes
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

fn lines(headers: &[(String, Vec<u8>)], bytes: &mut Vec<u8>) {
    for (name, value) in headers {
        bytes.extend([name.as_bytes(), b":", value, b"\r\n"].concat());
    }
}

/// Requests that come one after another on one connection, the last of which ends it.
pub(crate) fn requests() -> impl Strategy<Value = Vec<Text>> {
    vec(request(), 1..5).prop_map(|mut requests| {
        let last = requests.pop().expect("there is one at least");
        requests.push(last.with("Connection", "close"));
        requests
    })
}

fn request() -> impl Strategy<Value = Text> {
    let line = (
        select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FROB", "get"]),
        target(),
        select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]),
    );
    let marks = (
        option::weighted(0.2, select(vec!["close", "keep-alive", "Keep-Alive, x-mine", "CLOSE"])),
        proptest::bool::weighted(0.3),
        proptest::bool::weighted(0.3),
    );
    (line, headers(), framed(), marks).prop_map(
        |((method, target, version), headers, body, (connection, expects, te))| {
            let body = match body {
                Framed::UntilClose(_) => Framed::None,
                // HTTP/1.0 knows no chunks.
                Framed::Chunks { chunks, .. } if version == "HTTP/1.0" => Framed::Length(chunks.concat()),
                body => body,
            };
            let mut text = Text { method, start: format!("{method} {target} {version}"), headers, body }
                .with("Host", " h");
            if let Some(connection) = connection {
                text = text.with("Connection", connection);
            }
            if expects && !matches!(text.body, Framed::None) {
                text = text.with("Expect", " 100-continue");
            }
            if te { text.with("TE", "trailers") } else { text }
        },
    )
}

/// Responses to these methods in turn; whoever reads one that closes the connection reads no more.
pub(crate) fn response(method: &'static str) -> impl Strategy<Value = (Vec<Text>, Text)> {
    let line = (
        select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]),
        select(vec![
            "200 OK",
            "200",
            "204 No Content",
            "304 Not Modified",
            "404 nowhere",
            "503 ",
            "299 \u{e4}",
        ]),
    );
    let interim = vec(select(vec!["HTTP/1.1 100 Continue", "HTTP/1.1 103 Early Hints"]), 0..3);
    let connection = option::weighted(0.3, select(vec!["close", "keep-alive", "Close, x"]));
    (line, headers(), framed(), interim, connection).prop_map(
        move |((version, status), headers, body, interim, connection)| {
            let mut body = match body {
                Framed::Chunks { chunks, .. } if version == "HTTP/1.0" => Framed::Length(chunks.concat()),
                body => body,
            };
            if method == "HEAD" || status.starts_with("204") || status.starts_with("304") {
                body = Framed::None;
            } else if matches!(body, Framed::None) {
                body = Framed::Length(Vec::new());
            }
            let mut text = Text { method, start: format!("{version} {status}"), headers, body };
            if let Some(connection) = connection {
                text = text.with("Connection", connection);
            }
            let bare = |start: &&str| Text {
                method,
                start: (*start).to_owned(),
                headers: Vec::new(),
                body: Framed::None,
            };
            (interim.iter().map(bare).collect(), text)
        },
    )
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("/".to_owned()),
        4 => "/[a-z]{1,8}(/[a-z.~%]{0,4}){0,3}",
        2 => "/[a-z]{1,4}[?][a-z=&+%/?]{0,12}",
        1 => r#"/[!$-;=@-_a-z|~"{}]{0,20}"#,
        1 => "http://[a-z]{1,8}(:80)?/[a-z]{0,5}",
        1 => "/[a-z]{300,400}",
    ]
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![
        select(vec!["Accept", "cookie", "X-Forwarded-For", "x_under", "X!#$%&'*+.^`|~0"])
            .prop_map(str::to_owned),
        "[A-Za-z][A-Za-z0-9-]{0,12}".prop_map(|name| format!("X-{name}")),
    ];
    let value = prop_oneof![
        4 => "[ \t]{0,2}[a-zA-Z0-9=;,/ ]{0,20}[ \t]{0,2}".prop_map(String::into_bytes),
        1 => vec(select((0x80..=0xff).chain(*b"!~ \t\"\\").collect::<Vec<u8>>()), 0..8),
    ];
    vec((name, value), 0..5)
}

fn framed() -> impl Strategy<Value = Framed> {
    let bytes = || prop_oneof![3 => vec(any::<u8>(), 0..40), 1 => vec(Just(b'x'), 0..40_000)];
    let trailers = vec(("X-T[a-z]{1,3}", "[a-z ]{0,5}[a-z]".prop_map(String::into_bytes)), 0..3);
    let trailers = trailers.prop_map(|mut trailers: Vec<(String, Vec<u8>)>| {
        // One of a name: their order among each other is nobody's promise.
        trailers.sort();
        trailers.dedup_by(|a, b| a.0 == b.0);
        trailers
    });
    let extension = select(vec!["", "", ";a", ";a=b;c=\"d;e\"", " ", " ; a"]);
    prop_oneof![
        3 => Just(Framed::None),
        2 => bytes().prop_map(Framed::Length),
        2 => (vec(bytes(), 0..4), extension, trailers)
            .prop_map(|(chunks, extension, trailers)| Framed::Chunks { chunks, extension, trailers }),
        1 => bytes().prop_map(Framed::UntilClose),
    ]
}

pub(crate) fn pace() -> impl Strategy<Value = Pace> {
    let piece = prop_oneof![3 => 1..8_usize, 1 => 8..100_usize, 2 => Just(100_000_usize)];
    (vec(piece, 1..6), select(vec![64, 1000, 100_000])).prop_map(|(mut pieces, room)| {
        // A large body byte by byte would be nothing but slow.
        pieces.push(50_000);
        Pace { pieces, room }
    })
}
