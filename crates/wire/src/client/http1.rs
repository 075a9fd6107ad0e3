//! HTTP/1.1 to an upstream, by hyper: one request at a time.

use crate::{Body, OnUpgrade, Response, Upgraded, gaps};
use base::{Blame, Fault, Kind, Retry};
use http::{Request, StatusCode};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Our end of the connection; hyper's driver has the socket.
pub(super) struct Sender(http1::SendRequest<Body>);

impl Sender {
    pub(super) async fn begin(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        header_bytes: usize,
    ) -> Result<Self, Fault> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(header_bytes)
            .preserve_header_case(false)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Fault::new(Kind::Unavailable, "no HTTP connection").because(error))?;
        // The driver ends with the connection; its error reaches whoever waits for a response.
        tokio::spawn(async move {
            let _ = driver.with_upgrades().await;
        });
        Ok(Self(sender))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    pub(super) async fn ready(&mut self) -> bool {
        self.0.ready().await.is_ok()
    }

    /// The response, or why there is none and the request when nothing of it was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response, (Fault, Option<Box<Request<Body>>>)> {
        match self.0.try_send_request(request).await {
            Ok(mut response) => {
                let switching = (response.status() == StatusCode::SWITCHING_PROTOCOLS)
                    .then(|| hyper::upgrade::on(&mut response));
                let mut response = Response::from(response.map(Body::incoming));
                if let Some(why) = gaps::fault(response.headers()) {
                    let fault =
                        Fault::new(Kind::Invalid, format!("the upstream's answer is not HTTP: {why}"));
                    return Err((fault.blame(Blame::Neighbour).retry(Retry::IfIdempotent), None));
                }
                if let Some(switching) = switching {
                    response.extensions_mut().insert(OnUpgrade::new(async move {
                        let stream = switching.await.map_err(|error| {
                            Fault::new(Kind::Unavailable, "the upstream closed the connection").because(error)
                        })?;
                        Ok(Upgraded::new(TokioIo::new(stream)))
                    }));
                }
                Ok(response)
            }
            Err(mut error) => {
                let request = error.take_message().map(Box::new);
                let error = error.into_error();
                let retry = if request.is_some() { Retry::Safe } else { Retry::IfIdempotent };
                let (kind, blame, message) = if error.is_parse() {
                    (Kind::Invalid, Blame::Neighbour, "the upstream's answer is not HTTP")
                } else if error.is_timeout() {
                    (Kind::Timeout, Blame::Neighbour, "the upstream did not answer in time")
                } else if let Some(kind) = body_fault(&error) {
                    (kind, Blame::Caller, "the request's body broke off")
                } else {
                    (
                        Kind::Unavailable,
                        Blame::Neighbour,
                        "the upstream closed the connection without an answer",
                    )
                };
                let fault = Fault::new(kind, message).blame(blame).retry(retry).because(error);
                Err((fault, request))
            }
        }
    }
}

/// How the body we gave failed, if a send failed because of that.
fn body_fault(error: &hyper::Error) -> Option<Kind> {
    let fault = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Fault>());
    fault.map(|fault| fault.kind).or_else(|| error.is_user().then_some(Kind::Unavailable))
}
