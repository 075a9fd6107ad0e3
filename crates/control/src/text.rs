//! From the bytes a process writes to lines that can be shown beside others: split with a bound, cleaned
//! of what would disturb the terminal.

/// Longest line in bytes; the rest goes on in the next line.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 10;

/// Splits a stream of bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes in the next bytes and gives every line that is complete, cleaned, to `line`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(String)) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.begun.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(room.min(bytes.len()));
            self.begun.extend_from_slice(&bytes[..taken]);
            if end.is_some() {
                bytes = &bytes[taken + 1..];
                line(clean(&self.begun));
                self.begun.clear();
            } else {
                bytes = &bytes[taken..];
                if self.begun.len() == LINE_BYTES_MAX {
                    let whole = whole_characters(&self.begun);
                    line(clean(&self.begun[..whole]));
                    self.begun.drain(..whole);
                }
            }
        }
    }

    /// What stood last without a line end.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.begun);
        (!rest.is_empty()).then(|| clean(&rest))
    }
}

/// How many bytes can be cut off without cutting a UTF-8 character in two.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    for at in (tail..bytes.len()).rev() {
        let length = match bytes[at] {
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf8 => 4,
            0x80..0xc0 => continue,
            _ => 1,
        };
        return if at + length > bytes.len() { at } else { bytes.len() };
    }
    bytes.len()
}

/// A line as it may be shown: colours and styles (ECMA-48 SGR) stay; everything else that moves the cursor,
/// clears the screen, sets titles or rings goes, for the terminal is shared with others. What a lone
/// carriage return overwrites is left out, as a terminal would.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\r');
    let text = text.rsplit('\r').next().unwrap_or_default();
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\u{1b}' {
            let (sequence, style) = escape(rest);
            if style {
                cleaned.push_str(&rest[..sequence]);
            }
            rest = &rest[sequence..];
            continue;
        }
        if c == '\t' || !c.is_control() {
            cleaned.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    cleaned
}

/// The length of the escape sequence `text` begins with, and whether it only sets a style.
fn escape(text: &str) -> (usize, bool) {
    let bytes = text.as_bytes();
    match bytes.get(1) {
        // CSI: parameters and intermediates, then one final byte.
        Some(b'[') => {
            let end = bytes[2..].iter().position(|byte| !(0x20..0x40).contains(byte));
            match end.map(|at| at + 2) {
                Some(at) if (0x40..0x7f).contains(&bytes[at]) => {
                    let plain = bytes[2..at].iter().all(|b| b.is_ascii_digit() || matches!(b, b';' | b':'));
                    (at + 1, bytes[at] == b'm' && plain)
                }
                Some(at) => (at, false),
                None => (bytes.len(), false),
            }
        }
        // OSC, DCS, SOS, PM, APC: a string up to BEL or ST.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let end = bytes[2..].iter().position(|byte| matches!(byte, 0x07 | 0x1b)).map(|at| at + 2);
            match end {
                Some(at) if bytes[at] == 0x1b && bytes.get(at + 1) == Some(&b'\\') => (at + 2, false),
                Some(at) if bytes[at] == 0x1b => (at, false),
                Some(at) => (at + 1, false),
                None => (bytes.len(), false),
            }
        }
        // Intermediates and a final byte, such as the choice of a character set.
        Some(0x20..0x7f) => {
            let end = bytes[1..].iter().position(|byte| !(0x20..0x30).contains(byte)).map(|at| at + 1);
            match end {
                Some(at) if (0x30..0x7f).contains(&bytes[at]) => (at + 1, false),
                Some(at) => (at, false),
                None => (bytes.len(), false),
            }
        }
        _ => (1, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    #[expect(clippy::needless_pass_by_value, reason = "a call reads as a sentence")]
    #[track_caller]
    fn check(pieces: &[&[u8]], expected: Expect) {
        let mut lines = Lines::default();
        let mut told = Vec::new();
        for piece in pieces {
            lines.feed(piece, |line| told.push(line));
        }
        told.extend(lines.finish());
        expected.assert_eq(&format!("{told:?}"));
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        check(&[b"one\ntw", b"o\r\n\nthr", b"ee"], expect![[r#"["one", "two", "", "three"]"#]]);
    }

    #[test]
    fn colours_stay_and_tricks_go() {
        check(
            &[b"\x1b[1;31mred\x1b[0m\x1b[2J\x1b[H\x1b[?25l \x1b]0;title\x07\x1b]52;c;aGk=\x1b\\\x07bell\x08\x00\ttab\x1b(B\x1bc\n"],
            expect![[r#"["\u{1b}[1;31mred\u{1b}[0m bell\ttab"]"#]],
        );
        check(&[b"\x1b[31\n\x1b]0;never ends\n\x1b\n\xc2\x9b31mC1\n"], expect![[r#"["", "", "", "31mC1"]"#]]);
    }

    #[test]
    fn a_progress_bar_shows_its_last_state() {
        check(&[b"10%\r50%\r100%\r\n"], expect![[r#"["100%"]"#]]);
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        check(&[b"a\xff\xfeb\n"], expect![[r#"["a��b"]"#]]);
    }

    #[test]
    fn an_endless_line_is_cut_between_characters() {
        let mut lines = Lines::default();
        let mut told = Vec::new();
        let text = "x".to_owned() + &"\u{20ac}".repeat(LINE_BYTES_MAX);
        lines.feed(text.as_bytes(), |line| told.push(line));
        told.extend(lines.finish());
        assert_eq!(told.len(), 4);
        assert!(told.iter().all(|line| line.len() <= LINE_BYTES_MAX));
        assert_eq!(told.concat(), text);
    }

    proptest! {
        #[test]
        fn nothing_that_disturbs_gets_through(pieces in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![Just(0x1b), Just(b'['), Just(b'm'), any::<u8>()], 0..40), 0..20,
        )) {
            let mut lines = Lines::default();
            let mut told = Vec::new();
            for piece in &pieces {
                lines.feed(piece, |line| told.push(line));
            }
            told.extend(lines.finish());
            for line in told {
                for (at, _) in line.match_indices('\u{1b}') {
                    prop_assert!(escape(&line[at..]).1, "{line:?}");
                }
                let disturbs = line.chars().any(|c| c.is_control() && c != '\t' && c != '\u{1b}');
                prop_assert!(!disturbs, "{line:?}");
            }
        }
    }
}
