//! Statements and what Message DB 1.3.0 on PostgreSQL 15 answered to them. The data lies beside the project.
//!
//! Global positions are gapless here and not there, so they are compared by their order and not by their number
//! where a scenario's note says that a failed insert spent one.

use crate::raw::{Answer, Fields, Raw, field};
use crate::server::Server;
use serde_json::Value;
use std::collections::BTreeMap;
use testkit::{Differences, conformance};

#[test]
fn scenarios_answer_as_message_db_does() {
    let Some(data) = conformance("messagedb/scenarios.json") else { return };
    let mut differences = Differences::default();
    for scenario in data["scenarios"].as_array().unwrap() {
        run(scenario, &mut differences);
    }
    differences.finish("messagedb/scenarios", 250);
}

fn run(scenario: &Value, differences: &mut Differences) {
    let server = Server::start();
    let user = scenario["user"].as_str().unwrap_or("message_store");
    let options = scenario["options"].as_str().unwrap_or("");
    let mut connections: BTreeMap<String, Raw> = BTreeMap::new();
    let mut positions = Positions { gaps: scenario["note"].is_string(), ..Positions::default() };
    for step in scenario["steps"].as_array().unwrap() {
        differences.ran();
        let name = step["connection"].as_str().unwrap_or("").to_owned();
        let connection = connections.entry(name).or_insert_with(|| {
            let given = [("user", user), ("database", "message_store"), ("options", options)];
            Raw::begin(server.port, &given).unwrap()
        });
        let sql = positions.filled(step["sql"].as_str().unwrap());
        let answer = match step["params"].as_array() {
            None => connection.query(&sql),
            Some(params) => {
                let params: Vec<Option<String>> =
                    params.iter().map(|param| param.as_str().map(|param| positions.filled(param))).collect();
                let params: Vec<Option<&str>> = params.iter().map(Option::as_deref).collect();
                connection.extended(&sql, &params)
            }
        };
        let mut wrong = Vec::new();
        check(step, &answer, &mut positions, &mut wrong);
        if !wrong.is_empty() {
            differences.add(format!(
                "{}: {sql}\n  {}\n  got {}",
                scenario["name"].as_str().unwrap(),
                wrong.join("\n  "),
                answer.brief()
            ));
        }
    }
}

/// Global positions that the original gave, and what stands for them here.
#[derive(Default)]
struct Positions {
    gaps: bool,
    known: BTreeMap<u64, u64>,
}

impl Positions {
    fn filled(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for nth in 1..100 {
            filled =
                filled.replace(&format!("{{g+{nth}}}"), &self.known.get(&nth).unwrap_or(&nth).to_string());
        }
        filled
    }

    /// Whether a value is what stands for the original's.
    fn same(&mut self, wanted: &str, got: &str) -> bool {
        let Some(nth) = wanted.strip_prefix("{g+").and_then(|rest| rest.strip_suffix('}')) else {
            return false;
        };
        let (nth, got): (u64, u64) = (nth.parse().unwrap(), got.parse().unwrap());
        if !self.gaps {
            return nth == got;
        }
        let known = *self.known.entry(nth).or_insert(got);
        let in_order = self.known.iter().zip(self.known.iter().skip(1)).all(|(left, right)| left.1 < right.1);
        known == got && in_order
    }
}

fn check(step: &Value, answer: &Answer, positions: &mut Positions, wrong: &mut Vec<String>) {
    if let Some(error) = step.get("error") {
        match &answer.error {
            Some(got) => fields("error", error, got, positions, wrong),
            None => wrong.push(format!("expected the error {error}")),
        }
    } else if let Some(error) = &answer.error {
        wrong.push(format!("unexpected error {error:?}"));
    }
    let results: Vec<&Value> = match step.get("results") {
        Some(results) => results.as_array().unwrap().iter().collect(),
        None => step.get("result").into_iter().collect(),
    };
    // Behind an error in a query of several statements the data says what came before it.
    if results.len() != answer.results.len() && step.get("error").is_none() {
        wrong.push(format!("expected {} results", results.len()));
    }
    for (wanted, got) in results.iter().zip(&answer.results) {
        if wanted["tag"].as_str() != got.tag.as_deref() {
            wrong.push(format!("expected the tag {}, got {:?}", wanted["tag"], got.tag));
        }
        let columns: Vec<String> =
            got.columns.iter().flatten().map(|c| format!("{} {}", c.name, c.oid)).collect();
        let expected: Vec<String> = wanted["columns"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|c| format!("{} {}", c["name"].as_str().unwrap(), c["type_oid"]))
            .collect();
        if columns != expected && !expected.iter().any(|column| column.contains("<installed>")) {
            wrong.push(format!("expected the columns {expected:?}, got {columns:?}"));
        }
        let rows = wanted["rows"].as_array().map_or(&[][..], Vec::as_slice);
        if rows.len() != got.rows.len() {
            wrong.push(format!("expected {} rows, got {}", rows.len(), got.rows.len()));
        }
        for (row, got) in rows.iter().zip(&got.rows) {
            for (wanted, got) in row.as_array().unwrap().iter().zip(got) {
                let got = got.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                if !same(wanted.as_str(), got.as_deref(), positions) {
                    wrong.push(format!("expected {wanted}, got {got:?}"));
                }
            }
        }
    }
    let notices = step["notices"].as_array().map_or(&[][..], Vec::as_slice);
    if notices.len() != answer.notices.len() {
        wrong.push(format!("expected {} notices, got {:?}", notices.len(), answer.notices));
    }
    for (wanted, got) in notices.iter().zip(&answer.notices) {
        fields("notice", wanted, got, positions, wrong);
    }
    if let Some(status) = step["status"].as_str().filter(|status| *status != answer.status.to_string()) {
        wrong.push(format!("expected the status {status}"));
    }
}

fn fields(what: &str, wanted: &Value, got: &Fields, positions: &mut Positions, wrong: &mut Vec<String>) {
    let kinds = [
        ("severity", 'S'),
        ("sqlstate", 'C'),
        ("message", 'M'),
        ("detail", 'D'),
        ("hint", 'H'),
        ("schema", 's'),
        ("table", 't'),
        ("column", 'c'),
        ("constraint", 'n'),
    ];
    for (name, kind) in kinds {
        let (wanted, got) = (wanted.get(name).and_then(Value::as_str), field(got, kind));
        if name == "severity" && wanted.is_none() {
            continue;
        }
        let same = match (wanted, got) {
            // A failing row shows the position that the sequence gave.
            (Some(wanted), Some(got)) if wanted.starts_with("Failing row contains (") => {
                let rest = |text: &str| text.split_once(", ").map(|(_, rest)| rest.to_owned());
                like(&rest(wanted).unwrap(), &rest(got).unwrap())
            }
            _ => same(wanted, got, positions),
        };
        if !same {
            wrong.push(format!("{what} {name}: expected {wanted:?}, got {got:?}"));
        }
    }
}

fn same(wanted: Option<&str>, got: Option<&str>, positions: &mut Positions) -> bool {
    match (wanted, got) {
        (Some(wanted), Some(got)) => wanted == got || like(wanted, got) || positions.same(wanted, got),
        (wanted, got) => wanted == got,
    }
}

/// Whether a text is as another in which `<time>` and `<uuid>` are any of that form.
fn like(wanted: &str, got: &str) -> bool {
    let forms = [("<time>", time_bytes as fn(&str) -> usize), ("<uuid>", uuid_bytes)];
    let next =
        forms.iter().filter_map(|(mark, bytes)| Some((wanted.find(mark)?, mark, bytes))).min_by_key(|f| f.0);
    let Some((at, mark, bytes)) = next else { return wanted == got };
    if got.get(..at) != Some(&wanted[..at]) {
        return false;
    }
    let length = bytes(&got[at..]);
    length > 0 && like(&wanted[at + mark.len()..], &got[at + length..])
}

fn time_bytes(text: &str) -> usize {
    let form = b"dddd-dd-dd dd:dd:dd";
    let fits = text.len() >= form.len()
        && text
            .bytes()
            .zip(form)
            .all(|(byte, form)| if *form == b'd' { byte.is_ascii_digit() } else { byte == *form });
    if !fits {
        return 0;
    }
    let part = text[form.len()..]
        .strip_prefix('.')
        .map_or(0, |rest| 1 + rest.bytes().take_while(u8::is_ascii_digit).count());
    form.len() + part
}

fn uuid_bytes(text: &str) -> usize {
    let ours = text.bytes().take_while(|byte| byte.is_ascii_hexdigit() || *byte == b'-').count();
    if ours == 36 { 36 } else { 0 }
}

#[test]
fn the_protocol_answers_as_postgresql_does() {
    let Some(data) = conformance("messagedb/protocol.json") else { return };
    let mut differences = Differences::default();
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    for (name, value) in data["parameter_status"].as_object().unwrap() {
        differences.ran();
        let got = raw.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        if got != value.as_str() {
            differences.add(format!("parameter {name}: expected {value}, got {got:?}"));
        }
    }
    for sql in data["setup"].as_array().unwrap() {
        assert!(raw.query(sql.as_str().unwrap()).error.is_none());
    }
    for case in data["statements"].as_array().unwrap() {
        differences.ran();
        let mut wrong = Vec::new();
        // What a case writes is gone behind it: the data was recorded so.
        raw.query("BEGIN");
        statement(case, &mut raw, &mut wrong);
        raw.query("ROLLBACK");
        if !wrong.is_empty() {
            differences.add(format!("{}\n  {}", case["sql"], wrong.join("\n  ")));
        }
    }
    differences.finish("messagedb/protocol", 20);
}

fn statement(case: &Value, raw: &mut Raw, wrong: &mut Vec<String>) {
    raw.parse("", case["sql"].as_str().unwrap());
    raw.describe(b'S', "");
    let answer = raw.sync();
    if let Some(error) = case.get("error") {
        let mut positions = Positions::default();
        return match &answer.error {
            Some(got) => fields("error", error, got, &mut positions, wrong),
            None => wrong.push("expected an error".into()),
        };
    }
    let oids: Vec<u32> =
        case["param_type_oids"].as_array().unwrap().iter().map(|oid| oid.as_u64().unwrap() as u32).collect();
    if answer.params.as_ref() != Some(&oids) {
        wrong.push(format!("expected the parameters {oids:?}, got {:?} ({})", answer.params, answer.brief()));
        return;
    }
    let columns = |answer: &Answer, format: bool| -> Option<Value> {
        let columns = answer.results.first()?.columns.clone()?;
        let json = columns.into_iter().map(|column| {
            serde_json::json!({
                "name": column.name, "type_oid": column.oid, "type_modifier": column.modifier,
                "type_size": column.size, "table_column": column.attribute,
                "format": if format { column.format } else { 0 },
            })
        });
        Some(json.collect())
    };
    let got = columns(&answer, true).unwrap_or(Value::Null);
    if got != case["columns"] {
        wrong.push(format!("expected the columns {}\n  got {got}", case["columns"]));
    }
    let params: Vec<Option<&str>> = case["params"].as_array().unwrap().iter().map(Value::as_str).collect();
    raw.bind("", "", &params, true);
    raw.describe(b'P', "");
    raw.execute("", 0);
    let answer = raw.sync();
    let wanted = &case["binary_result"];
    let Some(result) = answer.results.first() else {
        wrong.push(format!("no result: {}", answer.brief()));
        return;
    };
    if result.tag.as_deref() != wanted["tag"].as_str() {
        wrong.push(format!("expected the tag {}, got {:?}", wanted["tag"], result.tag));
    }
    let hex = |bytes: &Vec<u8>| bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let rows: Vec<Vec<Option<String>>> =
        result.rows.iter().map(|row| row.iter().map(|value| value.as_ref().map(hex)).collect()).collect();
    for (wanted, row) in wanted["rows"].as_array().unwrap().iter().zip(&rows) {
        for (wanted, got) in wanted.as_array().unwrap().iter().zip(row) {
            let time = wanted == "<time>" && got.as_ref().is_some_and(|got| got.len() == 16);
            if !time && wanted.as_str() != got.as_deref() {
                wrong.push(format!("expected {wanted}, got {got:?}"));
            }
        }
    }
    let formats: Vec<i16> = result.columns.iter().flatten().map(|column| column.format).collect();
    if serde_json::json!(formats) != wanted["formats"] {
        wrong.push(format!("expected the formats {}, got {formats:?}", wanted["formats"]));
    }
}

#[test]
fn names_and_json_go_through_the_functions_as_through_the_originals() {
    let (Some(names), Some(documents)) =
        (conformance("messagedb/names.json"), conformance("messagedb/jsonb.json"))
    else {
        return;
    };
    let mut differences = Differences::default();
    let server = Server::start();
    let mut raw = Raw::connect(server.port);
    for case in names["names"].as_array().unwrap() {
        differences.ran();
        let name = case["name"].as_str().unwrap();
        let sql =
            "SELECT category($1), id($1), cardinal_id($1), is_category($1), hash_64($1), acquire_lock($1)";
        let answer = raw.extended(sql, &[Some(name)]);
        let is_category = if case["is_category"] == true { "t" } else { "f" };
        let columns = ["category", "id", "cardinal_id"].map(|column| case[column].as_str());
        let hashes = ["hash_64", "acquire_lock"].map(|column| case[column].as_str());
        let wanted: Vec<Option<&str>> =
            columns.into_iter().chain([Some(is_category)]).chain(hashes).collect();
        let got: Vec<Option<String>> = answer.results.first().map_or(Vec::new(), |result| {
            let text =
                |value: &Option<Vec<u8>>| value.as_ref().map(|b| String::from_utf8(b.clone()).unwrap());
            result.rows[0].iter().map(text).collect()
        });
        if got.iter().map(Option::as_deref).collect::<Vec<_>>() != wanted {
            differences.add(format!("{name}: expected {wanted:?}, got {}", answer.brief()));
        }
    }
    for case in documents["cases"].as_array().unwrap() {
        differences.ran();
        let answer = raw.extended("SELECT $1::jsonb::varchar", &[case["input"].as_str()]);
        let mut wrong = Vec::new();
        match case.get("error") {
            Some(error) => match &answer.error {
                Some(got) => fields("error", error, got, &mut Positions::default(), &mut wrong),
                None => wrong.push("expected an error".into()),
            },
            None => {
                let got = answer.results.first().and_then(|result| result.rows[0][0].clone());
                if got.as_deref() != case["text"].as_str().map(str::as_bytes) {
                    wrong.push(format!("expected {}, got {}", case["text"], answer.brief()));
                }
            }
        }
        if !wrong.is_empty() {
            differences.add(format!("{}: {}", case["input"], wrong.join("; ")));
        }
    }
    differences.finish("messagedb/names and jsonb over the wire", 40);
}
