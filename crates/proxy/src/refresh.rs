//! Fetches anew what a filter `cache` has just given stale. Nobody waits for that: the request that caused it
//! has its answer, and a copy of it goes on from where it was answered.

use crate::account::Account;
use crate::engine::Gateway;
use crate::exchange::Exchange;
use crate::filters::Outcome;
use crate::filters::caching::begin_refresh;
use crate::mirrors::drain;
use crate::table::LocalRoute;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use wire::{Body, Peer, Request};

impl Gateway {
    /// Begins a refresh if a filter has asked for one; `ran` filters have seen the request. As many are under
    /// way at once as mirrored requests may be; what finds no place is left to a later request.
    pub(crate) fn begin_refresh(&self, route: &Arc<LocalRoute>, exchange: &mut Exchange, ran: usize) {
        let notes = exchange.notes.rare.as_deref_mut();
        let Some(visit) = notes.and_then(|notes| notes.refresh.take()) else { return };
        let Ok(place) = self.core.mirrors.clone().try_acquire_owned() else { return };
        let mut copy = exchange.again();
        begin_refresh(&mut copy, visit);
        let (gateway, route) = (self.clone(), route.clone());
        // Boxed: this future holds one of the kind that begins it.
        let refresh: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            let _place = place;
            gateway.refresh(&route, copy, ran).await;
        });
        tokio::spawn(refresh);
    }

    /// Runs the filters behind the one that asked, the backend, and the filters back to that one.
    async fn refresh(&self, route: &Arc<LocalRoute>, mut exchange: Exchange, from: usize) {
        let mut account = Account::aside(self, &request(&exchange), &peer(&exchange));
        let (mut response, ran) = match route.chain.request_from(&mut exchange, from).await {
            Outcome::Reply { response, ran } => (response, ran),
            Outcome::Next { ran } => (self.ask(route, &mut exchange, &mut account, 0).await, ran),
        };
        route.chain.response_to(&mut exchange, &mut response, ran, from - 1).await;
        self.send_response_copies(&mut exchange, &account);
        drain(response).await;
    }
}

fn request(exchange: &Exchange) -> Request {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = exchange.method.clone();
    *request.uri_mut() = exchange.uri.clone();
    *request.headers_mut() = exchange.headers.clone();
    request
}

fn peer(exchange: &Exchange) -> Peer {
    let arrival = &exchange.arrival;
    Peer { remote: arrival.remote, local: arrival.local, tls: arrival.tls, edge: arrival.edge.clone() }
}
