//! What a session can set and show: the parameters of PostgreSQL that clients send when they connect, and those of
//! Message DB, whose names hold a dot.

use super::error::{Sql, SqlError};
use std::collections::BTreeMap;
use std::time::Duration;

/// Parameters of one session that are not of PostgreSQL's own.
const CUSTOM_MAX: usize = 100;
/// Bytes of a value.
const VALUE_BYTES_MAX: usize = 10_000;

struct Known {
    name: &'static str,
    default: &'static str,
    takes: Takes,
    /// Told to the client when it connects and when it changes.
    told: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing: it says what the server is.
    Nothing,
    Bool,
    /// A time in milliseconds unless a unit says otherwise.
    Wait,
    One(&'static [&'static str]),
    Text,
}

const fn known(name: &'static str, default: &'static str, takes: Takes, told: bool) -> Known {
    Known { name, default, takes, told }
}

const LEVELS: Takes =
    Takes::One(&["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]);
const ISOLATIONS: Takes =
    Takes::One(&["read committed", "read uncommitted", "repeatable read", "serializable"]);

static KNOWN: &[Known] = &[
    known("application_name", "", Takes::Text, true),
    known("bytea_output", "hex", Takes::One(&["hex", "escape"]), false),
    known("client_encoding", "UTF8", Takes::One(&["UTF8", "UTF-8", "UNICODE"]), true),
    known("client_min_messages", "notice", LEVELS, false),
    known("DateStyle", "ISO, MDY", Takes::One(&["ISO, MDY", "ISO", "MDY", "ISO,MDY"]), true),
    known("default_transaction_isolation", "read committed", ISOLATIONS, false),
    known("default_transaction_read_only", "off", Takes::Bool, true),
    known("extra_float_digits", "1", Takes::Text, false),
    known("idle_in_transaction_session_timeout", "0", Takes::Wait, false),
    known("in_hot_standby", "off", Takes::Nothing, true),
    known("integer_datetimes", "on", Takes::Nothing, true),
    known("IntervalStyle", "postgres", Takes::One(&["postgres"]), true),
    known("is_superuser", "off", Takes::Nothing, true),
    known("jit", "off", Takes::Bool, false),
    known("lc_collate", "C", Takes::Nothing, false),
    known("lc_monetary", "C", Takes::Text, false),
    known("lock_timeout", "0", Takes::Wait, false),
    known("max_identifier_length", "63", Takes::Nothing, false),
    known("row_security", "on", Takes::Bool, false),
    known("search_path", "\"$user\", public", Takes::Text, false),
    known("server_encoding", "UTF8", Takes::Nothing, true),
    known("server_version", "15.0", Takes::Nothing, true),
    known("server_version_num", "150000", Takes::Nothing, false),
    known("session_authorization", "message_store", Takes::Nothing, true),
    known("standard_conforming_strings", "on", Takes::One(&["on"]), true),
    known("statement_timeout", "0", Takes::Wait, false),
    known("synchronous_commit", "on", Takes::Text, false),
    known("TimeZone", "Etc/UTC", Takes::One(&["Etc/UTC", "UTC", "GMT", "Z", "Zulu", "0"]), true),
    known("transaction_isolation", "read committed", ISOLATIONS, false),
    known("transaction_read_only", "off", Takes::Bool, false),
];

/// The parameters of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters {
    /// What is not as it was when the session began.
    values: BTreeMap<String, String>,
    /// What it was then, where that is not the default.
    began: BTreeMap<String, String>,
    /// What the transaction under way sets for itself only, and what it was before.
    locals: Vec<(String, Option<String>)>,
}

fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(name))
}

/// A parameter's name as PostgreSQL writes it.
pub(crate) fn canonical(name: &str) -> String {
    find(name).map_or_else(|| name.to_owned(), |known| known.name.to_owned())
}

fn unknown(name: &str) -> Box<SqlError> {
    SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

impl Parameters {
    /// What a session begins with: set by the server or by the client's startup message.
    pub(crate) fn begin_with(&mut self, name: &str, value: &str) -> Sql<()> {
        let (name, value) = self.checked(name, value)?;
        self.began.insert(name, value);
        Ok(())
    }

    /// The value of a parameter; `None` for one that nobody knows.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let known = find(name);
        let name = known.map_or(name, |known| known.name);
        let own = self.values.get(name).or_else(|| self.began.get(name));
        own.map(String::as_str).or_else(|| known.map(|known| known.default))
    }

    /// The value of a parameter, or PostgreSQL's words for one that nobody knows.
    pub(crate) fn show(&self, name: &str) -> Sql<&str> {
        self.get(name).ok_or_else(|| unknown(name))
    }

    /// All that `SHOW ALL` shows.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let custom = |name: &&String| find(name).is_none();
        let own: std::collections::BTreeSet<&String> =
            self.values.keys().chain(self.began.keys()).filter(custom).collect();
        let names = KNOWN.iter().map(|known| known.name).chain(own.into_iter().map(String::as_str));
        names.filter_map(|name| Some((name, self.get(name)?)))
    }

    /// What a client is told when it connects.
    pub(crate) fn told(&self) -> impl Iterator<Item = (&'static str, &str)> {
        KNOWN.iter().filter(|known| known.told).filter_map(|known| Some((known.name, self.get(known.name)?)))
    }

    /// Whether a client is told when this changes.
    pub(crate) fn is_told(name: &str) -> bool {
        find(name).is_some_and(|known| known.told)
    }

    /// Sets a parameter; `None` is what the session began with. Answers what holds now.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Sql<&str> {
        let before = find(name).map_or(name, |known| known.name).to_owned();
        let (name, value) = match value {
            Some(value) => {
                let (name, value) = self.checked(name, value)?;
                (name, Some(value))
            }
            None if find(name).is_none() && !name.contains('.') => return Err(unknown(name)),
            None => (before.clone(), None),
        };
        if local {
            self.locals.push((before.clone(), self.values.get(&before).cloned()));
        }
        match value {
            Some(value) => drop(self.values.insert(name, value)),
            // PostgreSQL forgets the value of a name it does not know, not the name.
            None if find(&name).is_none() && !self.began.contains_key(&name) => {
                if self.values.contains_key(&name) {
                    self.values.insert(name, String::new());
                }
            }
            None => drop(self.values.remove(&name)),
        }
        Ok(self.get(&before).unwrap_or_default())
    }

    /// Everything as the session began.
    pub(crate) fn reset_all(&mut self) {
        let names: Vec<String> = self.values.keys().cloned().collect();
        for name in names {
            drop(self.set(&name, None, false));
        }
    }

    /// The transaction ended: what it set for itself goes.
    pub(crate) fn end_transaction(&mut self) {
        while let Some((name, before)) = self.locals.pop() {
            match before {
                Some(value) => drop(self.values.insert(name, value)),
                None => drop(self.values.remove(&name)),
            }
        }
    }

    /// A parameter that is a time to wait; `None` for no end.
    pub(crate) fn wait(&self, name: &str) -> Option<Duration> {
        let millis = self.get(name).and_then(millis)?;
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    /// Whether a custom parameter is `on`.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("on")
    }

    fn checked(&self, name: &str, value: &str) -> Sql<(String, String)> {
        let invalid =
            || SqlError::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""));
        if value.len() > VALUE_BYTES_MAX {
            return Err(invalid());
        }
        let Some(known) = find(name) else {
            if !name.contains('.') {
                return Err(unknown(name));
            }
            let custom = self.values.len() + self.began.len();
            if custom >= CUSTOM_MAX && !self.values.contains_key(name) {
                return Err(SqlError::new("54000", "too many parameters in one session"));
            }
            return Ok((name.to_owned(), value.to_owned()));
        };
        let value = match known.takes {
            Takes::Nothing => {
                let text = format!("parameter \"{}\" cannot be changed", known.name);
                return Err(SqlError::new("55P02", text));
            }
            Takes::Text => value.to_owned(),
            Takes::Bool => match value.to_ascii_lowercase().as_str() {
                "on" | "true" | "yes" | "1" | "t" => "on".to_owned(),
                "off" | "false" | "no" | "0" | "f" => "off".to_owned(),
                _ => {
                    let text = format!("parameter \"{}\" requires a Boolean value", known.name);
                    return Err(SqlError::new("22023", text));
                }
            },
            Takes::Wait => wait_text(millis(value).ok_or_else(invalid)?),
            Takes::One(values) => {
                let found =
                    values.iter().find(|known| known.eq_ignore_ascii_case(value)).ok_or_else(invalid)?;
                // Names of one encoding and one style are shown as the server calls it.
                if matches!(known.name, "client_encoding" | "DateStyle") { known.default } else { found }
                    .to_owned()
            }
        };
        Ok((known.name.to_owned(), value))
    }
}

/// `150`, `150ms`, `2s`, `1min` in milliseconds.
fn millis(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let count: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.checked_mul(unit).filter(|millis| *millis <= 2_147_483_647)
}

/// In the largest unit that says it without a fraction, as PostgreSQL shows it.
fn wait_text(millis: u64) -> String {
    match millis {
        0 => "0".to_owned(),
        _ if millis.is_multiple_of(86_400_000) => format!("{}d", millis / 86_400_000),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}min", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(parameters: &mut Parameters, name: &str, value: &str) -> String {
        match parameters.set(name, Some(value), false) {
            Ok(value) => value.to_owned(),
            Err(error) => format!("{} {}", error.code, error.message),
        }
    }

    #[test]
    fn what_clients_set_when_they_connect_is_taken() {
        let mut parameters = Parameters::default();
        let mut check =
            |name: &str, value: &str, expected: &str| assert_eq!(set(&mut parameters, name, value), expected);
        check("datestyle", "ISO", "ISO, MDY");
        check("client_encoding", "utf-8", "UTF8");
        check("lock_timeout", "150ms", "150ms");
        check("lock_timeout", "2000", "2s");
        check("lock_timeout", "abc", "22023 invalid value for parameter \"lock_timeout\": \"abc\"");
        check(
            "timezone",
            "Europe/Berlin",
            "22023 invalid value for parameter \"timezone\": \"Europe/Berlin\"",
        );
        check("no_such", "1", "42704 unrecognized configuration parameter \"no_such\"");
        check("server_version", "1", "55P02 parameter \"server_version\" cannot be changed");
        check("application_name", "shop", "shop");
        assert_eq!(parameters.wait("lock_timeout"), Some(Duration::from_secs(2)));
        assert_eq!(parameters.wait("statement_timeout"), None);
        assert_eq!(canonical("datestyle"), "DateStyle");
    }

    #[test]
    fn a_name_with_a_dot_is_anybodys_and_is_not_forgotten() {
        let mut parameters = Parameters::default();
        assert_eq!(parameters.get("message_store.sql_condition"), None);
        set(&mut parameters, "message_store.sql_condition", "on");
        assert!(parameters.is_on("message_store.sql_condition"));
        parameters.set("message_store.sql_condition", None, false).unwrap();
        assert_eq!(parameters.get("message_store.sql_condition"), Some(""));
        parameters.begin_with("a.b", "x").unwrap();
        set(&mut parameters, "a.b", "y");
        parameters.reset_all();
        assert_eq!(parameters.get("a.b"), Some("x"));
    }

    #[test]
    fn what_a_transaction_sets_for_itself_goes_with_it() {
        let mut parameters = Parameters::default();
        set(&mut parameters, "a.b", "before");
        parameters.set("a.b", Some("within"), true).unwrap();
        parameters.set("lock_timeout", Some("1s"), true).unwrap();
        parameters.end_transaction();
        assert_eq!((parameters.get("a.b"), parameters.get("lock_timeout")), (Some("before"), Some("0")));
    }

    #[test]
    fn a_session_keeps_no_more_names_than_its_bound() {
        let mut parameters = Parameters::default();
        for nth in 0..CUSTOM_MAX {
            assert_eq!(set(&mut parameters, &format!("a.{nth}"), "x"), "x");
        }
        assert_eq!(set(&mut parameters, "a.more", "x"), "54000 too many parameters in one session");
        assert_eq!(set(&mut parameters, "a.0", "y"), "y");
        assert!(set(&mut parameters, "a.0", &"x".repeat(VALUE_BYTES_MAX + 1)).starts_with("22023"));
    }
}
