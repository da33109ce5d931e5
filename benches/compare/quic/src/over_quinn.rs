//! The flow over quinn: segmentation offload both ways (its default), AES-128-GCM, packets of the wire's size from the start.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, version};
use socket2::{Domain, Protocol, Socket, Type};

use crate::meter::{PIECES, Report, Sink, Source};
use crate::{Control, Outcome, SERVER_NAME, SOCKET_BYTES, Shared, WINDOW_BYTES, credentials};

/// Of a UDP datagram over IPv4.
const HEADER_BYTES: u16 = 20 + 8;

/// Takes one connection after another.
pub(crate) async fn serve(shared: &Shared) -> Outcome {
    let made = credentials::make(&shared.certificate)?;
    let chain = vec![CertificateDer::from_pem_slice(made.certificate.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes())?;
    let tls =
        rustls::ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&version::TLS13])?;
    let tls = tls.with_no_client_auth().with_single_cert(chain, key)?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(transport(shared));
    let endpoint = endpoint(shared.address, shared.mtu, Some(config))?;
    println!("ready");
    while let Some(incoming) = endpoint.accept().await {
        if let Err(error) = take(&incoming.await?).await {
            eprintln!("quic-flow: {error}");
        }
    }
    Ok(())
}

/// Counts one stream to its end and answers with what it saw.
async fn take(connection: &Connection) -> Outcome {
    let (mut answer, mut stream) = connection.accept_bi().await?;
    let mut pieces: [Bytes; 4 * PIECES] = std::array::from_fn(|_| Bytes::new());
    let mut sink = Sink::default();
    while let Some(count) = stream.read_chunks(&mut pieces).await? {
        sink.take(pieces[..count].iter().map(Bytes::len).sum());
    }
    answer.write_all(&sink.report().encode()).await?;
    answer.finish()?;
    // The client closes once it has the answer.
    connection.closed().await;
    Ok(())
}

/// Sends for `length`.
pub(crate) async fn send(shared: &Shared, length: Duration) -> Outcome<Report> {
    let mut roots = RootCertStore::empty();
    let certificate = credentials::read(&shared.certificate)?;
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
    let tls =
        rustls::ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&version::TLS13])?;
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(transport(shared));
    let endpoint = endpoint((Ipv4Addr::UNSPECIFIED, 0).into(), shared.mtu, None)?;
    let connection = endpoint.connect_with(config, shared.address, SERVER_NAME)?.await?;
    let (mut stream, mut answer) = connection.open_bi().await?;
    let source = Source::lasting(length);
    while let Some(mut pieces) = source.pieces() {
        stream.write_all_chunks(&mut pieces).await?;
    }
    stream.finish()?;
    let text = answer.read_to_end(64).await?;
    connection.close(0_u32.into(), b"");
    endpoint.wait_idle().await;
    Report::decode(&text).ok_or_else(|| "the receiver's answer is no report".into())
}

/// AES-128-GCM alone, the fastest of the ciphers on processors that have it.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..default_provider() })
}

fn transport(shared: &Shared) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config.stream_receive_window(WINDOW_BYTES.into()).receive_window(WINDOW_BYTES.into());
    config.send_window(WINDOW_BYTES.into());
    let payload = shared.mtu - HEADER_BYTES;
    config.initial_mtu(payload).min_mtu(payload).mtu_discovery_config(None);
    match shared.control {
        Control::Cubic => config.congestion_controller_factory(Arc::new(CubicConfig::default())),
        Control::Bbr => config.congestion_controller_factory(Arc::new(BbrConfig::default())),
    };
    Arc::new(config)
}

fn endpoint(address: SocketAddr, mtu: u16, server: Option<ServerConfig>) -> Outcome<Endpoint> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BYTES)?;
    socket.bind(&address.into())?;
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(mtu - HEADER_BYTES)?;
    Ok(Endpoint::new(config, server, UdpSocket::from(socket), Arc::new(TokioRuntime))?)
}
