//! One stream from memory to memory over a QUIC library, for the comparison: what `xferctl bench` and iperf3 do, with quinn or s2n-quic.
//!
//! In: a library, a side, an address. Out: `serve` writes its certificate and a line when it can be reached; `send` writes
//! one line of JSON with the rate that the receiver saw. Each side is one thread. Deliberately absent: files, several streams.

mod credentials;
mod meter;
mod over_quinn;
mod over_s2n;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use meter::Report;

/// What fails says why; nothing here recovers.
type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Both crates' windows: above what a wire of 50 Gbit/s holds in a millisecond, within the caches' reach.
const WINDOW_BYTES: u32 = 8 << 20;
/// What the sockets ask the kernel for; it grants no more than its own limit.
const SOCKET_BYTES: usize = 4 << 20;
/// The certificate's and so the server's name.
const SERVER_NAME: &str = "b";

/// Sends memory to memory over a QUIC library
#[derive(Parser)]
struct Command {
    /// The library
    library: Library,
    #[command(subcommand)]
    side: Side,
}

#[derive(Clone, Copy, ValueEnum)]
enum Library {
    Quinn,
    S2nQuic,
}

#[derive(Subcommand)]
enum Side {
    /// Take streams and forget what comes, until it is ended
    Serve(Shared),
    /// Send one stream
    Send {
        #[command(flatten)]
        shared: Shared,
        /// How long
        #[arg(long, value_name = "N", default_value_t = 10)]
        seconds: u64,
    },
}

/// What both sides are told.
#[derive(Args)]
struct Shared {
    /// Where the server is
    address: SocketAddr,
    /// The server's certificate, PEM: `serve` writes it, `send` reads it
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// The wire's MTU
    #[arg(long, value_name = "BYTES", default_value_t = 1500)]
    mtu: u16,
    /// Congestion control
    #[arg(long, value_enum, default_value = "cubic")]
    control: Control,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Control {
    Cubic,
    Bbr,
}

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quic-flow: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let report = match (command.library, &command.side) {
            (Library::Quinn, Side::Serve(shared)) => return over_quinn::serve(shared).await,
            (Library::S2nQuic, Side::Serve(shared)) => return over_s2n::serve(shared).await,
            (Library::Quinn, Side::Send { shared, seconds }) => {
                over_quinn::send(shared, Duration::from_secs(*seconds)).await?
            }
            (Library::S2nQuic, Side::Send { shared, seconds }) => {
                over_s2n::send(shared, Duration::from_secs(*seconds)).await?
            }
        };
        tell(&report)
    })
}

/// One line, as `xferctl bench run --json` ends with.
fn tell(report: &Report) -> Outcome {
    let seconds = report.nanos as f64 / 1e9;
    if report.bytes == 0 || seconds <= 0.0 {
        return Err("nothing arrived".into());
    }
    let gbps = report.bytes as f64 * 8.0 / seconds / 1e9;
    println!(
        "{{\"type\":\"summary\",\"gbps\":{gbps:.4},\"seconds\":{seconds:.4},\"bytes\":{}}}",
        report.bytes
    );
    Ok(())
}
