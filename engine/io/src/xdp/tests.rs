//! Queues over a wire between two network namespaces, each with a thread of its own: what one sends the other sends back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::program::BareProgram;
use super::{From, XdpConfig, XdpInterface, XdpMode, XdpPort, XdpQueue};
use crate::clock::monotonic_ns;
use crate::limits::XDP_SEND_FRAMES;
use crate::queue::{Queue, Transmit};
use crate::route::namespace;
use crate::udp::{UdpConfig, UdpQueue};
use crate::wake::{Interest, Poller};

const PATIENCE_NS: u64 = 10_000_000_000;
const PORT: u16 = 7_700;

#[derive(Clone, Copy)]
struct Wire {
    mode: XdpMode,
    v6: bool,
    mtu: u32,
}

fn address(v6: bool, host: u16) -> IpAddr {
    match v6 {
        false => IpAddr::from([10, 77, 1, host as u8]),
        true => IpAddr::from([0xfd77, 1, 0, 0, 0, 0, 0, host]),
    }
}

/// Switches the interface on. Returns its index.
fn set_up(name: &str, host: u16) -> u32 {
    let (IpAddr::V4(v4), IpAddr::V6(v6)) = (address(false, host), address(true, host)) else {
        unreachable!()
    };
    namespace::set_up(name, v4, v6)
}

/// A queue on the interface, and the program that lets it receive.
fn open(index: u32, local: SocketAddr, mode: XdpMode) -> (XdpQueue, BareProgram) {
    let program = BareProgram::attach(index, PORT, mode).unwrap();
    let port = XdpPort::open(&XdpConfig::new(XdpInterface::find(index).unwrap(), 0)).unwrap();
    program.set_socket(0, std::os::fd::AsFd::as_fd(&port)).unwrap();
    let udp = UdpQueue::open(&UdpConfig::new(local)).unwrap();
    (XdpQueue::new(udp, vec![port], Vec::new()).unwrap(), program)
}

fn wait(queue: &impl Queue, until_ns: u64) {
    let mut poller = Poller::new().unwrap();
    poller.add(queue, 0, Interest::Read).unwrap();
    poller.wait(Some(until_ns.min(monotonic_ns() + 5_000_000))).unwrap();
}

/// Sends everything back, as single datagrams, until told to end.
fn echo(queue: &mut XdpQueue, over: &AtomicBool) {
    let deadline = monotonic_ns() + PATIENCE_NS;
    while !over.load(Ordering::Relaxed) && monotonic_ns() < deadline {
        let count = queue.receive().unwrap();
        let mut back: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
        for index in 0..count {
            let (meta, bytes) = queue.received(index);
            back.extend(bytes.chunks(meta.segment.max(1)).map(|datagram| (meta.source, datagram.to_vec())));
        }
        for (to, bytes) in back {
            send(queue, to, &bytes, 0, deadline);
        }
        queue.flush().unwrap();
        if count == 0 {
            wait(queue, deadline);
        }
    }
}

fn send(queue: &mut XdpQueue, destination: SocketAddr, bytes: &[u8], segment: usize, deadline: u64) {
    while queue.reserve().is_none() {
        assert!(monotonic_ns() < deadline, "no frame comes back");
        queue.flush().unwrap();
        queue.receive().unwrap();
    }
    queue.reserve().unwrap()[..bytes.len()].copy_from_slice(bytes);
    queue.commit(Transmit { destination, source: None, len: bytes.len(), segment, ecn: None });
}

/// Runs `near` at one end of a wire; the other sends back what it gets.
fn over(wire: Wire, near: impl FnOnce(u32, SocketAddr) + Send + 'static) {
    let (tid_out, tid): (Sender<libc::pid_t>, Receiver<libc::pid_t>) = channel();
    let (wired_out, wired) = channel::<()>();
    let (ready_out, ready) = channel::<()>();
    let over = Arc::new(AtomicBool::new(false));
    let ended = over.clone();
    let far = std::thread::spawn(move || {
        namespace::run(move || {
            // SAFETY: gettid has no arguments.
            tid_out.send(unsafe { libc::gettid() }).unwrap();
            if wired.recv().is_err() {
                return;
            }
            let index = set_up("y1", 2);
            let local = SocketAddr::new(address(wire.v6, 2), PORT);
            let (mut queue, _program) = open(index, local, wire.mode);
            ready_out.send(()).unwrap();
            echo(&mut queue, &ended);
        });
    });
    namespace::run(move || {
        let Ok(other) = tid.recv() else { return };
        namespace::add_wire_to(other, ["x1", "y1"], 1, wire.mtu);
        let index = set_up("x1", 1);
        wired_out.send(()).unwrap();
        ready.recv().unwrap();
        near(index, SocketAddr::new(address(wire.v6, 2), PORT));
        over.store(true, Ordering::Relaxed);
    });
    far.join().unwrap();
}

/// Sends a train and waits until all of it came back. Returns how many datagrams came by AF_XDP.
fn exchange(queue: &mut XdpQueue, to: SocketAddr, len: usize, segment: usize) -> usize {
    let deadline = monotonic_ns() + PATIENCE_NS;
    let train: Vec<u8> = (0..len).map(|n| (n / segment) as u8 ^ (n % 251) as u8).collect();
    let mut expected: Vec<&[u8]> = train.chunks(segment).collect();
    send(queue, to, &train, segment, deadline);
    let mut by_ring = 0;
    queue.flush().unwrap();
    while !expected.is_empty() {
        assert!(monotonic_ns() < deadline, "{} datagrams did not come back", expected.len());
        let count = queue.receive().unwrap();
        for index in 0..count {
            by_ring += usize::from(queue.from != From::Kernel);
            let (meta, bytes) = queue.received(index);
            assert_eq!(meta.source, to);
            for datagram in bytes.chunks(meta.segment) {
                let at = expected.iter().position(|sent| *sent == datagram);
                let is = (datagram.len(), &datagram[..datagram.len().min(8)]);
                expected.remove(at.unwrap_or_else(|| panic!("of {len} in {segment} came {is:?}")));
            }
        }
        if count == 0 {
            wait(queue, deadline);
        }
    }
    by_ring
}

fn trains_go_and_come(wire: Wire) {
    over(wire, move |index, to| {
        let (mut queue, _program) = open(index, SocketAddr::new(address(wire.v6, 1), PORT), wire.mode);
        let told = queue.capabilities().clone();
        assert_eq!((told.backend, told.xdp.len()), ("xdp", 1), "{told:?}");
        assert_eq!((told.xdp[0].interface.as_str(), told.xdp[0].queue), ("x1", 0));
        // The first go by the kernel, which asks for the neighbour; then none does.
        let mut calls = 0;
        for _ in 0..10 {
            calls = queue.udp.counters().send_calls;
            exchange(&mut queue, to, 1, 1);
            if queue.udp.counters().send_calls == calls {
                break;
            }
        }
        let largest = wire.mtu as usize - if wire.v6 { 48 } else { 28 };
        for (len, segment) in [(1, 1), (999, 500), (20 * largest.min(3_000), largest), (64 * 17, 17)] {
            let came = exchange(&mut queue, to, len, segment);
            assert_eq!(came, len.div_ceil(segment), "{len} in {segment}");
            assert_eq!(queue.udp.counters().send_calls, calls, "{len} in {segment}, by the kernel's socket");
        }
        let counters = queue.counters();
        assert_eq!((counters.truncated, counters.soft_errors, counters.overflows), (0, 0, 0));
    });
}

#[test]
fn native_v4() {
    trains_go_and_come(Wire { mode: XdpMode::Native, v6: false, mtu: 1_500 });
}

#[test]
fn native_v6() {
    trains_go_and_come(Wire { mode: XdpMode::Native, v6: true, mtu: 1_500 });
}

#[test]
fn native_jumbo() {
    trains_go_and_come(Wire { mode: XdpMode::Native, v6: false, mtu: 9_000 });
    trains_go_and_come(Wire { mode: XdpMode::Native, v6: true, mtu: 9_000 });
}

#[test]
fn generic() {
    trains_go_and_come(Wire { mode: XdpMode::Generic, v6: false, mtu: 1_500 });
    trains_go_and_come(Wire { mode: XdpMode::Generic, v6: true, mtu: 9_000 });
}

const PLAIN: Wire = Wire { mode: XdpMode::Native, v6: false, mtu: 1_500 };

/// More than there are frames: each is used many times.
#[test]
fn frames_are_used_again() {
    over(PLAIN, |index, to| {
        let (mut queue, _program) = open(index, SocketAddr::new(address(false, 1), PORT), XdpMode::Native);
        for _ in 0..3 * XDP_SEND_FRAMES / 40 {
            exchange(&mut queue, to, 40 * 1_400, 1_400);
        }
        queue.watch();
        assert!(queue.ports()[0].report().notes.iter().all(|note| !note.contains("no longer")));
    });
}

#[test]
fn without_a_program_packets_come_by_the_kernel() {
    over(PLAIN, |index, to| {
        let (mut queue, program) = open(index, SocketAddr::new(address(false, 1), PORT), XdpMode::Native);
        exchange(&mut queue, to, 1, 1);
        assert_eq!(exchange(&mut queue, to, 5_000, 1_000), 5);
        drop(program);
        assert_eq!(exchange(&mut queue, to, 5_000, 1_000), 0);
    });
}

#[test]
fn a_closed_socket_leaves_its_packets_to_the_kernel() {
    over(PLAIN, |index, to| {
        let (mut queue, _program) = open(index, SocketAddr::new(address(false, 1), PORT), XdpMode::Native);
        exchange(&mut queue, to, 1, 1);
        queue.give_up(0, "for a test");
        assert!(queue.queued() > 0, "there is something to tell");
        assert!(queue.flush().unwrap().fell_back);
        assert!(!queue.flush().unwrap().fell_back);
        assert_eq!(exchange(&mut queue, to, 5_000, 1_000), 0);
        let told = queue.capabilities();
        assert_eq!((told.backend, told.xdp.len()), ("udp", 0));
        assert!(told.notes.iter().any(|note| note.contains("queue 0 of x1") && note.contains("for a test")));
    });
}

#[test]
fn what_is_longer_than_the_wire_is_refused_as_by_the_kernel() {
    over(PLAIN, |index, to| {
        let (mut queue, _program) = open(index, SocketAddr::new(address(false, 1), PORT), XdpMode::Native);
        exchange(&mut queue, to, 1, 1);
        send(&mut queue, to, &[0; 1_473], 0, u64::MAX);
        assert_eq!(queue.flush().unwrap().failures, 1);
        assert_eq!((queue.failures()[0].errno, queue.failures()[0].size), (libc::EMSGSIZE, 1_473));
        assert_eq!(exchange(&mut queue, to, 1_472, 1_472), 1);
        // A smaller MTU counts as soon as it is known.
        namespace::set_mtu(index, 1_000);
        let deadline = monotonic_ns() + PATIENCE_NS;
        while queue.ports()[0].interface().mtu != 1_000 {
            assert!(monotonic_ns() < deadline);
            queue.watch();
        }
        send(&mut queue, to, &[0; 973], 0, u64::MAX);
        assert_eq!(queue.flush().unwrap().failures, 1);
    });
}

#[test]
fn an_interface_that_goes_away_ends_its_socket_alone() {
    over(PLAIN, |index, to| {
        let (mut queue, _program) = open(index, SocketAddr::new(address(false, 1), PORT), XdpMode::Native);
        exchange(&mut queue, to, 1, 1);
        namespace::remove(index);
        let deadline = monotonic_ns() + PATIENCE_NS;
        while !queue.ports().is_empty() {
            assert!(monotonic_ns() < deadline);
            queue.receive().unwrap();
        }
        send(&mut queue, to, &[0; 10], 0, u64::MAX);
        let flushed = queue.flush().unwrap();
        assert!(flushed.fell_back && flushed.failures == 1, "{flushed:?}");
    });
}

#[test]
fn what_cannot_be_had_is_an_error_that_names_it() {
    over(PLAIN, |index, _| {
        let interface = XdpInterface::find(index).unwrap();
        let _first = XdpPort::open(&XdpConfig::new(interface.clone(), 0)).unwrap();
        let busy = XdpPort::open(&XdpConfig::new(interface.clone(), 0)).err().unwrap();
        assert_eq!(busy.to_string(), "bind an AF_XDP socket to queue 0 of x1: Device or resource busy");
        let missing = XdpPort::open(&XdpConfig::new(interface, 1)).err().unwrap();
        assert_eq!((missing.errno, missing.object.as_str()), (libc::EINVAL, "queue 1 of x1"));
        let _program = BareProgram::attach(index, PORT, XdpMode::Native).unwrap();
        let other = BareProgram::attach(index, PORT, XdpMode::Native).err().unwrap();
        assert_eq!(other.errno, libc::EBUSY);
    });
}
