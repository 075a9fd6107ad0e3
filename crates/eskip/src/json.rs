//! Routes to JSON and back, in the original's shapes. `Route` is `Serialize` and `Deserialize`, so that a
//! route can stand inside other JSON.

use crate::errors::{Error, Errors, Stage};
use crate::{Algorithm, Arg, Backend, Call, Endpoint, Route, canonical, parser};
use base::{Diagnostic, Source};
use serde::de::{self, Deserializer, Visitor};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A JSON list of routes, predicates in canonical order, without a newline at the end. No character is
/// escaped that JSON does not ask for.
pub fn to_json(routes: &[Route]) -> String {
    serde_json::to_string(routes).expect("routes are made of texts and numbers")
}

/// Reads a JSON list of routes, or one route. Fields without a meaning are passed over, as in the original;
/// a backend of another type, or an argument that is neither a string nor a number, is refused.
pub fn from_json(source: &Source) -> Result<Vec<Route>, Errors> {
    if let Some(error) = parser::too_large(source) {
        return Err(error.into());
    }
    let text = &*source.text;
    let read = if text.trim_start().starts_with('{') {
        serde_json::from_str::<Route>(text).map(|route| vec![route])
    } else {
        serde_json::from_str::<Option<Vec<Route>>>(text).map(Option::unwrap_or_default)
    };
    read.map_err(|error| {
        let compat = error.to_string();
        let message = compat.split(" at line ").next().unwrap_or_default().to_owned();
        let at = offset(text, error.line(), error.column());
        let diagnostic = Diagnostic::error("invalid_json", message).at(source, at.saturating_sub(1)..at);
        Error::new(Stage::Syntax, diagnostic, compat).into()
    })
}

/// The byte offset of a line and a column in bytes, both from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
    (before + column).min(text.len())
}

#[derive(Deserialize)]
struct JsonRoute {
    id: Option<String>,
    backend: Option<JsonBackend>,
    predicates: Option<Vec<Call>>,
    filters: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct JsonCall {
    name: Option<String>,
    args: Option<Vec<Arg>>,
}

#[derive(Deserialize)]
struct JsonBackend {
    #[serde(rename = "type")]
    kind: Option<String>,
    address: Option<String>,
    algorithm: Option<String>,
    endpoints: Option<Vec<String>>,
}

impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let route = JsonRoute::deserialize(deserializer)?;
        Ok(Route {
            id: route.id.unwrap_or_default(),
            predicates: route.predicates.unwrap_or_default(),
            filters: route.filters.unwrap_or_default(),
            backend: route.backend.map_or(Ok(Backend::default()), backend)?,
            ..Route::default()
        })
    }
}

fn backend<E: de::Error>(backend: JsonBackend) -> Result<Backend, E> {
    Ok(match backend.kind.as_deref().unwrap_or_default() {
        "" | "network" => Backend::Network(backend.address.unwrap_or_default()),
        "shunt" => Backend::Shunt,
        "loopback" => Backend::Loopback,
        "dynamic" => Backend::Dynamic,
        "forward" => Backend::Forward,
        "lb" => Backend::Balanced {
            algorithm: match backend.algorithm {
                Some(name) if !name.is_empty() => Algorithm::Named(name),
                _ => Algorithm::Unset,
            },
            endpoints: backend.endpoints.unwrap_or_default().iter().map(|e| Endpoint::parse(e)).collect(),
        },
        other => {
            return Err(E::custom(format_args!(
                "unsupported backend type: `{other}`; there are `network`, `shunt`, `loopback`, `dynamic`, \
                 `forward` and `lb`"
            )));
        }
    })
}

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let call = JsonCall::deserialize(deserializer)?;
        Ok(Call::new(call.name.unwrap_or_default(), call.args.unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for Arg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ArgVisitor;
        impl Visitor<'_> for ArgVisitor {
            type Value = Arg;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an argument: a string or a number")
            }

            fn visit_str<E>(self, text: &str) -> Result<Arg, E> {
                Ok(Arg::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Arg, E> {
                Ok(Arg::Text(text))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Arg, E> {
                Ok(Arg::Number(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Arg, E> {
                Ok(Arg::Number(number as f64))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Arg, E> {
                Ok(Arg::Number(number as f64))
            }
        }
        deserializer.deserialize_any(ArgVisitor)
    }
}

impl Serialize for Route {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Route { id, predicates, filters, backend, .. } = canonical(self);
        let unnamed = matches!(&backend, Backend::Network(address) if address.is_empty());
        let mut json = serializer.serialize_struct("Route", 4)?;
        if !id.is_empty() {
            json.serialize_field("id", &id)?;
        }
        if !unnamed {
            json.serialize_field("backend", &backend)?;
        }
        if !predicates.is_empty() {
            json.serialize_field("predicates", &predicates)?;
        }
        if !filters.is_empty() {
            json.serialize_field("filters", &filters)?;
        }
        json.end()
    }
}

impl Serialize for Backend {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_struct("Backend", 3)?;
        let kind = match self {
            Backend::Network(_) => "network",
            Backend::Shunt => "shunt",
            Backend::Loopback => "loopback",
            Backend::Dynamic => "dynamic",
            Backend::Forward => "forward",
            Backend::Balanced { .. } => "lb",
        };
        json.serialize_field("type", kind)?;
        match self {
            Backend::Network(address) if !address.is_empty() => json.serialize_field("address", address)?,
            Backend::Balanced { algorithm, endpoints } => {
                if let Some(name) = algorithm.name() {
                    json.serialize_field("algorithm", name)?;
                }
                if !endpoints.is_empty() {
                    let written: Vec<String> = endpoints.iter().map(Endpoint::to_string).collect();
                    json.serialize_field("endpoints", &written)?;
                }
            }
            _ => {}
        }
        json.end()
    }
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_struct("Call", 2)?;
        json.serialize_field("name", &self.name)?;
        if !self.args.is_empty() {
            json.serialize_field("args", &self.args)?;
        }
        json.end()
    }
}

impl Serialize for Arg {
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers below 1e21 fit an i128")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Arg::Text(text) => serializer.serialize_str(text),
            // As Go writes them: no point behind whole numbers, an exponent from 1e21 on.
            Arg::Number(number) if number.fract() == 0.0 && number.abs() < 1e21 => {
                serializer.serialize_i128(*number as i128)
            }
            Arg::Number(number) => serializer.serialize_f64(*number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(json: &str, expected: &Expect) {
        expected.assert_eq(&match from_json(&Source::new("routes.json", json)) {
            Ok(routes) => to_json(&routes),
            Err(errors) => errors.to_string(),
        });
    }

    #[test]
    fn angle_brackets_stay_and_whole_numbers_have_no_point() {
        check(
            r#"[{"id":"a","backend":{"type":"network","address":"http://h?a=1&b=<2>"},
                "filters":[{"name":"f","args":[1,2.5,1e3,-0.125,"<&>"]}]}]"#,
            &expect![[
                r#"[{"id":"a","backend":{"type":"network","address":"http://h?a=1&b=<2>"},"filters":[{"name":"f","args":[1,2.5,1000,-0.125,"<&>"]}]}]"#
            ]],
        );
    }

    #[test]
    fn predicates_come_out_sorted_by_name() {
        check(
            r#"{"predicates":[{"name":"Path","args":["/a"]},{"name":"Cookie","args":["c","x"]},{"name":"Method","args":["GET"]}],"backend":{"type":"shunt"}}"#,
            &expect![[
                r#"[{"backend":{"type":"shunt"},"predicates":[{"name":"Cookie","args":["c","x"]},{"name":"Method","args":["GET"]},{"name":"Path","args":["/a"]}]}]"#
            ]],
        );
    }

    #[test]
    fn a_backend_or_an_argument_of_another_type_is_refused_with_its_place() {
        check(
            r#"[{"backend":{"type":"lambda"}}]"#,
            &expect![[r#"
                error: unsupported backend type: `lambda`; there are `network`, `shunt`, `loopback`, `dynamic`, `forward` and `lb`
                 --> routes.json:1:31
                  |
                1 | [{"backend":{"type":"lambda"}}]
                  |                               ^"#]],
        );
        check(
            "[{\"filters\":\n [{\"name\":\"f\",\"args\":[true]}]}]",
            &expect![[r#"
                error: invalid type: boolean `true`, expected an argument: a string or a number
                 --> routes.json:2:26
                  |
                2 |  [{"name":"f","args":[true]}]}]
                  |                          ^"#]],
        );
    }

    #[test]
    fn nothing_is_no_route() {
        check("null", &expect!["[]"]);
        check("[]", &expect!["[]"]);
        check("{}", &expect!["[{}]"]);
    }
}
