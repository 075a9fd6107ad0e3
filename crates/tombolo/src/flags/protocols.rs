//! The flags about what is spoken on connections besides plain HTTP/1.1.

use super::duration;
use base::{Fault, Kind};
use clap::{ArgAction, Args};
use std::sync::Arc;
use std::time::Duration;
use wire::{Limits, ProxyProtocol};

/// Flags about protocols.
#[derive(Args)]
#[command(next_help_heading = "Protocols")]
pub(super) struct ProtocolFlags {
    /// Serve HTTP/2 without TLS to clients that begin with it; `=false` for none
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set,
        value_name = "BOOL"
    )]
    enable_h2c_server: bool,

    /// Offer HTTP/2 to https backends; `=false` for HTTP/1.1 alone
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set,
        value_name = "BOOL"
    )]
    pub(super) backend_http2: bool,

    /// Let connections change to another protocol, such as WebSocket; `=false` for none
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set,
        value_name = "BOOL"
    )]
    pub(super) experimental_upgrade: bool,

    /// How long a connection that changed its protocol may be silent
    #[arg(long, default_value = "10m", value_parser = duration, value_name = "TIME")]
    pub(super) upgrade_idle_timeout: Duration,

    /// Most requests at a time on one HTTP/2 connection of a client
    #[arg(long, default_value = "200", value_parser = clap::value_parser!(u32).range(1..), value_name = "NUMBER")]
    max_concurrent_streams: u32,

    /// Connections begin with a header of the PROXY protocol, version 1 or 2
    #[arg(long)]
    enable_proxy_protocol: bool,

    /// Networks whose PROXY headers count; connections from elsewhere are closed
    #[arg(long, value_delimiter = ',', value_name = "CIDR", requires = "enable_proxy_protocol")]
    proxy_allow_cidrs: Vec<String>,

    /// Networks whose connections have no PROXY header, such as those of health checks
    #[arg(long, value_delimiter = ',', value_name = "CIDR", requires = "enable_proxy_protocol")]
    proxy_skip_cidrs: Vec<String>,

    /// Networks whose connections are closed, whatever else is said
    #[arg(long, value_delimiter = ',', value_name = "CIDR", requires = "enable_proxy_protocol")]
    proxy_deny_cidrs: Vec<String>,
}

impl ProtocolFlags {
    /// Puts what is said here into the limits of a listener.
    pub(super) fn apply(&self, limits: &mut Limits) -> Result<(), Fault> {
        limits.h2c = self.enable_h2c_server;
        limits.streams = self.max_concurrent_streams;
        if self.enable_proxy_protocol {
            if self.proxy_allow_cidrs.is_empty() && self.proxy_skip_cidrs.is_empty() {
                let fault = Fault::new(Kind::Invalid, "--enable-proxy-protocol would close every connection");
                return Err(fault.hint("name the load balancers' networks with --proxy-allow-cidrs"));
            }
            let protocol =
                ProxyProtocol::parse(&self.proxy_allow_cidrs, &self.proxy_skip_cidrs, &self.proxy_deny_cidrs);
            limits.proxy_protocol = Some(Arc::new(protocol.map_err(|why| Fault::new(Kind::Invalid, why))?));
        }
        Ok(())
    }
}
