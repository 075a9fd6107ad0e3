//! The console: web pages over all three planes, rendered here from typed values, each with a `.json` twin made of the
//! same value. Pages work as plain links and forms; small scripts served as files bring what changes (`live`).
//!
//! What is shown is asked of the planes through their handles, which the roof gives ([`Planes`]); who may see and do
//! what is decided in `access`.

mod access;
mod answer;
mod asked;
mod assets;
mod causes;
mod charts;
mod consumers;
mod doctor;
mod frame;
mod history;
mod layout;
mod lines;
mod live;
mod map;
mod message;
mod overview;
mod pages;
mod plot;
mod problem;
mod routes;
mod services;
mod streams;
mod trace;
mod traces;
mod units;
mod waterfall;

use ::streams::consumers::Consumers;
use access::Access;
use asked::Form;
use base::{Clock, Fault, Kind};
use control::Supervisor;
use history::{Counted, History};
use http::{Method, StatusCode};
use problem::Problem;
use proxy::Plane;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::Store;
use telemetry::doctor::Doctor;
use telemetry::metrics::RouteTotals;
use telemetry::spans::SpanStore;
use tokio::sync::Semaphore;
use wire::{Drain, Peer, Request, Response};

/// The written limits of the console.
pub mod bounds {
    use std::time::Duration;

    /// Viewers that are told of changes at a time.
    pub const LIVE_MAX: usize = 128;
    /// Bytes of a form that is sent.
    pub const FORM_BYTES_MAX: usize = 16 << 10;
    /// Fields of a question or a form; those behind are not looked at.
    pub const FIELDS_MAX: usize = 100;
    /// How often what is counted is read, for rates and plots.
    pub const SAMPLE_EVERY: Duration = Duration::from_secs(5);
    /// Readings that are plotted: an hour.
    pub const SAMPLES_MAX: usize = 720;
    /// Services that are plotted one by one: 24 bytes a reading make 3.5 MB of all.
    pub const SERIES_MAX: usize = 200;
    /// Readings between two of how far consumers are behind.
    pub const LAGS_EVERY: u32 = 3;
    /// Readings of those that are plotted: an hour.
    pub const LAGS_MAX: usize = SAMPLES_MAX / LAGS_EVERY as usize;
    /// Consumers whose lag is plotted.
    pub const CONSUMERS_MAX: usize = 100;
    /// Services on the map; the busiest are drawn.
    pub const NODES_MAX: usize = 60;
    /// Recent traces whose calls tell how long calls take.
    pub const SAMPLED_TRACES: usize = 500;
    /// How long a page waits for spans while their store is known to be in trouble.
    pub const TROUBLED_WAIT: Duration = Duration::from_secs(1);
}

/// What the pages are about: handles of everything that runs.
pub struct Planes {
    /// The time.
    pub clock: Clock,
    /// Viewers that wait for changes go when it begins.
    pub drain: Drain,
    /// Who shows it may control.
    pub token: Arc<str>,
    /// What the manifest says, kept up to date by the roof.
    pub about: Arc<Mutex<About>>,
    /// The services.
    pub supervisor: Supervisor,
    /// What carries requests from outside.
    pub gateway: Arc<Plane>,
    /// What carries calls between services.
    pub calls: Arc<Plane>,
    /// The spans, if they are taken.
    pub spans: Option<SpanStore>,
    /// Who says what they tell of the architecture, where they are taken.
    pub doctor: Option<Doctor>,
    /// The streams, if there are any.
    pub streams: Option<Streams>,
}

/// The handles of the message plane.
pub struct Streams {
    /// The messages.
    pub store: Store,
    /// Who is brought them.
    pub consumers: Consumers,
}

/// What of a manifest is shown.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Its name.
    pub name: String,
    /// Where the gateway is.
    pub gateway: String,
    /// Caller and callee of each declared call.
    pub calls: Vec<(String, String)>,
    /// Services that run elsewhere.
    pub outside: Vec<String>,
}

/// Answers for pages. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Console(Arc<Shared>);

/// What answers share.
struct Shared {
    planes: Planes,
    access: Access,
    history: Mutex<History>,
    map: tokio::sync::Mutex<Option<map::Drawn>>,
    live: Arc<Semaphore>,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Console")
    }
}

impl std::ops::Deref for Console {
    type Target = Planes;
    fn deref(&self) -> &Planes {
        &self.0.planes
    }
}

impl Console {
    /// A console over these. Nothing is plotted until somebody runs [`Console::watch`].
    pub fn new(planes: Planes) -> Self {
        Self(Arc::new(Shared {
            access: Access::new(&planes.token),
            history: Mutex::new(History::new(planes.clock.now())),
            map: tokio::sync::Mutex::default(),
            live: Arc::new(Semaphore::new(bounds::LIVE_MAX)),
            planes,
        }))
    }

    /// Whether a path is the console's on a port that it shares with the API: all that no API has.
    pub fn has(path: &str) -> bool {
        !["/api", "/zipkin", "/v1"]
            .iter()
            .any(|api| path.strip_prefix(api).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// Reads what is counted, again and again, for rates and plots.
    pub async fn watch(self) -> Result<(), Fault> {
        for turn in (0..bounds::LAGS_EVERY).cycle() {
            self.clock.sleep(bounds::SAMPLE_EVERY).await;
            self.sample();
            if let Some(streams) = self.streams.as_ref().filter(|_| turn == 0)
                // Whoever asks for the page is told why it fails; here there is nobody to tell.
                && let Ok(list) = streams.consumers.list().await
            {
                let lags: Vec<_> =
                    list.into_iter().map(|consumer| (consumer.name, consumer.lag.messages)).collect();
                self.history().take_lags(&lags);
            }
        }
        Ok(())
    }

    /// Reads once what is counted.
    fn sample(&self) {
        let owners = map::owners(self);
        self.history().take(self.clock.now(), self.counted(), &owners);
    }

    /// What is counted by now.
    fn counted(&self) -> Counted<Vec<RouteTotals>> {
        Counted {
            routes: self.gateway.builder().metrics.totals(),
            left_out: self.gateway.spans().map_or(0, |spans| spans.recorder.left_out()),
        }
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn about(&self) -> About {
        self.planes().about.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn planes(&self) -> &Planes {
        &self.0.planes
    }

    /// Answers a call for a path that this [`Console::has`]. `shown`: the caller shows the API's token.
    pub async fn answer(&self, request: Request, shown: bool, peer: &Peer) -> Response {
        let (head, body) = request.into_parts();
        let wants_json = asked::path_and_form(head.uri.path()).1 == Form::Json;
        let answered = async {
            let viewer = self.0.access.viewer(&head, shown, peer)?;
            if let Some(file) = assets::find(head.uri.path()) {
                return Ok(file.response());
            }
            match head.method {
                Method::GET | Method::HEAD => pages::show(self, &head, viewer, peer).await,
                Method::POST => {
                    let collected = body.collect(bounds::FORM_BYTES_MAX).await?;
                    pages::act(self, &head, viewer, &collected, peer).await
                }
                _ => Err(Problem::new(
                    Kind::Invalid,
                    format!("`{}` is not what can be done here", head.method),
                )
                .status(StatusCode::METHOD_NOT_ALLOWED)
                .hint("pages are asked for with GET, forms are sent with POST")),
            }
        };
        match answered.await {
            Ok(response) => response,
            Err(problem) if wants_json => problem.into_json(),
            Err(problem) => problem.into_page(self),
        }
    }
}

/// Asks for spans. A store in trouble may be one that does not answer, which holds up no page for long.
async fn ask_spans<T>(
    spans: &SpanStore,
    question: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Problem> {
    let Some(trouble) = spans.trouble() else { return Ok(question.await?) };
    match tokio::time::timeout(bounds::TROUBLED_WAIT, question).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(Problem::new(Kind::Unavailable, trouble)),
    }
}

/// Works through what may be much, beside the threads that carry requests.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::new(Kind::Bug, "making the page broke off").because(error))
}

/// How long a reading that many viewers share is not read anew.
const FRESH: Duration = Duration::from_secs(1);
