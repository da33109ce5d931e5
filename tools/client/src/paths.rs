//! Which pairs of addresses a transfer uses (PRODUCT.md, "Paths"): the largest set that uses each NIC once, the others on standby.
//!
//! A decision over tables: this host's interfaces, the node's addresses, and the kernel's answers about routes.

use crate::limits::{PATHS_MAX, STANDBY_MAX};
use std::net::{IpAddr, SocketAddr};
use xfer_engine::io::route::{self, Interface};
use xfer_engine::{Class, Error, PathPair};

/// A pair that the user asked for: `LOCAL_IP` or `LOCAL_IP=REMOTE_IP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathChoice {
    /// Address of this host.
    pub local: IpAddr,
    /// Address of the node; `None`: all that are usable from `local`.
    pub remote: Option<IpAddr>,
}

impl PathChoice {
    /// Reads the value of `--path`.
    ///
    /// # Errors
    /// `Usage`.
    pub fn parse(text: &str) -> Result<PathChoice, Error> {
        let wrong = |why: &str| {
            Error::new(Class::Usage, format!("{text:?} is not LOCAL_IP or LOCAL_IP=REMOTE_IP")).because(why)
        };
        let ip = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
            bare.parse::<IpAddr>().map_err(|_| wrong("not an IP address"))
        };
        let choice = match text.split_once('=') {
            Some((local, remote)) => PathChoice { local: ip(local)?, remote: Some(ip(remote)?) },
            None => PathChoice { local: ip(text)?, remote: None },
        };
        match choice.remote {
            Some(remote) if remote.is_ipv4() != choice.local.is_ipv4() => {
                Err(wrong("one is IPv4 and one IPv6"))
            }
            _ => Ok(choice),
        }
    }
}

/// Pairs to use at once and pairs to fall back to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// The first one shakes hands.
    pub active: Vec<PathPair>,
    /// For when one of `active` dies.
    pub standby: Vec<PathPair>,
    /// How it was decided, for `--explain`.
    pub reasons: Vec<String>,
}

/// What the kernel says about routes.
pub trait Routes {
    /// Whether packets from `local` to `remote` leave by the interface that owns `local`.
    fn leaves_by_owner(&self, local: IpAddr, remote: IpAddr) -> bool;
    /// The address that the kernel would send from.
    fn preferred_source(&self, remote: SocketAddr) -> Option<IpAddr>;
}

/// The routes of this host.
pub struct HostRoutes<'a>(pub &'a [Interface]);

impl Routes for HostRoutes<'_> {
    fn leaves_by_owner(&self, local: IpAddr, remote: IpAddr) -> bool {
        route::leaves_by_owner(self.0, local, remote)
    }

    fn preferred_source(&self, remote: SocketAddr) -> Option<IpAddr> {
        route::preferred_source(remote).ok()
    }
}

/// A usable pair and the NICs that it would use.
#[derive(Clone, Copy)]
struct Usable {
    pair: PathPair,
    interface: u32,
}

/// Decides which pairs to use between this host's `interfaces` and the node's `remotes`.
///
/// # Errors
/// `Usage` for a choice that is not this host's address or not the node's; `Temporary` when no pair is usable, naming the addresses.
pub fn select(
    interfaces: &[Interface],
    remotes: &[SocketAddr],
    routes: &dyn Routes,
    choices: &[PathChoice],
) -> Result<Pairs, Error> {
    if choices.is_empty() {
        let usable = usable(interfaces, remotes, routes);
        return if usable.is_empty() { preferred(remotes, routes) } else { Ok(matched(&usable)) };
    }
    chosen(interfaces, remotes, routes, choices)
}

fn usable(interfaces: &[Interface], remotes: &[SocketAddr], routes: &dyn Routes) -> Vec<Usable> {
    let mut found = Vec::new();
    for interface in interfaces.iter().filter(|i| i.up && i.carrier) {
        for local in interface.addresses.iter().copied() {
            for remote in remotes.iter().copied() {
                if fits(local, remote.ip()) && routes.leaves_by_owner(local, remote.ip()) {
                    found.push(Usable { pair: PathPair { local, remote }, interface: interface.index });
                }
            }
        }
    }
    // IPv6 first, otherwise in the order of interfaces and of the node's addresses; loopback last.
    found.sort_by_key(|u| (u.pair.local.is_loopback(), u.pair.local.is_ipv4()));
    found
}

/// One family; loopback only to loopback.
fn fits(local: IpAddr, remote: IpAddr) -> bool {
    local.is_ipv4() == remote.is_ipv4()
        && local.is_loopback() == remote.is_loopback()
        && !is_link_local(local)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The largest set that uses each local NIC once and each remote NIC once. The node's NICs are not known; its addresses stand for them.
fn matched(usable: &[Usable]) -> Pairs {
    let nics: Vec<u32> = usable.iter().fold(Vec::new(), |mut nics, u| {
        if !nics.contains(&u.interface) {
            nics.push(u.interface);
        }
        nics
    });
    // Augmenting paths (Kuhn): each NIC in turn takes a remote address, pushing an earlier one to another of its own if need be.
    let mut taken: Vec<(SocketAddr, usize)> = Vec::new();
    for nic in &nics {
        augment(*nic, usable, &mut taken, &mut Vec::new());
    }
    let mut active: Vec<usize> = taken.iter().map(|(_, index)| *index).collect();
    active.sort_unstable();
    active.truncate(PATHS_MAX);
    let mut pairs = Pairs::default();
    for (index, u) in usable.iter().enumerate() {
        if active.contains(&index) {
            pairs.active.push(u.pair);
        } else if pairs.standby.len() < STANDBY_MAX {
            pairs.standby.push(u.pair);
        }
    }
    pairs.reasons.push(format!(
        "{} of {} usable pairs at once, one for each of {} local NICs; the others on standby",
        pairs.active.len(),
        usable.len(),
        nics.len()
    ));
    pairs
}

fn augment(
    nic: u32,
    usable: &[Usable],
    taken: &mut Vec<(SocketAddr, usize)>,
    seen: &mut Vec<SocketAddr>,
) -> bool {
    for (index, u) in usable.iter().enumerate().filter(|(_, u)| u.interface == nic) {
        let remote = u.pair.remote;
        if seen.contains(&remote) {
            continue;
        }
        seen.push(remote);
        let held = taken.iter().position(|(address, _)| *address == remote);
        let free = match held {
            None => true,
            Some(at) => {
                let holder = usable[taken[at].1].interface;
                augment(holder, usable, taken, seen)
            }
        };
        if free {
            taken.retain(|(address, by)| *address != remote && usable[*by].interface != nic);
            taken.push((remote, index));
            return true;
        }
    }
    false
}

fn chosen(
    interfaces: &[Interface],
    remotes: &[SocketAddr],
    routes: &dyn Routes,
    choices: &[PathChoice],
) -> Result<Pairs, Error> {
    let mut pairs = Pairs::default();
    for choice in choices {
        let owned = interfaces.iter().any(|i| i.addresses.contains(&choice.local));
        if !owned && !choice.local.is_loopback() {
            return Err(Error::new(Class::Usage, format!("{} is no address of this host", choice.local)));
        }
        let named = choice.remote.map(|ip| remotes.iter().filter(move |r| r.ip() == ip).copied());
        let wanted: Vec<SocketAddr> = match (named, choice.remote) {
            (Some(named), Some(ip)) => {
                let named: Vec<SocketAddr> = named.collect();
                if named.is_empty() {
                    return Err(Error::new(Class::Usage, format!("the node takes no data at {ip}"))
                        .because(format!("it takes data at {}", listed(remotes))));
                }
                named
            }
            _ => {
                // All of 127/8 is loopback's, though it owns but one of it.
                let leaves =
                    |remote| choice.local.is_loopback() || routes.leaves_by_owner(choice.local, remote);
                let fit = |r: &&SocketAddr| fits(choice.local, r.ip()) && leaves(r.ip());
                remotes.iter().filter(fit).copied().collect()
            }
        };
        if wanted.is_empty() {
            return Err(Error::new(
                Class::Temporary,
                format!("no address of the node is reached from {}", choice.local),
            )
            .because(format!("it takes data at {}", listed(remotes))));
        }
        for remote in wanted {
            let pair = PathPair { local: choice.local, remote };
            if !pairs.active.contains(&pair) {
                pairs.active.push(pair);
            }
        }
    }
    let rest = pairs.active.split_off(pairs.active.len().min(PATHS_MAX));
    pairs.standby = rest;
    pairs.standby.truncate(STANDBY_MAX);
    pairs.reasons.push(format!("{} pairs as asked for by --path", pairs.active.len()));
    Ok(pairs)
}

/// When no interface owns the way (addresses on loopback, policy routing): what the kernel itself would do.
fn preferred(remotes: &[SocketAddr], routes: &dyn Routes) -> Result<Pairs, Error> {
    let mut pairs = Pairs::default();
    for remote in remotes {
        if let Some(local) = routes.preferred_source(*remote)
            && (remote.ip().is_loopback() || !local.is_loopback())
        {
            let pair = PathPair { local, remote: *remote };
            if pairs.active.is_empty() { &mut pairs.active } else { &mut pairs.standby }.push(pair);
        }
    }
    pairs.standby.truncate(STANDBY_MAX);
    if pairs.active.is_empty() {
        return Err(Error::new(Class::Temporary, "no pair of addresses is usable for data")
            .because(format!("the node takes data at {}", listed(remotes)))
            .because("serve with --data IP:PORT, an address that this host has a route to"));
    }
    pairs.reasons.push("no interface owns the way to the node; the kernel's own choice".to_owned());
    Ok(pairs)
}

fn listed(addresses: &[SocketAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair of addresses is routed when both are on one wire (their third byte or group), as in the lab.
    struct Wires;

    fn wire(ip: IpAddr) -> u16 {
        match ip {
            IpAddr::V4(ip) => ip.octets()[2].into(),
            IpAddr::V6(ip) => ip.segments()[1],
        }
    }

    impl Routes for Wires {
        fn leaves_by_owner(&self, local: IpAddr, remote: IpAddr) -> bool {
            local.is_loopback() || wire(local) == wire(remote)
        }

        fn preferred_source(&self, remote: SocketAddr) -> Option<IpAddr> {
            (wire(remote.ip()) == 9).then(|| "10.77.1.1".parse().unwrap())
        }
    }

    fn interface(index: u32, addresses: &[&str]) -> Interface {
        Interface {
            index,
            name: format!("x{index}"),
            mtu: 1_500,
            up: true,
            carrier: true,
            loopback: addresses.contains(&"127.0.0.1"),
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            counters: Default::default(),
        }
    }

    fn lab() -> Vec<Interface> {
        vec![
            interface(1, &["127.0.0.1", "::1"]),
            interface(2, &["10.77.1.1", "fd77:1::1", "fe80::1"]),
            interface(3, &["10.77.2.1", "fd77:2::1"]),
        ]
    }

    fn remotes(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|a| a.parse().unwrap()).collect()
    }

    fn shown(pairs: &[PathPair]) -> Vec<String> {
        pairs.iter().map(|p| format!("{}={}", p.local, p.remote.ip())).collect()
    }

    fn pairs(interfaces: &[Interface], list: &[&str], choices: &[&str]) -> Result<Pairs, Error> {
        let choices: Vec<PathChoice> = choices.iter().map(|c| PathChoice::parse(c).unwrap()).collect();
        select(interfaces, &remotes(list), &Wires, &choices)
    }

    const BOTH: [&str; 4] = ["10.77.1.2:1", "[fd77:1::2]:1", "10.77.2.2:1", "[fd77:2::2]:1"];

    #[test]
    fn each_nic_once_ipv6_first_others_on_standby() {
        let found = pairs(&lab(), &BOTH, &[]).unwrap();
        assert_eq!(shown(&found.active), ["fd77:1::1=fd77:1::2", "fd77:2::1=fd77:2::2"]);
        assert_eq!(shown(&found.standby), ["10.77.1.1=10.77.1.2", "10.77.2.1=10.77.2.2"]);
    }

    #[test]
    fn one_wire_or_one_family() {
        let found = pairs(&lab(), &["10.77.1.2:1"], &[]).unwrap();
        assert_eq!(shown(&found.active), ["10.77.1.1=10.77.1.2"]);
        assert!(found.standby.is_empty());
        let mut cut = lab();
        cut[1].carrier = false;
        assert_eq!(shown(&pairs(&cut, &BOTH, &[]).unwrap().active), ["fd77:2::1=fd77:2::2"]);
    }

    #[test]
    fn loopback_only_to_loopback() {
        let found = pairs(&lab(), &["127.0.0.1:1", "[::1]:1"], &[]).unwrap();
        assert_eq!(shown(&found.active), ["::1=::1"]);
        assert_eq!(shown(&found.standby), ["127.0.0.1=127.0.0.1"]);
        let both = pairs(&lab(), &["127.0.0.1:1", "10.77.1.2:1"], &[]).unwrap();
        assert_eq!(shown(&both.active), ["10.77.1.1=10.77.1.2", "127.0.0.1=127.0.0.1"]);
    }

    #[test]
    fn the_largest_set_is_found_where_greed_is_not() {
        // The first NIC reaches both remote addresses, the second only the first one.
        struct Odd;
        impl Routes for Odd {
            fn leaves_by_owner(&self, local: IpAddr, remote: IpAddr) -> bool {
                wire(local) == 1 || wire(remote) == 1
            }
            fn preferred_source(&self, _: SocketAddr) -> Option<IpAddr> {
                None
            }
        }
        let nics = [interface(2, &["10.77.1.1"]), interface(3, &["10.77.2.1"])];
        let found = select(&nics, &remotes(&["10.77.1.2:1", "10.77.2.2:1"]), &Odd, &[]).unwrap();
        assert_eq!(shown(&found.active), ["10.77.1.1=10.77.2.2", "10.77.2.1=10.77.1.2"]);
        assert_eq!(shown(&found.standby), ["10.77.1.1=10.77.1.2"]);
    }

    #[test]
    fn at_most_sixteen() {
        let nics: Vec<Interface> = (1..=20).map(|i| interface(i, &[&format!("10.77.{i}.1")])).collect();
        let far: Vec<String> = (1..=20).map(|i| format!("10.77.{i}.2:1")).collect();
        let far: Vec<&str> = far.iter().map(String::as_str).collect();
        let found = pairs(&nics, &far, &[]).unwrap();
        assert_eq!((found.active.len(), found.standby.len()), (PATHS_MAX, 4));
    }

    #[test]
    fn choices() {
        let all = pairs(&lab(), &BOTH, &["10.77.1.1", "fd77:2::1=fd77:2::2"]).unwrap();
        assert_eq!(shown(&all.active), ["10.77.1.1=10.77.1.2", "fd77:2::1=fd77:2::2"]);
        assert!(all.standby.is_empty());
        let crossed = pairs(&lab(), &BOTH, &["10.77.1.1=10.77.2.2"]).unwrap();
        assert_eq!(shown(&crossed.active), ["10.77.1.1=10.77.2.2"]);
        let loopback = pairs(&lab(), &["127.0.0.1:1", "10.77.1.2:1"], &["127.0.0.2"]).unwrap();
        assert_eq!(shown(&loopback.active), ["127.0.0.2=127.0.0.1"]);
        assert_eq!(pairs(&lab(), &BOTH, &["10.9.9.9"]).unwrap_err().class, Class::Usage);
        assert_eq!(pairs(&lab(), &BOTH, &["10.77.1.1=10.9.9.9"]).unwrap_err().class, Class::Usage);
        assert_eq!(pairs(&lab(), &["[fd77:1::2]:1"], &["10.77.1.1"]).unwrap_err().class, Class::Temporary);
        assert!(PathChoice::parse("[fd77:1::1]=fd77:1::2").is_ok());
        for wrong in ["", "x", "10.0.0.1=", "10.0.0.1=::1", "10.0.0.1:5"] {
            assert_eq!(PathChoice::parse(wrong).unwrap_err().class, Class::Usage, "{wrong}");
        }
    }

    #[test]
    fn the_kernel_decides_where_no_interface_owns_the_way() {
        let found = pairs(&lab(), &["10.88.9.2:1"], &[]).unwrap();
        assert_eq!(shown(&found.active), ["10.77.1.1=10.88.9.2"]);
        let error = pairs(&lab(), &["10.88.8.2:1"], &[]).unwrap_err();
        assert_eq!(error.class, Class::Temporary);
        assert!(error.to_string().contains("10.88.8.2:1"), "{error}");
    }
}
