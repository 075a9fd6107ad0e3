//! Files of variables.

use base::Source;
use expect_test::{Expect, expect};
use std::fmt::Write as _;

#[expect(clippy::needless_pass_by_value, reason = "so that a test may write its expectation in place")]
fn check(text: &str, expected: Expect) {
    let (variables, diagnostics) = manifest::env_file(&Source::new(".env", text));
    let mut out = String::new();
    for (name, value) in variables {
        let _ = writeln!(out, "{name}={value:?}");
    }
    for diagnostic in diagnostics {
        let _ = writeln!(out, "{}", diagnostic.render(false));
    }
    expected.assert_eq(&out);
}

#[test]
fn values_bare_and_in_quotes() {
    check(
        "\u{feff}# comment\n\nPLAIN=as it stands  # a comment\nHASH=a#b\nEMPTY=\nNOTHING=# c\nSINGLE='a \"b\" $C \\n'\r\n\
         DOUBLE=\"a\\n\\\"b\\\" \\$C \\d\" # c\n  export SPACED = x y\nexport_me=1\nURL=http://a?b=c\nEND=z",
        expect![[r#"
            PLAIN="as it stands"
            HASH="a#b"
            EMPTY=""
            NOTHING=""
            SINGLE="a \"b\" $C \\n"
            DOUBLE="a\n\"b\" $C \\d"
            SPACED="x y"
            export_me="1"
            URL="http://a?b=c"
            END="z"
        "#]],
    );
}

#[test]
fn values_over_several_lines() {
    check(
        "KEY=\"-----BEGIN\r\nabc\n-----END\"\nA='x\ny'\nB=2\n",
        expect![[r#"
        KEY="-----BEGIN\nabc\n-----END"
        A="x\ny"
        B="2"
    "#]],
    );
}

#[test]
fn what_is_wrong_is_said_without_the_values() {
    check(
        "A=hunter2\nmy-key=hunter2\n=hunter2\nhunter2 hunter2\nQ=\"hunter2\" hunter2\nA=hunter3\nexport\nL='hunter2\nB=hunter2\n",
        expect![[r#"
            A="hunter2"
            A="hunter3"
            B="hunter2"
            error: `my-key` can't be a variable's name
             --> .env:2:1
              |
            2 | my-key=*******
              | ^^^^^^
              |
              = hint: write `my_key`: letters, digits and `_`
            error: there is no name before the `=`
             --> .env:3:1
              |
            3 | =*******
              | ^
              |
              = hint: write `NAME=value`
            error: this line is no `NAME=value`
             --> .env:4:1
              |
            4 | ******* *******
              | ^^^^^^^^^^^^^^^
              |
              = hint: a value over several lines stands in quotes; a comment begins with `#`
            error: nothing may follow the closing quote
             --> .env:5:13
              |
            5 | Q=********* *******
              |             ^^^^^^^
              |
              = hint: put the whole value inside the quotes
            warning: `A` is given twice
             --> .env:6:1
              |
            6 | A=*******
              | ^
              |
              = hint: the one on line 1 is not used
            error: this line is no `NAME=value`
             --> .env:7:1
              |
            7 | ******
              | ^^^^^^
              |
              = hint: a value over several lines stands in quotes; a comment begins with `#`
            error: this quote is never closed
             --> .env:8:3
              |
            8 | L=********
              |   ^
              |
              = hint: add the closing `'`
        "#]],
    );
}

#[test]
fn a_file_has_a_bound() {
    check(
        &"A=b\n".repeat(300_000),
        expect![[r#"
        error: the file has 1200000 bytes, at most 1048576 are read
    "#]],
    );
}
