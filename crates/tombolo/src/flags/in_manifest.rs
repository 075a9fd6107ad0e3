//! Flags in a manifest: read as `tombolo gateway` reads them; a mistake is told with its place, and of flags that are
//! none of a manifest it is told what stands for them there.

use super::{CarryFlags, skipper};
use base::{Diagnostic, Fault, Source};
use clap::{Args as _, FromArgMatches as _};
use manifest::Flag;
use std::ffi::OsString;
use std::path::Path;
use wire::Limits;

/// Flags of `tombolo gateway` that are none of a manifest, and what to do there.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("address", "that is the key `address` beside `flags`"),
    ("support-listener", "that is the key `support` beside `flags`"),
    ("routes-file", "name the file in the key `routes` of the manifest"),
    ("inline-routes", "write them in the key `routes` of the manifest"),
    ("routes-urls", "a manifest has its routes in files; `tombolo gateway` fetches them"),
    ("source-poll-timeout", "files are watched"),
    ("strict", "that is the key `strict` beside `flags`"),
    ("ignore-trailing-slash", "that is the key `ignore_trailing_slash` beside `flags`"),
    ("tls-cert", "that is the key `tls_cert` beside `flags`"),
    ("tls-key", "that is the key `tls_key` beside `flags`"),
    ("access-log", "send standard output to the file"),
    ("access-log-disabled", "write `log: {access: false}` in the manifest"),
    ("access-log-json-enabled", "write `log: {format: json}` in the manifest"),
    ("access-log-strip-query", "write `log: {strip_query: true}` in the manifest"),
    ("application-log-level", "everything worth a line is printed"),
    ("read-timeout-server", "that is the key `read_timeout` of `limits`"),
    ("read-header-timeout-server", "that is the key `header_timeout` of `limits`"),
    ("write-timeout-server", "that is the key `write_timeout` of `limits`"),
    ("idle-timeout-server", "that is the key `idle_timeout` of `limits`"),
    ("max-header-bytes", "that is the key `header_bytes` of `limits`"),
    ("max-body-bytes", "that is the key `body_bytes` of `limits`"),
    ("max-connections", "that is the key `connections` of `limits`"),
    ("workers", "that is the key `workers` beside `flags`"),
    ("wait-for-healthcheck-interval", "`tombolo up` drains at once; `tombolo gateway` waits"),
    ("drain-timeout", "that is the key `drain_timeout` of `limits`"),
];

/// What the flags of a manifest in this folder say, and what is wrong with them; with errors they say nothing.
pub(crate) fn read(flags: &[Flag], folder: &Path, source: &Source) -> (Option<CarryFlags>, Vec<Diagnostic>) {
    let mut told = Vec::new();
    for flag in flags {
        let name = name(flag);
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| Some(*known) == name) {
            let message = format!("`{}` is no flag of a manifest", name.unwrap_or_default());
            told.push(Diagnostic::error("bad_flag", message).hint(*instead).at(source, flag.span.clone()));
        }
    }
    if !told.is_empty() {
        return (None, told);
    }
    let command = CarryFlags::augment_args(clap::Command::new("flags"));
    let command = command.no_binary_name(true).disable_help_flag(true).disable_version_flag(true);
    let at = |diagnostic: Diagnostic| match place(flags, &diagnostic.message) {
        Some(flag) => diagnostic.at(source, flag.span.clone()),
        None => diagnostic,
    };
    let wrong = |fault: Fault| {
        let diagnostic = Diagnostic::error("bad_flag", fault.to_string());
        at(match fault.hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        })
    };
    let words = flags.iter().map(|flag| OsString::from(&flag.text)).collect();
    let (words, notes) = match skipper::words(words, &command) {
        Ok(words) => words,
        Err(fault) => return (None, vec![wrong(fault)]),
    };
    told.extend(notes.into_iter().map(|note| at(Diagnostic::warning("idle_flag", note))));
    let matches = command.try_get_matches_from(words);
    let carry = match matches.and_then(|matches| CarryFlags::from_arg_matches(&matches)) {
        Ok(carry) => carry,
        Err(error) => {
            told.push(at(mistake(&error)));
            return (None, told);
        }
    };
    let checked = carry.settings(folder).and_then(|settings| carry.handles(folder, &settings).map(drop));
    let faults = [checked, carry.apply(&mut Limits::default()), carry.steps().map(drop)];
    let faults: Vec<_> = faults.into_iter().filter_map(Result::err).map(wrong).collect();
    let is_good = faults.is_empty();
    told.extend(faults);
    (is_good.then_some(carry), told)
}

/// The name of a flag, if this is one and no value.
fn name(flag: &Flag) -> Option<&str> {
    skipper::flag(&flag.text).map(|(name, _)| name)
}

/// The flag that a message speaks of, or the first.
fn place<'a>(flags: &'a [Flag], message: &str) -> Option<&'a Flag> {
    let words = message.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_named = |flag: &&Flag| {
        name(flag).is_some_and(|name| words.clone().any(|word| word.trim_start_matches('-') == name))
    };
    let by_text = |flag: &&Flag| message.contains(&flag.text);
    flags.iter().find(is_named).or_else(|| flags.iter().find(by_text)).or(flags.first())
}

/// What clap says of a mistake, without what it says of the command line.
fn mistake(error: &clap::Error) -> Diagnostic {
    let text = error.to_string();
    let mut parts = text.split("\n\n");
    let lines = parts.next().unwrap_or_default().lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let message = lines.strip_prefix("error: ").unwrap_or(&lines).to_owned();
    let tip = parts.find_map(|part| part.trim().strip_prefix("tip: "));
    let tip = tip.unwrap_or("`tombolo gateway --help` lists the flags");
    Diagnostic::error("bad_flag", message).hint(tip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::gateway_flags;

    #[test]
    fn each_flag_is_one_of_a_manifest_or_something_stands_for_it() {
        let carry = CarryFlags::augment_args(clap::Command::new("flags"));
        let carry: Vec<_> = carry.get_arguments().filter_map(clap::Arg::get_long).collect();
        let gateway = gateway_flags();
        let all = gateway.get_arguments().filter_map(clap::Arg::get_long);
        let mut elsewhere: Vec<_> = all.filter(|name| !carry.contains(name)).collect();
        let mut known: Vec<_> = ELSEWHERE.iter().map(|(name, _)| *name).collect();
        elsewhere.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, elsewhere);
    }
}
