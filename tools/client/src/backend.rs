//! Which backend moves a copy's packets: what the user wants, and what comes of it.

use xfer_engine::{Backend, XdpMode, XdpOptions};

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
    /// `Auto` may use AF_XDP: attaching its program changes what an interface does for all others.
    pub allow_xdp: bool,
}

impl Default for BackendChoice {
    fn default() -> Self {
        BackendChoice {
            wanted: Wanted::Auto,
            interfaces: Vec::new(),
            mode: XdpMode::Native,
            allow_xdp: false,
        }
    }
}

impl BackendChoice {
    /// What the engine is told. Without a measurement of the interfaces at hand `Auto` is kernel UDP, also where AF_XDP is allowed.
    pub fn decide(&self) -> Backend {
        match self.wanted {
            Wanted::Xdp => Backend::Xdp(XdpOptions { interfaces: self.interfaces.clone(), mode: self.mode }),
            Wanted::Auto | Wanted::Udp => Backend::Udp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asks_for_xdp_gets_it() {
        let choice = |wanted| BackendChoice { wanted, ..BackendChoice::default() }.decide();
        assert_eq!((choice(Wanted::Auto), choice(Wanted::Udp)), (Backend::Udp, Backend::Udp));
        let xdp = XdpOptions { interfaces: Vec::new(), mode: XdpMode::Native };
        assert_eq!(choice(Wanted::Xdp), Backend::Xdp(xdp));
    }
}
