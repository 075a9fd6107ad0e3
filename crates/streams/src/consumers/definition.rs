//! What a consumer is asked to do: which messages, to whom, how many at once, and what happens when that fails.
//! Pure values with their limits and their JSON; nothing here delivers.

use base::{Fault, Kind, format_duration, parse_duration};
use rules::Backoff;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{Member, Message, Read};

/// The written limits of consumers.
pub mod bounds {
    use std::time::Duration;

    /// Consumers of one store.
    pub const CONSUMERS_MAX: usize = 1_000;
    /// Bytes of a consumer's name.
    pub const NAME_BYTES_MAX: usize = 100;
    /// Shares of a group.
    pub const SIZE_MAX: u16 = 500;
    /// Deliveries of a share that are under way together.
    pub const CONCURRENCY_MAX: usize = 256;
    /// Messages of one delivery.
    pub const BATCH_MAX: usize = 100;
    /// Types that a consumer may name.
    pub const TYPES_MAX: usize = 100;
    /// Attempts before a message is a dead letter.
    pub const ATTEMPTS_MAX: u32 = 1_000;
    /// Dead letters of a consumer that wait for somebody; with that many, what fails waits as well. Each share may go
    /// [`DEAD_LETTERS_UNCOUNTED`] beyond it.
    pub const DEAD_LETTERS_KEPT_MAX: usize = 10_000;
    /// Dead letters that a share makes before it counts those that wait again.
    pub const DEAD_LETTERS_UNCOUNTED: usize = 100;
    /// Longest acknowledge timeout, and longest pause between attempts.
    pub const WAIT_MAX: Duration = Duration::from_secs(3_600);
    /// Bytes of what a handler answers.
    pub const ANSWER_BYTES_MAX: usize = 20 << 20;
    /// Bytes of a reason that is kept.
    pub const REASON_BYTES_MAX: usize = 1_000;
}

/// Where a new consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// With the first message there is.
    #[default]
    Beginning,
    /// Behind the last message there is.
    End,
    /// With the message at this global position, or the next one.
    Position(i64),
    /// With the first message of this time or later, in microseconds since the epoch.
    Time(i64),
}

/// A service, and where in it messages are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// The name of the service.
    pub service: String,
    /// The path that messages are posted to.
    pub path: String,
}

impl Handler {
    /// Reads `SERVICE` or `SERVICE/PATH`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (service, path) = text.split_once('/').unwrap_or((text, ""));
        let service_fits = !service.is_empty()
            && service.len() <= bounds::NAME_BYTES_MAX
            && service.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !service_fits || !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(format!("`{text}` is no handler: write `SERVICE/PATH`"));
        }
        Ok(Self { service: service.to_owned(), path: format!("/{path}") })
    }
}

impl std::fmt::Display for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.service, self.path)
    }
}

/// What becomes of a message that its handler refuses (4xx other than 408, 425 and 429).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Refused {
    /// It is tried again, as after any failure.
    #[default]
    Retry,
    /// It is a dead letter at once.
    DeadLetter,
}

/// A consumer as it was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The category whose messages it takes.
    pub category: String,
    /// Who handles them; `None` where somebody asks for them.
    pub handler: Option<Handler>,
    /// Only messages of these types; empty takes all.
    pub types: Vec<String>,
    /// Only messages whose `correlationStreamName` is of this category.
    pub correlation: Option<String>,
    /// Where it begins when it is new.
    pub start: Start,
    /// How many shares the group has: each takes some of the streams.
    pub size: u16,
    /// Messages of one push.
    pub batch: usize,
    /// Deliveries of a share that are under way together, each of other streams.
    pub concurrency: usize,
    /// How long a delivery may take.
    pub timeout: Duration,
    /// How often a message is tried before it is a dead letter.
    pub attempts: u32,
    /// The pauses between attempts.
    pub backoff: Backoff,
    /// What becomes of what the handler refuses.
    pub refused: Refused,
}

impl Definition {
    /// A consumer of this category with the usual settings, from which somebody takes messages.
    pub fn of(category: impl Into<String>) -> Self {
        Self {
            category: category.into(),
            handler: None,
            types: Vec::new(),
            correlation: None,
            start: Start::default(),
            size: 1,
            batch: 1,
            concurrency: 16,
            timeout: Duration::from_secs(30),
            attempts: 10,
            backoff: Backoff { first: Duration::from_millis(200), cap: Duration::from_secs(60) },
            refused: Refused::default(),
        }
    }

    /// Refuses what is beyond a limit or can't be meant.
    pub fn check(&self) -> Result<(), Fault> {
        let within = |what: &str, is: usize, max: usize| match is {
            1.. if is <= max => Ok(()),
            _ => Err(invalid(format!("`{what}` is `{is}`, it has to be from 1 to {max}"))),
        };
        for (what, category) in
            [("category", Some(&self.category)), ("correlation", self.correlation.as_ref())]
        {
            let Some(category) = category else { continue };
            if category.is_empty()
                || !store::names::is_category(category)
                || category.len() > store::bounds::NAME_BYTES_MAX
            {
                let hint = "a category is what a stream's name has before its first `-`";
                return Err(invalid(format!("`{what}` is `{category}`, which is no category")).hint(hint));
            }
        }
        within("size", self.size.into(), bounds::SIZE_MAX.into())?;
        within("batch", self.batch, bounds::BATCH_MAX)?;
        within("concurrency", self.concurrency, bounds::CONCURRENCY_MAX)?;
        within("attempts", self.attempts as usize, bounds::ATTEMPTS_MAX as usize)?;
        if self.types.len() > bounds::TYPES_MAX {
            return Err(invalid(format!("`{}` types, at most `{}` go", self.types.len(), bounds::TYPES_MAX)));
        }
        if let Some(long) = self.types.iter().find(|kind| kind.len() > store::bounds::NAME_BYTES_MAX) {
            let most = store::bounds::NAME_BYTES_MAX;
            return Err(invalid(format!("a type has `{}` bytes, at most `{most}` go", long.len())));
        }
        for (what, wait) in [
            ("timeout", self.timeout),
            ("backoff.first", self.backoff.first),
            ("backoff.max", self.backoff.cap),
        ] {
            if wait.is_zero() || wait > bounds::WAIT_MAX {
                let text = format!("`{what}` is `{}`, it has to be up to `1h`", format_duration(wait));
                return Err(invalid(text));
            }
        }
        Ok(())
    }

    /// What a share reads. Of several types the store gives all, and [`Definition::wants`] says which are meant.
    pub(super) fn read(&self, share: u16) -> Read {
        let mut read = Read::category(self.category.as_str());
        read.correlation.clone_from(&self.correlation);
        read.member = Member::new(share, self.size).filter(|_| self.size > 1);
        if let [kind] = self.types.as_slice() {
            read.kind = Some(kind.clone());
        }
        read
    }

    /// Whether a message that was read is one that it takes.
    pub(super) fn wants(&self, message: &Message) -> bool {
        self.types.len() < 2 || self.types.contains(&message.kind)
    }

    /// Messages of a share that are read and not yet handled, at most: beyond it reading stops.
    pub fn held_max(&self) -> usize {
        (self.concurrency * self.batch * 2).clamp(256, 10_000)
    }

    /// Its JSON, as [`Definition::from_json`] reads it.
    pub fn to_json(&self) -> serde_json::Value {
        let start = match self.start {
            Start::Beginning => "beginning".into(),
            Start::End => "end".into(),
            Start::Position(position) => position.into(),
            Start::Time(time) => crate::http::json::time(time).into(),
        };
        let written = Written {
            category: Some(self.category.clone()),
            handler: self.handler.as_ref().map(Handler::to_string),
            types: Some(self.types.clone()),
            correlation: self.correlation.clone(),
            start: Some(start),
            size: Some(self.size),
            batch: Some(self.batch),
            concurrency: Some(self.concurrency),
            timeout: Some(format_duration(self.timeout)),
            attempts: Some(self.attempts),
            backoff: Some(WrittenBackoff {
                first: Some(format_duration(self.backoff.first)),
                max: Some(format_duration(self.backoff.cap)),
            }),
            refused: Some(if self.refused == Refused::Retry { "retry" } else { "dead-letter" }.to_owned()),
        };
        serde_json::to_value(written).expect("texts and numbers are JSON")
    }

    /// Reads and checks the settings of a consumer. What is not said is as in [`Definition::of`].
    pub fn from_json(text: &[u8]) -> Result<Self, Fault> {
        let written: Written = serde_json::from_slice(text)
            .map_err(|error| invalid(format!("these are no settings of a consumer: {error}")))?;
        let category = written.category.ok_or_else(|| invalid("`category` is missing".to_owned()))?;
        let usual = Self::of(category);
        let duration = |text: Option<String>, usual| match text {
            Some(text) => parse_duration(&text).map_err(invalid),
            None => Ok(usual),
        };
        let backoff = written.backoff.unwrap_or_default();
        let definition = Self {
            handler: written.handler.map(|text| Handler::parse(&text)).transpose().map_err(invalid)?,
            types: written.types.unwrap_or_default(),
            correlation: written.correlation,
            start: match written.start {
                None => usual.start,
                Some(start) => Start::read(&start)?,
            },
            size: written.size.unwrap_or(usual.size),
            batch: written.batch.unwrap_or(usual.batch),
            concurrency: written.concurrency.unwrap_or(usual.concurrency),
            timeout: duration(written.timeout, usual.timeout)?,
            attempts: written.attempts.unwrap_or(usual.attempts),
            backoff: Backoff {
                first: duration(backoff.first, usual.backoff.first)?,
                cap: duration(backoff.max, usual.backoff.cap)?,
            },
            refused: match written.refused.as_deref() {
                None | Some("retry") => Refused::Retry,
                Some("dead-letter") => Refused::DeadLetter,
                Some(other) => {
                    return Err(invalid(format!("`refused` is `{other}`, use `retry` or `dead-letter`")));
                }
            },
            category: usual.category,
        };
        definition.check()?;
        Ok(definition)
    }
}

impl Start {
    /// Reads `"beginning"`, `"end"`, a global position, or a time in RFC 3339.
    pub fn read(value: &serde_json::Value) -> Result<Self, Fault> {
        let wrong = || {
            invalid(format!("`{value}` is no place to begin"))
                .hint("use `beginning`, `end`, a global position or a time such as `2026-11-26T12:00:00Z`")
        };
        if let Some(position) = value.as_i64() {
            return if position >= 0 { Ok(Self::Position(position)) } else { Err(wrong()) };
        }
        match value.as_str().ok_or_else(wrong)? {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            text => match text.parse::<jiff::Timestamp>() {
                Ok(time) => Ok(Self::Time(time.as_microsecond())),
                Err(_) => Err(wrong()),
            },
        }
    }
}

/// Whether a consumer may have this name.
pub fn check_name(name: &str) -> Result<(), Fault> {
    let fits = !name.is_empty()
        && name.len() <= bounds::NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits {
        return Ok(());
    }
    let hint = format!("use up to {} letters, digits, `-`, `_` and `.`", bounds::NAME_BYTES_MAX);
    Err(invalid(format!("`{name}` is no name of a consumer")).hint(hint))
}

fn invalid(text: String) -> Fault {
    Fault::new(Kind::Invalid, text)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<String>,
    types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<String>,
    start: Option<serde_json::Value>,
    size: Option<u16>,
    batch: Option<usize>,
    concurrency: Option<usize>,
    timeout: Option<String>,
    attempts: Option<u32>,
    backoff: Option<WrittenBackoff>,
    refused: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenBackoff {
    first: Option<String>,
    max: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: Expect) {
        let told = match Definition::from_json(text.as_bytes()) {
            Ok(definition) => {
                let written = definition.to_json().to_string();
                assert_eq!(Definition::from_json(written.as_bytes()).unwrap(), definition);
                written
            }
            Err(fault) => format!("{fault}"),
        };
        expected.assert_eq(&told);
    }

    #[test]
    fn settings_are_read_as_they_are_written() {
        check(
            r#"{"category":"order"}"#,
            expect![[
                r#"{"attempts":10,"backoff":{"first":"200ms","max":"1m"},"batch":1,"category":"order","concurrency":16,"refused":"retry","size":1,"start":"beginning","timeout":"30s","types":[]}"#
            ]],
        );
        check(
            r#"{"category":"order:command","handler":"billing/take","types":["A"],"correlation":"cart",
                "start":"2026-11-26T12:00:00Z","size":4,"refused":"dead-letter","backoff":{"max":"5s"}}"#,
            expect![[
                r#"{"attempts":10,"backoff":{"first":"200ms","max":"5s"},"batch":1,"category":"order:command","concurrency":16,"correlation":"cart","handler":"billing/take","refused":"dead-letter","size":4,"start":"2026-11-26T12:00:00.000000Z","timeout":"30s","types":["A"]}"#
            ]],
        );
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused() {
        check("{}", expect!["`category` is missing"]);
        check(r#"{"category":"order-1"}"#, expect!["`category` is `order-1`, which is no category"]);
        check(r#"{"category":"order","size":501}"#, expect!["`size` is `501`, it has to be from 1 to 500"]);
        check(r#"{"category":"order","batch":0}"#, expect!["`batch` is `0`, it has to be from 1 to 100"]);
        check(
            r#"{"category":"order","timeout":"2h"}"#,
            expect!["`timeout` is `2h`, it has to be up to `1h`"],
        );
        check(r#"{"category":"order","start":-1}"#, expect!["`-1` is no place to begin"]);
        check(r#"{"category":"order","handler":"/x"}"#, expect!["`/x` is no handler: write `SERVICE/PATH`"]);
        assert!(check_name("a.b-c_1").is_ok() && check_name("a/b").is_err() && check_name("").is_err());
        assert!(check_name(&"n".repeat(bounds::NAME_BYTES_MAX + 1)).is_err());
    }
}
