//! Sinks without files.

use super::*;
use std::io::Write;
use std::sync::Mutex;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lock").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::Error::from_raw_os_error(libc::ENOSPC))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stream_gets_chunks_in_order_whatever_order_they_come_in() {
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK - 1] {
        let out = Shared::default();
        let sink = StreamSink::new(Box::new(out.clone()), true);
        let mut sender = Sender::new().file("f", content(1, size));
        sender.list(&sink).expect("decided");
        let mut ended = sender.decided.ended.clone();
        let missing = sender.missing();
        let (even, odd): (Vec<u32>, Vec<u32>) = missing.iter().rev().partition(|chunk| *chunk % 2 == 0);
        for chunk in odd.into_iter().chain(even) {
            ended.extend(sender.send(&sink, chunk));
        }
        sender.check_ends(&mut ended);
        assert_eq!(*out.0.lock().expect("lock"), sender.contents[0]);
        assert_eq!((ended[0].bytes, ended[0].digest), (size as u64, Some(root(&sender.contents[0]))));
    }
}

#[test]
fn a_stream_takes_open_and_inline_objects() {
    let out = Shared::default();
    let sink = StreamSink::new(Box::new(out.clone()), true);
    let mut sender = Sender::new().inline("f", b"inline".to_vec());
    assert_eq!(sender.run(&sink)[0].digest, Some(root(b"inline")));
    assert_eq!(*out.0.lock().expect("lock"), b"inline");
    for size in [0, CHUNK, 2 * CHUNK + 1] {
        let out = Shared::default();
        let sink = StreamSink::new(Box::new(out.clone()), true);
        let open = Entry { open: true, ..entry(EntryKind::File, b"open") };
        let mut sender = Sender::new().add(open, content(2, size));
        sender.list(&sink).expect("decided");
        let mut ended = Vec::new();
        for chunk in 0..(size / CHUNK) as u32 {
            ended.extend(sender.send(&sink, chunk));
        }
        sender.space.end_open(0, size as u64).expect("ends");
        ended.extend(sink.end_open(0, size as u64));
        if size % CHUNK > 0 {
            ended.extend(sender.send(&sink, (size / CHUNK) as u32));
        }
        sender.check_ends(&mut ended);
        assert_eq!(ended[0].digest, Some(root(&sender.contents[0])));
        assert_eq!(*out.0.lock().expect("lock"), sender.contents[0]);
    }
}

#[test]
fn a_stream_takes_one_file_and_says_why_it_ends() {
    let sink = || StreamSink::new(Box::new(Full), true);
    let two = Sender::new().file("f", vec![1]).file("g", vec![1]);
    let directory = Sender::new().directory("d", 0o755);
    for sender in [two, directory, Sender::new()] {
        assert_eq!(sink().decide(&sender.page()).map(|_| ()).map_err(|e| e.class), Err(Class::Usage));
    }
    let sink = sink();
    let mut sender = Sender::new().file("f", content(1, 2 * CHUNK));
    sender.list(&sink).expect("decided");
    let (plan, encoding, stored) = sender.encoded(0);
    let mut wrong = stored.clone();
    wrong[9] ^= 1;
    assert!(matches!(sink.write(&plan, &encoding, &wrong), Ok(Verdict::Rejected)));
    let error = sink.write(&plan, &encoding, &stored).expect_err("full");
    assert_eq!(error.to_string(), "dst: write to the output f at byte 0: No space left on device");
}

#[test]
fn memory_receives_what_was_sent() {
    let sink = MemorySink::new(1 << 20, true);
    let mut sender = Sender::new()
        .directory("d", 0o755)
        .file("d/large", content(1, 5 * CHUNK + 3))
        .file("d/small", content(2, 100))
        .file("empty", Vec::new())
        .inline("inline", vec![7; 9]);
    sender.list(&sink).expect("decided");
    let mut ended = sender.decided.ended.clone();
    for chunk in sender.missing().into_iter().rev() {
        let (plan, encoding, stored) = sender.encoded(chunk);
        let mut wrong = stored.clone();
        wrong[0] ^= 1;
        assert!(matches!(sink.write(&plan, &encoding, &wrong), Ok(Verdict::Rejected)));
        ended.extend(sender.send(&sink, chunk));
    }
    sender.check_ends(&mut ended);
    assert_eq!(sink.names().len(), 4);
    for (entry, content) in sender.entries.iter().zip(&sender.contents).skip(1) {
        assert_eq!(sink.take(&entry.name).as_ref(), Some(content));
    }
    assert_eq!(ended[1].digest, Some(root(&sender.contents[1])));
    assert_eq!(sink.take(b"d/large"), None);
}

#[test]
fn memory_is_bounded_and_discarding_takes_none() {
    let sender = Sender::new().file("f", content(1, 1_000));
    assert!(MemorySink::new(1_000, true).decide(&sender.page()).is_ok());
    let error = MemorySink::new(999, true).decide(&sender.page()).expect_err("too much");
    assert_eq!(error.class, Class::Fatal);
    let sink = MemorySink::discarding(true);
    let mut sender = Sender::new().file("f", content(1, 3 * CHUNK)).file("g", content(2, 7));
    let ended = sender.run(&sink);
    assert_eq!(actions(&ended), [Action::Copied; 2]);
    assert_eq!(ended[0].digest, Some(root(&sender.contents[0])));
    assert!(sink.names().is_empty());
}
