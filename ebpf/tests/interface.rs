//! The XDP program on a pair of interfaces in a network namespace of each test's own, as root; without root these tests fail.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use xfer_ebpf::{
    Attached, EbpfError, Fate, Point, Seen, XdpMode, adopt, attach, attach_pinned, census, detach, pinned,
    watch,
};
use xfer_proto::wire::{ConnectionId, Header, Kind};

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
    assert_eq!(error.to_string(), "nowhere: there is no such interface");
}

/// As [`namespace`], with a file system of pins of its own.
fn namespace_with_pins() {
    namespace();
    unshare(CloneFlags::CLONE_NEWNS).expect("mount namespaces need root");
    let private = nix::mount::MsFlags::MS_PRIVATE | nix::mount::MsFlags::MS_REC;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
}

#[test]
fn what_is_pinned_stays_and_is_taken_over() {
    namespace_with_pins();
    assert!(adopt("near", &[PORT]).unwrap().is_none());
    assert!(!detach("near").unwrap());
    let nobody = attach_pinned("near", XdpMode::Generic, Some("no such user")).unwrap_err().to_string();
    assert_eq!(nobody, "pin the XDP program on near for no such user: there is no such user");
    attach_pinned("near", XdpMode::Generic, Some("65534")).unwrap();
    assert_eq!(pinned().unwrap(), ["near"]);
    assert!(named("near").contains("prog/xdp"));
    assert!(matches!(attach("near", XdpMode::Generic, &[]), Err(EbpfError::Occupied { .. })));
    let taken = adopt("near", &[PORT]).unwrap().expect("it is pinned");
    taken.admit(5, 0).unwrap();
    assert!(matches!(adopt("near", &[PORT]), Err(EbpfError::InUse { .. })));
    let found = census(Some("near")).unwrap();
    let [hook] = &found.hooks[..] else { panic!("{found:?}") };
    assert!(hook.ours && hook.pinned && hook.figures.as_ref().unwrap().alive);
    assert_eq!(hook.figures.as_ref().unwrap().ports, [PORT]);
    drop(taken);
    assert!(!census(Some("near")).unwrap().hooks[0].figures.as_ref().unwrap().alive);
    // Its new owner needs no rights.
    as_user("", "none, for adopt");
    // As after a crash of whoever used it.
    assert!(detach("near").unwrap());
    assert!(!named("near").contains("prog/xdp") && pinned().unwrap().is_empty());
}

#[test]
fn a_census_names_what_is_not_ours() {
    namespace();
    let (_attached, _watched) =
        (attach("near", XdpMode::Native, &[PORT]).unwrap(), watch("far", &[PORT]).unwrap());
    let found = census(None).unwrap();
    let told: Vec<_> = found
        .hooks
        .iter()
        .map(|hook| (hook.interface.as_str(), hook.point, hook.program.as_str(), hook.pinned))
        .collect();
    assert_eq!(
        told,
        [
            ("far", Point::Ingress, "xfer_ingress", false),
            ("far", Point::Egress, "xfer_egress", false),
            ("near", Point::Xdp, "xfer_xdp", false),
        ]
    );
    assert!(found.hidden.is_none() && found.hooks.iter().all(|hook| hook.figures.is_some()));
}

/// The other end of the wire, in a namespace that is removed on drop.
struct Far(&'static str);

impl Far {
    fn new(name: &'static str) -> Self {
        ip(&format!("netns add {name}"));
        let far = Far(name);
        ip("addr add fd00::1/64 dev near nodad");
        ip(&format!("link set far netns {name}"));
        ip(&format!("-n {name} addr add fd00::2/64 dev far nodad"));
        ip(&format!("-n {name} link set far up"));
        far
    }

    /// Sends a DATA packet of 64 bytes to our port.
    fn send(&self, connection: u32) {
        let bytes: String = packet(connection).iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let script = format!(
            "import socket; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'{bytes}', ('fd00::1', {PORT}))"
        );
        ip_exec(self.0, &["python3", "-c", &script]);
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        ip(&format!("netns delete {}", self.0));
    }
}

fn ip_exec(namespace: &str, words: &[&str]) {
    let status = Command::new("ip").args(["netns", "exec", namespace]).args(words).status().unwrap();
    assert!(status.success(), "{words:?}");
}

fn packet(connection: u32) -> Vec<u8> {
    let header = Header { connection: ConnectionId(connection), length: 16, ..Header::new(Kind::Data) };
    [&header.encode()[..], &[7; 32]].concat()
}

#[test]
fn it_filters_what_arrives() {
    namespace();
    let far = Far::new("xfer-ebpf-filter");
    let attached: Attached = attach("near", XdpMode::Generic, &[PORT]).unwrap();
    let socket = UdpSocket::bind(("fd00::1", PORT)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    attached.heartbeat().unwrap();
    attached.admit(5, 0).unwrap();
    for connection in [6, 5] {
        far.send(connection);
    }
    let mut buffer = [0; 100];
    let len = socket.recv(&mut buffer).expect("the known one arrives");
    assert_eq!((len, buffer[4]), (64, 5));
    let fates = attached.fates().unwrap();
    assert_eq!((fates.of(Fate::DroppedUnknown), fates.of(Fate::Socketless)), (1, 1));
}

#[test]
fn tcx_programs_see_both_directions_and_stand_beside_others() {
    namespace();
    let far = Far::new("xfer-ebpf-watch");
    let (first, second) = (watch("near", &[PORT]).unwrap(), watch("near", &[PORT]).unwrap());
    let socket = UdpSocket::bind(("fd00::1", PORT)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    far.send(8);
    socket.recv(&mut [0; 100]).expect("it arrives");
    socket.send_to(&packet(9), ("fd00::2", 50_000)).unwrap();
    for watched in [&first, &second] {
        let seen: Vec<_> = watched
            .paths()
            .unwrap()
            .iter()
            .map(|(key, row)| (key.connection, key.point, row.packets))
            .collect();
        assert_eq!(seen, [(8, Point::Ingress, 1), (9, Point::Egress, 1)]);
    }
    drop(first);
    socket.send_to(&packet(9), ("fd00::2", 50_000)).unwrap();
    assert_eq!(second.sights().unwrap().of(Seen::Tracked), 3);
    assert!(watch("nowhere", &[]).unwrap_err().to_string().contains("no such interface"));
}

/// Set for [`with_few_rights`]: the capabilities that are missing, or what to do without any.
const MISSING: &str = "XFER_EBPF_TEST_MISSING";

/// Runs [`with_few_rights`] in this thread's namespace as an ordinary user with these capabilities and no other.
fn as_user(capabilities: &str, missing: &str) {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    for set in ["bounding-set", "inh-caps", "ambient-caps"] {
        setpriv.arg(format!("--{set}=-all{capabilities}"));
    }
    let test = std::env::current_exe().unwrap();
    setpriv.arg(test).args(["--exact", "with_few_rights", "--ignored", "--nocapture"]);
    let output = setpriv.env(MISSING, missing).output().expect("setpriv is part of util-linux");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{capabilities}: {said}");
}

#[test]
#[ignore = "run with few rights by `as_user`"]
fn with_few_rights() {
    let missing = std::env::var(MISSING).expect("set by the test that starts this one");
    if missing == "none, for adopt" {
        let taken = adopt("near", &[PORT]).unwrap().expect("it is pinned for this user");
        taken.admit(5, 0).unwrap();
        assert_eq!(taken.fates().unwrap().packets(), 0);
        return;
    }
    let attached = attach("near", XdpMode::Native, &[PORT]);
    let watched = watch("far", &[PORT]);
    if missing == "none" {
        let attached = attached.unwrap();
        attached.admit(5, 0).unwrap();
        assert_eq!(attached.fates().unwrap().packets(), 0);
        assert!(watched.unwrap().paths().unwrap().is_empty());
        return;
    }
    for error in [attached.unwrap_err(), watched.unwrap_err()] {
        assert!(matches!(&error, EbpfError::NoRight { missing: told, .. } if *told == missing), "{error}");
    }
    assert!(census(None).unwrap().hooks.is_empty());
}

#[test]
fn three_capabilities_suffice_and_each_is_needed() {
    namespace();
    as_user(",+bpf,+net_admin,+perfmon", "none");
    as_user(",+net_admin,+perfmon", "CAP_BPF");
    as_user(",+bpf,+perfmon", "CAP_NET_ADMIN");
    as_user(",+bpf,+net_admin", "CAP_PERFMON");
    as_user("", "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON");
}
