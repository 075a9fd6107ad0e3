//! The section `streams`: its keys and those of `keep`, and how the kinds that only it has are read.

use crate::fields::{Section, key};
use crate::kinds::Kind;
use crate::reader::Reader;
use crate::values::{Keep, StoreUrl, Streams};
use crate::yaml::Node;
use std::time::Duration;

pub(crate) static STREAMS: Section<Streams> = Section {
    name: "streams",
    doc: "Where streams of messages are kept, and how clients of Message DB reach them.",
    fields: &[
        key("store", Kind::StoreUrl)
            .default_note("files in `dir`")
            .example("postgres://tombolo@db.internal:5432/tombolo")
            .doc(
                "The PostgreSQL database that keeps the messages, which several nodes and other clients of Message DB \
                 may share. Without a password in it the variable `PGPASSWORD` holds it.",
            )
            .put(|r, node, s| s.store = r.store_url(node)),
        key("dir", Kind::Path)
            .default(".tombolo/store")
            .example("/var/lib/tombolo")
            .doc("The data directory, where no `store` is given; `tombolo store verify` and its kin read it.")
            .put(|r, node, s| r.put(node, &mut s.dir, Reader::path)),
        key("messagedb", Kind::LocalOrOff)
            .default("127.0.0.1:5433")
            .example("off")
            .doc("Message DB's interface over the PostgreSQL protocol. `off`: none.")
            .put(|r, node, s| r.put_address_or_off(node, &mut s.messagedb)),
        key("sql_condition", Kind::Flag)
            .default("false")
            .example("true")
            .doc("Clients may give a `condition` in SQL without asking for it, as Message DB's setting of this name.")
            .put(|r, node, s| r.put(node, &mut s.sql_condition, Reader::flag)),
        key("keep", Kind::Keep)
            .default_note("everything")
            .example("{metric: {age: 720h}, audit: {count: 1000000}}")
            .doc(
                "How long messages stay, by category: the oldest go for good, once an hour. Messages of other \
                 categories stay.",
            )
            .put(|r, node, s| s.keep = r.keep(node)),
    ],
};

pub(crate) static KEEP: Section<Keep> = Section {
    name: "keep",
    doc: "What stays of a category of messages. Positions of what stays do not change.",
    fields: &[
        key("age", Kind::Duration(Duration::from_secs(1), Duration::from_secs(100 * 366 * 24 * 3600)))
            .example("720h")
            .doc("Messages go when they are older.")
            .put(|r, node, k| k.age = r.duration(node).or(k.age)),
        key("count", Kind::Whole(0, i64::MAX))
            .example("1000000")
            .doc("The oldest messages go while there are more.")
            .put(|r, node, k| k.count = r.whole(node).map(i64::unsigned_abs).or(k.count)),
    ],
};

impl Reader {
    /// The address of a PostgreSQL database. It is noted as a secret first.
    fn store_url(&mut self, node: &Node) -> Option<StoreUrl> {
        self.secrets.push(node.span.clone());
        let text = self.text(node)?;
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Some(StoreUrl(text));
        }
        let message = format!("`{}`{} must be {}", self.about.name, self.owner, self.about.kind.expected());
        self.error("bad_store", message, &node.span, "leave it out to keep messages in files of `dir`");
        None
    }

    /// What stays of categories of messages.
    fn keep(&mut self, node: &Node) -> Vec<Keep> {
        let mut keeps = Vec::new();
        for entry in self.entries(node) {
            let category = &entry.key;
            if category.is_empty() || category.contains('-') {
                let message = format!("`{category}` is no category of messages");
                let hint = "a category is what stands before the first `-` in the name of a stream";
                self.error("bad_category", message, &entry.key_span, hint);
                continue;
            }
            let mut keep = Keep { category: category.clone(), ..Keep::default() };
            let hint = format!("for example `{category}: {{age: 720h}}`");
            let before = self.diagnostics.len();
            let given = self.named(&KEEP, entry, &mut keep, &hint);
            if given.is_some_and(|given| given.is_empty()) && self.diagnostics.len() == before {
                let message = format!("`keep` does not say what stays of `{category}`");
                self.error("no_value", message, &entry.key_span, "give it an `age`, a `count` or both");
            }
            keeps.push(keep);
        }
        keeps
    }
}
