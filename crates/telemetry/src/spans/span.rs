//! A span as it is kept: one record of one thing that was carried, in Zipkin's terms, which other formats are mapped
//! to. What holds for any span (ids, lower case, order) is made so here; formats and stores are left to others.

use base::{Fault, Kind as FaultKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The tag of spans of requests that Tombolo carries: the id of their route.
pub const ROUTE_TAG: &str = "tombolo.route";

/// The tag of a copy of a request that was sent elsewhere, and that nobody waits for.
pub const COPY_TAG: &str = "tombolo.copy";
/// The tag of spans of messages, and its value in those that Tombolo carries.
pub const MESSAGING_TAG: (&str, &str) = ("messaging.system", "tombolo");

/// A trace's id: 128 bits, or 64 where `high` is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceKey {
    /// The first 64 bits; zero for ids of 64 bits.
    pub high: u64,
    /// The last 64 bits, by which traces are found.
    pub low: u64,
}

/// What a span's service did with the thing that was carried; none for local work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It called.
    Client,
    /// It was called.
    Server,
    /// It gave a message to a broker.
    Producer,
    /// It took a message from a broker.
    Consumer,
}

/// One side of a call. All of it may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// In lower case; empty if unknown.
    pub service: String,
    /// The address of version 4.
    pub ipv4: Option<Ipv4Addr>,
    /// The address of version 6.
    pub ipv6: Option<Ipv6Addr>,
    /// Zero if unknown.
    pub port: u16,
}

/// Something that happened while a span lasted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Annotation {
    /// Microseconds since 1970.
    pub timestamp_us: u64,
    /// What happened.
    pub value: String,
}

/// One record of one thing that was carried, as one service saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The trace it belongs to.
    pub trace: TraceKey,
    /// The span it belongs to; zero for the first of a trace.
    pub parent: u64,
    /// Its own id; client and server of a call may share one.
    pub id: u64,
    /// What was done; none for local work.
    pub kind: Option<Kind>,
    /// In lower case; empty if unknown.
    pub name: String,
    /// Microseconds since 1970; zero if unknown.
    pub timestamp_us: u64,
    /// Microseconds; zero if unknown.
    pub duration_us: u64,
    /// Who reports.
    pub local: Endpoint,
    /// The other side.
    pub remote: Endpoint,
    /// By time.
    pub annotations: Vec<Annotation>,
    /// By key, each key once.
    pub tags: Vec<(String, String)>,
    /// Whether it is kept whatever sampling says.
    pub debug: bool,
    /// Whether the other side of the call reports the same id.
    pub shared: bool,
}

impl Kind {
    /// All of them under their names in Zipkin, in the order of its protobuf numbers from 1 on.
    pub const NAMES: [(&'static str, Kind); 4] = [
        ("CLIENT", Kind::Client),
        ("SERVER", Kind::Server),
        ("PRODUCER", Kind::Producer),
        ("CONSUMER", Kind::Consumer),
    ];

    /// The kind of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    /// The kind of a protobuf number.
    pub fn of_number(number: u64) -> Option<Self> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        Self::NAMES.get(place).map(|(_, kind)| *kind)
    }
}

impl TraceKey {
    /// Reads 1 to 32 lower-case hex digits that are not all zeros.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let bits = lower_hex("traceId", text, 32)?;
        Ok(Self { high: (bits >> 64) as u64, low: bits as u64 })
    }

    /// Whether it says nothing.
    pub fn is_none(self) -> bool {
        self.high == 0 && self.low == 0
    }
}

impl std::fmt::Display for TraceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.high {
            0 => write!(f, "{:016x}", self.low),
            high => write!(f, "{high:016x}{:016x}", self.low),
        }
    }
}

/// Reads the id of a span: 1 to 16 lower-case hex digits; zeros are zero.
pub fn parse_id(name: &str, text: &str) -> Result<u64, Fault> {
    let bits = if text.bytes().all(|byte| byte == b'0') && (1..=16).contains(&text.len()) {
        0
    } else {
        lower_hex(name, text, 16)?
    };
    Ok(bits as u64)
}

fn lower_hex(name: &str, text: &str, digits_max: usize) -> Result<u128, Fault> {
    let refused = |message: String| Err(Fault::new(FaultKind::Invalid, message));
    if text.is_empty() {
        return refused(format!("{name} is empty"));
    }
    if text.len() > digits_max {
        return refused(format!("{name}.length > {digits_max}"));
    }
    let mut bits = 0u128;
    for byte in text.bytes() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return refused(format!("{text} should be lower-hex encoded with no prefix")),
        };
        bits = bits << 4 | u128::from(digit);
    }
    if bits == 0 {
        return refused(format!("{name} is all zeros"));
    }
    Ok(bits)
}

impl Endpoint {
    /// Whether nothing is known of it.
    pub fn is_empty(&self) -> bool {
        self.service.is_empty() && self.ipv4.is_none() && self.ipv6.is_none() && self.port == 0
    }

    /// Takes an address in text, of either version; what is none is passed over. Version 4 in the clothes of
    /// version 6 is version 4.
    pub fn take_ip(&mut self, text: &str) {
        match text.parse() {
            Ok(IpAddr::V4(address)) => self.ipv4 = Some(address),
            // Digits of version 4 behind other ones than those of version 6 for it mean nothing.
            Ok(IpAddr::V6(address))
                if text.contains('.') && !matches!(address.segments(), [0, 0, 0, 0, 0, 0 | 0xffff, ..]) => {}
            Ok(IpAddr::V6(address)) => self.take_ipv6(address),
            Err(_) => {}
        }
    }

    /// Takes an address of version 6; one that stands for an address of version 4 is that.
    pub fn take_ipv6(&mut self, address: Ipv6Addr) {
        let compatible =
            matches!(address.segments(), [0, 0, 0, 0, 0, 0, high, _] if high != 0).then(|| address.to_ipv4());
        match address.to_ipv4_mapped().or(compatible.flatten()) {
            Some(address) => self.ipv4 = Some(address),
            None => self.ipv6 = Some(address),
        }
    }

    /// Fills what is unknown from another report.
    fn fill(&mut self, other: &Self) {
        if self.service.is_empty() {
            self.service.clone_from(&other.service);
        }
        self.ipv4 = self.ipv4.or(other.ipv4);
        self.ipv6 = self.ipv6.or(other.ipv6);
        if self.port == 0 {
            self.port = other.port;
        }
    }
}

impl Span {
    /// Makes of what was reported what is kept: names in lower case, annotations by time, the last tag of a key,
    /// `shared` only where it can be.
    pub fn tidy(&mut self) {
        lower(&mut self.name);
        lower(&mut self.local.service);
        lower(&mut self.remote.service);
        if self.kind == Some(Kind::Client) {
            self.shared = false;
        }
        // Other systems count times in signed numbers; what does not fit there is no time.
        let times = self.annotations.iter_mut().map(|annotation| &mut annotation.timestamp_us);
        for time in times.chain([&mut self.timestamp_us, &mut self.duration_us]) {
            if i64::try_from(*time).is_err() {
                *time = 0;
            }
        }
        self.annotations.retain(|annotation| annotation.timestamp_us != 0);
        if self.annotations.len() > 1 {
            self.annotations.sort();
            self.annotations.dedup();
        }
        if self.tags.len() > 1 {
            // Stable, so that of one key the last one comes last.
            self.tags.sort_by(|one, other| one.0.cmp(&other.0));
            let mut kept = 0;
            for at in 0..self.tags.len() {
                if self.tags.get(at + 1).is_none_or(|next| next.0 != self.tags[at].0) {
                    self.tags.swap(kept, at);
                    kept += 1;
                }
            }
            self.tags.truncate(kept);
        }
    }

    /// The value of a tag.
    pub fn tag(&self, key: &str) -> Option<&str> {
        let place = self.tags.binary_search_by(|(known, _)| known.as_str().cmp(key)).ok()?;
        Some(&self.tags[place].1)
    }

    /// Whether what was carried failed.
    pub fn is_error(&self) -> bool {
        self.tag("error").is_some()
    }

    /// Whether Tombolo carried what it tells of, and reports it.
    pub fn is_carried(&self) -> bool {
        self.tag(ROUTE_TAG).is_some() || self.tag(MESSAGING_TAG.0) == Some(MESSAGING_TAG.1)
    }

    /// Fills what is unknown from another report of the same span, and takes its annotations and tags.
    pub fn merge(&mut self, other: Self) {
        if self.trace.is_none() {
            self.trace = other.trace;
        }
        for (mine, theirs) in [
            (&mut self.parent, other.parent),
            (&mut self.id, other.id),
            (&mut self.timestamp_us, other.timestamp_us),
            (&mut self.duration_us, other.duration_us),
        ] {
            if *mine == 0 {
                *mine = theirs;
            }
        }
        self.kind = self.kind.or(other.kind);
        if self.name.is_empty() {
            self.name = other.name;
        }
        self.local.fill(&other.local);
        self.remote.fill(&other.remote);
        self.annotations.extend(other.annotations);
        self.tags.extend(other.tags);
        self.debug |= other.debug;
        self.shared |= other.shared;
        self.tidy();
    }

    /// Bytes that it takes in memory, about.
    pub fn weight(&self) -> usize {
        let texts = self.name.len() + self.local.service.len() + self.remote.service.len();
        let annotations: usize =
            self.annotations.iter().map(|one| size_of::<Annotation>() + one.value.len()).sum();
        let pair = size_of::<(String, String)>();
        let tags: usize = self.tags.iter().map(|(key, value)| pair + key.len() + value.len()).sum();
        size_of::<Self>() + texts + annotations + tags
    }
}

fn lower(text: &mut String) {
    if text.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        *text = text.to_lowercase();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_tag_of_a_key_stays_and_annotations_go_by_time() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let at = |timestamp_us, value: &str| Annotation { timestamp_us, value: value.into() };
        let mut span = Span {
            name: "GET É".into(),
            tags: vec![pair("b", "1"), pair("a", "1"), pair("b", "2"), pair("a", "3"), pair("c", "")],
            annotations: vec![at(2, "x"), at(1, "y"), at(2, "x")],
            shared: true,
            kind: Some(Kind::Client),
            ..Span::default()
        };
        span.tidy();
        assert_eq!(span.tags, [pair("a", "3"), pair("b", "2"), pair("c", "")]);
        assert_eq!(span.annotations, [at(1, "y"), at(2, "x")]);
        assert_eq!(
            (span.name.as_str(), span.shared, span.tag("b"), span.tag("d")),
            ("get é", false, Some("2"), None)
        );
    }

    #[test]
    fn kinds_keep_their_numbers() {
        for (place, (name, kind)) in Kind::NAMES.into_iter().enumerate() {
            assert_eq!((kind.name(), Kind::parse(name)), (name, Some(kind)));
            assert_eq!(Kind::of_number(place as u64 + 1), Some(kind));
        }
        assert_eq!((Kind::of_number(0), Kind::of_number(5), Kind::parse("client")), (None, None, None));
    }
}
