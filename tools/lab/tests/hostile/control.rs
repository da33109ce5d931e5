//! The control port and those who begin and do not go on, have no token, or ask for too much.

use std::io::Read;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::stage::{Allowance, Stage, noise};
use crate::web::{ACK, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, Web, call, frame, tcp};

const STAT: &str = "/xfer.v1.FileService/Stat";
/// Connections over which no token came: `STRANGERS_MAX` of the node.
const STRANGERS_MAX: usize = 256;
/// A stranger's TLS state and HTTP/2 buffers.
const STRANGERS: Allowance = Allowance { mib: 48, descriptors: STRANGERS_MAX + 16, lines: 24 };

fn token(stage: &Stage) -> String {
    format!("Bearer {}", URL_SAFE_NO_PAD.encode(stage.link.token))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(3)
}

/// TCP connections that say nothing: no more than may are kept, each is closed after 5 s, and a real client does not wait for any.
#[test]
fn handshakes_that_never_end_keep_nobody_out() {
    let stage = Stage::up("silent");
    let host = stage.hostile();
    let started = Instant::now();
    let mut silent: Vec<_> = (0..600).map(|_| tcp(&host, stage.address()).unwrap()).collect();
    stage.serves_in_time();
    stage.bounded(STRANGERS);
    let newest = silent.last_mut().unwrap();
    newest.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let ended = newest.read(&mut [0; 64]);
    assert!(ended.is_ok_and(|len| len == 0), "the node closes");
    let took = started.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(8), "{took:?}");
    stage.bounded(Allowance { descriptors: 8, ..STRANGERS });
}

/// TLS is done and nothing follows, or one byte now and then: the oldest make room, and a real client is served.
#[test]
fn strangers_behind_tls_make_room() {
    let stage = Stage::up("idlers");
    let host = stage.hostile();
    let mut idlers: Vec<Web> = Vec::new();
    for i in 0..STRANGERS_MAX + 100 {
        let mut web = Web::connect(&host, stage.address()).unwrap();
        match i % 3 {
            0 => {}
            1 => web.write(b"PRI * HTTP/2").unwrap(),
            // A call whose headers never end.
            _ => {
                web.greet().unwrap();
                web.write(&frame(HEADERS, 0, 1, &call(STAT, None)[..10])).unwrap();
            }
        }
        idlers.push(web);
    }
    stage.serves_in_time();
    stage.bounded(STRANGERS);
    assert!(idlers[0].drain(soon(), |_| {}), "the oldest made room");
    let newest = idlers.last_mut().unwrap();
    assert!(!newest.drain(Instant::now() + Duration::from_millis(100), |_| {}), "the newest is borne with");
}

/// Whoever has no token gets an answer to one call and then nothing; the log says so now and then, not each time.
#[test]
fn a_call_without_the_token_is_the_last() {
    let stage = Stage::up("token");
    let host = stage.hostile();
    let wrong = token(&stage).to_lowercase();
    for i in 0..60 {
        let mut web = Web::connect(&host, stage.address()).unwrap();
        web.greet().unwrap();
        let given = [None, Some("Bearer"), Some(&wrong[..])][i % 3];
        web.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &call(STAT, given))).unwrap();
        if i < 3 {
            let mut answered = 0;
            let ended = web.drain(soon(), |frame| {
                answered += usize::from(frame.kind == HEADERS && frame.stream == 1);
                assert_ne!(frame.kind, DATA, "no content for strangers");
            });
            assert!(answered > 0 && ended, "{answered} answers, ended: {ended}");
        }
    }
    stage.until_logged(&["a call without the node's token is refused"]);
    stage.withstood(STRANGERS);
}

/// Thousands of streams that a client with the token opens and leaves open: all but a few are refused.
#[test]
fn idle_streams_are_refused() {
    let stage = Stage::up("streams");
    let mut web = Web::connect(&stage.hostile(), stage.address()).unwrap();
    web.greet().unwrap();
    let headers = call(STAT, Some(&token(&stage)));
    let mut refused = 0;
    let mut ended = false;
    for i in 0..3_000 {
        if web.write(&frame(HEADERS, END_HEADERS, 2 * i + 1, &headers)).is_err() {
            ended = true;
            break;
        }
        if i % 100 == 99 {
            ended |= web.drain(Instant::now() + Duration::from_millis(5), |frame| {
                refused += usize::from(frame.kind == RST_STREAM);
            });
        }
    }
    ended |= web.drain(Instant::now() + Duration::from_millis(300), |frame| {
        refused += usize::from(frame.kind == RST_STREAM);
    });
    println!("{refused} streams refused, connection ended: {ended}");
    assert!(refused >= 2_900 || ended);
    stage.serves_in_time();
    stage.bounded(STRANGERS);
}

/// A message of 4 GiB is refused by its length; one that is sent in part is waited for within the window of its stream.
#[test]
fn oversized_messages_are_refused() {
    let stage = Stage::up("messages");
    let host = stage.hostile();
    let headers = call(STAT, Some(&token(&stage)));
    for len in [u32::MAX, (4 << 20) + 1] {
        let mut web = Web::connect(&host, stage.address()).unwrap();
        web.greet().unwrap();
        web.write(&frame(HEADERS, END_HEADERS, 1, &headers)).unwrap();
        let head = [&[0][..], &len.to_be_bytes(), &[0; 1_000]].concat();
        web.write(&frame(DATA, 0, 1, &head)).unwrap();
        let mut answered = false;
        web.drain(Instant::now() + Duration::from_millis(500), |frame| answered |= frame.kind == HEADERS);
        assert!(answered, "a message of {len} bytes is refused");
    }
    // As much as flow control lets pass, on as many streams as there may be, and never all of it.
    let mut web = Web::connect(&host, stage.address()).unwrap();
    web.greet().unwrap();
    for i in 0..64 {
        web.write(&frame(HEADERS, END_HEADERS, 2 * i + 1, &headers)).unwrap();
        let head = [&[0][..], &(4_u32 << 20).to_be_bytes(), &[0; 900]].concat();
        web.write(&frame(DATA, 0, 2 * i + 1, &head)).unwrap();
    }
    web.drain(Instant::now() + Duration::from_millis(200), |_| {});
    stage.serves_in_time();
    stage.bounded(STRANGERS);
}

/// Requests that lack their last byte, over as many connections: of one host the node holds 16 MiB, the others are refused, and it goes on
/// serving.
#[test]
fn requests_under_way_are_bounded() {
    let stage = Stage::up("requests");
    let host = stage.hostile();
    let headers = call(STAT, Some(&token(&stage)));
    let content = noise(16_000);
    let mut all = Vec::new();
    for _ in 0..60 {
        let mut web = Web::connect(&host, stage.address()).unwrap();
        web.greet().unwrap();
        // Only once its settings are acknowledged the node takes more than 64 KiB of a stream.
        web.write(&frame(SETTINGS, ACK, 0, &[])).unwrap();
        web.write(&frame(HEADERS, END_HEADERS, 1, &headers)).unwrap();
        web.write(&frame(DATA, 0, 1, &[&[0][..], &(4_u32 << 20).to_be_bytes()].concat())).unwrap();
        for _ in 0..60 {
            // One that was refused may be closed to more.
            if web.write(&frame(DATA, 0, 1, &content)).is_err() {
                break;
            }
        }
        all.push(web);
    }
    let mut refused = 0;
    for web in &mut all {
        let mut answered = false;
        // Whoever goes on after a refusal is cut off.
        let closed = web.drain(Instant::now() + Duration::from_millis(50), |frame| {
            answered |= matches!(frame.kind, HEADERS | RST_STREAM);
        });
        refused += usize::from(answered || closed);
    }
    println!("{refused} of {} requests were refused", all.len());
    assert!((40..60).contains(&refused), "{refused} were refused");
    stage.serves_in_time();
    // Besides the requests each connection has its TLS and HTTP/2.
    stage.bounded(Allowance { mib: 16 + 24, descriptors: 70, lines: 40 });
}

/// Listings that are asked for and not read: they take no more of the node's threads than one client may have, and the others are served.
#[test]
fn answers_that_nobody_reads_hold_nobody_up() {
    let stage = Stage::up("unread");
    let many = stage.root().join("many");
    std::fs::create_dir(&many).unwrap();
    for i in 0..6_000 {
        std::fs::write(many.join(format!("{i:0200}")), "").unwrap();
    }
    let list = call("/xfer.v1.FileService/List", Some(&token(&stage)));
    // The path and nothing else.
    let message = [&[0, 0, 0, 0, 6, 0x0a, 4][..], b"many"].concat();
    let mut all = Vec::new();
    for _ in 0..4 {
        let mut web = Web::connect(&stage.hostile(), stage.address()).unwrap();
        web.greet().unwrap();
        for i in 0..32 {
            web.write(&frame(HEADERS, END_HEADERS, 2 * i + 1, &list)).unwrap();
            web.write(&frame(DATA, END_STREAM, 2 * i + 1, &message)).unwrap();
        }
        all.push(web);
    }
    stage.until_logged(&["a bound is met", "this host has as many calls under way as a client may"]);
    stage.serves_in_time();
    // Of 64 listings each has its batches, what HTTP/2 holds of them, and a thread.
    stage.bounded(Allowance { mib: 64 * 2 + 24, descriptors: 16, lines: 40 });
}
