//! What path might have been meant when no route takes a request: the path of a route, its wildcards filled as
//! the request fills them, that is a slip of the keyboard away.

use base::did_you_mean;
use eskip::{Arg, Route};
use proxy::Table;
use std::collections::HashMap;

/// So many paths are compared letter by letter.
const COMPARED_MAX: usize = 10_000;

/// A path whose length differs by more is no slip of the keyboard.
const LENGTHS_APART_MAX: usize = 3;

/// The path nearest to the request's, and the id of its route.
pub(super) fn path(table: &Table, requested: &str) -> Option<(String, String)> {
    let mut ids: HashMap<String, &str> = HashMap::new();
    for route in &table.routes {
        if ids.len() == COMPARED_MAX {
            break;
        }
        let place = place(&route.source).map(|(pattern, subtree)| filled(pattern, requested, subtree));
        if let Some(path) = place.filter(|path| path.len().abs_diff(requested.len()) <= LENGTHS_APART_MAX) {
            ids.entry(path).or_insert(&route.id);
        }
    }
    let near = did_you_mean(requested, ids.keys().map(String::as_str).filter(|path| *path != requested))?;
    Some((near.to_owned(), ids[near].to_owned()))
}

/// The pattern of a route's path, and whether what is below it is meant too.
pub(super) fn place(route: &Route) -> Option<(&str, bool)> {
    route.predicates.iter().find_map(|call| match (call.name.as_str(), &call.args[..]) {
        ("Path", [Arg::Text(pattern)]) => Some((pattern.as_str(), false)),
        ("PathSubtree", [Arg::Text(pattern)]) => Some((pattern.as_str(), true)),
        _ => None,
    })
}

/// A path that the pattern matches, as much like the requested one as can be.
fn filled(pattern: &str, requested: &str, subtree: bool) -> String {
    let mut asked = requested.trim_start_matches('/').split('/');
    let mut path = String::with_capacity(requested.len());
    let mut open = subtree;
    for segment in pattern.trim_start_matches('/').split('/') {
        if segment.starts_with('*') {
            open = true;
            break;
        }
        let here = asked.next();
        // The slash at the end of a subtree's path is no segment.
        if segment.is_empty() && subtree {
            break;
        }
        path.push('/');
        path.push_str(if segment.starts_with(':') { here.unwrap_or(segment) } else { segment });
    }
    for rest in asked.filter(|_| open) {
        path.push('/');
        path.push_str(rest);
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use super::filled;

    #[test]
    fn wildcards_are_filled_as_the_request_fills_them() {
        for (pattern, requested, subtree, expected) in [
            ("/cart/:id", "/crat/7", false, "/cart/7"),
            ("/cart/:id", "/cart", false, "/cart/:id"),
            ("/files/*rest", "/flies/a/b", false, "/files/a/b"),
            ("/api", "/apo/users/7", true, "/api/users/7"),
            ("/api/", "/apo", true, "/api"),
            ("/", "/x", false, "/"),
            ("/cart", "/cart/7", false, "/cart"),
        ] {
            assert_eq!(filled(pattern, requested, subtree), expected, "{pattern} {requested}");
        }
    }
}
