//! Names that are safe wherever they end up: in a path, a header, a log line, a page.

use serde::{Deserialize, Serialize};
use std::fmt;

const LENGTH_MAX: usize = 40;

/// The name of a user or a product: 1 to 40 lower-case letters, digits and dashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=LENGTH_MAX).contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text))
        } else {
            Err(format!("a name is 1 to {LENGTH_MAX} lower-case letters, digits and dashes"))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn a_name_holds_nothing_that_a_path_or_a_page_would_read_otherwise() {
        let good = |text: &str| Name::try_from(text.to_owned()).is_ok();
        assert!(good("ada") && good("storm-lantern") && good("7") && good(&"a".repeat(40)));
        for bad in ["", "Ada", "a b", "../cart", "<b>", "ada\n", "naïve", &"a".repeat(41)] {
            assert!(!good(bad), "`{bad}` was taken for a name");
        }
    }
}
