//! The tcx programs that count the paths of this node, on each interface that its data comes by. Without the right to load them there is
//! one line in the log that says why, and no figures.

use crate::limits::{NETWORK_IDLE, NETWORK_SWEEP};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use xfer_ebpf::{EbpfError, Watched, watch};
use xfer_engine::io::route::Interface;

/// What watches the interfaces.
#[derive(Default)]
pub(crate) struct Network {
    watched: Vec<Watched>,
}

impl Network {
    /// Watches the interfaces that have one of `data`, a wildcard standing for all that are up, but loopback.
    pub(crate) fn start(data: &[SocketAddr]) -> Network {
        let ports: BTreeSet<u16> = data.iter().map(SocketAddr::port).collect();
        let ports: Vec<u16> = ports.into_iter().collect();
        let interfaces = match xfer_engine::io::route::interfaces() {
            Ok(interfaces) => interfaces,
            Err(error) => {
                tracing::warn!(%error, "the network is not watched");
                return Network::default();
            }
        };
        let mut network = Network::default();
        for name in carrying(&interfaces, data) {
            match watch(name, &ports) {
                Ok(watched) => network.watched.push(watched),
                // The others would lack the same right.
                Err(error @ EbpfError::NoRight { .. }) => {
                    tracing::warn!(%error, "the network is not watched");
                    return network;
                }
                Err(error) => tracing::warn!(%error, "an interface is not watched"),
            }
        }
        let names: Vec<&str> = network.watched.iter().map(Watched::interface).collect();
        tracing::info!(interfaces = ?names, "the network is watched");
        network
    }

    /// What watches each interface.
    pub(crate) fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// Makes room for new paths now and then, until the runtime ends.
    pub(crate) async fn sweep(network: Arc<Network>) {
        loop {
            tokio::time::sleep(NETWORK_SWEEP).await;
            for watched in network.watched() {
                if let Err(error) = watched.sweep(NETWORK_IDLE) {
                    tracing::debug!(%error, "idle paths stay");
                }
            }
        }
    }
}

/// The interfaces that have one of the addresses.
fn carrying<'a>(interfaces: &'a [Interface], data: &[SocketAddr]) -> Vec<&'a str> {
    let any = data.iter().any(|address| address.ip().is_unspecified());
    let has = |interface: &&Interface| {
        let named = interface.addresses.iter().any(|ip| data.iter().any(|address| address.ip() == *ip));
        interface.up && (named || any && !interface.loopback)
    };
    interfaces.iter().filter(has).map(|interface| interface.name.as_str()).collect()
}
