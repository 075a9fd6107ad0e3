//! Finds what is called by its method and path: the paths of the table as a tree of their segments, made once, so
//! that a call is compared with the few that may still fit and not with all.

use super::table::{Operation, operations};
use http::Method;
use std::sync::LazyLock;

/// What can be done at a path.
pub(crate) struct Place(Vec<&'static Operation>);

impl Place {
    /// What a method does here; `HEAD` does what `GET` does.
    pub(crate) fn operation(&self, method: &Method) -> Option<&'static Operation> {
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        self.0.iter().copied().find(|operation| operation.method == *wanted)
    }

    /// The methods that do something here, with commas between.
    pub(crate) fn methods(&self) -> String {
        let methods: Vec<&str> = self.0.iter().map(|operation| operation.method.as_str()).collect();
        methods.join(", ")
    }
}

/// What is at a path behind the prefix, if anything is.
pub(crate) fn find(path: &str) -> Option<&'static Place> {
    static TREE: LazyLock<Node> = LazyLock::new(|| {
        let mut tree = Node::default();
        for operation in operations() {
            tree.add(operation);
        }
        tree
    });
    TREE.find(path.strip_prefix('/')?)
}

/// A segment of paths, and those that may come behind it.
#[derive(Default)]
struct Node {
    named: Vec<(&'static str, Node)>,
    /// Behind any other segment that is not empty.
    any: Option<Box<Node>>,
    here: Option<Place>,
}

impl Node {
    fn add(&mut self, operation: &'static Operation) {
        let mut node = self;
        for segment in operation.path.split('/').skip(1) {
            node = if segment.starts_with('{') {
                node.any.get_or_insert_default()
            } else {
                let at = node.named.iter().position(|(name, _)| *name == segment);
                let at = at.unwrap_or_else(|| {
                    node.named.push((segment, Node::default()));
                    node.named.len() - 1
                });
                &mut node.named[at].1
            };
        }
        node.here.get_or_insert_with(|| Place(Vec::new())).0.push(operation);
    }

    fn find(&self, path: &str) -> Option<&Place> {
        let (segment, rest) =
            path.split_once('/').map_or((path, None), |(segment, rest)| (segment, Some(rest)));
        let named = self.named.iter().find(|(name, _)| *name == segment).map(|(_, node)| node);
        let node = named.or_else(|| self.any.as_deref().filter(|_| !segment.is_empty()))?;
        match rest {
            None => node.here.as_ref(),
            Some(rest) => node.find(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(method: Method, path: &str) -> Option<&'static str> {
        Some(find(path)?.operation(&method)?.id)
    }

    #[test]
    fn each_entry_of_the_table_is_found_by_its_own_path() {
        for operation in operations() {
            let path = operation.path.replace(['{', '}'], "");
            assert_eq!(id(operation.method.clone(), &path), Some(operation.id), "{path}");
        }
    }

    #[test]
    fn a_path_fits_segment_by_segment() {
        assert_eq!(id(Method::HEAD, "/streams/order-1/messages"), Some("readStream"));
        assert_eq!(id(Method::POST, "/consumers/a/dead-letters/retry"), Some("retryDeadLetters"));
        assert_eq!(id(Method::POST, "/consumers/a/dead-letters/7/retry"), Some("retryDeadLetter"));
        assert_eq!(id(Method::PUT, "/streams"), None);
        assert_eq!(find("/consumers/a").unwrap().methods(), "PUT, GET, DELETE");
        for nothing in
            ["", "/", "streams", "/streams/", "/streams/a/b", "/streams/a/messages/", "/stream", "//a"]
        {
            assert!(find(nothing).is_none(), "{nothing}");
        }
    }
}
