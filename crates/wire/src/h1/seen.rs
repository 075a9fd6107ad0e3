//! Fields as this core has seen them before. The same spelling of a name gives the same name without reading it
//! letter by letter; a whole line that came twice gives the same field, without anything of it being read or held
//! in the head's memory. What nobody has sent before costs one place of another's.

use super::framing::Meaning;
use super::head::{Refusal, Text, bad};
use crate::secrets::is_secret;
use bytes::Bytes;
use http::header::{AGE, DATE, EXPIRES, HeaderName, HeaderValue};
use std::cell::RefCell;

/// Lines remembered by each core.
const LINES: usize = 512;

/// Words of eight letters in a line that is remembered, the last of them not full.
const WORDS: usize = 8;

/// A line that came so often is kept for good: its field is then passed on without being counted.
const OFTEN: u32 = 1000;

/// Bytes of fields that each core keeps for good, at most. They are never given back.
const FOR_GOOD: usize = 32 << 10;

/// Fields that come often for a while and then never again.
const PASSING: [HeaderName; 3] = [AGE, DATE, EXPIRES];

/// Spellings remembered by each core.
const PLACES: usize = 256;

/// Longer ones are not remembered.
const LETTERS: usize = 39;

struct Seen {
    length: u8,
    spelling: [u8; LETTERS],
    name: HeaderName,
}

/// A line as it came, with what finds it again.
pub(super) struct Line<'a> {
    /// With the CR and without the line feed.
    letters: &'a [u8],
    /// Those behind the last full word.
    last: u64,
    hash: u64,
}

/// A line that was read before, and its field.
pub(super) struct Known {
    length: usize,
    words: [u64; WORDS],
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    pub(super) meaning: Meaning,
    /// How often it came, up to [`OFTEN`].
    times: u32,
}

/// Where a line may be remembered, and the hash of the last one that came and was not: the second time it is.
#[derive(Default)]
struct Place {
    known: Option<Box<Known>>,
    waiting: u64,
}

/// The lines that a core remembers.
pub(super) struct Lines {
    places: Box<[Place]>,
    /// Bytes that may still be kept for good.
    left: usize,
}

thread_local! {
    static LINES_SEEN: RefCell<Lines> = RefCell::new(Lines {
        places: (0..LINES).map(|_| Place::default()).collect(),
        left: FOR_GOOD,
    });
    static SEEN: RefCell<Box<[Option<Seen>]>> = RefCell::new((0..PLACES).map(|_| None).collect());
}

/// Lets `look` have the lines that this core remembers.
pub(super) fn with<T>(look: impl FnOnce(&mut Lines) -> T) -> T {
    LINES_SEEN.with_borrow_mut(look)
}

impl<'a> Line<'a> {
    /// The first of these lines and what follows it; `None` if its end is not CR LF. The end is looked for and the
    /// letters are hashed on one way, eight at a time.
    pub(super) fn first(lines: &'a [u8]) -> Option<(Self, &'a [u8])> {
        const EACH: u64 = u64::from_le_bytes([1; 8]);
        let mut hash = 0;
        let mut at = 0;
        let (eights, rest) = lines.as_chunks();
        for eight in eights {
            let word = u64::from_le_bytes(*eight);
            // The lowest bit that is left belongs to the first line feed.
            let others = word ^ (EACH * u64::from(b'\n'));
            let feeds = others.wrapping_sub(EACH) & !others & (EACH << 7);
            if feeds != 0 {
                let letters = feeds.trailing_zeros() / 8;
                let last = word & !(u64::MAX << (letters * 8));
                return Self::ending(lines, at + letters as usize, last, hash);
            }
            hash = add(hash, word);
            at += 8;
        }
        let letters = rest.iter().position(|letter| *letter == b'\n')?;
        let mut last = [0; 8];
        last[..letters].copy_from_slice(&rest[..letters]);
        Self::ending(lines, at + letters, u64::from_le_bytes(last), hash)
    }

    fn ending(lines: &'a [u8], feed: usize, last: u64, hash: u64) -> Option<(Self, &'a [u8])> {
        let letters = &lines[..feed];
        letters.ends_with(b"\r").then(|| (Self { letters, last, hash: add(hash, last) }, &lines[feed + 1..]))
    }

    /// Without its end.
    pub(super) fn text(&self) -> &'a [u8] {
        &self.letters[..self.letters.len() - 1]
    }

    fn words(&self) -> impl Iterator<Item = u64> {
        let (eights, _) = self.letters.as_chunks();
        eights.iter().map(|eight| u64::from_le_bytes(*eight)).chain([self.last])
    }

    /// Tells lines apart well enough to find their places; whoever makes many that share one only loses the place.
    fn place(&self) -> usize {
        (self.hash >> 32) as usize % LINES
    }
}

fn add(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Lines {
    /// The field of this line, if it was read before.
    pub(super) fn find(&mut self, line: &Line<'_>) -> Option<&Known> {
        let known = self.places[line.place()].known.as_deref_mut()?;
        if !known.is(line) {
            return None;
        }
        if known.times < OFTEN {
            known.times += 1;
            if known.times == OFTEN {
                known.keep(&mut self.left);
            }
        }
        Some(known)
    }

    /// Remembers the field of a line that has come for the second time.
    #[cold]
    pub(super) fn remember(
        &mut self,
        line: &Line<'_>,
        name: &HeaderName,
        value: &HeaderValue,
        meaning: Meaning,
    ) {
        let length = line.letters.len();
        if length >= WORDS * 8 {
            return;
        }
        let place = &mut self.places[line.place()];
        if place.waiting != line.hash {
            place.waiting = line.hash;
        } else if !is_secret(name)
            // The head's memory is not held for it.
            && let Ok(value) = HeaderValue::from_bytes(value.as_bytes())
        {
            let mut words = [0; WORDS];
            words.iter_mut().zip(line.words()).for_each(|(place, word)| *place = word);
            place.known =
                Some(Box::new(Known { length, words, name: name.clone(), value, meaning, times: 0 }));
        }
    }
}

impl Known {
    fn is(&self, line: &Line<'_>) -> bool {
        let (eights, _) = line.letters.as_chunks();
        self.length == line.letters.len()
            && self.words.get(eights.len()) == Some(&line.last)
            && eights.iter().zip(&self.words).all(|(eight, word)| u64::from_le_bytes(*eight) == *word)
    }

    /// Keeps name and value for good, if so many bytes are left.
    #[cold]
    fn keep(&mut self, left: &mut usize) {
        let Some(rest) = left.checked_sub(self.length) else { return };
        if PASSING.contains(&self.name) {
            return;
        }
        *left = rest;
        let value: &'static [u8] = Box::leak(self.value.as_bytes().into());
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from_static(value)) {
            self.name = HeaderName::from_static(Box::leak(self.name.as_str().into()));
            self.value = value;
        }
    }
}

/// Reads a line that was not seen before and lies in `all`.
pub(super) fn read(line: &[u8], all: &Text<'_>) -> Result<(HeaderName, HeaderValue), Refusal> {
    // Names are short: looking at each letter is faster than preparing for long ones.
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let name = name(&line[..colon])?;
    let value = line.get(colon + 1..).ok_or(bad("a field has no colon"))?;
    let value = HeaderValue::from_maybe_shared(all.keep(trimmed(value)))
        .map_err(|_| bad("the value of a field has forbidden letters"))?;
    Ok((name, value))
}

/// Without the spaces and tabs around it, which mean nothing (RFC 9110 section 5.5).
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The name of this spelling.
fn name(spelling: &[u8]) -> Result<HeaderName, Refusal> {
    let read =
        || HeaderName::from_bytes(spelling).map_err(|_| bad("the name of a field has forbidden letters"));
    if spelling.len() > LETTERS || spelling.is_empty() {
        return read();
    }
    SEEN.with_borrow_mut(|seen| {
        let place = &mut seen[place(spelling)];
        if let Some(seen) = place
            && seen.spelling[..usize::from(seen.length)] == *spelling
        {
            return Ok(seen.name.clone());
        }
        let name = read()?;
        let mut letters = [0; LETTERS];
        letters[..spelling.len()].copy_from_slice(spelling);
        *place = Some(Seen { length: spelling.len() as u8, spelling: letters, name: name.clone() });
        Ok(name)
    })
}

/// Where a spelling is remembered: by its length and three of its letters, which tell common names apart.
fn place(spelling: &[u8]) -> usize {
    let last = spelling.len() - 1;
    let letter = |at: usize| usize::from(spelling[at]);
    (spelling.len() * 61 + letter(0) * 7 + letter(last / 2) * 31 + letter(last) * 3) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_they_would_be_without_being_remembered() {
        // Ever more spellings than places, twice.
        for round in 0..2 {
            for number in 0..PLACES * 2 {
                for spelling in [format!("X-{number}"), format!("x-{number}-{}", "y".repeat(number % 60))] {
                    let name = name(spelling.as_bytes()).unwrap();
                    assert_eq!(name.as_str(), spelling.to_lowercase(), "round {round}");
                }
            }
            for (spelling, expected) in [("HOST", http::header::HOST), ("eTag", http::header::ETAG)] {
                assert_eq!(name(spelling.as_bytes()).unwrap(), expected);
            }
            for wrong in ["", "a b", "a\u{e4}", "a:"] {
                assert!(name(wrong.as_bytes()).is_err(), "{wrong:?}");
            }
        }
    }

    /// The field of a line as heads are read, and whether it was remembered.
    fn field(line: &str) -> Result<(HeaderName, HeaderValue, Meaning, bool), Refusal> {
        let lines = format!("{line}\r\nHost: x\r\n");
        let (line, rest) = Line::first(lines.as_bytes()).expect("its end is CR LF");
        assert_eq!(rest, b"Host: x\r\n");
        with(|seen| {
            if let Some(known) = seen.find(&line) {
                return Ok((known.name.clone(), known.value.clone(), known.meaning, true));
            }
            let (name, value) = read(line.text(), &Text::new(lines.as_bytes()))?;
            let meaning = Meaning::of(&name, &value)?;
            seen.remember(&line, &name, &value, meaning);
            Ok((name, value, meaning, false))
        })
    }

    #[test]
    fn a_line_means_the_same_each_time_it_comes() {
        let mut lines = vec!["Cookie: a=b".into(), "x:".into(), "X-Y: \t z z\t ".into()];
        // Of each length around those of words, and longer than what is remembered.
        lines.extend((1..100).map(|length| format!("A: {}", "b".repeat(length))));
        // More than there are places, and such that are no fields.
        lines.extend((0..LINES * 2).map(|number| format!("X-Number: {number}")));
        lines.extend(["no colon", "bad name: x", "A: b\u{7f}", ": x", "", " folded"].map(str::to_owned));
        lines.extend(["Content-Length: 7", "Content-Length: x", "Connection: a, close"].map(str::to_owned));
        let mut found = 0;
        for round in 0..4 {
            for line in &lines {
                let read = read(line.as_bytes(), &Text::new(line.as_bytes()));
                let read = read.and_then(|(name, value)| {
                    let meaning = Meaning::of(&name, &value)?;
                    Ok((name, value, meaning))
                });
                let came = field(line).map(|(name, value, meaning, known)| {
                    found += usize::from(known);
                    (name, value, meaning)
                });
                assert_eq!(came, read, "round {round}: {line:?}");
            }
        }
        assert!(found > 100, "{found} of {}", lines.len() * 4);
    }

    #[test]
    fn lines_are_kept_for_good_within_a_bound() {
        let left = || with(|seen| seen.left);
        let often = |line: &str| (0..OFTEN + 2).for_each(|_| drop(field(line).unwrap()));
        often("Date: Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(left(), FOR_GOOD, "it passes");
        let lines: Vec<_> =
            (0..).map(|number| format!("X-Often: {number:040}")).take(FOR_GOOD / 50).collect();
        for line in &lines {
            often(line);
            let (name, value, _, known) = field(line).unwrap();
            assert!(known && name == "x-often" && line.ends_with(value.to_str().unwrap()));
        }
        assert!(left() < 50 && lines.len() > LINES);
        often("X-Often: one more");
        assert_eq!(field("X-Often: one more").unwrap().1, "one more");
    }

    #[test]
    fn a_line_ends_with_both_of_its_letters() {
        for length in 0..30 {
            let line = "a".repeat(length);
            for end in ["\n", "", "\r", "\rb\n"] {
                assert!(Line::first(format!("{line}{end}").as_bytes()).is_none(), "{length} {end:?}");
            }
            let lines = format!("{line}\r\n\nb\n\n\n\n\n\n\n");
            let (first, rest) = Line::first(lines.as_bytes()).unwrap();
            assert_eq!((first.text(), rest), (line.as_bytes(), &b"\nb\n\n\n\n\n\n\n"[..]));
        }
    }

    #[test]
    fn a_line_is_remembered_when_it_comes_again_unless_it_says_who_somebody_is() {
        let known = |line: &str| field(line).unwrap().3;
        for line in ["Server: x", "Connection: close", "Accept: text/html, application/json"] {
            assert_eq!([known(line), known(line), known(line)], [false, false, true], "{line}");
        }
        for secret in ["Authorization: Basic eDp5", "cookie: session=1", "Set-Cookie: a=b", "X-API-Key: 7"] {
            assert_eq!([known(secret), known(secret), known(secret)], [false; 3], "{secret}");
        }
    }

    #[test]
    fn common_names_do_not_share_a_place() {
        let common = [
            "Host",
            "User-Agent",
            "Accept",
            "Accept-Encoding",
            "Accept-Language",
            "Connection",
            "Content-Length",
            "Content-Type",
            "Cookie",
            "Authorization",
            "X-Forwarded-For",
            "Date",
            "Server",
            "ETag",
            "Last-Modified",
            "Cache-Control",
            "Transfer-Encoding",
            "Accept-Ranges",
            "Vary",
            "traceparent",
        ];
        let places: std::collections::HashSet<_> = common.iter().map(|name| place(name.as_bytes())).collect();
        assert!(places.len() >= common.len() - 1, "{} of {}", places.len(), common.len());
    }
}
