//! Names and JSON against what Message DB on PostgreSQL answered. The data lies beside the project.

use serde_json::Value;
use store::{Json, names};
use testkit::{Differences, conformance};

#[test]
fn names_mean_what_they_mean_to_message_db() {
    let Some(data) = conformance("messagedb/names.json") else { return };
    let mut differences = Differences::default();
    for case in data["names"].as_array().unwrap() {
        differences.ran();
        let name = case["name"].as_str().unwrap();
        let ours = serde_json::json!({
            "name": name,
            "category": names::category(name),
            "id": names::id(name),
            "cardinal_id": names::cardinal_id(name),
            "is_category": names::is_category(name),
            "hash_64": names::hash_64(name).to_string(),
            "acquire_lock": names::hash_64(names::category(name)).to_string(),
        });
        if ours != *case {
            differences.add(format!("expected {case}\ngot      {ours}"));
        }
    }
    differences.finish("messagedb/names", 20);
}

#[test]
fn json_reads_as_jsonb_does() {
    let Some(data) = conformance("messagedb/jsonb.json") else { return };
    let mut differences = Differences::default();
    for case in data["cases"].as_array().unwrap() {
        differences.ran();
        let mut ours = case.clone();
        let fields = ours.as_object_mut().unwrap();
        fields.retain(|key, _| key != "text" && key != "error");
        match Json::parse(case["input"].as_str().unwrap()) {
            Ok(json) => fields.insert("text".into(), json.as_str().into()),
            Err(error) => fields.insert(
                "error".into(),
                serde_json::json!({
                    "sqlstate": error.kind.sqlstate(),
                    "message": error.kind.message(),
                    "detail": Value::from(error.detail),
                }),
            ),
        };
        if ours != *case {
            differences.add(format!("expected {case}\ngot      {ours}"));
        }
    }
    differences.finish("messagedb/jsonb", 20);
}
