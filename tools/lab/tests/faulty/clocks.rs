//! The clock of one end steps back a day: in mid-copy, and between the issue of a ticket and its use.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use xfer_lab::Cut;

use crate::clock::{Clock, DAY};
use crate::node::listen;
use crate::stage::{Environment, Stage, WAYS, Way};

/// The end whose clock steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stepped {
    Client,
    Node,
}

const ENDS: [Stepped; 2] = [Stepped::Client, Stepped::Node];

impl Stepped {
    /// Environments of the client and of the node.
    fn environments(self, clock: &Clock) -> (Environment, Environment) {
        match self {
            Stepped::Client => (clock.environment(), Vec::new()),
            Stepped::Node => (Vec::new(), clock.environment()),
        }
    }
}

/// The day that a line of output names.
fn day(line: &Value) -> String {
    line["ts"].as_str().expect("each line has a time").split('T').next().unwrap_or_default().to_owned()
}

/// The copy's last word has the date that its clock shows, so the step was one.
fn assert_stepped(end: Stepped, first: &str, last: &Value) {
    if end == Stepped::Client {
        assert!(day(last).as_str() < first, "{last} is not before {first}");
    }
}

/// Today, as the right clock has it.
fn today(stage: &Stage) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let date =
        stage.lab.host("a").command("date").args(["-u", "-d", &format!("@{since}"), "+%Y-%m-%d"]).output();
    String::from_utf8(date.unwrap().stdout).unwrap().trim().to_owned()
}

fn steps_in_mid_copy(way: Way, end: Stepped) {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::new(directory.path());
    let (ours, theirs) = end.environments(&clock);
    let stage =
        Stage::up_with(&format!("step{}{}", way as u8, end as u8), 1, |b| listen(b.ipv4(1)).into(), theirs);
    let copy = stage.begin_with(way, &[], ours);
    clock.step(-DAY);
    let (done, retries) = copy.succeed();
    assert_eq!(retries, 0, "{way:?} {end:?}: {done:#?}");
    assert_stepped(end, &today(&stage), done.summary());
}

#[test]
fn a_clock_steps_back_a_day_in_mid_copy() {
    for way in WAYS {
        for end in ENDS {
            steps_in_mid_copy(way, end);
        }
    }
}

/// Control goes over wire 1, content over wire 2, which is cut until the clock has stepped.
fn steps_behind_the_ticket(end: Stepped) {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::new(directory.path());
    let (ours, theirs) = end.environments(&clock);
    let apart = |b: &xfer_lab::Host| {
        let data = ["--data".to_owned(), b.ipv4(2).to_string()];
        listen(b.ipv4(1)).into_iter().chain(data).collect()
    };
    let stage = Stage::up_with(&format!("ticket{}", end as u8), 2, apart, theirs);
    stage.lab.cut(2, None, Cut::Blackhole).unwrap();
    let before = stage.sent("a", 2);
    let mut copy = stage.start(Way::Download, &[], ours);
    // Whoever says HELLO, of 1,200 bytes and more, has a ticket.
    copy.until("a HELLO", || stage.sent("a", 2) >= before + 1_200);
    clock.step(-DAY);
    stage.lab.restore(2).unwrap();
    let (done, retries) = copy.succeed();
    assert_eq!(retries, 0, "{end:?}: {done:#?}");
    assert_stepped(end, &today(&stage), done.summary());
}

#[test]
fn a_clock_steps_back_a_day_between_a_ticket_and_its_use() {
    for end in ENDS {
        steps_behind_the_ticket(end);
    }
}
