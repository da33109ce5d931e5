//! A client of the control port that keeps no rule by itself, and a node that only seems to be one: TLS that believes any certificate, and
//! HTTP/2 frames written by hand (RFC 9113, RFC 7541).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
    SignatureScheme, StreamOwned,
};
use xfer_lab::Host;

/// Frame types.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
/// Flag of SETTINGS.
pub(crate) const ACK: u8 = 1;
/// Flags of HEADERS.
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const END_STREAM: u8 = 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A connection over which TLS stands.
pub(crate) struct Web {
    stream: StreamOwned<ClientConnection, TcpStream>,
    arrived: Vec<u8>,
}

/// A frame of the node.
pub(crate) struct WebFrame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
}

/// A TCP connection to the control port.
pub(crate) fn tcp(host: &Host, node: SocketAddr) -> io::Result<TcpStream> {
    let stream = host.enter(|| TcpStream::connect_timeout(&node, Duration::from_secs(2))).unwrap()?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    Ok(stream)
}

impl Web {
    /// Connects and ends the TLS handshake.
    pub(crate) fn connect(host: &Host, node: SocketAddr) -> io::Result<Web> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::from(node.ip());
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut web = Web { stream: StreamOwned::new(connection, tcp(host, node)?), arrived: Vec::new() };
        while web.stream.conn.is_handshaking() {
            web.stream.conn.complete_io(&mut web.stream.sock)?;
        }
        Ok(web)
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// What an HTTP/2 client says first.
    pub(crate) fn greet(&mut self) -> io::Result<()> {
        self.write(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())
    }

    /// The next frame, if one comes before `deadline`; an error when the connection has ended.
    pub(crate) fn read(&mut self, deadline: Instant) -> io::Result<Option<WebFrame>> {
        loop {
            if let Some(&[a, b, c, kind, _, s0, s1, s2, s3]) = self.arrived.first_chunk() {
                let len = u32::from_be_bytes([0, a, b, c]) as usize;
                if self.arrived.len() >= 9 + len {
                    self.arrived.drain(..9 + len);
                    return Ok(Some(WebFrame { kind, stream: u32::from_be_bytes([s0, s1, s2, s3]) }));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.sock.set_read_timeout(Some(left))?;
            let mut buffer = [0; 16_384];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.arrived.extend_from_slice(&buffer[..len]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All frames until the connection ends or it is `deadline`; whether it ended.
    pub(crate) fn drain(&mut self, deadline: Instant, mut each: impl FnMut(WebFrame)) -> bool {
        loop {
            match self.read(deadline) {
                Ok(Some(frame)) => each(frame),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }
}

/// An HTTP/2 frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The headers of a gRPC call, in literals of the static table.
pub(crate) fn call(path: &str, token: Option<&str>) -> Vec<u8> {
    // :method POST, :scheme https
    let mut block = vec![0x83, 0x87];
    let mut literal = |index: &[u8], value: &str| {
        block.extend_from_slice(index);
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    };
    // :path, :authority, content-type, te, authorization
    literal(&[0x04], path);
    literal(&[0x01], "node");
    literal(&[0x0f, 0x10], "application/grpc");
    literal(&[0x00, 0x02, b't', b'e'], "trailers");
    if let Some(token) = token {
        literal(&[0x0f, 0x08], token);
    }
    block
}

/// What a fake node says after TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// Its answer to the first call.
    Answer,
    /// Something that is no HTTP/2.
    Noise,
}

/// A node that is none.
pub(crate) struct Impostor {
    config: Arc<ServerConfig>,
    certificate: Vec<u8>,
}

impl Impostor {
    /// With a certificate of its own.
    pub(crate) fn new() -> Impostor {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["xfer".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap().der().to_vec();
        let chain = vec![CertificateDer::from(certificate.clone())];
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Impostor { config: Arc::new(config), certificate }
    }

    /// SHA-256 of its certificate.
    pub(crate) fn fingerprint(&self) -> Vec<u8> {
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.certificate).as_ref().to_vec()
    }

    /// Serves one client until it leaves.
    pub(crate) fn serve(&self, listener: &TcpListener, answer: &impl prost::Message, spoken: Spoken) {
        let (tcp, _) = listener.accept().unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(self.config.clone()).unwrap(), tcp);
        if spoken == Spoken::Noise {
            let noise = stream.write_all(&[0xaa; 1_000]).and_then(|()| stream.flush());
            // It may have left already.
            drop((noise, stream.read(&mut [0; 64])));
            return;
        }
        let mut arrived = Vec::new();
        let mut buffer = [0; 16_384];
        let mut asked = None;
        let mut greeted = false;
        while let Ok(len @ 1..) = stream.read(&mut buffer) {
            arrived.extend_from_slice(&buffer[..len]);
            if !greeted && arrived.len() >= PREFACE.len() {
                arrived.drain(..PREFACE.len());
                greeted = true;
                stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
            }
            while greeted && let Some(&[a, b, c, kind, flags, s0, s1, s2, s3]) = arrived.first_chunk() {
                let len = u32::from_be_bytes([0, a, b, c]) as usize;
                if arrived.len() < 9 + len {
                    break;
                }
                arrived.drain(..9 + len);
                if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 && asked.is_none() {
                    let id = u32::from_be_bytes([s0, s1, s2, s3]);
                    asked = Some(id);
                    stream.write_all(&answered(id, &answer.encode_to_vec())).unwrap();
                }
            }
            stream.flush().unwrap();
        }
    }
}

/// The frames of a call's answer.
fn answered(stream: u32, message: &[u8]) -> Vec<u8> {
    let head = [&[0x88, 0x0f, 0x10, 16][..], b"application/grpc"].concat();
    let body = [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat();
    let trailers = [&[0, 11][..], b"grpc-status", &[1], b"0"].concat();
    [
        frame(SETTINGS, 1, 0, &[]),
        frame(HEADERS, END_HEADERS, stream, &head),
        frame(DATA, 0, stream, &body),
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers),
    ]
    .concat()
}
