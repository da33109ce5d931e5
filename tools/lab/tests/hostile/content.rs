//! Uploads whose manifest or content is made to harm: names, counts, lengths, encodings.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use xfer_client::Client;
use xfer_proto::crypto::Direction;
use xfer_proto::limits::{NAME_LEN_MAX, PAGE_ENTRIES_MAX};
use xfer_proto::wire::{
    Chunk, CloseCode, Codec, Decision, Entry, EntryKind, Frame, Inline, Message, Open, Page, Role,
};

use crate::peer::{Pass, Peer, TRANSFER};
use crate::stage::{Allowance, Stage, finely_cut, noise};

const SOON: Duration = Duration::from_secs(2);
const CHUNK: u64 = 1 << 20;
const CONNECTION: Allowance = Allowance { mib: 24, descriptors: 8, lines: 40 };

fn file(name: &[u8], size: u64) -> Entry {
    Entry {
        kind: EntryKind::File,
        mode: 0o644,
        mtime_s: 0,
        mtime_ns: 0,
        size,
        open: false,
        name: name.to_vec(),
        target: Vec::new(),
        attributes: Vec::new(),
        inline: None,
    }
}

fn small(name: &[u8], content: &[u8]) -> Entry {
    let digest = xfer_engine::digest::root(content);
    let inline = Inline { content: content.to_vec(), digest };
    Entry { inline: Some(inline), ..file(name, content.len() as u64) }
}

fn page(number: u32, first_object: u32, last: bool, entries: Vec<Entry>) -> Message {
    Message::Page(Page { transfer: TRANSFER, number, first_object, last, entries })
}

/// A connection that uploads into the directory `into`.
fn uploading(stage: &Stage, client: &Client, into: &str) -> Peer {
    fs::create_dir(stage.root().join(into)).unwrap();
    let pass = Pass::of(&stage.upload(client, into), stage.address(), Direction::OpenerSends);
    let open = Open { transfer: TRANSFER, role: Role::Sender, chunk_log2: 20, digests: true };
    Peer::connect(&stage.hostile(), &pass, &[Message::Open(open)])
}

fn decisions(peer: &Peer) -> Vec<Decision> {
    let each = peer.messages.iter().filter_map(|message| match message {
        Message::Decision(news) => Some(news.decisions.clone()),
        _ => None,
    });
    each.flatten().collect()
}

fn until_decided(peer: &mut Peer, count: usize) -> Vec<Decision> {
    assert!(peer.until(SOON, |peer| decisions(peer).len() >= count), "{:?}", peer.messages);
    decisions(peer)
}

/// Names that lead elsewhere, or nowhere, end the connection before anything is made.
#[test]
fn names_that_no_receiver_takes_end_the_connection() {
    let stage = Stage::up("names");
    let client = stage.client();
    let long = [&[b'a'; 255][..], b"/"].concat().repeat(16);
    let too_long = [&long[..NAME_LEN_MAX], b"a"].concat();
    let names: [(&[u8], CloseCode); 10] = [
        (b"..", CloseCode::Name),
        (b"../x", CloseCode::Name),
        (b"a/../../x", CloseCode::Name),
        (b"/etc/x", CloseCode::Name),
        (b"a//b", CloseCode::Name),
        (b"a/./b", CloseCode::Name),
        (b"a/", CloseCode::Name),
        (b"a\0b", CloseCode::Name),
        (&[b'n'; 256], CloseCode::Name),
        (&too_long, CloseCode::Protocol),
    ];
    for (i, (name, code)) in names.into_iter().enumerate() {
        let into = format!("n{i}");
        let mut peer = uploading(&stage, &client, &into);
        peer.say(&page(0, 0, true, vec![small(name, b"x")]));
        assert_eq!(peer.until_closed().0, code, "{}", name.escape_ascii());
        assert_eq!(fs::read_dir(stage.root().join(into)).unwrap().count(), 0);
    }
    let home = stage.root();
    let outside = home.parent().unwrap();
    assert!(!outside.join("x").exists() && !outside.join("a").exists());
    stage.until_logged(&["transfer ended", "Name: name with . or .."]);
    stage.withstood(CONNECTION);
}

/// Names are bytes: what looks odd is a file of that name, twice the same is one file, and what leads through a symlink is refused alone.
#[test]
fn odd_names_are_names() {
    let stage = Stage::up("odd");
    let client = stage.client();
    let mut peer = uploading(&stage, &client, "odd");
    let outside = stage.hostile().home();
    let link =
        Entry { kind: EntryKind::Symlink, target: outside.as_os_str().as_bytes().to_vec(), ..file(b"s", 0) };
    let odd: [&[u8]; 6] = [b"a:b", b"C:\\x", b"\xff\xfe", b"new\nline", b"xfer:", b"-r"];
    let mut entries: Vec<Entry> = odd.iter().map(|name| small(name, b"odd")).collect();
    entries.extend([link, small(b"s/inside", b"x"), small(b"twice", b"one"), small(b"twice", b"two")]);
    peer.say(&page(0, 0, true, entries));
    let decided = until_decided(&mut peer, odd.len() + 4);
    assert!(matches!(decided[odd.len() + 1], Decision::Fail(_)), "{decided:?}");
    let complete = |peer: &Peer| peer.messages.iter().any(|message| matches!(message, Message::Complete(_)));
    assert!(peer.until(SOON, complete), "{:?}", peer.messages);
    let made = stage.root().join("odd");
    for name in odd {
        assert_eq!(fs::read(made.join(std::ffi::OsStr::from_bytes(name))).unwrap(), b"odd");
    }
    assert!(!outside.join("inside").exists());
    assert!([&b"one"[..], b"two"].contains(&&fs::read(made.join("twice")).unwrap()[..]));
    stage.withstood(CONNECTION);
}

/// A manifest without end of files whose content never comes: pages are let come until the open files take what they may.
#[test]
fn a_manifest_without_end_is_held_up() {
    let stage = Stage::up("billion");
    let client = stage.client();
    let mut peer = uploading(&stage, &client, "many");
    let directory = [&[b'd'; 250][..], b"/"].concat().repeat(8);
    let (mut number, mut object) = (0, 0);
    let started = Instant::now();
    while peer.until(Duration::from_secs(1), |peer| peer.window.0 > number) {
        let entries = (0..1_500_u32).map(|i| {
            let name = [&directory[..], format!("{:010}", object + i).as_bytes()].concat();
            file(&name, 1)
        });
        peer.say(&page(number, object, false, entries.collect()));
        peer.acknowledge();
        (number, object) = (number + 1, object + 1_500);
        assert!(started.elapsed() < Duration::from_secs(15), "page {number} is let come");
    }
    println!("{number} pages with {object} objects in {:?}", started.elapsed());
    assert_eq!(peer.closed, None);
    let open_max = xfer_engine::limits::FILES_OPEN_BYTES_MAX
        / (xfer_engine::limits::FILE_OPEN_BYTES + 2 * directory.len() as u64);
    assert!(u64::from(object) >= open_max, "{object} objects are fewer than {open_max}");
    let most = open_max + u64::from(xfer_engine::limits::PAGES_AHEAD + 1) * 1_500;
    assert!(u64::from(object) <= most, "{object} objects are more than {most}");
    let mib = 2 * (xfer_engine::limits::FILES_OPEN_BYTES_MAX >> 20) + 24;
    stage.withstood(Allowance { mib, ..CONNECTION });
}

/// Lengths and numbers that do not fit: each is refused with a reason, and no room is taken for it.
#[test]
fn lengths_that_overflow_are_refused() {
    let stage = Stage::up("lengths");
    let client = stage.client();
    let closes = |into: &str, message: Message| {
        let mut peer = uploading(&stage, &client, into);
        peer.say(&message);
        peer.until_closed().0
    };
    assert_eq!(closes("l0", page(0, 0, true, vec![file(b"f", (1 << 48) + 1)])), CloseCode::Protocol);
    assert_eq!(closes("l1", page(0, 0, true, vec![file(b"f", u64::MAX)])), CloseCode::Protocol);
    let all = (0..PAGE_ENTRIES_MAX - 100).map(|i| file(format!("{i:04}").as_bytes(), 1 << 48)).collect();
    assert_eq!(closes("l2", page(0, 0, true, all)), CloseCode::Cancelled);
    stage.until_logged(&["transfer ended", "no room in", "bytes needed"]);
    assert_eq!(closes("l3", page(0, u32::MAX, true, vec![file(b"f", 1)])), CloseCode::Protocol);
    assert_eq!(closes("l4", page(0, 7, true, vec![file(b"f", 1)])), CloseCode::Cancelled);
    assert_eq!(closes("l5", page(9, 0, true, vec![file(b"f", 1)])), CloseCode::Cancelled);
    stage.until_logged(&["transfer ended", "a page that was not asked for"]);
    stage.withstood(CONNECTION);
}

/// A Zstandard frame of RLE blocks: four bytes for 128 KiB each.
fn bomb(blocks: usize) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x88];
    for i in 0..blocks {
        let last = u32::from(i + 1 == blocks);
        frame.extend_from_slice(&((128 << 10) << 3 | 1 << 1 | last).to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

/// A chunk of 1 MiB whose stored bytes claim to be a gigabyte: it is decoded into its own buffer, and asked for again when that is too short.
#[test]
fn a_compression_bomb_is_rejected() {
    let stage = Stage::up("bomb");
    let client = stage.client();
    let mut peer = uploading(&stage, &client, "bomb");
    peer.say(&page(0, 0, true, vec![file(b"f", CHUNK)]));
    until_decided(&mut peer, 1);
    let stored = bomb(8_192);
    for attempt in 0..4_u8 {
        let rejects = peer.messages.len();
        peer.say(&Message::Chunk(Chunk {
            transfer: TRANSFER,
            chunk: 0,
            attempt,
            codec: Codec::Zstd,
            stored_len: stored.len() as u32,
            digests: vec![[0; 32]],
        }));
        for (i, piece) in stored.chunks(1_184).enumerate() {
            peer.send_content((i * 1_184) as u64, attempt, piece);
        }
        let rejected = |peer: &Peer| {
            peer.messages[rejects..].iter().any(|message| matches!(message, Message::Reject { .. }))
        };
        assert!(peer.until(SOON, rejected), "attempt {attempt}: {:?} {:?}", peer.messages, peer.closed);
        peer.acknowledge();
    }
    assert!(!stage.root().join("bomb/f").exists());
    stage.withstood(CONNECTION);
}

/// Files of two chunks of 64 KiB, of which the second never comes.
fn halves(count: u32) -> Vec<Entry> {
    (0..count).map(|i| file(format!("{i:03}").as_bytes(), (64 << 10) + 1)).collect()
}

/// A connection that uploads files of two chunks into `half`, and lists `entries` of them.
fn halving(stage: &Stage, client: &Client, entries: Vec<Entry>) -> Peer {
    let answer = client.create_transfer(finely_cut("half")).unwrap();
    let pass = Pass::of(&answer, stage.address(), Direction::OpenerSends);
    let open = Open { transfer: TRANSFER, role: Role::Sender, chunk_log2: 16, digests: true };
    let mut peer = Peer::connect(&stage.hostile(), &pass, &[Message::Open(open)]);
    peer.say(&page(0, 0, true, entries));
    peer
}

/// Hundreds of files that an earlier run left half done are listed at once: as many are gone on with as a transfer may have open, an eighth of
/// what the process may, and the others come anew.
#[test]
fn half_files_that_go_on_together_are_bounded() {
    const HALVES: u32 = 100;
    const CLAIMS: usize = 64;
    let stage = Stage::under("halves", &["prlimit", "--nofile=1024:1024"], &[]);
    fs::create_dir(stage.root().join("half")).unwrap();
    let client = stage.client();
    let content = noise(64 << 10);
    let digest = xfer_engine::digest::chunk_value(&content, 0);
    let (mut begun, mut runs) = (0, 0);
    while begun < HALVES {
        let mut peer = halving(&stage, &client, halves(HALVES)[begun as usize..].to_vec());
        until_decided(&mut peer, (HALVES - begun) as usize);
        peer.until(SOON, |peer| peer.window.2 >= 8);
        // Every second chunk that was granted is the first one of a file.
        let granted = (peer.window.2 / 2).min(HALVES - begun);
        assert!(granted > 0, "{:?}", peer.window);
        for chunk in (0..granted).map(|i| 2 * i) {
            let digests = vec![digest];
            let (codec, stored_len) = (Codec::Plain, 64 << 10);
            peer.say(&Message::Chunk(Chunk {
                transfer: TRANSFER,
                chunk,
                attempt: 0,
                codec,
                stored_len,
                digests,
            }));
            for (i, piece) in content.chunks(1_184).enumerate() {
                peer.send_content((u64::from(chunk) << 16) + (i * 1_184) as u64, 0, piece);
            }
        }
        let journals = || journals_with_content(&stage);
        let wanted = (begun + granted) as usize;
        peer.until(SOON * 2, |_| journals() >= wanted);
        peer.send(&[Frame::Close { code: CloseCode::Cancelled, text: "half" }]);
        runs += 1;
        stage.until_ended(runs);
        assert_eq!(journals(), wanted);
        begun += granted;
    }
    stage.count_anew();
    let mut peer = halving(&stage, &client, halves(HALVES));
    let decided = until_decided(&mut peer, HALVES as usize);
    let resumed = decided.iter().filter(|decision| matches!(decision, Decision::Resume(_))).count();
    let anew = decided.iter().filter(|decision| matches!(decision, Decision::Need)).count();
    assert_eq!((resumed, anew), (CLAIMS, HALVES as usize - CLAIMS));
    let open = stage.taken().descriptors;
    println!("{begun} half files in {runs} runs; {open} descriptors with {resumed} of them in progress");
    stage.withstood(Allowance { descriptors: 2 * CLAIMS + 16, ..CONNECTION });
}

/// Journals of `half` that tell of a chunk.
fn journals_with_content(stage: &Stage) -> usize {
    let directory = stage.root().join("half/.xfer-partial");
    let journals = fs::read_dir(directory).into_iter().flatten().flatten();
    let told = journals.filter(|entry| {
        let name = entry.file_name();
        name.as_bytes().ends_with(b".journal") && entry.metadata().is_ok_and(|meta| meta.len() > 140)
    });
    told.count()
}
