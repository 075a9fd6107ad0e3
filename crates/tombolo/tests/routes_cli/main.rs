//! `tombolo routes` as people and scripts use it: the real binary, files and standard input, what it prints and
//! how it ends.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod catalogues;
mod checking;
mod comparing;
mod converting;
mod desk;
mod explaining;
mod formatting;
mod slips;

use desk::{Desk, SHOP, many};
use std::path::Path;
use std::process::Command;

/// Colours are for terminals, or for whoever asks for them.
#[test]
fn colours_are_left_out_unless_they_are_wanted() {
    let desk = Desk::with(&[("shop.eskip", SHOP), ("bad.eskip", "a: * -> nope() -> <shunt>;")]);
    for line in
        ["check shop.eskip", "check bad.eskip", "explain GET /basket shop.eskip", "diff shop.eskip bad.eskip"]
    {
        let said = |command: &mut Command| {
            let output = command.output().unwrap();
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
        };
        assert!(!said(desk.command(line).env_remove("NO_COLOR")).contains('\x1b'), "{line}");
        let forced = said(desk.command(line).env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1"));
        assert!(forced.contains("\x1b["), "{line}: {forced}");
    }
}

/// A reader that goes away (`| head`) is no error, and nothing is said about it.
#[test]
fn a_closed_pipe_is_no_error() {
    let routes: String = many(20_000, |at| format!("r{at}: Path(\"/{at}\") -> <shunt>;"));
    let desk = Desk::with(&[("big.eskip", &routes)]);
    for line in ["json big.eskip", "json --pretty big.eskip", "filters", "diff big.eskip empty.eskip", "fmt"]
    {
        std::fs::write(desk.path("empty.eskip"), "").unwrap();
        let mut child = desk.start(line, &routes);
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        let expected = i32::from(line.starts_with("diff"));
        assert_eq!(output.status.code(), Some(expected), "{line}");
    }
}

/// A full disk is an error: what was written is not whole.
#[test]
fn a_full_disk_is_an_error() {
    let desk = Desk::with(&[("shop.eskip", SHOP)]);
    if !Path::new("/dev/full").exists() {
        return;
    }
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = desk.command("json shop.eskip").stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("error: standard output can't be written"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

/// Each line has a mistake: all are counted, the first hundred shown, and programs get all of them.
#[test]
fn a_file_of_mistakes_is_told_within_bounds() {
    let routes: String = many(3000, |at| format!("r{at}: * -> setPaht(\"/{at}\") -> <shunt>;"));
    let desk = Desk::with(&[("bad.eskip", &routes)]);
    let said = desk.run("check bad.eskip", "");
    assert_eq!(said.matches("error: ").count(), 100);
    assert!(said.ends_with("\n3000 errors in 1 file, the first 100 are shown\nexit 1\n"), "{said}");
    let json = desk.run("check --json bad.eskip", "");
    assert_eq!(json.matches("\"code\": \"unknown_filter\"").count(), 3000);
    assert!(json.contains("\"line\": 3000,\n    \"column\": 13"));
    // One id for all: told without walking the text for each.
    let same = routes.replace("setPaht", "setPath").replace(|c: char| c.is_ascii_digit(), "");
    std::fs::write(desk.path("bad.eskip"), same).unwrap();
    let said = desk.run("check bad.eskip", "");
    assert!(said.ends_with("\n2999 errors in 1 file, the first 100 are shown\nexit 1\n"), "{said}");
}
