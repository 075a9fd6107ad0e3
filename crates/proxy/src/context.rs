//! Values that filters leave by name for filters behind them, where a route chooses the name (Skipper's state
//! bag, as `setContextRequestHeader` reads it). Facts whose meaning is fixed are typed fields of the notes, which
//! `Notes::fact` gives under Skipper's names.

/// Names that are kept at most.
pub const CONTEXT_VALUES_MAX: usize = 64;
/// Bytes of all names and values at most.
pub const CONTEXT_BYTES_MAX: usize = 16 << 10;

/// Values by name. What does not fit is not kept.
#[derive(Clone, Debug, Default)]
pub struct Context {
    values: Vec<(Box<str>, Box<str>)>,
    bytes: usize,
}

impl Context {
    /// Gives a name this value, in the place of the one it had. Answers whether it fitted.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        if let Some(at) = self.values.iter().position(|(known, _)| **known == *name) {
            let (name, value) = self.values.swap_remove(at);
            self.bytes -= name.len() + value.len();
        }
        let bytes = self.bytes + name.len() + value.len();
        let fits = bytes <= CONTEXT_BYTES_MAX && self.values.len() < CONTEXT_VALUES_MAX;
        if fits {
            self.values.push((name.into(), value.into()));
            self.bytes = bytes;
        }
        fits
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_replaced_and_bounded() {
        let mut context = Context::default();
        assert!(context.set("a", "1") && context.set("a", "2"));
        assert_eq!((context.get("a"), context.get("b")), (Some("2"), None));
        assert!(!context.set("long", &"x".repeat(CONTEXT_BYTES_MAX)));
        for number in 1..CONTEXT_VALUES_MAX {
            assert!(context.set(&number.to_string(), ""));
        }
        assert!(!context.set("one more", "") && context.set("a", "3"));
        assert!(context.set("a", &"x".repeat(CONTEXT_BYTES_MAX / 2)), "what it replaces does not count");
        assert!(context.set("a", &"x".repeat(CONTEXT_BYTES_MAX / 2)));
    }
}
