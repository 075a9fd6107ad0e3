//! Ports: free ones on the loopback for instances, and who has one that should be free.

use base::{Fault, Kind, Retry};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// How often a free port is asked for before it is given up.
const TRIES_MAX: usize = 64;

/// Says whether `port`, which `service` wants for itself, is free on the loopback. If not, the fault names
/// who listens there, where that can be found out.
pub fn check_port(service: &str, port: u16) -> Result<(), Fault> {
    let address = loopback(port);
    match TcpListener::bind(address) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let who = who_listens(address);
            let by = who.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
            let change = "change `port` in the manifest (without it a free port is given as `PORT`)";
            Err(Fault::new(Kind::Conflict, format!("port {port} of service `{service}` is taken{by}"))
                .retry(Retry::Safe)
                .hint(format!("stop {}, or {change}", if who.is_some() { "it" } else { "whoever has it" })))
        }
        // Anything else, such as a port only root may have, is between the service and the system.
        _ => Ok(()),
    }
}

/// Who listens on a TCP address of this machine, such as "`node server.js` (pid 4711)"; `None` where nobody
/// does or it can't be found out. Linux only: reads `/proc`.
pub fn who_listens(address: SocketAddr) -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        linux::who_listens(address)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = address;
        None
    }
}

/// Which ports are whose.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// Stated in the manifest: never assigned.
    fixed: BTreeSet<u16>,
    /// The last port of each service's slot, so that it stays over restarts.
    remembered: BTreeMap<(String, u32), u16>,
    /// Ports of instances that are there, by the instance's id.
    held: BTreeMap<u16, u64>,
}

impl Ports {
    /// Sets the ports that the manifest states.
    pub(crate) fn set_fixed(&mut self, fixed: BTreeSet<u16>) {
        self.fixed = fixed;
    }

    /// A free port for instance `id` in this slot of the service: the one it, or the last one in its slot,
    /// had, or else a new one.
    pub(crate) fn pick(&mut self, service: &str, slot: u32, id: u64) -> Result<u16, Fault> {
        let own = self.held.iter().find(|(_, holder)| **holder == id).map(|(port, _)| *port);
        let key = (service.to_owned(), slot);
        let last = own.or_else(|| self.remembered.get(&key).copied()).filter(|port| {
            let others = self.held.get(port).is_some_and(|holder| *holder != id);
            !others && !self.fixed.contains(port) && TcpListener::bind(loopback(*port)).is_ok()
        });
        let port = match last {
            Some(port) => port,
            None => self.fresh()?,
        };
        self.release(id);
        self.held.insert(port, id);
        self.remembered.insert(key, port);
        Ok(port)
    }

    /// The instance is gone.
    pub(crate) fn release(&mut self, id: u64) {
        self.held.retain(|_, holder| *holder != id);
    }

    /// The service is gone.
    pub(crate) fn forget(&mut self, service: &str) {
        self.remembered.retain(|(name, _), _| name != service);
    }

    fn fresh(&self) -> Result<u16, Fault> {
        // Kept open until one fits, so that the system does not offer the same port twice.
        let mut refused = Vec::new();
        for _ in 0..TRIES_MAX {
            let listener = TcpListener::bind(loopback(0)).map_err(no_port)?;
            let port = listener.local_addr().map_err(no_port)?.port();
            let known = self.fixed.contains(&port)
                || self.held.contains_key(&port)
                || self.remembered.values().any(|other| *other == port);
            if !known {
                return Ok(port);
            }
            refused.push(listener);
        }
        Err(Fault::new(Kind::TooMuch, format!("found no free port in {TRIES_MAX} tries")))
    }
}

fn no_port(error: std::io::Error) -> Fault {
    Fault::new(Kind::Io, "cannot find a free port on the loopback").retry(Retry::Safe).because(error)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{read_dir, read_link};
    use std::io::Read;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    /// Most bytes read of a table or a command line.
    const TABLE_BYTES_MAX: u64 = 16 << 20;

    /// Longest command line shown.
    const COMMAND_CHARS_MAX: usize = 80;

    /// A line of `/proc/net/tcp`: a socket that listens.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Listening {
        pub(super) address: SocketAddr,
        pub(super) user: u32,
        pub(super) inode: u64,
    }

    pub(super) fn who_listens(wanted: SocketAddr) -> Option<String> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| read(table).unwrap_or_default());
        let listening = tables.iter().flat_map(|table| table.lines()).filter_map(parse).find(|one| {
            let ip = one.address.ip();
            one.address.port() == wanted.port() && (ip == wanted.ip() || ip.is_unspecified())
        })?;
        let found = process_with(listening.inode).map(|(pid, command)| format!("`{command}` (pid {pid})"));
        // Another user's process does not show us its files.
        Some(found.unwrap_or_else(|| format!("a process of user id {}", listening.user)))
    }

    /// `sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode …`, proc(5); `st` 0A listens.
    pub(super) fn parse(line: &str) -> Option<Listening> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if *fields.get(3)? != "0A" {
            return None;
        }
        let (ip, port) = fields.get(1)?.split_once(':')?;
        let address = SocketAddr::new(parse_ip(ip)?, u16::from_str_radix(port, 16).ok()?);
        Some(Listening { address, user: fields.get(7)?.parse().ok()?, inode: fields.get(9)?.parse().ok()? })
    }

    /// Words of 32 bits in the machine's own byte order.
    fn parse_ip(hex: &str) -> Option<IpAddr> {
        let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
        match hex.len() {
            8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
            32 => {
                let mut bytes = [0; 16];
                for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                    chunk.copy_from_slice(&word(at * 8)?);
                }
                Some(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
            }
            _ => None,
        }
    }

    fn process_with(inode: u64) -> Option<(u32, String)> {
        let socket = format!("socket:[{inode}]");
        for entry in read_dir("/proc").ok()?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let Ok(files) = read_dir(entry.path().join("fd")) else { continue };
            if files
                .flatten()
                .any(|file| read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket.as_str()))
            {
                return Some((pid, command(pid)));
            }
        }
        None
    }

    fn command(pid: u32) -> String {
        let line = read(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&str> = line.split('\0').filter(|word| !word.is_empty()).collect();
        let text: String = words.join(" ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match text.char_indices().nth(COMMAND_CHARS_MAX) {
            Some((end, _)) => format!("{}\u{2026}", &text[..end]),
            None => text,
        }
    }

    fn read(path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        std::fs::File::open(path).ok()?.take(TABLE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_stays_with_its_slot_and_moves_only_when_it_must() {
        let mut ports = Ports::default();
        let first = ports.pick("web", 1, 10).unwrap();
        let second = ports.pick("web", 2, 11).unwrap();
        assert_ne!(first, second);
        assert_eq!(ports.pick("web", 1, 10).unwrap(), first, "the same instance again");
        let beside = ports.pick("web", 1, 12).unwrap();
        assert!(beside != first && beside != second, "a new instance beside the old one");
        ports.release(10);
        ports.release(12);
        assert_eq!(ports.pick("web", 1, 13).unwrap(), beside, "the slot's last port");
        let taken = TcpListener::bind(loopback(beside)).unwrap();
        assert_ne!(ports.pick("web", 1, 13).unwrap(), beside, "somebody took it in between");
        drop(taken);
    }

    #[test]
    fn a_taken_port_is_told_with_who_has_it() {
        let listener = TcpListener::bind(loopback(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let fault = check_port("web", port).unwrap_err();
        let text = fault.to_string();
        assert!(text.starts_with(&format!("port {port} of service `web` is taken")), "{text}");
        if cfg!(target_os = "linux") {
            assert!(text.ends_with(&format!("(pid {})", std::process::id())), "{text}");
        }
        assert!(fault.hint.is_some_and(|hint| hint.contains("`PORT`")));
        drop(listener);
        assert!(check_port("web", port).is_ok());
        assert_eq!(who_listens(loopback(port)), None);
    }

    #[cfg(all(target_os = "linux", target_endian = "little"))]
    #[test]
    fn the_kernels_table_is_read() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(linux::parse(head), None);
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1";
        let one = linux::parse(line).unwrap();
        assert_eq!((one.address, one.user, one.inode), (loopback(8080), 1000, 4242));
        let six = line.replace("0100007F", "0000000000000000FFFF00000100007F");
        assert_eq!(linux::parse(&six).unwrap().address, loopback(8080));
        assert_eq!(linux::parse(&line.replace(" 0A ", " 01 ")), None);
    }
}
