//! Which backend moves packets: what the user wants, and what comes of it.
//!
//! AF_XDP is worth its attaching where kernel UDP has no trains: on interfaces that do not segment, or whose driver takes frames without
//! copying them. On others trains carry several times what single frames do (benches/RESULTS.md).

use std::net::IpAddr;
use xfer_engine::io::route::{self, Interface, Offloads};
use xfer_engine::{Backend, XdpMode, XdpOptions};

/// Drivers that never use a socket's memory themselves, so that each packet is copied.
const COPYING: [&str; 7] = ["veth", "virtio_net", "tun", "bridge", "dummy", "bonding", "ena"];

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The best that there is, of those that are allowed.
    #[default]
    Auto,
    /// Kernel UDP.
    Udp,
    /// AF_XDP, or an error.
    Xdp,
}

/// How bytes shall move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendChoice {
    /// What is wanted.
    pub wanted: Wanted,
    /// Interfaces for AF_XDP; empty: those of the addresses in use.
    pub interfaces: Vec<String>,
    /// Where the XDP program runs.
    pub mode: XdpMode,
    /// Kernel UDP gets the XDP program before it, as a filter; not where `Auto` compares.
    pub filter: bool,
    /// `Auto` may use AF_XDP: attaching its program changes what an interface does for all others.
    pub allow_xdp: bool,
}

impl Default for BackendChoice {
    fn default() -> Self {
        BackendChoice {
            wanted: Wanted::Auto,
            interfaces: Vec::new(),
            mode: XdpMode::Native,
            filter: false,
            allow_xdp: false,
        }
    }
}

/// What was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What the engine is told.
    pub backend: Backend,
    /// What was weighed, where something was.
    pub why: Option<String>,
}

impl BackendChoice {
    /// Chooses for packets from and to the addresses `locals` of this host; the wildcard stands for all.
    pub fn choose(&self, locals: &[IpAddr]) -> Chosen {
        let told = |backend| Chosen { backend, why: None };
        let xdp = |interfaces| Backend::Xdp(XdpOptions { interfaces, mode: self.mode });
        match self.wanted {
            Wanted::Xdp => told(xdp(self.interfaces.clone())),
            Wanted::Auto if self.allow_xdp => self.compare(locals),
            Wanted::Udp | Wanted::Auto if self.filter => {
                told(Backend::Filtered(XdpOptions { interfaces: self.interfaces.clone(), mode: self.mode }))
            }
            Wanted::Udp | Wanted::Auto => told(Backend::Udp),
        }
    }

    /// AF_XDP on the interfaces that gain by it.
    fn compare(&self, locals: &[IpAddr]) -> Chosen {
        let all = route::interfaces().unwrap_or_default();
        let mut gaining = Vec::new();
        let mut whys = Vec::new();
        for interface in all.iter().filter(|interface| self.concerns(interface, locals)) {
            let offloads = route::offloads(&interface.name).unwrap_or_default();
            let (gains, why) = gains(&offloads);
            whys.push(format!("{}: {why}", interface.name));
            if gains {
                gaining.push(interface.name.clone());
            }
        }
        let why = if whys.is_empty() { "no interface for it".to_owned() } else { whys.join("; ") };
        let why = Some(why);
        if gaining.is_empty() {
            return Chosen { backend: Backend::Udp, why };
        }
        Chosen { backend: Backend::Xdp(XdpOptions { interfaces: gaining, mode: self.mode }), why }
    }

    fn concerns(&self, interface: &Interface, locals: &[IpAddr]) -> bool {
        if interface.loopback || !interface.up {
            return false;
        }
        if !self.interfaces.is_empty() {
            return self.interfaces.contains(&interface.name);
        }
        locals.iter().any(|local| local.is_unspecified() || interface.addresses.contains(local))
    }
}

/// Whether an interface gains by AF_XDP, and why.
fn gains(offloads: &Offloads) -> (bool, &'static str) {
    let copies = offloads.driver.is_empty() || COPYING.contains(&offloads.driver.as_str());
    match (offloads.gso, copies) {
        (false, _) => (true, "it does not segment, so kernel UDP has no trains"),
        (true, false) => (true, "its driver may take frames without copying them"),
        (true, true) => (false, "kernel UDP has trains there, and AF_XDP would copy each packet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(wanted: Wanted, allow_xdp: bool) -> BackendChoice {
        BackendChoice { wanted, allow_xdp, ..BackendChoice::default() }
    }

    #[test]
    fn only_who_asks_or_allows_gets_it() {
        let locals = ["127.0.0.1".parse().unwrap()];
        assert_eq!(choice(Wanted::Auto, false).choose(&locals).backend, Backend::Udp);
        assert_eq!(choice(Wanted::Udp, true).choose(&locals).backend, Backend::Udp);
        let xdp = XdpOptions { interfaces: Vec::new(), mode: XdpMode::Native };
        let filtered = BackendChoice { filter: true, ..choice(Wanted::Udp, false) };
        assert_eq!(filtered.choose(&[]).backend, Backend::Filtered(xdp.clone()));
        assert_eq!(choice(Wanted::Xdp, false).choose(&locals).backend, Backend::Xdp(xdp));
    }

    #[test]
    fn loopback_is_never_one_that_gains() {
        let chosen = choice(Wanted::Auto, true).choose(&["127.0.0.1".parse().unwrap()]);
        assert_eq!(chosen, Chosen { backend: Backend::Udp, why: Some("no interface for it".to_owned()) });
    }

    #[test]
    fn trains_win_where_frames_are_copied() {
        let nic =
            |driver: &str, gso| gains(&Offloads { driver: driver.to_owned(), gso, ..Offloads::default() }).0;
        assert_eq!([nic("veth", true), nic("veth", false)], [false, true]);
        assert_eq!([nic("i40e", true), nic("i40e", false), nic("", true)], [true, true, false]);
    }
}
