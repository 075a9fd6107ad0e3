//! A call as an operation sees it: its path, and the parameters of its query, decoded.

use super::Problem;
use percent_encoding::percent_decode_str;
use wire::RequestHead;

/// A call that is to be done.
pub(super) struct Call<'a> {
    pub(super) head: &'a RequestHead,
}

impl<'a> Call<'a> {
    pub(super) fn new(head: &'a RequestHead) -> Self {
        Self { head }
    }

    /// The path, without the folder that Zipkin's page lies in.
    pub(super) fn path(&self) -> &'a str {
        let path = self.head.uri.path();
        path.strip_prefix("/zipkin").filter(|below| below.starts_with('/')).unwrap_or(path)
    }

    /// What stands in the last segment of the path, decoded.
    pub(super) fn last(&self) -> Result<String, Problem> {
        decoded(self.path().rsplit('/').next().unwrap_or_default())
    }

    /// A parameter, if it is given and not empty; of several the first one.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        let query = self.head.uri.query().unwrap_or_default();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if decoded(key)? == name {
                let value = decoded(&value.replace('+', "%20"))?;
                return Ok(Some(value).filter(|value| !value.is_empty()));
            }
        }
        Ok(None)
    }

    /// A parameter that has to be there.
    pub(super) fn needed(&self, name: &str) -> Result<String, Problem> {
        self.text(name)?.ok_or_else(|| Problem::invalid(format!("{name} parameter is missing")))
    }

    /// A whole number; one below zero is zero.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(number) => Ok(Some(number.try_into().unwrap_or(0))),
            Err(_) => Err(Problem::invalid(format!("{name} is no whole number: {text}"))),
        }
    }
}

fn decoded(text: &str) -> Result<String, Problem> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Problem::invalid("the path or the query is not UTF-8")),
    }
}
