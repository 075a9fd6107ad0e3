//! Reads the tree with the tables of `fields.rs` in hand: unknown keys, wrong types and bad scalars are said
//! here, each with its place, and reading goes on. What spans several keys is `checks.rs`'s matter; the
//! kinds that only a service has are read in `reader/service.rs`.

mod service;
mod wording;

use wording::{found, shown};

use crate::draft::{Given, ManifestDraft, RoutesDraft, ServiceDraft};
use crate::fields::{self, About, Section};
use crate::kinds::{Kind, words_of};
use crate::names;
use crate::texts::TextMap;
use crate::values::{RoutesEntry, Sample};
use crate::yaml::{Entry, Node, Scalar, ScalarKind, Value};
use base::{Diagnostic, Source, Span};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Most entries of a map of names, such as services.
pub(crate) const NAMED_MAX: usize = 256;

/// Reads values and gathers what is wrong with them.
pub(crate) struct Reader {
    source: Source,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Places of values that must never be shown.
    pub(crate) secrets: Vec<Span>,
    /// The key whose value is read.
    pub(crate) about: About,
    /// Where that key stands, to follow its name: empty, or such as " of service `web`".
    pub(crate) owner: String,
}

impl Reader {
    pub(crate) fn new(source: &Source) -> Self {
        let nothing =
            About { name: "", kind: Kind::Section(""), default: "", default_note: "", example: "", doc: "" };
        Self {
            source: source.clone(),
            diagnostics: Vec::new(),
            secrets: Vec::new(),
            about: nothing,
            owner: String::new(),
        }
    }

    /// The whole file.
    pub(crate) fn manifest(&mut self, node: &Node) -> ManifestDraft {
        let mut draft = ManifestDraft::default();
        if let Value::Map(_) = &node.value {
            self.fields(&fields::MANIFEST, String::new(), node, &mut draft);
        } else {
            let message = format!("a manifest is a map of settings, found {}", found(node));
            let diagnostic = Diagnostic::error("wrong_type", message)
                .at(&self.source, node.span.clone())
                .hint("it begins with a key such as `services:` or `routes:`");
            self.diagnostics.push(diagnostic);
        }
        draft
    }

    /// A section that is the value of the key at hand. Answers which keys were given.
    pub(crate) fn section<T>(&mut self, section: &Section<T>, node: &Node, into: &mut T) -> Vec<Given> {
        let owner = format!(" of `{}`{}", self.about.name, self.owner);
        match &node.value {
            Value::Map(_) => self.fields(section, owner, node, into),
            _ if node.is_null() => Vec::new(),
            _ => {
                self.wrong(node);
                Vec::new()
            }
        }
    }

    pub(crate) fn fields<T>(
        &mut self,
        section: &Section<T>,
        owner: String,
        node: &Node,
        into: &mut T,
    ) -> Vec<Given> {
        let Value::Map(entries) = &node.value else { return Vec::new() };
        let outside = (self.about, std::mem::replace(&mut self.owner, owner));
        let mut given = Vec::new();
        for entry in entries {
            if section.name == "manifest" && entry.key.starts_with("x-") {
                continue;
            }
            let Some(field) = section.fields.iter().find(|field| field.about.name == entry.key) else {
                self.unknown_key(section, entry);
                continue;
            };
            self.about = field.about;
            given.push(Given {
                name: field.about.name,
                key: entry.key_span.clone(),
                value: entry.value.span.clone(),
            });
            if matches!(entry.value.value, Value::Refused) {
                continue;
            }
            if entry.value.is_null() && !field.about.kind.may_be_empty() {
                let message = format!("`{}`{} has no value", field.about.name, self.owner);
                let hint = format!("for example {}, or remove the line", self.example());
                self.error("no_value", message, &entry.key_span, &hint);
                continue;
            }
            (field.put)(self, &entry.value, into);
        }
        (self.about, self.owner) = outside;
        given
    }

    /// Puts a value where it belongs, unless it was wrong.
    pub(crate) fn put<V>(&mut self, node: &Node, into: &mut V, read: fn(&mut Self, &Node) -> Option<V>) {
        if let Some(value) = read(self, node) {
            *into = value;
        }
    }

    /// A text that is not empty.
    pub(crate) fn text(&mut self, node: &Node) -> Option<String> {
        match node.scalar() {
            Some(Scalar { text, kind: ScalarKind::Text, .. }) if !text.trim().is_empty() => {
                Some(text.clone())
            }
            Some(Scalar { kind: ScalarKind::Text, .. }) => {
                let message = format!("`{}`{} is an empty text", self.about.name, self.owner);
                let hint = format!("for example {}, or remove the line", self.example());
                self.error("no_value", message, &node.span, &hint);
                None
            }
            _ => {
                self.wrong(node);
                None
            }
        }
    }

    /// One of the words of the key's kind.
    pub(crate) fn word(&mut self, node: &Node) -> Option<&'static str> {
        let Kind::Word(words) = self.about.kind else { return None };
        self.word_of(node, words)
    }

    fn word_of(&mut self, node: &Node, words: &'static [&'static str]) -> Option<&'static str> {
        let Some(Scalar { text, .. }) = node.scalar() else {
            self.wrong(node);
            return None;
        };
        let known = words.iter().find(|word| *word == text).copied();
        if known.is_none() {
            let message = format!(
                "`{}`{} must be {}, found {}",
                self.about.name,
                self.owner,
                words_of(words),
                found(node)
            );
            let hint = match text.to_lowercase().replace('_', "-").as_str() {
                "no" | "none" | "false" | "off" => Some("never"),
                "unless-stopped" | "yes" | "true" | "on" => Some("always"),
                "service-healthy" => Some("healthy"),
                "service-started" => Some("started"),
                other => words.iter().find(|word| **word == other).copied(),
            };
            let hint = hint
                .filter(|word| words.contains(word))
                .map(|word| format!("write `{word}`"))
                .or_else(|| {
                    base::did_you_mean(text, words.iter().copied())
                        .map(|word| format!("did you mean `{word}`?"))
                })
                .unwrap_or_default();
            self.error("wrong_word", message, &node.span, &hint);
        }
        known
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, node: &Node) -> Option<bool> {
        if let Some(Scalar { kind: ScalarKind::Flag(flag), .. }) = node.scalar() {
            return Some(*flag);
        }
        self.wrong(node);
        None
    }

    /// A whole number within the kind's bounds.
    pub(crate) fn whole<N: TryFrom<i64>>(&mut self, node: &Node) -> Option<N> {
        let Kind::Whole(least, most) = self.about.kind else { return None };
        if let Some(Scalar { kind: ScalarKind::Whole(number), .. }) = node.scalar()
            && (least..=most).contains(number)
            && let Ok(number) = N::try_from(*number)
        {
            return Some(number);
        }
        self.wrong(node);
        None
    }

    /// A share, or so many a second.
    pub(crate) fn sample(&mut self, node: &Node) -> Option<Sample> {
        let sample = match node.scalar() {
            Some(Scalar { text, kind: ScalarKind::Whole(_) | ScalarKind::Fraction, .. }) => {
                let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
                share.map(|share| Sample::Millionths((share * 1e6).round() as u32))
            }
            Some(Scalar { text, kind: ScalarKind::Text, .. }) => {
                let digits =
                    text.strip_suffix("/s").filter(|text| matches!(text.as_bytes(), [b'1'..=b'9', ..]));
                let rate = digits.and_then(|digits| digits.parse().ok());
                rate.filter(|rate| *rate < 1_000_000).map(Sample::PerSecond)
            }
            _ => None,
        };
        if sample.is_none() {
            self.wrong(node);
        }
        sample
    }

    /// A duration within the kind's bounds.
    pub(crate) fn duration(&mut self, node: &Node) -> Option<Duration> {
        let Kind::Duration(least, most) = self.about.kind else { return None };
        let duration = match node.scalar() {
            Some(Scalar { kind: ScalarKind::Whole(0), .. }) => Duration::ZERO,
            Some(Scalar { text, kind: ScalarKind::Text, .. }) if text.parse::<f64>().is_err() => {
                match base::parse_duration(text) {
                    Ok(duration) => duration,
                    Err(error) => {
                        let message = format!("`{}`{}: {error}", self.about.name, self.owner);
                        let hint = format!("write it like {} or `1m30s`; a day is `24h`", self.example());
                        self.error("bad_duration", message, &node.span, &hint);
                        return None;
                    }
                }
            }
            _ => {
                self.wrong(node);
                return None;
            }
        };
        if !(least..=most).contains(&duration) {
            self.wrong(node);
            return None;
        }
        Some(duration)
    }

    /// A size within the kind's bounds.
    pub(crate) fn size(&mut self, node: &Node) -> Option<u64> {
        let Kind::Size(least, most) = self.about.kind else { return None };
        let size = match node.scalar() {
            Some(Scalar { kind: ScalarKind::Whole(number), .. }) => u64::try_from(*number).ok(),
            Some(Scalar { text, kind: ScalarKind::Text, .. }) => match base::parse_bytes(text) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    let message = format!("`{}`{}: {error}", self.about.name, self.owner);
                    let hint = format!("write it like {}", self.example());
                    self.error("bad_size", message, &node.span, &hint);
                    return None;
                }
            },
            _ => None,
        };
        let size = size.filter(|size| (least..=most).contains(size));
        if size.is_none() {
            self.wrong(node);
        }
        size
    }

    /// `ip:port`; of this machine where the kind says so.
    pub(crate) fn address(&mut self, node: &Node) -> Option<SocketAddr> {
        let text = node.scalar().map(|scalar| scalar.text.trim()).unwrap_or_default();
        let local = self.about.kind != Kind::Address;
        let parsed = match text.strip_prefix("localhost:") {
            Some(port) => port.parse().ok().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            None => text.parse().ok(),
        };
        let Some(address) = parsed else {
            let name = self.about.name;
            let default = self.about.default.rsplit(':').next().unwrap_or("8080");
            let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>().ok();
            let hint = match port {
                Some(port) if local => format!("write `{name}: 127.0.0.1:{port}`"),
                Some(port) => format!(
                    "write `{name}: 127.0.0.1:{port}` for this machine only, or `0.0.0.0:{port}` for every machine \
                     that reaches it"
                ),
                None => {
                    let bare = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
                    match bare.parse::<IpAddr>() {
                        Ok(IpAddr::V4(ip)) => format!("add the port: `{name}: {ip}:{default}`"),
                        Ok(IpAddr::V6(ip)) => format!("add the port: `{name}: '[{ip}]:{default}'`"),
                        Err(_) if bare.parse::<SocketAddr>().is_ok() => format!("write `{name}: {bare}`"),
                        Err(_) => format!("write an IP address and a port: `{name}: 127.0.0.1:{default}`"),
                    }
                }
            };
            let message = format!(
                "`{name}`{} must be {}, found {}",
                self.owner,
                self.about.kind.expected(),
                found(node)
            );
            self.error("bad_address", message, &node.span, &hint);
            return None;
        };
        if local && !address.ip().is_loopback() {
            let message = format!("`{}`{} would be open to other machines", self.about.name, self.owner);
            let hint = format!(
                "write `{}: 127.0.0.1:{}`: it asks nobody who they are yet, so it stays on this machine",
                self.about.name,
                address.port()
            );
            self.error("open_to_others", message, &node.span, &hint);
            return None;
        }
        Some(address)
    }

    /// The same, or `off` for none.
    pub(crate) fn put_address_or_off(&mut self, node: &Node, into: &mut Option<SocketAddr>) {
        match node.scalar() {
            Some(Scalar { kind: ScalarKind::Flag(false), .. }) => *into = None,
            Some(Scalar { text, .. }) if text == "off" => *into = None,
            _ => *into = self.address(node).or(*into),
        }
    }

    /// One path.
    pub(crate) fn path(&mut self, node: &Node) -> Option<PathBuf> {
        self.text(node).map(PathBuf::from)
    }

    /// One path or several.
    pub(crate) fn paths(&mut self, node: &Node) -> Vec<PathBuf> {
        one_or_more(node).iter().filter_map(|node| self.path(node)).collect()
    }

    /// eskip text and how its places are found in the file.
    pub(crate) fn inline(&mut self, node: &Node) -> Option<(String, TextMap)> {
        self.text(node).map(|text| (text, TextMap::of(node, &self.source.text)))
    }

    /// The value of `routes`.
    pub(crate) fn routes(&mut self, node: &Node, draft: &mut ManifestDraft) {
        match &node.value {
            Value::List(items) => {
                for item in items {
                    self.routes_entry(item, draft);
                }
            }
            _ if node.is_null() => {}
            _ => self.routes_entry(node, draft),
        }
    }

    fn routes_entry(&mut self, node: &Node, draft: &mut ManifestDraft) {
        let entry = match &node.value {
            Value::Map(_) => {
                let mut routes = RoutesDraft::default();
                let before = self.diagnostics.len();
                let given = self.section(&fields::ROUTES, node, &mut routes);
                if given.len() != 1 && self.diagnostics.len() == before {
                    let hint = "write `- inline: …` or `- file: routes.eskip`";
                    let message = "an entry of `routes` has one of `inline` and `file`";
                    self.error("inline_or_file", message, &node.span, hint);
                    return;
                }
                let file = routes.file.map(|(path, span)| RoutesEntry::File { path, span });
                routes.inline.map(|inline| draft.inline(inline)).or(file)
            }
            _ => match self.inline(node) {
                // Only eskip has arrows and lines.
                Some(inline) if inline.0.contains("->") || inline.0.contains('\n') => {
                    Some(draft.inline(inline))
                }
                Some((text, _)) => Some(RoutesEntry::File { path: text.into(), span: node.span.clone() }),
                None => None,
            },
        };
        draft.routes.extend(entry);
    }

    /// The value of `services`.
    pub(crate) fn services(&mut self, node: &Node, draft: &mut ManifestDraft) {
        for entry in self.entries(node) {
            let name = &entry.key;
            if !names::is_service_name(name) {
                let message = format!("`{name}` can't be a service's name");
                let hint = match names::valid_spelling(name) {
                    Some(valid) => format!("write `{valid}`: lower-case letters, digits and dashes"),
                    None => "use lower-case letters, digits and dashes, beginning with a letter".to_owned(),
                };
                self.error("bad_name", message, &entry.key_span, &hint);
            }
            let mut service = ServiceDraft::new(name.clone(), entry.key_span.clone());
            let hint = match entry.value.scalar() {
                Some(Scalar { text, kind: ScalarKind::Text, .. }) if text.starts_with("http") => {
                    format!("write `{name}: {{at: {}}}`", shown(text))
                }
                Some(Scalar { text, kind: ScalarKind::Text, .. }) => {
                    format!("write `{name}: {{run: {}}}`", shown(text))
                }
                _ => format!("for example `{name}: {{run: npm start}}`"),
            };
            match self.named(&fields::SERVICE, entry, &mut service, &hint) {
                Some(given) => service.given = given,
                None => service.unreadable = true,
            }
            draft.services.push(service);
        }
    }

    /// The entries of a map of names, as many as go.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node) -> &'n [Entry] {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            _ if node.is_null() => return &[],
            _ => {
                self.wrong(node);
                return &[];
            }
        };
        if let Some(entry) = entries.get(NAMED_MAX) {
            let message = format!(
                "`{}`{} has {} entries, at most {NAMED_MAX} go",
                self.about.name,
                self.owner,
                entries.len()
            );
            self.error("too_many", message, &entry.key_span, "");
        }
        &entries[..entries.len().min(NAMED_MAX)]
    }

    /// What an entry of a map of names says, which is a section. Answers which keys were given; `None`, and the hint
    /// beside the error, for what is no map.
    pub(crate) fn named<T>(
        &mut self,
        section: &Section<T>,
        entry: &Entry,
        into: &mut T,
        hint: &str,
    ) -> Option<Vec<Given>> {
        let owner = format!("{} `{}`", section.name, entry.key);
        match &entry.value.value {
            Value::Map(_) => Some(self.fields(section, format!(" of {owner}"), &entry.value, into)),
            _ if entry.value.is_null() => Some(Vec::new()),
            Value::Refused => None,
            _ => {
                let message = format!("{owner} must be a map, found {}", found(&entry.value));
                self.error("wrong_type", message, &entry.value.span, hint);
                None
            }
        }
    }
}

/// The items of a list; anything else as the only item.
fn one_or_more(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}
