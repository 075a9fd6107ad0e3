//! Filters that look for content in a request's body, or put content round a response's.

use super::search::{Memory, Search};
use super::{Built, Example, Filter, FilterSpec, Step, plain};
use crate::args::Args;
use crate::body::{Source, Stage, change_request, change_response, longer, may_have_body};
use crate::exchange::Exchange;
use base::{Fault, Kind};
use bytes::Bytes;
use http_body::SizeHint;
use std::sync::Arc;
use wire::Response;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "blockContent",
        args: "text[, text, ...]",
        docs: "Answers 400 when one of these texts is in the request's body, wherever the body is cut into pieces. \
               The body is searched as it streams by; of a text that is found, not a byte goes on, so there is no \
               bound to set (Skipper's `-max-matcher-buffer-size`).",
        example: Example {
            filters: r#"blockContent("DROP TABLE")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| block(args, "blockContent", |text| Ok(text.as_bytes().to_vec())),
    },
    FilterSpec {
        name: "blockContentHex",
        args: "hex[, hex, ...]",
        docs: "Like `blockContent`, for bytes that are written in hexadecimal digits.",
        example: Example {
            filters: r#"blockContentHex("deadbeef", "000a")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| block(args, "blockContentHex", from_hex),
    },
    FilterSpec {
        name: "wrapContent",
        args: "prefix, suffix",
        docs: "Puts one text before the response's body and one behind it.",
        example: Example {
            filters: r#"wrapContent("<b>", "</b>")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\n<b>hello</b>",
        },
        build: |args, _| wrap(args, |text| Ok(text.as_bytes().to_vec())),
    },
    FilterSpec {
        name: "wrapContentHex",
        args: "prefix, suffix",
        docs: "Like `wrapContent`, for bytes that are written in hexadecimal digits.",
        example: Example {
            filters: r#"wrapContentHex("5b", "5d")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\n[hello]",
        },
        build: |args, _| wrap(args, from_hex),
    },
];

/// Reads an argument into bytes.
type Read = fn(&str) -> Result<Vec<u8>, String>;

/// Bytes of hexadecimal digits.
pub(super) fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{text}` is no hexadecimal text: write two digits for each byte");
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong());
    (0..text.len()).step_by(2).map(pair).collect()
}

fn block(args: &mut Args<'_>, name: &'static str, read: Read) -> Result<Built, String> {
    let mut blocked = Vec::with_capacity(args.left());
    while args.left() > 0 || blocked.is_empty() {
        let bytes = read(args.text("content")?).map_err(|why| args.refuse("content", &why))?;
        if bytes.is_empty() {
            return Err(args.refuse("content", "it is empty"));
        }
        blocked.push(bytes);
    }
    let search =
        Search::literals(&blocked).map_err(|why| format!("that is too much to search for: {why}"))?;
    Ok(plain(Block { name, search: Arc::new(search) }))
}

struct Block {
    name: &'static str,
    search: Arc<Search>,
}

impl Filter for Block {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if !exchange.body.is_empty() {
            let memory = self.search.memory();
            let guard = Guard { name: self.name, search: self.search.clone(), memory, held: Vec::new() };
            change_request(exchange, guard);
        }
        Step::Next
    }
}

/// Lets a body pass until it holds what is blocked.
struct Guard {
    name: &'static str,
    search: Arc<Search>,
    memory: Memory,
    /// What may become blocked content.
    held: Vec<u8>,
}

impl Stage for Guard {
    fn take(&mut self, data: Bytes) -> Result<(), Fault> {
        self.held.extend_from_slice(&data);
        Ok(())
    }

    fn give(&mut self, source: Source) -> Result<Option<Bytes>, Fault> {
        let mut blocked = false;
        let whole = source == Source::Ended;
        let clear = self.search.matches(&mut self.memory, &self.held, 0, whole, |_| blocked = true);
        if blocked {
            let message = format!("filter `{}` found blocked content in the body", self.name);
            return Err(Fault::new(Kind::Invalid, message));
        }
        let rest = self.held.split_off(clear);
        let passing = std::mem::replace(&mut self.held, rest);
        Ok((!passing.is_empty()).then(|| passing.into()))
    }

    fn length(&self, incoming: SizeHint) -> SizeHint {
        longer(&incoming, self.held.len() as u64)
    }
}

fn wrap(args: &mut Args<'_>, read: Read) -> Result<Built, String> {
    let prefix = read(args.text("prefix")?).map_err(|why| args.refuse("prefix", &why))?;
    let suffix = read(args.text("suffix")?).map_err(|why| args.refuse("suffix", &why))?;
    Ok(plain(Wrap { prefix: prefix.into(), suffix: suffix.into() }))
}

struct Wrap {
    prefix: Bytes,
    suffix: Bytes,
}

impl Filter for Wrap {
    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        if may_have_body(exchange, response) {
            let (prefix, suffix) = (self.prefix.clone(), self.suffix.clone());
            change_response(response, Wrapped { prefix, passing: Bytes::new(), suffix });
        } else {
            // What it says is no longer true of the body that GET would have.
            response.headers_mut().remove(http::header::CONTENT_LENGTH);
        }
        Step::Next
    }
}

/// A body between two texts.
struct Wrapped {
    prefix: Bytes,
    passing: Bytes,
    suffix: Bytes,
}

impl Stage for Wrapped {
    fn take(&mut self, data: Bytes) -> Result<(), Fault> {
        self.passing = data;
        Ok(())
    }

    fn give(&mut self, source: Source) -> Result<Option<Bytes>, Fault> {
        let mut parts = [Some(&mut self.prefix), Some(&mut self.passing), None];
        if source == Source::Ended {
            parts[2] = Some(&mut self.suffix);
        }
        let next = parts.into_iter().flatten().find(|part| !part.is_empty());
        Ok(next.map(std::mem::take))
    }

    fn length(&self, incoming: SizeHint) -> SizeHint {
        longer(&incoming, (self.prefix.len() + self.passing.len() + self.suffix.len()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::map_body;
    use crate::body::tests::{drained, pieces};

    async fn guarded(blocked: &[&str], words: &[&str]) -> Result<Vec<Bytes>, Fault> {
        let blocked: Vec<Vec<u8>> = blocked.iter().map(|text| text.as_bytes().to_vec()).collect();
        let search = Arc::new(Search::literals(&blocked).unwrap());
        let guard = Guard { name: "blockContent", memory: search.memory(), search, held: Vec::new() };
        let words = words.iter().map(|word| word.as_bytes().to_vec());
        drained(map_body(pieces(words, true), guard)).await.map(|(data, _)| data)
    }

    #[tokio::test]
    async fn content_is_found_across_pieces_and_what_could_be_it_waits() {
        let passed = guarded(&["foo", "x\ny"], &["a fo", "b", "x\n", "xo"]).await.unwrap();
        assert_eq!(passed, ["a ", "fob", "x\nxo"]);
        assert_eq!(guarded(&["foo"], &["no f"]).await.unwrap(), ["no ", "f"]);
        for words in [&["a f", "o", "o b"][..], &["foo"], &["ffoo"], &["fofo", "foo"]] {
            let fault = guarded(&["bar", "foo"], words).await.unwrap_err();
            assert_eq!(fault.to_string(), "filter `blockContent` found blocked content in the body");
        }
    }

    #[tokio::test]
    async fn a_wrapped_body_knows_its_length() {
        let stage = || Wrapped { prefix: "<".into(), passing: Bytes::new(), suffix: ">".into() };
        let body = map_body("abc".into(), stage());
        assert_eq!(body.exact_len(), Some(5));
        assert_eq!(body.collect(9).await.unwrap(), "<abc>");
        let empty = map_body(wire::Body::empty(), stage());
        assert_eq!(empty.exact_len(), Some(2));
        assert_eq!(empty.collect(9).await.unwrap(), "<>");
    }

    #[test]
    fn hexadecimal_digits_come_in_pairs() {
        assert_eq!(from_hex("00fF").unwrap(), [0, 255]);
        for wrong in ["0", "0g", "+1", "\u{e4}"] {
            assert!(from_hex(wrong).is_err(), "{wrong}");
        }
    }
}
