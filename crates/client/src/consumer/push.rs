//! Work that the server pushes: the body of a POST is a message, the answer says what became of it and what is to be
//! appended. Any HTTP framework will do; this reads the one body and writes the other.

use crate::{Append, Error, Handlers, MessageData};
use serde::Serialize;

/// How to answer a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The status: 200 for what was handled, 503 for what may be handled later, 400 for what is no message, 500 for
    /// what failed: that counts as an attempt, also where another writer was faster.
    pub status: u16,
    /// The body, which is JSON.
    pub body: Vec<u8>,
    /// The value for `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
}

#[derive(Serialize)]
struct Done<'a> {
    append: Vec<crate::transport::OutgoingAppend<'a>>,
}

#[derive(Serialize)]
struct Failed {
    error: String,
}

impl<S: Clone + Send + Sync + 'static> Handlers<S> {
    /// Handles the body of a push: a message, or an array of them in their order. The server appends what the
    /// handlers answer, once however often it pushes.
    pub async fn push(&self, body: &[u8]) -> Pushed {
        let messages = match messages(body) {
            Ok(messages) => messages,
            Err(error) => return Pushed::failed(400, &error),
        };
        match self.handle_all(&messages).await.and_then(|appends| Pushed::done(&appends)) {
            Ok(pushed) => pushed,
            Err(error) if error.is_passing() => {
                Pushed { retry_after: Some(1), ..Pushed::failed(503, &error) }
            }
            // Without `Retry-After` the attempt counts: a version that is never right must not come for ever.
            Err(error) => Pushed::failed(500, &error),
        }
    }

    async fn handle_all(&self, messages: &[MessageData]) -> Result<Vec<Append>, Error> {
        let mut appends = Vec::new();
        for message in messages {
            appends.extend(self.handle(message).await?.unwrap_or_default());
        }
        Ok(appends)
    }
}

fn messages(body: &[u8]) -> Result<Vec<MessageData>, Error> {
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
        return Ok(vec![MessageData::from_json(body)?]);
    }
    serde_json::from_slice(body)
        .map_err(|error| crate::error::invalid(format!("these are no messages: {error}")))
}

impl Pushed {
    fn done(appends: &[Append]) -> Result<Self, Error> {
        let append = appends.iter().map(Append::outgoing).collect::<Result<_, _>>()?;
        let body = serde_json::to_vec(&Done { append }).map_err(Error::other)?;
        Ok(Self { status: 200, body, retry_after: None })
    }

    fn failed(status: u16, error: &Error) -> Self {
        let body = serde_json::to_vec(&Failed { error: error.to_string() }).unwrap_or_default();
        Self { status, body, retry_after: None }
    }
}
