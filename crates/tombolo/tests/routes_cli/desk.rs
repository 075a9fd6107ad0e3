//! A folder of files, `tombolo routes` in it, and what came of that as one text: standard output, then standard
//! error behind `--`, then the exit code.

pub(crate) use expect_test::{Expect, expect};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Two routes that are good, and a comment.
pub(crate) const SHOP: &str = r#"// the shop
cart: Path("/cart/:id") && Method("GET")
  -> setRequestHeader("X-From", "gateway")
  -> "http://127.0.0.1:8080";

old: PathSubtree("/basket") -> redirectTo(301, "/cart") -> <shunt>;
"#;

/// A folder of files that goes with the test.
pub(crate) struct Desk(pub(crate) tempfile::TempDir);

impl Desk {
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            std::fs::write(desk.path(name), text).unwrap();
        }
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `tombolo routes` with these words (quotes hold a word together), in the folder.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tombolo"));
        command.arg("routes").args(words(line)).current_dir(self.0.path());
        command.env("NO_COLOR", "1").env_remove("CLICOLOR_FORCE").env_remove("COLUMNS");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, line: &str, stdin: &str) -> Child {
        let mut child = self.command(line).spawn().unwrap();
        let (mut pipe, text) = (child.stdin.take().unwrap(), stdin.to_owned());
        // Who reads nothing closes the pipe: that is no failure of a test.
        std::thread::spawn(move || pipe.write_all(text.as_bytes()));
        child
    }

    /// Standard output, standard error and the exit code.
    pub(crate) fn run(&self, line: &str, stdin: &str) -> String {
        let output = self.start(line, stdin).wait_with_output().unwrap();
        let mut text = String::from_utf8(output.stdout).unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        for (separator, more) in [("--\n", told), ("", format!("exit {}\n", output.status.code().unwrap()))] {
            if !more.is_empty() {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push_str(" (no newline)\n");
                }
                text.push_str(separator);
                text.push_str(&more);
            }
        }
        // What trails on a line is nothing to see.
        text.lines().map(str::trim_end).flat_map(|line| [line, "\n"]).collect()
    }
}

/// So many lines.
pub(crate) fn many(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// Runs a command in a folder with `shop.eskip`; the text goes to standard input.
pub(crate) fn check(line: &str, stdin: &str, expected: Expect) {
    expected.assert_eq(&Desk::with(&[("shop.eskip", SHOP)]).run(line, stdin));
}

/// What `check` says of a text.
pub(crate) fn mistake(text: &str, expected: Expect) {
    expected.assert_eq(&Desk::with(&[("a.eskip", text)]).run("check a.eskip", ""));
}
