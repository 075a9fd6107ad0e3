//! Fields as this core has seen them before. The same spelling of a name gives the same name without reading it
//! letter by letter; a whole line that came twice gives the same field, without anything of it being read or held
//! in the head's memory. What nobody has sent before costs one place of another's.

use super::head::{Refusal, bad};
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, PROXY_AUTHORIZATION, SET_COOKIE};
use std::cell::RefCell;

/// Lines remembered by each core.
const LINES: usize = 512;

/// Longer lines are not remembered.
const LINE: usize = 64;

/// Fields that say who somebody is: they are not kept for longer than their request.
const SECRET: [HeaderName; 4] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, SET_COOKIE];

/// Spellings remembered by each core.
const PLACES: usize = 256;

/// Longer ones are not remembered.
const LETTERS: usize = 39;

struct Seen {
    length: u8,
    spelling: [u8; LETTERS],
    name: HeaderName,
}

/// A line and its field.
struct Line {
    length: u8,
    text: [u8; LINE],
    name: HeaderName,
    value: HeaderValue,
}

/// Where a line may be remembered, and the hash of the last one that came and was not: the second time it is.
#[derive(Default)]
struct Place {
    line: Option<Line>,
    waiting: u32,
}

thread_local! {
    static LINES_SEEN: RefCell<Box<[Place]>> = RefCell::new((0..LINES).map(|_| Place::default()).collect());
    static SEEN: RefCell<Box<[Option<Seen>]>> = RefCell::new((0..PLACES).map(|_| None).collect());
}

/// The field of a line that lies in `all`, without the line's end.
pub(super) fn field(line: &[u8], all: &Bytes) -> Result<(HeaderName, HeaderValue), Refusal> {
    if line.len() > LINE {
        return read(line, all);
    }
    LINES_SEEN.with_borrow_mut(|places| {
        let hash = hash(line);
        let place = &mut places[hash as usize % LINES];
        if let Some(seen) = &place.line
            && seen.text[..usize::from(seen.length)] == *line
        {
            return Ok((seen.name.clone(), seen.value.clone()));
        }
        let (name, value) = read(line, all)?;
        if place.waiting != hash {
            place.waiting = hash;
        } else if !SECRET.contains(&name)
            && let Ok(own) = HeaderValue::from_bytes(value.as_bytes())
        {
            let mut text = [0; LINE];
            text[..line.len()].copy_from_slice(line);
            place.line = Some(Line { length: line.len() as u8, text, name: name.clone(), value: own });
        }
        Ok((name, value))
    })
}

/// Reads a line that was not seen before.
fn read(line: &[u8], all: &Bytes) -> Result<(HeaderName, HeaderValue), Refusal> {
    // Names are short: looking at each letter is faster than preparing for long ones.
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let name = name(&line[..colon])?;
    let value = line.get(colon + 1..).ok_or(bad("a field has no colon"))?;
    let value = HeaderValue::from_maybe_shared(all.slice_ref(trimmed(value)))
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

/// Tells lines apart well enough to find their places; whoever makes many that share one only loses the place.
fn hash(line: &[u8]) -> u32 {
    let mut hash = line.len() as u64;
    let mut add = |bytes: [u8; 8]| {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    };
    let (eights, rest) = line.as_chunks();
    eights.iter().copied().for_each(&mut add);
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    add(last);
    (hash >> 32) as u32
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

    #[test]
    fn a_line_means_the_same_each_time_it_comes() {
        let mut lines =
            vec!["A".repeat(LINE) + ": b", "Cookie: a=b".into(), "x:".into(), "X-Y: \t z z\t ".into()];
        // More than there are places, and such that are no fields.
        lines.extend((0..LINES * 2).map(|number| format!("X-Number: {number}")));
        lines.extend(["no colon", "bad name: x", "A: b\u{7f}", ": x", "", " folded"].map(str::to_owned));
        for round in 0..4 {
            for line in &lines {
                let all = Bytes::copy_from_slice(line.as_bytes());
                assert_eq!(field(&all, &all), read(&all, &all), "round {round}: {line:?}");
            }
        }
    }

    #[test]
    fn a_line_is_remembered_when_it_comes_again_unless_it_says_who_somebody_is() {
        let remembered = |line: &str| {
            let all = Bytes::copy_from_slice(line.as_bytes());
            field(&all, &all).unwrap();
            LINES_SEEN.with_borrow(|places| {
                let place = &places[hash(line.as_bytes()) as usize % LINES];
                place.line.as_ref().is_some_and(|seen| seen.text.starts_with(line.as_bytes()))
            })
        };
        assert_eq!([remembered("Server: x"), remembered("Server: x")], [false, true]);
        for secret in ["Authorization: Basic eDp5", "cookie: session=1", "Set-Cookie: a=b"] {
            assert_eq!([remembered(secret), remembered(secret)], [false, false], "{secret}");
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
