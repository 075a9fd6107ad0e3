//! The section `consumers`: its values, its keys, and how the kinds that only it has are read. What a consumer does is
//! the message plane's matter.

use crate::draft::{Given, ManifestDraft};
use crate::fields::{Section, key};
use crate::kinds::Kind;
use crate::names;
use crate::reader::Reader;
use crate::values::Flag;
use crate::yaml::{Entry, Node, ScalarKind, Value};
use base::Span;
use std::time::Duration;

/// Bytes of a consumer's name.
const NAME_BYTES_MAX: usize = 100;
/// Types that a consumer may name.
const TYPES_MAX: usize = 100;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_hours(1);

/// Who handles messages of a category.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// Up to 100 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Where the name stands in the manifest.
    pub span: Span,
    /// Whose messages it takes.
    pub category: String,
    /// Who handles them; `None`: whoever asks for them.
    pub handler: Option<ConsumerHandler>,
    /// Only messages of these types; empty takes all.
    pub types: Vec<String>,
    /// Only messages whose `correlationStreamName` is of this category.
    pub correlation: Option<String>,
    /// Where it begins when it is new.
    pub start: ConsumerStart,
    /// Shares of the group.
    pub size: u16,
    /// The only share that this node takes; `None`: its even part.
    pub member: Option<u16>,
    /// Messages of one push.
    pub batch: usize,
    /// Deliveries of a share under way together.
    pub concurrency: usize,
    /// How long a delivery may take.
    pub timeout: Duration,
    /// Attempts before a message is a dead letter.
    pub attempts: u32,
    /// The longest first pause between attempts, which doubles.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// Whether what the handler refuses (4xx) is a dead letter at once.
    pub refused_is_dead: bool,
}

/// A service, and where in it messages are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerHandler {
    /// The service.
    pub service: String,
    /// Begins with `/`.
    pub path: String,
}

/// Where a consumer begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConsumerStart {
    /// With the first message there is.
    #[default]
    Beginning,
    /// Behind the last message there is.
    End,
    /// With the message at this global position.
    Position(i64),
    /// With the first message of this time (RFC 3339) or later.
    Time(String),
}

impl Consumer {
    fn new(name: String, span: Span) -> Self {
        Self {
            name,
            span,
            category: String::new(),
            handler: None,
            types: Vec::new(),
            correlation: None,
            start: ConsumerStart::default(),
            size: 1,
            member: None,
            batch: 1,
            concurrency: 16,
            timeout: Duration::from_secs(30),
            attempts: 10,
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(60),
            refused_is_dead: false,
        }
    }
}

/// A consumer with the keys that were given.
pub(crate) struct ConsumerDraft {
    pub(crate) value: Consumer,
    given: Vec<Given>,
}

impl ConsumerDraft {
    /// Where a key was given.
    pub(crate) fn given(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.name == name)
    }
}

pub(crate) static CONSUMER: Section<Consumer> = Section {
    name: "consumer",
    doc: "Who handles the messages of a category: each at least once and in the order of its stream. Its name is made \
          of up to 100 letters, digits, `-`, `_` and `.`.",
    fields: &[
        key("category", Kind::Category)
            .example("order")
            .doc("Whose messages it takes: those of all streams of this category.")
            .put(|r, node, c| r.put(node, &mut c.category, Reader::category)),
        key("handler", Kind::Handler)
            .default_note("whoever asks takes them")
            .example("shop/orders")
            .doc(
                "The service, and the path in it, that messages are posted to. Without one, messages are taken and \
                 acknowledged over the API.",
            )
            .put(|r, node, c| c.handler = r.handler(node)),
        key("types", Kind::Texts)
            .default_note("all")
            .example("[OrderPlaced, OrderCancelled]")
            .doc("Only messages of these types.")
            .put(|r, node, c| c.types = r.texts(node)),
        key("correlation", Kind::Category)
            .default_note("all")
            .example("cart")
            .doc("Only messages whose `correlationStreamName` in the metadata is of this category.")
            .put(|r, node, c| c.correlation = r.category(node)),
        key("start", Kind::Start)
            .default("beginning")
            .example("end")
            .doc(
                "Where it begins when it is new: with the first message, behind the last one, at a global position, \
                 or at a time. After that it goes on from where it is.",
            )
            .put(|r, node, c| r.put(node, &mut c.start, Reader::start)),
        key("size", Kind::Whole(1, 500))
            .default("1")
            .example("4")
            .doc(
                "Shares of the group. Each takes some of the streams, and nodes over one store take even parts of \
                 them. With more than one, streams without an id (`order` alone) belong to none.",
            )
            .put(|r, node, c| r.put(node, &mut c.size, Reader::whole)),
        key("member", Kind::Whole(0, 499))
            .default_note("an even part")
            .example("0")
            .doc("The only share that this node takes.")
            .put(|r, node, c| c.member = r.whole(node)),
        key("batch", Kind::Whole(1, 100))
            .default("1")
            .example("20")
            .doc("Messages of one push. More than one are posted as an array and are handled or fail together.")
            .put(|r, node, c| r.put(node, &mut c.batch, Reader::whole)),
        key("concurrency", Kind::Whole(1, 256))
            .default("16")
            .example("4")
            .doc("Deliveries of a share that are under way together, each of other streams.")
            .put(|r, node, c| r.put(node, &mut c.concurrency, Reader::whole)),
        key("timeout", Kind::Duration(MS, HOUR))
            .default("30s")
            .example("5s")
            .doc("How long a delivery may take before it has failed.")
            .put(|r, node, c| r.put(node, &mut c.timeout, Reader::duration)),
        key("attempts", Kind::Whole(1, 1_000))
            .default("10")
            .example("3")
            .doc("How often a message is tried before it is a dead letter.")
            .put(|r, node, c| r.put(node, &mut c.attempts, Reader::whole)),
        key("backoff", Kind::Duration(MS, HOUR))
            .default("200ms")
            .example("1s")
            .doc("The longest first pause between attempts. It doubles, and each is drawn from nothing to that.")
            .put(|r, node, c| r.put(node, &mut c.backoff, Reader::duration)),
        key("backoff_max", Kind::Duration(MS, HOUR))
            .default("1m")
            .example("10m")
            .doc("The longest pause between attempts.")
            .put(|r, node, c| r.put(node, &mut c.backoff_max, Reader::duration)),
        key("refused", Kind::Word(&["retry", "dead-letter"]))
            .default("retry")
            .example("dead-letter")
            .doc("What becomes of a message that its handler answers with 4xx, but for 408, 425 and 429.")
            .put(|r, node, c| {
                if let Some(word) = r.word(node) {
                    c.refused_is_dead = word == "dead-letter";
                }
            }),
    ],
};

impl Reader {
    /// The value of `consumers`.
    pub(crate) fn consumers(&mut self, node: &Node, draft: &mut ManifestDraft) {
        for entry in self.entries(node) {
            let name = &entry.key;
            self.check_name("a consumer", entry);
            let mut value = Consumer::new(name.clone(), entry.key_span.clone());
            let hint = format!("for example `{name}: {{category: order, handler: shop/orders}}`");
            if let Some(given) = self.named(&CONSUMER, entry, &mut value, &hint) {
                self.check_backoff(&value, &given);
                draft.consumers.push(ConsumerDraft { value, given });
            }
        }
    }

    /// The name of what is known by it in the store: a consumer's, an outbox's.
    pub(crate) fn check_name(&mut self, whose: &str, entry: &Entry) {
        let name = &entry.key;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
            let message = format!("`{name}` can't be {whose}'s name");
            let hint = format!("use up to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`");
            self.error("bad_name", message, &entry.key_span, &hint);
        }
    }

    fn check_backoff(&mut self, consumer: &Consumer, given: &[Given]) {
        let place = |name: &str| given.iter().find(|given| given.name == name);
        if consumer.backoff > consumer.backoff_max
            && let Some(given) = place("backoff_max").or(place("backoff"))
        {
            let longer = base::format_duration(consumer.backoff);
            let message = format!(
                "`backoff_max` of consumer `{}` is shorter than `backoff`: {} and {longer}",
                consumer.name,
                base::format_duration(consumer.backoff_max)
            );
            let hint = format!("write `backoff_max: {longer}` or longer");
            self.error("bad_backoff", message, &given.value, &hint);
        }
    }

    /// A category.
    fn category(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        if let Some((category, _)) = text.split_once('-') {
            let message = format!("`{}`{} must be a category, found `{text}`", self.about.name, self.owner);
            let hint = if category.is_empty() {
                "a category is what a stream's name has before its first `-`".to_owned()
            } else {
                format!("the category of the stream `{text}` is `{category}`")
            };
            self.error("bad_category", message, &node.span, &hint);
            return None;
        }
        Some(text)
    }

    /// `SERVICE/PATH`. Whether there is such a service is checked when all are known.
    fn handler(&mut self, node: &Node) -> Option<ConsumerHandler> {
        let text = self.text(node)?;
        let (service, path) = text.split_once('/').unwrap_or((&text, ""));
        let path_fits = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if names::is_service_name(service) && path_fits {
            return Some(ConsumerHandler { service: service.to_owned(), path: format!("/{path}") });
        }
        let message =
            format!("`handler`{} must be {}, found `{text}`", self.owner, self.about.kind.expected());
        let hint = match text.split_once("://") {
            Some(_) => "name a service: one that runs elsewhere is declared with `at`",
            None => "for example `handler: shop/orders`",
        };
        self.error("bad_handler", message, &node.span, hint);
        None
    }

    /// Texts, none of them empty.
    pub(crate) fn texts(&mut self, node: &Node) -> Vec<String> {
        let Value::List(items) = &node.value else {
            self.wrong(node);
            return Vec::new();
        };
        if items.len() > TYPES_MAX {
            let message = format!(
                "`{}`{} has {} entries, at most {TYPES_MAX} go",
                self.about.name,
                self.owner,
                items.len()
            );
            self.error("too_many", message, &node.span, "");
            return Vec::new();
        }
        items.iter().filter_map(|item| self.text(item)).collect()
    }

    /// Words of a command line, each with its place.
    pub(crate) fn flags(&mut self, node: &Node) -> Vec<Flag> {
        let texts = self.texts(node);
        let items = if let Value::List(items) = &node.value { &items[..] } else { &[] };
        let placed = |(text, item): (String, &Node)| Flag { text, span: item.span.clone() };
        // Where one of them is no text there is no manifest.
        texts.into_iter().zip(items).map(placed).collect()
    }

    /// Where a consumer begins.
    fn start(&mut self, node: &Node) -> Option<ConsumerStart> {
        match node.scalar().map(|scalar| (&scalar.kind, scalar.text.as_str())) {
            Some((ScalarKind::Text, "beginning")) => return Some(ConsumerStart::Beginning),
            Some((ScalarKind::Text, "end")) => return Some(ConsumerStart::End),
            Some((ScalarKind::Whole(position), _)) if *position >= 0 => {
                return Some(ConsumerStart::Position(*position));
            }
            Some((ScalarKind::Text, text)) if text.parse::<jiff::Timestamp>().is_ok() => {
                return Some(ConsumerStart::Time(text.to_owned()));
            }
            _ => self.wrong(node),
        }
        None
    }
}
