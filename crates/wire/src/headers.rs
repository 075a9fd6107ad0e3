//! The fields of a message's head, in the order they came. A message has a dozen of them: looking at each costs
//! less than the hash of one name, and reading a head need not build an index of it.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// Fields kept without growing, so that a few can be added on the way.
const MORE: usize = 4;

/// Names and values. A name may have several values; their order is kept. Servers bound how many fields a head
/// may have, so that looking at each stays cheap.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<(HeaderName, HeaderValue)>,
}

/// What a field can be asked for by: a [`HeaderName`], or a text in whatever case.
pub trait FieldName {
    /// Whether this is `name`.
    fn is(&self, name: &HeaderName) -> bool;
}

impl FieldName for HeaderName {
    fn is(&self, name: &HeaderName) -> bool {
        self == name
    }
}

impl FieldName for str {
    fn is(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        name.len() == self.len() && name.eq_ignore_ascii_case(self)
    }
}

impl<N: FieldName + ?Sized> FieldName for &N {
    fn is(&self, name: &HeaderName) -> bool {
        (**self).is(name)
    }
}

/// What names a field that is set: a [`HeaderName`], or a text that is one.
pub trait IntoFieldName {
    /// The name. Panics for a text that is no name in small letters, which only a mistake in the program makes.
    fn into_field_name(self) -> HeaderName;
}

impl IntoFieldName for HeaderName {
    fn into_field_name(self) -> HeaderName {
        self
    }
}

impl IntoFieldName for &HeaderName {
    fn into_field_name(self) -> HeaderName {
        self.clone()
    }
}

impl IntoFieldName for &'static str {
    fn into_field_name(self) -> HeaderName {
        HeaderName::from_static(self)
    }
}

impl Headers {
    /// No fields.
    pub const fn new() -> Self {
        Self { fields: Vec::new() }
    }

    /// No fields, and room for so many and a few more.
    pub(crate) fn with_room_for(fields: usize) -> Self {
        Self { fields: Vec::with_capacity(fields + MORE) }
    }

    /// How many fields there are; a name with two values counts twice.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The first value of this name.
    pub fn get(&self, name: impl FieldName) -> Option<&HeaderValue> {
        self.fields.iter().find(|(is, _)| name.is(is)).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, name: impl FieldName) -> Option<&mut HeaderValue> {
        self.fields.iter_mut().find(|(is, _)| name.is(is)).map(|(_, value)| value)
    }

    /// All values of this name, in order.
    pub fn get_all<N: FieldName>(&self, name: N) -> Values<'_, N> {
        Values { name, left: self.fields.iter() }
    }

    /// Whether this name has a value.
    pub fn contains_key(&self, name: impl FieldName) -> bool {
        self.get(name).is_some()
    }

    /// Sets the one value of this name, in the place of the first it had. That first one.
    pub fn insert(&mut self, name: impl IntoFieldName, value: HeaderValue) -> Option<HeaderValue> {
        let name = name.into_field_name();
        let Some(at) = self.fields.iter().position(|(is, _)| *is == name) else {
            self.fields.push((name, value));
            return None;
        };
        let before = std::mem::replace(&mut self.fields[at].1, value);
        self.remove_from(at + 1, &name);
        Some(before)
    }

    /// Adds a value behind those that are there.
    pub fn append(&mut self, name: impl IntoFieldName, value: HeaderValue) {
        self.fields.push((name.into_field_name(), value));
    }

    /// Sets a value if this name has none.
    pub fn insert_missing(&mut self, name: impl IntoFieldName, value: HeaderValue) {
        let name = name.into_field_name();
        if !self.contains_key(&name) {
            self.fields.push((name, value));
        }
    }

    /// Removes all values of this name. The first of them.
    pub fn remove(&mut self, name: impl FieldName) -> Option<HeaderValue> {
        let at = self.fields.iter().position(|(is, _)| name.is(is))?;
        let (_, value) = self.fields.remove(at);
        self.remove_from(at, &name);
        Some(value)
    }

    fn remove_from(&mut self, at: usize, name: &impl FieldName) {
        if self.fields[at..].iter().any(|(is, _)| name.is(is)) {
            let mut place = 0;
            self.fields.retain(|(is, _)| {
                place += 1;
                place <= at || !name.is(is)
            });
        }
    }

    /// Keeps the fields for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&HeaderName, &HeaderValue) -> bool) {
        self.fields.retain(|(name, value)| keep(name, value));
    }

    /// The name of each field, in order: one with two values comes twice.
    pub fn keys(&self) -> impl Iterator<Item = &HeaderName> {
        self.fields.iter().map(|(name, _)| name)
    }

    /// Each field, in order.
    pub fn iter(&self) -> Fields<'_> {
        Fields(self.fields.iter())
    }
}

/// The values of one name, in order.
#[derive(Clone)]
pub struct Values<'a, N> {
    name: N,
    left: std::slice::Iter<'a, (HeaderName, HeaderValue)>,
}

impl<'a, N: FieldName> Iterator for Values<'a, N> {
    type Item = &'a HeaderValue;

    fn next(&mut self) -> Option<&'a HeaderValue> {
        self.left.by_ref().find(|(is, _)| self.name.is(is)).map(|(_, value)| value)
    }
}

impl<N: FieldName> DoubleEndedIterator for Values<'_, N> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left.by_ref().rfind(|(is, _)| self.name.is(is)).map(|(_, value)| value)
    }
}

/// The fields of a head, in order.
#[derive(Clone)]
pub struct Fields<'a>(std::slice::Iter<'a, (HeaderName, HeaderValue)>);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a HeaderName, &'a HeaderValue);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a HeaderName, &'a HeaderValue);
    type IntoIter = Fields<'a>;

    fn into_iter(self) -> Fields<'a> {
        self.iter()
    }
}

impl IntoIterator for Headers {
    type Item = (HeaderName, HeaderValue);
    type IntoIter = std::vec::IntoIter<(HeaderName, HeaderValue)>;

    fn into_iter(self) -> Self::IntoIter {
        self.fields.into_iter()
    }
}

impl Extend<(HeaderName, HeaderValue)> for Headers {
    fn extend<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(&mut self, fields: I) {
        self.fields.extend(fields);
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(fields: I) -> Self {
        Self { fields: fields.into_iter().collect() }
    }
}

impl<N: FieldName> std::ops::Index<N> for Headers {
    type Output = HeaderValue;

    /// The first value. Panics if there is none.
    fn index(&self, name: N) -> &HeaderValue {
        self.get(name).expect("the field is there")
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        let mut headers = Self::with_room_for(map.len());
        let mut last = None;
        // A name comes with its first value only.
        for (name, value) in map {
            last = name.or(last);
            if let Some(name) = &last {
                headers.fields.push((name.clone(), value));
            }
        }
        headers
    }
}

impl From<Headers> for HeaderMap {
    /// A map holds 32,768 fields at most, and what would be too many is left out; no head that is read has as
    /// many.
    fn from(headers: Headers) -> Self {
        let mut map = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            let _ = map.try_append(name, value);
        }
        map
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{ACCEPT, COOKIE, HOST, VIA};
    use proptest::prelude::*;

    fn lines(headers: &Headers) -> String {
        headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn cookies() -> Headers {
        let fields = [(COOKIE, "a"), (HOST, "h"), (COOKIE, "b"), (ACCEPT, "x"), (COOKIE, "c")];
        fields.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect()
    }

    #[test]
    fn fields_keep_the_order_they_came_in() {
        let headers = cookies();
        assert_eq!(lines(&headers), "cookie=a host=h cookie=b accept=x cookie=c");
        let all: Vec<_> = headers.get_all("Cookie").rev().collect();
        assert_eq!(all, ["c", "b", "a"]);
        assert!(headers.contains_key("HOST") && !headers.contains_key("hos") && headers[COOKIE] == "a");
    }

    #[test]
    fn what_is_set_takes_the_first_place_and_the_others_go() {
        let mut headers = cookies();
        assert_eq!(headers.insert(COOKIE, HeaderValue::from_static("z")).unwrap(), "a");
        assert_eq!(headers.insert("via", HeaderValue::from_static("v")), None);
        headers.insert_missing(VIA, HeaderValue::from_static("w"));
        headers.append(HOST, HeaderValue::from_static("i"));
        assert_eq!(lines(&headers), "cookie=z host=h accept=x via=v host=i");
    }

    #[test]
    fn what_is_removed_goes_with_all_its_values() {
        let mut headers = cookies();
        assert_eq!(headers.remove("cookie").unwrap(), "a");
        assert_eq!(headers.remove(&COOKIE), None);
        assert_eq!(lines(&headers), "host=h accept=x");
    }

    proptest! {
        /// The map that everybody else uses says the same after the same steps.
        #[test]
        fn they_are_what_a_map_of_them_would_be(steps in prop::collection::vec((0..4u8, 0..4usize, "[a-z]"), 0..40)) {
            let names = [COOKIE, HOST, HeaderName::from_static("x-a"), HeaderName::from_static("x-b")];
            let (mut ours, mut map) = (Headers::new(), HeaderMap::new());
            for (step, name, value) in steps {
                let (name, value) = (&names[name], HeaderValue::try_from(value).unwrap());
                match step {
                    0 => { prop_assert_eq!(ours.insert(name, value.clone()), map.insert(name, value)); }
                    1 => { prop_assert_eq!(ours.remove(name), map.remove(name)); }
                    _ => { ours.append(name, value.clone()); map.append(name, value); }
                }
                for name in &names {
                    prop_assert_eq!(ours.get(name), map.get(name));
                    prop_assert!(ours.get_all(name).eq(map.get_all(name).iter()));
                }
                prop_assert_eq!(ours.len(), map.len());
                prop_assert_eq!(HeaderMap::from(ours.clone()), map.clone());
                prop_assert_eq!(HeaderMap::from(Headers::from(map.clone())), map.clone());
            }
        }
    }
}
