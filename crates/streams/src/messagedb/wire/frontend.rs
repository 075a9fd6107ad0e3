//! What clients send.

use crate::messagedb::error::{Sql, SqlError};
use crate::messagedb::value::utf8;

/// Bytes of a startup or password message; PostgreSQL's bound.
pub(crate) const STARTUP_BYTES_MAX: usize = 10_000;

/// The first message of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Startup<'a> {
    /// `SSLRequest` and `GSSENCRequest`: answered with no.
    Encrypt,
    Cancel {
        pid: i32,
        secret: i32,
    },
    Begin {
        minor: u16,
        parameters: Vec<(&'a str, &'a str)>,
    },
}

/// A message of a client that was let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Query(&'a str),
    Parse {
        name: &'a str,
        sql: &'a str,
        types: Vec<u32>,
    },
    Bind(Bind<'a>),
    Describe {
        portal: bool,
        name: &'a str,
    },
    Execute {
        portal: &'a str,
        rows_max: usize,
    },
    Close {
        portal: bool,
        name: &'a str,
    },
    Flush,
    Sync,
    /// `COPY`'s messages outside of one are passed over.
    Copy,
    Terminate,
}

/// `Bind`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bind<'a> {
    pub(crate) portal: &'a str,
    pub(crate) statement: &'a str,
    /// Whether parameters are in binary form: none said, one for all, or one each.
    pub(crate) formats: Vec<bool>,
    pub(crate) params: Vec<Option<&'a [u8]>>,
    /// The same of the columns of the answer.
    pub(crate) columns: Vec<bool>,
}

/// How many bytes from the beginning of what was received are the next message, if it is all there. `typed` is
/// false for the first message of a connection, which has no type.
pub(crate) fn length(received: &[u8], typed: bool, bytes_max: usize) -> Sql<Option<usize>> {
    let kind = usize::from(typed);
    let Some(&[a, b, c, d]) = received.get(kind..kind + 4) else { return Ok(None) };
    let length = usize::try_from(i32::from_be_bytes([a, b, c, d])).ok().filter(|length| *length >= 4);
    let length = length.ok_or_else(|| fatal("invalid message length"))? + kind;
    if length > bytes_max {
        let text = format!("a message of {length} bytes is longer than {bytes_max}, the most that goes here");
        return Err(SqlError::fatal("54000", text));
    }
    Ok((received.len() >= length).then_some(length))
}

/// Reads the first message, from its length on.
pub(crate) fn startup(bytes: &[u8]) -> Sql<Startup<'_>> {
    let mut reader = Reader(bytes.get(4..).unwrap_or_default());
    let code = reader.int()?;
    match code {
        // 1234.5678 to 1234.5680 are no versions.
        80_877_103 | 80_877_104 => Ok(Startup::Encrypt),
        80_877_102 => Ok(Startup::Cancel { pid: reader.int()?, secret: reader.int()? }),
        _ if code >> 16 == 3 => {
            let mut parameters = Vec::new();
            loop {
                match reader.text()? {
                    "" => break,
                    name => parameters.push((name, reader.text()?)),
                }
            }
            reader.end()?;
            Ok(Startup::Begin { minor: (code & 0xffff) as u16, parameters })
        }
        _ => {
            let (major, minor) = (code >> 16, code & 0xffff);
            let text = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
            Err(SqlError::fatal("0A000", text))
        }
    }
}

/// Reads a message, from its type on.
pub(crate) fn message(bytes: &[u8]) -> Sql<Message<'_>> {
    let kind = bytes.first().copied().unwrap_or_default();
    let mut reader = Reader(bytes.get(5..).unwrap_or_default());
    let message = match kind {
        b'Q' => Message::Query(reader.text()?),
        b'P' => {
            let (name, sql) = (reader.text()?, reader.text()?);
            let count = reader.count(4)?;
            let types = (0..count).map(|_| reader.int().map(|oid| oid as u32)).collect::<Sql<_>>()?;
            Message::Parse { name, sql, types }
        }
        b'B' => Message::Bind(bind(&mut reader)?),
        b'D' => Message::Describe { portal: reader.is_portal()?, name: reader.text()? },
        b'E' => {
            let portal = reader.text()?;
            Message::Execute { portal, rows_max: usize::try_from(reader.int()?).unwrap_or(0) }
        }
        b'C' => Message::Close { portal: reader.is_portal()?, name: reader.text()? },
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'X' => Message::Terminate,
        b'd' | b'c' | b'f' => return Ok(Message::Copy),
        _ => return Err(fatal(&format!("invalid frontend message type {kind}"))),
    };
    reader.end()?;
    Ok(message)
}

fn bind<'a>(reader: &mut Reader<'a>) -> Sql<Bind<'a>> {
    let (portal, statement) = (reader.text()?, reader.text()?);
    let formats = reader.formats()?;
    let count = reader.count(4)?;
    let mut params = Vec::with_capacity(count);
    for _ in 0..count {
        params.push(match usize::try_from(reader.int()?) {
            Ok(length) => Some(reader.take(length)?),
            Err(_) => None,
        });
    }
    if formats.len() > 1 && formats.len() != params.len() {
        let text = format!("bind message has {} parameter formats but {count} parameters", formats.len());
        return Err(SqlError::new("08P01", text));
    }
    Ok(Bind { portal, statement, formats, params, columns: reader.formats()? })
}

/// The password of a `PasswordMessage` and the body of SASL's messages: bytes behind the length.
pub(crate) fn password(bytes: &[u8]) -> Sql<&[u8]> {
    match bytes {
        [b'p', _, _, _, _, body @ ..] => Ok(body),
        _ => Err(fatal("expected a password response")),
    }
}

/// SASL's first message: the mechanism and what the client says.
pub(crate) fn sasl_begin(body: &[u8]) -> Sql<(&str, &[u8])> {
    let mut reader = Reader(body);
    let mechanism = reader.text()?;
    let length = usize::try_from(reader.int()?).unwrap_or(0);
    let said = reader.take(length)?;
    reader.end()?;
    Ok((mechanism, said))
}

fn fatal(text: &str) -> Box<SqlError> {
    SqlError::fatal("08P01", text)
}

fn short() -> Box<SqlError> {
    SqlError::new("08P01", "insufficient data left in message")
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Sql<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn int(&mut self) -> Sql<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().map_err(|_| short())?))
    }

    fn small(&mut self) -> Sql<u16> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into().map_err(|_| short())?))
    }

    /// How many parts of at least so many bytes follow.
    fn count(&mut self, bytes: usize) -> Sql<usize> {
        let count = usize::from(self.small()?);
        if count * bytes > self.0.len() { Err(short()) } else { Ok(count) }
    }

    fn text(&mut self) -> Sql<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| SqlError::new("08P01", "invalid string in message"))?;
        let text = utf8(&self.0[..end])?;
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    fn formats(&mut self) -> Sql<Vec<bool>> {
        let count = self.count(2)?;
        let mut formats = Vec::with_capacity(count);
        for _ in 0..count {
            formats.push(match self.small()? {
                0 => false,
                1 => true,
                other => return Err(SqlError::new("22023", format!("unsupported format code: {other}"))),
            });
        }
        Ok(formats)
    }

    fn is_portal(&mut self) -> Sql<bool> {
        match self.take(1)? {
            b"P" => Ok(true),
            b"S" => Ok(false),
            other => Err(SqlError::new("08P01", format!("invalid message subtype {}", other[0]))),
        }
    }

    fn end(&self) -> Sql<()> {
        if self.0.is_empty() { Ok(()) } else { Err(SqlError::new("08P01", "invalid message format")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend((body.len() as i32 + 4).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn error(bytes: &[u8]) -> String {
        message(bytes).unwrap_err().message
    }

    #[test]
    fn messages_are_read() {
        assert_eq!(message(&framed(b'Q', b"SELECT 1\0")).unwrap(), Message::Query("SELECT 1"));
        let parse = framed(b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x14");
        assert_eq!(message(&parse).unwrap(), Message::Parse { name: "s", sql: "SELECT $1", types: vec![20] });
        let bytes = framed(b'B', b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0");
        let bind = Bind {
            portal: "",
            statement: "s",
            formats: vec![true],
            params: vec![Some(b"x"), None],
            columns: vec![],
        };
        assert_eq!(message(&bytes).unwrap(), Message::Bind(bind));
    }

    #[test]
    fn what_is_cut_or_too_long_is_refused() {
        assert_eq!(error(&framed(b'Q', b"SELECT 1")), "invalid string in message");
        assert_eq!(error(&framed(b'Q', b"SELECT 1\0x")), "invalid message format");
        assert_eq!(error(&framed(b'P', b"\0\0\xff\xff")), "insufficient data left in message");
        assert_eq!(
            error(&framed(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0")),
            "insufficient data left in message"
        );
        assert_eq!(
            error(&framed(b'B', b"\0\0\0\x02\0\0\0\x01\0\x01\0\0\0\0\0\0")),
            "bind message has 2 parameter formats but 1 parameters"
        );
        assert_eq!(error(&framed(b'!', b"")), "invalid frontend message type 33");
        assert_eq!(length(b"Q\0\0\0\x03", true, 10).unwrap_err().message, "invalid message length");
        assert_eq!(length(b"Q\xff\xff\xff\xff", true, 10).unwrap_err().message, "invalid message length");
        assert_eq!(length(b"Q\0\0\0\x0a", true, 10).unwrap_err().code, "54000");
        assert_eq!(length(b"Q\0\0\0\x09", true, 10).unwrap(), None);
        assert_eq!(length(b"Q\0\0\0\x04H", true, 10).unwrap(), Some(5));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(kind in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let bytes = framed(kind, &body);
            let _ = message(&bytes);
            let _ = startup(&bytes);
            let _ = message(&body);
            let _ = password(&bytes).and_then(|body| sasl_begin(body).map(|_| ()));
            let _ = length(&body, true, 100);
        }

        #[test]
        fn any_bind_is_read_or_refused(body in proptest::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..40)) {
            let _ = message(&framed(b'B', &body));
            let _ = message(&framed(b'P', &body));
        }
    }
}
