//! The simple protocol: a query of any number of statements, which are one transaction unless they say otherwise.

use super::{Connection, End, parsed, understood};
use crate::messagedb::cursor::Cursor;
use crate::messagedb::plan::{Action, Plan};
use crate::messagedb::sql::Statement;
use crate::messagedb::transaction::Block;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    /// Runs a query and says when the next may come.
    pub(super) async fn query(&mut self, sql: &str) -> Result<(), End> {
        // An unnamed statement does not outlive a query.
        self.prepared.remove("");
        match self.statements(sql).await {
            Ok(()) => {}
            Err(End::Told(error)) => self.failed(&error, sql),
            Err(gone) => return Err(gone),
        }
        self.ready().await?;
        self.wire.send().await
    }

    async fn statements(&mut self, sql: &str) -> Result<(), End> {
        if let Some(canned) = crate::messagedb::bootstrap::answer(sql) {
            canned(&mut self.wire.out);
            return Ok(());
        }
        let statements = parsed(sql)?;
        if statements.is_empty() {
            self.wire.out.plain(b'I');
            return Ok(());
        }
        let alone = statements.len() == 1;
        for statement in statements {
            self.session.begin_statement();
            self.check_block(&statement)?;
            let starts = matches!(statement, Statement::Begin { .. });
            if !alone && !starts && self.session.transaction.block == Block::None {
                self.session.transaction.block = Block::Implicit;
            }
            let plan = understood(statement)?;
            self.one(&plan, alone, sql).await?;
        }
        Ok(())
    }

    async fn one(&mut self, plan: &Arc<Plan>, alone: bool, sql: &str) -> Result<(), End> {
        let params: Arc<[_]> = Arc::new([]);
        let tag = match &plan.action {
            Action::Empty => return Ok(()),
            Action::Select(_) => {
                let mut cursor = Cursor::open(&mut self.session, plan.clone(), params, alone).await?;
                self.wire.out.columns(&plan.columns, &[]);
                while !cursor.fill(&mut self.session, &mut self.wire.out, &[], u64::MAX).await? {
                    self.wire.send().await?;
                }
                format!("SELECT {}", cursor.sent)
            }
            Action::Insert(insert) => {
                if !plan.columns.is_empty() {
                    self.wire.out.columns(&plan.columns, &[]);
                }
                let done = self.session.insert_rows(plan, insert, &params, &mut self.wire.out, &[]).await?;
                done.tag
            }
            Action::Other(statement) => {
                if !plan.columns.is_empty() {
                    self.wire.out.columns(&plan.columns, &[]);
                }
                let (session, listening) = (&mut self.session, &mut self.listening);
                let done = session.run(statement, plan, listening, &mut self.wire.out, &[]).await?;
                self.deallocate(&done.deallocate)?;
                done.tag
            }
        };
        // A statement that is a transaction is told as done when it is durable.
        if alone && self.session.transaction.block == Block::Implicit {
            self.session.commit().await?;
        }
        self.told(sql);
        self.wire.out.complete(&tag);
        Ok(())
    }
}
