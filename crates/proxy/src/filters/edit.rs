//! Filters that replace text in bodies as they stream by (Skipper's `sed` family). What is a match is told by
//! `search`; this file holds back what is not decided yet, up to a bound.

use super::search::{CONTEXT, Memory, Search};
use super::{Built, Example, Filter, FilterSpec, On, Step, plain};
use crate::args::Args;
use crate::body::{Source, Stage, change_request, change_response};
use crate::exchange::Exchange;
use base::{Fault, Kind};
use bytes::Bytes;
use std::sync::Arc;
use wire::Response;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "sed",
        args: "expression, replacement[, maxBuffer[, handling]]",
        docs: "Replaces all matches in the response's body, as it streams by. The replacement is taken as it is; \
               empty matches count as none. What may become part of a match is held back, `maxBuffer` bytes at \
               most (2 MiB unless given; 0 is 2 MiB too). Past that, with `best-effort` (the default) what is \
               held is edited as if it were the end, so that a long match may come out as several; with `abort` \
               the answer breaks off. The result does not depend on how the body is cut into pieces: `^` is the \
               beginning of the body and `$` its end, where Skipper takes those of whatever it holds.",
        example: Example {
            filters: r#"sed("[aeiou]", "-")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nh-ll-",
        },
        build: |args, _| sed(args, "sed", On::Response, false),
    },
    FilterSpec {
        name: "sedDelim",
        args: "expression, replacement, delimiter[, maxBuffer[, handling]]",
        docs: "Like `sed`, but piece by piece: the delimiter ends a piece and belongs to it, and no match reaches \
               over its end. `^` and `$` are those of a piece.",
        example: Example {
            filters: r#"sedDelim("^l", "L", "l")"#,
            request: "GET /",
            saw: "GET /",
            got: "200\nhelLo",
        },
        build: |args, _| sed(args, "sedDelim", On::Response, true),
    },
    FilterSpec {
        name: "sedRequest",
        args: "expression, replacement[, maxBuffer[, handling]]",
        docs: "Like `sed`, for the request's body. With `abort`, 413 is answered.",
        example: Example {
            filters: r#"sedRequest("secret", "******")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| sed(args, "sedRequest", On::Request, false),
    },
    FilterSpec {
        name: "sedRequestDelim",
        args: "expression, replacement, delimiter[, maxBuffer[, handling]]",
        docs: "Like `sedDelim`, for the request's body.",
        example: Example {
            filters: r#"sedRequestDelim("secret", "******", "\n")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, _| sed(args, "sedRequestDelim", On::Request, true),
    },
];

/// Bytes that are held back when a route does not say (Skipper's default).
const HELD_DEFAULT: u64 = 2 << 20;
/// The most a route may say.
const HELD_MAX: u64 = 1 << 30;
/// Up to so many held bytes are looked at whenever more come; beyond, only when an eighth has come anew, so
/// that the work stays proportional to the body.
const LOOKED_AT_ALWAYS: usize = 4096;

fn sed(args: &mut Args<'_>, name: &'static str, on: On, delimited: bool) -> Result<Built, String> {
    let text = args.text("expression")?;
    let search = Search::expression(text).map_err(|why| args.refuse("expression", &why))?;
    let replacement = args.text("replacement")?.as_bytes().to_vec();
    let delimiter =
        if delimited { Some(args.text("delimiter")?).filter(|text| !text.is_empty()) } else { None };
    let delimiter = delimiter.map(|text| Search::literals(&[text.as_bytes().to_vec()])).transpose();
    let delimiter = delimiter.map_err(|why| args.refuse("delimiter", &why))?;
    let most = args.optional(|args| args.whole("max buffer", 0))?.filter(|most| *most > 0);
    let most = most.unwrap_or(HELD_DEFAULT);
    if most > HELD_MAX {
        return Err(args.refuse("max buffer", &format!("{most} is more than {HELD_MAX}")));
    }
    let abort = match args.optional(|args| args.text("handling"))? {
        None | Some("best-effort") => false,
        Some("abort") => true,
        Some(other) => {
            return Err(args.refuse("handling", &format!("`{other}` is neither `abort` nor `best-effort`")));
        }
    };
    let rules = Rules { name, search, replacement, delimiter, most: most as usize, abort };
    Ok(plain(Sed { on, rules: Arc::new(rules) }))
}

struct Sed {
    on: On,
    rules: Arc<Rules>,
}

impl Filter for Sed {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.on == On::Request && !exchange.body.is_empty() {
            change_request(exchange, Editor::new(&self.rules));
        }
        Step::Next
    }

    fn response(&self, _: &mut Exchange, response: &mut Response) -> Step {
        if self.on == On::Response && !response.body().is_empty() {
            change_response(response, Editor::new(&self.rules));
        }
        Step::Next
    }
}

struct Rules {
    name: &'static str,
    search: Search,
    replacement: Vec<u8>,
    delimiter: Option<Search>,
    most: usize,
    abort: bool,
}

impl Rules {
    /// Appends what becomes of `text[from..]` as far as it is decided, and returns how far that is.
    fn edit(&self, memory: &mut Memory, text: &[u8], from: usize, whole: bool, out: &mut Vec<u8>) -> usize {
        let mut copied = from;
        let decided = self.search.matches(memory, text, from, whole, |found| {
            out.extend_from_slice(&text[copied..found.start]);
            out.extend_from_slice(&self.replacement);
            copied = found.end;
        });
        out.extend_from_slice(&text[copied..decided]);
        decided
    }
}

/// One body under edit.
struct Editor {
    rules: Arc<Rules>,
    memory: Memory,
    delimiters: Option<Memory>,
    /// Bytes that have passed and are kept as context, then those that are held back.
    held: Vec<u8>,
    passed: usize,
    /// Up to where the held bytes have been looked at, or searched for delimiters.
    seen: usize,
    out: Vec<u8>,
}

impl Editor {
    fn new(rules: &Arc<Rules>) -> Self {
        Self {
            memory: rules.search.memory(),
            delimiters: rules.delimiter.as_ref().map(Search::memory),
            rules: rules.clone(),
            held: Vec::new(),
            passed: 0,
            seen: 0,
            out: Vec::new(),
        }
    }

    /// Whether it is worth looking at what is held.
    fn is_due(&self, source: Source) -> bool {
        if source == Source::Ended {
            return self.held.len() > self.passed;
        }
        let fresh = self.held.len() - self.seen.min(self.held.len());
        fresh > 0
            && (self.held.len() <= LOOKED_AT_ALWAYS
                || fresh >= self.held.len() / 8
                || self.held.len() - self.passed > self.rules.most)
    }

    /// Edits what is held, and returns up to where.
    fn edit(&mut self, whole: bool) -> usize {
        let rules = &self.rules;
        let (Some(delimiter), Some(memory)) = (&rules.delimiter, &mut self.delimiters) else {
            let decided = rules.edit(&mut self.memory, &self.held, self.passed, whole, &mut self.out);
            self.seen = self.held.len();
            return decided;
        };
        let mut begin = self.passed;
        self.seen = delimiter.matches(memory, &self.held, self.seen.max(begin), whole, |found| {
            rules.edit(&mut self.memory, &self.held[begin..found.end], 0, true, &mut self.out);
            begin = found.end;
        });
        if whole {
            rules.edit(&mut self.memory, &self.held[begin..], 0, true, &mut self.out);
            begin = self.held.len();
        }
        begin
    }

    /// Edits what is held as if the body ended here, from there on.
    fn edit_rest(&mut self, from: usize) {
        if self.rules.delimiter.is_some() {
            self.rules.edit(&mut self.memory, &self.held[from..], 0, true, &mut self.out);
        } else {
            self.rules.edit(&mut self.memory, &self.held, from, true, &mut self.out);
        }
    }
}

impl Stage for Editor {
    fn take(&mut self, data: Bytes) -> Result<(), Fault> {
        self.held.extend_from_slice(&data);
        Ok(())
    }

    fn give(&mut self, source: Source) -> Result<Option<Bytes>, Fault> {
        if !self.is_due(source) {
            return Ok(None);
        }
        let mut decided = self.edit(source == Source::Ended);
        if self.held.len() - decided > self.rules.most {
            if self.rules.abort {
                let Rules { name, most, .. } = &*self.rules;
                let message = format!("filter `{name}` would have to hold back more than {most} bytes");
                return Err(Fault::new(Kind::TooMuch, message));
            }
            self.edit_rest(decided);
            decided = self.held.len();
        }
        let gone = if self.rules.delimiter.is_some() { decided } else { decided.saturating_sub(CONTEXT) };
        self.held.drain(..gone);
        self.passed = decided - gone;
        self.seen = self.seen.max(decided) - gone;
        Ok((!self.out.is_empty()).then(|| std::mem::take(&mut self.out).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::map_body;
    use crate::body::tests::{drained, pieces};
    use eskip::Arg;
    use proptest::prelude::*;

    fn editor(args: &[Arg]) -> Editor {
        let delimited = matches!(args.get(2), Some(Arg::Text(_)));
        let text = |arg: &Arg| match arg {
            Arg::Text(text) => text.clone(),
            Arg::Number(_) => unreachable!("texts come first"),
        };
        let rules = Rules {
            name: "sed",
            search: Search::expression(&text(&args[0])).unwrap(),
            replacement: text(&args[1]).into_bytes(),
            delimiter: delimited.then(|| Search::literals(&[text(&args[2]).into_bytes()]).unwrap()),
            most: match args.last() {
                Some(Arg::Number(most)) => *most as usize,
                _ => 1000,
            },
            abort: false,
        };
        Editor::new(&Arc::new(rules))
    }

    fn edited(editor: Editor, text: Vec<Vec<u8>>, rests: bool) -> Result<Vec<Vec<u8>>, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (data, trailers) = runtime.block_on(drained(map_body(pieces(text, rests), editor)))?;
        assert!(trailers);
        Ok(data.into_iter().map(Vec::from).collect())
    }

    fn words(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn nothing_is_held_back_without_need() {
        let args = ["foo", "bar"].map(|text| Arg::Text(text.to_owned()));
        let out = edited(editor(&args), words(&["a fo", "o b", "f", "g"]), true).unwrap();
        assert_eq!(out, words(&["a ", "bar b", "fg"]));
        let args = ["o", "0", "\n"].map(|text| Arg::Text(text.to_owned()));
        let out = edited(editor(&args), words(&["fo", "o\nb", "oo", "\no"]), true).unwrap();
        assert_eq!(out, words(&["f00\n", "b00\n", "0"]));
    }

    #[test]
    fn past_the_bound_what_is_held_is_edited_or_the_body_fails() {
        let args = [Arg::Text("x+".to_owned()), Arg::Text("y".to_owned()), Arg::Number(10.0)];
        let stream = || vec![b"xxxx".to_vec(); 8];
        // 12, 12 and 8 bytes are held, each more than the bound or the end.
        assert_eq!(edited(editor(&args), stream(), true).unwrap().concat(), b"yyy");
        let mut aborting = editor(&args);
        Arc::get_mut(&mut aborting.rules).unwrap().abort = true;
        let fault = edited(aborting, stream(), true).unwrap_err();
        assert_eq!(fault.to_string(), "filter `sed` would have to hold back more than 10 bytes");
        let args = ["x", "y", "\n"].map(|text| Arg::Text(text.to_owned()));
        let mut lines = editor(&args);
        Arc::get_mut(&mut lines.rules).unwrap().most = 10;
        assert_eq!(edited(lines, stream(), true).unwrap().concat(), b"y".repeat(32));
    }

    #[test]
    fn a_long_held_match_costs_no_more_than_its_length() {
        let args = [Arg::Text("<.*>".to_owned()), Arg::Text("t".to_owned()), Arg::Number(1e6)];
        let mut stream = vec![b"<".to_vec()];
        stream.extend(vec![b"a".to_vec(); 40_000]);
        stream.push(b">".to_vec());
        // Were all that is held looked at for each byte, this would take minutes.
        assert_eq!(edited(editor(&args), stream, false).unwrap().concat(), b"t");
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_body(
            which in 0usize..4,
            text in "[ab\n]{0,60}",
            cuts in prop::collection::vec(0usize..60, 0..8),
            rests in any::<bool>(),
        ) {
            let args: Vec<Arg> = [&["ab+", "x"][..], &["a|ab", ""], &["^a|b$", "xx"], &["a.*b", "y", "\n"]][which]
                .iter()
                .map(|text| Arg::Text((*text).to_owned()))
                .collect();
            let whole = edited(editor(&args), vec![text.clone().into_bytes()], false).unwrap().concat();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
            ends.sort_unstable();
            ends.push(text.len());
            let mut begin = 0;
            let stream = ends.iter().map(|end| text.as_bytes()[std::mem::replace(&mut begin, *end)..*end].to_vec());
            prop_assert_eq!(edited(editor(&args), stream.collect(), rests).unwrap().concat(), whole);
        }
    }
}
