//! Values of columns, parameters and expressions: read from text and from PostgreSQL's binary forms, written
//! as both, cast from type to type and compared.

use super::error::{Sql, SqlError};
use super::json;
use super::numeric::Numeric;
use super::time::{self, Interval, POSTGRES_EPOCH};
use super::types::Type;
use std::borrow::Cow;
use std::cmp::Ordering;
use store::{Json, Uuid};

/// A value; its type is known to whoever holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Numeric(Numeric),
    Text(Cow<'a, str>),
    /// Canonical JSON.
    Json(Cow<'a, str>),
    Uuid(Uuid),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970, with a time zone or without.
    Time(i64),
    Interval(Interval),
}

impl<'a> Value<'a> {
    /// A text that others hold.
    pub(crate) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// A text of its own.
    pub(crate) fn owned(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }

    /// The same value on its own.
    pub(crate) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Numeric(value) => Value::Numeric(value),
            Self::Text(value) => Value::Text(Cow::Owned(value.into_owned())),
            Self::Json(value) => Value::Json(Cow::Owned(value.into_owned())),
            Self::Uuid(value) => Value::Uuid(value),
            Self::Date(value) => Value::Date(value),
            Self::Time(value) => Value::Time(value),
            Self::Interval(value) => Value::Interval(value),
        }
    }

    /// Whether it is NULL.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, where it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Json(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, where it is one.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether it is true; NULL is not.
    pub(crate) fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    /// Bytes it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.as_text().map_or(0, str::len)
    }

    /// Appends its text as PostgreSQL writes it; nothing for NULL.
    pub(crate) fn write_text(&self, ty: Type, out: &mut String) {
        match self {
            Self::Null => {}
            Self::Bool(value) => out.push(if *value { 't' } else { 'f' }),
            Self::Int(value) => out.push_str(&value.to_string()),
            Self::Numeric(value) => out.push_str(&value.to_string()),
            Self::Text(text) | Self::Json(text) => out.push_str(text),
            Self::Uuid(id) => out.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer())),
            Self::Date(days) => out.push_str(&time::date_text(*days)),
            Self::Time(micros) => {
                time::timestamp_text(*micros, out);
                if ty == Type::Timestamptz {
                    out.push_str("+00");
                }
            }
            Self::Interval(interval) => out.push_str(&interval.text()),
        }
    }

    /// Appends its binary form; nothing for NULL.
    pub(crate) fn write_binary(&self, ty: Type, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::Bool(value) => out.push(u8::from(*value)),
            Self::Int(value) => match ty.size() {
                2 => out.extend((*value as i16).to_be_bytes()),
                4 => out.extend((*value as i32).to_be_bytes()),
                _ => out.extend(value.to_be_bytes()),
            },
            Self::Numeric(value) => out.extend(value.to_binary()),
            Self::Text(text) => out.extend(text.as_bytes()),
            Self::Json(text) => {
                // jsonb_send: the version of the form, then the text.
                if ty == Type::Jsonb {
                    out.push(1);
                }
                out.extend(text.as_bytes());
            }
            Self::Uuid(id) => out.extend(id.as_bytes()),
            Self::Date(days) => {
                let since = i64::from(*days) - POSTGRES_EPOCH / time::DAY;
                out.extend((since as i32).to_be_bytes());
            }
            Self::Time(micros) => out.extend(micros.saturating_sub(POSTGRES_EPOCH).to_be_bytes()),
            Self::Interval(interval) => {
                out.extend(interval.micros.to_be_bytes());
                out.extend(interval.days.to_be_bytes());
                out.extend(interval.months.to_be_bytes());
            }
        }
    }
}

/// Reads the text of a literal or a parameter as a value of this type.
pub(crate) fn of_text(text: &str, ty: Type) -> Sql<Value<'static>> {
    let invalid =
        || SqlError::new("22P02", format!("invalid input syntax for type {}: \"{text}\"", ty.name()));
    let beyond =
        || SqlError::new("22003", format!("value \"{text}\" is out of range for type {}", ty.name()));
    Ok(match ty {
        Type::Text | Type::Varchar | Type::Unknown => Value::owned(text),
        // Longer names are cut, as PostgreSQL cuts them.
        Type::Name => Value::owned(cut(text, 63)),
        Type::Bool => Value::Bool(bool_of(text).ok_or_else(invalid)?),
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid => {
            let digits = text.trim();
            match digits.parse::<i128>() {
                Ok(value) => Value::Int(int_within(value, ty).ok_or_else(beyond)?),
                Err(_) if is_integer(digits) => return Err(beyond()),
                Err(_) => return Err(invalid()),
            }
        }
        Type::Numeric => Value::Numeric(Numeric::parse(text.trim()).ok_or_else(invalid)??),
        Type::Json | Type::Jsonb => {
            let json = Json::parse(text).map_err(|error| {
                let fault = SqlError::new(error.kind.sqlstate(), error.kind.message());
                if error.detail.is_empty() { fault } else { fault.detail(&*error.detail) }
            })?;
            // json keeps the text as it came, jsonb does not.
            Value::Json(Cow::Owned(if ty == Type::Json { text.to_owned() } else { json.to_string() }))
        }
        Type::Uuid => Value::Uuid(uuid_of(text).ok_or_else(invalid)?),
        Type::Date | Type::Timestamp | Type::Timestamptz => {
            let micros = time::parse_timestamp(text, ty == Type::Timestamptz).ok_or_else(|| {
                let name = if ty == Type::Timestamp { "timestamp" } else { ty.name() };
                SqlError::new("22007", format!("invalid input syntax for type {name}: \"{text}\""))
            })?;
            if ty == Type::Date { Value::Date(time::day_of(micros)) } else { Value::Time(micros) }
        }
        Type::Interval => Value::Interval(Interval::parse(text).ok_or_else(|| {
            SqlError::new("22007", format!("invalid input syntax for type {}: \"{text}\"", ty.name()))
        })?),
        Type::Void | Type::Message => return Err(invalid()),
    })
}

/// Reads a parameter in binary form.
pub(crate) fn of_binary(bytes: &[u8], ty: Type) -> Sql<Value<'static>> {
    let wrong = || SqlError::new("22P03", "incorrect binary data format in bind parameter");
    let int = |bytes: &[u8]| -> Sql<i64> {
        Ok(match *bytes {
            [a, b] => i64::from(i16::from_be_bytes([a, b])),
            [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
            _ => i64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?),
        })
    };
    let sized = |size: usize| if bytes.len() == size { Ok(bytes) } else { Err(wrong()) };
    let text = |bytes| utf8(bytes).map(str::to_owned);
    Ok(match ty {
        Type::Bool => Value::Bool(sized(1)?[0] != 0),
        Type::Int2 => Value::Int(int(sized(2)?)?),
        Type::Int4 => Value::Int(int(sized(4)?)?),
        Type::Oid => Value::Int(int(sized(4)?)? & 0xffff_ffff),
        Type::Int8 => Value::Int(int(sized(8)?)?),
        Type::Numeric => Value::Numeric(Numeric::of_binary(bytes).ok_or_else(wrong)??),
        Type::Text | Type::Varchar | Type::Name | Type::Unknown | Type::Json => of_text(&text(bytes)?, ty)?,
        Type::Jsonb => match bytes.split_first() {
            Some((1, json)) => of_text(&text(json)?, ty)?,
            _ => return Err(SqlError::new("XX000", "unsupported jsonb version number")),
        },
        Type::Uuid => Value::Uuid(Uuid::from_slice(bytes).map_err(|_| wrong())?),
        Type::Date => {
            let days = int(sized(4)?)? + POSTGRES_EPOCH / time::DAY;
            Value::Date(i32::try_from(days).map_err(|_| wrong())?)
        }
        Type::Timestamp | Type::Timestamptz => {
            Value::Time(int(sized(8)?)?.checked_add(POSTGRES_EPOCH).ok_or_else(wrong)?)
        }
        Type::Interval => {
            sized(16)?;
            let part = |from: usize, to: usize| int(&bytes[from..to]);
            let small = |value: i64| i32::try_from(value).map_err(|_| wrong());
            Value::Interval(Interval {
                micros: part(0, 8)?,
                days: small(part(8, 12)?)?,
                months: small(part(12, 16)?)?,
            })
        }
        Type::Void | Type::Message => return Err(wrong()),
    })
}

/// The text of bytes that a client sent.
pub(crate) fn utf8(bytes: &[u8]) -> Sql<&str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let wrong = &bytes[at..(at + error.error_len().unwrap_or(1)).min(bytes.len())];
        let wrong: Vec<String> = wrong.iter().map(|byte| format!("0x{byte:02x}")).collect();
        SqlError::new("22021", format!("invalid byte sequence for encoding \"UTF8\": {}", wrong.join(" ")))
    })?;
    if text.contains('\0') {
        return Err(SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    Ok(text)
}

fn bool_of(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    // boolin takes any beginning of these words that names only one of them.
    let begins = |word: &str, least: usize| text.len() >= least && word.starts_with(&*text);
    if text == "1" || begins("true", 1) || begins("yes", 1) || begins("on", 2) {
        return Some(true);
    }
    (text == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2)).then_some(false)
}

/// `uuid_in`: digits of any case, in braces or not, a dash after any four digits or none.
fn uuid_of(text: &str) -> Option<Uuid> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let (mut value, mut digits): (u128, u32) = (0, 0);
    let mut bytes = inner.bytes().peekable();
    while let Some(byte) = bytes.next() {
        value = value << 4 | u128::from(char::from(byte).to_digit(16)?);
        digits += 1;
        if digits > 32 {
            return None;
        }
        if digits % 4 == 0 && digits < 32 && bytes.peek() == Some(&b'-') {
            bytes.next();
        }
    }
    (digits == 32).then(|| Uuid::from_u128(value))
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn int_within(value: i128, ty: Type) -> Option<i64> {
    match ty {
        Type::Int2 => i16::try_from(value).ok().map(i64::from),
        Type::Int4 => i32::try_from(value).ok().map(i64::from),
        Type::Oid => u32::try_from(value).ok().map(i64::from),
        _ => i64::try_from(value).ok(),
    }
}

/// The beginning of a text, of at most so many bytes and whole characters.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether there is a cast from one type to another at all.
pub(crate) fn can_cast(from: Type, to: Type) -> bool {
    let plain = |ty: Type| !matches!(ty, Type::Void | Type::Message);
    from.becomes(to)
        || (plain(from) && to.is_text())
        || (from.is_text() && plain(to))
        || (from.is_number() && to.is_number())
        || (from.is_time() && to.is_time())
        || matches!(
            (from, to),
            (Type::Int4, Type::Bool)
                | (Type::Bool, Type::Int4)
                | (Type::Json, Type::Jsonb)
                | (Type::Jsonb, Type::Json)
        )
        || (from == Type::Jsonb && (to.is_number() || to == Type::Bool))
}

/// A value of one type as another; [`can_cast`] said that there is a way.
pub(crate) fn cast(value: Value<'_>, from: Type, to: Type) -> Sql<Value<'_>> {
    let beyond = || SqlError::new("22003", format!("{} out of range", to.name()));
    if value.is_null() || from == to {
        return Ok(value);
    }
    Ok(match value {
        Value::Json(text) if to == Type::Json || to == Type::Text || to == Type::Varchar => {
            if to == Type::Json { Value::Json(text) } else { Value::Text(text) }
        }
        Value::Json(text) if from == Type::Jsonb && (to.is_number() || to == Type::Bool) => {
            let whole = of_text(&text, if to == Type::Bool { Type::Bool } else { Type::Numeric });
            match whole.ok().filter(|_| !text.starts_with('"')) {
                Some(Value::Numeric(number)) if to.is_int() => {
                    Value::Int(int_within(number.to_int()?, to).ok_or_else(beyond)?)
                }
                Some(value) => value,
                None => {
                    let what = match text.as_bytes().first() {
                        Some(b'{') => "object",
                        Some(b'[') => "array",
                        Some(b'"') => "string",
                        Some(b'n') => "null",
                        Some(b't' | b'f') => "boolean",
                        _ => "numeric",
                    };
                    let text = format!("cannot cast jsonb {what} to type {}", to.name());
                    return Err(SqlError::new("22023", text));
                }
            }
        }
        Value::Text(text) if to.is_text() && to != Type::Name => Value::Text(text),
        Value::Text(text) | Value::Json(text) => of_text(&text, to)?,
        Value::Bool(value) if to.is_int() => Value::Int(i64::from(value)),
        // bool's cast to text is a function of its own that writes the whole word.
        Value::Bool(value) if to.is_text() => Value::text(if value { "true" } else { "false" }),
        Value::Int(value) if to.is_int() => Value::Int(int_within(value.into(), to).ok_or_else(beyond)?),
        Value::Int(value) if to == Type::Numeric => Value::Numeric(value.into()),
        Value::Int(value) if to == Type::Bool => Value::Bool(value != 0),
        Value::Numeric(value) if to.is_int() => {
            Value::Int(int_within(value.to_int()?, to).ok_or_else(beyond)?)
        }
        Value::Time(micros) if to == Type::Date => Value::Date(time::day_of(micros)),
        Value::Time(micros) if to.is_time() => Value::Time(micros),
        Value::Date(days) if to.is_time() => Value::Time(i64::from(days) * time::DAY),
        value if to.is_text() => {
            let mut text = String::new();
            value.write_text(from, &mut text);
            Value::Text(Cow::Owned(text))
        }
        value => value,
    })
}

/// The order of two values of one type; `None` where one is NULL. Texts go by their bytes.
pub(crate) fn compare(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    Some(match (left, right) {
        (Value::Null, _) | (_, Value::Null) => return None,
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right)) | (Value::Time(left), Value::Time(right)) => left.cmp(right),
        (Value::Numeric(left), Value::Numeric(right)) => left.cmp(right),
        (Value::Json(left), Value::Json(right)) if json::same(left, right) => Ordering::Equal,
        (Value::Text(left) | Value::Json(left), Value::Text(right) | Value::Json(right)) => left.cmp(right),
        (Value::Uuid(left), Value::Uuid(right)) => left.cmp(right),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Interval(left), Value::Interval(right)) => left.length().cmp(&right.length()),
        // Both were cast to one type when the statement was read.
        _ => Ordering::Equal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, ty: Type, expected: Expect) {
        let read = of_text(text, ty).map_or_else(
            |error| format!("{} {}", error.code, error.message),
            |value| {
                let (mut out, mut binary) = (String::new(), Vec::new());
                value.write_text(ty, &mut out);
                value.write_binary(ty, &mut binary);
                assert_eq!(of_binary(&binary, ty).unwrap(), value, "{text} as {ty:?}");
                out
            },
        );
        expected.assert_eq(&read);
    }

    #[test]
    fn texts_are_read_as_postgresql_reads_them() {
        check(" 42 ", Type::Int4, expect!["42"]);
        check("4x", Type::Int8, expect![[r#"22P02 invalid input syntax for type bigint: "4x""#]]);
        check("32768", Type::Int2, expect![[r#"22003 value "32768" is out of range for type smallint"#]]);
        check("1.50", Type::Numeric, expect!["1.50"]);
        check("yes", Type::Bool, expect!["t"]);
        check("of", Type::Bool, expect!["f"]);
        check("o", Type::Bool, expect![[r#"22P02 invalid input syntax for type boolean: "o""#]]);
        check("{\"b\":1,\"a\":2}", Type::Jsonb, expect![[r#"{"a": 2, "b": 1}"#]]);
        check("{\"b\":1}", Type::Json, expect![[r#"{"b":1}"#]]);
        check("{A}", Type::Jsonb, expect!["22P02 invalid input syntax for type json"]);
        check("2024-02-29", Type::Date, expect!["2024-02-29"]);
        check("2024-02-29 12:00+02", Type::Timestamptz, expect!["2024-02-29 10:00:00+00"]);
        check(
            "2024-02-30",
            Type::Date,
            expect![[r#"22007 invalid input syntax for type date: "2024-02-30""#]],
        );
        check("1 day 01:00", Type::Interval, expect!["1 day 01:00:00"]);
        check(
            &"n".repeat(70),
            Type::Name,
            expect!["nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"],
        );
    }

    #[test]
    fn an_id_is_taken_in_every_form_that_postgresql_takes() {
        for text in [
            "00000000-0000-4000-8000-00000000ABCD",
            "{00000000-0000-4000-8000-00000000abcd}",
            "0000000000004000800000000000abcd",
            "0000-0000-0000-4000-8000-0000-0000-abcd",
        ] {
            check(text, Type::Uuid, expect!["00000000-0000-4000-8000-00000000abcd"]);
        }
        for text in
            ["", "nope", "{00000000-0000-4000-8000-00000000abcd", "00000000000040008000000000000abcd0", "-"]
        {
            assert_eq!(of_text(text, Type::Uuid).unwrap_err().code, "22P02", "{text}");
        }
    }

    #[test]
    fn values_are_cast_from_type_to_type() {
        let check = |text: &str, from: Type, to: Type, expected: Expect| {
            assert!(can_cast(from, to), "{from:?} to {to:?}");
            let cast = cast(of_text(text, from).unwrap(), from, to).map_or_else(
                |error| format!("{} {}", error.code, error.message),
                |value| {
                    let mut out = String::new();
                    value.write_text(to, &mut out);
                    out
                },
            );
            expected.assert_eq(&cast);
        };
        check("2.5", Type::Numeric, Type::Int4, expect!["3"]);
        check("70000", Type::Int4, Type::Int2, expect!["22003 smallint out of range"]);
        check("true", Type::Bool, Type::Text, expect!["true"]);
        check("7", Type::Jsonb, Type::Int4, expect!["7"]);
        check("\"7\"", Type::Jsonb, Type::Int4, expect!["22023 cannot cast jsonb string to type integer"]);
        check("2024-02-29 12:00:00", Type::Timestamp, Type::Date, expect!["2024-02-29"]);
        check(
            "00000000-0000-4000-8000-00000000ABCD",
            Type::Varchar,
            Type::Uuid,
            expect!["00000000-0000-4000-8000-00000000abcd"],
        );
        assert!(!can_cast(Type::Uuid, Type::Int4) && !can_cast(Type::Int8, Type::Bool));
    }

    #[test]
    fn wrong_bytes_are_refused() {
        for (bytes, ty) in
            [(&[1_u8, 2, 3][..], Type::Int4), (b"\x02{}", Type::Jsonb), (b"x", Type::Uuid), (b"", Type::Bool)]
        {
            assert!(of_binary(bytes, ty).is_err(), "{ty:?}");
        }
        assert_eq!(
            of_binary(b"a\xff", Type::Text).unwrap_err().message,
            "invalid byte sequence for encoding \"UTF8\": 0xff"
        );
    }
}
