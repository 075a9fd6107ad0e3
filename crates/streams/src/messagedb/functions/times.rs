//! Functions of a time: its parts, what it is cut to, its zone.

use crate::messagedb::error::{Sql, SqlError};
use crate::messagedb::numeric::Numeric;
use crate::messagedb::time;
use crate::messagedb::value::Value;

fn unit_of<'a>(args: &'a [Value<'_>]) -> &'a str {
    args[0].as_text().unwrap_or_default()
}

/// UTC is the one time zone here, so a time is the same with it and without.
pub(super) fn timezone<'a>(args: &[Value<'a>]) -> Sql<Value<'a>> {
    let zone = unit_of(args).to_ascii_lowercase();
    if ["utc", "etc/utc", "gmt", "z", "zulu", "universal"].contains(&zone.as_str()) {
        return Ok(args[1].clone());
    }
    Err(SqlError::not_served(format!("the time zone `{zone}`")))
}

fn micros(value: &Value<'_>) -> i64 {
    match value {
        Value::Time(micros) => *micros,
        Value::Date(days) => i64::from(*days) * time::DAY,
        _ => 0,
    }
}

fn unit_unknown(unit: &str) -> Box<SqlError> {
    SqlError::new("22023", format!("unit \"{unit}\" not recognized for type timestamp without time zone"))
}

pub(super) fn extract<'a>(args: &[Value<'a>]) -> Sql<Value<'a>> {
    let (unit, at) = (unit_of(args), micros(&args[1]));
    let Some(civil) = time::civil(at) else { return Ok(Value::Null) };
    let second = i128::from(civil.second()) * 1_000_000 + i128::from(civil.subsec_nanosecond() / 1000);
    let whole = |value: i64| Numeric::from(value);
    let number = match unit {
        "epoch" => Numeric::new(at.into(), 6),
        "second" => Numeric::new(second, 6),
        "milliseconds" => Numeric::new(second, 3),
        "microseconds" => Numeric::new(second, 0),
        "minute" => whole(civil.minute().into()),
        "hour" => whole(civil.hour().into()),
        "day" => whole(civil.day().into()),
        "month" => whole(civil.month().into()),
        "quarter" => whole(i64::from((civil.month() + 2) / 3)),
        "year" => whole(civil.year().into()),
        "dow" => whole(civil.weekday().to_sunday_zero_offset().into()),
        "isodow" => whole(civil.weekday().to_monday_one_offset().into()),
        "doy" => whole(civil.day_of_year().into()),
        "week" => whole(civil.date().iso_week_date().week().into()),
        _ => return Err(unit_unknown(unit)),
    };
    Ok(Value::Numeric(number))
}

pub(super) fn date_trunc<'a>(args: &[Value<'a>]) -> Sql<Value<'a>> {
    let (unit, at) = (unit_of(args).to_ascii_lowercase(), micros(&args[1]));
    let Some(civil) = time::civil(at) else { return Ok(Value::Null) };
    let day = i64::from(time::day_of(at));
    let back_to = |days: i64| (day - days) * time::DAY;
    let floor = |unit: i64| at - at.rem_euclid(unit);
    Ok(Value::Time(match &*unit {
        "microseconds" => at,
        "milliseconds" => floor(1_000),
        "second" => floor(1_000_000),
        "minute" => floor(60_000_000),
        "hour" => floor(3_600_000_000),
        "day" => back_to(0),
        "week" => back_to(civil.weekday().to_monday_zero_offset().into()),
        "month" => back_to(i64::from(civil.day()) - 1),
        "year" => back_to(i64::from(civil.day_of_year()) - 1),
        _ => return Err(unit_unknown(&unit)),
    }))
}
