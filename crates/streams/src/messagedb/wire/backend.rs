//! What the server sends.

use crate::messagedb::error::{Sql, SqlError};
use crate::messagedb::expr::{Expr, Known, Row};
use crate::messagedb::plan::Column;
use crate::messagedb::types::Type;
use crate::messagedb::value::Value;

/// What will be sent, message after message.
#[derive(Debug, Default)]
pub(crate) struct Out(pub(crate) Vec<u8>);

impl Out {
    fn message(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
        self.0.push(kind);
        let at = self.0.len();
        self.0.extend([0; 4]);
        body(&mut self.0);
        self.close(at);
    }

    /// Writes a length where its place was kept.
    fn close(&mut self, at: usize) {
        let length = (self.0.len() - at) as i32;
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// `AuthenticationOk` (0) and its like, by code.
    pub(crate) fn authentication(&mut self, code: i32, body: &[u8]) {
        self.message(b'R', |out| {
            out.extend(code.to_be_bytes());
            out.extend(body);
        });
    }

    pub(crate) fn parameter(&mut self, name: &str, value: &str) {
        self.message(b'S', |out| {
            text(out, name);
            text(out, value);
        });
    }

    pub(crate) fn key(&mut self, pid: i32, secret: i32) {
        self.message(b'K', |out| {
            out.extend(pid.to_be_bytes());
            out.extend(secret.to_be_bytes());
        });
    }

    /// `NegotiateProtocolVersion`: 3.0 it is, without these options.
    pub(crate) fn negotiate(&mut self, unknown: &[&str]) {
        self.message(b'v', |out| {
            out.extend(0_i32.to_be_bytes());
            out.extend((unknown.len() as i32).to_be_bytes());
            for name in unknown {
                text(out, name);
            }
        });
    }

    pub(crate) fn ready(&mut self, status: u8) {
        self.message(b'Z', |out| out.push(status));
    }

    /// A message of no content: `1` parsed, `2` bound, `3` closed, `n` no data, `s` suspended, `I` empty.
    pub(crate) fn plain(&mut self, kind: u8) {
        self.message(kind, |_| {});
    }

    pub(crate) fn complete(&mut self, tag: &str) {
        self.message(b'C', |out| text(out, tag));
    }

    pub(crate) fn notification(&mut self, pid: i32, channel: &str, payload: &str) {
        self.message(b'A', |out| {
            out.extend(pid.to_be_bytes());
            text(out, channel);
            text(out, payload);
        });
    }

    /// `ErrorResponse` or `NoticeResponse`. `sql` is what a place in it counts in.
    pub(crate) fn error(&mut self, error: &SqlError, sql: &str) {
        use crate::messagedb::error::Severity::{Error, Fatal};
        let kind = if matches!(error.severity, Error | Fatal) { b'E' } else { b'N' };
        self.message(kind, |out| {
            let mut field = |kind: u8, value: &str| {
                out.push(kind);
                text(out, value);
            };
            field(b'S', error.severity.word());
            field(b'V', error.severity.word());
            field(b'C', error.code);
            field(b'M', &error.message);
            if let Some(detail) = &error.detail {
                field(b'D', detail);
            }
            if let Some(hint) = &error.hint {
                field(b'H', hint);
            }
            if let Some(before) = error.at.and_then(|at| sql.get(..at)) {
                field(b'P', &(before.chars().count() + 1).to_string());
            }
            if let Some(context) = &error.context {
                field(b'W', context);
            }
            if error.table {
                field(b's', "message_store");
                field(b't', "messages");
            }
            if let Some(column) = error.column {
                field(b'c', column);
            }
            if let Some(constraint) = error.constraint {
                field(b'n', constraint);
            }
            out.push(0);
        });
    }

    pub(crate) fn params(&mut self, types: &[Type]) {
        self.message(b't', |out| {
            out.extend((types.len() as u16).to_be_bytes());
            for ty in types {
                out.extend(ty.oid().to_be_bytes());
            }
        });
    }

    /// `RowDescription`.
    pub(crate) fn columns(&mut self, columns: &[Column], formats: &[bool]) {
        self.message(b'T', |out| {
            out.extend((columns.len() as u16).to_be_bytes());
            for (nth, column) in columns.iter().enumerate() {
                text(out, &column.name);
                out.extend(column.table.to_be_bytes());
                out.extend(column.attribute.to_be_bytes());
                out.extend(column.ty.oid().to_be_bytes());
                out.extend(column.ty.size().to_be_bytes());
                out.extend((-1_i32).to_be_bytes());
                out.extend(u16::from(is_binary(formats, nth)).to_be_bytes());
            }
        });
    }

    /// Begins a `DataRow`; [`Out::value`] follows for each column, then [`Out::end_row`] with what this answered.
    pub(crate) fn row(&mut self, columns: usize) -> usize {
        self.0.push(b'D');
        let at = self.0.len();
        self.0.extend([0; 4]);
        self.0.extend((columns as u16).to_be_bytes());
        at
    }

    pub(crate) fn value(&mut self, value: &Value<'_>, ty: Type, binary: bool) {
        if value.is_null() {
            self.0.extend((-1_i32).to_be_bytes());
            return;
        }
        let at = self.0.len();
        self.0.extend([0; 4]);
        if binary {
            value.write_binary(ty, &mut self.0);
        } else if let Some(text) = value.as_text() {
            self.0.extend(text.as_bytes());
        } else {
            let mut text = String::with_capacity(32);
            value.write_text(ty, &mut text);
            self.0.extend(text.as_bytes());
        }
        let length = (self.0.len() - at - 4) as i32;
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    pub(crate) fn end_row(&mut self, at: usize) {
        self.close(at);
    }

    /// A row of what these expressions say of another. Where one fails, nothing of the row is sent.
    pub(crate) fn row_of<'a>(
        &mut self,
        exprs: &'a [Expr],
        columns: &[Column],
        formats: &[bool],
        row: Row<'a>,
        known: &Known<'a>,
    ) -> Sql<()> {
        let before = self.0.len();
        let at = self.row(columns.len());
        for (nth, (expr, column)) in exprs.iter().zip(columns).enumerate() {
            match expr.value(row, known) {
                Ok(value) => self.value(&value, column.ty, is_binary(formats, nth)),
                Err(error) => {
                    self.0.truncate(before);
                    return Err(error);
                }
            }
        }
        self.end_row(at);
        Ok(())
    }
}

/// Whether a column or parameter is in binary form: none said, one for all, or one each.
pub(crate) fn is_binary(formats: &[bool], nth: usize) -> bool {
    match formats {
        [] => false,
        [all] => *all,
        each => each.get(nth).copied().unwrap_or(false),
    }
}

/// A text ends at its first NUL, so there must be none in it.
fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_message_says_its_length() {
        let mut out = Out::default();
        out.ready(b'I');
        out.complete("SELECT 1");
        let at = out.row(2);
        out.value(&Value::Int(7), Type::Int4, true);
        out.value(&Value::Null, Type::Text, false);
        out.end_row(at);
        expect![[r#""Z\0\0\0\u{5}IC\0\0\0\rSELECT 1\0D\0\0\0\u{12}\0\u{2}\0\0\0\u{4}\0\0\0\u{7}ÿÿÿÿ""#]]
            .assert_eq(&format!("{:?}", out.0.iter().map(|byte| char::from(*byte)).collect::<String>()));
    }

    #[test]
    fn an_error_says_where_in_characters() {
        let mut out = Out::default();
        out.error(&SqlError::new("42703", "column \"x\" does not exist").at(12), "SELECT 'é', x");
        let text = String::from_utf8_lossy(&out.0).replace('\0', "|");
        assert!(text.ends_with("SERROR|VERROR|C42703|Mcolumn \"x\" does not exist|P12||"), "{text}");
    }
}
