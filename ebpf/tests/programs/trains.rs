//! The tcx programs over frames and trains that the kernel hands them.

use xfer_ebpf::{PathKey, Point, Row, Seen, Watched, watch_only};
use xfer_proto::wire::{Header, Kind};

use crate::frame::{Frame, PORT, data, header, hello, sealed};

const ID: u32 = 0x0a0b_0c40;

fn programs() -> Watched {
    let watched = watch_only().expect("the programs load, as root");
    watched.set_port(PORT, true).unwrap();
    watched
}

/// Hands a frame to both programs; both let it go on.
fn try_both(watched: &Watched, frame: &Frame, segment: u32) {
    for egress in [false, true] {
        assert_eq!(watched.try_frame(egress, &frame.bytes(), segment, 1).unwrap().0, -1);
    }
}

fn only(watched: &Watched) -> (PathKey, Row) {
    let paths = watched.paths().unwrap();
    assert_eq!(paths.len(), 1, "{paths:?}");
    paths[0]
}

/// What goes from our port, to another.
fn outgoing(payload: Vec<u8>) -> Frame {
    Frame { from: PORT, to: 50_000, ..Frame::new(payload) }
}

#[test]
fn each_direction_has_its_own_port_and_row() {
    let watched = programs();
    try_both(&watched, &Frame::new(data(ID, 3, 1)), 0);
    let (key, row) = only(&watched);
    assert_eq!(key, PathKey { connection: ID, path: 3, point: Point::Ingress });
    assert_eq!((row.packets, row.bytes, row.arrivals), (1, 1_048, 1));
    try_both(&watched, &outgoing(data(ID, 3, 1)).six(), 0);
    let paths = watched.paths().unwrap();
    assert_eq!(paths.iter().map(|(key, _)| key.point).collect::<Vec<_>>(), [Point::Ingress, Point::Egress]);
    assert_eq!(watched.sights().unwrap().of(Seen::Tracked), 2);
}

#[test]
fn a_train_is_as_many_packets_as_it_holds() {
    let watched = programs();
    // The kernel takes no more than a page here.
    let packet = |number: &u64| sealed(Header { number: *number, ..header(Kind::Data, ID) }, 100);
    let train = |numbers: &[u64], last: usize| {
        let mut bytes: Vec<u8> = numbers.iter().flat_map(packet).collect();
        bytes.truncate(bytes.len() - last);
        Frame::new(bytes)
    };
    try_both(&watched, &train(&[1, 2, 3, 4], 0), 148);
    try_both(&watched, &train(&[5, 6, 7], 50), 148);
    let (_, row) = only(&watched);
    assert_eq!((row.packets, row.bytes, row.arrivals), (7, 7 * 148 - 50, 2));
    assert_eq!((row.gaps, row.missing, row.late), (0, 0, 0));
    // One number left out within a train, two before the next.
    try_both(&watched, &train(&[8, 10], 0), 148);
    try_both(&watched, &train(&[13, 14], 0), 148);
    let (_, row) = only(&watched);
    assert_eq!((row.packets, row.gaps, row.missing, row.late), (11, 2, 3, 0));
}

#[test]
fn what_is_not_data_or_control_is_foreign() {
    let watched = programs();
    let mut other = data(ID, 0, 1);
    other[0] = 0x82;
    for payload in [hello(1_200), vec![0; 20], other, sealed(Header::new(Kind::Reply), 50)] {
        watched.try_frame(false, &Frame::new(payload).bytes(), 0, 1).unwrap();
    }
    watched.try_frame(false, &Frame::new(data(ID, 0, 1)).to(PORT + 1).bytes(), 0, 1).unwrap();
    let sights = watched.sights().unwrap();
    assert_eq!((sights.of(Seen::Foreign), sights.of(Seen::Tracked)), (4, 0));
    assert!(watched.paths().unwrap().is_empty());
    watched
        .try_frame(false, &Frame::new(sealed(header(Kind::Control, ID), 9)).tagged(0x8100).bytes(), 0, 1)
        .unwrap();
    assert_eq!(watched.sights().unwrap().of(Seen::Tracked), 1);
}

#[test]
fn idle_programs_count_nothing() {
    let watched = programs();
    watched.set_metrics(false).unwrap();
    try_both(&watched, &Frame::new(data(ID, 3, 1)), 0);
    assert_eq!(watched.sights().unwrap().of(Seen::Tracked), 0);
}
