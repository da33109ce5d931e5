//! A node on host b, real clients on host c, and what the node takes of its machine while host a misbehaves.
//!
//! Nothing here sleeps in order to be in time: whatever is waited for is asked for again and again until a deadline.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use xfer_client::{Client, Link, pb};
use xfer_lab::{Config, Host, Lab, WireShape};

pub(crate) use crate::node::xferctl;
use crate::node::{self, Node, PORT, listen};

/// How long anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Time in which a real client connects and has its file.
pub(crate) const SERVED_WITHIN: Duration = Duration::from_secs(1);
/// Time in which nothing of a connection is left that its peer forgot.
const CLOSED_WITHIN: Duration = Duration::from_secs(4);
const POLL_EVERY: Duration = Duration::from_millis(5);
/// What a real client copies.
const SMALL: usize = 20_000;
/// What hostile clients ask for.
const BIG: usize = 8 << 20;

/// A lab with a node.
pub(crate) struct Stage {
    node: Node,
    pub(crate) link: Link,
    before: Mutex<Taken>,
    pub(crate) lab: Lab,
    _alone: MutexGuard<'static, ()>,
}

/// What the node takes of its machine, and what it said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// Bytes of memory.
    pub(crate) rss: u64,
    /// Open file descriptors.
    pub(crate) descriptors: usize,
    /// Lines of its log.
    pub(crate) lines: usize,
}

/// What may come on top.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// MiB of memory.
    pub(crate) mib: u64,
    /// File descriptors.
    pub(crate) descriptors: usize,
    /// Lines of log.
    pub(crate) lines: usize,
}

impl Stage {
    /// Brings up a lab and the node, which has served one client. What the node takes counts from here.
    pub(crate) fn up(name: &str) -> Stage {
        Stage::with(name, &[])
    }

    /// The same with options of `xferctl serve`.
    pub(crate) fn with(name: &str, options: &[&str]) -> Stage {
        Stage::under(name, &[], options)
    }

    /// The same, the node run by another program: words that stand before it.
    pub(crate) fn under(name: &str, before: &[&str], options: &[&str]) -> Stage {
        let alone = node::alone();
        let lab = node::lab(name, Config { hosts: 3, ..Config::with_wires(1, WireShape::default()) });
        let b = lab.host("b");
        let root = b.home().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("small"), noise(SMALL)).unwrap();
        fs::write(root.join("big"), noise(BIG)).unwrap();
        let mut command = match before.split_first() {
            Some((program, words)) => {
                let mut command = b.command(program);
                command.args(words).arg(xferctl());
                command
            }
            None => b.command(xferctl()),
        };
        command.args(["serve", "--json", "--root"]).arg(&root).args(listen(b.ipv4(1))).args(options);
        let log = File::create(b.home().join("node.log")).unwrap();
        let node = Node::start(command.stderr(log));
        let link = Link::parse(node.link.as_bytes()).unwrap();
        let before = Mutex::new(Taken::default());
        let stage = Stage { node, link, before, lab, _alone: alone };
        stage.serves();
        stage.count_anew();
        stage
    }

    /// Host a, from which everything hostile comes.
    pub(crate) fn hostile(&self) -> Host {
        self.lab.host("a")
    }

    /// Where the node takes control and data.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.lab.host("b").ipv4(1).into(), PORT)
    }

    /// What the node serves.
    pub(crate) fn root(&self) -> PathBuf {
        self.lab.host("b").home().join("root")
    }

    /// A real client on host c copies a file there and back; gives the longer time of both.
    pub(crate) fn serves(&self) -> Duration {
        let home = self.lab.host("c").home();
        let ways = [
            (format!("{}/small", self.node.link), home.join("small").display().to_string()),
            (home.join("small").display().to_string(), format!("{}/back", self.node.link)),
        ];
        let mut longest = Duration::ZERO;
        for (from, to) in ways {
            let mut command = self.lab.host("c").command(xferctl());
            command.args(["cp", "--json", "--progress", "none", "--retries", "0", &from, &to]);
            let started = Instant::now();
            let said = ended(&mut command);
            longest = longest.max(started.elapsed());
            assert!(said.status.success(), "{}{}", said.stdout.escape_ascii(), said.stderr.escape_ascii());
        }
        let (there, back) = (self.root().join("small"), self.root().join("back"));
        assert!(fs::read(&there).unwrap() == fs::read(home.join("small")).unwrap());
        assert!(fs::read(&there).unwrap() == fs::read(&back).unwrap());
        fs::remove_file(back).unwrap();
        fs::remove_file(home.join("small")).unwrap();
        longest
    }

    /// A real client is served in time: of three copies the quickest counts, since other things run on this machine.
    pub(crate) fn serves_in_time(&self) {
        let quickest = (0..3).map(|_| self.serves()).min().unwrap();
        println!("a real client was served within {quickest:?}");
        assert!(quickest < SERVED_WITHIN, "a real client waited for {quickest:?}");
    }

    /// The end of an attack: a real client is served, and the node took no more than `allowance` for it.
    #[track_caller]
    pub(crate) fn withstood(&self, allowance: Allowance) {
        self.serves();
        self.bounded(allowance);
    }

    /// What was taken so far does not count.
    pub(crate) fn count_anew(&self) {
        *self.before.lock().unwrap() = self.taken();
    }

    /// What the node takes now.
    pub(crate) fn taken(&self) -> Taken {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.node.id())).unwrap().count();
        Taken { rss: resident(self.node.id()), descriptors, lines: self.log().lines().count() }
    }

    /// Asserts that the node took no more than `allowance`. Connections that are closing have a moment to be gone.
    #[track_caller]
    pub(crate) fn bounded(&self, allowance: Allowance) {
        let before = *self.before.lock().unwrap();
        let deadline = Instant::now() + CLOSED_WITHIN;
        let within = |now: Taken| {
            now.rss <= before.rss + (allowance.mib << 20)
                && now.descriptors <= before.descriptors + allowance.descriptors
        };
        let mut now = self.taken();
        while !within(now) && Instant::now() < deadline {
            std::thread::sleep(POLL_EVERY);
            now = self.taken();
        }
        println!("before {before:?}, now {now:?}");
        let grown = now.rss.saturating_sub(before.rss);
        assert!(grown <= allowance.mib << 20, "the node grew by {} KiB", grown >> 10);
        let more = now.descriptors.saturating_sub(before.descriptors);
        assert!(more <= allowance.descriptors, "{more} more descriptors");
        let said = now.lines - before.lines;
        assert!(said <= allowance.lines, "{said} lines of log, the last of them:\n{}", self.last_lines());
    }

    /// The node's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.lab.host("b").home().join("node.log")).unwrap()
    }

    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Waits for a line of the log with all of these words.
    #[track_caller]
    pub(crate) fn until_logged(&self, words: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().lines().any(|line| words.iter().all(|word| line.contains(word))) {
            assert!(Instant::now() < deadline, "no line with {words:?}:\n{}", self.last_lines());
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Waits until so many transfers of hostile peers have ended.
    #[track_caller]
    pub(crate) fn until_ended(&self, count: usize) {
        let of_host = format!("peer={}:", self.hostile().ipv4(1));
        let deadline = Instant::now() + PATIENCE;
        let ended = |line: &&str| line.contains("transfer ended") && line.contains(&of_host);
        while self.log().lines().filter(ended).count() < count {
            assert!(Instant::now() < deadline, "{count} have not ended:\n{}", self.last_lines());
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Bytes that the node's host has sent and received, headers included.
    pub(crate) fn carried(&self) -> (u64, u64) {
        let read = || fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let table = self.lab.host("b").enter(read).unwrap();
        let line = table.lines().find_map(|line| line.trim().strip_prefix("x1:")).expect("the interface");
        let fields: Vec<u64> = line.split_whitespace().map(|field| field.parse().unwrap()).collect();
        (fields[8], fields[0])
    }

    /// A control connection of somebody on host a who has the link.
    pub(crate) fn client(&self) -> Client {
        self.hostile().enter(|| Client::connect(&self.link, "n1", PATIENCE)).unwrap().unwrap()
    }

    /// A ticket to upload to `name`.
    pub(crate) fn upload(&self, client: &Client, name: &str) -> pb::CreateTransferResponse {
        client.create_transfer(upload_request(name)).unwrap()
    }

    /// A ticket to download `big`.
    pub(crate) fn download(&self, client: &Client) -> pb::CreateTransferResponse {
        let download = pb::Download { sources: vec![b"big".to_vec()], ..Default::default() };
        client.create_transfer(request(pb::create_transfer_request::What::Download(download))).unwrap()
    }
}

/// What asks for a ticket to upload a directory to `name`, in chunks of 64 KiB.
pub(crate) fn finely_cut(name: &str) -> pb::CreateTransferRequest {
    let request = upload_request(name);
    let options = request.options.map(|options| pb::TransferOptions { chunk_log2: 16, ..options });
    pb::CreateTransferRequest { options, ..request }
}

/// What asks for a ticket to upload a directory to `name`.
pub(crate) fn upload_request(name: &str) -> pb::CreateTransferRequest {
    let source =
        pb::SourceInfo { name: b"s".to_vec(), kind: pb::Kind::Directory.into(), contents_only: true };
    let upload = pb::Upload { destination: name.into(), sources: vec![source], ..Default::default() };
    request(pb::create_transfer_request::What::Upload(upload))
}

fn request(what: pb::create_transfer_request::What) -> pb::CreateTransferRequest {
    let options = pb::TransferOptions { recursive: true, digests: true, ..Default::default() };
    pb::CreateTransferRequest {
        what: Some(what),
        options: Some(options),
        versions: vec![1],
        ..Default::default()
    }
}

/// Bytes of a process that are resident.
pub(crate) fn resident(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    resident.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Runs a program to its end, which must come in time.
pub(crate) fn ended(command: &mut Command) -> std::process::Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= deadline {
            child.kill().unwrap();
            let said = child.wait_with_output().unwrap();
            panic!("{command:?} does not end: {}", said.stderr.escape_ascii());
        }
        std::thread::sleep(POLL_EVERY);
    }
    child.wait_with_output().unwrap()
}

/// Bytes without a pattern (xorshift64).
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}
