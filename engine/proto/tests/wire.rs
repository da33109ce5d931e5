//! Every decoder against its encoder, and against bytes that nobody encoded.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use support::strategies;
use xfer_proto::limits;
use xfer_proto::wire::{
    Ack, Attribute, CloseCode, ConnectionId, Decision, Entry, EntryKind, Frame, Frames, Header, Malformed,
    Message, Page, PathId, Run, TransferId, Window, WindowWords, Writer, check_name, encode_ack_ranges,
};

fn encode(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = vec![0xee; frame.encoded_len()];
    let mut w = Writer::new(&mut out);
    frame.encode(&mut w);
    assert_eq!(w.space(), 0, "{frame:?} is as long as it says");
    out
}

fn decode_one(payload: &[u8]) -> Result<Frame<'_>, Malformed> {
    let mut frames = Frames::new(payload);
    let frame = frames.next().expect("a frame");
    assert!(frames.next().is_none(), "one frame, or an error that ends them");
    frame
}

fn returns(frame: &Frame<'_>) {
    assert_eq!(decode_one(&encode(frame)), Ok(*frame));
}

fn decode_message(stream: &[u8]) -> Result<Option<Message>, Malformed> {
    let Some((number, len)) = Message::head(stream)? else { return Ok(None) };
    Message::decode(number, &stream[Message::HEAD_LEN..Message::HEAD_LEN + len]).map(Some)
}

fn encode_message(message: &Message) -> Vec<u8> {
    let mut stream = Vec::new();
    message.encode(&mut stream);
    stream
}

fn encode_ack(ranges: &[std::ops::RangeInclusive<u64>]) -> Vec<u8> {
    let mut out = vec![0; Ack::encoded_len(ranges.len().min(limits::ACK_RANGES_MAX))];
    let mut w = Writer::new(&mut out);
    Frame::encode_ack_head(&mut w, &Ack::head(PathId(3), 5, 6, 7, 8));
    encode_ack_ranges(&mut w, ranges.iter().cloned());
    let written = w.written();
    out.truncate(written);
    out
}

fn decode_ack(bytes: &[u8]) -> Result<Vec<std::ops::RangeInclusive<u64>>, Malformed> {
    match decode_one(bytes)? {
        Frame::Ack(ack) => {
            assert_eq!((ack.path, ack.delay_us, ack.echo_stamp), (PathId(3), 5, 6));
            assert_eq!((ack.arrival_stamp, ack.ce_count), (7, 8));
            returns(&Frame::Ack(ack));
            Ok(ack.ranges().collect())
        }
        other => panic!("{other:?}"),
    }
}

/// What decoders hold in memory is bounded by the input's length, whatever numbers it holds.
fn check_size(message: &Message, body_len: usize) {
    match message {
        Message::Page(page) => {
            assert!(page.entries.len() <= body_len / 32);
            assert!(page.entries.iter().all(|e| e.name.len() <= limits::NAME_LEN_MAX));
            let rest = |e: &Entry| e.target.len() + e.inline.as_ref().map_or(0, |i| i.content.len());
            assert!(page.entries.iter().map(rest).sum::<usize>() <= body_len);
        }
        Message::Decision(decisions) => {
            let runs = |d: &Decision| if let Decision::Resume(runs) = d { runs.capacity() } else { 0 };
            assert!(decisions.decisions.len() <= body_len);
            assert!(decisions.decisions.iter().map(runs).sum::<usize>() <= body_len);
        }
        Message::Chunk(chunk) => assert!(chunk.digests.capacity() * 32 <= body_len.max(32)),
        Message::Done(done) => assert!(done.objects.len() * 5 <= body_len),
        _ => {}
    }
}

proptest! {
    #[test]
    fn headers_return_as_they_went(header in strategies::header()) {
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn plain_frames_return_as_they_went(
        n in 1..2_000usize, offset in 0..u64::MAX / 2, bytes in vec(any::<u8>(), 0..2_000), token: [u8; 8],
        connection: u32, path: u16, code in strategies::close_code(), text in strategies::text(256),
    ) {
        let connection = ConnectionId(connection);
        for frame in [
            Frame::Padding(n),
            Frame::Ping,
            Frame::Stream { offset, bytes: &bytes },
            Frame::Credit(offset),
            Frame::PathChallenge { token, connection },
            Frame::PathResponse { token, connection },
            Frame::PathAbandon(PathId(path)),
            Frame::Close { code, text: &text },
        ] {
            returns(&frame);
        }
    }

    #[test]
    fn windows_return_as_they_went(
        transfer: u32, pages: u32, base in 0..u32::MAX - 1_024, span in 0..=1_024u32, words in vec(any::<u64>(), 0..=16),
    ) {
        let accepted = WindowWords::Memory(&words);
        let window = Window { transfer: TransferId(transfer), pages, base, limit: base + span, accepted };
        let bytes = encode(&Frame::Window(window));
        let Ok(Frame::Window(got)) = decode_one(&bytes) else { panic!("no window") };
        prop_assert_eq!((got.transfer, got.pages, got.base, got.limit), (window.transfer, pages, base, base + span));
        prop_assert_eq!((0..got.accepted.len()).map(|i| got.accepted.word(i)).collect::<Vec<_>>(), words);
        prop_assert_eq!(encode(&Frame::Window(got)), bytes);
    }

    #[test]
    fn acks_return_as_they_went(ranges in strategies::ack_ranges()) {
        let told = &ranges[..ranges.len().min(limits::ACK_RANGES_MAX)];
        let decoded = decode_ack(&encode_ack(&ranges));
        prop_assert_eq!(decoded.as_deref(), Ok(told));
    }

    #[test]
    fn messages_return_as_they_went(message in strategies::message()) {
        let stream = encode_message(&message);
        prop_assert_eq!(decode_message(&stream), Ok(Some(message)));
        for len in [0, 1, 3, stream.len() - 1] {
            prop_assert_eq!(decode_message(&stream[..len]), Ok(None), "waits for the rest");
        }
    }

    #[test]
    fn pages_are_as_long_as_their_entries_say_at_most(page in strategies::page()) {
        let said = Page::HEAD_LEN + page.entries.iter().map(Entry::encoded_len_max).sum::<usize>();
        let len = encode_message(&Message::Page(page.clone())).len() - Message::HEAD_LEN;
        let shared: usize = page.entries.windows(2).map(|pair| {
            pair[0].name.iter().zip(&pair[1].name).take_while(|(a, b)| a == b).count()
        }).sum();
        prop_assert_eq!(len + shared, said);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..3_000)) {
        let _header = Header::decode(&bytes);
        prop_assert!(Frames::new(&bytes).count() <= bytes.len());
        for number in 0..=12 {
            if let Ok(message) = Message::decode(number, &bytes) {
                check_size(&message, bytes.len());
                prop_assert_eq!(decode_message(&encode_message(&message)), Ok(Some(message)));
            }
        }
    }

    #[test]
    fn damaged_messages_are_decoded_or_refused(
        message in strategies::message(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index, more in vec(any::<u8>(), 0..4),
    ) {
        let stream = encode_message(&message);
        let (number, mut body) = (stream[0], stream[Message::HEAD_LEN..].to_vec());
        let at = at.index(body.len());
        body[at] = byte;
        for body in [&body[..], &body[..cut.index(body.len())], &[&body[..], &more].concat()] {
            if let Ok(message) = Message::decode(number, body) {
                check_size(&message, body.len());
            }
        }
    }

    #[test]
    fn damaged_acks_never_pass_below_zero(
        ranges in strategies::ack_ranges(), at: prop::sample::Index, byte: u8,
    ) {
        let mut bytes = encode_ack(&ranges);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for frame in Frames::new(&bytes).flatten() {
            if let Frame::Ack(ack) = frame {
                let ranges: Vec<_> = ack.ranges().collect();
                prop_assert!(ranges.len() <= limits::ACK_RANGES_MAX);
                prop_assert!(ranges.iter().all(|r| r.start() <= r.end()));
                prop_assert!(ranges.windows(2).all(|pair| pair[1].end() + 1 < *pair[0].start()));
            }
        }
    }
}

#[test]
fn ack_ranges_hold_at_their_edges() {
    for ranges in
        [vec![0..=0], vec![0..=1], vec![1..=1], vec![2..=2, 0..=0], vec![(1 << 62) - 1..=(1 << 62) - 1]]
    {
        assert_eq!(decode_ack(&encode_ack(&ranges)), Ok(ranges));
    }
    let most = limits::ACK_RANGES_MAX;
    let many: Vec<_> = (0..=most as u64).rev().map(|i| i * 2..=i * 2).collect();
    for count in [most - 1, most, most + 1] {
        let told = &many[..count.min(most)];
        assert_eq!(decode_ack(&encode_ack(&many[..count])).as_deref(), Ok(told), "{count}");
    }
}

#[test]
fn ack_ranges_beyond_32_bits_are_told_in_part() {
    let long = u64::from(u32::MAX);
    let top = 4 * long;
    assert_eq!(decode_ack(&encode_ack(&[0..=long])), Ok(vec![0..=long]));
    assert_eq!(decode_ack(&encode_ack(&[0..=long + 1])), Ok(vec![1..=long + 1]));
    assert_eq!(
        decode_ack(&encode_ack(&[top..=top, 0..=top - 2])),
        Ok(vec![top..=top, top - 1 - long..=top - 2])
    );
    let after_long = [top - long - 9..=top, 5..=top - long - 11];
    let told = decode_ack(&encode_ack(&after_long)).expect("well formed");
    assert_eq!(told[0], top - long..=top);
    assert_eq!(told[1], top - 2 * long - 10..=top - long - 11);
    let reaches = [top..=top, top - 1 - long..=top - 1 - long];
    assert_eq!(decode_ack(&encode_ack(&reaches)), Ok(reaches.to_vec()));
    assert_eq!(decode_ack(&encode_ack(&[top..=top, 0..=top - 2 - long])), Ok(vec![top..=top]));
}

/// An ACK frame of these fields, right or wrong.
fn raw_ack(count: u8, largest: u64, first: u32, pairs: &[(u32, u32)]) -> Vec<u8> {
    let mut out = vec![2];
    out.extend([0; 18]);
    out.push(count);
    out.extend(largest.to_le_bytes());
    out.extend(first.to_le_bytes());
    for (gap, len) in pairs {
        out.extend(gap.to_le_bytes());
        out.extend(len.to_le_bytes());
    }
    out
}

#[test]
fn malformed_acks_are_refused() {
    assert!(decode_one(&raw_ack(2, 10, 3, &[(2, 5)])).is_ok(), "down to number 0");
    for (what, bytes) in [
        ("no range", raw_ack(0, 10, 3, &[])),
        ("129 ranges", raw_ack(129, 1_000, 0, &[(1, 1); 128])),
        ("a number of 2^62", raw_ack(1, 1 << 62, 0, &[])),
        ("first range below 0", raw_ack(1, 10, 11, &[])),
        ("second range below 0", raw_ack(2, 10, 3, &[(2, 6)])),
        ("gap below 0", raw_ack(2, 10, 3, &[(u32::MAX, u32::MAX)])),
        ("no gap", raw_ack(2, 10, 3, &[(0, 5)])),
        ("empty range", raw_ack(2, 10, 3, &[(5, 0)])),
        ("a range missing", raw_ack(3, 10, 3, &[(1, 1)])),
    ] {
        assert!(decode_one(&bytes).is_err(), "{what}");
    }
}

#[test]
fn malformed_frames_are_refused() {
    let long_text = [&[9, 0, 0, 1, 1][..], &[b'x'; 257]].concat();
    let window = |span: u32, words: u8| {
        let mut bytes = vec![5];
        bytes.extend([0; 8]);
        bytes.extend(100u32.to_le_bytes());
        bytes.extend((100u32.wrapping_add(span)).to_le_bytes());
        bytes.push(words);
        bytes.extend(vec![0; usize::from(words) * 8]);
        bytes
    };
    assert!(decode_one(&window(1_024, 16)).is_ok());
    for (what, bytes) in [
        ("unknown type", vec![10]),
        ("padding that is not zero", vec![0, 0, 1]),
        ("cut credit", vec![4, 0, 0, 0, 0, 0, 0, 0]),
        ("stream past 2^64", [&[3][..], &[0xff; 8], &[1, 0, 7]].concat()),
        ("stream shorter than it says", [&[3][..], &[0; 8], &[2, 0, 7]].concat()),
        ("close text that is not UTF-8", vec![9, 0, 0, 1, 0, 0xff]),
        ("close text of 257 bytes", long_text),
        ("window limit below base", window(u32::MAX, 0)),
        ("window too wide", window(1_025, 0)),
        ("window with 17 words", window(1, 17)),
    ] {
        assert!(decode_one(&bytes).is_err(), "{what}");
    }
}

#[test]
fn only_ack_padding_and_close_elicit_no_ack() {
    let close = Frame::Close { code: CloseCode::Done, text: "" };
    let quiet = [Frame::Ack(Ack::head(PathId(0), 0, 0, 0, 0)), Frame::Padding(3), close];
    assert!(quiet.iter().all(|frame| !frame.is_ack_eliciting()));
    let loud = [
        Frame::Ping,
        Frame::Credit(1),
        Frame::Stream { offset: 0, bytes: b"" },
        Frame::PathAbandon(PathId(1)),
    ];
    assert!(loud.iter().all(Frame::is_ack_eliciting));
}

#[test]
fn names_are_checked_by_rule() {
    let component = |len| vec![b'x'; len];
    let long = |len: usize| [&b"ab/".repeat(len / 3)[..], &vec![b'y'; len % 3]].concat();
    let good: &[&[u8]] =
        &[b"a", b"a/b", b"...", b".a", b"a.", b"..a/b", b" ", b"a\nb", b"\xff\xfe", b"a:b", b"-"];
    for name in good.iter().map(|n| n.to_vec()).chain([
        component(255),
        long(4_094),
        [&long(4_094)[..], b"y"].concat(),
    ]) {
        assert_eq!(check_name(&name), Ok(()), "{name:?}");
    }
    let bad: &[&[u8]] = &[
        b"",
        b"/",
        b"/a",
        b"a/",
        b"a//b",
        b".",
        b"..",
        b"a/..",
        b"../a",
        b"a/./b",
        b"a\0b",
        b"\0",
        b"a/../../b",
    ];
    for name in bad.iter().map(|n| n.to_vec()).chain([component(256), [&long(4_094)[..], b"yy"].concat()]) {
        assert!(check_name(&name).is_err(), "{name:?}");
    }
}

fn directory(name: &[u8]) -> Entry {
    Entry {
        kind: EntryKind::Directory,
        mode: 0o755,
        mtime_s: -1,
        mtime_ns: 999_999_999,
        size: 0,
        open: false,
        name: name.to_vec(),
        target: Vec::new(),
        attributes: Vec::new(),
        inline: None,
    }
}

fn page(number: u32, entries: Vec<Entry>) -> Message {
    Message::Page(Page { transfer: TransferId(1), number, first_object: 0, last: true, entries })
}

fn page_returns(message: &Message) -> bool {
    decode_message(&encode_message(message)) == Ok(Some(message.clone()))
}

#[test]
fn the_destination_itself_is_the_first_entry_or_none() {
    assert!(page_returns(&page(0, vec![directory(b"."), directory(b"a")])));
    assert!(!page_returns(&page(0, vec![directory(b"a"), directory(b".")])));
    assert!(!page_returns(&page(1, vec![directory(b".")])));
    let file = Entry { kind: EntryKind::File, ..directory(b".") };
    assert!(!page_returns(&page(0, vec![file])));
}

#[test]
fn shared_prefixes_cost_no_bytes_and_names_stay_bounded() {
    let deep = b"0123456789/".repeat(372);
    let entries: Vec<_> = (0..limits::PAGE_ENTRIES_MAX)
        .map(|i| directory(&[&deep[..], &[b'a' + (i % 3) as u8]].concat()))
        .collect();
    let short = page(0, entries[..1_800].to_vec());
    assert!(encode_message(&short).len() < limits::MESSAGE_LEN_MAX);
    assert!(page_returns(&short));
}

#[test]
fn a_page_of_more_entries_than_any_is_refused_at_once() {
    let mut stream = encode_message(&page(0, Vec::new()));
    let count = Message::HEAD_LEN + Page::HEAD_LEN - 2;
    for (entries, what) in
        [(2_000u16, "entry kind"), (2_001, "page entry count"), (u16::MAX, "page entry count")]
    {
        stream[count..count + 2].copy_from_slice(&entries.to_le_bytes());
        assert_eq!(decode_message(&stream), Err(Malformed { what }), "{entries}");
    }
}

#[test]
fn a_shared_prefix_longer_than_the_name_before_is_refused() {
    let mut stream = encode_message(&page(0, vec![directory(b"ab"), directory(b"ac")]));
    let second = Message::HEAD_LEN + Page::HEAD_LEN + 28 + 2 + 2 + 2 + 24;
    assert_eq!(stream[second..second + 2], [1, 0], "one shared byte");
    for (shared, good) in [(0, true), (2, true), (3, false), (255, false)] {
        stream[second] = shared;
        assert_eq!(decode_message(&stream).is_ok(), good, "{shared}");
    }
}

#[test]
fn fields_of_another_kind_are_refused() {
    let file = Entry { kind: EntryKind::File, ..directory(b"a") };
    assert!(page_returns(&page(0, vec![file.clone()])));
    for entry in [
        Entry { size: 1, ..directory(b"a") },
        Entry { open: true, ..directory(b"a") },
        Entry { target: b"t".to_vec(), ..file.clone() },
        Entry { kind: EntryKind::Symlink, ..directory(b"a") },
        Entry { kind: EntryKind::Symlink, target: b"a\0b".to_vec(), ..directory(b"a") },
        Entry { open: true, size: 1, ..file.clone() },
        Entry { mode: 0o10000, ..file.clone() },
        Entry { mtime_ns: 1_000_000_000, ..file.clone() },
        Entry { size: limits::SPACE_MAX + 1, ..file.clone() },
    ] {
        assert!(!page_returns(&page(0, vec![entry.clone()])), "{entry:?}");
    }
    let open = Entry { open: true, ..file.clone() };
    assert!(page_returns(&page(0, vec![file.clone(), open.clone()])));
    assert!(!page_returns(&page(0, vec![open, file])), "an open object is the last");
}

#[test]
fn unknown_attributes_are_ignored() {
    let entry = Entry { attributes: vec![Attribute::HardLink(7)], ..directory(b"a") };
    let mut stream = encode_message(&page(0, vec![entry]));
    let kind = stream.len() - 7;
    assert_eq!(stream[kind], 5);
    stream[kind] = 77;
    assert_eq!(decode_message(&stream), Ok(Some(page(0, vec![directory(b"a")]))));
}

#[test]
fn attributes_of_another_length_are_refused() {
    let entry = Entry { attributes: vec![Attribute::HardLink(7)], ..directory(b"a") };
    let stream = encode_message(&page(0, vec![entry]));
    // Its length and that of all extras stand before it.
    let (extras, length) = (stream.len() - 9, stream.len() - 6);
    assert_eq!((stream[extras], stream[length]), (7, 4));
    for more in [-1_i8, 1] {
        let mut changed = stream.clone();
        for at in [1, extras, length] {
            changed[at] = changed[at].wrapping_add_signed(more);
        }
        changed.resize(stream.len().wrapping_add_signed(more.into()), 0);
        assert!(decode_message(&changed).is_err(), "{more}");
    }
}

#[test]
fn resume_runs_ascend_without_touching() {
    let resume = |runs: &[(u32, u32)]| {
        let runs = runs.iter().map(|(first, count)| Run { first: *first, count: *count }).collect();
        let decisions = vec![Decision::Resume(runs)];
        let message = Message::Decision(xfer_proto::wire::Decisions {
            transfer: TransferId(1),
            page: 0,
            first_entry: 0,
            decisions,
        });
        page_returns(&message)
    };
    assert!(resume(&[]) && resume(&[(0, 1)]) && resume(&[(0, 1), (2, 1)]) && resume(&[(u32::MAX - 1, 1)]));
    assert!(
        !resume(&[(0, 0)])
            && !resume(&[(0, 1), (1, 1)])
            && !resume(&[(5, 1), (3, 1)])
            && !resume(&[(u32::MAX, 1)])
    );
}

#[test]
fn errors_are_cut_to_their_bounds() {
    let error = xfer_proto::wire::ErrorBody {
        class: 3,
        side: 2,
        errno: 28,
        offset: None,
        name: vec![b'n'; 5_000],
        text: "\u{20ac}".repeat(400),
    };
    let stream = encode_message(&Message::Cancel { transfer: TransferId(1), error });
    let Ok(Some(Message::Cancel { error, .. })) = decode_message(&stream) else { panic!("no CANCEL") };
    assert_eq!((error.name.len(), error.text.len()), (limits::NAME_LEN_MAX, 1_023));
}

#[test]
fn a_message_longer_than_any_is_refused_before_it_is_there() {
    assert_eq!(Message::head(&[1, 0xff, 0xff, 0]), Ok(None));
    assert!(Message::head(&[1, 0, 0, 1]).is_err());
}
