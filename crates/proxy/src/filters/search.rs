//! Searching a body that comes in pieces as if it were whole: a match is told when no byte to come could
//! change it, and what can't be part of one is let go at once. Linear in the bytes that are held.
//!
//! How it is known that a place is decided: beside the expression stands an automaton that reads backwards
//! from the last byte and accepts wherever the rest could be the beginning of a longer match. What lies before
//! the first such place is decided. Assertions (`^`, `$`, `\b`) count as holding there, so that the answer errs
//! on the side of waiting. A match at such a place may still be final, because the expression prefers it to any
//! longer one (`a.*?b`); a second automaton, which reads forwards, knows that.

use crate::predicates::rewritten;
use regex_automata::hybrid::dfa::{self, DFA, OverlappingState};
use regex_automata::meta::Regex;
use regex_automata::nfa::thompson::{self, NFA, State, Transition};
use regex_automata::util::primitives::StateID;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

/// Most bytes of the compiled expression, and of its automaton.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Most bytes of the states that are remembered while searching (more if one state does not fit).
const STATES_BYTES_MAX: usize = 512 << 10;
/// Deepest nesting of groups.
const NEST_MAX: u32 = 128;
/// Bytes on either side that an assertion may look at: one character.
pub(super) const CONTEXT: usize = 4;

/// What is searched for.
pub(super) struct Search {
    expression: Regex,
    /// Accepts backwards, from an end, where a longer match could have begun.
    beginnings: DFA,
    /// Dies forwards, from a place, when no longer match is wanted there; `None` for an expression that asks
    /// what stands beside a place.
    finals: Option<DFA>,
}

/// What one search remembers.
pub(super) struct Memory {
    beginnings: dfa::Cache,
    finals: Option<dfa::Cache>,
}

impl Search {
    /// An expression in Go's dialect, for bytes.
    pub(super) fn expression(text: &str) -> Result<Self, String> {
        Self::compile(&rewritten(text)?, true)
            .map_err(|why| format!("`{text}` is no regular expression: {why}"))
    }

    /// Any of these.
    pub(super) fn literals(literals: &[Vec<u8>]) -> Result<Self, String> {
        let mut text = String::new();
        for literal in literals {
            text.push_str(if text.is_empty() { "" } else { "|" });
            for byte in literal {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        Self::compile(&text, false)
    }

    fn compile(text: &str, unicode: bool) -> Result<Self, String> {
        let syntax = syntax::Config::new().utf8(false).unicode(unicode).nest_limit(NEST_MAX);
        let expression = Regex::builder()
            .syntax(syntax)
            .configure(
                Regex::config()
                    .utf8_empty(false)
                    .nfa_size_limit(Some(COMPILED_BYTES_MAX))
                    .hybrid_cache_capacity(STATES_BYTES_MAX),
            )
            .build(text)
            .map_err(|error| reason(&error))?;
        let nfa = |reverse| {
            let config = thompson::Config::new()
                .utf8(false)
                .reverse(reverse)
                .which_captures(thompson::WhichCaptures::None)
                .nfa_size_limit(Some(COMPILED_BYTES_MAX));
            let mut compiler = thompson::Compiler::new();
            compiler.syntax(syntax).configure(config).build(text).map_err(|error| reason(&error))
        };
        let dfa = |kind, nfa| {
            let config = DFA::config()
                .match_kind(kind)
                .cache_capacity(STATES_BYTES_MAX)
                .skip_cache_capacity_check(true);
            DFA::builder().configure(config).build_from_nfa(nfa).map_err(|error| reason(&error))
        };
        let backwards = nfa(true)?;
        let begun = from_within(&backwards).map_err(|error| reason(&*error))?;
        let asserts = !backwards.look_set_any().is_empty();
        Ok(Self {
            expression,
            beginnings: dfa(MatchKind::All, begun)?,
            finals: if asserts { None } else { Some(dfa(MatchKind::LeftmostFirst, nfa(false)?)?) },
        })
    }

    /// An empty memory.
    pub(super) fn memory(&self) -> Memory {
        Memory {
            beginnings: self.beginnings.create_cache(),
            finals: self.finals.as_ref().map(DFA::create_cache),
        }
    }

    /// Tells all matches in `text[from..]` that are decided and not empty, in turn, and returns up to where
    /// the text is decided; behind it matches may begin when more comes. `text[..from]` is context, and
    /// `text` begins where the body does only if it is the beginning. With `whole` nothing more will come.
    pub(super) fn matches(
        &self,
        memory: &mut Memory,
        text: &[u8],
        from: usize,
        whole: bool,
        mut found: impl FnMut(Range<usize>),
    ) -> usize {
        let open = if whole { None } else { Some(self.open(memory, text, from)) };
        let mut at = from;
        loop {
            let undecided = open.as_ref().map_or(text.len(), |open| open.first(at));
            match self.next(text, at) {
                Some(match_)
                    if whole
                        || match_.start < undecided
                        || (match_.start == undecided && self.is_final(memory, text, undecided)) =>
                {
                    at = match_.end;
                    found(match_);
                }
                _ => return undecided.max(at),
            }
        }
    }

    /// Whether the match that begins here is wanted more than any that could grow out of it.
    fn is_final(&self, memory: &mut Memory, text: &[u8], start: usize) -> bool {
        let (Some(dfa), Some(cache)) = (&self.finals, &mut memory.finals) else { return false };
        let input = Input::new(text).range(start..).anchored(Anchored::Yes);
        let Ok(mut state) = dfa.start_state_forward(cache, &input) else { return false };
        text[start..].iter().any(|byte| match dfa.next_state(cache, state, *byte) {
            Ok(next) => {
                state = next;
                state.is_dead()
            }
            // It gave up; so it stays undecided.
            Err(_) => false,
        })
    }

    /// The next match that is not empty. An empty one says that nothing is wanted at its place.
    fn next(&self, text: &[u8], mut at: usize) -> Option<Range<usize>> {
        while at <= text.len() {
            let found = self.expression.search(&Input::new(text).range(at..))?;
            if !found.is_empty() {
                return Some(found.range());
            }
            at = found.end() + 1;
        }
        None
    }

    /// The places behind `from` where a match may begin that what is to come decides.
    fn open(&self, memory: &mut Memory, text: &[u8], from: usize) -> Open {
        // What an assertion at the very end will see has not come yet.
        let asserts = self.finals.is_none();
        let end = if asserts { text.len().saturating_sub(CONTEXT).max(from) } else { text.len() };
        let mut open = Open { end, words: Vec::new() };
        let input = Input::new(text).range(from..end).anchored(Anchored::Yes);
        let mut state = OverlappingState::start();
        loop {
            let cache = &mut memory.beginnings;
            if self.beginnings.try_search_overlapping_rev(cache, &input, &mut state).is_err() {
                // It gave up: nothing is known of any place.
                return Open { end: from, words: Vec::new() };
            }
            match state.get_match() {
                Some(place) => open.add(place.offset()),
                None => return open,
            }
        }
    }
}

/// Places before an end, as bits counted backwards from it; all places from the end on belong to them.
struct Open {
    end: usize,
    words: Vec<u64>,
}

impl Open {
    fn add(&mut self, place: usize) {
        let Some(back) = self.end.checked_sub(place + 1) else { return };
        if self.words.len() <= back / 64 {
            self.words.resize(back / 64 + 1, 0);
        }
        self.words[back / 64] |= 1 << (back % 64);
    }

    /// The first place at or behind `at`.
    fn first(&self, at: usize) -> usize {
        let Some(back) = self.end.checked_sub(at + 1) else { return self.end.max(at) };
        for (index, word) in self.words.iter().enumerate().take(back / 64 + 1).rev() {
            let word = if index == back / 64 { word & (u64::MAX >> (63 - back % 64)) } else { *word };
            if let Some(bit) = word.checked_ilog2() {
                return self.end - 1 - (index * 64 + bit as usize);
            }
        }
        self.end
    }
}

/// The automaton, but begun in any state that lies behind a byte, and with assertions that always hold.
fn from_within(nfa: &NFA) -> Result<NFA, Box<thompson::BuildError>> {
    let mut builder = thompson::Builder::new();
    builder.set_size_limit(Some(COMPILED_BYTES_MAX))?;
    builder.set_reverse(true);
    builder.start_pattern()?;
    // Added in their order, all states keep their numbers.
    for state in nfa.states() {
        match state {
            State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) => {
                builder.add_sparse(steps(state))?
            }
            State::Look { next, .. } | State::Capture { next, .. } => builder.add_union(vec![*next])?,
            State::Union { alternates } => builder.add_union(alternates.to_vec())?,
            State::BinaryUnion { alt1, alt2 } => builder.add_union(vec![*alt1, *alt2])?,
            State::Fail => builder.add_fail()?,
            State::Match { .. } => builder.add_match()?,
        };
    }
    let start = builder.add_union(behind_a_byte(nfa))?;
    builder.finish_pattern(start)?;
    Ok(builder.build(start, start)?)
}

/// What a state does with bytes.
fn steps(state: &State) -> Vec<Transition> {
    match state {
        State::ByteRange { trans } => vec![*trans],
        State::Sparse(sparse) => sparse.transitions.to_vec(),
        State::Dense(dense) => {
            let one = |byte| dense.matches_byte(byte).map(|next| Transition { start: byte, end: byte, next });
            (0..=u8::MAX).filter_map(one).collect()
        }
        _ => Vec::new(),
    }
}

/// The states that can be reached by a byte; not those of the loop that looks for a start.
fn behind_a_byte(nfa: &NFA) -> Vec<StateID> {
    let (mut behind, mut reached) = (BTreeSet::new(), BTreeSet::new());
    let mut left = vec![nfa.start_anchored()];
    while let Some(id) = left.pop() {
        if !reached.insert(id) {
            continue;
        }
        match nfa.state(id) {
            State::Look { next, .. } | State::Capture { next, .. } => left.push(*next),
            State::Union { alternates } => left.extend(alternates.iter()),
            State::BinaryUnion { alt1, alt2 } => left.extend([alt1, alt2]),
            state => {
                let next: Vec<StateID> = steps(state).iter().map(|step| step.next).collect();
                behind.extend(next.iter());
                left.extend(next);
            }
        }
    }
    behind.into_iter().collect()
}

/// Why an expression can't be compiled, in one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let text = deepest.to_string();
    // Of what shows the place in the expression the last line says why.
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Matches of the text in pieces: as a stage keeps what is not decided.
    fn in_pieces(search: &Search, text: &[u8], cuts: &[usize]) -> Vec<Range<usize>> {
        let mut memory = search.memory();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        ends.sort_unstable();
        ends.push(text.len());
        let (mut decided, mut all) = (0, Vec::new());
        for (index, end) in ends.iter().enumerate() {
            let context = decided.min(CONTEXT);
            let base = decided - context;
            let whole = index + 1 == ends.len();
            decided = base
                + search.matches(&mut memory, &text[base..*end], context, whole, |found| {
                    all.push(found.start + base..found.end + base);
                });
        }
        assert_eq!(decided, text.len());
        all
    }

    fn whole(search: &Search, text: &[u8]) -> Vec<Range<usize>> {
        in_pieces(search, text, &[])
    }

    #[track_caller]
    fn check_held(expression: &str, text: &str, decided: usize, matches: &[&str]) {
        let search = Search::expression(expression).unwrap();
        let mut found = Vec::new();
        let mut memory = search.memory();
        let end = search.matches(&mut memory, text.as_bytes(), 0, false, |range| found.push(&text[range]));
        assert_eq!((end, found.as_slice()), (decided, matches), "{expression} in {text}");
    }

    #[test]
    fn only_what_could_be_a_match_is_held() {
        check_held("foo", "nothing like it", 15, &[]);
        check_held("foo", "a fo", 2, &[]);
        check_held("foo", "a foo", 5, &["foo"]);
        check_held("[0-9]+", "a 12 b 34", 7, &["12"]);
        check_held("<a[^>]*>", "<b><a href=", 3, &[]);
        check_held(".*", "x", 0, &[]);
        check_held("ab|abcd", "abc", 0, &[]);
        check_held("ab|abcd", "abx", 3, &["ab"]);
        check_held("<a.*?>", "<a><b> <a", 7, &["<a>"]);
        // Assertions hold one character more.
        check_held("foo$", "a foo", 1, &[]);
        check_held("\\bfoo\\b", "a foo bar bar", 9, &["foo"]);
        check_held("(?m)^a", "b\na bcdefgh", 7, &["a"]);
    }

    #[test]
    fn what_is_no_expression_is_refused_with_the_reason() {
        let refused = |text: &str| Search::expression(text).err().unwrap();
        assert_eq!(refused("a("), "`a(` is no regular expression: unclosed group");
        let large = refused("(?:\\pL{1000}){1000}");
        assert!(large.contains("exceeded limit of 1048576"), "{large}");
    }

    #[test]
    fn bytes_that_are_no_text_are_found() {
        let search = Search::literals(&[vec![0, 10], vec![0xff]]).unwrap();
        assert_eq!(whole(&search, b"a\x00\x0a\xffb"), [1..3, 3..4]);
        assert_eq!(in_pieces(&search, b"a\x00\x0a\xffb", &[2]), [1..3, 3..4]);
    }

    #[test]
    fn an_empty_match_is_none() {
        let search = Search::expression("[0-9]*").unwrap();
        assert_eq!(whole(&search, b"a12b0"), [1..3, 4..5]);
        assert_eq!(in_pieces(&search, b"a12b0", &[2]), [1..3, 4..5]);
    }

    const EXPRESSIONS: &[&str] = &[
        "a",
        "ab",
        "aab",
        "a+b",
        "a*",
        "(?:ab)+",
        "a.*b",
        "a.*?b",
        "ab|abc|b",
        "a|ab|abc",
        "[ab]{2,4}c",
        "^a",
        "a$",
        "^ab|c$",
        "\\bab",
        "ab\\b",
        "\\Bb\\B",
        "(?m)^b",
        "(?m)b$",
        "(?s)a.b",
        "b?a?c",
        "|a",
        "a||b",
        "\u{e4}+",
        "[^a]\u{e4}",
        "\u{e4}\\b",
        ".",
        "(?i)A.C",
        "a(?:b(?:c(?:a|$)|a)|$)",
        "aXb|a[abc]*",
        "\\x{e4}|\\n",
    ];

    proptest! {
        #[test]
        fn any_pieces_give_what_the_whole_gives(
            which in 0..EXPRESSIONS.len(),
            letters in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "X", " ", "\n", "\u{e4}"]), 0..40),
            cuts in prop::collection::vec(0usize..200, 0..12),
        ) {
            let search = Search::expression(EXPRESSIONS[which]).unwrap();
            let text = letters.concat();
            prop_assert_eq!(
                in_pieces(&search, text.as_bytes(), &cuts),
                whole(&search, text.as_bytes()),
                "{} in {:?}", EXPRESSIONS[which], text
            );
        }

        #[test]
        fn the_whole_gives_what_the_crate_regex_gives(
            which in 0..EXPRESSIONS.len(),
            letters in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "X", " ", "\n"]), 0..40),
        ) {
            let text = letters.concat();
            let theirs = regex::Regex::new(&rewritten(EXPRESSIONS[which]).unwrap()).unwrap();
            let theirs: Vec<_> = theirs.find_iter(&text).map(|found| found.range()).collect();
            // They tell empty matches as well, and the same others unless one hides behind an empty one.
            if theirs.iter().all(|range| !range.is_empty()) {
                let search = Search::expression(EXPRESSIONS[which]).unwrap();
                prop_assert_eq!(whole(&search, text.as_bytes()), theirs);
            }
        }
    }
}
