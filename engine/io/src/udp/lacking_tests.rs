//! Kernels and users that lack something: each option is taken away on a thread of its own, what is left must carry.

use std::net::SocketAddr;

use super::{UdpConfig, UdpQueue};
use crate::clock::monotonic_ns;
use crate::error::check;
use crate::limits::BUSY_POLL_US;
use crate::queue::{Capabilities, Ecn, Meta, Queue, Transmit, ZeroCopy};
use crate::wake::{Interest, Poller};

const NOBODY: libc::c_long = 65_534;
const SEGMENT: usize = 1_000;
const COUNT: usize = 30;
/// Sender and receiver: IPv4, IPv6, and a socket of both families as either.
const FAMILIES: [(&str, &str); 4] = [
    ("127.0.0.1:0", "127.0.0.1:0"),
    ("[::1]:0", "[::1]:0"),
    ("[::]:0", "127.0.0.1:0"),
    ("127.0.0.1:0", "[::]:0"),
];

/// Runs `work` on a thread where setting any of the socket options (level, name) fails as on a kernel without it.
fn without(options: &'static [(i32, i32)], work: impl FnOnce() + Send + 'static) {
    let run = move || {
        forbid(options);
        work();
    };
    std::thread::spawn(run).join().unwrap();
}

/// A seccomp filter of this thread, see seccomp(2): `setsockopt` of an option named gives `ENOPROTOOPT`.
fn forbid(options: &[(i32, i32)]) {
    // Of `seccomp_data`: the number of the call, and the low halves of its second and third argument.
    const NUMBER: u32 = 0;
    let argument = |nth: u32| 16 + 8 * nth + if cfg!(target_endian = "big") { 4 } else { 0 };
    let load = |at| libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: at };
    let unless = |value: u32, skip| libc::sock_filter { code: 0x15, jt: 0, jf: skip, k: value };
    let answer = |value| libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: value };
    let mut program = Vec::new();
    for (level, name) in options {
        program.extend([load(NUMBER), unless(libc::SYS_setsockopt as u32, 5)]);
        program.extend([load(argument(1)), unless(*level as u32, 3)]);
        program.extend([load(argument(2)), unless(*name as u32, 1)]);
        program.push(answer(libc::SECCOMP_RET_ERRNO | libc::ENOPROTOOPT as u32));
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: takes no pointers; the thread only gives up rights.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).unwrap();
    let (call, mode) = (libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER);
    // SAFETY: `filter` points to the instructions of `program`; both outlive the call.
    check(unsafe { libc::prctl(call, mode, &raw const filter) }).unwrap();
}

/// Runs `work` as a user without rights.
fn unprivileged(work: impl FnOnce() + Send + 'static) {
    let run = || {
        // SAFETY: takes no pointers; the bare call changes the user of this thread alone.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
        let error = std::io::Error::last_os_error();
        assert!(changed == 0 || error.raw_os_error() == Some(libc::EPERM), "{error}");
        work();
    };
    std::thread::spawn(run).join().unwrap();
}

fn open(local: &str) -> UdpQueue {
    let config = UdpConfig { busy_poll_us: Some(BUSY_POLL_US), ..UdpConfig::new(local.parse().unwrap()) };
    UdpQueue::open(&config).unwrap()
}

/// Sends a train from one to the other, which must arrive whole. What the sender has, and what was told of the first frame.
fn carry(from: &str, to: &str) -> (Capabilities, Meta) {
    let (mut a, mut b) = (open(from), open(to));
    let far: SocketAddr = match b.local_addr() {
        any if any.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], any.port())),
        one => one,
    };
    let bytes: Vec<u8> = (0..COUNT * SEGMENT).map(|at| (at / SEGMENT + at % SEGMENT * 7) as u8).collect();
    a.reserve().unwrap()[..bytes.len()].copy_from_slice(&bytes);
    let ecn = Some(Ecn::Ect0);
    a.commit(Transmit { destination: far, source: None, len: bytes.len(), segment: SEGMENT, ecn });
    assert_eq!(a.flush().unwrap().datagrams, COUNT);
    let mut poller = Poller::new().unwrap();
    poller.add(&b, 0, Interest::Read).unwrap();
    let (mut got, mut first) = (Vec::new(), None);
    let deadline = monotonic_ns() + 10_000_000_000;
    while got.len() < bytes.len() {
        assert!(monotonic_ns() < deadline, "{} of {} bytes from {from} to {to}", got.len(), bytes.len());
        poller.wait(Some(deadline)).unwrap();
        for index in 0..b.receive().unwrap() {
            let (meta, frame) = b.received(index);
            assert_eq!(meta.segment, SEGMENT);
            first.get_or_insert(meta);
            got.extend_from_slice(frame);
        }
    }
    assert_eq!(got, bytes, "{from} to {to}");
    (b.capabilities().clone(), first.unwrap())
}

fn assert_noted(can: &Capabilities, what: &str) {
    assert!(can.notes.iter().any(|note| note.contains(what)), "{what} is not in {:?}", can.notes);
}

#[test]
fn a_kernel_that_has_all_says_nothing() {
    without(&[(libc::SOL_SOCKET, libc::SO_BUSY_POLL)], || {
        for (from, to) in FAMILIES {
            let (can, meta) = carry(from, to);
            assert!(can.gso_segments_max > 1 && can.gro && can.ecn && can.arrival, "{can:?}");
            assert_eq!((can.busy_poll_us, meta.ecn), (0, Some(Ecn::Ect0)));
            assert_eq!(
                can.notes.iter().filter(|note| !note.contains("buffer")).count(),
                1,
                "{:?}",
                can.notes
            );
            assert_noted(&can, "SO_BUSY_POLL");
        }
    });
}

#[test]
fn without_trains_out() {
    without(&[(libc::SOL_UDP, libc::UDP_SEGMENT)], || {
        for (from, to) in FAMILIES {
            let (can, _) = carry(from, to);
            assert_eq!(can.gso_segments_max, 1);
            assert_noted(&can, "no trains out (UDP_SEGMENT): Protocol not available");
        }
    });
}

#[test]
fn without_trains_in() {
    without(&[(libc::SOL_UDP, libc::UDP_GRO)], || {
        for (from, to) in FAMILIES {
            let (can, _) = carry(from, to);
            assert!(!can.gro);
            assert_noted(&can, "no trains in (UDP_GRO)");
        }
    });
}

#[test]
fn without_marks() {
    without(&[(libc::IPPROTO_IP, libc::IP_RECVTOS), (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS)], || {
        for (from, to) in FAMILIES {
            let (can, meta) = carry(from, to);
            assert_eq!((can.ecn, meta.ecn), (false, None));
            assert!(can.arrival && meta.destination.is_some());
            assert_noted(&can, "no ECN marks of packets");
        }
    });
}

#[test]
fn without_word_of_the_address_asked() {
    without(&[(libc::IPPROTO_IP, libc::IP_PKTINFO), (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)], || {
        for (from, to) in FAMILIES {
            let (can, meta) = carry(from, to);
            assert_eq!((can.arrival, meta.destination, meta.interface), (false, None, 0));
            assert_eq!((can.ecn, meta.ecn), (true, Some(Ecn::Ect0)));
            assert_noted(&can, "no address and interface of packets");
        }
    });
}

#[test]
fn without_anything() {
    const ALL: [(i32, i32); 9] = [
        (libc::SOL_UDP, libc::UDP_SEGMENT),
        (libc::SOL_UDP, libc::UDP_GRO),
        (libc::IPPROTO_IP, libc::IP_RECVTOS),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
        (libc::IPPROTO_IP, libc::IP_PKTINFO),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL),
        (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
        (libc::SOL_SOCKET, libc::SO_BUSY_POLL),
    ];
    without(&ALL, || {
        for (from, to) in FAMILIES {
            let (can, _) = carry(from, to);
            assert_eq!(can.zero_copy, ZeroCopy::Absent);
            for what in
                ["UDP_SEGMENT", "UDP_GRO", "marks", "address", "SO_RXQ_OVFL", "SO_ZEROCOPY", "SO_BUSY_POLL"]
            {
                assert_noted(&can, what);
            }
        }
    });
}

#[test]
fn a_user_without_rights_has_trains_and_marks() {
    unprivileged(|| {
        for (from, to) in FAMILIES {
            let (can, meta) = carry(from, to);
            assert!(can.gso_segments_max > 1 && can.gro && can.ecn && can.arrival, "{can:?}");
            assert_eq!((can.zero_copy, meta.ecn), (ZeroCopy::Untried, Some(Ecn::Ect0)));
            // Polling takes a right on older kernels; then that is what is noted.
            if can.busy_poll_us == 0 {
                assert_noted(&can, "no busy polling (SO_BUSY_POLL): Operation not permitted");
            }
        }
    });
}

/// Trains without copying need no rights either: the kernel numbers, copies and tells.
#[test]
fn a_user_without_rights_gets_frames_back() {
    unprivileged(|| {
        let (mut a, b) = (open("127.0.0.1:0"), open("127.0.0.1:0"));
        let deadline = monotonic_ns() + 10_000_000_000;
        while a.capabilities().zero_copy == ZeroCopy::Untried {
            assert!(monotonic_ns() < deadline);
            a.reserve().unwrap();
            let (destination, len) = (b.local_addr(), 40 * SEGMENT);
            a.commit(Transmit { destination, source: None, len, segment: SEGMENT, ecn: None });
            a.flush().unwrap();
            a.receive().unwrap();
        }
        assert_eq!(a.capabilities().zero_copy, ZeroCopy::Refused);
    });
}
