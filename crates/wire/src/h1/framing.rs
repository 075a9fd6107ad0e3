//! What the fields of a head say of how its message is read: how long the body is, and whether the connection goes
//! on. What a field means is found out once; lines that come again are remembered with it.

use super::head::{Refusal, bad};
use http::Version;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TE, TRANSFER_ENCODING};

/// What one field says of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing.
    None,
    /// The body has so many bytes.
    Length(u64),
    /// The codings of the body; what they come to depends on those of the fields before.
    Codings,
    /// Options of the connection.
    Options { close: bool, keep_alive: bool, upgrade: bool },
    /// Whoever asks wants to see trailers (RFC 9110 section 6.5.1).
    WantsTrailers,
}

/// What the fields of a head say together.
#[derive(Debug, Default)]
pub(super) struct Framing {
    pub(super) length: Option<u64>,
    pub(super) transfer: Option<Transfer>,
    close: bool,
    keep_alive: bool,
    pub(super) upgrade: bool,
    pub(super) wants_trailers: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Transfer {
    Chunked,
    /// Something, and then in chunks.
    Unknown,
    /// Not in chunks at last.
    Endless,
}

impl Meaning {
    pub(super) fn of(name: &HeaderName, value: &HeaderValue) -> Result<Self, Refusal> {
        let names = |option: &[u8]| list(value).any(|token| token.eq_ignore_ascii_case(option));
        Ok(if *name == CONTENT_LENGTH {
            Meaning::Length(number(value.as_bytes()).ok_or(bad("the length of the body is no number"))?)
        } else if *name == TRANSFER_ENCODING {
            Meaning::Codings
        } else if *name == CONNECTION {
            let (close, keep_alive) = (names(b"close"), names(b"keep-alive"));
            Meaning::Options { close, keep_alive, upgrade: names(b"upgrade") }
        } else if *name == TE && names(b"trailers") {
            Meaning::WantsTrailers
        } else {
            Meaning::None
        })
    }
}

impl Framing {
    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }

    /// Notes one more field; whether it goes on. The same length twice is passed on once (RFC 9112 section 6.3).
    #[inline]
    pub(super) fn note(&mut self, meaning: Meaning, value: &HeaderValue) -> Result<bool, Refusal> {
        if meaning == Meaning::None { Ok(true) } else { self.change(meaning, value) }
    }

    fn change(&mut self, meaning: Meaning, value: &HeaderValue) -> Result<bool, Refusal> {
        match meaning {
            Meaning::None => {}
            Meaning::Length(length) => match self.length.replace(length) {
                Some(before) if before != length => return Err(bad("the body has two lengths")),
                Some(_) => return Ok(false),
                None => {}
            },
            Meaning::Codings => {
                for coding in list(value) {
                    let chunked = coding.eq_ignore_ascii_case(b"chunked");
                    self.transfer = Some(match self.transfer {
                        None if chunked => Transfer::Chunked,
                        Some(Transfer::Endless) if chunked => Transfer::Unknown,
                        // Something, or in chunks and then something.
                        _ => Transfer::Endless,
                    });
                }
            }
            Meaning::Options { close, keep_alive, upgrade } => {
                self.close |= close;
                self.keep_alive |= keep_alive;
                self.upgrade |= upgrade;
            }
            Meaning::WantsTrailers => self.wants_trailers = true,
        }
        Ok(true)
    }
}

/// The members of a list (RFC 9110 section 5.6.1).
fn list(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Digits and nothing else: no sign, no list, no space within.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
