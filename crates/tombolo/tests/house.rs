//! The house rules that a machine can hold: floors between crates, the size of `base`, how files open, what
//! may come into the build.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The crates of the workspace by name, with their Cargo files.
fn crates() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let entry = entry.unwrap();
        found.insert(entry.file_name().into_string().unwrap(), read(entry.path().join("Cargo.toml")));
    }
    found
}

/// The table of ARCHITECTURE.md: crate name to floor. The roof is 6.
fn floors() -> BTreeMap<String, u8> {
    let text = read(root().join("ARCHITECTURE.md"));
    let table =
        text.split("## Floors").nth(1).and_then(|rest| rest.split("```").nth(1)).expect("a table of floors");
    let known: Vec<String> = crates().into_keys().collect();
    let mut floors = BTreeMap::new();
    let mut floor = 6;
    for line in table.lines() {
        let mark = line.split_whitespace().next().unwrap_or_default();
        if let Ok(number) = mark.parse() {
            floor = number;
        } else if mark == "-" {
            floor = u8::MAX;
        }
        // A line may name two crates side by side, each followed by what it is.
        for name in &known {
            let columns = line.split("  ").map(str::trim);
            let starts = |column: &str| column.split_whitespace().next() == Some(name.as_str());
            if columns.clone().any(starts) || line.split_whitespace().nth(1) == Some(name.as_str()) {
                floors.entry(name.clone()).or_insert(floor);
            }
        }
    }
    floors
}

/// The crates of ours that a Cargo file names in a section.
fn own_dependencies(cargo: &str, section: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in cargo.lines() {
        if line.starts_with('[') {
            inside = line.trim() == format!("[{section}]");
        } else if inside && let Some(name) = line.strip_prefix("tombolo-") {
            names.push(name.split(['.', ' ', '=']).next().unwrap_or_default().to_owned());
        }
    }
    names
}

#[test]
fn a_crate_uses_lower_floors_only() {
    let floors = floors();
    let mut wrong = Vec::new();
    for (name, cargo) in crates() {
        let Some(&floor) = floors.get(&name) else {
            wrong.push(format!("`{name}` stands on no floor of ARCHITECTURE.md"));
            continue;
        };
        for used in own_dependencies(&cargo, "dependencies") {
            if used == "testkit" {
                wrong.push(format!("`{name}` uses `testkit` outside of its tests"));
            } else if floors.get(&used).is_none_or(|&below| below >= floor) {
                wrong.push(format!("`{name}` (floor {floor}) uses `{used}` ({:?})", floors.get(&used)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What services link stays light: it speaks HTTP, and a store is only for their tests.
#[test]
fn the_client_stands_beside_the_floors() {
    let crates = crates();
    assert_eq!(floors()["client"], u8::MAX);
    assert_eq!(own_dependencies(&crates["client"], "dependencies"), ["base", "store", "wire"]);
    assert!(crates["client"].contains("\ntombolo-store = { workspace = true, optional = true }\n"));
}

/// All Rust files below a folder.
fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn base_stays_small() {
    let mut files = Vec::new();
    rust_files(&root().join("crates/base/src"), &mut files);
    let lines: usize = files.iter().map(|file| read(file).lines().count()).sum();
    assert!(lines < 3000, "base has {lines} lines");
}

#[test]
fn each_file_says_what_it_is() {
    let mut files = Vec::new();
    rust_files(&root().join("crates"), &mut files);
    rust_files(&root().join("examples"), &mut files);
    let silent: Vec<_> = files
        .iter()
        .filter(|file| {
            let text = read(file);
            !text.lines().find(|line| !line.starts_with("#!")).is_some_and(|line| line.starts_with("//! "))
        })
        .collect();
    assert!(silent.is_empty(), "these files do not open with `//!`: {silent:?}");
}

/// The strings of a list in deny.toml: `name = [ ... ]`, comments left out.
fn listed(deny: &str, name: &str) -> Vec<String> {
    let start =
        deny.find(&format!("\n{name} = [")).unwrap_or_else(|| panic!("deny.toml has no list `{name}`"));
    let list: String = deny[start..]
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with(']'))
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// deny.toml is what `cargo deny` reads; this test holds its bans, licences and sources where that is not
/// installed.
#[test]
fn nothing_unwanted_comes_into_the_build() {
    let deny = read(root().join("deny.toml"));
    let banned = listed(&deny, "deny");
    let allowed = listed(&deny, "allow");
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "--prefix", "none", "--format", "{p}|{l}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let mut wrong = Vec::new();
    for line in String::from_utf8(tree.stdout).unwrap().lines() {
        // `name v1.2.3 (where it lies)|licence`, with ` (*)` behind what was listed before.
        let Some((package, licence)) = line.trim_end_matches(" (*)").split_once('|') else { continue };
        let mut words = package.split_whitespace();
        let name = words.next().unwrap_or_default();
        let version = words.next().unwrap_or_default().trim_start_matches('v');
        if banned.iter().any(|ban| match ban.split_once('@') {
            Some((banned, line)) => banned == name && version.starts_with(&format!("{line}.")),
            None => ban == name,
        }) {
            wrong.push(format!("`{name}` {version} is banned"));
        }
        if !licence_is_allowed(licence, &allowed) {
            wrong.push(format!("`{name}` {version} has the licence `{licence}`"));
        }
    }
    for line in read(root().join("Cargo.lock")).lines().filter(|line| line.starts_with("source = ")) {
        if line != "source = \"registry+https://github.com/rust-lang/crates.io-index\"" {
            wrong.push(format!("a package comes from elsewhere: {line}"));
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// SPDX expressions of the simple kind that crates use: `A OR B`, `A AND B`, `(A OR B) AND C`, `A/B`.
fn licence_is_allowed(expression: &str, allowed: &[String]) -> bool {
    let all = expression.replace('/', " OR ");
    all.split(" AND ").all(|part| {
        part.trim_matches(['(', ')', ' '])
            .split(" OR ")
            .any(|one| allowed.iter().any(|name| name == one.trim_matches(['(', ')', ' '])))
    })
}
