//! Path parameters: what the wildcards of a route's path stood for in one request. Without wildcards they
//! take no memory; with them one allocation, and the names are shared with the route.

use super::pattern::{Name, Names};
use std::fmt;

/// So many values need no second allocation.
const INLINE: usize = 8;

/// Parameters by name.
#[derive(Clone, Default)]
pub struct Params {
    names: Names,
    /// All values, one behind the other.
    text: String,
    /// Where each value ends.
    ends: [u32; INLINE],
    more_ends: Vec<u32>,
    /// Those of the route that sent the request round again.
    outer: Option<Box<Params>>,
}

impl Params {
    /// Parameters of these names, whose values are pushed in the same order.
    pub(super) fn of(names: &Names, bytes: usize) -> Writer {
        Writer {
            params: Params { names: names.clone(), text: String::with_capacity(bytes), ..Params::default() },
            count: 0,
        }
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let own = self.names().iter().position(|known| *known.text == *name);
        own.map(|at| self.value(at)).or_else(|| self.outer.as_ref()?.get(name))
    }

    /// Names and values, in the order of the path; those of outer routes behind, unless hidden by an inner
    /// one of the same name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let layers = std::iter::successors(Some(self), |layer| layer.outer.as_deref());
        layers.enumerate().flat_map(move |(depth, layer)| {
            layer.names().iter().enumerate().map(|(at, name)| (&*name.text, layer.value(at))).filter(
                move |(name, _)| {
                    let inner = std::iter::successors(Some(self), |layer| layer.outer.as_deref()).take(depth);
                    !inner.into_iter().any(|inner| inner.names().iter().any(|known| *known.text == **name))
                },
            )
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names().is_empty() && self.outer.as_ref().is_none_or(|outer| outer.is_empty())
    }

    /// Adds the parameters of an inner route: the ones that were there stay, and those of the inner route
    /// win where names are equal.
    pub fn extend(&mut self, inner: Params) {
        if inner.is_empty() {
            return;
        }
        let outer = std::mem::replace(self, inner);
        if !outer.is_empty() {
            // The outermost layer of what is added; as a rule it is the only one.
            let mut last = &mut self.outer;
            while let Some(layer) = last {
                last = &mut layer.outer;
            }
            *last = Some(Box::new(outer));
        }
    }

    fn names(&self) -> &[Name] {
        &self.names
    }

    fn end(&self, at: usize) -> usize {
        self.ends.get(at).copied().unwrap_or_else(|| self.more_ends[at - INLINE]) as usize
    }

    fn value(&self, at: usize) -> &str {
        let start = if at == 0 { 0 } else { self.end(at - 1) };
        &self.text[start..self.end(at)]
    }
}

/// Names and values given one by one, for tests and for routes that are not matched by their path.
impl<'a> FromIterator<(&'a str, &'a str)> for Params {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let (names, values): (Vec<&str>, Vec<&str>) = pairs.into_iter().unzip();
        let name = |(place, text): (usize, &str)| Name { text: text.into(), place };
        let names = Names::Counted(names.into_iter().enumerate().map(name).collect());
        let mut writer = Params::of(&names, 0);
        for value in values {
            writer.push(value);
        }
        writer.finish()
    }
}

impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Takes the values of parameters in the order of their names.
pub(super) struct Writer {
    params: Params,
    count: usize,
}

impl Writer {
    pub(super) fn push(&mut self, value: &str) {
        self.params.text.push_str(value);
        self.end();
    }

    /// Pushes a value in two parts.
    pub(super) fn push_both(&mut self, first: &str, second: &str) {
        self.params.text.push_str(first);
        self.push(second);
    }

    fn end(&mut self) {
        // Values come from one path, so they are far shorter than 4 GiB.
        let end = u32::try_from(self.params.text.len()).unwrap_or(u32::MAX);
        match self.params.ends.get_mut(self.count) {
            Some(place) => *place = end,
            None => self.params.more_ends.push(end),
        }
        self.count += 1;
    }

    pub(super) fn finish(self) -> Params {
        debug_assert_eq!(self.count, self.params.names().len(), "a value for each name");
        self.params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inner_route_s_parameters_hide_those_of_the_outer() {
        let mut params: Params = [("a", "1"), ("b", "2")].into_iter().collect();
        params.extend([("b", "3"), ("c", "")].into_iter().collect());
        params.extend(Params::default());
        params.extend([("c", "4")].into_iter().collect());
        assert_eq!(params.iter().collect::<Vec<_>>(), [("c", "4"), ("b", "3"), ("a", "1")]);
        assert_eq!((params.get("a"), params.get("c"), params.get("d")), (Some("1"), Some("4"), None));
        assert!(Params::default().is_empty() && !params.is_empty());
    }

    #[test]
    fn there_may_be_more_than_fit_inline() {
        let pairs: Vec<(String, String)> = (0..20).map(|n| (format!("n{n}"), "v".repeat(n))).collect();
        let params: Params = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert!(params.iter().eq(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
    }
}
