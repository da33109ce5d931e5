//! Objects that the application hands over, and decides about, while the connection lives.

#[path = "../pair/mod.rs"]
mod pair;

use pair::{Ends, PATIENCE, connector, listener, noise, start, workers};
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};
use xfer_engine::codec::Compression;
use xfer_engine::sink::{Action, LiveSink, Place};
use xfer_engine::source::{LiveContent, LiveObject, LiveSource};
use xfer_engine::{Class, Engine, Error, Event, FileEnd, Offer, Outcome, Transfer, TransferConfig};
use xfer_io::registered::Registered;

const CHUNK: usize = 1 << 16;

/// Two engines with a live connection from one to the other.
struct Live {
    source: Arc<LiveSource>,
    sink: Arc<LiveSink>,
    ends: Ends,
    /// Dropped last.
    _engines: (Engine, Engine),
}

fn live(digests: bool) -> Live {
    let (to, from) = (listener(workers(1)), connector(workers(1)));
    let source = Arc::new(LiveSource::new(4_096, Compression::None, digests));
    let sink = Arc::new(LiveSink::new(digests));
    let config = TransferConfig { chunk_log2: 16, digests, ..TransferConfig::default() };
    let ends = start((&from, source.clone()), (&to, sink.clone()), 1, &config);
    Live { source, sink, ends, _engines: (to, from) }
}

impl Live {
    fn push(&self, name: &str, content: LiveContent) {
        let object = LiveObject::new(name.as_bytes(), content, true).expect("a good name");
        assert!(self.source.push(object).is_ok(), "there is room");
        self.ends.sender.nudge();
    }

    fn accept(&self, object: u32, place: Arc<dyn Place>) {
        if self.sink.accept(object, place).expect("it waits") {
            self.ends.receiver.nudge();
        }
    }

    fn offer(&self) -> Offer {
        until(&self.ends.receiver, |event| match event {
            Event::Offered(offer) => Some(offer),
            _ => None,
        })
    }

    /// Nothing follows: how both ends ended.
    fn finish(&self) -> [Outcome; 2] {
        self.source.finish();
        self.ends.sender.nudge();
        [&self.ends.sender, &self.ends.receiver].map(|transfer| {
            until(transfer, |event| match event {
                Event::Finished(outcome) => Some(*outcome),
                _ => None,
            })
        })
    }
}

/// The first event that is wanted.
fn until<T>(transfer: &Transfer, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        let event = transfer.events().recv_timeout(PATIENCE).expect("the transfer goes on");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

fn end(transfer: &Transfer) -> FileEnd {
    until(transfer, |event| match event {
        Event::File(end) => Some(end),
        _ => None,
    })
}

/// A place that keeps what comes.
#[derive(Default)]
struct Kept(Mutex<Vec<u8>>);

impl Place for Kept {
    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut kept = self.0.lock().unwrap();
        let end = offset as usize + bytes.len();
        let len = kept.len().max(end);
        kept.resize(len, 0);
        kept[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }
}

/// A place that is full.
struct Full;

impl Place for Full {
    fn put(&self, _: u64, _: &[u8]) -> Result<(), Error> {
        Err(Error::new(Class::Fatal, "write").because_of_errno(ENOSPC))
    }
}

/// Linux's number.
const ENOSPC: i32 = 28;

/// A place in memory that content is opened in.
struct InPlace(Registered);

impl Place for InPlace {
    fn put(&self, _: u64, _: &[u8]) -> Result<(), Error> {
        panic!("content of memory in place is not copied")
    }

    fn memory(&self) -> Option<Registered> {
        Some(self.0.clone())
    }
}

#[test]
fn small_objects_come_with_their_offer_and_each_end_hears_of_each() {
    for digests in [true, false] {
        let live = live(digests);
        let count = 10_000u32;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..count {
                    let mut object =
                        LiveObject::new(b"m", LiveContent::Small(i.to_le_bytes().into()), digests)
                            .expect("a good name");
                    while let Err(back) = live.source.push(object) {
                        object = back;
                        std::thread::yield_now();
                    }
                    live.ends.sender.nudge();
                }
            });
            scope.spawn(|| {
                (0..count).for_each(|i| {
                    let end = end(&live.ends.sender);
                    assert_eq!((end.object, end.action), (i, Action::Copied));
                });
            });
            for i in 0..count {
                let offer = live.offer();
                assert_eq!((offer.object, offer.content), (i, Some(i.to_le_bytes().to_vec())));
            }
        });
        for outcome in live.finish() {
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            assert_eq!(outcome.progress.files, u64::from(count));
        }
    }
}

#[test]
fn nothing_submitted_is_a_transfer_too() {
    for outcome in live(true).finish() {
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
    }
}

#[test]
fn large_objects_wait_for_a_word_and_go_where_it_says() {
    for digests in [true, false] {
        let live = live(digests);
        for len in [1_025, CHUNK / 4, CHUNK / 4 + 1, 5 * CHUNK + 3] {
            let bytes = noise(len, 3);
            live.push("a/b", LiveContent::Memory(Arc::new(bytes.clone())));
            let offer = live.offer();
            assert_eq!((offer.size, offer.content.as_ref()), (Some(len as u64), None));
            let kept = Arc::new(Kept::default());
            live.accept(offer.object, kept.clone());
            let (sent, received) = (end(&live.ends.sender), end(&live.ends.receiver));
            assert_eq!((sent.action, received.action), (Action::Copied, Action::Copied), "{len}");
            assert_eq!(received.digest.is_some(), digests);
            assert_eq!(sent.digest, received.digest);
            assert!(kept.0.lock().unwrap()[..] == bytes[..], "{len}");
        }
        live.finish();
    }
}

#[test]
fn memory_is_received_into_where_it_lies() {
    for digests in [true, false] {
        let live = live(digests);
        let bytes = noise(20 * CHUNK + 1, 4);
        let memory = vec![0u8; bytes.len()];
        let place = memory.as_ptr();
        let registered = Registered::new(memory).unwrap();
        live.push("a", LiveContent::Memory(Arc::new(bytes.clone())));
        live.accept(live.offer().object, Arc::new(InPlace(registered.clone())));
        assert_eq!(end(&live.ends.receiver).action, Action::Copied);
        let memory = registered.take_back().unwrap();
        assert_eq!(memory.as_ptr(), place);
        assert!(memory[..] == bytes[..]);
        live.finish();
    }
}

#[test]
fn what_is_refused_fails_at_both_ends_and_others_go_on() {
    let live = live(true);
    let memory = Arc::new(noise(CHUNK, 5));
    let lent = Arc::downgrade(&memory);
    live.push("a", LiveContent::Memory(memory));
    let object = live.offer().object;
    if live.sink.refuse(object, Error::new(Class::Refused, "not wanted")).unwrap() {
        live.ends.receiver.nudge();
    }
    assert!(live.sink.refuse(object, Error::new(Class::Refused, "again")).is_err());
    assert!(live.sink.accept(9, Arc::new(Full)).is_err());
    for end in [end(&live.ends.sender), end(&live.ends.receiver)] {
        let error = end.error.expect("refused");
        assert_eq!((end.object, error.class), (object, Class::Refused));
        assert!(error.to_string().contains("not wanted"), "{error}");
    }
    live.push("b", LiveContent::Memory(Arc::new(noise(2 * CHUNK, 6))));
    let object = live.offer().object;
    // Listed by the worker after it told the source what was decided about "a".
    assert_eq!(lent.strong_count(), 0, "the memory is not given back");
    live.accept(object, Arc::new(Full));
    for end in [end(&live.ends.receiver), end(&live.ends.sender)] {
        assert_eq!(end.error.expect("it is full").class, Class::Fatal);
    }
    live.push("c", LiveContent::Small(b"c".to_vec()));
    assert_eq!(live.offer().content, Some(b"c".to_vec()));
    for outcome in live.finish() {
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
    }
}

#[test]
fn parts_of_files_and_a_stream_at_the_end() {
    let live = live(true);
    let bytes = noise(3 * CHUNK, 7);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let part = 2 * CHUNK as u64 + 5;
    live.push("f", LiveContent::File(file.try_clone().unwrap(), 7, part));
    live.push("s", LiveContent::Stream(Box::new(file.take(2 * CHUNK as u64 + 9))));
    let refused = LiveObject::new(b"t", LiveContent::Small(Vec::new()), true).unwrap();
    assert!(live.source.push(refused).is_err(), "nothing follows a stream");
    let expected = [(Some(part), &bytes[7..7 + part as usize]), (None, &bytes[..2 * CHUNK + 9])];
    let places = expected.map(|(size, content)| {
        let offer = live.offer();
        assert_eq!(offer.size, size);
        let kept = Arc::new(Kept::default());
        live.accept(offer.object, kept.clone());
        (kept, content)
    });
    for outcome in live.finish() {
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_eq!((outcome.progress.files, outcome.progress.failed), (2, 0));
    }
    for (kept, content) in places {
        assert!(kept.0.lock().unwrap()[..] == *content);
    }
}

#[test]
fn a_file_that_became_shorter_is_withdrawn() {
    let live = live(true);
    let file = tempfile::tempfile().unwrap();
    file.set_len(CHUNK as u64 - 1).unwrap();
    live.push("f", LiveContent::File(file, 0, CHUNK as u64));
    live.accept(live.offer().object, Arc::new(Kept::default()));
    for end in [end(&live.ends.sender), end(&live.ends.receiver)] {
        let error = end.error.expect("it is shorter");
        assert_eq!(error.class, Class::Digest);
        assert!(error.to_string().contains("source changed"), "{error}");
    }
    live.finish();
}
