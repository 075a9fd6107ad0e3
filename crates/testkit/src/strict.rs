//! Reads HTTP/1.1 as the most suspicious peer would: whatever two readers could take differently is malformed.
//! It judges what a gateway wrote, so it shares no line with what is tested.

use crate::message::find;

/// A message that came whole.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The request line or status line.
    pub start: String,
    /// The header lines in turn, names as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The fields behind the last chunk.
    pub trailers: Vec<(String, String)>,
}

/// What stands behind the last whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    Nothing,
    /// A message that did not come whole.
    Begun,
    /// No message, and why.
    Malformed(String),
}

/// All that came on one connection in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// The whole messages.
    pub messages: Vec<Message>,
    /// What follows them.
    pub rest: Rest,
    /// How many bytes the whole messages have.
    pub bytes: usize,
}

enum Stop {
    Early,
    Malformed(String),
}

type Read<T> = Result<T, Stop>;

/// How long a body is.
enum Length {
    Bytes(usize),
    Chunked,
    UntilClose,
}

impl Message {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Method and target of a request, and its body behind them if there is one: `POST /a body`.
    pub fn request(&self) -> String {
        let line = self.start.rsplit_once(' ').map_or(&*self.start, |(line, _)| line);
        format!("{line} {}", self.text()).trim_end().to_owned()
    }

    /// The status of an answer, 0 for a request.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Message {
    /// In one line, of a long body its beginning.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let beginning = &self.body[..self.body.len().min(80)];
        write!(
            f,
            "{:?} {:?} {} bytes \"{}\"",
            self.start,
            self.headers,
            self.body.len(),
            beginning.escape_ascii()
        )?;
        if self.trailers.is_empty() { Ok(()) } else { write!(f, " {:?}", self.trailers) }
    }
}

impl Conversation {
    /// Reads the requests of a connection.
    pub fn requests(bytes: &[u8]) -> Self {
        read(bytes, |head, _| {
            request_line(&head.start)?;
            if head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host")).count() != 1 {
                return malformed("not one Host");
            }
            Ok(length(head)?.unwrap_or(Length::Bytes(0)))
        })
    }

    /// Reads the answers of a connection that was closed behind them: to requests of these methods in turn,
    /// and to GET after these. Interim answers are left out.
    pub fn answers(bytes: &[u8], methods: &[&str]) -> Self {
        let mut read = read(bytes, |head, before| {
            let status = status_line(&head.start)?;
            let final_before = before.iter().filter(|message| !is_interim(message)).count();
            let head_only = methods.get(final_before) == Some(&"HEAD");
            let length = length(head)?.unwrap_or(Length::UntilClose);
            let bodyless = head_only || matches!(status, 100..200 | 204 | 304);
            Ok(if bodyless { Length::Bytes(0) } else { length })
        });
        read.messages.retain(|message| !is_interim(message));
        read
    }
}

fn is_interim(message: &Message) -> bool {
    matches!(message.status(), 100..200) && message.status() != 101
}

fn read(bytes: &[u8], length: impl Fn(&Message, &[Message]) -> Read<Length>) -> Conversation {
    let mut messages = Vec::new();
    let mut left = bytes;
    let mut whole = 0;
    let rest = loop {
        if left.is_empty() {
            break Rest::Nothing;
        }
        match message(&mut left, &messages, &length) {
            Ok(message) => messages.push(message),
            Err(Stop::Early) => break Rest::Begun,
            Err(Stop::Malformed(why)) => break Rest::Malformed(why),
        }
        whole = bytes.len() - left.len();
    };
    Conversation { messages, rest, bytes: whole }
}

fn message(
    left: &mut &[u8],
    before: &[Message],
    length: impl Fn(&Message, &[Message]) -> Read<Length>,
) -> Read<Message> {
    let mut message = Message { start: text(line(left)?)?, headers: fields(left)?, ..Message::default() };
    match length(&message, before)? {
        Length::Bytes(count) => message.body = take(left, count)?.to_vec(),
        Length::UntilClose => message.body = std::mem::take(left).to_vec(),
        Length::Chunked => loop {
            // We write no extensions and no zeros ahead.
            let size = text(line(left)?)?;
            let number = usize::from_str_radix(&size, 16).unwrap_or(usize::MAX);
            if number > 1 << 40 || format!("{number:x}") != size.to_ascii_lowercase() {
                return malformed(format!("{size:?} is no size of a chunk"));
            }
            if number == 0 {
                message.trailers = fields(left)?;
                let framing = ["content-length", "transfer-encoding", "host", "connection", "trailer"];
                if let Some(name) = framing.iter().find(|name| find(&message.trailers, name).is_some()) {
                    return malformed(format!("`{name}` behind the body"));
                }
                break;
            }
            message.body.extend_from_slice(take(left, number)?);
            if take(left, 2)? != b"\r\n" {
                return malformed("a chunk is longer than its size");
            }
        },
    }
    Ok(message)
}

/// The length that the fields tell, if they do; told once, by one field.
fn length(head: &Message) -> Read<Option<Length>> {
    let all = |wanted: &str| -> Vec<&str> {
        let named = head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        named.map(|(_, value)| value.as_str()).collect()
    };
    match (&all("transfer-encoding")[..], &all("content-length")[..]) {
        ([], []) => Ok(None),
        ([], [number]) if number.parse().is_ok_and(|n: usize| n.to_string() == *number) => {
            Ok(number.parse().ok().map(Length::Bytes))
        }
        ([coding], []) if *coding == "chunked" && head.start.contains("HTTP/1.1") => {
            Ok(Some(Length::Chunked))
        }
        (codings, numbers) => malformed(format!("lengths {numbers:?} and codings {codings:?}")),
    }
}

fn request_line(line: &str) -> Read<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let visible = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    match words[..] {
        [method, target, "HTTP/1.1"] if is_token(method) && target.starts_with('/') && visible(target) => {
            Ok(())
        }
        ["OPTIONS", "*", "HTTP/1.1"] => Ok(()),
        _ => malformed(format!("no request line: {line:?}")),
    }
}

fn status_line(line: &str) -> Read<u16> {
    let mut words = line.splitn(3, ' ');
    let version = words.next().is_some_and(|word| matches!(word, "HTTP/1.1" | "HTTP/1.0"));
    let code = words.next().filter(|code| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit()));
    match (code.and_then(|code| code.parse().ok()), words.next()) {
        (Some(code), Some(_)) if version => Ok(code),
        _ => malformed(format!("no status line: {line:?}")),
    }
}

fn fields(left: &mut &[u8]) -> Read<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = text(line(left)?)?;
        if line.is_empty() {
            return Ok(fields);
        }
        match line.split_once(':') {
            Some((name, value)) if is_token(name) => {
                fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
            }
            _ => return malformed(format!("no field: {line:?}")),
        }
    }
}

fn is_token(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(letter)
}

/// A line up to its CR LF.
fn line<'a>(left: &mut &'a [u8]) -> Read<&'a [u8]> {
    let Some(end) = left.iter().position(|byte| *byte == b'\n') else { return Err(Stop::Early) };
    let line = take(left, end + 1)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(line),
        None => malformed(format!("a bare line feed behind {:?}", String::from_utf8_lossy(line))),
    }
}

/// A line as text. Bytes beyond ASCII are nobody's delimiters.
fn text(line: &[u8]) -> Read<String> {
    if let Some(byte) = line.iter().find(|byte| byte.is_ascii_control() && **byte != b'\t') {
        return malformed(format!("the byte {byte:#04x} in {:?}", String::from_utf8_lossy(line)));
    }
    Ok(String::from_utf8_lossy(line).into_owned())
}

fn take<'a>(left: &mut &'a [u8], count: usize) -> Read<&'a [u8]> {
    let (taken, rest) = left.split_at_checked(count).ok_or(Stop::Early)?;
    *left = rest;
    Ok(taken)
}

fn malformed<T>(why: impl Into<String>) -> Read<T> {
    Err(Stop::Malformed(why.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &str, expected: &[&str], rest: Rest) {
        let read = Conversation::requests(bytes.as_bytes());
        let requests: Vec<_> = read.messages.iter().map(Message::request).collect();
        let same_kind = std::mem::discriminant(&read.rest) == std::mem::discriminant(&rest);
        assert!(requests == expected && same_kind, "{bytes:?} is {read:?}");
    }

    #[test]
    fn what_can_be_read_in_one_way_only_is_read() {
        let get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
        check(get, &["GET /a"], Rest::Nothing);
        check(&get.repeat(2), &["GET /a", "GET /a"], Rest::Nothing);
        check(&get[..20], &[], Rest::Begun);
        let post = "POST / HTTP/1.1\r\nHost: h\r\n";
        check(&format!("{post}Content-Length: 3\r\n\r\nabcGET"), &["POST / abc"], Rest::Begun);
        let chunks = format!("{post}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n");
        check(&format!("{chunks}X: y\r\n\r\n"), &["POST / abc0123456789"], Rest::Nothing);
        for bad in [
            "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\r\n X: folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
            "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
            &format!("{post}Content-Length: 03\r\n\r\nabc"),
            &format!("{post}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
            &format!("{post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            &format!("{post}Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"),
            &format!("{post}Transfer-Encoding: chunked\r\n\r\n3;a\r\nabc\r\n0\r\n\r\n"),
            &format!("{post}Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"),
            &format!("{chunks}Content-Length: 3\r\n\r\n"),
        ] {
            check(bad, &[], Rest::Malformed(String::new()));
        }
    }

    #[test]
    fn answers_are_read_for_what_was_asked() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\
            HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end";
        let read = Conversation::answers(bytes, &["HEAD", "GET"]);
        let told: Vec<_> = read.messages.iter().map(|answer| (answer.status(), answer.text())).collect();
        assert_eq!(
            told,
            [(200, String::new()), (204, String::new()), (200, "to the end".to_owned())],
            "{read:?}"
        );
        assert_eq!((read.rest, read.bytes), (Rest::Nothing, bytes.len()));
    }
}
