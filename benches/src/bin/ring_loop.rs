//! The raw ring loop: moves frames over one AF_XDP socket a side and does nothing else, so that the engine's share of a wire can be told
//! (issue rows X1 to X3). The sender copies its payload into each frame, the receiver reads all of each.
//!
//! `ring_loop receive INTERFACE SECONDS` on one host, then `ring_loop send INTERFACE IP PAYLOAD SECONDS` on the other; MODE as last word
//! is `native` or `generic`. Both spin; pin them with taskset(1).

use std::io::{Error, Result};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use xfer_io::route;
use xfer_io::xdp::XdpMode;
use xfer_io::xdp::raw::{RawEnd, RawWay};

const PORT: u16 = 7_701;
/// Packets handed over at once.
const BURST: usize = 256;
/// How long a neighbour may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mode =
        |word: Option<&&str>| if word == Some(&"generic") { XdpMode::Generic } else { XdpMode::Native };
    match &words[..] {
        ["receive", interface, seconds, rest @ ..] => {
            receive(open(interface, mode(rest.first()))?, parse(seconds)?)
        }
        ["send", interface, ip, payload, seconds, rest @ ..] => {
            let end = open(interface, mode(rest.first()))?;
            send(end, SocketAddr::new(parse::<IpAddr>(ip)?, PORT), parse(payload)?, parse(seconds)?)
        }
        _ => Err(Error::other(
            "ring_loop receive INTERFACE SECONDS | send INTERFACE IP PAYLOAD SECONDS [generic]",
        )),
    }
}

fn parse<T: std::str::FromStr>(word: &str) -> Result<T> {
    word.parse().map_err(|_| Error::other(format!("{word} is no such value")))
}

fn open(name: &str, mode: XdpMode) -> Result<RawEnd> {
    let all = route::interfaces().map_err(Error::other)?;
    let found = all.iter().find(|interface| interface.name == name);
    let index = found.ok_or_else(|| Error::other(format!("there is no interface {name}")))?.index;
    let end = RawEnd::open(index, 0, PORT, mode).map_err(Error::other)?;
    eprintln!("{:?}", end.port().report());
    Ok(end)
}

fn tell(what: &str, packets: u64, payload_bytes: u64, took: Duration) {
    let seconds = took.as_secs_f64();
    let (mpps, gbps) = (packets as f64 / seconds / 1e6, payload_bytes as f64 * 8.0 / seconds / 1e9);
    println!("{what} {packets} packets, {mpps:.3} Mpps, {gbps:.2} Gbit/s of payload");
}

fn receive(mut end: RawEnd, seconds: u64) -> Result<()> {
    let (mut packets, mut bytes, mut sum) = (0u64, 0u64, 0u64);
    let mut first: Option<Instant> = None;
    let mut last = Instant::now();
    let over = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < over {
        let got = end.receive(|payload| {
            let (words, _) = payload.as_chunks::<8>();
            sum = words.iter().fold(sum, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)));
            bytes += payload.len() as u64;
        })?;
        if got > 0 {
            packets += got as u64;
            last = Instant::now();
            first.get_or_insert(last);
        }
    }
    let took = first.map_or(Duration::ZERO, |first| last - first);
    tell(&format!("received (sum {sum:x})"), packets, bytes, took);
    Ok(())
}

/// The way, once the neighbour answered the kernel.
fn way(end: &RawEnd, to: SocketAddr) -> Result<RawWay> {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let kernel = UdpSocket::bind((any, 0))?;
    let over = Instant::now() + PATIENCE;
    while Instant::now() < over {
        kernel.send_to(&[0], to)?;
        if let Some(way) = end.way(to) {
            return Ok(way);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Error::other(format!("{to} does not answer")))
}

fn send(mut end: RawEnd, to: SocketAddr, payload: usize, seconds: u64) -> Result<()> {
    let way = way(&end, to)?;
    let payload = vec![0xa5; payload];
    let mut packets = 0u64;
    let start = Instant::now();
    let over = start + Duration::from_secs(seconds);
    while Instant::now() < over {
        packets += end.send(&way, &payload, BURST)? as u64;
    }
    tell("sent", packets, packets * payload.len() as u64, start.elapsed());
    Ok(())
}
