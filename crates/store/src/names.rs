//! What a stream's name says: its category, its id, and which member of a consumer group it belongs to.
//! Pure functions with Message DB's results, to the last odd case (`category`, `id`, `cardinal_id`,
//! `is_category` and `hash_64` of Message DB 1.3.0).

use md5::{Digest, Md5};

/// The part of a stream's name before the first `-`; the whole name where there is none.
pub fn category(stream: &str) -> &str {
    stream.split_once('-').map_or(stream, |(category, _)| category)
}

/// The part after the first `-`; `None` where there is none.
pub fn id(stream: &str) -> Option<&str> {
    stream.split_once('-').map(|(_, id)| id)
}

/// The id up to its first `+`: streams that share it go to the same member of a consumer group.
pub fn cardinal_id(stream: &str) -> Option<&str> {
    id(stream).map(|id| id.split_once('+').map_or(id, |(cardinal, _)| cardinal))
}

/// Whether a name is a category's: it has no `-`.
pub fn is_category(name: &str) -> bool {
    !name.contains('-')
}

/// The first eight bytes of a text's MD5, big endian and signed.
pub fn hash_64(text: &str) -> i64 {
    let digest = Md5::digest(text);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

/// One member of a consumer group: of `size` members, the one with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    number: u16,
    size: u16,
}

impl Member {
    /// The member `number` (from 0) of `size`; `None` unless `number < size`. Message DB's bound on the
    /// size is 32,767.
    pub fn new(number: u16, size: u16) -> Option<Self> {
        (number < size).then_some(Self { number, size })
    }

    /// Its number, from 0.
    pub fn number(self) -> u16 {
        self.number
    }

    /// How many members the group has.
    pub fn size(self) -> u16 {
        self.size
    }

    /// Whether this member is the one that a stream belongs to. A stream without an id belongs to none.
    pub fn takes(self, stream: &str) -> bool {
        cardinal_id(stream)
            .is_some_and(|id| hash_64(id).unsigned_abs() % u64::from(self.size) == u64::from(self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(stream: &str, expected: Expect) {
        let parts = (category(stream), id(stream), cardinal_id(stream), is_category(stream));
        expected.assert_eq(&format!("{parts:?}"));
    }

    #[test]
    fn a_name_is_a_category_and_an_id() {
        check("order-17", expect![[r#"("order", Some("17"), Some("17"), false)"#]]);
        check("order", expect![[r#"("order", None, None, true)"#]]);
        check("order:command-17", expect![[r#"("order:command", Some("17"), Some("17"), false)"#]]);
    }

    #[test]
    fn only_the_first_dash_and_plus_count() {
        check("order-17-b", expect![[r#"("order", Some("17-b"), Some("17-b"), false)"#]]);
        check("order-17+b+c", expect![[r#"("order", Some("17+b+c"), Some("17"), false)"#]]);
        check("-x", expect![[r#"("", Some("x"), Some("x"), false)"#]]);
        check("a-", expect![[r#"("a", Some(""), Some(""), false)"#]]);
        check("", expect![[r#"("", None, None, true)"#]]);
    }

    #[test]
    fn compound_ids_share_a_member_and_a_stream_without_id_has_none() {
        let of_three =
            |stream| (0..3).filter(|n| Member::new(*n, 3).unwrap().takes(stream)).collect::<Vec<_>>();
        assert_eq!(of_three("order-17"), of_three("order-17+b"));
        assert_eq!(of_three("order-17").len(), 1);
        assert_eq!(of_three("order-").len(), 1, "an empty id is an id");
        assert!(of_three("order").is_empty());
        assert_eq!(Member::new(3, 3), None);
    }

    #[test]
    fn a_negative_hash_counts_by_its_size() {
        let stream = "x-687c3cfa79c7c79ce506078951f0b752";
        assert!(hash_64(id(stream).unwrap()) < 0);
        assert!(Member::new(1, 2).unwrap().takes(stream) && Member::new(1, 3).unwrap().takes(stream));
    }
}
