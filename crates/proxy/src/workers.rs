//! The data path's threads: one current-thread runtime each, so that a request stays on the core that
//! accepted it and nothing is stolen or shared on its way.

use crate::engine::{Gateway, Plane};
use base::{Fault, Kind};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use wire::{Drain, Edge, Limits, ServerTls};

/// Listeners and planes a thread may be told of before it takes the first: more than any manifest has.
const ORDERS_MAX: usize = 1024;

/// The threads of the data path.
pub struct Workers {
    threads: Vec<Thread>,
}

struct Thread {
    orders: Option<mpsc::Sender<Order>>,
    handle: Option<JoinHandle<()>>,
}

/// What a thread is told.
struct Order {
    plane: Arc<Plane>,
    listener: TcpListener,
    tls: Option<ServerTls>,
    edge: Option<Arc<Edge>>,
    limits: Limits,
    drain: Drain,
    /// Told when the listener's last connection has ended.
    done: oneshot::Sender<()>,
}

/// A listener that is served until its drain begins; waiting for it waits for its last connection.
pub struct Served(Vec<oneshot::Receiver<()>>);

impl Served {
    /// Waits until the last connection has ended.
    pub async fn ended(self) {
        for done in self.0 {
            // An error means that the thread is gone, and its connections with it.
            let _ = done.await;
        }
    }
}

impl Workers {
    /// Starts so many threads.
    pub fn start(count: usize) -> Result<Self, Fault> {
        let threads = (0..count.max(1))
            .map(|number| {
                let (orders, inbox) = mpsc::channel(ORDERS_MAX);
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_io()
                    .enable_time()
                    .build()
                    .map_err(|error| Fault::new(Kind::Io, "cannot start a worker").because(error))?;
                let handle = std::thread::Builder::new()
                    .name(format!("gateway-{number}"))
                    .spawn(move || runtime.block_on(work(number, inbox)))
                    .map_err(|error| Fault::new(Kind::Io, "cannot start a worker").because(error))?;
                Ok(Thread { orders: Some(orders), handle: Some(handle) })
            })
            .collect::<Result<_, Fault>>()?;
        Ok(Self { threads })
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// Serves a plane on these listeners: one for each thread, or one that all threads share.
    pub async fn serve(
        &self,
        plane: &Arc<Plane>,
        listeners: Vec<TcpListener>,
        tls: Option<&ServerTls>,
        edge: Option<Edge>,
        limits: &Limits,
        drain: &Drain,
    ) -> Result<Served, Fault> {
        let edge = edge.map(Arc::new);
        let mut waits = Vec::new();
        for (number, thread) in self.threads.iter().enumerate() {
            let listener = match listeners.get(number) {
                Some(listener) => listener.try_clone()?,
                // A listener handed over to us is one socket; the kernel spreads its connections then.
                None => match listeners.first() {
                    Some(first) => first.try_clone()?,
                    None => break,
                },
            };
            let (done, wait) = oneshot::channel();
            let order = Order {
                plane: plane.clone(),
                listener,
                tls: tls.cloned(),
                edge: edge.clone(),
                limits: limits.clone(),
                drain: drain.clone(),
                done,
            };
            let orders = thread.orders.as_ref().expect("taken only when the workers are dropped");
            if orders.send(order).await.is_err() {
                return Err(Fault::new(Kind::Bug, "a worker has ended"));
            }
            waits.push(wait);
        }
        Ok(Served(waits))
    }
}

impl Drop for Workers {
    /// Ends all connections that are left and the threads.
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.orders = None;
        }
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                let _ = handle.join();
            }
        }
    }
}

/// One thread's life: it takes orders until nobody can give any.
async fn work(number: usize, mut orders: mpsc::Receiver<Order>) {
    telemetry::metrics::this_thread_is(number);
    // Few planes (the gateway's and that of internal calls), each with this thread's connections.
    let mut gateways: Vec<Gateway> = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    while let Some(order) = orders.recv().await {
        let known = gateways.iter().find(|gateway| Arc::ptr_eq(&gateway.core.plane, &order.plane)).cloned();
        let gateway = known.unwrap_or_else(|| {
            let gateway = Gateway::new(&order.plane, number);
            gateways.push(gateway.clone());
            let sweeper = gateway.clone();
            tasks.spawn(async move { sweeper.sweep_connections().await });
            gateway
        });
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            if let Ok(listener) = tokio::net::TcpListener::from_std(order.listener) {
                let served =
                    wire::serve(listener, order.tls, order.edge, order.limits, gateway, order.drain).await;
                // Only a listener that can't name its own address fails: it never served.
                drop(served);
            }
            let _ = order.done.send(());
        });
    }
    tasks.shutdown().await;
    // Connections' own tasks end with the runtime.
    tokio::time::sleep(Duration::ZERO).await;
}
