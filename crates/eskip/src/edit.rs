//! What may be done to all routes of a source before a table is built: filters around those of each route,
//! filters nobody may use, and changes or changed copies by regular expression.

use crate::errors::Errors;
use crate::{Call, Route, parse_filters, parse_predicates};
use base::{Diagnostic, Source, Span};
use regex::{Regex, RegexBuilder};
use std::collections::BTreeSet;

/// The most memory a regular expression of these may take, in bytes.
pub const EDIT_REGEXP_BYTES_MAX: usize = 1024 * 1024;

/// Filters put before and behind those of each route.
#[derive(Clone, Debug, Default)]
pub struct DefaultFilters {
    /// Run first on the request, last on the response.
    pub prepend: Vec<Call>,
    /// Run last on the request, first on the response.
    pub append: Vec<Call>,
}

impl DefaultFilters {
    /// Puts them around the filters of each route.
    pub fn apply(&self, routes: &mut [Route]) {
        for route in routes {
            route.filters.splice(0..0, self.prepend.iter().cloned());
            route.filters.extend(self.append.iter().cloned());
        }
    }
}

/// Filters that no route may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisabledFilters {
    /// Their names.
    pub names: BTreeSet<String>,
}

impl DisabledFilters {
    /// Takes out the routes that use one of them, and tells which.
    pub fn apply(&self, source: &Source, routes: &mut Vec<Route>) -> Vec<Diagnostic> {
        let mut told = Vec::new();
        routes.retain(|route| {
            let Some(filter) = route.filters.iter().find(|filter| self.names.contains(&filter.name)) else {
                return true;
            };
            let message =
                format!("route `{}` uses the filter `{}`, which is disabled", route.id, filter.name);
            let diagnostic = Diagnostic::error("disabled_filter", message).at(source, filter.span.clone());
            told.push(diagnostic.hint("remove the filter, or take it from the list of disabled filters"));
            false
        });
        told
    }
}

/// A regular expression and what to write in its place, in the predicates and filters of all routes.
#[derive(Clone, Debug)]
pub struct Edit {
    pattern: Regex,
    replacement: String,
}

impl Edit {
    /// An edit. In the replacement, `$1` or `${1}` is the first group, `${name}` a named one, `$$` a dollar.
    pub fn new(pattern: &str, replacement: impl Into<String>) -> Result<Self, Diagnostic> {
        let built = RegexBuilder::new(pattern).size_limit(EDIT_REGEXP_BYTES_MAX).build();
        let pattern = built.map_err(|error| {
            Diagnostic::error("invalid_regexp", format!("`{pattern}` is no regular expression: {error}"))
                .hint("the syntax is that of RE2: no look-around, no back-references")
        })?;
        Ok(Self { pattern, replacement: replacement.into() })
    }

    /// Reads `/pattern/replacement/`. The first character is the separator, and stands nowhere else.
    pub fn parse(written: &str) -> Result<Self, Diagnostic> {
        let parts = written.chars().next().map(|separator| written.split(separator).collect::<Vec<_>>());
        match parts.as_deref() {
            Some(["", pattern, replacement, ""]) if !pattern.is_empty() => Self::new(pattern, *replacement),
            _ => Err(Diagnostic::error("invalid_edit", format!("`{written}` is not `/pattern/replacement/`"))
                .hint("choose as the separator a character that stands in neither: `#Source[(](.*)[)]#ClientIP($1)#`")),
        }
    }

    /// Changes the routes in place. A change that can't be read as a predicate or filter is not made, and
    /// told.
    pub fn apply(&self, routes: &mut [Route]) -> Vec<Diagnostic> {
        let mut told = Vec::new();
        for route in routes {
            if let Some(changed) = self.change(route, &mut told) {
                *route = changed;
            }
        }
        told
    }

    /// Adds a changed copy of each route that it changes, named `clone_` and the route's id, behind all
    /// others.
    pub fn clone_into(&self, routes: &mut Vec<Route>) -> Vec<Diagnostic> {
        let mut told = Vec::new();
        let copies: Vec<Route> = routes
            .iter()
            .filter_map(|route| {
                let changed = self.change(route, &mut told)?;
                Some(Route { id: format!("clone_{}", route.id), ..changed })
            })
            .collect();
        routes.extend(copies);
        told
    }

    /// The route with its changes; `None` if it has none.
    fn change(&self, route: &Route, told: &mut Vec<Diagnostic>) -> Option<Route> {
        let predicates = self.change_calls(&route.id, &route.predicates, parse_predicates, told);
        let filters = self.change_calls(&route.id, &route.filters, parse_filters, told);
        if predicates.is_none() && filters.is_none() {
            return None;
        }
        let mut changed = route.clone();
        changed.predicates = predicates.unwrap_or(changed.predicates);
        changed.filters = filters.unwrap_or(changed.filters);
        Some(changed)
    }

    fn change_calls(
        &self,
        route: &str,
        calls: &[Call],
        read: impl Fn(&Source) -> Result<Vec<Call>, Errors>,
        told: &mut Vec<Diagnostic>,
    ) -> Option<Vec<Call>> {
        let mut changed = false;
        let mut result = Vec::with_capacity(calls.len());
        for call in calls {
            let before = call.to_string();
            let after = self.pattern.replace_all(&before, self.replacement.as_str());
            if after == before {
                result.push(call.clone());
                continue;
            }
            let source = Source::new(format!("route `{route}`, edited"), after.as_ref());
            match read(&source) {
                Ok(new) if !new.is_empty() => {
                    changed = true;
                    // What was edited stands, for later diagnostics, where it stood before.
                    result.extend(new.into_iter().map(|new| at(new, call.span.clone())));
                }
                Ok(_) => {
                    let message = format!("the edit would leave nothing of `{before}`; it is kept");
                    told.push(Diagnostic::warning("edit_to_nothing", message).at(&source, 0..0));
                    result.push(call.clone());
                }
                Err(errors) => {
                    told.extend(errors.diagnostics());
                    result.push(call.clone());
                }
            }
        }
        changed.then_some(result)
    }
}

fn at(call: Call, span: Span) -> Call {
    Call { span, arg_spans: Vec::new(), ..call }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Printer, parse_text};
    use expect_test::{Expect, expect};

    const ROUTES: &str = "a: Source(\"10.0.0.0/8\") -> f(\"x\") -> <shunt>; b: * -> f(1) -> <shunt>;";

    fn check(change: impl FnOnce(&mut Vec<Route>) -> Vec<Diagnostic>, expected: &Expect) {
        let mut routes = parse_text(ROUTES).unwrap();
        let told = change(&mut routes);
        let mut text = Printer::default().print(&routes);
        for diagnostic in told {
            text.push('\n');
            text.push_str(&diagnostic.render(false));
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn an_edit_changes_what_matches() {
        check(
            |routes| Edit::parse("/Source[(](.*)[)]/ClientIP($1)/").unwrap().apply(routes),
            &expect![[r#"
                a: ClientIP("10.0.0.0/8") -> f("x") -> <shunt>;
                b: * -> f(1) -> <shunt>;"#]],
        );
    }

    #[test]
    fn a_clone_comes_behind_all_others() {
        check(
            |routes| Edit::parse("#f[(](\\d)[)]#g(${1}0)#").unwrap().clone_into(routes),
            &expect![[r#"
                a: Source("10.0.0.0/8") -> f("x") -> <shunt>;
                b: * -> f(1) -> <shunt>;
                clone_b: * -> g(10) -> <shunt>;"#]],
        );
    }

    #[test]
    fn a_change_that_can_not_be_read_is_not_made() {
        check(
            |routes| Edit::new("f[(]1", "f(1.").unwrap().apply(routes),
            &expect![[r#"
                a: Source("10.0.0.0/8") -> f("x") -> <shunt>;
                b: * -> f(1) -> <shunt>;
                error: the number `1.` ends with a point
                 --> route `b`, edited:1:3
                  |
                1 | f(1.)
                  |   ^^
                  |
                  = hint: write digits behind the point, or leave the point out"#]],
        );
    }

    #[test]
    fn default_filters_stand_around_the_others() {
        let default = DefaultFilters {
            prepend: vec![Call::new("first", [])],
            append: vec![Call::new("last", ["x".into()])],
        };
        check(
            |routes| {
                default.apply(routes);
                Vec::new()
            },
            &expect![[r#"
                a: Source("10.0.0.0/8") -> first() -> f("x") -> last("x") -> <shunt>;
                b: * -> first() -> f(1) -> last("x") -> <shunt>;"#]],
        );
    }

    #[test]
    fn a_route_with_a_disabled_filter_is_taken_out() {
        let disabled = DisabledFilters { names: BTreeSet::from(["g".to_owned()]) };
        let source = Source::new("r.eskip", "a: * -> f() -> g() -> <shunt>;\nb: * -> f() -> <shunt>;");
        let mut routes = crate::parse(&source).routes;
        let told = disabled.apply(&source, &mut routes);
        assert_eq!(routes.iter().map(|route| route.id.as_str()).collect::<Vec<_>>(), ["b"]);
        expect![[r"
            error: route `a` uses the filter `g`, which is disabled
             --> r.eskip:1:16
              |
            1 | a: * -> f() -> g() -> <shunt>;
              |                ^
              |
              = hint: remove the filter, or take it from the list of disabled filters"]]
        .assert_eq(&told[0].render(false));
    }

    #[test]
    fn an_edit_is_a_pattern_and_a_replacement_of_bounded_size() {
        for wrong in [
            "",
            "/",
            "/a",
            "/a/b",
            "/a/b/c/",
            "//b/",
            "a/b/",
            "/(/b/",
            "/(?=a)/b/",
            "/a{1000}{1000}{1000}/b/",
        ] {
            assert!(Edit::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Edit::parse("/a//").is_ok());
    }
}
