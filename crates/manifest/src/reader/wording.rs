//! What is said of a wrong key or value: what was expected, what was found, and what to write instead.

use super::Reader;
use crate::fields::{self, About, Section};
use crate::kinds::{Kind, and_words};
use crate::secrets::without_passwords;
use crate::yaml::{Entry, Node, Scalar, ScalarKind, Style, Value};
use base::{Diagnostic, Span};

/// Words that people bring along from other tools, the section they would stand in, and what to do instead.
static FOREIGN: &[(&str, &str, &str)] = &[
    ("manifest", "version", "a manifest has no version: remove the line"),
    ("manifest", "volumes", "services run on this machine and see its files: remove the block"),
    ("manifest", "networks", "services reach each other through `calls`: remove the block"),
    ("service", "image", "Tombolo runs programs: `run: docker run --rm -p $PORT:80 IMAGE` starts an image"),
    ("service", "command", "write `run`"),
    ("service", "cmd", "write `run`"),
    ("service", "exec", "write `run`"),
    ("service", "environment", "write `env`"),
    ("service", "ports", "write `port`, with one number; traffic from outside comes in through `routes`"),
    ("service", "expose", "write `port`, with one number"),
    ("service", "healthcheck", "write `health`"),
    ("service", "working_dir", "write `dir`"),
    ("service", "cwd", "write `dir`"),
    ("service", "links", "write `calls`"),
    ("service", "url", "write `at`"),
    ("service", "address", "write `at`"),
    ("service", "deploy", "write `replicas` in the service itself"),
    ("service", "stop_grace_period", "write `stop_grace`"),
    ("service", "volumes", "the service runs on this machine and sees its files: remove the line"),
    (
        "service",
        "routes",
        "routes stand at the top level; one reaches this service with `\"service://NAME\"`",
    ),
    ("health", "test", "write `command`"),
    ("health", "path", "write `http`"),
    ("health", "retries", "write `failures`"),
    ("restart", "policy", "write `when`"),
    ("restart", "condition", "write `when`"),
    ("restart", "max_attempts", "write `limit`"),
    ("gateway", "listen", "write `address`"),
    ("gateway", "port", "write `address`, such as `127.0.0.1:9090`"),
    ("gateway", "tls", "write `tls_cert` and `tls_key`"),
    ("streams", "url", "write `store`"),
    ("streams", "database", "write `store`"),
    ("traces", "retention", "write `keep_age`"),
    ("traces", "url", "write `store`"),
    ("traces", "database", "write `store`"),
    ("consumer", "service", "write `handler`, such as `shop/orders`"),
    ("consumer", "url", "write `handler`, such as `shop/orders`"),
    ("log", "level", "there is no level to set"),
];

impl Reader {
    /// Says that something is wrong.
    pub(crate) fn error(&mut self, code: &'static str, message: impl Into<String>, span: &Span, hint: &str) {
        let diagnostic = Diagnostic::error(code, message).at(&self.source, span.clone());
        self.diagnostics.push(if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) });
    }

    /// Says that the value at hand is not of its key's kind, and how it would be.
    pub(crate) fn wrong(&mut self, node: &Node) {
        if matches!(node.value, Value::Refused) {
            return;
        }
        let About { name, kind, .. } = self.about;
        let message = format!("`{name}`{} must be {}, found {}", self.owner, kind.expected(), found(node));
        let hint = self.remedy(node).unwrap_or_else(|| format!("for example {}", self.example()));
        self.error("wrong_type", message, &node.span, &hint);
    }

    /// What to write instead, where that can be told from what was written.
    fn remedy(&self, node: &Node) -> Option<String> {
        let name = self.about.name;
        let Scalar { text, kind, style } = node.scalar()?;
        let write = |value: &str| Some(format!("write `{name}: {value}`"));
        let number = text.trim().parse::<u64>().ok();
        match self.about.kind {
            Kind::Flag => match text.to_lowercase().as_str() {
                "yes" | "on" | "y" | "true" => write("true"),
                "no" | "off" | "n" | "false" => write("false"),
                _ => None,
            },
            Kind::Whole(..) | Kind::Port if *style != Style::Bare && number.is_some() => {
                Some(format!("remove the quotes: `{name}: {}`", text.trim()))
            }
            Kind::Duration(..) if (*kind != ScalarKind::Text || number.is_some()) && number != Some(0) => {
                Some(format!("a unit is missing: `{name}: {}s`", text.trim()))
            }
            Kind::Names | Kind::DependsOn if !text.is_empty() => write(&format!("[{}]", shown(text))),
            Kind::Text | Kind::Path | Kind::Paths | Kind::Filters | Kind::Command | Kind::HttpPath
                if !text.is_empty() =>
            {
                Some(format!("put quotes around it: `{name}: \"{}\"`", shown(text)))
            }
            _ => None,
        }
    }

    pub(super) fn example(&self) -> String {
        format!("`{}: {}`", self.about.name, self.about.example)
    }

    /// Says that a key is not known, and which one was likely meant.
    pub(super) fn unknown_key<T>(&mut self, section: &Section<T>, entry: &Entry) {
        let key = entry.key.as_str();
        let place = match self.owner.strip_prefix(" of ") {
            Some(owner) => format!("in {owner}"),
            None => "at the top level".to_owned(),
        };
        let names: Vec<&str> = section.fields.iter().map(|field| field.about.name).collect();
        let foreign = FOREIGN.iter().find(|(at, word, _)| *at == section.name && *word == key);
        let elsewhere = || {
            let sections = fields::sections();
            let other = sections.iter().find(|other| other.fields.iter().any(|about| about.name == key))?;
            Some(match other.name {
                "manifest" => format!("`{key}` stands at the top level"),
                "service" => format!("`{key}` belongs to a service: `services: {{NAME: {{{key}: …}}}}`"),
                name => format!("`{key}` belongs in `{name}`"),
            })
        };
        let near = base::did_you_mean(key, names.iter().copied());
        let hint = match foreign {
            Some((_, _, hint)) => (*hint).to_owned(),
            None => near
                .map(|name| format!("did you mean `{name}`?"))
                .or_else(elsewhere)
                .unwrap_or_else(|| format!("the keys here are {}", and_words(&names))),
        };
        self.error("unknown_key", format!("unknown key `{key}` {place}"), &entry.key_span, &hint);
        // What may be meant as `env` may hold secrets.
        let scalar = entry.value.scalar().is_some();
        let stranger = section.name == "service" && foreign.is_none() && near.is_none() && !scalar;
        if key.to_lowercase().contains("env") || near.is_some_and(|name| name.starts_with("env")) || stranger
        {
            self.hide_variables(&entry.value);
        }
    }
}

/// What was found, in words.
pub(super) fn found(node: &Node) -> String {
    match &node.value {
        Value::Refused => "something else".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
        Value::Scalar(Scalar { text, kind, .. }) => match kind {
            ScalarKind::Null => "nothing".to_owned(),
            ScalarKind::Flag(_) => format!("`{text}`"),
            ScalarKind::Whole(_) | ScalarKind::Fraction => format!("the number `{}`", shown(text)),
            ScalarKind::Text if text.is_empty() => "an empty text".to_owned(),
            ScalarKind::Text => format!("the text `{}`", shown(text)),
        },
    }
}

/// The first line of a text, and not too much of it. URLs show no password.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let text = without_passwords(text);
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > MOST || line.len() < text.trim_end().len() {
        let short: String = line.chars().take(MOST).collect();
        format!("{short}…")
    } else {
        line.to_owned()
    }
}
