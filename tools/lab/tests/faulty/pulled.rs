//! Both wires pulled at once: for a moment, and for a minute.

use std::thread;
use std::time::Duration;

use xfer_lab::Cut;

use crate::stage::{SIZE, Stage, WAYS, Way};

/// Less than a peer is waited for ...
const A_MOMENT: Duration = Duration::from_secs(5);
/// ... and much more.
const A_MINUTE: Duration = Duration::from_secs(60);

/// Content that may have arrived without its sender hearing so: the chunks that are granted at first.
const UNHEARD_MAX: u64 = 16 << 20;

/// Pulls both wires in mid-copy and puts them back. The copy goes on by itself.
fn pulled(way: Way, cut: Cut, pause: Duration) -> usize {
    let stage = Stage::up(&format!("pull{}{}{}", way as u8, cut as u8, pause.as_secs()), 2);
    let copy = stage.begin(way);
    for wire in [1, 2] {
        stage.lab.cut(wire, None, cut).unwrap();
    }
    // Nothing is waited for here: this is how long the wires are away.
    thread::sleep(pause);
    for wire in [1, 2] {
        stage.lab.restore(wire).unwrap();
    }
    let (done, retries) = copy.succeed();
    // Neither end died: nothing that arrived was lost. What the sender has not heard of when the wires go counts as there already.
    let [bytes, reused] =
        ["bytes", "reused_bytes"].map(|key| done.summary()[key].as_u64().expect("a number"));
    assert_eq!(bytes + reused, SIZE, "{way:?} {cut:?}: {done:#?}");
    assert!(reused <= UNHEARD_MAX, "{way:?} {cut:?}: {done:#?}");
    println!("{way:?}, {cut:?} for {pause:?}: {retries} retries, {}", done.summary());
    retries
}

/// All of them at once: they spend their time waiting.
fn each(pause: Duration, right: impl Fn(usize) -> bool + Sync) {
    let right = &right;
    thread::scope(|scope| {
        for way in WAYS {
            for cut in [Cut::Blackhole, Cut::Carrier] {
                scope.spawn(move || {
                    let retries = pulled(way, cut, pause);
                    assert!(right(retries), "{way:?} {cut:?} for {pause:?}: {retries} retries");
                });
            }
        }
    });
}

#[test]
fn both_wires_pulled_for_a_moment_are_waited_for() {
    each(A_MOMENT, |retries| retries == 0);
}

#[test]
fn both_wires_pulled_for_a_minute_are_tried_again() {
    each(A_MINUTE, |retries| retries > 0);
}
