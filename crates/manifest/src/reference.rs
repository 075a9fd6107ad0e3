//! The reference page of the manifest, made from the tables of `fields.rs` and the examples beside them.

use crate::fields::{self, About, SectionAbout};
use crate::{EXAMPLE, SCHEMA_URL};
use std::fmt::Write as _;

/// `docs/reference/manifest.md`.
pub fn reference() -> String {
    let mut page = format!(
        "# tombolo.yaml\n\n\
         <!-- Made by `cargo test -p tombolo-manifest` from crates/manifest/src/fields.rs. -->\n\n\
         The manifest says what runs here, what it calls, and which routes the gateway has. `tombolo init` \
         writes a first one, `tombolo check` reads it and says everything that is wrong, with file, line, \
         column and a hint. Paths are relative to the folder it stands in.\n\n\
         An editor that speaks yaml-language-server completes and checks keys when the first line is\n\n\
         ```yaml\n# yaml-language-server: $schema={SCHEMA_URL}\n```\n\n\
         ## Example\n\n```yaml\n{EXAMPLE}```\n"
    );
    for section in fields::sections() {
        write_section(&mut page, &section);
    }
    page.push_str(NOTES);
    page
}

fn write_section(page: &mut String, section: &SectionAbout) {
    let title = if section.name == "manifest" { "Top level" } else { section.name };
    let _ =
        write!(page, "\n## {title}\n\n{}\n\n| key | value | default | |\n|---|---|---|---|\n", section.doc);
    for about in &section.fields {
        let default = match (about.default, about.default_note) {
            ("", note) => note.to_owned(),
            (default, _) => format!("`{default}`"),
        };
        // A bar would end the cell.
        let doc = about.doc.replace('|', "\\|");
        let _ = writeln!(page, "| `{}` | {} | {default} | {doc} |", about.name, about.kind.short());
    }
    let _ = write!(page, "\n```yaml\n");
    for About { name, example, .. } in &section.fields {
        let _ = writeln!(page, "{name}: {example}");
    }
    page.push_str("```\n");
}

const NOTES: &str = r#"
The blocks above show one value for each key, not a section that is whole: `run` and `at`, for instance, never
stand together.

## Values

- A **duration** is written as in Go: `250ms`, `10s`, `1m30s`, `24h`.
- A **size** is a number of bytes or has a unit: `512`, `64KiB`, `10MB`.
- An **address** is `ip:port`; `localhost:8080` is `127.0.0.1:8080`. What asks nobody who they are (`api`,
  `support`) stays on this machine.
- A **command** that is a text goes to `/bin/sh -c`, so variables and pipes work in it; a list is the program and
  its arguments, without a shell.
- The file is YAML 1.2: `on`, `off`, `yes` and `no` are texts, `true` and `false` are not. A value that holds
  `: ` or begins with `*`, `&`, `!`, `%`, `@` or a backquote needs quotes.
- Anchors, aliases and the merge key `<<` work. Top-level keys that begin with `x-` are left alone, a place for
  anchors:

  ```yaml
  x-defaults: &defaults
    restart: on-failure
    stop_grace: 30s
  services:
    cart: {<<: *defaults, run: ./cart}
  ```

- A file has at most 1 MiB, 50000 values and 256 services, nested 64 deep.

## What a service is given

- `PORT`: the port it should listen on.
- `NAME_URL` for each name in `calls`: `payment-api` becomes `PAYMENT_API_URL`.
- The variables of `env_file`, then those of `env`; the later win. No value of a variable is shown in a message.

## Files of variables

`env_file` names files of `NAME=value` lines.

```sh
# A comment.
PLAIN=as it stands        # a comment too
SINGLE='as it stands, $HOME and all'
DOUBLE="with \"escapes\": \n \r \t \\ \$"
export ALSO_READ=yes
```

A value in quotes may go over several lines. Nothing is replaced inside values.
"#;
