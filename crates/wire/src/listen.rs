//! Listening sockets: one for each worker on the same port, so that the kernel spreads connections over
//! cores and no worker waits for another (`SO_REUSEPORT`, socket(7)).

use base::{Fault, Kind};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{SocketAddr, TcpListener};

/// Connections the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;

/// One listening socket. Fails when the port is taken, saying so.
pub fn bind(address: SocketAddr) -> Result<TcpListener, Fault> {
    open(address, false)
}

/// `count` listening sockets on one address; with port 0 all share the port the kernel chose.
///
/// Fails when anybody else listens there, another Tombolo of the same user included: sharing a port with
/// a process of before is decided by whoever hands its sockets over, not by luck.
pub fn bind_each(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, Fault> {
    // Without the option first: with it, the kernel would let two gateways share the port unnoticed.
    let probe = open(address, false)?;
    let address = probe.local_addr()?;
    if count <= 1 {
        return Ok(vec![probe]);
    }
    drop(probe);
    (0..count).map(|_| open(address, true)).collect()
}

fn open(address: SocketAddr, shared: bool) -> Result<TcpListener, Fault> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A port that lingers in TIME_WAIT after a restart is free for us.
        socket.set_reuse_address(true)?;
        if shared {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from(socket))
    };
    listen().map_err(|error: std::io::Error| {
        let (kind, message, hint) = match error.kind() {
            std::io::ErrorKind::AddrInUse => (
                Kind::Conflict,
                format!("port {} of `{address}` is taken", address.port()),
                "stop what listens there, or choose another address".to_owned(),
            ),
            std::io::ErrorKind::PermissionDenied => (
                Kind::Refused,
                format!("no permission to listen on `{address}`"),
                "ports below 1024 need the capability CAP_NET_BIND_SERVICE; choose a higher one".to_owned(),
            ),
            std::io::ErrorKind::AddrNotAvailable => (
                Kind::Invalid,
                format!("`{}` is no address of this machine", address.ip()),
                "127.0.0.1 is this machine alone, 0.0.0.0 all its addresses".to_owned(),
            ),
            _ => (Kind::Io, format!("cannot listen on `{address}`"), "check the address".to_owned()),
        };
        Fault::new(kind, message).hint(hint).because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named() {
        let first = bind_each(SocketAddr::from(([127, 0, 0, 1], 0)), 3).unwrap();
        let address = first[0].local_addr().unwrap();
        assert!(first.iter().all(|listener| listener.local_addr().unwrap() == address));
        let fault = bind_each(address, 2).unwrap_err();
        assert_eq!(fault.kind, Kind::Conflict);
        assert!(fault.message.contains(&format!("port {} of", address.port())), "{fault}");
    }
}
