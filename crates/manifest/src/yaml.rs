//! YAML 1.2 text to a tree of [`Node`]s that know their bytes in the file. The grammar is granit-parser's
//! (the parser beneath serde-saphyr); it is named in this folder only. Here stand the bounds, aliases, merge
//! keys and doubled keys; what a syntax error says is `slips.rs`'s matter.

mod core_schema;
mod slips;

pub(crate) use core_schema::ScalarKind;

use base::{Diagnostic, Source, Span};
use granit_parser::{Event, Parser, ScalarStyle, StructureStyle, Tag};
use serde_json::Value as Json;
use std::collections::HashMap;

/// Most bytes of a file.
pub(crate) const BYTES_MAX: usize = 1 << 20;
/// Most nodes of a file, those that aliases bring in included.
pub(crate) const NODES_MAX: usize = 50_000;
/// Most bytes of text that aliases may bring in.
pub(crate) const ALIASED_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting. Every recursion over a tree is bounded by it.
pub(crate) const DEPTH_MAX: usize = 64;

/// A value and where it stands. A list or map written over several lines is pointed at by its beginning.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// It was said to be wrong; nothing more is said of it.
    Refused,
}

/// A scalar as it was written, escapes and folding resolved, and what YAML 1.2's core schema makes of it.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) kind: ScalarKind,
    pub(crate) style: Style,
}

/// How a scalar is written, as far as places inside it depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Plain or a block: the characters are the text's, but for white space.
    Bare,
    /// In single quotes: `''` is one.
    Single,
    /// In double quotes: with escapes.
    Double,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

/// A file that was read.
pub(crate) struct Tree {
    pub(crate) root: Node,
    /// Places of what is in no node: what was refused, and names of anchors.
    pub(crate) dropped: Vec<Span>,
}

impl Node {
    /// The text of a scalar, whatever its kind.
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// As JSON; a number that JSON does not have stays a text.
    pub(crate) fn json(&self) -> Json {
        match &self.value {
            Value::Scalar(Scalar { text, kind, .. }) => match kind {
                ScalarKind::Null => Json::Null,
                ScalarKind::Flag(flag) => Json::Bool(*flag),
                ScalarKind::Whole(number) => Json::from(*number),
                ScalarKind::Fraction => text.parse::<f64>().map_or(Json::from(text.as_str()), Json::from),
                ScalarKind::Text => Json::from(text.as_str()),
            },
            Value::Refused => Json::Null,
            Value::List(items) => items.iter().map(Node::json).collect(),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect())
            }
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.kind == ScalarKind::Null)
    }
}

/// Reads a file. `None` for one that is empty or can't be read, which is then said in `diagnostics`; a slip
/// that leaves the rest readable (a doubled key, an unknown alias) is said and the tree given all the same.
///
/// `shown` is the text as it may be quoted: `source` with what must not be read made unreadable.
pub(crate) fn parse(source: &Source, shown: &Source, diagnostics: &mut Vec<Diagnostic>) -> Option<Tree> {
    let text: &str = &source.text;
    if text.len() > BYTES_MAX {
        let message = format!("the file has {} bytes, at most {BYTES_MAX} are read", text.len());
        diagnostics.push(Diagnostic::error("too_large", message).at(source, 0..0));
        return None;
    }
    let mut options = granit_parser::options! {
        emit_unresolved_aliases: true,
        emit_anchor_events: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    // Comment events would come if another crate of the build turned that feature on.
    options.set_emit_comments(false);
    let mut builder = Builder::new(source, diagnostics);
    for event in Parser::new_from_str_with_options(text, options) {
        let next = match event {
            Ok((event, span)) => builder.take(event, &span),
            Err(error) => Err(Box::new(slips::explain(source, shown, &error, &builder.so_far()))),
        };
        if let Err(diagnostic) = next {
            builder.diagnostics.push(*diagnostic);
            return None;
        }
    }
    let dropped = builder.dropped;
    builder.root.map(|root| Tree { root, dropped })
}

/// Ends the reading.
type Fatal = Box<Diagnostic>;

/// It was said to be wrong.
struct Refused;

struct Builder<'a> {
    source: &'a Source,
    diagnostics: &'a mut Vec<Diagnostic>,
    root: Option<Node>,
    dropped: Vec<Span>,
    documents: usize,
    /// Lists and maps begun and not ended, outermost first; at most [`DEPTH_MAX`].
    open: Vec<Open>,
    anchors: HashMap<usize, Anchor>,
    names: HashMap<usize, String>,
    nodes: usize,
    aliased_bytes: usize,
    last_scalar: Option<Span>,
}

struct Open {
    span: Span,
    flow: bool,
    anchor: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Key,
        /// Whether a key was refused.
        refused: bool,
    },
}

/// The key of a map that waits for its value.
#[derive(Default)]
enum Key {
    #[default]
    None,
    Word(String, Span),
    /// It is no word, which was said: its value is left out.
    Refused,
}

/// What an anchor names, and what one more of it costs.
struct Anchor {
    node: Node,
    cost: Cost,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

impl<'a> Builder<'a> {
    fn new(source: &'a Source, diagnostics: &'a mut Vec<Diagnostic>) -> Self {
        Self {
            source,
            diagnostics,
            root: None,
            dropped: Vec::new(),
            documents: 0,
            open: Vec::new(),
            anchors: HashMap::new(),
            names: HashMap::new(),
            nodes: 0,
            aliased_bytes: 0,
            last_scalar: None,
        }
    }

    /// What an explanation of a syntax error goes by.
    fn so_far(&self) -> slips::SoFar {
        slips::SoFar {
            last_scalar: self.last_scalar.clone(),
            open_flow: self.open.iter().rev().find(|open| open.flow).map(|open| open.span.start),
        }
    }

    fn take(&mut self, event: Event<'_>, span: &granit_parser::Span) -> Result<(), Fatal> {
        let tag_span = span.tag_span().map_or_else(|| self.bytes(span), |tag| self.bytes(&tag));
        let span = self.bytes(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return self.fatal(
                        "several_documents",
                        "a second YAML document begins here",
                        span,
                        Some("a manifest is one document: remove the line `---` or `...`"),
                    );
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.last_scalar = Some(span.clone());
                let quoted = !matches!(style, ScalarStyle::Plain);
                let tagged = match self.tag(tag.as_deref(), &tag_span) {
                    Ok(tagged) => tagged,
                    Err(Refused) => return self.add(Node { span, value: Value::Refused }, anchor),
                };
                let as_text = tagged || quoted;
                let empty = span.is_empty() && !quoted;
                let kind = match () {
                    () if as_text => ScalarKind::Text,
                    () if empty => ScalarKind::Null,
                    () => core_schema::kind_of(&text),
                };
                let text = if empty { String::new() } else { text.into_owned() };
                let style = match style {
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    _ => Style::Bare,
                };
                let node = Node { span, value: Value::Scalar(Scalar { text, kind, style }) };
                self.add(node, anchor)
            }
            Event::SequenceStart(style, anchor, tag) => {
                let _ = self.tag(tag.as_deref(), &tag_span);
                self.begin(span, style, anchor, Items::List(Vec::new()))
            }
            Event::MappingStart(style, anchor, tag) => {
                let _ = self.tag(tag.as_deref(), &tag_span);
                self.begin(
                    span,
                    style,
                    anchor,
                    Items::Map { entries: Vec::new(), key: Key::None, refused: false },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&span),
            Event::Anchor(id, name) => {
                self.names.insert(id, name.into_owned());
                self.dropped.push(span);
                Ok(())
            }
            Event::Alias(id) => {
                let Some(anchor) = self.anchors.get(&id) else {
                    let message = "an anchor can't be used inside what it names";
                    return self.fatal("endless_alias", message, span, None);
                };
                let (node, cost) = (anchor.node.clone(), anchor.cost);
                self.nodes += cost.nodes;
                self.aliased_bytes += cost.bytes;
                if self.nodes > NODES_MAX
                    || self.aliased_bytes > ALIASED_BYTES_MAX
                    || self.open.len() + cost.depth > DEPTH_MAX
                {
                    return self.fatal(
                        "too_large",
                        "the aliases of this file multiply to more than is read",
                        span,
                        Some("write the values out where they are needed"),
                    );
                }
                self.add(node, 0)
            }
            Event::UnresolvedAlias(name) => {
                self.diagnostics.push(
                    // Its name is not repeated: it may be a variable's value without its quotes.
                    Diagnostic::error("unknown_anchor", "this alias names an anchor that is not there")
                        .at(self.source, span.clone())
                        .hint("a text that begins with `*` needs quotes around it")
                        .suggest(&name, self.names.values().map(String::as_str)),
                );
                self.add(Node { span, value: Value::Refused }, 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, span: Span, style: StructureStyle, anchor: usize, items: Items) -> Result<(), Fatal> {
        if self.open.len() >= DEPTH_MAX {
            return self.fatal("too_deep", format!("nested more than {DEPTH_MAX} deep"), span, None);
        }
        self.open.push(Open { span, flow: style == StructureStyle::Flow, anchor, items });
        Ok(())
    }

    fn end(&mut self, end: &Span) -> Result<(), Fatal> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let start = open.span.start;
        let sign = start + self.source.text[start..].chars().next().map_or(0, char::len_utf8);
        let (value, first) = match open.items {
            Items::List(items) => (Value::List(items), sign),
            // `{{ name }}` of a template is meant as a text, so nothing is said of its parts.
            Items::Map { refused: true, .. } if open.flow => {
                self.dropped.push(start..end.end);
                (Value::Refused, start)
            }
            Items::Map { entries, .. } => {
                let first = entries.first().map_or(sign, |entry| entry.key_span.end);
                (Value::Map(self.settle(entries)), first)
            }
        };
        let span = start..if open.flow { end.end } else { first.max(start) };
        self.add(Node { span, value }, open.anchor)
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, mut node: Node, anchor: usize) -> Result<(), Fatal> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return self.fatal(
                "too_large",
                format!("the file has more than {NODES_MAX} values"),
                node.span,
                None,
            );
        }
        if anchor != 0 {
            let cost = cost(&node);
            // The copy that the anchor keeps counts as well: anchors within anchors multiply too.
            self.nodes += cost.nodes;
            self.aliased_bytes += cost.bytes;
            self.anchors.insert(anchor, Anchor { node: node.clone(), cost });
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::List(items)) => items.push(node),
            Some(Items::Map { entries, key, refused }) => match std::mem::take(key) {
                Key::Word(word, key_span) => {
                    if node.is_null() && node.span.is_empty() {
                        node.span = key_span.clone();
                    }
                    entries.push(Entry { key: word, key_span, value: node });
                }
                Key::Refused => self.dropped.push(node.span),
                Key::None => match node.value {
                    Value::Scalar(Scalar { text, kind, .. }) if kind != ScalarKind::Null => {
                        *key = Key::Word(text, node.span);
                    }
                    Value::Refused => *key = Key::Refused,
                    _ => {
                        *key = Key::Refused;
                        *refused = true;
                        self.dropped.push(node.span.clone());
                        self.diagnostics.push(
                            Diagnostic::error("key_is_no_text", "a key must be a word")
                                .at(self.source, node.span)
                                .hint("a text that begins with `{`, `[` or `?` needs quotes around it"),
                        );
                    }
                },
            },
        }
        Ok(())
    }

    /// A map's entries with `<<` carried out and doubled keys said. What stands in the map itself wins over
    /// what is merged in, and the first over the later (YAML's merge key, as YAML 1.1 defined it).
    fn settle(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut first: HashMap<String, usize> = HashMap::with_capacity(entries.len());
        let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
        let mut merged: Vec<Node> = Vec::new();
        for entry in entries {
            if let Some(at) = first.get(&entry.key).copied() {
                let line = self.source.position(at).0;
                let begin = entry.key_span.end + 1;
                // An anchor or a tag without a value is in no node, but may be a value without its quotes.
                let rest = self.source.text.get(begin..).unwrap_or_default();
                let bare = begin + rest.find(['\n', ',', '}']).unwrap_or(rest.len());
                let end = if entry.value.is_null() { bare } else { entry.value.span.end };
                self.dropped.push(begin..end.max(begin));
                // In a variable that was written with `=` the value follows.
                let name = entry.key.split('=').next().unwrap_or_default();
                self.diagnostics.push(
                    Diagnostic::error("doubled_key", format!("`{name}` is given twice"))
                        .at(self.source, entry.key_span)
                        .hint(format!("the first is on line {line}: keep one of them")),
                );
                continue;
            }
            first.insert(entry.key.clone(), entry.key_span.start);
            if entry.key == "<<" {
                merged.push(entry.value);
            } else {
                kept.push(entry);
            }
        }
        for node in merged {
            let span = node.span.clone();
            let maps = match node.value {
                Value::Refused => continue,
                Value::List(items) => items,
                _ => vec![node],
            };
            for map in maps {
                let Value::Map(entries) = map.value else {
                    self.diagnostics.push(
                        Diagnostic::error("merge_of_no_map", "`<<` takes in a map, and this is none")
                            .at(self.source, span.clone())
                            .hint(
                                "for example `<<: *defaults`, where `defaults: &defaults` stands above a map",
                            ),
                    );
                    continue;
                };
                for entry in entries {
                    if !first.contains_key(&entry.key) {
                        first.insert(entry.key.clone(), entry.key_span.start);
                        kept.push(entry);
                    }
                }
            }
        }
        kept
    }

    /// Whether the tag says that a scalar is text. Any other tag is said to be wrong.
    fn tag(&mut self, tag: Option<&Tag>, span: &Span) -> Result<bool, Refused> {
        let Some(tag) = tag else { return Ok(false) };
        if tag.is_yaml_core_schema_tag("str") {
            return Ok(true);
        }
        let diagnostic = Diagnostic::error("tag", "this tag means nothing here")
            .at(self.source, span.clone())
            .hint("put quotes around a text that begins with `!`; otherwise remove the tag");
        self.diagnostics.push(diagnostic);
        Err(Refused)
    }

    /// granit-parser counts characters and bytes; only the bytes are used. Both are there for a text in memory.
    fn bytes(&self, span: &granit_parser::Span) -> Span {
        let length = self.source.text.len();
        let start = span.start.byte_offset().unwrap_or(0).min(length);
        start..span.end.byte_offset().unwrap_or(0).clamp(start, length)
    }

    fn fatal(
        &self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        hint: Option<&str>,
    ) -> Result<(), Fatal> {
        let diagnostic = Diagnostic::error(code, message).at(self.source, span);
        Err(Box::new(match hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }))
    }
}

fn cost(node: &Node) -> Cost {
    let mut total = Cost { nodes: 1, ..Cost::default() };
    let mut add = |child: &Node, key_bytes: usize| {
        let cost = cost(child);
        total.nodes += cost.nodes;
        total.bytes += cost.bytes + key_bytes;
        total.depth = total.depth.max(cost.depth);
    };
    match &node.value {
        Value::Refused => return Cost { nodes: 1, ..Cost::default() },
        Value::Scalar(scalar) => return Cost { nodes: 1, bytes: scalar.text.len(), depth: 0 },
        Value::List(items) => items.iter().for_each(|item| add(item, 0)),
        Value::Map(entries) => entries.iter().for_each(|entry| add(&entry.value, entry.key.len())),
    }
    total.depth += 1;
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let mut diagnostics = Vec::new();
        let source = Source::new("t", text);
        assert!(parse(&source, &source, &mut diagnostics).is_none(), "{text:.40} was read");
        diagnostics.pop().expect("a refusal is said").message
    }

    #[test]
    fn every_bound_is_reached_and_said() {
        assert!(refusal(&" ".repeat(BYTES_MAX + 1)).contains("at most 1048576"));
        assert!(refusal(&format!("a: [{}]", "1,".repeat(NODES_MAX))).contains("more than 50000 values"));
        assert!(refusal(&"[".repeat(DEPTH_MAX + 1)).contains("64 deep"));
        let block = (0..=DEPTH_MAX).fold(String::new(), |all, depth| all + &" ".repeat(depth) + "a:\n");
        assert!(refusal(&block).contains("64 deep"));
    }

    #[test]
    fn aliases_that_multiply_are_refused() {
        let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for level in 1..9 {
            let below = format!("*a{},", level - 1).repeat(9);
            let level = format!("a{level}: &a{level} [{below}]\n");
            laughs += &level;
        }
        assert!(refusal(&laughs).contains("multiply"));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a,".repeat(20));
        assert!(refusal(&long).contains("multiply"));
        let deep = format!("a: &a {0}{1}\nb: {0}*a {1}\n", "[".repeat(40), "]".repeat(40));
        assert!(refusal(&deep).contains("multiply"));
        assert!(refusal("a: &a [*a]\n").contains("inside what it names"));
    }
}
