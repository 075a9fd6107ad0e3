//! What names mean: columns, functions, parameters, and the types of expressions.

use super::{Aggregate, Ask};
use crate::messagedb::error::{Sql, SqlError};
use crate::messagedb::expr::{Expr, Field};
use crate::messagedb::functions::{self, Function, Run};
use crate::messagedb::relations::{FUNCTION_COLUMNS, Table};
use crate::messagedb::sql::{self, Arg, Call, Kind, Name};
use crate::messagedb::types::Type;
use crate::messagedb::value::{self, Value};

/// Parameters of one statement; the protocol's bound.
const PARAMS_MAX: u16 = u16::MAX;

/// Aggregates of PostgreSQL's that are not among `count`, `min` and `max`.
const OTHER_AGGREGATES: &[&str] = &[
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "json_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "string_agg",
    "sum",
];

/// An expression and its type.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) expr: Expr,
    pub(crate) ty: Type,
}

impl Typed {
    pub(crate) fn new(expr: Expr, ty: Type) -> Self {
        Self { expr, ty }
    }
}

/// A column that expressions may name.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) expr: Expr,
    pub(crate) table: u32,
    pub(crate) attribute: i16,
}

/// Where an expression stands, which says what may be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The list of a SELECT: anything goes.
    List,
    /// Within an aggregate.
    Aggregate,
    /// Where rows are chosen or sorted: nothing is asked of the store and nothing counted.
    Elsewhere,
}

/// What is known while a statement is understood.
#[derive(Debug)]
pub(crate) struct Binding {
    params: Option<Vec<Type>>,
    /// What rows are called.
    pub(crate) label: Option<String>,
    /// The table's own name, where it was given another.
    hidden: Option<String>,
    pub(crate) columns: Vec<Seen>,
    pub(crate) asks: Vec<Ask>,
    pub(crate) aggregates: Vec<Aggregate>,
    pub(crate) place: Place,
    /// A column that stands outside of every aggregate.
    pub(crate) loose: Option<(String, usize)>,
}

impl Binding {
    pub(crate) fn new(params: Option<Vec<Type>>) -> Self {
        Self {
            params,
            label: None,
            hidden: None,
            columns: Vec::new(),
            asks: Vec::new(),
            aggregates: Vec::new(),
            place: Place::Elsewhere,
            loose: None,
        }
    }

    /// The types of the parameters; what nothing was said about is a text.
    pub(crate) fn settled(self) -> Vec<Type> {
        let params = self.params.unwrap_or_default();
        params.into_iter().map(|ty| if ty == Type::Unknown { Type::Text } else { ty }).collect()
    }

    /// Columns of this table can be named from here on.
    pub(crate) fn relation(&mut self, table: Table, name: &str, alias: Option<&str>) {
        self.label = Some(alias.unwrap_or(name).to_owned());
        self.hidden = alias.map(|_| name.to_owned());
        let seen = table.columns().into_iter().enumerate().map(|(nth, (name, ty, field))| Seen {
            name: name.to_owned(),
            ty,
            expr: field.map_or(Expr::Column(nth), |field| Expr::Field(field, ty)),
            table: table.oid(),
            attribute: nth as i16 + 1,
        });
        self.columns = seen.collect();
    }

    /// Columns of the messages of a function can be named from here on.
    pub(crate) fn messages(&mut self, label: &str) {
        self.label = Some(label.to_owned());
        let seen = |(name, ty, field): (&str, Type, Field)| Seen {
            name: name.to_owned(),
            ty,
            expr: Expr::Field(field, ty),
            table: 0,
            attribute: 0,
        };
        self.columns = FUNCTION_COLUMNS.map(seen).into();
    }

    /// An expression as a truth value, for a clause of this name.
    pub(crate) fn truth(&mut self, tree: &sql::Expr, clause: &str) -> Sql<Expr> {
        let typed = self.expr(tree)?;
        if typed.ty != Type::Bool && typed.ty != Type::Unknown {
            let text = format!("argument of {clause} must be type boolean, not type {}", typed.ty.name());
            return Err(SqlError::new("42804", text).at(tree.at));
        }
        self.coerce(typed, Type::Bool, tree.at)
    }

    /// An expression of this type, taken without a cast.
    pub(crate) fn of_type(&mut self, tree: &sql::Expr, ty: Type) -> Sql<Expr> {
        let typed = self.expr(tree)?;
        if !typed.ty.becomes(ty) {
            let text = format!("expression is of type {} where {} is wanted", typed.ty.name(), ty.name());
            return Err(SqlError::new("42804", text).at(tree.at));
        }
        self.coerce(typed, ty, tree.at)
    }

    /// An expression for a column of this type: what an assignment casts.
    pub(crate) fn assigned(&mut self, tree: &sql::Expr, column: &str, ty: Type) -> Sql<Expr> {
        let typed = self.expr(tree)?;
        let assignable = typed.ty.becomes(ty) || ty.is_text() || (typed.ty.is_number() && ty.is_number());
        if !assignable {
            let text = format!(
                "column \"{column}\" is of type {} but expression is of type {}",
                ty.name(),
                typed.ty.name()
            );
            let hint = "You will need to rewrite or cast the expression.";
            return Err(SqlError::new("42804", text).hint(hint).at(tree.at));
        }
        self.coerce(typed, ty, tree.at)
    }

    /// An expression as this type; whether that goes was asked before.
    pub(crate) fn coerce(&mut self, typed: Typed, to: Type, at: usize) -> Sql<Expr> {
        match (&typed.expr, typed.ty) {
            (_, from) if from == to => Ok(typed.expr),
            (Expr::Const(Value::Null), _) => Ok(typed.expr),
            (Expr::Const(Value::Text(text)), Type::Unknown) => {
                value::of_text(text, to).map(Expr::Const).map_err(|error| error.at(at))
            }
            (Expr::Param(nth), Type::Unknown) => {
                if let Some(ty) = self.params.as_mut().and_then(|params| params.get_mut(*nth)) {
                    *ty = to;
                }
                Ok(typed.expr)
            }
            (Expr::Const(constant), from) => {
                value::cast(constant.clone(), from, to).map(Expr::Const).map_err(|error| error.at(at))
            }
            (_, from) if from.is_text() && to.is_text() && to != Type::Name => Ok(typed.expr),
            (_, from) => Ok(Expr::Cast(Box::new(typed.expr), from, to)),
        }
    }

    /// Looks names up and finds types.
    pub(crate) fn expr(&mut self, tree: &sql::Expr) -> Sql<Typed> {
        let at = tree.at;
        match &tree.kind {
            Kind::Null => Ok(Typed::new(Expr::Const(Value::Null), Type::Unknown)),
            Kind::Bool(value) => Ok(Typed::new(Expr::Const(Value::Bool(*value)), Type::Bool)),
            Kind::Number(digits) => number(digits).map_err(|error| error.at(at)),
            Kind::Text(text) => Ok(Typed::new(Expr::Const(Value::owned(text)), Type::Unknown)),
            Kind::Param(number) => self.param(*number, at),
            Kind::Column(table, name) => self.column(table.as_deref(), name, at),
            Kind::Cast(inner, name) => self.cast(inner, name, at),
            Kind::Call(call) => self.call(call, at),
            _ => self.operator(tree),
        }
    }

    fn param(&mut self, number: u16, at: usize) -> Sql<Typed> {
        let unknown = || SqlError::new("42P02", format!("there is no parameter ${number}")).at(at);
        let Some(params) = &mut self.params else { return Err(unknown()) };
        if number == 0 || number == PARAMS_MAX {
            return Err(unknown());
        }
        let nth = usize::from(number) - 1;
        if params.len() <= nth {
            params.resize(nth + 1, Type::Unknown);
        }
        Ok(Typed::new(Expr::Param(nth), params[nth]))
    }

    fn column(&mut self, table: Option<&str>, name: &str, at: usize) -> Sql<Typed> {
        if let Some(table) = table.filter(|table| self.label.as_deref() != Some(table)) {
            if self.hidden.as_deref() == Some(table) {
                let text = format!("invalid reference to FROM-clause entry for table \"{table}\"");
                let label = self.label.as_deref().unwrap_or_default();
                let hint = format!("Perhaps you meant to reference the table alias \"{label}\".");
                return Err(SqlError::new("42P01", text).hint(hint).at(at));
            }
            return Err(
                SqlError::new("42P01", format!("missing FROM-clause entry for table \"{table}\"")).at(at)
            );
        }
        let Some(seen) = self.columns.iter().find(|seen| seen.name == name) else {
            let shown = table.map_or_else(|| format!("\"{name}\""), |table| format!("{table}.{name}"));
            return Err(SqlError::new("42703", format!("column {shown} does not exist")).at(at));
        };
        let typed = Typed::new(seen.expr.clone(), seen.ty);
        if self.place != Place::Aggregate {
            let label = self.label.as_deref().unwrap_or_default();
            self.loose.get_or_insert_with(|| (format!("{label}.{name}"), at));
        }
        Ok(typed)
    }

    fn cast(&mut self, inner: &sql::Expr, name: &str, at: usize) -> Sql<Typed> {
        let to = Type::of_name(name)
            .ok_or_else(|| SqlError::new("42704", format!("type \"{name}\" does not exist")).at(at + 2))?;
        let typed = self.expr(inner)?;
        if !value::can_cast(typed.ty, to) {
            let text = format!("cannot cast type {} to {}", typed.ty.name(), to.name());
            return Err(SqlError::new("42846", text).at(at));
        }
        Ok(Typed::new(self.coerce(typed, to, inner.at)?, to))
    }

    /// A call of a function, an aggregate or what SQL spells like one.
    pub(crate) fn call(&mut self, call: &Call, at: usize) -> Sql<Typed> {
        let Name { schema, name } = &call.function;
        if matches!(name.as_str(), "count" | "min" | "max") && schema.is_none() {
            return self.aggregate(call, at);
        }
        if matches!(name.as_str(), "coalesce" | "nullif" | "greatest" | "least") && schema.is_none() {
            return self.alike(call, at);
        }
        if schema.is_none() && OTHER_AGGREGATES.contains(&name.as_str()) {
            return Err(SqlError::not_served(format!("the aggregate `{name}`")).at(at));
        }
        if let Some(schema) = schema.as_deref().filter(|schema| !is_schema(schema)) {
            return Err(SqlError::new("3F000", format!("schema \"{schema}\" does not exist")).at(at));
        }
        if call.star || call.distinct {
            return Err(not_found(&call.function, &[]).at(at));
        }
        let (function, args) = self.resolve(call, at)?;
        if let Run::Asks(what) = function.run {
            if what.is_set() || self.place != Place::List {
                return Err(SqlError::not_served(format!("`{name}` in this place")).at(at));
            }
            self.asks.push(Ask { what, args });
            return Ok(Typed::new(Expr::Slot(self.asks.len() - 1), function.returns));
        }
        Ok(Typed::new(Expr::Call(function, args), function.returns))
    }

    /// Which function is meant, and its arguments in its order.
    pub(crate) fn resolve(&mut self, call: &Call, at: usize) -> Sql<(&'static Function, Vec<Expr>)> {
        let place = self.place;
        let mut given = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            given.push(self.expr(&arg.value)?);
        }
        self.place = place;
        let Name { schema, name } = &call.function;
        let mut best: Option<(usize, &'static Function, Vec<Option<usize>>)> = None;
        for function in functions::named(schema.as_deref(), name) {
            let Some(order) = order(function, &call.args) else { continue };
            let pairs =
                order.iter().zip(function.args).filter_map(|(nth, (_, ty))| nth.map(|nth| (nth, *ty)));
            let mut exact = 0;
            let fits = pairs.into_iter().all(|(nth, ty)| {
                exact += usize::from(given[nth].ty == ty);
                given[nth].ty.becomes(ty)
            });
            if fits && best.as_ref().is_none_or(|(other, ..)| exact > *other) {
                best = Some((exact, function, order));
            }
        }
        let Some((_, function, order)) = best else {
            let types: Vec<(Option<&str>, Type)> =
                call.args.iter().zip(&given).map(|(arg, typed)| (arg.name.as_deref(), typed.ty)).collect();
            return Err(not_found(&call.function, &types).at(at));
        };
        let mut given: Vec<Option<Typed>> = given.into_iter().map(Some).collect();
        let mut args = Vec::with_capacity(order.len());
        for (nth, (_, ty)) in order.into_iter().zip(function.args) {
            let typed = nth.and_then(|nth| given[nth].take().map(|typed| (typed, call.args[nth].value.at)));
            args.push(match typed {
                Some((typed, at)) => self.coerce(typed, *ty, at)?,
                None => Expr::Const(Value::Null),
            });
        }
        Ok((function, args))
    }

    fn aggregate(&mut self, call: &Call, at: usize) -> Sql<Typed> {
        match self.place {
            Place::List => {}
            Place::Aggregate => {
                return Err(SqlError::new("42803", "aggregate function calls cannot be nested").at(at));
            }
            Place::Elsewhere => {
                return Err(SqlError::new("42803", "aggregate functions are not allowed in WHERE").at(at));
            }
        }
        let slot = |binding: &mut Self, aggregate, ty| {
            binding.aggregates.push(aggregate);
            // Slots of aggregates stand behind those of the asks, whose number is known at the end only.
            Ok(Typed::new(Expr::Slot(usize::MAX - binding.aggregates.len()), ty))
        };
        let name = call.function.name.as_str();
        if call.star && name == "count" {
            return slot(self, Aggregate::Rows, Type::Int8);
        }
        let [arg] = call.args.as_slice() else { return Err(not_found(&call.function, &[]).at(at)) };
        self.place = Place::Aggregate;
        let typed = self.expr(&arg.value);
        self.place = Place::List;
        let typed = typed?;
        let ty = if typed.ty == Type::Unknown { Type::Text } else { typed.ty };
        let value = self.coerce(typed, ty, arg.value.at)?;
        match name {
            "count" => slot(self, Aggregate::Values { value, distinct: call.distinct }, Type::Int8),
            _ if matches!(ty, Type::Bool | Type::Json | Type::Jsonb | Type::Uuid) => {
                Err(not_found(&call.function, &[(None, ty)]).at(at))
            }
            _ => {
                let greatest = name == "max";
                let ty = if ty == Type::Varchar { Type::Text } else { ty };
                slot(self, Aggregate::Extreme { value, greatest }, ty)
            }
        }
    }

    /// Functions whose arguments are all of one type.
    fn alike(&mut self, call: &Call, at: usize) -> Sql<Typed> {
        let name = call.function.name.as_str();
        if call.args.is_empty() || (name == "nullif" && call.args.len() != 2) {
            return Err(not_found(&call.function, &[]).at(at));
        }
        let trees: Vec<&sql::Expr> = call.args.iter().map(|arg| &arg.value).collect();
        let (mut list, ty) = self.common(&trees, &name.to_ascii_uppercase())?;
        let expr = match name {
            "coalesce" => Expr::Coalesce(list),
            "nullif" => match (list.pop(), list.pop()) {
                (Some(right), Some(left)) => Expr::NullIf(Box::new(left), Box::new(right)),
                _ => return Err(not_found(&call.function, &[]).at(at)),
            },
            other => Expr::Extreme(list, other == "greatest"),
        };
        Ok(Typed::new(expr, ty))
    }

    /// Expressions as one type.
    pub(crate) fn common(&mut self, trees: &[&sql::Expr], what: &str) -> Sql<(Vec<Expr>, Type)> {
        let typed: Vec<Typed> = trees.iter().map(|tree| self.expr(tree)).collect::<Sql<_>>()?;
        let mut ty = Type::Unknown;
        for (one, tree) in typed.iter().zip(trees) {
            let both = match (ty, one.ty) {
                (left, right) if left == right => Some(left),
                (Type::Unknown, other) | (other, Type::Unknown) => Some(other),
                (left, right) => left.common(right),
            };
            ty = both.ok_or_else(|| {
                let text = format!("{what} types {} and {} cannot be matched", ty.name(), one.ty.name());
                SqlError::new("42804", text).at(tree.at)
            })?;
        }
        if ty == Type::Unknown {
            ty = Type::Text;
        }
        let exprs = typed.into_iter().zip(trees).map(|(typed, tree)| self.coerce(typed, ty, tree.at));
        Ok((exprs.collect::<Sql<_>>()?, ty))
    }
}

/// A number is an integer, a bigint or a numeric, the smallest that holds it.
fn number(digits: &str) -> Sql<Typed> {
    let whole = digits.parse::<i64>();
    match whole {
        Ok(value) if i32::try_from(value).is_ok() => {
            Ok(Typed::new(Expr::Const(Value::Int(value)), Type::Int4))
        }
        Ok(value) => Ok(Typed::new(Expr::Const(Value::Int(value)), Type::Int8)),
        Err(_) => Ok(Typed::new(Expr::Const(value::of_text(digits, Type::Numeric)?), Type::Numeric)),
    }
}

fn is_schema(schema: &str) -> bool {
    matches!(schema, "message_store" | "pg_catalog" | "public")
}

/// Which argument goes where: for each of the function's the number of the given one. `None` where they do not fit.
fn order(function: &Function, given: &[Arg]) -> Option<Vec<Option<usize>>> {
    if given.len() > function.args.len() {
        return None;
    }
    let mut order = vec![None; function.args.len()];
    for (nth, arg) in given.iter().enumerate() {
        let to = match &arg.name {
            None => nth,
            Some(name) => function.args.iter().position(|(known, _)| known == name && !known.is_empty())?,
        };
        if order[to].replace(nth).is_some() {
            return None;
        }
    }
    order[..function.required].iter().all(Option::is_some).then_some(order)
}

/// PostgreSQL's words for a function that is not there.
pub(crate) fn not_found(name: &Name, args: &[(Option<&str>, Type)]) -> Box<SqlError> {
    let args: Vec<String> = args
        .iter()
        .map(|(name, ty)| name.map_or(ty.name().to_owned(), |name| format!("{name} => {}", ty.name())))
        .collect();
    SqlError::new("42883", format!("function {name}({}) does not exist", args.join(", "))).hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}
