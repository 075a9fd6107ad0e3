//! The arguments of a filter as its builder reads them: typed, in order, with one way of saying what is
//! wrong with which.

use base::parse_duration;
use eskip::Arg;
use http::StatusCode;
use http::header::HeaderName;
use std::time::Duration;

/// Reads arguments one after another. Messages name the argument by its position and meaning.
pub struct Args<'a> {
    args: &'a [Arg],
    next: usize,
}

impl<'a> Args<'a> {
    /// These arguments, none read yet.
    pub fn new(args: &'a [Arg]) -> Self {
        Self { args, next: 0 }
    }

    /// How many have not been read.
    pub fn left(&self) -> usize {
        self.args.len() - self.next.min(self.args.len())
    }

    /// All of them, whatever has been read.
    pub fn all(&self) -> &'a [Arg] {
        self.args
    }

    /// The next one, not read yet.
    pub fn peek(&self) -> Option<&'a Arg> {
        self.args.get(self.next)
    }

    /// The position (from 0) of the argument read last, for whoever points at it.
    pub fn last(&self) -> usize {
        self.next.saturating_sub(1)
    }

    fn take(&mut self, what: &str) -> Result<&'a Arg, String> {
        let arg = self.args.get(self.next);
        self.next += 1;
        arg.ok_or_else(|| format!("argument {} is missing: {what}", self.next))
    }

    fn wrong(&self, what: &str, wanted: &str, got: &Arg) -> String {
        let got = match got {
            Arg::Number(number) => format!("the number {number}"),
            Arg::Text(_) => "a string".to_owned(),
        };
        format!("argument {} ({what}) must be {wanted}, not {got}", self.next)
    }

    /// A string.
    pub fn text(&mut self, what: &str) -> Result<&'a str, String> {
        match self.take(what)? {
            Arg::Text(text) => Ok(text),
            other @ Arg::Number(_) => Err(self.wrong(what, "a string", other)),
        }
    }

    /// A number.
    pub fn number(&mut self, what: &str) -> Result<f64, String> {
        match self.take(what)? {
            Arg::Number(number) => Ok(*number),
            other @ Arg::Text(_) => Err(self.wrong(what, "a number", other)),
        }
    }

    /// A whole number of at least `least`.
    pub fn whole(&mut self, what: &str, least: u64) -> Result<u64, String> {
        let number = self.number(what)?;
        if number.fract() != 0.0 || number < least as f64 || number > 9e15 {
            return Err(format!(
                "argument {} ({what}) must be a whole number of at least {least}, not {number}",
                self.next
            ));
        }
        Ok(number as u64)
    }

    /// A duration: a string in Go's syntax, or a number of milliseconds.
    pub fn duration(&mut self, what: &str) -> Result<Duration, String> {
        match self.take(what)? {
            Arg::Text(text) => {
                parse_duration(text).map_err(|why| format!("argument {} ({what}): {why}", self.next))
            }
            Arg::Number(ms) if *ms >= 0.0 && *ms < 9e15 => Ok(Duration::from_secs_f64(ms / 1000.0)),
            Arg::Number(ms) => {
                Err(format!("argument {} ({what}): {ms} is no number of milliseconds", self.next))
            }
        }
    }

    /// A duration: a string in Go's syntax and nothing else.
    pub fn span(&mut self, what: &str) -> Result<Duration, String> {
        let text = self.text(what)?;
        parse_duration(text).map_err(|why| self.refuse(what, &why))
    }

    /// A duration: a string in Go's syntax, or a number of whole seconds (Skipper's rate limits).
    pub fn window(&mut self, what: &str) -> Result<Duration, String> {
        match self.args.get(self.next) {
            Some(Arg::Number(_)) => self.whole(what, 0).map(Duration::from_secs),
            _ => self.span(what),
        }
    }

    /// The status of an answer: 200 to 999, as informational ones end no exchange.
    pub fn status(&mut self, what: &str) -> Result<StatusCode, String> {
        let number = self.whole(what, 200)?;
        u16::try_from(number)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or_else(|| self.refuse(what, &format!("{number} is no status code")))
    }

    /// The name of a header.
    pub fn header(&mut self, what: &str) -> Result<HeaderName, String> {
        let text = self.text(what)?;
        HeaderName::try_from(text).map_err(|_| self.refuse(what, &format!("`{text}` is no header name")))
    }

    /// What is wrong with the argument read last.
    pub fn refuse(&self, what: &str, why: &str) -> String {
        format!("argument {} ({what}): {why}", self.next)
    }

    /// Runs `read` if an argument is left.
    pub fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        if self.left() == 0 { Ok(None) } else { read(self).map(Some) }
    }

    /// All that are left, as strings.
    pub fn texts(&mut self, what: &str) -> Result<Vec<&'a str>, String> {
        let mut texts = Vec::with_capacity(self.left());
        while self.left() > 0 {
            texts.push(self.text(what)?);
        }
        Ok(texts)
    }

    /// Counts all that are left as read.
    pub fn skip_rest(&mut self) {
        self.next = self.next.max(self.args.len());
    }

    /// Says that there are no more.
    pub fn end(&self) -> Result<(), String> {
        if self.left() == 0 {
            return Ok(());
        }
        let (most, got) = (self.next, self.args.len());
        Err(format!("takes at most {most} argument{}, got {got}", if most == 1 { "" } else { "s" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_names_the_argument() {
        let args = [Arg::Number(3.5), Arg::Text("x".into()), Arg::Text("1 year".into())];
        let mut reader = Args::new(&args);
        assert_eq!(
            reader.text("path").unwrap_err(),
            "argument 1 (path) must be a string, not the number 3.5"
        );
        assert_eq!(reader.number("limit").unwrap_err(), "argument 2 (limit) must be a number, not a string");
        assert!(
            reader
                .duration("window")
                .unwrap_err()
                .starts_with("argument 3 (window): `1 year` is not a duration")
        );
        assert_eq!(reader.text("more").unwrap_err(), "argument 4 is missing: more");
        assert_eq!(Args::new(&args).end().unwrap_err(), "takes at most 0 arguments, got 3");
    }
}
