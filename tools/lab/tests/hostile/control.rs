//! The control port and those who begin and do not go on, have no token, or ask for too much.

use std::io::Read;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::stage::{Allowance, Stage};
use crate::web::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Web, call, frame, tcp};

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
    let before = stage.taken();
    let host = stage.hostile();
    let started = Instant::now();
    let mut silent: Vec<_> = (0..600).map(|_| tcp(&host, stage.address()).unwrap()).collect();
    stage.serves_in_time();
    stage.bounded(before, STRANGERS);
    let newest = silent.last_mut().unwrap();
    newest.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let ended = newest.read(&mut [0; 64]);
    assert!(ended.is_ok_and(|len| len == 0), "the node closes");
    let took = started.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(8), "{took:?}");
    stage.bounded(before, Allowance { descriptors: 8, ..STRANGERS });
}

/// TLS is done and nothing follows, or one byte now and then: the oldest make room, and a real client is served.
#[test]
fn strangers_behind_tls_make_room() {
    let stage = Stage::up("idlers");
    let before = stage.taken();
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
    stage.bounded(before, STRANGERS);
    assert!(idlers[0].drain(soon(), |_| {}), "the oldest made room");
    let newest = idlers.last_mut().unwrap();
    assert!(!newest.drain(Instant::now() + Duration::from_millis(100), |_| {}), "the newest is borne with");
}

/// Whoever has no token gets an answer to one call and then nothing; the log says so now and then, not each time.
#[test]
fn a_call_without_the_token_is_the_last() {
    let stage = Stage::up("token");
    let before = stage.taken();
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
    stage.serves();
    stage.bounded(before, STRANGERS);
}

/// Thousands of streams that a client with the token opens and leaves open: all but a few are refused.
#[test]
fn idle_streams_are_refused() {
    let stage = Stage::up("streams");
    let before = stage.taken();
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
    stage.bounded(before, STRANGERS);
}

/// A message of 4 GiB is refused by its length; one that is sent in part is waited for within the window of its stream.
#[test]
fn oversized_messages_are_refused() {
    let stage = Stage::up("messages");
    let before = stage.taken();
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
    stage.bounded(before, STRANGERS);
}
