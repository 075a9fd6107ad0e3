//! The JSON Schema that editors check a manifest with, made from the tables of `fields.rs`. Draft-07, which
//! yaml-language-server knows best.

use crate::fields::{self, About, SectionAbout};
use serde_json::{Map, Value, json};

/// Where editors find the schema: what the first line of a manifest names.
pub const SCHEMA_URL: &str =
    "https://raw.githubusercontent.com/tombolo/tombolo/main/docs/tombolo.schema.json";

/// The schema of a manifest.
pub fn schema() -> Value {
    let mut definitions = Map::new();
    let mut root = json!({});
    for section in fields::sections() {
        if section.name == "manifest" {
            root = object(&section);
        } else {
            definitions.insert(section.name.to_owned(), object(&section));
        }
    }
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["$id"] = json!(SCHEMA_URL);
    root["title"] = json!("tombolo.yaml");
    root["patternProperties"] = json!({ "^x-": {} });
    root["definitions"] = Value::Object(definitions);
    root
}

fn object(section: &SectionAbout) -> Value {
    let properties: Map<String, Value> =
        section.fields.iter().map(|about| (about.name.to_owned(), property(about))).collect();
    let mut schema = json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "additionalProperties": false
    });
    let one_of = |keys: &[&str]| -> Value { keys.iter().map(|key| json!({ "required": [key] })).collect() };
    match section.name {
        "service" => {
            // What a service run elsewhere can't have stands under `run` only.
            let with_run: Map<String, Value> = section
                .fields
                .iter()
                .filter(|about| !matches!(about.name, "run" | "at" | "calls" | "filters"))
                .map(|about| (about.name.to_owned(), json!(["run"])))
                .collect();
            schema["dependencies"] = Value::Object(with_run);
            schema["oneOf"] = one_of(&["run", "at"]);
        }
        "routes" => schema["oneOf"] = one_of(&["inline", "file"]),
        "gateway" => {
            schema["dependencies"] = json!({ "tls_cert": ["tls_key"], "tls_key": ["tls_cert"] });
        }
        _ => {}
    }
    schema
}

fn property(about: &About) -> Value {
    let mut schema = about.kind.schema();
    // A reference hides what stands beside it in draft-07, so it gets a place of its own.
    if schema.get("$ref").is_some() {
        schema = json!({ "allOf": [schema] });
    }
    schema["description"] = json!(about.doc);
    if let Some(default) = crate::value_of(about.default) {
        schema["default"] = default;
    }
    if let Some(example) = crate::value_of(about.example) {
        schema["examples"] = json!([example]);
    }
    schema
}
