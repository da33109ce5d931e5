//! The XDP program on a pair of interfaces in a network namespace of each test's own, as root; without root these tests fail.

use std::net::UdpSocket;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use xfer_ebpf::{Attached, EbpfError, Fate, XdpMode, attach};
use xfer_proto::wire::{Header, Kind};

const PORT: u16 = 7_700;

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {words}");
}

/// A namespace with the ends of a wire, `near` and `far`; this thread's alone, and gone with it.
fn namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces need root");
    ip("link add near type veth peer name far");
    for end in ["lo", "near", "far"] {
        ip(&format!("link set {end} up"));
    }
}

fn named(interface: &str) -> String {
    let output = Command::new("ip").args(["-d", "link", "show", interface]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn it_hangs_where_it_should_and_goes_when_dropped() {
    namespace();
    for (mode, word) in [(XdpMode::Native, " xdp "), (XdpMode::Generic, " xdpgeneric ")] {
        let attached = attach("near", mode, &[PORT]).unwrap();
        assert_eq!((attached.interface(), attached.mode()), ("near", mode));
        let shown = named("near");
        assert!(
            shown.contains(word) && shown.contains(&format!("prog/xdp id {}", attached.program_id())),
            "{shown}"
        );
        drop(attached);
        assert!(!named("near").contains("prog/xdp"));
    }
}

#[test]
fn another_program_is_named_and_left_alone() {
    namespace();
    let first = attach("near", XdpMode::Native, &[PORT]).unwrap();
    for mode in [XdpMode::Native, XdpMode::Generic] {
        match attach("near", mode, &[PORT]) {
            Err(EbpfError::Occupied { interface, program, id }) => {
                assert_eq!(
                    (interface.as_str(), program.as_str(), id),
                    ("near", "xfer_xdp", first.program_id())
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(named("near").contains(&format!("prog/xdp id {}", first.program_id())));
    let error = attach("nowhere", XdpMode::Generic, &[]).unwrap_err();
    assert_eq!(error.to_string(), "attach to nowhere: there is no such interface");
}

#[test]
fn it_filters_what_arrives() {
    namespace();
    ip("addr add fd00::1/64 dev near nodad");
    ip("route add fd00::2 dev near");
    ip("netns add xfer-ebpf-far");
    let checked = std::panic::catch_unwind(|| {
        ip("link set far netns xfer-ebpf-far");
        for words in ["addr add fd00::2/64 dev far nodad", "link set far up"] {
            ip(&format!("-n xfer-ebpf-far {words}"));
        }
        filter_one();
    });
    ip("netns delete xfer-ebpf-far");
    checked.unwrap();
}

/// Packets to our port on `near` from the other end of the wire, which another namespace has.
fn filter_one() {
    let attached: Attached = attach("near", XdpMode::Generic, &[PORT]).unwrap();
    let socket = UdpSocket::bind(("fd00::1", PORT)).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    attached.heartbeat().unwrap();
    attached.admit(5, 0).unwrap();
    // Unknown, known, and not ours at all.
    for connection in [6_u32, 5] {
        let header = Header {
            connection: xfer_proto::wire::ConnectionId(connection),
            length: 16,
            ..Header::new(Kind::Data)
        };
        let hex: String =
            header.encode().iter().chain(&[7; 32]).map(|byte| format!("\\x{byte:02x}")).collect();
        let script = format!(
            "import socket; s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM); s.sendto(b'{hex}',('fd00::1',{PORT}))"
        );
        let sent = Command::new("ip")
            .args(["netns", "exec", "xfer-ebpf-far", "python3", "-c", &script])
            .status()
            .unwrap();
        assert!(sent.success());
    }
    let mut buffer = [0; 100];
    let len = socket.recv(&mut buffer).expect("the known one arrives");
    assert_eq!((len, buffer[4]), (64, 5));
    let fates = attached.fates().unwrap();
    assert_eq!((fates.of(Fate::DroppedUnknown), fates.of(Fate::Socketless)), (1, 1));
}
