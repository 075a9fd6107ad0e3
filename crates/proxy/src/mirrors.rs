//! Sends copies of requests to others. Nobody waits for their answers, and what does not fit is not sent.

use crate::account::Account;
use crate::answer::Cause;
use crate::backend::{InFlight, LocalEndpoint, split};
use crate::engine::Gateway;
use crate::exchange::{Exchange, Mirror, ResponseCopy};
use crate::forward::{connect_failure, send_failure};
use crate::headers;
use crate::spans::{Copied, Tried};
use http::Method;
use http::header::{EXPECT, HOST, HeaderName};
use std::future::Future;
use std::sync::Arc;
use wire::{Body, Origin, Outgoing, Request, RequestHead, Response};

/// Marks a mirrored request for the predicate `Tee` (Skipper's header).
const TEE_LOOPBACK: HeaderName = HeaderName::from_static("x-tee-loopback-key");

/// Most bytes of an unwanted answer that are read to keep its connection.
const DRAIN_MAX: usize = 1 << 20;

impl Gateway {
    /// Sends the copies that filters asked for. Nobody waits for them; what does not fit is not sent.
    pub(crate) fn send_mirrors(&self, exchange: &mut Exchange, account: &Account) {
        if exchange.notes.mirrors.is_empty() {
            return;
        }
        for mirror in std::mem::take(&mut exchange.notes.mirrors) {
            let Ok(place) = self.core.mirrors.clone().try_acquire_owned() else {
                self.plane().builder.metrics.mirror_dropped();
                continue;
            };
            let (body, copy) = split(std::mem::take(&mut exchange.body));
            exchange.body = body;
            let mut headers = exchange.headers.clone();
            headers::strip_hop_by_hop(&mut headers);
            headers.remove(EXPECT);
            let mut request = Request::new(copy);
            *request.method_mut() = exchange.method.clone();
            let gateway = self.clone();
            match mirror {
                Mirror::To { origin, target, host } => {
                    let copied = account.begin_copy(exchange);
                    headers.insert(HOST, host);
                    *request.headers_mut() = headers;
                    *request.uri_mut() = target.into();
                    tokio::spawn(async move {
                        let _place = place;
                        gateway.mirror(&origin, request, copied).await;
                    });
                }
                Mirror::Loopback { label } => {
                    headers.insert(TEE_LOOPBACK, label);
                    *request.version_mut() = exchange.arrival.version;
                    *request.headers_mut() = headers;
                    *request.uri_mut() = exchange.uri.clone();
                    let peer = wire::Peer {
                        remote: exchange.arrival.remote,
                        local: exchange.arrival.local,
                        tls: exchange.arrival.tls,
                        edge: exchange.arrival.edge.clone(),
                    };
                    tokio::spawn(async move {
                        let _place = place;
                        // Boxed: this future holds one of its own kind.
                        let call: std::pin::Pin<Box<dyn Future<Output = Response> + Send>> =
                            Box::pin(async move { gateway.call(request, &peer).await });
                        drain(call.await).await;
                    });
                }
            }
        }
    }

    /// Sends the copies of response bodies that filters asked for.
    pub(crate) fn send_response_copies(&self, exchange: &mut Exchange, account: &Account) {
        for copy in std::mem::take(&mut exchange.notes.response_copies) {
            let Ok(place) = self.core.mirrors.clone().try_acquire_owned() else {
                self.plane().builder.metrics.mirror_dropped();
                continue;
            };
            let ResponseCopy { origin, host, mut headers, body } = copy;
            headers.insert(HOST, host);
            let mut request = Request::new(body);
            *request.method_mut() = Method::POST;
            *request.headers_mut() = headers;
            let (gateway, copied) = (self.clone(), account.begin_copy(exchange));
            tokio::spawn(async move {
                let _place = place;
                gateway.mirror(&origin, request, copied).await;
            });
        }
    }

    async fn mirror(&self, origin: &Origin, request: Request, copied: Option<Copied>) {
        let Ok(endpoint) = self.dynamic(&origin.to_string()) else { return };
        let (head, body) = request.into_parts();
        let sent = self.send_copy(&endpoint, (&head, body), copied.as_ref()).await;
        let (status, cause) = match &sent {
            Ok(response) => (response.status().as_u16(), ""),
            Err(cause) => (0, cause.0),
        };
        if let Ok(response) = sent {
            drain(response).await;
        }
        if let (Some(spans), Some(copied)) = (&self.plane().settings.spans, &copied) {
            let tried = Tried { at: self.now(), status, cause };
            spans.put_copy(copied, (head.method.as_str(), origin), &tried, self.core.worker);
        }
    }

    async fn send_copy(
        &self,
        endpoint: &Arc<LocalEndpoint>,
        (head, body): (&RequestHead, Body),
        copied: Option<&Copied>,
    ) -> Result<Response, Cause> {
        let by = tokio::time::Instant::now() + self.plane().settings.response_timeout;
        let in_flight = InFlight::begin(endpoint);
        let speak = self.speaks(endpoint, wire::is_grpc(&head.headers));
        let mut changes = Vec::new();
        let propagation = self.plane().settings.spans.as_ref().map(|spans| spans.propagation);
        let trace = copied
            .zip(propagation)
            .map(|(copied, how)| copied.trace.fields(&head.headers, how, &mut changes));
        let trace = trace.as_ref().map(|fields| fields.list());
        let outgoing = Outgoing {
            changes: &changes,
            made: trace.as_ref().map_or(&[], |trace| trace.as_slice()),
            ..Outgoing::from(head)
        };
        let repeatable = body.is_empty() && head.method.is_idempotent();
        let mut body = Some(body);
        // The second time on a new connection: an idle one may have been closed as we sent.
        for idle_ones in [true, false] {
            let connected = self.connect(endpoint, speak, self.now(), by, idle_ones).await;
            let mut connection = connected.map_err(|fault| connect_failure(fault, None).cause)?;
            let Some(sent) = body.take() else { break };
            match connection.send_head(&outgoing, sent, by).await {
                Ok(response) => {
                    return Ok(self.returned(response, connection, in_flight, self.now(), Some(by)));
                }
                Err(error) if error.reused => body = error.body.or(repeatable.then(Body::empty)),
                Err(error) => return Err(send_failure(error.fault).cause),
            }
        }
        Err(Cause::CONNECTION_TERMINATED)
    }
}

pub(crate) async fn drain(response: Response) {
    let _ = response.into_body().collect(DRAIN_MAX).await;
}
