//! Next hops: which interface packets to an address leave by, and the Ethernet address they go to first.
//!
//! The kernel decides both and is asked by netlink; its answer is kept until it says that something changed, or for some seconds. Where
//! it does not know the neighbour, or has not heard of it lately, a packet goes by the kernel's own socket, which makes it ask.

use std::net::{IpAddr, SocketAddr};

use super::packet::{Addresses, Mac};
use crate::error::IoError;
use crate::limits::{HOP_NEWS_NS, HOP_RETRY_NS, HOP_TRUST_NS, HOPS_MAX};
use crate::route::{NextHopWatch, neighbour, way};

/// The way of packets to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    /// Index of the interface.
    pub(super) interface: u32,
    pub(super) mac: Mac,
    pub(super) addresses: Addresses,
    /// The route's own MTU.
    pub(super) mtu: Option<u32>,
}

struct Known {
    source: Option<IpAddr>,
    destination: IpAddr,
    hop: Option<Hop>,
    /// When to ask again.
    until_ns: u64,
    /// The next packet is to go by the kernel's socket, once.
    nudge: bool,
}

/// What is known of next hops.
pub(super) struct Hops {
    known: Vec<Known>,
    /// `None` where the kernel does not report changes: what is known is trusted for its time.
    watch: Option<NextHopWatch>,
    news_at_ns: u64,
}

impl Hops {
    /// Begins to listen for changes. Without that, a note says so.
    pub(super) fn new(notes: &mut Vec<String>) -> Self {
        let watch = match NextHopWatch::open() {
            Ok(watch) => Some(watch),
            Err(error) => {
                notes.push(format!("changes of routes are found by asking now and then: {error}"));
                None
            }
        };
        Hops { known: Vec::with_capacity(HOPS_MAX), watch, news_at_ns: 0 }
    }

    /// Looks for news now and then; says whether there were any.
    pub(super) fn renew(&mut self, now_ns: u64) -> bool {
        if now_ns < self.news_at_ns {
            return false;
        }
        self.news_at_ns = now_ns + HOP_NEWS_NS;
        let changed = self.watch.as_mut().is_some_and(NextHopWatch::changed);
        if changed {
            self.known.iter_mut().for_each(|known| known.until_ns = 0);
        }
        changed
    }

    /// The way from `source` to `destination`, if packets may be built for it now.
    pub(super) fn find(
        &mut self,
        source: Option<IpAddr>,
        destination: SocketAddr,
        now_ns: u64,
    ) -> Option<Hop> {
        let ip = destination.ip();
        let at = self.known.iter().position(|known| known.destination == ip && known.source == source);
        let at = at.unwrap_or_else(|| self.add(source, ip));
        let known = &mut self.known[at];
        if now_ns >= known.until_ns {
            known.ask(now_ns);
        }
        if std::mem::take(&mut known.nudge) {
            return None;
        }
        known.hop
    }

    fn add(&mut self, source: Option<IpAddr>, destination: IpAddr) -> usize {
        if self.known.len() == HOPS_MAX {
            self.known.clear();
        }
        self.known.push(Known { source, destination, hop: None, until_ns: 0, nudge: false });
        self.known.len() - 1
    }
}

impl Known {
    fn ask(&mut self, now_ns: u64) {
        let found = resolve(self.source, self.destination);
        let found = found.ok().flatten();
        self.hop = found.map(|(hop, _)| hop);
        self.nudge = found.is_some_and(|(_, stale)| stale);
        self.until_ns = now_ns + if self.hop.is_some() { HOP_TRUST_NS } else { HOP_RETRY_NS };
    }
}

/// The hop, and whether its neighbour was not heard from lately; `None` while nobody knows the neighbour.
fn resolve(source: Option<IpAddr>, destination: IpAddr) -> Result<Option<(Hop, bool)>, IoError> {
    let way = way(source, destination)?;
    let Some(from) = source.or(way.source) else { return Ok(None) };
    let Some(addresses) = Addresses::new(from, destination) else { return Ok(None) };
    let found = neighbour(way.interface, way.gateway.unwrap_or(destination));
    Ok(found.map(|found| {
        (Hop { interface: way.interface, mac: found.mac, addresses, mtu: way.mtu }, found.stale)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::namespace;

    const MAC: Mac = [2, 0, 0, 0, 0, 7];

    #[test]
    fn a_hop_is_known_when_its_neighbour_is() {
        namespace::run(|| {
            let index = namespace::add_wire("x1", "y1");
            namespace::add_address(index, [10, 77, 1, 1].into(), 24);
            let mut notes = Vec::new();
            let mut hops = Hops::new(&mut notes);
            assert!(notes.is_empty(), "{notes:?}");
            hops.renew(0);
            let to: SocketAddr = "10.77.1.2:9".parse().unwrap();
            assert_eq!(hops.find(None, to, 1), None);
            namespace::add_neighbour(index, [10, 77, 1, 2].into(), MAC);
            // It is trusted that nobody is known, until there is news or time went by.
            assert_eq!(hops.find(None, to, 2), None);
            assert!(hops.renew(HOP_NEWS_NS));
            let hop = hops.find(None, to, HOP_NEWS_NS).unwrap();
            assert_eq!((hop.interface, hop.mac), (index, MAC));
            let ours = Addresses::new("10.77.1.1".parse().unwrap(), to.ip());
            assert_eq!(Some(hop.addresses), ours);
            assert!(!hops.renew(2 * HOP_NEWS_NS));
        });
    }

    #[test]
    fn no_route_is_no_hop() {
        namespace::run(|| {
            let mut hops = Hops::new(&mut Vec::new());
            assert_eq!(hops.find(None, "10.77.1.2:9".parse().unwrap(), 0), None);
        });
    }

    #[test]
    fn destinations_without_end_take_no_more_room() {
        namespace::run(|| {
            let mut hops = Hops::new(&mut Vec::new());
            for n in 0..=HOPS_MAX as u32 {
                hops.find(None, SocketAddr::new(IpAddr::from(n.to_be_bytes()), 9), 0);
            }
            assert_eq!(hops.known.len(), 1);
        });
    }
}
