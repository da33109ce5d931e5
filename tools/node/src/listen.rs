//! Control connections: listening sockets, TLS handshakes bounded in time and number, the token on every call.

use crate::identity::Identity;
use crate::limits::{ACCEPT_PAUSE, BACKLOG, CONNECTIONS_MAX, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX};
use crate::{address, status};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tonic::{Request, Status};
use xfer_engine::{Class, Error};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A stream whose handshake succeeded; it counts as one of [`CONNECTIONS_MAX`].
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    _slot: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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

/// Accepts for ever; connections whose handshake succeeded go to `ready`.
pub(crate) async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(pending) = handshakes.clone().acquire_owned().await {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = Peer(address::plain(peer));
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            tracing::warn!(peer = %peer.0, "too many control connections; this one is closed");
            continue;
        };
        let (tls, ready) = (tls.clone(), ready.clone());
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(tls, stream)).await;
            drop(pending);
            match shaken {
                Ok(Ok(stream)) => {
                    // The server that would take it is gone only when the node stops.
                    if ready.send(Ok(Connection { stream, peer, _slot: slot })).await.is_err() {
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

/// Checks the token of each call, in constant time.
#[derive(Clone)]
pub(crate) struct TokenCheck {
    header: Arc<[u8]>,
}

impl TokenCheck {
    pub(crate) fn new(token: &[u8; 32]) -> Self {
        let header = format!("Bearer {}", URL_SAFE_NO_PAD.encode(token));
        TokenCheck { header: header.into_bytes().into() }
    }

    fn admits(&self, given: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.header, given).is_ok()
    }
}

impl tonic::service::Interceptor for TokenCheck {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let given = request.metadata().get("authorization").map(|value| value.as_bytes());
        if given.is_some_and(|given| self.admits(given)) {
            return Ok(request);
        }
        let mut error = Error::new(Class::Denied, "the node does not know the token");
        if let Some(peer) = request.extensions().get::<Peer>() {
            tracing::warn!(peer = %peer.0, "a call without the node's token is refused");
        }
        error = error.because("take the link that the node prints now");
        let told = status::of(&error);
        Err(Status::with_details(
            tonic::Code::Unauthenticated,
            told.message(),
            told.details().to_vec().into(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_header_is_admitted() {
        let check = TokenCheck::new(&[7; 32]);
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
