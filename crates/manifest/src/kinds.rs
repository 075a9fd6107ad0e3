//! The kinds of values that a key may have: what a kind is called, how the schema describes it, and which
//! words of it a reader is given. Reading them is `reader.rs`'s matter.

use base::format_duration;
use serde_json::{Value, json};
use std::time::Duration;

/// What a key's value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Any text that is not empty.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds.
    Whole(i64, i64),
    /// A number from 0 to 1, or so many a second.
    Sample,
    /// A TCP port.
    Port,
    /// Go's syntax, within bounds.
    Duration(Duration, Duration),
    /// Bytes, within bounds.
    Size(u64, u64),
    /// `ip:port`.
    Address,
    /// `ip:port` of this machine only, since nobody is asked who they are.
    Local,
    /// The same, or `off`.
    LocalOrOff,
    /// One path.
    Path,
    /// One path or a list of them.
    Paths,
    /// A command line for the shell, or a program and its arguments.
    Command,
    /// An HTTP path.
    HttpPath,
    /// Where somebody else runs a service.
    Urls,
    /// One address, with a path or without.
    Url,
    /// A PostgreSQL database; never shown.
    StoreUrl,
    /// The same, or the word `files`.
    StoreUrlOrFiles,
    /// A map of categories of messages to what stays of them.
    Keep,
    /// A map of names to outboxes.
    Outboxes,
    /// Names of services.
    Names,
    /// eskip filters.
    Filters,
    /// Variables.
    Env,
    /// Names of services, or a map of them.
    DependsOn,
    /// Short forms or the section of this name.
    Health,
    /// A word or the section of this name.
    Restart,
    /// Inline eskip and files of it.
    Routes,
    /// A map of names to services.
    Services,
    /// A map of names to consumers.
    Consumers,
    /// A category of messages.
    Category,
    /// A service and a path of it.
    Handler,
    /// Texts.
    Texts,
    /// Where a consumer begins.
    Start,
    /// The section of this name.
    Section(&'static str),
}

/// The words that `restart` takes.
pub(crate) const RESTARTS: &[&str] = &["always", "on-failure", "never"];
/// The words that `depends_on` takes.
pub(crate) const START_WHEN: &[&str] = &["started", "healthy"];
/// What a service may be called, as a regular expression.
pub(crate) const NAME_PATTERN: &str = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$";
/// What a variable may be called, as a regular expression.
pub(crate) const VARIABLE_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
/// What a consumer may be called, as a regular expression.
pub(crate) const CONSUMER_PATTERN: &str = "^[A-Za-z0-9_.-]{1,100}$";
const HANDLER_PATTERN: &str = "^[a-z][a-z0-9-]*(/[!-~]*)?$";
const DURATION_PATTERN: &str = "^(0|([0-9]*\\.?[0-9]+(ns|us|\u{b5}s|ms|s|m|h))+)$";
const SIZE_PATTERN: &str = "^[0-9]*\\.?[0-9]+ *([kKmMgG]([iI]?[bB])?|[bB])?$";
const RATE_PATTERN: &str = "^[1-9][0-9]{0,5}/s$";
const ADDRESS_PATTERN: &str = "^([0-9.]+|localhost|\\[[0-9a-fA-F:.]+\\]):[0-9]+$";
const URL_PATTERN: &str = "^https?://[^/?#@\\s]+$";

impl Kind {
    /// What a value must be, to follow "must be".
    pub(crate) fn expected(self) -> String {
        match self {
            Kind::Text | Kind::Filters => "a text".to_owned(),
            Kind::Word(words) => format!("one of {}", words_of(words)),
            Kind::Flag => "`true` or `false`".to_owned(),
            Kind::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Kind::Sample => "a number from 0 to 1, or so many a second like `1000/s`".to_owned(),
            Kind::Port => "a port, a number from 1 to 65535".to_owned(),
            Kind::Duration(least, most) => {
                format!("a duration from {} to {}", format_duration(least), format_duration(most))
            }
            Kind::Size(least, most) => {
                format!("a size from {} to {}", format_bytes(least), format_bytes(most))
            }
            Kind::Address | Kind::Local => "an address like `127.0.0.1:8080`".to_owned(),
            Kind::LocalOrOff => "an address like `127.0.0.1:8080`, or `off`".to_owned(),
            Kind::Path => "a path".to_owned(),
            Kind::Paths => "a path or a list of paths".to_owned(),
            Kind::Command => {
                "a command: a text for the shell, or a list of the program and its arguments".to_owned()
            }
            Kind::HttpPath => "a path that begins with `/`".to_owned(),
            Kind::Urls => "an address like `http://10.0.0.5:8080`, or a list of them".to_owned(),
            Kind::Url => "an address like `http://collector:4318`".to_owned(),
            Kind::StoreUrl => "an address like `postgres://user@host:5432/database`".to_owned(),
            Kind::StoreUrlOrFiles => {
                "an address like `postgres://user@host:5432/database`, or the word `files`".to_owned()
            }
            Kind::Keep => "a map of categories to `age` and `count`".to_owned(),
            Kind::Outboxes => "a map of names to outboxes".to_owned(),
            Kind::Names => "a list of names of services".to_owned(),
            Kind::Env => "a map of variables".to_owned(),
            Kind::DependsOn => {
                "a list of names of services, or a map of them to `started` or `healthy`".to_owned()
            }
            Kind::Health => "a path that begins with `/`, the word `tcp`, or a map".to_owned(),
            Kind::Restart => format!("{}, or a map", words_of(RESTARTS)),
            Kind::Routes => "eskip, a file name, or a list of them".to_owned(),
            Kind::Services => "a map of services by their names".to_owned(),
            Kind::Consumers => "a map of consumers by their names".to_owned(),
            Kind::Category => "a category: what a stream's name has before its first `-`".to_owned(),
            Kind::Handler => "a service and a path, such as `shop/orders`".to_owned(),
            Kind::Texts => "a list of texts".to_owned(),
            Kind::Start => "`beginning`, `end`, a global position or a time".to_owned(),
            Kind::Section(_) => "a map of settings".to_owned(),
        }
    }

    /// The same in few words, for the reference page's column.
    pub(crate) fn short(self) -> String {
        match self {
            Kind::Text => "text".to_owned(),
            Kind::Filters => "eskip filters".to_owned(),
            Kind::Word(words) => words_of(words),
            Kind::Flag => "`true`, `false`".to_owned(),
            Kind::Whole(least, most) => format!("{least} to {most}"),
            Kind::Sample => "0 to 1, `1000/s`".to_owned(),
            Kind::Port => "port".to_owned(),
            Kind::Duration(least, most) => {
                format!("duration, {} to {}", format_duration(least), format_duration(most))
            }
            Kind::Size(least, most) => format!("size, {} to {}", format_bytes(least), format_bytes(most)),
            Kind::Address => "`ip:port`".to_owned(),
            Kind::Local => "`ip:port` of this machine".to_owned(),
            Kind::LocalOrOff => "`ip:port` of this machine, `off`".to_owned(),
            Kind::Path => "path".to_owned(),
            Kind::Paths => "path, list of paths".to_owned(),
            Kind::Command => "text, list".to_owned(),
            Kind::HttpPath => "HTTP path".to_owned(),
            Kind::Urls => "URL, list of URLs".to_owned(),
            Kind::Url => "URL".to_owned(),
            Kind::StoreUrl => "`postgres://` URL".to_owned(),
            Kind::StoreUrlOrFiles => "`postgres://` URL, `files`".to_owned(),
            Kind::Keep => "map of categories to [maps](#keep)".to_owned(),
            Kind::Outboxes => "map of names to [outboxes](#outbox)".to_owned(),
            Kind::Names => "list of names".to_owned(),
            Kind::Env => "map".to_owned(),
            Kind::DependsOn => "list of names, map".to_owned(),
            Kind::Health => "HTTP path, `tcp`, [map](#health)".to_owned(),
            Kind::Restart => format!("{}, [map](#restart)", words_of(RESTARTS)),
            Kind::Routes => "eskip, file name, list".to_owned(),
            Kind::Services => "map of [services](#service)".to_owned(),
            Kind::Consumers => "map of [consumers](#consumer)".to_owned(),
            Kind::Category => "category".to_owned(),
            Kind::Handler => "`service/path`".to_owned(),
            Kind::Texts => "list of texts".to_owned(),
            Kind::Start => "`beginning`, `end`, global position, time".to_owned(),
            Kind::Section(name) => format!("[map](#{name})"),
        }
    }

    /// Whether the key may stand there without a value, everything below it commented out.
    pub(crate) fn may_be_empty(self) -> bool {
        matches!(
            self,
            Kind::Section(_)
                | Kind::Services
                | Kind::Consumers
                | Kind::Routes
                | Kind::Env
                | Kind::Names
                | Kind::DependsOn
        )
    }

    /// JSON Schema draft-07 of the value. Where the reader takes a scalar as its text, so does the schema.
    pub(crate) fn schema(self) -> Value {
        let text = || json!({ "type": "string", "minLength": 1 });
        let one_or_more =
            |item: Value| json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1 }] });
        let or_null = |schema: Value| json!({ "anyOf": [schema, { "type": "null" }] });
        let names = json!({ "type": "array", "items": { "type": "string", "pattern": NAME_PATTERN } });
        let scalar = json!({ "type": ["string", "number", "boolean"] });
        match self {
            Kind::Text | Kind::Path | Kind::Filters => text(),
            Kind::Word(words) => json!({ "enum": words }),
            Kind::Flag => json!({ "type": "boolean" }),
            Kind::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Kind::Sample => json!({ "anyOf": [
                { "type": "number", "minimum": 0, "maximum": 1 },
                { "type": "string", "pattern": RATE_PATTERN }
            ] }),
            Kind::Port => json!({ "type": "integer", "minimum": 1, "maximum": 65535 }),
            Kind::Duration(..) => json!({
                "anyOf": [{ "type": "string", "pattern": DURATION_PATTERN }, { "const": 0 }]
            }),
            Kind::Size(..) => json!({
                "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": SIZE_PATTERN }]
            }),
            Kind::Address | Kind::Local => json!({ "type": "string", "pattern": ADDRESS_PATTERN }),
            Kind::LocalOrOff => json!({
                "anyOf": [{ "type": "string", "pattern": ADDRESS_PATTERN }, { "enum": ["off", false] }]
            }),
            Kind::Paths => one_or_more(text()),
            Kind::Command => {
                json!({ "anyOf": [text(), { "type": "array", "items": scalar, "minItems": 1 }] })
            }
            Kind::HttpPath => json!({ "type": "string", "pattern": "^/" }),
            Kind::Urls => one_or_more(json!({ "type": "string", "pattern": URL_PATTERN })),
            Kind::Url => json!({ "type": "string", "pattern": "^https?://[^@\\s]+$" }),
            Kind::StoreUrl => json!({ "type": "string", "pattern": "^postgres(ql)?://" }),
            Kind::StoreUrlOrFiles => json!({ "type": "string", "pattern": "^(postgres(ql)?://|files$)" }),
            Kind::Keep => json!({
                "type": "object",
                "propertyNames": { "pattern": "^[^-]+$" },
                "additionalProperties": { "$ref": "#/definitions/keep" }
            }),
            Kind::Outboxes => json!({
                "type": "object",
                "propertyNames": { "pattern": CONSUMER_PATTERN },
                "additionalProperties": { "$ref": "#/definitions/outbox" }
            }),
            Kind::Names => or_null(names),
            Kind::Env => or_null(json!({
                "type": "object",
                "propertyNames": { "pattern": VARIABLE_PATTERN },
                "additionalProperties": scalar
            })),
            Kind::DependsOn => json!({ "anyOf": [
                names,
                { "type": "object", "propertyNames": { "pattern": NAME_PATTERN },
                  "additionalProperties": { "enum": START_WHEN } },
                { "type": "null" }
            ] }),
            Kind::Health => json!({ "anyOf": [
                { "type": "string", "pattern": "^/" },
                { "const": "tcp" },
                { "$ref": "#/definitions/health" }
            ] }),
            Kind::Restart => json!({ "anyOf": [{ "enum": RESTARTS }, { "$ref": "#/definitions/restart" }] }),
            Kind::Routes => json!({ "anyOf": [
                text(),
                { "type": "array", "items": { "anyOf": [text(), { "$ref": "#/definitions/routes" }] } },
                { "type": "null" }
            ] }),
            Kind::Services => or_null(json!({
                "type": "object",
                "propertyNames": { "pattern": NAME_PATTERN },
                "additionalProperties": { "$ref": "#/definitions/service" }
            })),
            Kind::Consumers => or_null(json!({
                "type": "object",
                "propertyNames": { "pattern": CONSUMER_PATTERN },
                "additionalProperties": { "$ref": "#/definitions/consumer" }
            })),
            Kind::Category => json!({ "type": "string", "pattern": "^[^-]+$" }),
            Kind::Handler => json!({ "type": "string", "pattern": HANDLER_PATTERN }),
            Kind::Texts => json!({ "type": "array", "items": text() }),
            Kind::Start => json!({ "anyOf": [
                { "enum": ["beginning", "end"] },
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T" }
            ] }),
            Kind::Section(name) => or_null(json!({ "$ref": format!("#/definitions/{name}") })),
        }
    }
}

/// `a`, `b` or `c`.
pub(crate) fn words_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [rest @ .., last] => {
            let rest: Vec<String> = rest.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", rest.join(", "))
        }
    }
}

/// `a`, `b` and `c`.
pub(crate) fn and_words(words: &[&str]) -> String {
    words_of(words).replace("` or `", "` and `")
}

/// A size in the largest unit that divides it.
fn format_bytes(bytes: u64) -> String {
    [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| format!("{bytes} bytes"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}
