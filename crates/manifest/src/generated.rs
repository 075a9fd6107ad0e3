//! The tables, and what is made of them: the schema and the reference page agree with the reader.

use crate::Manifest;
use base::Source;
use serde_json::{Value, json};

fn said(text: &str) -> String {
    let (_, diagnostics) = crate::read(&Source::new("tombolo.yaml", text));
    diagnostics.iter().map(|diagnostic| diagnostic.render(false)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_schema_is_committed() {
    let text = serde_json::to_string_pretty(&sorted(&crate::schema())).unwrap();
    testkit::check_generated("docs/tombolo.schema.json", &format!("{text}\n"));
}

#[test]
fn the_reference_page_is_committed() {
    testkit::check_generated("docs/reference/manifest.md", &crate::reference());
}

/// Keys in one order, whatever features of `serde_json` the build turns on.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            entries
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    for text in [crate::EXAMPLE, crate::FIRST, "services:\ngateway:\n", "x-a: {b: [c]}\nname: d\n"] {
        assert_eq!(said(text), "");
        let wrong = mistakes(text);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    for text in [
        "nam: x",
        "name: 5",
        "services: [a]",
        "services: {web: {}}",
        "services: {web: {run: a, at: 'http://b'}}",
        "services: {web: {at: 'http://b', port: 80}}",
        "services: {web: {run: a, port: 0}}",
        "services: {web: {run: a, replicas: 65}}",
        "services: {web: {run: a, health: {foo: 1}}}",
        "services: {web: {run: a, restart: sometimes}}",
        "services: {web: {run: a, env: [A=b]}}",
        "services: {web: {run: a, calls: b}}",
        "services: {web: {run: a, stop_grace: 10}}",
        "routes: [{inline: a, file: b}]",
        "gateway: {tls_cert: a}",
        "log: {access: yes}",
    ] {
        assert!(said(text).contains("error: "), "the reader takes {text}");
        assert!(!mistakes(text).is_empty(), "the schema takes {text}");
    }
}

/// Every key's example is read without a fault, and its default is what is there without it.
#[test]
fn the_tables_tell_the_truth() {
    let schema = crate::schema();
    let mut keys = 0;
    let sections = [
        ("", &schema, ""),
        (
            "service",
            &schema["definitions"]["service"],
            "services: {cart: {run: a}, payment-api: {run: a}, web: {OTHERS KEY: VALUE}}",
        ),
        ("health", &schema["definitions"]["health"], "services: {web: {run: a, health: {KEY: VALUE}}}"),
        ("restart", &schema["definitions"]["restart"], "services: {web: {run: a, restart: {KEY: VALUE}}}"),
        ("routes", &schema["definitions"]["routes"], "routes: [{KEY: VALUE}]"),
        ("gateway", &schema["definitions"]["gateway"], "gateway: {OTHERS KEY: VALUE}"),
        ("streams", &schema["definitions"]["streams"], "streams: {KEY: VALUE}"),
        ("traces", &schema["definitions"]["traces"], "traces: {KEY: VALUE}"),
        ("keep", &schema["definitions"]["keep"], "streams: {keep: {audit: {KEY: VALUE}}}"),
        ("outbox", &schema["definitions"]["outbox"], "streams: {outboxes: {billing: {OTHERS KEY: VALUE}}}"),
        (
            "consumer",
            &schema["definitions"]["consumer"],
            "services: {shop: {run: a}}\nconsumers: {billing: {OTHERS KEY: VALUE}}",
        ),
        ("log", &schema["definitions"]["log"], "log: {KEY: VALUE}"),
        ("limits", &schema["definitions"]["limits"], "limits: {KEY: VALUE}"),
    ];
    for (section, schema, around) in sections {
        for (key, about) in schema["properties"].as_object().expect("a section has keys") {
            keys += 1;
            let others = match (section, key.as_str()) {
                ("service", "run" | "at") | ("consumer", "category") => "",
                ("service", _) => "run: a,",
                ("consumer", "member") => "category: order, size: 4,",
                ("outbox", "table" | "every") => "database: 'postgres://ann@db/shop',",
                ("consumer", _) => "category: order,",
                ("gateway", "tls_cert") => "tls_key: b,",
                ("gateway", "tls_key") => "tls_cert: b,",
                _ => "",
            };
            let write = |value: &Value| match around {
                "" => format!("{key}: {value}\n"),
                around => {
                    around.replace("OTHERS", others).replace("KEY", key).replace("VALUE", &value.to_string())
                }
            };
            assert!(about["description"].as_str().is_some_and(|doc| doc.ends_with('.')), "{section} {key}");
            let example =
                write(about["examples"].get(0).unwrap_or_else(|| panic!("{section} {key} has no example")));
            assert_eq!(said(&example), "", "{example}");
            let wrong = mistakes(&example);
            assert!(wrong.is_empty(), "{example}: {wrong:#?}");
            // A map in a list is no value of any key.
            let bad = write(&json!([{ "no": [{}] }]));
            assert!(said(&bad).contains("error: "), "{bad}");
            assert!(!mistakes(&bad).is_empty(), "{bad}");
            if let Some(default) = about.get("default") {
                let given = read(&write(default));
                let left_out = read(&match around {
                    "" => "name: x".to_owned(),
                    around => around.replace("OTHERS", others).replace("KEY: VALUE", ""),
                });
                let mut given = format!("{:?}", strip(given));
                // An explicit `tcp` is what a missing check means.
                if (section, key.as_str()) == ("service", "health") {
                    let from = given.rfind("health: Some(").expect("a check was given");
                    let to = from
                        + given[from..]
                            .find("start_period")
                            .and_then(|at| given[from + at..].find(')').map(|end| at + end + 1))
                            .expect("it ends");
                    given.replace_range(from..to, "health: None");
                }
                assert_eq!(given, format!("{:?}", strip(left_out)), "the default of {section} {key}");
            }
        }
    }
    assert_eq!(keys, 95, "every key was looked at");
}

fn read(text: &str) -> Manifest {
    crate::read(&Source::new("t", text)).0.unwrap_or_else(|| panic!("{text}: {}", said(text)))
}

/// Without places.
fn strip(mut manifest: Manifest) -> Manifest {
    for service in &mut manifest.services {
        (service.span, service.filters_span) = (0..0, 0..0);
    }
    manifest.texts.clear();
    manifest
}

/// What the schema finds wrong with a text: as much of draft-07 as it uses, but for patterns.
fn mistakes(text: &str) -> Vec<String> {
    let schema = crate::schema();
    let mut wrong = Vec::new();
    let value = crate::value_of(text).unwrap_or(Value::Null);
    look(&schema, &schema, &value, "", &mut wrong);
    wrong
}

fn look(root: &Value, schema: &Value, value: &Value, place: &str, wrong: &mut Vec<String>) {
    let Some(rules) = schema.as_object() else { panic!("{place}: a schema is an object, not {schema}") };
    let fits = |schema: &Value| {
        let mut wrong = Vec::new();
        look(root, schema, value, place, &mut wrong);
        wrong.is_empty()
    };
    for (rule, with) in rules {
        let holds = match rule.as_str() {
            "$ref" => {
                let name = with.as_str().and_then(|r| r.strip_prefix("#/definitions/")).expect("a reference");
                let target = &root["definitions"][name];
                assert!(target.is_object(), "{name} is not defined");
                fits(target)
            }
            "type" => {
                let is = |kind: &Value| match kind.as_str() {
                    Some("object") => value.is_object(),
                    Some("array") => value.is_array(),
                    Some("string") => value.is_string(),
                    Some("boolean") => value.is_boolean(),
                    Some("integer") => value.is_i64() || value.is_u64(),
                    Some("number") => value.is_number(),
                    Some("null") => value.is_null(),
                    other => panic!("unknown type {other:?}"),
                };
                with.as_array().map_or_else(|| is(with), |kinds| kinds.iter().any(is))
            }
            "enum" => with.as_array().expect("a list").contains(value),
            "const" => with == value,
            "minimum" => value.as_i64().is_none_or(|n| n >= with.as_i64().expect("a number")),
            "maximum" => value.as_i64().is_none_or(|n| n <= with.as_i64().expect("a number")),
            "minLength" => value.as_str().is_none_or(|s| !s.is_empty()),
            "minItems" => value.as_array().is_none_or(|items| !items.is_empty()),
            "anyOf" => with.as_array().expect("a list").iter().any(fits),
            "allOf" => with.as_array().expect("a list").iter().all(fits),
            "oneOf" => with.as_array().expect("a list").iter().filter(|schema| fits(schema)).count() == 1,
            "required" => value.as_object().is_none_or(|map| {
                with.as_array()
                    .expect("a list")
                    .iter()
                    .all(|key| map.contains_key(key.as_str().expect("a key")))
            }),
            "dependencies" => value.as_object().is_none_or(|map| {
                with.as_object().expect("a map").iter().filter(|(key, _)| map.contains_key(*key)).all(
                    |(_, needs)| {
                        needs
                            .as_array()
                            .expect("a list")
                            .iter()
                            .all(|key| map.contains_key(key.as_str().expect("a key")))
                    },
                )
            }),
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    look(root, with, item, &format!("{place}/{number}"), wrong);
                }
                true
            }
            "properties" => {
                for (key, schema) in with.as_object().expect("a map") {
                    if let Some(inner) = value.get(key) {
                        look(root, schema, inner, &format!("{place}/{key}"), wrong);
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = |key: &String| {
                    rules.get("properties").is_some_and(|known| known.get(key).is_some())
                        || (rules.contains_key("patternProperties") && key.starts_with("x-"))
                };
                for (key, inner) in value.as_object().into_iter().flatten().filter(|(key, _)| !known(key)) {
                    match with {
                        Value::Bool(false) => wrong.push(format!("{place}: unknown key {key}")),
                        schema => look(root, schema, inner, &format!("{place}/{key}"), wrong),
                    }
                }
                true
            }
            "pattern" | "propertyNames" | "patternProperties" | "description" | "default" | "examples"
            | "title" | "definitions" | "$schema" | "$id" => true,
            other => panic!("{place}: no check for `{other}`"),
        };
        if !holds {
            wrong.push(format!("{place}: {rule} {with} does not hold for {value}"));
        }
    }
}
