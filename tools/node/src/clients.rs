//! What each client has of a node at once, and how often it may call. A client is a host: all that comes from one address.
//!
//! In: connections that proved themselves, calls, bytes of requests. Out: places, each given back when it is dropped, or which bound was met.
//! A host is forgotten when it has nothing and its rate has recovered.

use crate::limits::{
    CALLS_BURST, CALLS_MAX, CALLS_PER_CLIENT_MAX, CALLS_PER_CLIENT_PER_S, CLIENTS_REMEMBERED,
    CONNECTIONS_MAX, CONNECTIONS_PER_CLIENT_MAX, REQUEST_CHARGE_MAX, REQUESTS_LEN_MAX,
    REQUESTS_PER_CLIENT_LEN_MAX, TRANSFER_STALL_MAX, TRANSFERS_PER_CLIENT_MAX, TRANSFERS_RUNNING_MAX,
};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use xfer_engine::{Class, Error};

/// What an operator grants. Zero of anything is nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Control connections at once over which calls with the token came.
    pub connections: usize,
    /// Those of them that one client may have.
    pub connections_per_client: usize,
    /// Transfers that run or wait for their connection at once; the engine has room for 256.
    pub transfers: usize,
    /// Those of them that one client may have.
    pub transfers_per_client: usize,
    /// Calls of one client in a second, on average; five seconds' worth may come at once.
    pub calls_per_client: u32,
    /// How long a transfer may go without any content moving before it is ended.
    pub stall: Duration,
}

impl Default for Caps {
    fn default() -> Self {
        Caps {
            connections: CONNECTIONS_MAX,
            connections_per_client: CONNECTIONS_PER_CLIENT_MAX,
            transfers: TRANSFERS_RUNNING_MAX,
            transfers_per_client: TRANSFERS_PER_CLIENT_MAX,
            calls_per_client: CALLS_PER_CLIENT_PER_S,
            stall: TRANSFER_STALL_MAX,
        }
    }
}

/// A bound that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    Connections,
    ClientConnections,
    Calls,
    ClientCalls,
    ClientRate,
    Requests,
    ClientRequests,
    Request,
    Transfers,
    ClientTransfers,
}

impl Excess {
    /// As the client is told: it may work later.
    pub(crate) fn error(self) -> Error {
        let what = match self {
            Excess::Connections => "the node has as many control connections as it may",
            Excess::ClientConnections => "this host has as many connections to the node as a client may",
            Excess::Calls => "the node answers as many calls as it may",
            Excess::ClientCalls => "this host has as many calls under way as a client may",
            Excess::ClientRate => "this host calls the node more often than a client may",
            Excess::Requests => "the node holds as much of requests as it may",
            Excess::ClientRequests => "the node holds as much of this host's requests as of a client it may",
            Excess::Request => "the node takes no more of one call's requests",
            Excess::Transfers => "the node runs as many transfers as it may",
            Excess::ClientTransfers => "this host runs as many transfers with the node as a client may",
        };
        Error::new(Class::Temporary, what).because("try again later")
    }
}

/// All clients of a node.
pub(crate) struct Clients {
    caps: Caps,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    all: Share,
    hosts: HashMap<IpAddr, Host>,
}

/// What somebody has at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    connections: usize,
    calls: usize,
    bytes: usize,
}

#[derive(Default)]
struct Host {
    share: Share,
    /// When all calls so far would have come, had they come at the rate.
    paid: Option<Instant>,
}

impl Host {
    fn is_idle(&self, now: Instant) -> bool {
        self.share == Share::default() && self.paid.is_none_or(|paid| paid <= now)
    }

    /// Counts a call, unless the host has called too often.
    fn pay(&mut self, now: Instant, per_s: u32) -> bool {
        let Some(each) = Duration::from_secs(1).checked_div(per_s) else { return false };
        let paid = self.paid.map_or(now, |paid| paid.max(now)) + each;
        if paid.saturating_duration_since(now) > CALLS_BURST {
            return false;
        }
        self.paid = Some(paid);
        true
    }
}

impl Clients {
    /// Nobody is there.
    pub(crate) fn new(caps: Caps) -> Arc<Clients> {
        Arc::new(Clients { caps, inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection of `host`.
    pub(crate) fn connect(self: &Arc<Self>, host: IpAddr) -> Result<Connected, Excess> {
        let mut inner = self.lock();
        let own = inner.hosts.get(&host).map_or(0, |host| host.share.connections);
        if inner.all.connections >= self.caps.connections {
            return Err(Excess::Connections);
        }
        if own >= self.caps.connections_per_client {
            return Err(Excess::ClientConnections);
        }
        inner.all.connections += 1;
        inner.hosts.entry(host).or_default().share.connections += 1;
        Ok(Connected { clients: self.clone(), host })
    }

    /// A place for a call that comes from `host` at `now`.
    pub(crate) fn call(self: &Arc<Self>, host: IpAddr, now: Instant) -> Result<Arc<Call>, Excess> {
        let mut inner = self.lock();
        if inner.hosts.len() >= CLIENTS_REMEMBERED {
            inner.hosts.retain(|_, host| !host.is_idle(now));
        }
        let crowded = inner.hosts.len() >= CLIENTS_REMEMBERED && !inner.hosts.contains_key(&host);
        if inner.all.calls >= CALLS_MAX || crowded {
            return Err(Excess::Calls);
        }
        let known = inner.hosts.entry(host).or_default();
        if !known.pay(now, self.caps.calls_per_client) {
            return Err(Excess::ClientRate);
        }
        if known.share.calls >= CALLS_PER_CLIENT_MAX {
            return Err(Excess::ClientCalls);
        }
        known.share.calls += 1;
        inner.all.calls += 1;
        Ok(Arc::new(Call { clients: self.clone(), host, bytes: Mutex::new(0) }))
    }

    fn give_back(&self, host: IpAddr, given: Share, now: Instant) {
        let mut inner = self.lock();
        let Inner { all, hosts } = &mut *inner;
        // Who has something is remembered.
        let Some(known) = hosts.get_mut(&host) else { return };
        for share in [all, &mut known.share] {
            share.connections -= given.connections;
            share.calls -= given.calls;
            share.bytes -= given.bytes;
        }
        if known.is_idle(now) {
            hosts.remove(&host);
        }
    }
}

/// A connection's place.
pub(crate) struct Connected {
    clients: Arc<Clients>,
    host: IpAddr,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.clients.give_back(self.host, Share { connections: 1, ..Share::default() }, Instant::now());
    }
}

/// A call's place, and what the node holds of its requests. Lives until the call is answered and its work done.
pub(crate) struct Call {
    clients: Arc<Clients>,
    host: IpAddr,
    bytes: Mutex<usize>,
}

impl Call {
    /// So many more bytes of requests came.
    pub(crate) fn take(&self, more: usize) -> Result<(), Excess> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if *bytes + more > REQUEST_CHARGE_MAX {
            return Err(Excess::Request);
        }
        let mut inner = self.clients.lock();
        let Inner { all, hosts } = &mut *inner;
        // Who has a call is remembered.
        let Some(known) = hosts.get_mut(&self.host) else { return Err(Excess::Calls) };
        if all.bytes + more > REQUESTS_LEN_MAX {
            return Err(Excess::Requests);
        }
        if known.share.bytes + more > REQUESTS_PER_CLIENT_LEN_MAX {
            return Err(Excess::ClientRequests);
        }
        all.bytes += more;
        known.share.bytes += more;
        *bytes += more;
        Ok(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.clients.give_back(self.host, Share { calls: 1, bytes, connections: 0 }, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn other(number: usize) -> IpAddr {
        IpAddr::from([10, 1, (number >> 8) as u8, number as u8])
    }

    #[test]
    fn connections_are_bounded_for_each_and_for_all() {
        let clients = Clients::new(Caps { connections: 5, connections_per_client: 3, ..Caps::default() });
        let mut own: Vec<_> = (0..3).map(|_| clients.connect(FIRST).ok().unwrap()).collect();
        assert_eq!(clients.connect(FIRST).err(), Some(Excess::ClientConnections));
        let others = [other(1), other(2)].map(|host| clients.connect(host).ok().unwrap());
        assert_eq!(clients.connect(other(3)).err(), Some(Excess::Connections));
        own.pop();
        let again = clients.connect(FIRST);
        assert!(again.is_ok());
        drop((own, others, again));
        assert!(clients.lock().hosts.is_empty() && clients.lock().all == Share::default());
    }

    #[test]
    fn a_client_calls_no_more_often_than_it_may() {
        let clients = Clients::new(Caps { calls_per_client: 2, ..Caps::default() });
        let start = Instant::now();
        let burst = 2 * CALLS_BURST.as_secs() as usize;
        let calls = |at, count| (0..count).filter(|_| clients.call(FIRST, at).is_ok()).count();
        assert_eq!(calls(start, burst - 1), burst - 1);
        assert_eq!(calls(start, 2), 1, "the last of the burst");
        assert_eq!(clients.call(FIRST, start).err(), Some(Excess::ClientRate));
        assert!(clients.call(other(1), start).is_ok(), "another is not held up");
        assert_eq!(calls(start + Duration::from_millis(499), 1), 0);
        assert_eq!(calls(start + Duration::from_secs(1), 9), 2);
        assert_eq!(calls(start + Duration::from_secs(3_600), 100), burst, "no more is saved up");
        let none = Clients::new(Caps { calls_per_client: 0, ..Caps::default() });
        assert_eq!(none.call(FIRST, start).err(), Some(Excess::ClientRate));
    }

    #[test]
    fn calls_under_way_are_bounded_for_each_and_for_all() {
        let clients = Clients::new(Caps { calls_per_client: 10_000, ..Caps::default() });
        let now = Instant::now();
        let mut all = Vec::new();
        for number in 0..CALLS_MAX {
            let host = other(number / CALLS_PER_CLIENT_MAX);
            all.push(clients.call(host, now).ok().unwrap());
            if number + 1 == CALLS_PER_CLIENT_MAX {
                assert_eq!(clients.call(host, now).err(), Some(Excess::ClientCalls));
            }
        }
        assert_eq!(clients.call(FIRST, now).err(), Some(Excess::Calls));
        all.pop();
        assert!(clients.call(FIRST, now).is_ok());
    }

    #[test]
    fn bytes_of_requests_are_bounded_for_each_and_for_all() {
        let clients = Clients::new(Caps { calls_per_client: 10_000, ..Caps::default() });
        let now = Instant::now();
        let mut all = Vec::new();
        let mut fill = |host, bytes: usize, expected| {
            let mut left = bytes;
            while left > 0 {
                let call = clients.call(host, now).ok().unwrap();
                call.take(left.min(REQUEST_CHARGE_MAX)).unwrap();
                assert_eq!(call.take(REQUEST_CHARGE_MAX + 1), Err(Excess::Request));
                left -= left.min(REQUEST_CHARGE_MAX);
                all.push(call);
            }
            assert_eq!(clients.call(host, now).ok().unwrap().take(1), Err(expected));
        };
        let hosts = REQUESTS_LEN_MAX / REQUESTS_PER_CLIENT_LEN_MAX;
        for number in 0..hosts {
            let last = number + 1 == hosts;
            let met = if last { Excess::Requests } else { Excess::ClientRequests };
            fill(other(number), REQUESTS_PER_CLIENT_LEN_MAX, met);
        }
        all.clear();
        assert_eq!(clients.lock().all, Share::default());
    }

    #[test]
    fn hosts_are_forgotten() {
        let clients = Clients::new(Caps::default());
        let now = Instant::now();
        for number in 0..2 * CLIENTS_REMEMBERED {
            let later = now + Duration::from_secs(number as u64);
            drop(clients.call(other(number), later));
            assert!(clients.lock().hosts.len() <= CLIENTS_REMEMBERED);
        }
    }
}
