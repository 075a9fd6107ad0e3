//! The limit of a whole gateway as it is written for Skipper's `-ratelimits`:
//! `type=client,max-hits=20,time-window=1m`.

use super::Rate;
use base::{did_you_mean, parse_duration};
use std::fmt;

/// Who is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All requests of this gateway.
    Service,
    /// Those of each client, known by its address.
    Client,
    /// All requests of all gateways of a group.
    ClusterService,
    /// Those of each client at all gateways of a group.
    ClusterClient,
    /// Nobody: there is no limit.
    Disabled,
}

/// A limit and whom it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who is counted together.
    pub scope: Scope,
    /// How often they may come.
    pub rate: Rate,
    /// The group of gateways that count together; empty if none is named.
    pub group: String,
}

/// The names, and `local`, which is an older one of `client`.
const SCOPES: [(&str, Scope); 6] = [
    ("service", Scope::Service),
    ("client", Scope::Client),
    ("local", Scope::Client),
    ("clusterService", Scope::ClusterService),
    ("clusterClient", Scope::ClusterClient),
    ("disabled", Scope::Disabled),
];

const KEYS: [&str; 4] = ["type", "max-hits", "time-window", "group"];

impl Settings {
    /// Reads `key=value` pairs parted by commas.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut scope, mut max, mut per, mut group) = (None, None, None, String::new());
        for pair in text.split(',').map(str::trim) {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not `key=value`"))?;
            let value = value.trim();
            match key.trim() {
                "type" => {
                    let known = SCOPES.iter().find(|(name, _)| *name == value);
                    let (_, found) =
                        known.ok_or_else(|| unknown(value, "type", SCOPES.map(|(name, _)| name)))?;
                    scope = Some(*found);
                }
                "max-hits" => {
                    max = Some(value.parse().map_err(|_| format!("`{value}` is no number of requests"))?);
                }
                "time-window" => per = Some(parse_duration(value)?),
                "group" => value.clone_into(&mut group),
                other => return Err(unknown(other, "setting", KEYS)),
            }
        }
        let missing = |key: &str| format!("`{key}` is missing: it has no default");
        let scope = scope.ok_or_else(|| missing("type"))?;
        let rate = match (max, per) {
            (Some(max), Some(per)) => Rate { max, per },
            // Nothing is counted then.
            _ if scope == Scope::Disabled => Rate { max: 0, per: std::time::Duration::ZERO },
            (None, _) => return Err(missing("max-hits")),
            (_, None) => return Err(missing("time-window")),
        };
        Ok(Self { scope, rate, group })
    }
}

fn unknown<'a>(word: &str, what: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let meant = did_you_mean(word, known.clone()).map_or_else(
        || format!("; there are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        |known| format!(", did you mean `{known}`?"),
    );
    format!("`{word}` is no {what} of rate limits{meant}")
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = SCOPES.iter().find(|(_, scope)| scope == self).map(|(name, _)| *name);
        f.write_str(name.expect("every scope is in the table"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_limit_is_written_as_for_skipper() {
        let rate = Rate { max: 20, per: Duration::from_secs(60) };
        let read = |text| Settings::parse(text);
        let client = Settings { scope: Scope::Client, rate, group: String::new() };
        assert_eq!(read("type=client,max-hits=20,time-window=1m"), Ok(client.clone()));
        assert_eq!(read("max-hits=20, time-window=60s, type=local"), Ok(client));
        assert_eq!(read("type=disabled").unwrap().scope.to_string(), "disabled");
        for (wrong, why) in [
            (
                "type=cleint,max-hits=1,time-window=1s",
                "`cleint` is no type of rate limits, did you mean `client`?",
            ),
            ("type=client,max-hits=1", "`time-window` is missing: it has no default"),
            ("max-hits=1,time-window=1s", "`type` is missing: it has no default"),
            ("type=client,max-hits=-1,time-window=1s", "`-1` is no number of requests"),
            ("client", "`client` is not `key=value`"),
        ] {
            assert_eq!(read(wrong).unwrap_err(), why);
        }
    }
}
