//! When two routes say the same: the canonical form of a route, and the comparison that uses it.

use crate::{Arg, Backend, Call, Route};
use std::cmp::Ordering;

/// The form in which routes that say the same look the same: predicates sorted by name, those of one name
/// in their order but for headers, whose order has no meaning; addresses sorted.
pub fn canonical(route: &Route) -> Route {
    let mut canonical = route.clone();
    canonical.predicates.sort_by(by_name);
    if let Backend::Balanced { endpoints, .. } = &mut canonical.backend {
        endpoints.sort_by(|a, b| (&a.address, &a.zone).cmp(&(&b.address, &b.zone)));
    }
    canonical
}

/// Whether two routes say the same. Places in the source are not compared.
pub fn equal(left: &Route, right: &Route) -> bool {
    let (left_predicates, right_predicates) = (sorted(&left.predicates), sorted(&right.predicates));
    left.id == right.id
        && same_calls(&left_predicates, &right_predicates)
        && same_calls(&left.filters.iter().collect::<Vec<_>>(), &right.filters.iter().collect::<Vec<_>>())
        && same_backend(&left.backend, &right.backend)
}

/// Whether two lists hold the same routes, in whatever order. A list in which an id stands twice is equal
/// to none, not even to itself.
pub fn equal_lists(left: &[Route], right: &[Route]) -> bool {
    let by_id = |routes: &[Route]| -> Option<Vec<usize>> {
        let mut order: Vec<usize> = (0..routes.len()).collect();
        order.sort_by(|a, b| routes[*a].id.cmp(&routes[*b].id));
        let unique = order.windows(2).all(|pair| routes[pair[0]].id != routes[pair[1]].id);
        unique.then_some(order)
    };
    let (Some(lefts), Some(rights)) = (by_id(left), by_id(right)) else { return false };
    left.len() == right.len() && lefts.iter().zip(&rights).all(|(l, r)| equal(&left[*l], &right[*r]))
}

/// The same name and arguments, wherever they stand.
impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.args == other.args
    }
}

fn same_calls(left: &[&Call], right: &[&Call]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(l, r)| l == r)
}

fn sorted(calls: &[Call]) -> Vec<&Call> {
    let mut sorted: Vec<&Call> = calls.iter().collect();
    sorted.sort_by(|a, b| by_name(a, b));
    sorted
}

fn same_backend(left: &Backend, right: &Backend) -> bool {
    let sorted = |backend: &Backend| match backend {
        Backend::Balanced { algorithm, endpoints } => {
            let mut endpoints = endpoints.clone();
            endpoints.sort_by(|a, b| (&a.address, &a.zone).cmp(&(&b.address, &b.zone)));
            Backend::Balanced { algorithm: algorithm.clone(), endpoints }
        }
        other => other.clone(),
    };
    left == right || sorted(left) == sorted(right)
}

/// The original keeps headers in a map, so that their order is lost.
fn by_name(left: &Call, right: &Call) -> Ordering {
    left.name.cmp(&right.name).then_with(|| header(left).cmp(&header(right)))
}

/// The header and the value a predicate looks for; none if it looks at something else.
fn header(call: &Call) -> Option<(&str, &str)> {
    match (call.name.as_str(), &call.args[..]) {
        ("Header" | "HeaderRegexp", [Arg::Text(name), Arg::Text(value)]) => Some((name, value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_text;

    fn check(left: &str, right: &str, same: bool) {
        let (left, right) = (parse_text(left).unwrap(), parse_text(right).unwrap());
        assert_eq!(equal_lists(&left, &right), same);
        assert_eq!(equal_lists(&right, &left), same);
    }

    #[test]
    fn the_order_of_routes_headers_and_addresses_has_no_meaning() {
        check("a: * -> <shunt>; b: * -> <loopback>;", "b: * -> <loopback>; a: Any() -> <shunt>;", true);
        check(
            "Header(\"A\", \"1\") && Path(\"/x\") && Header(\"B\", \"2\") -> <\"http://a\", \"http://b\">",
            "Header(\"B\", \"2\") && Header(\"A\", \"1\") && Path(\"/x\") -> <\"http://b\", \"http://a\">",
            true,
        );
    }

    #[test]
    fn the_order_of_filters_has_a_meaning() {
        check("* -> a() -> b() -> <shunt>", "* -> b() -> a() -> <shunt>", false);
        check("* -> a() -> <shunt>", "* -> a(1) -> <shunt>", false);
        check("* -> a(1) -> <shunt>", "* -> a(\"1\") -> <shunt>", false);
    }

    #[test]
    fn an_id_that_stands_twice_is_equal_to_nothing() {
        check("a: * -> <shunt>; a: * -> <shunt>;", "a: * -> <shunt>; a: * -> <shunt>;", false);
    }
}
