//! Filters that let so many requests through at once and have the others wait, oldest or newest first. Who
//! is next is decided in `rules::queue`; the waiting is here, and the places, which requests give back by
//! being done or gone.

use super::{Built, Example, Filter, FilterEnv, FilterSpec, Later, Step, plain};
use crate::answer::{Cause, Reason, answer};
use crate::args::Args;
use crate::exchange::Exchange;
use http::StatusCode;
use rules::queue::{Bounds, Entry, Order, Queue, Ticket};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use wire::Response;

/// What `lifo` and its kin take when the route does not say (Skipper's).
const DEFAULT: Settings =
    Settings { bounds: Bounds { running_max: 100, waiting_max: 100 }, timeout: Duration::from_secs(10) };

/// More places or waiters than a gateway can have connections.
const BOUND_MAX: u64 = 10_000_000;

pub(super) const FILTERS: &[FilterSpec] = &[
    FilterSpec {
        name: "fifo",
        args: "concurrency, queueSize, timeout",
        docs: "Lets at most so many requests of the route through at once; so many more wait, the oldest goes \
               first. Answers 503 when the queue is full and 502 when a request has waited for the timeout (a \
               duration of at least 1ms). The place is free again when the backend's answer begins. A client that \
               leaves leaves the queue as well. Of several `fifo` in one route the last counts. A changed route \
               keeps its queue and who is in it; Skipper counts anew.",
        example: Example { filters: r#"fifo(100, 150, "10s")"#, request: "GET /", saw: "GET /", got: "200" },
        build: |args, env| strict(args, env, "fifo", Until::Head),
    },
    FilterSpec {
        name: "fifoWithBody",
        args: "concurrency, queueSize, timeout",
        docs: "Like `fifo`, but a request keeps its place until the body of its response has passed.",
        example: Example {
            filters: r#"fifoWithBody(100, 150, "10s")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, env| strict(args, env, "fifoWithBody", Until::Body),
    },
    FilterSpec {
        name: "lifo",
        args: "[concurrency[, queueSize[, timeout]]]",
        docs: "Like `fifo`, but the newest of those who wait goes first, and when the queue is full the one who \
               has waited longest is answered 503: at overload most clients then meet a short wait and not all of \
               them a long one. What is left out, or below 1, is 100, 100 and `\"10s\"`; a queue of size 0 lets \
               nobody wait. Of several `lifo` in one route the last counts.",
        example: Example { filters: r#"lifo(100, 150, "10s")"#, request: "GET /", saw: "GET /", got: "200" },
        build: |args, env| lenient(args, env, "lifo", Until::Head),
    },
    FilterSpec {
        name: "lifoWithBody",
        args: "[concurrency[, queueSize[, timeout]]]",
        docs: "Like `lifo`, but a request keeps its place until the body of its response has passed.",
        example: Example {
            filters: r#"lifoWithBody(100, 150, "10s")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, env| lenient(args, env, "lifoWithBody", Until::Body),
    },
    FilterSpec {
        name: "lifoGroup",
        args: "group[, concurrency[, queueSize[, timeout]]]",
        docs: "Like `lifo`, with one queue for all routes that name the same group. It is enough to give the \
               numbers in one of them; where they differ, the ones last used first count. Together with `lifo` \
               a route may have a stricter bound of its own.",
        example: Example {
            filters: r#"lifoGroup("shop", 100, 150, "10s")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, env| group(args, env, "lifoGroup", Until::Head),
    },
    FilterSpec {
        name: "lifoGroupWithBody",
        args: "group[, concurrency[, queueSize[, timeout]]]",
        docs: "Like `lifoGroup`, but a request keeps its place until the body of its response has passed. Both \
               share the queue of a group.",
        example: Example {
            filters: r#"lifoGroupWithBody("shop", 100, 150, "10s")"#,
            request: "GET /",
            saw: "GET /",
            got: "200",
        },
        build: |args, env| group(args, env, "lifoGroupWithBody", Until::Body),
    },
];

/// When a request gives its place back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// When the backend's answer begins.
    Head,
    /// When the body of the answer has passed.
    Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Settings {
    bounds: Bounds,
    timeout: Duration,
}

/// One queue, shared by all cores and by all requests of its routes; kept by name over reloads.
pub(crate) struct Line {
    /// Such as `fifo`.
    pub(crate) kind: &'static str,
    /// The route or the group it belongs to.
    pub(crate) name: String,
    state: Mutex<State>,
}

struct State {
    queue: Queue<oneshot::Sender<Place>>,
    timeout: Duration,
}

/// A place in a queue; given back when dropped.
pub(crate) struct Place(Arc<Line>);

struct Waiter {
    line: Arc<Line>,
    ticket: Ticket,
    /// Brings the place, or ends when there will be none.
    turn: oneshot::Receiver<Place>,
}

struct Queued {
    name: &'static str,
    line: Arc<Line>,
    until: Until,
    /// What this filter wants of the queue, applied when its route first serves: a table that is only
    /// checked changes nothing.
    wished: Option<Settings>,
    applied: Once,
}

/// `fifo`: all arguments are needed and checked.
fn strict(args: &mut Args<'_>, env: &FilterEnv, name: &'static str, until: Until) -> Result<Built, String> {
    let running_max = bound(args, "concurrency", 1)?;
    let waiting_max = bound(args, "queue size", 0)?;
    let timeout = args.span("timeout")?;
    if timeout < Duration::from_millis(1) {
        return Err(args.refuse("timeout", "it is less than 1ms"));
    }
    let settings = Settings { bounds: Bounds { running_max, waiting_max }, timeout };
    Ok(of_route(env, name, Order::OldestFirst, until, settings))
}

/// `lifo`: what is left out or too small has a default.
fn lenient(args: &mut Args<'_>, env: &FilterEnv, name: &'static str, until: Until) -> Result<Built, String> {
    let settings = with_defaults(args, 0)?;
    Ok(of_route(env, name, Order::NewestFirst, until, settings))
}

fn group(args: &mut Args<'_>, env: &FilterEnv, name: &'static str, until: Until) -> Result<Built, String> {
    let group = args.text("group")?;
    let wished = if args.left() > 0 { Some(with_defaults(args, 1)?) } else { None };
    let line = env.lasting.get_for(&format!("queue group {group}"), Duration::ZERO, || {
        Line::new("lifoGroup", group, Order::NewestFirst, wished.unwrap_or(DEFAULT))
    });
    Ok(plain(Queued { name, line, until, wished, applied: Once::new() }))
}

fn of_route(env: &FilterEnv, name: &'static str, order: Order, until: Until, settings: Settings) -> Built {
    // One of a kind in a route, so its place does not matter; an empty queue that nobody wants is gone at once.
    let line = env.lasting.get_for(&format!("queue {name} {}", env.route), Duration::ZERO, || {
        Line::new(name, &env.route, order, settings)
    });
    plain(Queued { name, line, until, wished: Some(settings), applied: Once::new() })
}

fn with_defaults(args: &mut Args<'_>, waiting_min: usize) -> Result<Settings, String> {
    let Settings { bounds, timeout } = DEFAULT;
    let or_default = |wished: Option<f64>, least: usize, default: usize| {
        let wished = wished.filter(|number| *number >= least as f64);
        wished.map_or(default, |number| number.min(BOUND_MAX as f64) as usize)
    };
    let running_max = or_default(args.optional(|args| args.number("concurrency"))?, 1, bounds.running_max);
    let waiting_max =
        or_default(args.optional(|args| args.number("queue size"))?, waiting_min, bounds.waiting_max);
    let wished = args.optional(|args| args.span("timeout"))?;
    let timeout = wished.filter(|wait| *wait >= Duration::from_millis(1)).unwrap_or(timeout);
    Ok(Settings { bounds: Bounds { running_max, waiting_max }, timeout })
}

fn bound(args: &mut Args<'_>, what: &str, least: u64) -> Result<usize, String> {
    let number = args.whole(what, least)?;
    if number > BOUND_MAX {
        return Err(args.refuse(what, &format!("{number} is more than {BOUND_MAX}")));
    }
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

impl Line {
    fn new(kind: &'static str, name: &str, order: Order, settings: Settings) -> Self {
        let Settings { bounds, timeout } = settings;
        let state = Mutex::new(State { queue: Queue::new(order, bounds), timeout });
        Self { kind, name: name.to_owned(), state }
    }

    /// How many requests have a place, and how many wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.queue.running(), state.queue.waiting())
    }

    fn apply(self: &Arc<Self>, settings: Settings) {
        let moved = {
            let mut state = self.lock();
            state.timeout = settings.timeout;
            if state.queue.bounds() == settings.bounds {
                return;
            }
            state.queue.set_bounds(settings.bounds)
        };
        // Those who must go learn it as their end of the channel is dropped.
        moved.admitted.into_iter().for_each(|turn| self.hand(turn));
    }

    /// Gives the place to whoever has the other end; when that has gone meanwhile, the place comes back by
    /// being dropped.
    fn hand(self: &Arc<Self>, turn: oneshot::Sender<Place>) {
        drop(turn.send(Place(self.clone())));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = self.0.lock().queue.finish();
        if let Some(turn) = next {
            self.0.hand(turn);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.line.lock().queue.leave(self.ticket);
    }
}

impl Queued {
    fn admit(exchange: &mut Exchange, place: Place) -> Step {
        exchange.notes.places.push(Some(place));
        Step::Next
    }

    fn refuse(exchange: &mut Exchange, name: &'static str, status: StatusCode, cause: Cause) -> Step {
        // This filter sees the response as well, and takes back what it put here.
        exchange.notes.places.push(None);
        exchange.notes.reason = Some(Reason::of(cause).by(name));
        Step::Reply(answer(status))
    }

    fn full(exchange: &mut Exchange, name: &'static str) -> Step {
        Self::refuse(exchange, name, StatusCode::SERVICE_UNAVAILABLE, Cause::QUEUE_FULL)
    }
}

impl Filter for Queued {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if let Some(wished) = self.wished {
            self.applied.call_once(|| self.line.apply(wished));
        }
        let mut mine = None;
        let mut state = self.line.lock();
        let timeout = state.timeout;
        let entry = state.queue.enter(|| {
            let (turn, wait) = oneshot::channel();
            mine = Some(wait);
            turn
        });
        drop(state);
        let (ticket, turn) = match (entry, mine) {
            (Entry::Admitted, _) => return Self::admit(exchange, Place(self.line.clone())),
            // The one who had to make room learns it as its end of the channel is dropped.
            (Entry::Waiting(ticket, _gone), Some(turn)) => (ticket, turn),
            _ => return Self::full(exchange, self.name),
        };
        let mut waiter = Waiter { line: self.line.clone(), ticket, turn };
        let (clock, name) = (exchange.clock.clone(), self.name);
        let later: Later = Box::pin(async move {
            let turn = tokio::select! {
                biased;
                turn = &mut waiter.turn => Some(turn.ok()),
                () = clock.sleep(timeout) => None,
            };
            let decide: Box<dyn FnOnce(&mut Exchange) -> Step + Send> = match turn {
                Some(Some(place)) => Box::new(|exchange| Self::admit(exchange, place)),
                Some(None) => Box::new(move |exchange| Self::full(exchange, name)),
                None => Box::new(move |exchange| {
                    Self::refuse(exchange, name, StatusCode::BAD_GATEWAY, Cause::QUEUE_TIMEOUT)
                }),
            };
            decide
        });
        Step::Wait(later)
    }

    fn response(&self, exchange: &mut Exchange, response: &mut Response) -> Step {
        // Filters see the response in reverse, so the last place is this filter's.
        let place = exchange.notes.places.pop().flatten();
        if self.until == Until::Body
            && let Some(place) = place
        {
            let body = std::mem::take(response.body_mut());
            *response.body_mut() = body.with_tail(Box::new(move |_, _| drop(place)));
        }
        Step::Next
    }
}
