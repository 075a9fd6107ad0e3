//! What whoever opens the port decides: the password, and every bound.

use crate::spans::Spans;
use base::{Fault, Kind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How Message DB's interface is served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What every user has to know, by SCRAM-SHA-256. Without one anybody who reaches the port may read and
    /// write, so that only loopback addresses are served.
    pub password: Option<String>,
    /// Whether a statement's `condition` is taken from the start; clients may turn it on or off for their
    /// session (`message_store.sql_condition`). Off, as in the original.
    pub sql_condition: bool,
    /// Connections at a time; one more is told `53300`.
    pub connections_max: usize,
    /// Bytes of one message of a client.
    pub message_bytes_max: usize,
    /// Prepared statements of one connection.
    pub statements_max: usize,
    /// Bytes of rows that one statement sorts, counts apart or keeps for a portal.
    pub rows_bytes_max: usize,
    /// How long a connection may take until it is let in.
    pub startup_wait: Duration,
    /// How long a connection may be silent.
    pub idle_wait: Duration,
    /// How long a transaction may stand open and idle, since its locks stop others.
    pub transaction_idle_wait: Duration,
    /// How long a client may take no answer.
    pub send_wait: Duration,
    /// How long sessions may go on once the server was asked to stop.
    pub drain_wait: Duration,
    /// Where appends leave spans; `None`: they leave none.
    pub spans: Option<Arc<Spans>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            password: None,
            sql_condition: false,
            connections_max: 1_000,
            message_bytes_max: 32 << 20,
            statements_max: 1_000,
            rows_bytes_max: 64 << 20,
            startup_wait: Duration::from_secs(10),
            idle_wait: Duration::from_hours(24),
            transaction_idle_wait: Duration::from_mins(5),
            send_wait: Duration::from_mins(1),
            drain_wait: Duration::from_secs(10),
            spans: None,
        }
    }
}

impl Settings {
    /// Refuses to serve beyond loopback without a password.
    pub(crate) fn check(&self, address: SocketAddr) -> Result<(), Fault> {
        if self.password.is_none() && !address.ip().is_loopback() {
            let text =
                format!("Message DB's port `{address}` would be open to other machines without a password");
            return Err(Fault::new(Kind::Refused, text).hint("set a password, or bind to 127.0.0.1"));
        }
        if self.password.as_deref() == Some("") {
            let text = "the password of Message DB's port is empty";
            return Err(
                Fault::new(Kind::Invalid, text).hint("give one, or none at all on a loopback address")
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_others_reach_needs_a_password() {
        let check = |address: &str, password: Option<&str>| {
            let settings = Settings { password: password.map(str::to_owned), ..Settings::default() };
            settings.check(address.parse().unwrap()).map_err(|fault| fault.to_string())
        };
        assert_eq!(check("127.0.0.1:5433", None), Ok(()));
        assert_eq!(check("[::1]:5433", None), Ok(()));
        assert_eq!(check("0.0.0.0:5433", Some("secret")), Ok(()));
        assert_eq!(
            check("0.0.0.0:5433", None).unwrap_err(),
            "Message DB's port `0.0.0.0:5433` would be open to other machines without a password"
        );
        assert!(check("127.0.0.1:5433", Some("")).is_err());
    }
}
