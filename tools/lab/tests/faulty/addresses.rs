//! An end gets another address while a copy runs.

use std::thread;

use crate::stage::{Stage, WAYS, Way};

/// Gives host `host` another address on a wire in place of its own, or its own again.
fn move_address(stage: &Stage, host: &str, wire: usize, back: bool) {
    let (own, other) = (stage.lab.host(host).ipv4(wire), format!("10.77.{wire}.99"));
    let (old, new) = if back { (other, own.to_string()) } else { (own.to_string(), other) };
    // In this order: with its first address an interface loses those of the same network that came later.
    for (verb, address) in [("del", old), ("add", new)] {
        let words = ["address", verb, &format!("{address}/24"), "dev", &format!("x{wire}")];
        let done = stage.lab.host(host).command("ip").args(words).status().unwrap();
        assert!(done.success(), "{words:?} on {host}");
    }
}

/// With a second wire nobody has to try again.
fn goes_over_the_other(way: Way, host: &str) {
    let stage = Stage::up(&format!("moved{}{host}", way as u8), 2);
    let copy = stage.begin(way);
    move_address(&stage, host, 1, false);
    let (done, retries) = copy.succeed();
    assert_eq!(retries, 0, "{way:?}, host {host}: {done:#?}");
}

#[test]
fn an_address_of_either_end_changes_on_one_of_two_wires() {
    for way in WAYS {
        for host in ["a", "b"] {
            goes_over_the_other(way, host);
        }
    }
}

/// Both ways at once: they spend their time waiting.
fn each_way(check: fn(Way)) {
    thread::scope(|scope| {
        for way in WAYS {
            scope.spawn(move || check(way));
        }
    });
}

#[test]
fn the_only_address_of_the_client_changes() {
    each_way(|way| {
        let stage = Stage::up(&format!("client{}", way as u8), 1);
        let copy = stage.begin(way);
        move_address(&stage, "a", 1, false);
        let (done, retries) = copy.succeed();
        assert_eq!(retries, 1, "{way:?}: {done:#?}");
    });
}

/// The link has no other address of the node: the copy ends with what a network failure gives, and a rerun completes.
#[test]
fn the_only_address_of_the_node_changes() {
    each_way(|way| {
        let stage = Stage::up(&format!("node{}", way as u8), 1);
        let copy = stage.begin_with(way, &["--retries", "1", "--connect-timeout", "2s"], Vec::new());
        move_address(&stage, "b", 1, false);
        let done = copy.finish();
        assert_eq!(done.code, Some(5), "{done:#?}");
        assert_eq!(done.retries().len(), 1, "{done:#?}");
        let error = done.summary()["error"].to_string();
        assert!(error.contains("10.77.1.2"), "it names the node: {error}");
        move_address(&stage, "b", 1, true);
        let done = stage.rerun(way);
        assert!(done.summary()["reused_bytes"].as_u64() > Some(0), "{done:#?}");
        stage.check(way, &done);
    });
}
