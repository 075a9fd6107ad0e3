//! What people see in a terminal: colours where they help, aligned tables, diagnostics and faults. Colours
//! are left out where the output is no terminal or NO_COLOR is set (anstream decides).

use anstyle::{AnsiColor, Style};
use base::{Diagnostic, Fault, Severity};
use comfy_table::{Cell, ContentArrangement, Table, presets};
use std::fmt::Display;
use std::io::Write as _;

/// Strong words.
pub(crate) const BOLD: Style = Style::new().bold();
/// What matters less.
pub(crate) const DIM: Style = Style::new().dimmed();
/// It works.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// Look here.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
/// It does not work.
pub(crate) const RED: Style = AnsiColor::Red.on_default();
/// Names and addresses.
pub(crate) const CYAN: Style = AnsiColor::Cyan.on_default();

/// A text in a style.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Text from outside: a terminal must not take a part of it for an order.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// Columns of a terminal where nobody says how many there are.
const COLUMNS: usize = 100;

/// How many columns standard output has.
pub(crate) fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let measured = || terminal_size::terminal_size_of(std::io::stdout()).map(|(columns, _)| columns.0.into());
    told.or_else(measured).unwrap_or(COLUMNS).clamp(40, 1_000)
}

/// A line on standard output. A reader that left is no error of ours.
pub(crate) fn out(text: impl Display) {
    let _ = writeln!(anstream::stdout().lock(), "{text}");
}

/// A line on standard output; whether somebody still reads it.
pub(crate) fn out_if_read(text: impl Display) -> bool {
    writeln!(anstream::stdout().lock(), "{text}").is_ok()
}

/// A text on standard output as it is, without a newline of ours.
pub(crate) fn out_raw(text: &str) {
    let _ = anstream::stdout().lock().write_all(text.as_bytes());
}

/// A line on standard error.
pub(crate) fn err(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// An error with its remedy.
pub(crate) fn fault(fault: &Fault) {
    err(fault_text(fault));
}

/// The lines of an error with its remedy.
pub(crate) fn fault_text(fault: &Fault) -> String {
    with_hint(&format!("{}: {fault}", paint(RED.bold(), "error")), fault.hint.as_deref())
}

/// What went wrong and is tried again or left aside, with its remedy. Texts may be from outside.
pub(crate) fn warning(text: &str, hint: Option<&str>) {
    err(with_hint(&format!("{}: {}", paint(YELLOW.bold(), "warning"), harmless(text)), hint));
}

fn with_hint(said: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{said}\n{}: {hint}", paint(CYAN.bold(), "hint")),
        None => said.to_owned(),
    }
}

/// Diagnostics, each with its place and remedy.
pub(crate) fn diagnostics(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        err(diagnostic.render(true));
        err("");
    }
}

/// "1 route", "12 routes".
pub(crate) fn plural(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// "2 errors, 1 warning"; `None` when there are neither.
pub(crate) fn count(diagnostics: &[Diagnostic]) -> Option<String> {
    let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    let warnings = diagnostics.len() - errors;
    match (errors, warnings) {
        (0, 0) => None,
        (0, warnings) => Some(plural(warnings, "warning")),
        (errors, 0) => Some(plural(errors, "error")),
        (errors, warnings) => Some(format!("{}, {}", plural(errors, "error"), plural(warnings, "warning"))),
    }
}

/// A table without lines, columns aligned, the head dimmed.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(
        head.iter().map(|name| if name.is_empty() { Cell::new("") } else { Cell::new(paint(DIM, name)) }),
    );
    table.add_rows(rows);
    // The first column stands at the margin.
    let text = table.to_string();
    text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
}
