//! The flow over s2n-quic: segmentation offload both ways (its default), AES-128-GCM (its first choice), packets of the wire's size from the start.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use s2n_quic::client::Connect;
use s2n_quic::connection::Connection;
use s2n_quic::provider::congestion_controller::{Bbr, Cubic};
use s2n_quic::provider::io::tokio::Provider as Io;
use s2n_quic::provider::limits::Limits;
use s2n_quic::{Client, Server};

use crate::meter::{PIECES, Report, Sink, Source};
use crate::{Control, Outcome, SERVER_NAME, SOCKET_BYTES, Shared, WINDOW_BYTES, credentials};

/// Takes one connection after another.
pub(crate) async fn serve(shared: &Shared) -> Outcome {
    let made = credentials::make(&shared.certificate)?;
    let tls = (made.certificate.as_str(), made.key.as_str());
    let builder = Server::builder().with_tls(tls)?.with_io(io(shared.address, shared.mtu)?)?;
    let builder = builder.with_limits(limits()?)?;
    let mut server = match shared.control {
        Control::Cubic => builder.with_congestion_controller(Cubic::default())?.start()?,
        Control::Bbr => builder.with_congestion_controller(Bbr::default())?.start()?,
    };
    println!("ready");
    while let Some(connection) = server.accept().await {
        if let Err(error) = take(connection).await {
            eprintln!("quic-flow: {error}");
        }
    }
    Ok(())
}

/// Counts one stream to its end and answers with what it saw.
async fn take(mut connection: Connection) -> Outcome {
    let stream = connection.accept_bidirectional_stream().await?;
    let (mut stream, mut answer) = stream.ok_or("the client opened no stream")?.split();
    let mut pieces: [Bytes; 4 * PIECES] = std::array::from_fn(|_| Bytes::new());
    let mut sink = Sink::default();
    loop {
        let (count, is_open) = stream.receive_vectored(&mut pieces).await?;
        if count > 0 {
            // It wants its places back empty.
            sink.take(pieces[..count].iter_mut().map(|piece| std::mem::take(piece).len()).sum());
        }
        if !is_open {
            break;
        }
    }
    answer.send(Bytes::copy_from_slice(&sink.report().encode())).await?;
    // Returns once the client has it all.
    answer.close().await?;
    Ok(())
}

/// Sends for `length`.
pub(crate) async fn send(shared: &Shared, length: Duration) -> Outcome<Report> {
    let certificate = credentials::read(&shared.certificate)?;
    let address = (Ipv4Addr::UNSPECIFIED, 0).into();
    let builder = Client::builder().with_tls(certificate.as_str())?.with_io(io(address, shared.mtu)?)?;
    let builder = builder.with_limits(limits()?)?;
    let client = match shared.control {
        Control::Cubic => builder.with_congestion_controller(Cubic::default())?.start()?,
        Control::Bbr => builder.with_congestion_controller(Bbr::default())?.start()?,
    };
    let mut connection = client.connect(Connect::new(shared.address).with_server_name(SERVER_NAME)).await?;
    let (mut answer, mut stream) = connection.open_bidirectional_stream().await?.split();
    let source = Source::lasting(length);
    while let Some(mut pieces) = source.pieces() {
        stream.send_vectored(&mut pieces).await?;
    }
    stream.finish()?;
    let mut text = Vec::new();
    while let Some(piece) = answer.receive().await? {
        text.extend_from_slice(&piece);
    }
    Report::decode(&text).ok_or_else(|| "the receiver's answer is no report".into())
}

fn io(address: SocketAddr, mtu: u16) -> Outcome<Io> {
    let builder = Io::builder().with_receive_address(address)?;
    let builder = builder.with_max_mtu(mtu)?.with_initial_mtu(mtu)?.with_base_mtu(mtu)?;
    let builder = builder.with_send_buffer_size(SOCKET_BYTES)?.with_recv_buffer_size(SOCKET_BYTES)?;
    Ok(builder.build()?)
}

fn limits() -> Outcome<Limits> {
    let window = u64::from(WINDOW_BYTES);
    let limits = Limits::new().with_data_window(window)?.with_max_send_buffer_size(WINDOW_BYTES)?;
    let limits = limits.with_bidirectional_local_data_window(window)?;
    Ok(limits.with_bidirectional_remote_data_window(window)?)
}
