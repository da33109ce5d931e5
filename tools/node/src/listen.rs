//! Control connections: listening sockets, TLS handshakes bounded in time and number, the token on every call. Who may stay without it, and
//! how long, is `gate`'s to say.

use crate::calls;
use crate::clients::{Clients, Excess};
use crate::gate::{Gate, Guest, Verdict};
use crate::identity::Identity;
use crate::limits::{
    ACCEPT_PAUSE, BACKLOG, HANDSHAKE_TIMEOUT, STRANGER_LIFE, STRANGER_LINES_EVERY, STRANGER_LINES_MAX,
};
use crate::{address, status};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tonic::{Request, Status};
use xfer_engine::{Class, Error, Sparing};

static REFUSALS: Sparing = Sparing::new(STRANGER_LINES_MAX, STRANGER_LINES_EVERY);
static DEAF: Sparing = Sparing::new(STRANGER_LINES_MAX, STRANGER_LINES_EVERY);
static CROWDS: Sparing = Sparing::new(STRANGER_LINES_MAX, STRANGER_LINES_EVERY);

/// Who is at the other end of a connection, and what it proved.
#[derive(Clone)]
pub(crate) struct Peer(pub(crate) SocketAddr, Arc<Guest>);

impl Peer {
    /// Who a request comes from.
    pub(crate) fn of<T>(request: &Request<T>) -> SocketAddr {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        peer.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }
}

/// A stream whose handshake succeeded.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    /// `None` once the peer proved itself.
    watch: Option<Watch>,
}

/// What ends a stranger's connection.
struct Watch {
    verdict: Verdict,
    deadline: Pin<Box<Sleep>>,
}

impl Connection {
    /// Whether the connection has to end, because its peer proved nothing.
    fn is_dismissed(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(watch) = &mut self.watch else { return false };
        match Pin::new(&mut watch.verdict).poll(cx) {
            Poll::Ready(Ok(())) => {
                self.watch = None;
                false
            }
            Poll::Ready(Err(_)) => true,
            Poll::Pending => watch.deadline.as_mut().poll(cx).is_ready(),
        }
    }
}

fn dismissed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "its peer showed no token in time")
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_dismissed(cx) {
            return Poll::Ready(Err(dismissed()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_dismissed(cx) {
            return Poll::Ready(Err(dismissed()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Binds a TCP address; an IPv6 wildcard takes IPv4 too.
///
/// # Errors
/// `Fatal` when it is in use, `Denied` when it is not allowed; names the address.
pub(crate) fn bind(address: SocketAddr) -> Result<StdListener, Error> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(StdListener::from(socket))
    };
    open().map_err(|e: io::Error| {
        let class = match e.raw_os_error().map(Class::of_errno) {
            Some(class @ (Class::Fatal | Class::Denied)) => class,
            _ => Class::Fatal,
        };
        let mut error = Error::new(class, format!("listen on TCP {address}"));
        error.errno = e.raw_os_error();
        error.because(e)
    })
}

/// TLS 1.3 with the node's certificate.
///
/// # Errors
/// `Other` when the identity does not fit itself.
pub(crate) fn tls(identity: &Identity) -> Result<TlsAcceptor, Error> {
    let broken =
        |e: rustls::Error| Error::new(Class::Other, "the node's identity is no TLS identity").because(e);
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(broken)?
        .with_no_client_auth()
        .with_single_cert(identity.chain(), identity.key())
        .map_err(broken)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts for ever, by a gate that all listeners of a node share; connections whose handshake succeeded go to `ready`.
pub(crate) async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    gate: Arc<Gate>,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(others) = DEAF.admit(Instant::now()) {
                    tracing::warn!(%error, others, "cannot accept a control connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = address::plain(peer);
        let (guest, mut verdict) = gate.enter(peer.ip());
        let peer = Peer(peer, Arc::new(guest));
        let (tls, ready) = (tls.clone(), ready.clone());
        tokio::spawn(async move {
            let deadline = Box::pin(sleep(STRANGER_LIFE));
            let shaken = tokio::select! {
                shaken = timeout(HANDSHAKE_TIMEOUT, handshake(tls, stream)) => shaken,
                _ = &mut verdict => {
                    return tracing::debug!(peer = %peer.0, "its TLS handshake made room for another");
                }
            };
            match shaken {
                Ok(Ok(stream)) => {
                    let watch = Some(Watch { verdict, deadline });
                    // The server that would take it is gone only when the node stops.
                    if ready.send(Ok(Connection { stream, peer: peer.clone(), watch })).await.is_err() {
                        tracing::debug!(peer = %peer.0, "the node stops; a new connection is closed");
                    }
                }
                Ok(Err(error)) => tracing::debug!(peer = %peer.0, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(peer = %peer.0, "TLS handshake took too long"),
            }
        });
    }
}

async fn handshake(tls: TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    tls.accept(stream).await
}

/// Checks the token of each call, in constant time, and gives those that have it a place.
#[derive(Clone)]
pub(crate) struct TokenCheck {
    header: Arc<[u8]>,
    clients: Arc<Clients>,
}

impl TokenCheck {
    pub(crate) fn new(token: &[u8; 32], clients: Arc<Clients>) -> Self {
        let header = format!("Bearer {}", URL_SAFE_NO_PAD.encode(token));
        TokenCheck { header: header.into_bytes().into(), clients }
    }

    fn admits(&self, given: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.header, given).is_ok()
    }
}

impl tonic::service::Interceptor for TokenCheck {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let given = request.metadata().get("authorization").map(|value| value.as_bytes());
        let peer = request.extensions().get::<Peer>().cloned();
        if given.is_some_and(|given| self.admits(given)) {
            if let Some(Peer(address, guest)) = peer {
                let placed = guest.prove().and_then(|()| self.clients.call(address.ip(), Instant::now()));
                request.extensions_mut().insert(placed.map_err(|excess| crowded(address, excess))?);
            }
            return Ok(request);
        }
        if let Some(Peer(address, guest)) = peer
            && guest.refuse()
            && let Some(others) = REFUSALS.admit(Instant::now())
        {
            tracing::warn!(peer = %address, others, "a call without the node's token is refused");
        }
        let error = Error::new(Class::Denied, "the node does not know the token")
            .because("take the link that the node prints now");
        let told = status::of(&error);
        Err(Status::with_details(
            tonic::Code::Unauthenticated,
            told.message(),
            told.details().to_vec().into(),
        ))
    }
}

/// The token is right, but there is no place for the call.
fn crowded(peer: SocketAddr, excess: Excess) -> Status {
    if let Some(others) = CROWDS.admit(Instant::now()) {
        let bound = excess.error().message;
        tracing::warn!(%peer, bound, others, "a bound is met; calls beyond it are refused");
    }
    calls::refused(excess)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Caps;

    #[test]
    fn only_the_exact_header_is_admitted() {
        let check = TokenCheck::new(&[7; 32], Clients::new(Caps::default()));
        let right = format!("Bearer {}", URL_SAFE_NO_PAD.encode([7; 32]));
        assert!(check.admits(right.as_bytes()));
        for wrong in ["", "Bearer ", &right[..right.len() - 1], &format!("{right} "), &right.to_lowercase()] {
            assert!(!check.admits(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_port_in_use_is_fatal_and_named() {
        let held = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = held.local_addr().unwrap();
        let error = bind(address).unwrap_err();
        assert_eq!(error.class, Class::Fatal);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
