//! Operators: which types they take, and what their operands have to be cast to.

use super::binding::{Binding, Typed};
use crate::messagedb::error::{Sql, SqlError};
use crate::messagedb::expr::{Comparison, Expr};
use crate::messagedb::sql::{self, Kind};
use crate::messagedb::types::Type;
use crate::messagedb::value::Value;

impl Binding {
    /// Every expression but literals, columns, casts and calls.
    pub(super) fn operator(&mut self, tree: &sql::Expr) -> Sql<Typed> {
        let at = tree.at;
        let truth = |expr| Ok(Typed::new(expr, Type::Bool));
        let not = |expr: Expr, not: bool| if not { Expr::Not(Box::new(expr)) } else { expr };
        match &tree.kind {
            Kind::And(parts) => truth(Expr::And(self.truths(parts, "AND")?)),
            Kind::Or(parts) => truth(Expr::Or(self.truths(parts, "OR")?)),
            Kind::Not(inner) => truth(Expr::Not(Box::new(self.truth(inner, "NOT")?))),
            Kind::IsBool { value, wanted, not: negated } => {
                let clause = if *wanted { "IS TRUE" } else { "IS FALSE" };
                let value = self.truth(value, clause)?;
                truth(not(Expr::Is(Box::new(value), *wanted), *negated))
            }
            Kind::IsNull { value, not: negated } => {
                let typed = self.expr(value)?;
                let ty = if typed.ty == Type::Unknown { Type::Text } else { typed.ty };
                let value = self.coerce(typed, ty, value.at)?;
                truth(not(Expr::IsNull(Box::new(value)), *negated))
            }
            Kind::IsDistinct { left, right, not: negated } => {
                let (left, right) = self.pair("=", left, right, at)?;
                truth(not(Expr::IsDistinct(Box::new(left), Box::new(right)), *negated))
            }
            Kind::In { value, list, not: negated } => {
                let trees: Vec<&sql::Expr> = std::iter::once(&**value).chain(list).collect();
                let mut members = self.common(&trees, "IN")?.0;
                let wanted = members.remove(0);
                truth(not(Expr::In(Box::new(wanted), members), *negated))
            }
            Kind::Like { value, pattern, not: negated, any_case } => {
                let name = if *any_case { "~~*" } else { "~~" };
                let (value, pattern) = self.texts(name, value, pattern, at)?;
                let like =
                    Expr::Like { value: Box::new(value), pattern: Box::new(pattern), any_case: *any_case };
                truth(not(like, *negated))
            }
            Kind::Case { operand, whens, otherwise } => {
                self.case(operand.as_deref(), whens, otherwise.as_deref())
            }
            Kind::Before(operator, operand) => self.before(operator, operand, at),
            Kind::Between(operator, left, right) => self.between(operator, left, right, at),
            // `expr` took these.
            _ => Err(SqlError::new("XX000", "an expression was not understood").at(at)),
        }
    }

    fn truths(&mut self, parts: &[sql::Expr], clause: &str) -> Sql<Vec<Expr>> {
        parts.iter().map(|part| self.truth(part, clause)).collect()
    }

    /// Both sides as one type that can be compared.
    fn pair(&mut self, operator: &str, left: &sql::Expr, right: &sql::Expr, at: usize) -> Sql<(Expr, Expr)> {
        let (one, other) = (self.expr(left)?, self.expr(right)?);
        let ty = one.ty.common(other.ty).filter(|ty| !matches!(ty, Type::Json | Type::Message | Type::Void));
        let ty = ty.ok_or_else(|| no_operator(operator, Some(one.ty), other.ty).at(at))?;
        Ok((self.coerce(one, ty, left.at)?, self.coerce(other, ty, right.at)?))
    }

    /// Both sides as texts.
    fn texts(&mut self, operator: &str, left: &sql::Expr, right: &sql::Expr, at: usize) -> Sql<(Expr, Expr)> {
        let (one, other) = (self.expr(left)?, self.expr(right)?);
        if !one.ty.becomes(Type::Text) || !other.ty.becomes(Type::Text) {
            return Err(no_operator(operator, Some(one.ty), other.ty).at(at));
        }
        Ok((self.coerce(one, Type::Text, left.at)?, self.coerce(other, Type::Text, right.at)?))
    }

    fn case(
        &mut self,
        operand: Option<&sql::Expr>,
        whens: &[(sql::Expr, sql::Expr)],
        otherwise: Option<&sql::Expr>,
    ) -> Sql<Typed> {
        let mut conditions = Vec::with_capacity(whens.len());
        for (when, _) in whens {
            conditions.push(match operand {
                Some(operand) => {
                    let (left, right) = self.pair("=", operand, when, when.at)?;
                    Expr::Compare(Comparison::Equal, Box::new(left), Box::new(right))
                }
                None => self.truth(when, "CASE/WHEN")?,
            });
        }
        let trees: Vec<&sql::Expr> = whens.iter().map(|(_, then)| then).chain(otherwise).collect();
        let (mut results, ty) = self.common(&trees, "CASE")?;
        let otherwise = otherwise.and_then(|_| results.pop()).unwrap_or(Expr::Const(Value::Null));
        let whens = conditions.into_iter().zip(results).collect();
        Ok(Typed::new(Expr::Case(whens, Box::new(otherwise)), ty))
    }

    fn before(&mut self, operator: &str, operand: &sql::Expr, at: usize) -> Sql<Typed> {
        let typed = self.expr(operand)?;
        let ty = if typed.ty == Type::Unknown { Type::Int8 } else { typed.ty };
        if !ty.is_number() {
            return Err(no_operator(operator, None, ty).at(at));
        }
        let value = self.coerce(typed, ty, operand.at)?;
        let zero = self.coerce(Typed::new(Expr::Const(Value::Int(0)), Type::Int8), ty, at)?;
        let negated = |value: Expr| Expr::Arithmetic('-', ty, Box::new(zero), Box::new(value));
        Ok(Typed::new(
            match operator {
                "-" => negated(value),
                "@" => Expr::Extreme(vec![negated(value.clone()), value], true),
                _ => value,
            },
            ty,
        ))
    }

    fn between(&mut self, operator: &str, left: &sql::Expr, right: &sql::Expr, at: usize) -> Sql<Typed> {
        if let Some(comparison) = Comparison::of(operator) {
            let (left, right) = self.pair(operator, left, right, at)?;
            return Ok(Typed::new(Expr::Compare(comparison, Box::new(left), Box::new(right)), Type::Bool));
        }
        match operator {
            "+" | "-" | "*" | "/" | "%" => self.arithmetic(operator, left, right, at),
            "||" => {
                let (one, other) = (self.expr(left)?, self.expr(right)?);
                // Anything goes with a text; two of something else do not.
                let text = |ty: Type| ty.is_text() || ty == Type::Unknown;
                if !text(one.ty) && !text(other.ty) || one.ty == Type::Jsonb || other.ty == Type::Jsonb {
                    return Err(no_operator(operator, Some(one.ty), other.ty).at(at));
                }
                let (left, right) =
                    (self.coerce(one, Type::Text, left.at)?, self.coerce(other, Type::Text, right.at)?);
                Ok(Typed::new(Expr::Concat(Box::new(left), Box::new(right)), Type::Text))
            }
            "~~" | "!~~" => {
                let (value, pattern) = self.texts(operator, left, right, at)?;
                let like = Expr::Like { value: Box::new(value), pattern: Box::new(pattern), any_case: false };
                Ok(Typed::new(if operator == "~~" { like } else { Expr::Not(Box::new(like)) }, Type::Bool))
            }
            "->" | "->>" => {
                let (json, key) = (self.expr(left)?, self.expr(right)?);
                let key_type = if key.ty == Type::Unknown { Type::Text } else { key.ty };
                let fits = matches!(json.ty, Type::Jsonb | Type::Unknown)
                    && (key_type.is_text() || key_type == Type::Int4);
                if !fits {
                    return Err(no_operator(operator, Some(json.ty), key.ty).at(at));
                }
                let json = self.coerce(json, Type::Jsonb, left.at)?;
                let key = self.coerce(key, key_type, right.at)?;
                let text = operator == "->>";
                let ty = if text { Type::Text } else { Type::Jsonb };
                Ok(Typed::new(Expr::Get(Box::new(json), Box::new(key), text), ty))
            }
            "@>" | "<@" | "?" => {
                let wanted = if operator == "?" { Type::Text } else { Type::Jsonb };
                let (one, other) = (self.expr(left)?, self.expr(right)?);
                if !one.ty.becomes(Type::Jsonb) || !other.ty.becomes(wanted) {
                    return Err(no_operator(operator, Some(one.ty), other.ty).at(at));
                }
                let left = Box::new(self.coerce(one, Type::Jsonb, left.at)?);
                let right = Box::new(self.coerce(other, wanted, right.at)?);
                let expr = match operator {
                    "@>" => Expr::Contains(left, right),
                    "<@" => Expr::Contains(right, left),
                    _ => Expr::HasKey(left, right),
                };
                Ok(Typed::new(expr, Type::Bool))
            }
            "#>" | "#>>" | "~" | "~*" | "!~" | "!~*" | "?|" | "?&" | "^" => {
                Err(SqlError::not_served(format!("the operator `{operator}`")).at(at))
            }
            _ => {
                let (one, other) = (self.expr(left)?, self.expr(right)?);
                Err(no_operator(operator, Some(one.ty), other.ty).at(at))
            }
        }
    }

    fn arithmetic(&mut self, operator: &str, left: &sql::Expr, right: &sql::Expr, at: usize) -> Sql<Typed> {
        let (one, other) = (self.expr(left)?, self.expr(right)?);
        let minus = operator == "-";
        let additive = minus || operator == "+";
        let missing = |one: Type, other: Type| no_operator(operator, Some(one), other).at(at);
        match (one.ty, other.ty) {
            (a, b)
                if a.is_number() && (b.is_number() || b == Type::Unknown)
                    || a == Type::Unknown && b.is_number() =>
            {
                let ty = a.common(b).ok_or_else(|| missing(a, b))?;
                let left = Box::new(self.coerce(one, ty, left.at)?);
                let right = Box::new(self.coerce(other, ty, right.at)?);
                let sign = operator.chars().next().unwrap_or('+');
                Ok(Typed::new(Expr::Arithmetic(sign, ty, left, right), ty))
            }
            (Type::Date, b) if additive && matches!(b, Type::Int2 | Type::Int4) => {
                let (left, right) = (Box::new(one.expr), Box::new(other.expr));
                Ok(Typed::new(Expr::Shift(left, right, minus), Type::Date))
            }
            (a, Type::Interval) if additive && a.is_time() => {
                let ty = if a == Type::Date { Type::Timestamp } else { a };
                let time = Box::new(self.coerce(one, ty, left.at)?);
                Ok(Typed::new(Expr::Shift(time, Box::new(other.expr), minus), ty))
            }
            (Type::Interval, b) if operator == "+" && b.is_time() => {
                let ty = if b == Type::Date { Type::Timestamp } else { b };
                let time = Box::new(self.coerce(other, ty, right.at)?);
                Ok(Typed::new(Expr::Shift(time, Box::new(one.expr), false), ty))
            }
            // A literal beside a time is a span or a time: PostgreSQL takes it as a span.
            (a, Type::Unknown) if additive && matches!(a, Type::Timestamp | Type::Timestamptz) => {
                let span = Box::new(self.coerce(other, Type::Interval, right.at)?);
                Ok(Typed::new(Expr::Shift(Box::new(one.expr), span, minus), a))
            }
            (a, b) if minus && a.is_time() && b.is_time() => {
                let ty = a.common(b).ok_or_else(|| missing(a, b))?;
                let answer = if ty == Type::Date { Type::Int4 } else { Type::Interval };
                let left = Box::new(self.coerce(one, ty, left.at)?);
                let right = Box::new(self.coerce(other, ty, right.at)?);
                Ok(Typed::new(Expr::Since(left, right), answer))
            }
            (Type::Unknown, Type::Unknown) => {
                let text = format!("operator is not unique: unknown {operator} unknown");
                let hint =
                    "Could not choose a best candidate operator. You might need to add explicit type casts.";
                Err(SqlError::new("42725", text).hint(hint).at(at))
            }
            (a, b) => Err(missing(a, b)),
        }
    }
}

fn no_operator(operator: &str, left: Option<Type>, right: Type) -> Box<SqlError> {
    let left = left.map_or(String::new(), |left| format!("{} ", left.name()));
    SqlError::new("42883", format!("operator does not exist: {left}{operator} {}", right.name())).hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}
