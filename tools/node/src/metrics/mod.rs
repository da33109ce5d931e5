//! What a node tells of itself: workers, queues, transfers, paths, and what eBPF sees of its network. Gathered anew for each scrape;
//! nothing is kept for it on the way of the data.

mod gather;
mod network;
mod page;
mod serve;

pub(crate) use network::Network;

use crate::listen;
use crate::tickets::Shared;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use xfer_engine::{Class, Error};

/// The endpoint's address, port filled in, once it listens. Within the node's runtime.
///
/// # Errors
/// `Fatal` when the address is in use.
pub(crate) fn start(
    address: SocketAddr,
    shared: Arc<Shared>,
    network: Arc<Network>,
) -> Result<SocketAddr, Error> {
    let listener = listen::bind(address)?;
    let failed = |e| Error::new(Class::Fatal, "watch the socket of the metrics").because(e);
    let address = listener.local_addr().map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    let source = Arc::new(move || gather::page(&shared, &network));
    tokio::spawn(serve::serve(listener, source));
    Ok(address)
}
