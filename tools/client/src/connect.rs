//! Reaches a node: its addresses are tried IPv6 first, each a moment after the one before (RFC 8305), the first that
//! answers by TLS with the right certificate wins.

use crate::limits::{CONNECT_STAGGER, LINK_ADDRESSES_MAX};
use crate::link::{HostPort, Link};
use crate::tls;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use xfer_engine::{Class, Error};

/// A connection to a node that showed the right certificate.
pub(crate) struct Connected {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) remote: SocketAddr,
    /// How long the address took to answer.
    pub(crate) rtt: Duration,
}

/// Connects to the node within `patience`.
///
/// # Errors
/// `Denied` when an address answers with another certificate and none with the right one; `Temporary` when none answers, naming each.
pub(crate) async fn connect(link: &Link, patience: Duration) -> Result<Connected, Error> {
    let deadline = Instant::now() + patience;
    let tls = tls::config(link.fingerprint)?;
    let mut failures = Failures::default();
    let addresses = match timeout_at(deadline, resolve(&link.addresses, &mut failures)).await {
        Ok(addresses) => addresses,
        Err(_) => return Err(unreachable(failures, "its name is not resolved in time")),
    };
    let mut attempts = JoinSet::new();
    for (i, address) in addresses.into_iter().enumerate() {
        let start = Instant::now() + CONNECT_STAGGER * u32::try_from(i).unwrap_or(u32::MAX);
        let tls = tls.clone();
        attempts.spawn(async move {
            tokio::time::sleep_until(start).await;
            attempt(address, tls).await.map_err(|e| (address, e))
        });
    }
    loop {
        match timeout_at(deadline, attempts.join_next()).await {
            Ok(Some(Ok(Ok(connected)))) => return Ok(connected),
            Ok(Some(Ok(Err((address, e))))) => failures.add(address, &e),
            Ok(Some(Err(lost))) => return Err(Error::new(Class::Other, "connect").because(lost)),
            Ok(None) => return Err(unreachable(failures, "it has no address")),
            Err(_) => {
                return Err(unreachable(failures, &format!("no answer within {} s", patience.as_secs_f64())));
            }
        }
    }
}

async fn attempt(address: SocketAddr, tls: Arc<ClientConfig>) -> std::io::Result<Connected> {
    let asked = Instant::now();
    let stream = TcpStream::connect(address).await?;
    let rtt = asked.elapsed();
    stream.set_nodelay(true)?;
    let name = ServerName::from(address.ip());
    let stream = TlsConnector::from(tls).connect(name, stream).await?;
    Ok(Connected { stream, remote: address, rtt })
}

/// All addresses, IPv6 first, otherwise as the link has them, at most [`LINK_ADDRESSES_MAX`].
async fn resolve(hosts: &[HostPort], failures: &mut Failures) -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for HostPort { host, port } in hosts {
        if let Ok(ip) = host.parse::<IpAddr>() {
            found.push(SocketAddr::new(ip, *port));
            continue;
        }
        match tokio::net::lookup_host((host.as_str(), *port)).await {
            Ok(addresses) => found.extend(addresses),
            Err(e) => failures.texts.push(format!("{host}: {e}")),
        }
    }
    found.sort_by_key(SocketAddr::is_ipv4);
    found.dedup();
    found.truncate(LINK_ADDRESSES_MAX);
    found
}

/// Why addresses did not answer.
#[derive(Default)]
struct Failures {
    texts: Vec<String>,
    wrong_fingerprint: Option<SocketAddr>,
}

impl Failures {
    fn add(&mut self, address: SocketAddr, error: &std::io::Error) {
        if tls::is_wrong_fingerprint(error) {
            self.wrong_fingerprint = Some(address);
        }
        self.texts.push(format!("{address}: {error}"));
    }
}

fn unreachable(failures: Failures, why: &str) -> Error {
    if let Some(address) = failures.wrong_fingerprint {
        return Error::new(Class::Denied, format!("the node at {address} is not the one of the link"))
            .because("its certificate has another fingerprint")
            .because("take the link that the node prints now, if you trust the way it comes");
    }
    let mut error = Error::new(Class::Temporary, "cannot reach the node");
    if failures.texts.is_empty() {
        error = error.because(why);
    }
    failures.texts.into_iter().fold(error, Error::because)
}
