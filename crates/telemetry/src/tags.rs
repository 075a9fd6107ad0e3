//! Names and values that filters give the span of a request. Who may write them is decided by routes, what
//! they hold often by clients, so all of them together are bounded.

/// Tags of one span at most.
pub const TAGS_MAX: usize = 32;

/// Bytes of all names and values of a span at most.
pub const TAG_BYTES_MAX: usize = 4096;

/// The tags of one span, in the order they were first set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<(Box<str>, Box<str>)>);

impl Tags {
    /// None.
    pub const NONE: &Self = &Self(Vec::new());

    /// Sets a tag; one of the same name is replaced. What does not fit is left out: false then, and an older
    /// tag of this name is gone, as it is no longer true.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        let at = self.0.iter().position(|(known, _)| **known == *name);
        let others = self.0.iter().enumerate().filter(|(number, _)| Some(*number) != at);
        let bytes: usize = others.map(|(_, (name, value))| name.len() + value.len()).sum();
        let fits = bytes + name.len() + value.len() <= TAG_BYTES_MAX;
        match at {
            Some(at) if fits => self.0[at].1 = value.into(),
            Some(at) => drop(self.0.remove(at)),
            None if fits && self.0.len() < TAGS_MAX => self.0.push((name.into(), value.into())),
            None => return false,
        }
        fits
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_set_again_is_replaced() {
        let mut tags = Tags::default();
        assert!(tags.set("a", "1") && tags.set("b", "2") && tags.set("a", "3"));
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
    }

    #[test]
    fn tags_are_bounded_in_number_and_bytes() {
        let mut tags = Tags::default();
        for number in 0..TAGS_MAX {
            assert!(tags.set(&format!("t{number}"), "x"));
        }
        assert!(!tags.set("one more", "x"));
        assert!(tags.set("t3", "y"), "those that are there may change");
        assert_eq!(tags.iter().count(), TAGS_MAX);

        let mut tags = Tags::default();
        let half = "x".repeat(TAG_BYTES_MAX / 2 - 1);
        assert!(tags.set("a", &half) && tags.set("b", &half));
        assert!(!tags.set("c", ""));
        assert!(tags.set("b", "") && tags.set("c", &half[2..]));
        assert!(!tags.set("a", &half.repeat(3)));
        assert_eq!(tags.get("a"), None, "what is no longer true is gone");
    }
}
