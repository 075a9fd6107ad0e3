//! `tombolo routes fmt`: files in the usual form, in place and whole.

use super::desk::{Desk, check, expect};
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn standard_input_goes_to_standard_output() {
    check(
        "fmt",
        "a:*->f(1)// one\n-><shunt>;b:Path(\"/\")-><shunt>// end",
        expect![[r#"
        a: *
          -> f(1) // one
          -> <shunt>;

        b: Path("/")
          -> <shunt>; // end
        exit 0
    "#]],
    );
    check(
        "fmt",
        "",
        expect![[r#"
        exit 0
    "#]],
    );
    check(
        "fmt",
        "a: * -> ",
        expect![[r#"
        --
        error: route `a` has no backend behind `->`
         --> <stdin>:1:7
          |
        1 | a: * ->
          |       ^
          |
          = hint: end the route with a backend: `-> "https://example.org"` or `-> <shunt>`

        1 error in 1 file
        exit 1
    "#]],
    );
}

#[test]
fn what_is_no_text_for_terminals_stays_as_it_is() {
    let desk = Desk::with(&[]);
    let said = desk.run("fmt", "// \x1b[31mred\x1b[0m\na: * -> <shunt>;\n");
    assert!(said.starts_with("// \x1b[31mred\x1b[0m\na: *\n"), "{said}");
}

#[test]
fn files_are_rewritten_in_place_and_keep_their_permissions() {
    let desk = Desk::with(&[("good.eskip", "a: *\n  -> <shunt>;\n"), ("loose.eskip", "a:*-><shunt>;// all")]);
    std::fs::set_permissions(desk.path("loose.eskip"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("loose.eskip", desk.path("link.eskip")).unwrap();
    expect![[r#"
        --
        link.eskip formatted
        exit 0
    "#]]
    .assert_eq(&desk.run("fmt good.eskip link.eskip", ""));
    expect![[r#"
        a: *
          -> <shunt>; // all
    "#]]
    .assert_eq(&desk.read("loose.eskip"));
    let mode = std::fs::metadata(desk.path("loose.eskip")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(std::fs::symlink_metadata(desk.path("link.eskip")).unwrap().is_symlink());
    expect![[r#"
        exit 0
    "#]]
    .assert_eq(&desk.run("fmt good.eskip link.eskip", ""));
    let left: Vec<_> = std::fs::read_dir(desk.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn a_file_with_errors_is_left_alone_and_the_others_are_formatted() {
    let desk = Desk::with(&[("bad.eskip", "a:*->"), ("loose.eskip", "a:*-><shunt>;")]);
    expect![[r#"
        --
        loose.eskip formatted
        error: `gone.eskip` is not there
        hint: name files of eskip, or `-` for standard input

        error: route `a` has no backend behind `->`
         --> bad.eskip:1:5
          |
        1 | a:*->
          |     ^
          |
          = hint: end the route with a backend: `-> "https://example.org"` or `-> <shunt>`

        2 errors in 2 files
        exit 1
    "#]]
    .assert_eq(&desk.run("fmt bad.eskip gone.eskip loose.eskip", ""));
    assert_eq!(
        (desk.read("bad.eskip"), desk.read("loose.eskip")),
        ("a:*->".into(), "a: *\n  -> <shunt>;\n".into())
    );
}

#[test]
fn check_names_what_would_change_and_changes_nothing() {
    let desk = Desk::with(&[("good.eskip", "a: *\n  -> <shunt>;\n"), ("loose.eskip", "a:*-><shunt>;")]);
    expect![[r#"
        loose.eskip
        --
        1 file would change; `tombolo routes fmt FILE` rewrites them
        exit 1
    "#]]
    .assert_eq(&desk.run("fmt --check good.eskip loose.eskip", ""));
    assert_eq!(desk.read("loose.eskip"), "a:*-><shunt>;");
    expect![[r#"
        exit 0
    "#]]
    .assert_eq(&desk.run("fmt --check good.eskip", ""));
    expect![[r#"
        <stdin>
        --
        1 file would change; `tombolo routes fmt FILE` rewrites them
        exit 1
    "#]]
    .assert_eq(&desk.run("fmt --check", "a:*-><shunt>"));
}
