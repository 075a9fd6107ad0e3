//! The section `streams`: its keys and those of `keep` and `outboxes`, and how the kinds that only it has are read.

use crate::fields::{Section, key};
use crate::kinds::Kind;
use crate::reader::Reader;
use crate::values::{Keep, Outbox, StoreUrl, Streams};
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
                 may share. Without a password in it the variable `PGPASSWORD` or the password file \
                 holds it.",
            )
            .put(|r, node, s| s.store = r.database(node, "leave it out to keep messages in files of `dir`")),
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
        key("outboxes", Kind::Outboxes)
            .default_note("none")
            .example("{billing: {database: 'postgres://billing@db.internal/billing'}}")
            .doc(
                "Tables of services' own databases from which messages are appended, by name, so that a service \
                 publishes in the transaction that changes its rows.",
            )
            .put(|r, node, s| s.outboxes = r.outboxes(node)),
    ],
};

pub(crate) static OUTBOX: Section<Outbox> = Section {
    name: "outbox",
    doc: "A table of a service's own PostgreSQL database from which messages are appended in the order of its column \
          `position`. A row goes when it is appended.",
    fields: &[
        key("database", Kind::StoreUrl)
            .example("postgres://billing@db.internal:5432/billing")
            .doc(
                "The service's database. Without a password in it the variable `PGPASSWORD` or the password file \
                 holds it.",
            )
            .put(|r, node, o| {
                let example = "for example `postgres://user@host:5432/database`";
                if let Some(url) = r.database(node, example) {
                    o.database = url;
                }
            }),
        key("table", Kind::Text)
            .default("outbox")
            .example("events.outbox")
            .doc("The table, or a view over one, as SQL writes its name.")
            .put(|r, node, o| r.put(node, &mut o.table, Reader::text)),
        key("every", Kind::Duration(Duration::from_millis(10), Duration::from_hours(1)))
            .default("1s")
            .example("5s")
            .doc("How often the table is looked at. `NOTIFY tombolo_outbox` has it looked at at once.")
            .put(|r, node, o| r.put(node, &mut o.every, Reader::duration)),
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
        key("count", Kind::Whole(0, 1_000_000_000_000))
            .example("1000000")
            .doc("The oldest messages go while there are more.")
            .put(|r, node, k| k.count = r.whole(node).map(i64::unsigned_abs).or(k.count)),
    ],
};

impl Reader {
    /// The address of a PostgreSQL database. It is noted as a secret first.
    fn database(&mut self, node: &Node, hint: &str) -> Option<StoreUrl> {
        self.secrets.push(node.span.clone());
        let text = self.text(node)?;
        self.store_url(text, node, hint)
    }

    /// The same, or nothing for the word `files`.
    pub(crate) fn database_or_files(&mut self, node: &Node, hint: &str) -> Option<StoreUrl> {
        self.secrets.push(node.span.clone());
        let text = self.text(node).filter(|text| text != "files")?;
        self.store_url(text, node, hint)
    }

    fn store_url(&mut self, text: String, node: &Node, hint: &str) -> Option<StoreUrl> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Some(StoreUrl(text));
        }
        let message = format!("`{}`{} must be {}", self.about.name, self.owner, self.about.kind.expected());
        self.error("bad_store", message, &node.span, hint);
        None
    }

    /// The value of `outboxes`.
    fn outboxes(&mut self, node: &Node) -> Vec<Outbox> {
        let mut outboxes = Vec::new();
        for entry in self.entries(node) {
            let name = &entry.key;
            self.check_name("an outbox", entry);
            let mut outbox = Outbox { name: name.clone(), ..Outbox::default() };
            let hint = format!("for example `{name}: {{database: 'postgres://user@host/database'}}`");
            if let Some(given) = self.named(&OUTBOX, entry, &mut outbox, &hint) {
                if !given.iter().any(|given| given.name == "database") {
                    let message = format!("outbox `{name}` has no `database`");
                    self.error("no_database", message, &entry.key_span, &hint);
                }
                outboxes.push(outbox);
            }
        }
        outboxes
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
