//! The filters of one route, built once and run for every request: forward on the request, backward on the
//! response. Filters are plain functions; what one of them waits for is awaited here.

use super::absent::why_absent;
use super::answers::nothing;
use super::{Built, FilterEnv, Step, Wishes, find, names};
use crate::answer::{Cause, Reason, answer};
use crate::args::Args;
use crate::exchange::Exchange;
use crate::{Lasting, Refusal};
use eskip::Call;
use http::StatusCode;
use wire::Response;

/// How often one filter may wait and then ask to wait again.
const WAITS_MAX: usize = 16;

/// Of several of these in one route only the last acts, as in Skipper: so a route can overrule the default
/// filters put before its own.
const LAST_ONLY: [&str; 5] = ["fifo", "fifoWithBody", "lifo", "lifoWithBody", "admissionControl"];

/// The filters of a route, in their order.
pub struct Chain {
    filters: Box<[Installed]>,
}

/// A filter at its place in a route.
struct Installed {
    name: &'static str,
    filter: Built,
}

/// How a request came out of its filters.
pub enum Outcome {
    /// The backend is next.
    Next {
        /// So many filters ran: all of them.
        ran: usize,
    },
    /// A filter answered.
    Reply {
        /// Its answer.
        response: Response,
        /// So many filters ran, the one that answered included.
        ran: usize,
    },
}

impl Chain {
    /// Builds the filters of a route. The refusal has Skipper's reason code: `unknown_filter` or
    /// `invalid_filter_params`.
    pub fn build(calls: &[Call], mut env: FilterEnv) -> Result<Self, Refusal> {
        let mut filters = Vec::with_capacity(calls.len());
        for (place, call) in calls.iter().enumerate() {
            env.place = place;
            let overruled = LAST_ONLY.contains(&call.name.as_str())
                && calls[place + 1..].iter().any(|later| later.name == call.name);
            if overruled {
                // Checked like any other, but its state is nobody's.
                let apart = FilterEnv { lasting: Lasting::new(env.clock.clone()), ..env.clone() };
                filters.push(Installed { filter: nothing(), ..install(call, &apart)? });
            } else {
                filters.push(install(call, &env)?);
            }
        }
        Ok(Self { filters: filters.into() })
    }

    /// How many filters there are.
    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// What the filters say of the route as a whole; of several that say the same the last counts.
    pub(crate) fn wishes(&self) -> Wishes {
        let mut wishes = Wishes::default();
        self.filters.iter().for_each(|installed| installed.filter.wish(&mut wishes));
        wishes
    }

    /// Runs the filters on a request, until one replies.
    pub async fn request(&self, exchange: &mut Exchange) -> Outcome {
        self.request_from(exchange, 0).await
    }

    /// Runs the filters from this place on, until one replies.
    pub(crate) async fn request_from(&self, exchange: &mut Exchange, from: usize) -> Outcome {
        for (at, installed) in self.filters.iter().enumerate().skip(from) {
            let step = installed.filter.request(exchange);
            if matches!(step, Step::Next) {
                continue;
            }
            if let Some(response) = settle(step, exchange, installed.name).await {
                return Outcome::Reply { response, ran: at + 1 };
            }
        }
        Outcome::Next { ran: self.filters.len() }
    }

    /// Runs the first `ran` filters on a response, the last of them first. Ends early when one sends the
    /// request round again (`notes.loop_back`); returns how many have not seen the response yet.
    pub async fn response(&self, exchange: &mut Exchange, response: &mut Response, ran: usize) -> usize {
        self.response_to(exchange, response, ran, 0).await
    }

    /// The same, down to the filter at this place.
    pub(crate) async fn response_to(
        &self,
        exchange: &mut Exchange,
        response: &mut Response,
        ran: usize,
        to: usize,
    ) -> usize {
        for at in (to..ran.min(self.filters.len())).rev() {
            let installed = &self.filters[at];
            let step = installed.filter.response(exchange, response);
            if !matches!(step, Step::Next)
                && let Some(other) = settle(step, exchange, installed.name).await
            {
                *response = other;
            }
            if exchange.notes.loop_back {
                return at;
            }
        }
        0
    }
}

fn install(call: &Call, env: &FilterEnv) -> Result<Installed, Refusal> {
    let Some(spec) = find(&call.name) else {
        let refusal = Refusal::new("unknown_filter", format!("filter `{}` is not known", call.name));
        let refusal = refusal.at(call.span.clone());
        return Err(match why_absent(&call.name) {
            Some(why) => refusal.hint(format!("Skipper has it: {why}")),
            None => refusal.suggest(&call.name, names()),
        });
    };
    let mut args = Args::new(&call.args);
    let built = (spec.build)(&mut args, env).and_then(|filter| args.end().map(|()| filter));
    match built {
        Ok(filter) => Ok(Installed { name: spec.name, filter }),
        Err(why) => {
            // A sentence about one argument begins with its number; any other is about the whole call.
            let about_one = why.starts_with("argument ");
            let span = call.arg_spans.get(args.last()).filter(|_| about_one).unwrap_or(&call.span);
            Err(Refusal::new("invalid_filter_params", format!("filter `{}`: {why}", call.name))
                .at(span.clone())
                .hint(format!("it is written `{}({})`", spec.name, spec.args)))
        }
    }
}

/// The reply a step comes to, if it comes to one.
async fn settle(step: Step, exchange: &mut Exchange, name: &'static str) -> Option<Response> {
    let step = match step {
        Step::Next => return None,
        // Boxed, so that requests whose filters never wait carry no room for it.
        Step::Pause(_) | Step::Wait(_) => Box::pin(wait(step, exchange, name)).await,
        Step::Reply(_) => step,
    };
    match step {
        Step::Reply(response) => {
            exchange.notes.reason.get_or_insert_with(|| Reason::of(Cause::FILTER).by(name));
            Some(response)
        }
        _ => None,
    }
}

/// Waits until a step is a reply or the way is free.
async fn wait(mut step: Step, exchange: &mut Exchange, name: &'static str) -> Step {
    for _ in 0..WAITS_MAX {
        step = match step {
            Step::Next | Step::Reply(_) => return step,
            Step::Pause(pause) => {
                let clock = exchange.clock.clone();
                clock.sleep(pause).await;
                Step::Next
            }
            Step::Wait(later) => {
                let decide = later.await;
                decide(exchange)
            }
        };
    }
    exchange.notes.reason =
        Some(Reason::of(Cause::INTERNAL).by(name).because("the filter waits without end"));
    Step::Reply(answer(StatusCode::INTERNAL_SERVER_ERROR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Arrival, Notes};
    use base::{Chance, Clock, Moment, UnixTime};
    use http::{Method, Uri, Version};
    use wire::Body;
    use wire::Headers;

    /// Asks to wait again, so many times.
    fn again(times: usize) -> Step {
        Step::Wait(Box::pin(async move {
            let decide: Box<dyn FnOnce(&mut Exchange) -> Step + Send> =
                Box::new(move |_| if times == 0 { Step::Next } else { again(times - 1) });
            decide
        }))
    }

    struct Again(usize);

    impl super::super::Filter for Again {
        fn request(&self, _: &mut Exchange) -> Step {
            again(self.0)
        }
    }

    async fn status_after(waits: usize) -> Option<u16> {
        let (clock, _hand) = Clock::by_hand(UnixTime::default());
        let chance = Chance::seeded(1);
        let address = "192.0.2.7:80".parse().unwrap();
        let arrival = Arrival {
            at: Moment::default(),
            at_unix: UnixTime::default(),
            method: Method::GET,
            uri: Uri::from_static("/"),
            version: Version::HTTP_11,
            host: None,
            remote: address,
            local: address,
            tls: false,
            edge: None,
        };
        let mut exchange = Exchange {
            arrival,
            method: Method::GET,
            uri: Uri::from_static("/"),
            headers: Headers::new(),
            body: Body::empty(),
            params: crate::lookup::Params::default(),
            route: "r".into(),
            notes: Notes::default(),
            trace: telemetry::TraceContext::begin(&chance),
            clock,
            chance,
        };
        let chain =
            Chain { filters: Box::new([Installed { name: "again", filter: Box::new(Again(waits)) }]) };
        match chain.request(&mut exchange).await {
            Outcome::Next { .. } => None,
            Outcome::Reply { response, .. } => {
                assert_eq!(exchange.notes.reason.map(|reason| reason.filter), Some("again"));
                Some(response.status().as_u16())
            }
        }
    }

    #[tokio::test]
    async fn a_filter_that_waits_without_end_is_given_up() {
        assert_eq!(status_after(0).await, None);
        assert_eq!(status_after(WAITS_MAX - 2).await, None);
        assert_eq!(status_after(WAITS_MAX).await, Some(500));
    }
}
