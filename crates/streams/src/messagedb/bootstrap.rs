//! Queries of the type catalog that clients send when they connect and that are more SQL than is served: joins of
//! `pg_type`. They are known by their words and get the types that go over the wire here.

use super::counts;
use super::plan::Column;
use super::types::Type;
use super::value::Value;
use super::wire::backend::Out;

/// The answer to a query that is known by its words.
pub(super) fn answer(sql: &str) -> Option<fn(&mut Out)> {
    if sql.len() > 10_000 || !sql.contains("pg_type") {
        return None;
    }
    let words: Vec<&str> = sql.split_whitespace().collect();
    let said = words.join(" ").to_ascii_lowercase();
    let begins = |text: &str| said.starts_with(text);
    // ruby-pg's PG::BasicTypeRegistry.
    if begins("select t.oid, t.typname, t.typelem, t.typdelim, ti.proname as typinput from pg_type") {
        return Some(ruby);
    }
    // SQLAlchemy and psycopg2 look for an extension that is not here.
    if said.contains("hstore") && begins("select t.oid, typarray") {
        return Some(hstore);
    }
    None
}

fn ruby(out: &mut Out) {
    let columns = [
        Column::computed("oid", Type::Oid),
        Column::computed("typname", Type::Name),
        Column::computed("typelem", Type::Oid),
        Column::computed("typdelim", Type::Text),
        Column::computed("typinput", Type::Name),
    ];
    out.columns(&columns, &[]);
    let rows = counts::types();
    for row in &rows {
        let at = out.row(columns.len());
        let name = row[1].as_text().unwrap_or_default();
        // Input functions of older types have no underscore in their names.
        let old =
            ["bool", "int2", "int4", "int8", "oid", "text", "varchar", "name", "unknown"].contains(&name);
        let input = if old { format!("{name}in") } else { format!("{name}_in") };
        out.value(&row[0], Type::Oid, false);
        out.value(&row[1], Type::Name, false);
        out.value(&Value::Int(0), Type::Oid, false);
        out.value(&Value::text(","), Type::Text, false);
        out.value(&Value::owned(input), Type::Name, false);
        out.end_row(at);
    }
    out.complete(&format!("SELECT {}", rows.len()));
}

fn hstore(out: &mut Out) {
    out.columns(&[Column::computed("oid", Type::Oid), Column::computed("typarray", Type::Oid)], &[]);
    out.complete("SELECT 0");
}
