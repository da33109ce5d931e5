//! Sending without copying, against the kernel and against a stand-in that withholds its word.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::outlet::Outlet;
use super::pending::Completion;
use super::send::Sender;
use super::{UdpConfig, UdpQueue, option};
use crate::clock::monotonic_ns;
use crate::limits::{SEND_FRAMES, SEND_FRAMES_HELD, ZERO_COPY_TRIALS};
use crate::queue::{Counters, Queue, Transmit, ZeroCopy};
use crate::route::namespace;
use crate::wake::{Interest, Poller};

const SEGMENT: usize = 1_400;
const TRAIN: usize = 40 * SEGMENT;
const PATIENCE_NS: u64 = 10_000_000_000;

fn train(destination: SocketAddr) -> Transmit {
    Transmit { destination, source: None, len: TRAIN, segment: SEGMENT, ecn: None }
}

/// Train `number`, each byte of it telling which.
fn commit(queue: &mut impl Queue, destination: SocketAddr, number: usize) {
    queue.reserve().unwrap()[..TRAIN].fill(number as u8);
    queue.commit(train(destination));
}

/// Sleeps until the kernel has given every frame back.
fn until_all_are_back(queue: &mut UdpQueue) {
    let mut poller = Poller::new().unwrap();
    poller.add(&*queue, 0, Interest::Read).unwrap();
    let deadline = monotonic_ns() + PATIENCE_NS;
    while queue.sender.lent() > 0 {
        assert!(monotonic_ns() < deadline, "{} messages stay with the kernel", queue.sender.lent());
        poller.wait(Some(deadline)).unwrap();
        queue.receive().unwrap();
    }
    assert_eq!(queue.sender.free(), SEND_FRAMES_HELD);
}

/// Trains arrive whole and in order; the kernel copies here, so it is asked no more after the trial.
fn loopback_copies(from: &str, to: &str) {
    let config = UdpConfig { gro: false, ..UdpConfig::new(from.parse().unwrap()) };
    let mut a = UdpQueue::open(&config).unwrap();
    let mut b = UdpQueue::open(&UdpConfig::new(to.parse().unwrap())).unwrap();
    let mut poller = Poller::new().unwrap();
    poller.add(&b, 0, Interest::Read).unwrap();
    let trains = 3 * ZERO_COPY_TRIALS as usize;
    for number in 0..trains {
        commit(&mut a, b.local_addr(), number);
        assert_eq!(a.flush().unwrap().bytes, TRAIN);
        let mut bytes = 0;
        while bytes < TRAIN {
            poller.wait(Some(monotonic_ns() + PATIENCE_NS)).unwrap();
            let held = b.receive().unwrap();
            assert!(held > 0, "train {number} is lost");
            for index in 0..held {
                let (_, got) = b.received(index);
                assert!(got.iter().all(|byte| *byte == number as u8), "train {number}");
                bytes += got.len();
            }
        }
    }
    until_all_are_back(&mut a);
    let can = a.capabilities();
    assert_eq!(can.zero_copy, ZeroCopy::Refused, "{:?}", can.notes);
    assert_eq!(
        can.notes.iter().filter(|note| note.contains("copied 17 of 17")).count(),
        1,
        "{:?}",
        can.notes
    );
    assert!(a.counters().completion_calls < 4 * u64::from(ZERO_COPY_TRIALS), "asked for ever");
}

#[test]
fn loopback_copies_and_is_given_up() {
    loopback_copies("127.0.0.1:0", "127.0.0.1:0");
    loopback_copies("[::1]:0", "[::1]:0");
    // A socket of both families hears of IPv4 in the words of IPv6.
    loopback_copies("[::]:0", "127.0.0.1:0");
}

#[test]
fn a_socket_that_may_not_copies() {
    let config = UdpConfig { zero_copy: false, ..UdpConfig::new("127.0.0.1:0".parse().unwrap()) };
    let (mut a, b) = (UdpQueue::open(&config).unwrap(), UdpQueue::open(&config).unwrap());
    commit(&mut a, b.local_addr(), 1);
    a.flush().unwrap();
    assert_eq!((a.sender.lent(), a.capabilities().zero_copy), (0, ZeroCopy::Absent));
    assert!(a.capabilities().notes.is_empty());
}

/// A device that takes frames as they lie proves its way, and keeps it.
#[test]
fn a_device_that_does_not_copy_is_used() {
    namespace::run(|| {
        let Some(sink) = namespace::add_sink("sink0") else { return };
        namespace::add_address(sink, "192.0.2.1".parse().unwrap(), 24);
        let mut a = UdpQueue::open(&UdpConfig::new("192.0.2.1:0".parse().unwrap())).unwrap();
        let far = "192.0.2.2:9".parse().unwrap();
        for number in 0..2 * ZERO_COPY_TRIALS as usize {
            commit(&mut a, far, number);
            assert_eq!(a.flush().unwrap().bytes, TRAIN);
        }
        until_all_are_back(&mut a);
        let can = a.capabilities();
        assert_eq!(can.zero_copy, ZeroCopy::Used, "{:?}", can.notes);
        assert!(can.notes.is_empty(), "{:?}", can.notes);
    });
}

/// Frames wait in the device's queue: none is lent for writing meanwhile, and all come back.
#[test]
fn frames_that_wait_in_the_kernel_are_not_reused() {
    namespace::run(|| {
        let Some(sink) = namespace::add_sink("sink0") else { return };
        namespace::add_address(sink, "192.0.2.1".parse().unwrap(), 24);
        namespace::slow_down(sink, 4_000_000);
        let mut a = UdpQueue::open(&UdpConfig::new("192.0.2.1:0".parse().unwrap())).unwrap();
        let far = "192.0.2.2:9".parse().unwrap();
        let mut out = BTreeSet::new();
        while a.sender.lent() < 8 {
            let frame = a.reserve().unwrap().as_ptr() as usize;
            let lent = a.sender.lent();
            commit(&mut a, far, 0);
            a.flush().unwrap();
            if a.sender.lent() > lent {
                assert!(out.insert(frame), "a frame in the kernel was lent again");
            } else {
                out.clear();
            }
        }
        until_all_are_back(&mut a);
        assert_eq!(a.capabilities().zero_copy, ZeroCopy::Untried);
    });
}

/// The word about a message that was refused frees no other message's frame.
#[test]
fn a_number_that_was_used_up_is_nobodys() {
    let (mut sender, mut kernel) = (sender(), Withholding::default());
    (kernel.refuse, kernel.numbers_refused) = (Some(libc::EIO), true);
    let send = |sender: &mut Sender, kernel: &mut Withholding| {
        sender.reserve().unwrap();
        sender.commit(train("192.0.2.2:9".parse().unwrap()));
        sender.flush(kernel, &mut Counters::default()).unwrap();
        sender.reclaim(kernel, &mut Counters::default()).unwrap();
    };
    send(&mut sender, &mut kernel);
    assert_eq!((sender.lent(), sender.free(), kernel.words.len()), (0, SEND_FRAMES_HELD, 0));
    kernel.refuse = None;
    send(&mut sender, &mut kernel);
    assert_eq!((sender.lent(), sender.free()), (1, SEND_FRAMES_HELD - 1));
    kernel.words.push_back(Completion { first: 1, last: 1, copied: false });
    sender.reclaim(&mut kernel, &mut Counters::default()).unwrap();
    assert_eq!((sender.lent(), sender.free()), (0, SEND_FRAMES_HELD));
}

/// A refused train may use up a number of the kernel's; frames are still told apart, and nothing is left to wake for.
#[test]
fn a_refused_train_goes_copied_and_the_numbers_stay_in_step() {
    let config = UdpConfig::new("127.0.0.1:0".parse().unwrap());
    let (mut a, b) = (UdpQueue::open(&config).unwrap(), UdpQueue::open(&config).unwrap());
    let mut poller = Poller::new().unwrap();
    poller.add(&a, 0, Interest::Read).unwrap();
    for round in 0..3 {
        // On a socket that sends no checksums the kernel refuses trains after it numbered them.
        let refuse = i32::from(round == 1);
        option::set(a.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, refuse).unwrap();
        commit(&mut a, b.local_addr(), round);
        let flushed = a.flush().unwrap();
        assert_eq!((flushed.bytes, flushed.failures, flushed.gso_lost), (TRAIN, 0, round == 1));
        until_all_are_back(&mut a);
        assert!(poller.wait(Some(0)).unwrap().is_empty(), "round {round}: a word was left unread");
        a.sender.allow_gso();
    }
}

/// Takes every message and says when it is done with them only as it is told to.
#[derive(Default)]
struct Withholding {
    taken: u32,
    words: VecDeque<Completion>,
    /// What it answers to messages that are not to be copied, and whether it numbers them all the same.
    refuse: Option<i32>,
    numbers_refused: bool,
    copies: usize,
}

impl Outlet for Withholding {
    unsafe fn send(&mut self, messages: &mut [libc::mmsghdr], flags: i32) -> io::Result<usize> {
        if flags & libc::MSG_ZEROCOPY == 0 {
            self.copies += messages.len();
        } else if let Some(errno) = self.refuse {
            if self.numbers_refused {
                self.words.push_back(Completion { first: self.taken, last: self.taken, copied: true });
                self.taken += 1;
            }
            return Err(io::Error::from_raw_os_error(errno));
        } else {
            self.taken += messages.len() as u32;
        }
        Ok(messages.len())
    }

    fn completed(&mut self) -> io::Result<Option<Completion>> {
        Ok(self.words.pop_front())
    }
}

fn sender() -> Sender {
    Sender::new("127.0.0.1:0".parse().unwrap(), true, true, None).unwrap()
}

/// Sends until no frame is free; where each frame lies, in the order they were sent.
fn fill(sender: &mut Sender, kernel: &mut Withholding) -> Vec<usize> {
    let far = "192.0.2.2:9".parse().unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = sender.reserve() {
        frames.push(frame.as_ptr() as usize);
        sender.commit(train(far));
        if sender.queued() == SEND_FRAMES || sender.reserve().is_none() {
            sender.flush(kernel, &mut Counters::default()).unwrap();
        }
        assert!(frames.len() <= SEND_FRAMES_HELD, "a frame was lent twice");
    }
    frames
}

/// A way must be proven before more than a trial's messages are out.
fn prove(sender: &mut Sender, kernel: &mut Withholding) {
    for number in 0..ZERO_COPY_TRIALS {
        sender.reserve().unwrap();
        sender.commit(train("192.0.2.2:9".parse().unwrap()));
        kernel.words.push_back(Completion { first: number, last: number, copied: false });
        sender.flush(kernel, &mut Counters::default()).unwrap();
    }
    sender.reclaim(kernel, &mut Counters::default()).unwrap();
    assert_eq!(sender.take_zero_copy_news(), Some((ZeroCopy::Used, None)));
    assert_eq!((sender.lent(), sender.free()), (0, SEND_FRAMES_HELD));
}

#[test]
fn withheld_completions_are_back_pressure_and_not_overwriting() {
    let (mut sender, mut kernel) = (sender(), Withholding::default());
    prove(&mut sender, &mut kernel);
    let frames = fill(&mut sender, &mut kernel);
    assert_eq!(frames.iter().collect::<BTreeSet<_>>().len(), SEND_FRAMES_HELD);
    assert_eq!((sender.lent(), kernel.copies), (SEND_FRAMES_HELD, 0));
    for _ in 0..3 {
        sender.flush(&mut kernel, &mut Counters::default()).unwrap();
        assert!(sender.reserve().is_none());
    }
    // Each word frees exactly the frames it is about, in whatever order words come.
    for nth in [5u32, 4, SEND_FRAMES_HELD as u32 - 1, 0] {
        let number = ZERO_COPY_TRIALS + nth;
        kernel.words.push_back(Completion { first: number, last: number, copied: false });
        sender.reclaim(&mut kernel, &mut Counters::default()).unwrap();
        assert_eq!(sender.reserve().unwrap().as_ptr() as usize, frames[nth as usize]);
        assert_eq!(sender.free(), 1);
        sender.commit(train("192.0.2.2:9".parse().unwrap()));
    }
    sender.flush(&mut kernel, &mut Counters::default()).unwrap();
    let all = Completion { first: ZERO_COPY_TRIALS, last: kernel.taken - 1, copied: false };
    kernel.words.push_back(all);
    sender.reclaim(&mut kernel, &mut Counters::default()).unwrap();
    assert_eq!((sender.lent(), sender.free()), (0, SEND_FRAMES_HELD));
}

#[test]
fn a_trial_never_takes_all_frames() {
    let (mut sender, mut kernel) = (sender(), Withholding::default());
    let far = "192.0.2.2:9".parse().unwrap();
    for _ in 0..4 * SEND_FRAMES_HELD {
        sender.reserve().expect("frames that are copied are back at once");
        sender.commit(train(far));
        sender.flush(&mut kernel, &mut Counters::default()).unwrap();
    }
    assert_eq!(sender.lent(), ZERO_COPY_TRIALS as usize);
}

#[test]
fn a_kernel_without_room_gets_copies_and_then_only_copies() {
    let (mut sender, mut kernel) = (sender(), Withholding::default());
    kernel.refuse = Some(libc::ENOBUFS);
    let (far, mut counters, trains) = ("192.0.2.2:9".parse().unwrap(), Counters::default(), 100);
    for _ in 0..trains {
        sender.reserve().unwrap();
        sender.commit(train(far));
        let flushed = sender.flush(&mut kernel, &mut counters).unwrap();
        assert_eq!((flushed.bytes, flushed.failures), (TRAIN, 0));
    }
    assert_eq!((kernel.copies, sender.free()), (trains, SEND_FRAMES_HELD));
    assert_eq!(counters.send_calls, trains as u64 + u64::from(ZERO_COPY_TRIALS / 2 + 1));
    let (found, note) = sender.take_zero_copy_news().unwrap();
    assert!(found == ZeroCopy::Refused && note.unwrap().contains("found no room"));
}

/// A frame of several messages is back when the last of them is.
#[test]
fn a_long_frame_is_free_when_all_its_messages_are() {
    let (mut sender, mut kernel) = (sender(), Withholding::default());
    sender.reserve().unwrap();
    let far = "192.0.2.2:9".parse().unwrap();
    // 64 segments of 300 bytes are one message; the third is too short and copied.
    sender.commit(Transmit { destination: far, source: None, len: 45_000, segment: 300, ecn: None });
    sender.flush(&mut kernel, &mut Counters::default()).unwrap();
    assert_eq!((kernel.taken, kernel.copies, sender.queued()), (2, 1, 0));
    for (number, free) in [(1, SEND_FRAMES_HELD - 1), (0, SEND_FRAMES_HELD)] {
        kernel.words.push_back(Completion { first: number, last: number, copied: false });
        sender.reclaim(&mut kernel, &mut Counters::default()).unwrap();
        assert_eq!(sender.free(), free);
    }
}
