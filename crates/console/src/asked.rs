//! What a viewer asks for: the path in its parts, in which form, and the fields of the question or of a form.

use crate::access::Viewer;
use crate::bounds::FIELDS_MAX;
use crate::problem::Problem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::str::FromStr;

/// How a page is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As HTML.
    Page,
    /// As JSON, at the page's path with `.json` behind it.
    Json,
    /// What changes of it, as Server-Sent Events, with `.sse` behind it.
    Live,
}

/// The parts of a path that stay as they are: RFC 3986's unreserved characters, but for the dot before a form's name.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// What is asked of a page.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The parts of the path that are names.
    pub(crate) names: Vec<String>,
    /// Who asks.
    pub(crate) viewer: Viewer,
    /// How the answer is given.
    pub(crate) form: Form,
    fields: Vec<(String, String)>,
}

/// A path without what says the form.
pub(crate) fn path_and_form(path: &str) -> (&str, Form) {
    if let Some(path) = path.strip_suffix(".json") {
        return (path, Form::Json);
    }
    match path.strip_suffix(".sse") {
        Some(path) => (path, Form::Live),
        None => (path, Form::Page),
    }
}

/// A name as a part of a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// A part of a path as a name.
pub(crate) fn name_of(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// A question as a part of a link; fields without a value are left out.
pub(crate) fn question(path: &str, fields: &[(&str, &str)]) -> String {
    let mut link = path.to_owned();
    let mut before = '?';
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        link.push(before);
        before = '&';
        link.push_str(name);
        link.push('=');
        link.push_str(&segment(value));
    }
    link
}

/// Reads `a=1&b=2` as forms write it (URL standard, 5.1).
pub(crate) fn fields(text: &str) -> Vec<(String, String)> {
    let plain = |text: &str| name_of(&text.replace('+', " "));
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(FIELDS_MAX);
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (plain(name), plain(value)),
            None => (plain(pair), String::new()),
        })
        .collect()
}

impl Asked {
    /// What is asked, by the parts of the path that are names and the question or the form as it came.
    pub(crate) fn new(names: Vec<String>, viewer: Viewer, text: &str) -> Self {
        Self { names, viewer, form: Form::Page, fields: fields(text) }
    }

    /// The same, for an answer in this form.
    pub(crate) fn in_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// The nth name of the path.
    pub(crate) fn name(&self, nth: usize) -> &str {
        self.names.get(nth).map_or("", String::as_str)
    }

    /// A field; empty if it is not there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
    }

    /// A number; none if the field is not there or empty.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = || Problem::invalid(format!("`{name}` is `{text}`, and has to be a whole number"));
        text.parse().map(Some).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_the_form() {
        assert_eq!(path_and_form("/traces.json"), ("/traces", Form::Json));
        assert_eq!(path_and_form("/overview.sse"), ("/overview", Form::Live));
        assert_eq!(path_and_form("/streams/a.b"), ("/streams/a.b", Form::Page));
        // A name that ends like a form is none.
        assert_eq!(path_and_form(&segment("a.json")), ("a%2Ejson", Form::Page));
    }

    #[test]
    fn fields_are_read_as_forms_write_them() {
        let asked = Asked::new(Vec::new(), Viewer::default(), "a=x+y%26&b=&c&d=7&d=8");
        assert_eq!((asked.text("a"), asked.text("b"), asked.text("c")), ("x y&", "", ""));
        assert_eq!(asked.number::<u64>("d").unwrap(), Some(7));
        assert_eq!((asked.number::<u64>("b").unwrap(), asked.number::<u64>("e").unwrap()), (None, None));
        assert!(asked.number::<u64>("a").is_err());
        assert_eq!(Asked::new(Vec::new(), Viewer::default(), &"x&".repeat(500)).fields.len(), FIELDS_MAX);
    }

    #[test]
    fn a_link_keeps_what_was_asked() {
        let link = question("/traces", &[("serviceName", "a b"), ("limit", ""), ("q", "x=1&é")]);
        assert_eq!(link, "/traces?serviceName=a%20b&q=x%3D1%26%C3%A9");
        let asked = Asked::new(Vec::new(), Viewer::default(), link.split_once('?').unwrap().1);
        assert_eq!((asked.text("serviceName"), asked.text("q")), ("a b", "x=1&é"));
    }
}
