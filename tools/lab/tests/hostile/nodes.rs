//! Hostile nodes against a real `xferctl cp`: it believes nothing, writes nothing outside of its destination, ends in time and says why.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use xfer_client::pb;
use xfer_lab::Host;
use xfer_proto::crypto::{Direction, Suite, Ticket};
use xfer_proto::wire::{Accept, Entry, EntryKind, Inline, Message, Page};

use crate::peer::{Peer, TRANSFER};
use crate::stage::{Stage, ended, xferctl};
use crate::web::{Impostor, Spoken};

const SECRET: [u8; 32] = [5; 32];

/// A node on host a that gives every client the same ticket for one file, and what comes of its data port.
struct Fake {
    link: String,
    data: UdpSocket,
    control: JoinHandle<()>,
}

fn fake(host: &Host, spoken: Spoken) -> Fake {
    let ip = host.ipv4(1);
    let bind = || {
        let control = TcpListener::bind(SocketAddr::new(ip.into(), 0)).unwrap();
        (control, UdpSocket::bind(SocketAddr::new(ip.into(), 0)).unwrap())
    };
    let (control, data) = host.enter(bind).unwrap();
    let impostor = Impostor::new();
    let answer = pb::CreateTransferResponse {
        name: "transfers/x-1".to_owned(),
        secret: SECRET.to_vec(),
        suite: pb::Suite::Aes128Gcm.into(),
        lifetime_ms: 60_000,
        addresses: vec![data.local_addr().unwrap().to_string()],
        sources: vec![pb::SourceInfo {
            name: b"f".to_vec(),
            kind: pb::Kind::Directory.into(),
            contents_only: false,
        }],
        version: 1,
        renamed: false,
        range: None,
    };
    let fingerprint = URL_SAFE_NO_PAD.encode(impostor.fingerprint());
    let link = format!(
        "xfer://{}.{fingerprint}@{}/f",
        URL_SAFE_NO_PAD.encode([1; 32]),
        control.local_addr().unwrap()
    );
    let impostor = Arc::new(impostor);
    let control = std::thread::spawn(move || impostor.serve(&control, &answer, spoken));
    Fake { link, data, control }
}

fn ticket() -> Ticket {
    Ticket::new(SECRET, Suite::Aes128Gcm, Direction::OpenerReceives)
}

/// `xferctl cp -r` of what the fake node serves, on host c.
fn copy(stage: &Stage, link: &str) -> Command {
    let host = stage.lab.host("c");
    let mut command = host.command(xferctl());
    command.args(["cp", "-r", "--json", "--progress", "none", "--retries", "0", link]);
    command.arg(host.home().join("got"));
    command
}

fn run(stage: &Stage, link: &str) -> (Output, Duration) {
    let started = Instant::now();
    (ended(&mut copy(stage, link)), started.elapsed())
}

fn entry(name: &[u8], kind: EntryKind, target: &[u8]) -> Entry {
    let inline = (kind == EntryKind::File)
        .then(|| Inline { content: b"evil".to_vec(), digest: xfer_engine::digest::root(b"evil") });
    Entry {
        kind,
        mode: 0o644,
        mtime_s: 0,
        mtime_ns: 0,
        size: if inline.is_some() { 4 } else { 0 },
        open: false,
        name: name.to_vec(),
        target: target.to_vec(),
        attributes: Vec::new(),
        inline,
    }
}

fn manifest(entries: Vec<Entry>) -> [Message; 2] {
    let page = Page { transfer: TRANSFER, number: 0, first_object: 0, last: true, entries };
    [Message::Accept(Accept { transfer: TRANSFER, limit: 0 }), Message::Page(page)]
}

fn said(output: &Output) -> String {
    format!("{}{}", output.stdout.escape_ascii(), output.stderr.escape_ascii())
}

/// A copy from the fake node, whose data port does what `serve` says.
fn meets<R: Send>(stage: &Stage, fake: &Fake, serve: impl FnOnce(UdpSocket) -> R + Send) -> (Output, R) {
    let data = fake.data.try_clone().unwrap();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| serve(data));
        (run(stage, &fake.link).0, serving.join().unwrap())
    })
}

/// A manifest that leads out of the destination: the client refuses it by its class, and nothing is written there.
#[test]
fn a_manifest_cannot_lead_out_of_the_destination() {
    let stage = Stage::up("leads");
    for name in [&b"../evil"[..], b"/tmp/evil", b"f/../../evil", b"f//evil"] {
        let fake = fake(&stage.hostile(), Spoken::Answer);
        let (output, peer) = meets(&stage, &fake, |data| {
            let mut peer = Peer::accept(data, &ticket(), &manifest(vec![entry(name, EntryKind::File, b"")]));
            peer.until(Duration::from_secs(3), |peer| peer.closed.is_some());
            peer
        });
        assert_eq!(output.status.code(), Some(6), "{}: {}", name.escape_ascii(), said(&output));
        assert!(said(&output).contains("name with"), "{}", said(&output));
        assert!(peer.closed.is_some(), "the node is told");
        let home = stage.lab.host("c").home();
        assert!(!home.join("evil").exists() && !home.parent().unwrap().join("evil").exists());
        fake.control.join().unwrap();
    }
}

/// A symlink of the manifest, then a file through it: the file alone fails, and where the link leads nothing is written.
#[test]
fn a_manifest_cannot_write_through_its_own_symlink() {
    let stage = Stage::up("through");
    let outside = stage.lab.host("c").home().join("outside");
    fs::create_dir(&outside).unwrap();
    let fake = fake(&stage.hostile(), Spoken::Answer);
    let target = outside.display().to_string();
    let entries = vec![
        entry(b"f", EntryKind::Directory, b""),
        entry(b"f/s", EntryKind::Symlink, target.as_bytes()),
        entry(b"f/s/evil", EntryKind::File, b""),
    ];
    let (output, ()) = meets(&stage, &fake, |data| {
        let mut peer = Peer::accept(data, &ticket(), &manifest(entries));
        peer.until(Duration::from_secs(5), |peer| {
            peer.messages.iter().any(|message| matches!(message, Message::Complete(_)))
        });
        peer.acknowledge();
        peer.until(Duration::from_secs(3), |peer| peer.closed.is_some());
    });
    assert_eq!(output.status.code(), Some(16), "{}", said(&output));
    assert!(said(&output).contains("f/s/evil"), "{}", said(&output));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    fake.control.join().unwrap();
}

/// An optimistic ACK of a hostile node ends the copy, with the reason.
#[test]
fn an_ack_of_what_the_client_did_not_send_ends_the_copy() {
    let stage = Stage::up("nodeack");
    let fake = fake(&stage.hostile(), Spoken::Answer);
    let (output, ()) = meets(&stage, &fake, |data| {
        let mut peer = Peer::accept(data, &ticket(), &[]);
        assert!(peer.until(Duration::from_secs(3), |peer| !peer.seen.is_empty()), "the client stands");
        peer.send_ack(&[1_000_000..=1_000_000]);
        peer.until(Duration::from_secs(3), |peer| peer.closed.is_some());
    });
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("an ACK names a packet that was not sent"), "{}", said(&output));
    fake.control.join().unwrap();
}

/// A node that gives a ticket and whose data port is silent is temporary; one that speaks no HTTP/2 after TLS may also be called broken, as the
/// noise comes before the first call or after. Both are given up in time.
#[test]
fn nodes_that_do_not_go_on_are_given_up() {
    let stage = Stage::up("giveup");
    for spoken in [Spoken::Answer, Spoken::Noise] {
        let fake = fake(&stage.hostile(), spoken);
        let (output, took) = run(&stage, &fake.link);
        let code = output.status.code();
        let told = code == Some(5) || (spoken == Spoken::Noise && code == Some(1));
        assert!(told, "{spoken:?}: {code:?}: {}", said(&output));
        assert!(took < Duration::from_secs(12), "{spoken:?}: {took:?}");
        println!("{spoken:?}: given up after {took:?}: {}", said(&output));
        fake.control.join().unwrap();
    }
}
