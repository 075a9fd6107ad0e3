//! A client that speaks the PostgreSQL protocol byte by byte and hides nothing of the answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use testkit::PATIENCE;

/// A connection.
pub(crate) struct Raw {
    socket: TcpStream,
    /// What was told when it began: parameters by name.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) pid: i32,
    pub(crate) secret: i32,
}

/// A message of the server's.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) kind: char,
    pub(crate) body: Vec<u8>,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) attribute: i16,
    pub(crate) oid: u32,
    pub(crate) size: i16,
    pub(crate) modifier: i32,
    pub(crate) format: i16,
}

/// The answer to one statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Result {
    pub(crate) columns: Option<Vec<Column>>,
    pub(crate) rows: Vec<Vec<Option<Vec<u8>>>>,
    pub(crate) tag: Option<String>,
}

/// Fields of an error or notice.
pub(crate) type Fields = Vec<(char, String)>;

/// All that came up to `ReadyForQuery`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) results: Vec<Result>,
    pub(crate) error: Option<Fields>,
    pub(crate) notices: Vec<Fields>,
    pub(crate) params: Option<Vec<u32>>,
    pub(crate) status: char,
    /// Kinds of all messages, in order.
    pub(crate) kinds: String,
}

impl Answer {
    /// In one line: rows and tags, or the error.
    pub(crate) fn brief(&self) -> String {
        let mut out = Vec::new();
        for result in &self.results {
            for row in &result.rows {
                let values = row.iter().map(|value| match value {
                    Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    None => "NULL".to_owned(),
                });
                out.push(values.collect::<Vec<_>>().join("|"));
            }
            out.extend(result.tag.clone());
        }
        if let Some(error) = &self.error {
            out.push(format!("{} {}", field(error, 'C').unwrap(), field(error, 'M').unwrap()));
        }
        format!("{} {}", out.join("; "), self.status)
    }
}

pub(crate) fn field(fields: &Fields, kind: char) -> Option<&str> {
    fields.iter().find(|(known, _)| *known == kind).map(|(_, value)| value.as_str())
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as i32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend(text.as_bytes());
    body.push(0);
}

impl Raw {
    /// Connects as `message_store`.
    pub(crate) fn connect(port: u16) -> Self {
        Self::begin(port, &[("user", "message_store"), ("database", "message_store")]).unwrap()
    }

    /// Connects with these parameters; the error's text where it is not let in.
    pub(crate) fn begin(port: u16, given: &[(&str, &str)]) -> std::result::Result<Self, String> {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut raw = Self { socket, parameters: Vec::new(), pid: 0, secret: 0 };
        let mut body = 196_608_i32.to_be_bytes().to_vec();
        for (name, value) in given {
            text(&mut body, name);
            text(&mut body, value);
        }
        body.push(0);
        raw.write(&framed(0, &body)[1..]);
        loop {
            let Some(message) = raw.receive() else { return Err("the connection was closed".into()) };
            let mut reader = Reader(&message.body);
            match message.kind {
                'R' => assert_eq!(reader.int(), 0, "no password is asked for"),
                'S' => {
                    let parameter = (reader.text(), reader.text());
                    raw.parameters.push(parameter);
                }
                'K' => (raw.pid, raw.secret) = (reader.int(), reader.int()),
                'Z' => return Ok(raw),
                'E' => {
                    let fields = reader.fields();
                    return Err(format!("{} {}", field(&fields, 'C').unwrap(), field(&fields, 'M').unwrap()));
                }
                _ => panic!("{message:?}"),
            }
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The next message; `None` at the end.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        self.socket.read_exact(&mut head).ok()?;
        let length = i32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        self.socket.read_exact(&mut body).unwrap();
        Some(Message { kind: char::from(head[0]), body })
    }

    pub(crate) fn send(&mut self, kind: u8, body: &[u8]) {
        self.write(&framed(kind, body));
    }

    /// Runs a query of the simple protocol.
    pub(crate) fn query(&mut self, sql: &str) -> Answer {
        self.ask(sql);
        self.answer()
    }

    /// Sends a query and does not wait for the answer.
    pub(crate) fn ask(&mut self, sql: &str) {
        let mut body = Vec::new();
        text(&mut body, sql);
        self.send(b'Q', &body);
    }

    pub(crate) fn parse(&mut self, name: &str, sql: &str) {
        let mut body = Vec::new();
        text(&mut body, name);
        text(&mut body, sql);
        body.extend([0, 0]);
        self.send(b'P', &body);
    }

    pub(crate) fn bind(&mut self, portal: &str, name: &str, params: &[Option<&str>], binary: bool) {
        let mut body = Vec::new();
        text(&mut body, portal);
        text(&mut body, name);
        body.extend([0, 0]);
        body.extend((params.len() as u16).to_be_bytes());
        for param in params {
            match param {
                Some(param) => {
                    body.extend((param.len() as i32).to_be_bytes());
                    body.extend(param.as_bytes());
                }
                None => body.extend((-1_i32).to_be_bytes()),
            }
        }
        body.extend(if binary { vec![0, 1, 0, 1] } else { vec![0, 0] });
        self.send(b'B', &body);
    }

    pub(crate) fn describe(&mut self, kind: u8, name: &str) {
        let mut body = vec![kind];
        text(&mut body, name);
        self.send(b'D', &body);
    }

    pub(crate) fn execute(&mut self, portal: &str, rows_max: i32) {
        let mut body = Vec::new();
        text(&mut body, portal);
        body.extend(rows_max.to_be_bytes());
        self.send(b'E', &body);
    }

    pub(crate) fn sync(&mut self) -> Answer {
        self.send(b'S', &[]);
        self.answer()
    }

    /// Runs a statement by the extended protocol, unnamed, with texts both ways.
    pub(crate) fn extended(&mut self, sql: &str, params: &[Option<&str>]) -> Answer {
        self.parse("", sql);
        self.bind("", "", params, false);
        self.describe(b'P', "");
        self.execute("", 0);
        self.sync()
    }

    /// Everything up to `ReadyForQuery`.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = Answer::default();
        let mut result = Result::default();
        loop {
            let message = self.receive().unwrap_or_else(|| panic!("the connection ended behind {answer:?}"));
            let mut reader = Reader(&message.body);
            answer.kinds.push(message.kind);
            match message.kind {
                'T' => result.columns = Some(reader.columns()),
                'D' => result.rows.push(reader.row()),
                'C' => {
                    result.tag = Some(reader.text());
                    answer.results.push(std::mem::take(&mut result));
                }
                's' => answer.results.push(std::mem::take(&mut result)),
                't' => {
                    let count = reader.small();
                    answer.params = Some((0..count).map(|_| reader.int() as u32).collect());
                }
                'E' => answer.error = Some(reader.fields()),
                'N' => answer.notices.push(reader.fields()),
                'Z' => {
                    if result.columns.is_some() && answer.error.is_none() {
                        answer.results.push(result);
                    }
                    answer.status = char::from(message.body[0]);
                    return answer;
                }
                'n' | '1' | '2' | '3' | 'I' | 'S' | 'A' => {}
                _ => panic!("{message:?}"),
            }
        }
    }
}

/// Reads a message's body.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_at(N);
        self.0 = rest;
        taken.try_into().unwrap()
    }

    pub(crate) fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    fn small(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    pub(crate) fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap();
        let text = String::from_utf8(self.0[..end].to_vec()).unwrap();
        self.0 = &self.0[end + 1..];
        text
    }

    pub(crate) fn fields(&mut self) -> Fields {
        let mut fields = Vec::new();
        while self.0[0] != 0 {
            let [kind] = self.take();
            fields.push((char::from(kind), self.text()));
        }
        fields
    }

    fn columns(&mut self) -> Vec<Column> {
        let count = self.small();
        let column = |reader: &mut Self| {
            let name = reader.text();
            reader.int();
            Column {
                name,
                attribute: reader.small(),
                oid: reader.int() as u32,
                size: reader.small(),
                modifier: reader.int(),
                format: reader.small(),
            }
        };
        (0..count).map(|_| column(self)).collect()
    }

    fn row(&mut self) -> Vec<Option<Vec<u8>>> {
        let count = self.small();
        let mut row = Vec::new();
        for _ in 0..count {
            let length = self.int();
            row.push(usize::try_from(length).ok().map(|length| {
                let (value, rest) = self.0.split_at(length);
                self.0 = rest;
                value.to_vec()
            }));
        }
        row
    }
}
