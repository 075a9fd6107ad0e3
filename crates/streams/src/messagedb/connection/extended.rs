//! The extended protocol: statements are prepared, bound to values and executed in messages of their own, and all up
//! to `Sync` are one transaction.

use super::{Connection, End, PLANNED_BYTES_MAX, PLANS_MAX, PORTALS_MAX, parsed};
use crate::messagedb::cursor::Cursor;
use crate::messagedb::error::{Sql, SqlError};
use crate::messagedb::plan::{self, Action, Plan};
use crate::messagedb::sql::Statement;
use crate::messagedb::transaction::Block;
use crate::messagedb::types::Type;
use crate::messagedb::value::{self, Value};
use crate::messagedb::wire::backend::{Out, is_binary};
use crate::messagedb::wire::frontend::{Bind, Message};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// A prepared statement.
#[derive(Debug)]
pub(super) struct Prepared {
    plan: Arc<Plan>,
    /// Whether a failed transaction takes it.
    ends_failure: bool,
}

/// A statement bound to values, with the rows that were not sent yet.
#[derive(Debug)]
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    params: Arc<[Value<'static>]>,
    formats: Vec<bool>,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Open(Box<Cursor>),
    Done,
}

/// How far an execution came.
enum Step {
    Done(String),
    Suspended,
    Empty,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// Does what one message says.
    pub(super) async fn extended(&mut self, message: &Message<'_>) -> Result<(), End> {
        match message {
            Message::Parse { name, sql, types } => self.parse(name, sql, types)?,
            Message::Bind(bind) => self.bind(bind)?,
            Message::Describe { portal: true, name } => {
                let portal = self.portals.get(*name).ok_or_else(|| no_portal(name))?;
                describe(&portal.prepared.plan, &portal.formats, &mut self.wire.out);
            }
            Message::Describe { portal: false, name } => {
                let prepared = self.prepared.get(*name).ok_or_else(|| no_statement(name))?;
                self.wire.out.params(&prepared.plan.params);
                describe(&prepared.plan, &[], &mut self.wire.out);
            }
            Message::Execute { portal, rows_max } => self.execute(portal, *rows_max).await?,
            Message::Close { portal: true, name } => {
                self.portals.remove(*name);
                self.wire.out.plain(b'3');
            }
            Message::Close { portal: false, name } => {
                self.prepared.remove(*name);
                self.wire.out.plain(b'3');
            }
            // `take` did these.
            _ => {}
        }
        Ok(())
    }

    /// Ends what began behind the last `Sync`.
    pub(super) async fn sync(&mut self) -> Result<(), End> {
        self.ready().await?;
        self.wire.send().await
    }

    fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> Sql<()> {
        let unknown = |oid: &u32| {
            let error = SqlError::not_served(format!("a parameter of the type with OID {oid}"));
            Type::of_oid(*oid).ok_or(error)
        };
        let types: Vec<Type> = types.iter().map(unknown).collect::<Sql<_>>()?;
        if !name.is_empty() && self.prepared.contains_key(name) {
            return Err(SqlError::new("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        let most = self.session.shared.settings.statements_max;
        if self.prepared.len() >= most && !self.prepared.contains_key(name) {
            let text = format!("a connection has at most {most} prepared statements");
            return Err(SqlError::new("53400", text).hint("close those that are not wanted any more"));
        }
        let key = (sql.to_owned(), types);
        let prepared = match self.plans.get(&key) {
            Some(prepared) => prepared.clone(),
            None => {
                let prepared = Arc::new(prepare(sql, &key.1)?);
                if sql.len() <= PLANNED_BYTES_MAX {
                    if self.plans.len() == PLANS_MAX {
                        self.plans.clear();
                    }
                    self.plans.insert(key, prepared.clone());
                }
                prepared
            }
        };
        self.check_prepared(&prepared)?;
        self.prepared.insert(name.to_owned(), prepared);
        self.wire.out.plain(b'1');
        Ok(())
    }

    fn check_prepared(&self, prepared: &Prepared) -> Sql<()> {
        if prepared.ends_failure { Ok(()) } else { self.check_block(&Statement::Truncate) }
    }

    fn bind(&mut self, bind: &Bind<'_>) -> Sql<()> {
        let prepared = self.prepared.get(bind.statement).ok_or_else(|| no_statement(bind.statement))?.clone();
        self.check_prepared(&prepared)?;
        let wanted = &prepared.plan.params;
        if bind.params.len() != wanted.len() {
            let text = format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                bind.params.len(),
                bind.statement,
                wanted.len()
            );
            return Err(SqlError::new("08P01", text));
        }
        let columns = prepared.plan.columns.len();
        if bind.columns.len() > 1 && bind.columns.len() != columns {
            let text = format!(
                "bind message has {} result formats but query has {columns} columns",
                bind.columns.len()
            );
            return Err(SqlError::new("08P01", text));
        }
        let mut params = Vec::with_capacity(wanted.len());
        for (nth, (given, ty)) in bind.params.iter().zip(wanted).enumerate() {
            params.push(match given {
                None => Value::Null,
                Some(bytes) if is_binary(&bind.formats, nth) => value::of_binary(bytes, *ty)?,
                Some(bytes) => value::of_text(value::utf8(bytes)?, *ty)?,
            });
        }
        let params: Arc<[Value<'static>]> = params.into();
        if !bind.portal.is_empty() && self.portals.contains_key(bind.portal) {
            return Err(SqlError::new("42P03", format!("cursor \"{}\" already exists", bind.portal)));
        }
        if self.portals.len() >= PORTALS_MAX && !self.portals.contains_key(bind.portal) {
            return Err(SqlError::new("53400", format!("a connection has at most {PORTALS_MAX} portals")));
        }
        let portal = Portal { prepared, params, formats: bind.columns.clone(), state: State::New };
        self.portals.insert(bind.portal.to_owned(), portal);
        self.wire.out.plain(b'2');
        Ok(())
    }

    async fn execute(&mut self, name: &str, rows_max: usize) -> Result<(), End> {
        let mut portal = self.portals.remove(name).ok_or_else(|| no_portal(name))?;
        self.check_prepared(&portal.prepared)?;
        let step = self.step(&mut portal, rows_max).await?;
        match step {
            Step::Done(tag) => {
                self.told("");
                self.wire.out.complete(&tag);
            }
            Step::Suspended => self.wire.out.plain(b's'),
            Step::Empty => self.wire.out.plain(b'I'),
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    async fn step(&mut self, portal: &mut Portal, rows_max: usize) -> Result<Step, End> {
        let plan = portal.prepared.plan.clone();
        let begins = matches!(&plan.action, Action::Other(Statement::Begin { .. }));
        if matches!(portal.state, State::New) {
            self.session.begin_statement();
            // Behind the last statement before `Sync` nothing else belongs to the transaction.
            let alone = self.wire.syncs_next() && self.session.transaction.block == Block::None;
            match &plan.action {
                Action::Empty => return Ok(Step::Empty),
                Action::Select(_) => {
                    if !alone && self.session.transaction.block == Block::None {
                        self.session.transaction.block = Block::Implicit;
                    }
                    let params = portal.params.clone();
                    let cursor = Cursor::open(&mut self.session, plan.clone(), params, alone).await?;
                    portal.state = State::Open(Box::new(cursor));
                }
                Action::Insert(insert) => {
                    portal.state = State::Done;
                    let (session, out) = (&mut self.session, &mut self.wire.out);
                    let done =
                        session.insert_rows(&plan, insert, &portal.params, out, &portal.formats).await?;
                    return self.finished(done.tag, alone).await;
                }
                Action::Other(statement) => {
                    portal.state = State::Done;
                    if !alone && !begins && self.session.transaction.block == Block::None {
                        self.session.transaction.block = Block::Implicit;
                    }
                    let (session, listening) = (&mut self.session, &mut self.listening);
                    let out = &mut self.wire.out;
                    let done = session.run(statement, &plan, listening, out, &portal.formats).await?;
                    self.deallocate(&done.deallocate)?;
                    return Ok(Step::Done(done.tag));
                }
            }
        }
        let cursor = match &mut portal.state {
            State::Open(cursor) => cursor,
            State::New | State::Done if matches!(plan.action, Action::Select(_)) => {
                return Ok(Step::Done("SELECT 0".to_owned()));
            }
            State::New | State::Done => {
                return Err(SqlError::new("55000", "portal cannot be run anymore").into());
            }
        };
        let before = cursor.sent;
        let most = if rows_max == 0 { u64::MAX } else { rows_max as u64 };
        loop {
            let left = most - (cursor.sent - before);
            if cursor.fill(&mut self.session, &mut self.wire.out, &portal.formats, left).await? {
                let tag = format!("SELECT {}", cursor.sent - before);
                portal.state = State::Done;
                let alone = self.wire.syncs_next();
                return self.finished(tag, alone).await;
            }
            if cursor.sent - before == most {
                return Ok(Step::Suspended);
            }
            self.wire.send().await?;
        }
    }

    /// A statement that is a transaction is told as done when it is durable.
    async fn finished(&mut self, tag: String, alone: bool) -> Result<Step, End> {
        if alone && self.session.transaction.block == Block::Implicit {
            self.session.commit().await?;
        }
        Ok(Step::Done(tag))
    }
}

fn prepare(sql: &str, types: &[Type]) -> Sql<Prepared> {
    let mut statements = parsed(sql)?;
    if statements.len() > 1 {
        return Err(SqlError::new("42601", "cannot insert multiple commands into a prepared statement"));
    }
    let Some(statement) = statements.pop() else {
        let plan = Plan { params: Vec::new(), columns: Vec::new(), action: Action::Empty };
        return Ok(Prepared { plan: Arc::new(plan), ends_failure: true });
    };
    let ends_failure = crate::messagedb::commands::ends_failure(&statement);
    let plan = plan::plan(statement, Some(types.to_vec()))?;
    Ok(Prepared { plan: Arc::new(plan), ends_failure })
}

fn describe(plan: &Plan, formats: &[bool], out: &mut Out) {
    if plan.columns.is_empty() {
        out.plain(b'n');
    } else {
        out.columns(&plan.columns, formats);
    }
}

fn no_portal(name: &str) -> Box<SqlError> {
    SqlError::new("34000", format!("portal \"{name}\" does not exist"))
}

fn no_statement(name: &str) -> Box<SqlError> {
    if name.is_empty() {
        return SqlError::new("26000", "unnamed prepared statement does not exist");
    }
    SqlError::new("26000", format!("prepared statement \"{name}\" does not exist"))
}
