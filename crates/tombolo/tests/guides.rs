//! The examples of the guides are true: files they show are written, commands they show are run, and what is
//! printed is what they say.
//!
//! A fenced block whose first line is a comment with a file's name (`// shop.eskip`, `# tombolo.yaml`) is that
//! file. In a `console` block lines that begin with `$ ` are commands; what follows is their output.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Pages beside the guides whose commands are run here too; the shop's need a shop that runs, so `peers` has them.
const READMES: [&str; 1] = ["README.md"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The fenced blocks of a page: the word behind the fence, and the text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some((kind.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

/// The file a block is, by its first line.
fn file_name(text: &str) -> Option<&str> {
    let first = text.lines().next()?;
    let name = first.strip_prefix("// ").or_else(|| first.strip_prefix("# "))?.trim();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    (plain && name.contains('.')).then_some(name)
}

/// Runs a page's commands in a folder of their own; what differs from the page.
fn run(page: &Path) -> (usize, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_tombolo")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let (mut ran, mut wrong) = (0, Vec::new());
    for (kind, text) in blocks(&std::fs::read_to_string(page).unwrap()) {
        if let Some(name) = file_name(&text) {
            std::fs::write(folder.path().join(name), &text).unwrap();
        }
        if kind != "console" {
            continue;
        }
        // Only where a line begins: `$ ` may stand in an output.
        for command in format!("\n{text}").split("\n$ ").skip(1) {
            let (line, expected) = command.split_once('\n').unwrap_or((command, ""));
            let output = Command::new("sh")
                .args(["-c", &format!("{{ {line}\n}} 2>&1")])
                .current_dir(folder.path())
                .env("PATH", &path)
                .env("NO_COLOR", "1")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let got = String::from_utf8_lossy(&output.stdout);
            let tidy = |text: &str| text.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            ran += 1;
            if tidy(&got) != tidy(expected) {
                wrong.push(format!(
                    "{}: $ {line}\n--- the page says\n{expected}--- it prints\n{got}",
                    page.display()
                ));
            }
        }
    }
    (ran, wrong)
}

#[test]
fn what_the_guides_show_is_what_happens() {
    let (mut ran, mut wrong) = (0, Vec::new());
    let mut pages: Vec<PathBuf> =
        std::fs::read_dir(root().join("docs/guides")).unwrap().map(|e| e.unwrap().path()).collect();
    pages.extend(READMES.map(|page| root().join(page)));
    for page in pages {
        let (more, differing) = run(&page);
        ran += more;
        wrong.extend(differing);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(ran >= 8, "only {ran} commands were found");
}

/// Every eskip block of every page, files or not, is good.
#[test]
fn the_eskip_of_the_pages_is_good_but_where_it_shows_a_mistake() {
    let mut pages: Vec<PathBuf> =
        std::fs::read_dir(root().join("docs/guides")).unwrap().map(|e| e.unwrap().path()).collect();
    pages.extend(["README.md", "examples/shop/README.md"].map(|page| root().join(page)));
    let mut wrong = Vec::new();
    for page in pages {
        for (kind, text) in blocks(&std::fs::read_to_string(&page).unwrap()) {
            if kind == "eskip" && !text.contains("typo") {
                let folder = tempfile::tempdir().unwrap();
                std::fs::write(folder.path().join("routes.eskip"), &text).unwrap();
                let check = Command::new(env!("CARGO_BIN_EXE_tombolo"))
                    .args(["routes", "check", "routes.eskip"])
                    .current_dir(folder.path())
                    .output()
                    .unwrap();
                if !check.status.success() {
                    wrong.push(format!(
                        "{}:\n{text}\n{}",
                        page.display(),
                        String::from_utf8_lossy(&check.stderr)
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Links between pages lead somewhere.
#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages: Vec<PathBuf> =
        std::fs::read_dir(root().join("docs/guides")).unwrap().map(|e| e.unwrap().path()).collect();
    let others = [
        "README.md",
        "CONTRIBUTING.md",
        "examples/shop/README.md",
        "bench/README.md",
        "crates/eskip/README.md",
    ];
    pages.extend(others.map(|page| root().join(page)));
    let mut broken = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !link.contains("://") && !target.is_empty() && !page.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
