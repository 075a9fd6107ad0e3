//! Names of streams: the category, then `-`, then the id. Types of a category, such as `command` or `position`,
//! stand behind a `:` and are joined by `+`, as Message DB and Eventide have it.

#[cfg(feature = "testing")]
use uuid::Uuid;

/// The stream of one entity: `order-17` of category `order` and id `17`.
pub fn stream(category: &str, id: impl std::fmt::Display) -> String {
    format!("{category}-{id}")
}

/// The stream of one entity's commands: `order:command-17`.
pub fn command_stream(category: &str, id: impl std::fmt::Display) -> String {
    stream(&typed(category, "command"), id)
}

/// The part of a stream's name before the first `-`; the whole name where there is none.
pub fn category(stream: &str) -> &str {
    stream.split_once('-').map_or(stream, |(category, _)| category)
}

/// The part after the first `-`; `None` where there is none.
pub fn id(stream: &str) -> Option<&str> {
    stream.split_once('-').map(|(_, id)| id)
}

/// Whether a name is a category's: it has no `-`.
pub fn is_category(name: &str) -> bool {
    !name.contains('-')
}

/// A category with one more type: `order:position` of `order`, `order:command+position` of `order:command`.
pub(crate) fn typed(category: &str, kind: &str) -> String {
    let joint = if category.contains(':') { '+' } else { ':' };
    format!("{category}{joint}{kind}")
}

/// Where a consumer keeps its position.
pub(crate) fn position_stream(category: &str, identifier: Option<&str>) -> String {
    let category = typed(category, "position");
    identifier.map_or_else(|| category.clone(), |identifier| stream(&category, identifier))
}

/// Where snapshots of an entity are kept.
pub(crate) fn snapshot_stream(category: &str, id: &str) -> String {
    stream(&typed(category, "snapshot"), id)
}

/// A stream for one reply that nobody else uses, where no server lends one.
#[cfg(feature = "testing")]
pub(crate) fn reply_stream() -> String {
    stream("reply", Uuid::new_v4())
}

/// Where a server records replies that came too late.
pub(crate) const ORPHANS: &str = "reply:orphans";

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(category: &str, expected: Expect) {
        let names = [
            stream(category, 17),
            command_stream(category, "17"),
            position_stream(category, None),
            position_stream(category, Some("payments")),
            snapshot_stream(category, "17"),
        ];
        expected.assert_eq(&names.join(" "));
    }

    #[test]
    fn types_stand_behind_a_colon_and_are_joined_by_a_plus() {
        check(
            "order",
            expect!["order-17 order:command-17 order:position order:position-payments order:snapshot-17"],
        );
        check(
            "order:command",
            expect![
                "order:command-17 order:command+command-17 order:command+position order:command+position-payments order:command+snapshot-17"
            ],
        );
    }

    #[test]
    fn only_the_first_dash_counts() {
        assert_eq!((category("order-17-b"), id("order-17-b")), ("order", Some("17-b")));
        assert_eq!((category("order"), id("order"), is_category("order")), ("order", None, true));
        assert!(!is_category("order-"));
        assert_ne!(reply_stream(), reply_stream());
        assert_eq!(category(&reply_stream()), "reply");
    }
}
