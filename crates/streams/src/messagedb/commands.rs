//! Statements that are no query: transactions, parameters, channels, INSERT, and those that are only recognised.

use super::asks::NewRow;
use super::error::{Sql, SqlError};
use super::expr::{Field, Known, Row};
use super::notices::Listening;
use super::plan::{InsertPlan, Plan};
use super::session::Session;
use super::sql::Statement;
use super::transaction::Block;
use super::value::Value;
use super::wire::backend::{Out, is_binary};
use store::Json;

/// What a client is told when a statement was done.
pub(crate) struct Done {
    pub(crate) tag: String,
    /// Prepared statements that are not wanted any more.
    pub(crate) deallocate: Deallocate,
}

/// Which prepared statements are not wanted any more.
pub(crate) enum Deallocate {
    None,
    One(String),
    All,
}

impl Done {
    /// Done, and nothing else.
    pub(crate) fn tag(tag: impl Into<String>) -> Self {
        Self { tag: tag.into(), deallocate: Deallocate::None }
    }
}

/// Whether a statement may run in a transaction that failed.
pub(crate) fn ends_failure(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit | Statement::Rollback | Statement::RollbackTo(_))
}

impl Session {
    /// Does what a statement says. SHOW sends its rows.
    pub(crate) async fn run(
        &mut self,
        statement: &Statement,
        plan: &Plan,
        listening: &mut Listening,
        out: &mut Out,
        formats: &[bool],
    ) -> Sql<Done> {
        Ok(match statement {
            Statement::Begin { tag } => {
                match self.transaction.block {
                    Block::Open | Block::Failed => {
                        self.tell(*SqlError::warning("25001", "there is already a transaction in progress"));
                    }
                    Block::None | Block::Implicit => self.transaction.block = Block::Open,
                }
                Done::tag(*tag)
            }
            Statement::Commit => self.end(true).await?,
            Statement::Rollback => self.end(false).await?,
            Statement::Savepoint(name) => {
                self.savepoint(name.clone())?;
                Done::tag("SAVEPOINT")
            }
            Statement::RollbackTo(name) => {
                self.rollback_to(name)?;
                Done::tag("ROLLBACK")
            }
            Statement::Release(name) => {
                self.release(name)?;
                Done::tag("RELEASE")
            }
            Statement::Set { name, value, local } => {
                if *local && self.transaction.block == Block::None {
                    self.tell(*SqlError::warning(
                        "25P01",
                        "SET LOCAL can only be used in transaction blocks",
                    ));
                }
                self.set_parameter(name, value.as_deref(), *local)?;
                Done::tag("SET")
            }
            Statement::Show(name) => {
                self.show(name, plan, out, formats)?;
                Done::tag("SHOW")
            }
            Statement::Reset(name) => {
                self.before_change();
                if name == "all" {
                    self.parameters.reset_all();
                } else {
                    self.set_parameter(name, None, false)?;
                }
                Done::tag("RESET")
            }
            Statement::Discard(tag) => {
                if *tag == "DISCARD ALL" {
                    if self.transaction.block != Block::None {
                        let text = "DISCARD ALL cannot run inside a transaction block";
                        return Err(SqlError::new("25001", text));
                    }
                    self.parameters.reset_all();
                    listening.stop(None);
                    return Ok(Done { tag: (*tag).to_owned(), deallocate: Deallocate::All });
                }
                Done::tag(*tag)
            }
            Statement::Deallocate(Some(name)) => {
                Done { tag: "DEALLOCATE".to_owned(), deallocate: Deallocate::One(name.clone()) }
            }
            Statement::Deallocate(None) => {
                Done { tag: "DEALLOCATE ALL".to_owned(), deallocate: Deallocate::All }
            }
            Statement::Listen(channel) => {
                listening.listen(channel, &self.shared.store, &self.shared.channels)?;
                Done::tag("LISTEN")
            }
            Statement::Unlisten(channel) => {
                listening.stop(channel.as_deref());
                Done::tag("UNLISTEN")
            }
            Statement::Notify { channel, payload } => {
                self.notify(channel, payload)?;
                Done::tag("NOTIFY")
            }
            Statement::Truncate => {
                return Err(SqlError::new("42501", "permission denied for table messages"));
            }
            Statement::Denied(text) => return Err(SqlError::new("42501", *text)),
            Statement::AlterDatabase { name, value } => {
                // As far as this session goes; the server's settings are its configuration's.
                self.set_parameter(name, value.as_deref(), false)?;
                Done::tag("ALTER DATABASE")
            }
            Statement::Install(tag) => Done::tag(*tag),
            Statement::NotServed(what) => return Err(SqlError::not_served(format!("`{what}`"))),
            Statement::Select(_) | Statement::Insert(_) => {
                return Err(SqlError::new("XX000", "a query is no command"));
            }
        })
    }

    /// COMMIT, or ROLLBACK. A transaction that failed ends in nothing either way.
    async fn end(&mut self, commit: bool) -> Sql<Done> {
        match self.transaction.block {
            Block::None => {
                self.tell(*SqlError::warning("25P01", "there is no transaction in progress"));
            }
            Block::Failed => {
                self.rollback();
                return Ok(Done::tag("ROLLBACK"));
            }
            Block::Implicit => {
                self.tell(*SqlError::warning("25P01", "there is no transaction in progress"));
                if commit { self.commit().await? } else { self.rollback() }
            }
            Block::Open if commit => self.commit().await?,
            Block::Open => self.rollback(),
        }
        Ok(Done::tag(if commit { "COMMIT" } else { "ROLLBACK" }))
    }

    fn show(&self, name: &str, plan: &Plan, out: &mut Out, formats: &[bool]) -> Sql<()> {
        let mut send = |values: &[&str]| {
            let at = out.row(values.len());
            for (nth, (value, column)) in values.iter().zip(&plan.columns).enumerate() {
                out.value(&Value::text(value), column.ty, is_binary(formats, nth));
            }
            out.end_row(at);
        };
        if name == "all" {
            self.parameters.all().for_each(|(name, value)| send(&[name, value, ""]));
        } else {
            send(&[self.parameters.show(name)?]);
        }
        Ok(())
    }

    /// INSERT. Its rows are written by the transaction, of its own or open.
    pub(crate) async fn insert_rows(
        &mut self,
        plan: &Plan,
        insert: &InsertPlan,
        params: &[Value<'static>],
        out: &mut Out,
        formats: &[bool],
    ) -> Sql<Done> {
        if self.transaction.block == Block::None {
            self.transaction.block = Block::Implicit;
        }
        for given in &insert.rows {
            let row = self.row(given, params)?;
            let message = self.insert(row).await?;
            if !insert.returning.is_empty() {
                let facts = self.facts();
                let known = Known { params, slots: &[], facts: &facts };
                out.row_of(&insert.returning, &plan.columns, formats, Row::Message(&message), &known)?;
            }
        }
        Ok(Done::tag(format!("INSERT 0 {}", insert.rows.len())))
    }

    fn row(&self, given: &[(Field, super::expr::Expr)], params: &[Value<'static>]) -> Sql<NewRow> {
        let facts = self.facts();
        let known = Known { params, slots: &[], facts: &facts };
        // The table's default.
        let mut row = NewRow { id: Some(facts.random_id()), ..NewRow::default() };
        for (field, expr) in given {
            let value = expr.value(Row::Nothing, &known)?;
            let text = value.as_text().map(str::to_owned);
            let json = |text: Option<String>| -> Sql<Option<Json>> {
                let parsed = text.map(|text| Json::parse(&text)).transpose();
                parsed.map_err(|error| SqlError::new(error.kind.sqlstate(), error.kind.message()))
            };
            match field {
                Field::Id => {
                    row.id = match value {
                        Value::Uuid(id) => Some(id),
                        _ => None,
                    }
                }
                Field::StreamName => row.stream = text,
                Field::Kind => row.kind = text,
                Field::Position => row.position = value.as_int(),
                Field::Data => row.data = json(text)?,
                Field::Metadata => row.metadata = json(text)?,
                // The planner refuses them.
                Field::GlobalPosition | Field::Time => {}
            }
        }
        Ok(row)
    }
}
