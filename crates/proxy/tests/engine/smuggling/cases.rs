//! The form of the files of cases beside this one.

/// A message and what may come of it.
#[derive(Clone, Default)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// What follows after a while.
    pub(crate) later: Vec<u8>,
    /// What may be seen, in turn.
    pub(crate) readings: Vec<&'static str>,
    /// What a reader that forgives may see instead.
    pub(crate) lenient: Vec<&'static str>,
    /// Marks, such as `close`: readings of one word that are no message.
    pub(crate) marks: Vec<&'static str>,
}

impl Case {
    pub(crate) fn is(&self, mark: &str) -> bool {
        self.marks.contains(&mark)
    }
}

/// The cases of a file. `marks` are the words behind `=` that are no readings.
pub(crate) fn cases(text: &'static str, marks: &[&str]) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            cases.push(Case { name, ..Case::default() });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(reading) = line.strip_prefix("= ") {
            let list = if marks.contains(&reading) { &mut case.marks } else { &mut case.readings };
            list.push(reading.trim_end());
        } else if let Some(reading) = line.strip_prefix("~ ") {
            case.lenient.push(reading);
        } else if let Some(line) = line.strip_prefix('|') {
            case.bytes.extend(bytes(line.strip_prefix(' ').unwrap_or(line)));
        } else if let Some(line) = line.strip_prefix('+') {
            case.later.extend(bytes(line.strip_prefix(' ').unwrap_or(line)));
        } else {
            assert!(line.is_empty(), "{line:?} is no part of a case");
        }
    }
    cases
}

/// The bytes of a line, its end included.
fn bytes(line: &str) -> Vec<u8> {
    let (line, end) = line.strip_suffix('\\').map_or((line, "\r\n"), |line| (line, ""));
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find('{') {
        let (repeated, behind) = rest[at + 1..].split_once('}').expect("a brace is closed");
        let (part, times) = repeated.rsplit_once('*').expect("how many times");
        bytes.extend(unescaped(&rest[..at]));
        bytes.extend(unescaped(part).repeat(times.parse().expect("a number of times")));
        rest = behind;
    }
    bytes.extend(unescaped(rest));
    bytes.extend(end.bytes());
    bytes
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut letters = text.bytes();
    while let Some(letter) = letters.next() {
        bytes.push(match letter {
            b'\\' => match letters.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'v') => 0x0b,
                Some(b'f') => 0x0c,
                Some(b'0') => 0,
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let digits = [letters.next().unwrap_or_default(), letters.next().unwrap_or_default()];
                    let digits = std::str::from_utf8(&digits).expect("two digits");
                    u8::from_str_radix(digits, 16).expect("two digits")
                }
                other => panic!("no escape: {other:?} in {text:?}"),
            },
            letter => letter,
        });
    }
    bytes
}
