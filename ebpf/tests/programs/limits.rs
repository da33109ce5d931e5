//! What user space and the programs have to agree on: limits.h beside the crate's limits and the protocol's.

use xfer_ebpf::limits;
use xfer_proto::limits as protocol;
use xfer_proto::wire::{HEADER_LEN, TAG_LEN, VERSION};

/// The value of a `#define` in limits.h.
#[track_caller]
fn defined(name: &str) -> u64 {
    let text = include_str!("../../programs/limits.h");
    let line =
        text.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("limits.h defines no {name}"));
    match value.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).unwrap(),
        None => value.parse().unwrap(),
    }
}

#[test]
fn both_sides_have_the_same_bounds() {
    for (name, ours) in [
        ("HEADER_LEN", HEADER_LEN as u64),
        ("TAG_LEN", TAG_LEN as u64),
        ("VERSION", VERSION.into()),
        ("HELLO_LEN_MIN", protocol::DATAGRAM_MIN as u64),
        ("HELLO_LEN_MAX", protocol::HELLO_LEN_MAX as u64),
        ("PORT_WORDS", 65_536 / 64),
        ("QUEUES_MAX", limits::QUEUES_MAX.into()),
        ("CONNECTIONS_MAX", limits::CONNECTIONS_MAX.into()),
        ("PATHS_MAX", limits::PATHS_MAX.into()),
        ("SOURCES_MAX", limits::SOURCES_MAX.into()),
        ("BEAT_NS_MAX", limits::BEAT_NS_MAX),
        ("HANDSHAKE_NS", limits::HANDSHAKE_NS),
        ("HANDSHAKE_BURST", limits::HANDSHAKE_BURST),
        ("GAP_BUCKETS", limits::GAP_BUCKETS as u64),
        ("GAP_SHIFT", limits::GAP_SHIFT.into()),
        ("TIMED_EVERY", limits::TIMED_EVERY),
        ("META_MAGIC", limits::META_MAGIC.into()),
    ] {
        assert_eq!(defined(name), ours, "{name}");
    }
}
