//! Names of fields as this core has seen them before: the same spelling gives the same name without reading it
//! letter by letter, and without an allocation for one that no standard knows. A spelling that nobody has used
//! costs one place of another's.

use super::head::{Refusal, bad};
use http::HeaderName;
use std::cell::RefCell;

/// Spellings remembered by each core.
const PLACES: usize = 256;

/// Longer ones are not remembered.
const LETTERS: usize = 39;

struct Seen {
    length: u8,
    spelling: [u8; LETTERS],
    name: HeaderName,
}

thread_local! {
    static SEEN: RefCell<Box<[Option<Seen>]>> = RefCell::new((0..PLACES).map(|_| None).collect());
}

/// The name of this spelling.
pub(super) fn name(spelling: &[u8]) -> Result<HeaderName, Refusal> {
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
