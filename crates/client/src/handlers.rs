//! What a service does with messages: a function for each type, and what becomes of messages of other types. The
//! same handlers are called by a consumer, by a consumer of the server, by a push over HTTP, and by tests.

use crate::error::invalid;
use crate::{Append, Error, Message, MessageData, Received};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

type Handled = Pin<Box<dyn Future<Output = Result<Vec<Append>, Error>> + Send>>;
type Handle<S> = Arc<dyn Fn(S, MessageData) -> Handled + Send + Sync>;

/// Functions by the type of message they handle. Each is given the state `S` (clients, connections, stores: what is
/// cheap to clone) and the message, and answers what is to be appended: nothing (`()`), an [`Append`] or several.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use tombolo_client::{Append, Client, Error, Handlers, Message, Received, messages};
///
/// #[derive(Serialize, Deserialize)]
/// struct Placed {
///     total_cents: u32,
/// }
/// #[derive(Serialize, Deserialize)]
/// struct Paid {}
/// messages!(Placed, Paid);
///
/// async fn placed(limit: u32, placed: Received<Placed>) -> Result<Option<Append>, Error> {
///     let paid = || Append::to(placed.stream_name(), Paid {}.following(&placed));
///     Ok((placed.total_cents <= limit).then(paid))
/// }
///
/// let handlers = Handlers::new(500_000).on(placed);
/// assert_eq!(handlers.kinds(), ["Placed"]);
/// ```
pub struct Handlers<S> {
    state: S,
    handles: Vec<(&'static str, Handle<S>)>,
    otherwise: Option<Handle<S>>,
    strict: bool,
}

impl<S: Clone> Clone for Handlers<S> {
    fn clone(&self) -> Self {
        let Self { state, handles, otherwise, strict } = self;
        Self { state: state.clone(), handles: handles.clone(), otherwise: otherwise.clone(), strict: *strict }
    }
}

impl<S> fmt::Debug for Handlers<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handlers").field(&self.kinds()).finish()
    }
}

/// What a handler answers: what is to be appended.
pub trait Appends {
    /// As a list.
    fn into_appends(self) -> Vec<Append>;
}

impl Appends for () {
    fn into_appends(self) -> Vec<Append> {
        Vec::new()
    }
}

impl Appends for Append {
    fn into_appends(self) -> Vec<Append> {
        vec![self]
    }
}

impl Appends for Option<Append> {
    fn into_appends(self) -> Vec<Append> {
        self.into_iter().collect()
    }
}

impl Appends for Vec<Append> {
    fn into_appends(self) -> Vec<Append> {
        self
    }
}

impl<S> Handlers<S> {
    /// No handler yet, and the state that all of them are given.
    pub fn new(state: S) -> Self {
        Self { state, handles: Vec::new(), otherwise: None, strict: false }
    }

    /// The types that have a handler.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.handles.iter().map(|(kind, _)| *kind).collect()
    }
}

impl<S: Clone + Send + Sync + 'static> Handlers<S> {
    /// Handles messages of the type that the function takes. Where several functions take the same type each of them
    /// is called, in this order, until one fails.
    pub fn on<M, F, R, A, E>(mut self, handle: F) -> Self
    where
        M: Message + Send + 'static,
        F: Fn(S, Received<M>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<A, E>> + Send + 'static,
        A: Appends,
        E: Into<Error>,
    {
        let handle: Handle<S> = Arc::new(move |state, message: MessageData| {
            let handled = message.receive::<M>().map(|received| handle(state, received));
            Box::pin(async move { handled?.await.map(Appends::into_appends).map_err(Into::into) })
        });
        self.handles.push((M::TYPE, handle));
        self
    }

    /// Handles messages of all types that have no handler of their own.
    pub fn otherwise<F, R, A, E>(mut self, handle: F) -> Self
    where
        F: Fn(S, MessageData) -> R + Send + Sync + 'static,
        R: Future<Output = Result<A, E>> + Send + 'static,
        A: Appends,
        E: Into<Error>,
    {
        self.otherwise = Some(Arc::new(move |state, message| {
            let handled = handle(state, message);
            Box::pin(async move { handled.await.map(Appends::into_appends).map_err(Into::into) })
        }));
        self
    }

    /// Refuses messages of types without a handler, which are passed over otherwise.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Handles a message; what is to be appended. `None` if no handler is for it.
    pub async fn handle(&self, message: &MessageData) -> Result<Option<Vec<Append>>, Error> {
        let mut appends = None;
        for (_, handle) in self.handles.iter().filter(|(kind, _)| *kind == message.kind) {
            let more = handle(self.state.clone(), message.clone()).await?;
            appends.get_or_insert_with(Vec::new).extend(more);
        }
        if appends.is_some() {
            return Ok(appends);
        }
        match &self.otherwise {
            Some(handle) => handle(self.state.clone(), message.clone()).await.map(Some),
            None if self.strict => {
                let of = self.kinds().join("`, `");
                Err(invalid(format!(
                    "{} is a `{}`, which has no handler; there are `{of}`",
                    message.place(),
                    message.kind
                )))
            }
            None => Ok(None),
        }
    }
}
