//! Serves a router the way all services of the shop are served: on the port in `PORT`, with a line of log
//! for each request, a health path, and an end without broken requests.

use crate::Error;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use std::fmt::Display;
use std::io::Write;
use std::str::FromStr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tombolo_client::{Decision, Trouble};

/// How long requests under way may take once the service is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or Ctrl-C, then finishes the requests under way.
pub async fn serve(name: &str, app: Router) -> Result<(), Error> {
    let port: u16 = match std::env::var("PORT") {
        Ok(_) => env_or("PORT", 0)?,
        Err(_) => return Err("`PORT` is not set; it says where to listen, such as `PORT=8080`".into()),
    };
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| format!("127.0.0.1:{port} can't be listened on: {error}"))?;
    let address = listener.local_addr()?;
    let served_by = HeaderValue::from_str(&format!("{name}:{}", address.port()))?;
    // Small answers go out at once, instead of waiting for the acknowledgement of the last ones.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    let app = app
        .layer(middleware::from_fn_with_state(served_by, log))
        // Behind the layer, for this one is asked every second: its lines would hide all others.
        .route("/health", get(async || "ok\n"));

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (asked, was_asked) = oneshot::channel();
    let stop = async move {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
        _ = asked.send(());
    };
    let patience = async {
        if was_asked.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(GRACE).await;
    };
    say(format_args!("{name} listens on {address}"));
    tokio::select! {
        ended = axum::serve(listener, app).with_graceful_shutdown(stop) => ended?,
        () = patience => say(format_args!("{name} leaves requests unfinished after {} s", GRACE.as_secs())),
    }
    say(format_args!("{name} has ended"));
    Ok(())
}

/// The variable's value, or this one if it is not set.
pub fn env_or<T: FromStr<Err: Display>>(variable: &str, default: T) -> Result<T, Error> {
    match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|error| format!("`{variable}` is `{text}`: {error}").into()),
        Err(_) => Ok(default),
    }
}

async fn log(State(served_by): State<HeaderValue>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let flow = request.headers().get("x-flow-id").cloned();
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-served-by", served_by);
    let flow = flow.as_ref().and_then(|flow| flow.to_str().ok()).unwrap_or("-");
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    say(format_args!("{method} {path} {} {ms:.1}ms flow={flow:.64}", response.status().as_u16()));
    response
}

/// Says what is wrong with streams, and does what is usual about it: waits for what passes.
pub fn trouble(trouble: &Trouble<'_>) -> Decision {
    let decision = trouble.usual();
    // Another writer was faster: that is no trouble.
    if decision != Decision::Again(Duration::ZERO) {
        let of = trouble.message.map(|message| format!(" of {}/{}", message.stream_name, message.position));
        say(format_args!("trouble with messages{}: {}", of.unwrap_or_default(), trouble.error));
    }
    decision
}

/// A line for whoever reads our output. If nobody does any more, that is no reason to fail.
pub fn say(line: std::fmt::Arguments<'_>) {
    _ = writeln!(std::io::stdout().lock(), "{line}");
}
