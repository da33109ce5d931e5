//! What the stages allow when nothing else is there: header, cipher and the engine's queues, a fixed window, an ACK every 128 packets, nothing
//! sent again.

use super::endless::content;
use super::tell;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use xfer_io::clock::monotonic_ns;
use xfer_io::queue::{Queue, Transmit};
use xfer_io::udp::{UdpConfig, UdpQueue};
use xfer_io::wake::{Interest, Poller};

const HEADER: usize = 32;
const TAG: usize = 16;
/// What fits an Ethernet packet of 1,500 bytes, in whole units of 16.
const PAYLOAD: usize = 1_424;
const TRAIN: usize = 44;
const WINDOW: u64 = 2_048;
const ACK_EVERY: u64 = 128;
/// The receiver's ring, in whole packets: 16 chunks of about 1 MiB.
const RING: usize = 16 * 736;
const PATIENCE: Duration = Duration::from_secs(2);

struct Cipher {
    key: LessSafeKey,
    plain: bool,
}

impl Cipher {
    fn new(plain: bool) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("16 bytes");
        Cipher { key: LessSafeKey::new(key), plain }
    }

    fn nonce(number: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    fn segment(&self) -> usize {
        HEADER + PAYLOAD + if self.plain { 0 } else { TAG }
    }

    fn seal(&self, number: u64, content: &[u8], packet: &mut [u8]) {
        let (header, payload) = packet.split_at_mut(HEADER);
        header[..8].copy_from_slice(&number.to_le_bytes());
        if self.plain {
            return payload.copy_from_slice(content);
        }
        let (sealed, tag) = payload.split_at_mut(content.len());
        let nonce = Self::nonce(number);
        let sealed = self.key.seal_out_of_place_scatter(nonce, Aad::from(header), content, sealed, &[], tag);
        sealed.expect("lengths are right");
    }

    fn open(&self, packet: &[u8], content: &mut [u8]) -> u64 {
        let (header, payload) = packet.split_at(HEADER);
        let number = u64::from_le_bytes(header[..8].try_into().expect("8 bytes"));
        if self.plain {
            content.copy_from_slice(payload);
            return number;
        }
        let (sealed, tag) = payload.split_at(content.len());
        let opened =
            self.key.open_separate_gather(Self::nonce(number), Aad::from(header), sealed, tag, content);
        opened.expect("nobody forges");
        number
    }
}

fn queue(local: SocketAddr) -> UdpQueue {
    UdpQueue::open(&UdpConfig { zero_copy: false, ..UdpConfig::new(local) }).expect("a socket")
}

/// Sleeps until something arrives; polling an empty socket takes the lock that the other end's core wants.
struct Sleep(Poller);

impl Sleep {
    fn on(queue: &UdpQueue) -> Self {
        let poller = Poller::new().expect("a poller");
        poller.add(queue, 0, Interest::Read).expect("a socket");
        Sleep(poller)
    }

    fn wait(&mut self) {
        self.0.wait(Some(monotonic_ns() + PATIENCE.as_nanos() as u64)).expect("waits");
    }
}

/// Sends `bytes` of a memory of `memory` bytes.
pub(crate) fn send(remote: SocketAddr, local: IpAddr, bytes: u64, plain: bool, memory: usize) {
    let (mut queue, cipher) = (queue(SocketAddr::new(local, 0)), Cipher::new(plain));
    let memory = content(memory.next_multiple_of(PAYLOAD * TRAIN));
    let mut contents = memory.chunks(PAYLOAD).cycle();
    let packets = bytes / PAYLOAD as u64;
    let (mut next, mut heard) = (0, 0);
    let mut sleep = Sleep::on(&queue);
    let (begin, mut last) = (Instant::now(), Instant::now());
    while heard + WINDOW < packets && last.elapsed() < PATIENCE {
        while next < heard + WINDOW
            && let Some(frame) = queue.reserve()
        {
            let segment = cipher.segment();
            for packet in frame[..TRAIN * segment].chunks_mut(segment) {
                cipher.seal(next, contents.next().expect("endless"), packet);
                next += 1;
            }
            let (source, ecn, len) = (None, None, TRAIN * segment);
            queue.commit(Transmit { destination: remote, source, len, segment, ecn });
        }
        queue.flush().expect("sends");
        if next >= heard + WINDOW && queue.queued() == 0 {
            sleep.wait();
        }
        for frame in 0..queue.receive().expect("receives") {
            let (meta, acks) = queue.received(frame);
            for ack in acks.chunks(meta.segment.max(1)) {
                heard = heard.max(u64::from_le_bytes(ack[..8].try_into().expect("8 bytes")));
                last = Instant::now();
            }
        }
    }
    tell("bare send", heard * PAYLOAD as u64, begin.elapsed());
}

/// Receives until nothing comes any more.
pub(crate) fn receive(local: SocketAddr, plain: bool) {
    let (mut queue, cipher) = (queue(local), Cipher::new(plain));
    let mut ring = vec![0; RING * PAYLOAD];
    let (mut taken, mut told) = (0, 0);
    let mut sleep = Sleep::on(&queue);
    let mut span: Option<(Instant, Instant)> = None;
    while span.is_none_or(|(_, last)| last.elapsed() < PATIENCE) {
        let frames = queue.receive().expect("receives");
        let mut heard = None;
        for frame in 0..frames {
            let (meta, packets) = queue.received(frame);
            for packet in packets.chunks(meta.segment.max(1)) {
                let place = (taken as usize % RING) * PAYLOAD;
                let number = cipher.open(packet, &mut ring[place..place + PAYLOAD]);
                heard = Some((number + 1, meta.source));
                taken += 1;
            }
        }
        let Some((number, sender)) = heard else {
            sleep.wait();
            continue;
        };
        let now = Instant::now();
        span = Some((span.map_or(now, |(first, _)| first), now));
        if number >= told + ACK_EVERY
            && let Some(frame) = queue.reserve()
        {
            told = number;
            frame[..8].copy_from_slice(&number.to_le_bytes());
            queue.commit(Transmit { destination: sender, source: None, len: 8, segment: 0, ecn: None });
            queue.flush().expect("sends");
        }
    }
    let (first, last) = span.expect("something came");
    tell("bare receive", taken * PAYLOAD as u64, last - first);
}
