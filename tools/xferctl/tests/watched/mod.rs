//! Nodes and copies as processes that are watched while they run: what they tell, what they leave behind.
//!
//! Waits are for something to be seen (a line, a file), never for a time; each gives up after [`PATIENCE`].

#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod journal;
pub(crate) mod tree;

use crate::support::{Home, PATIENCE, ended, signal};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A home with a node's root and its state.
pub(crate) struct Bench {
    home: Home,
}

impl Bench {
    /// An empty root.
    pub(crate) fn new() -> Self {
        let home = Home::new();
        home.directory("root");
        Bench { home }
    }

    /// Something in the directory; what begins with `root/` is served.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.home.dir.path().join(name)
    }

    /// A file.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.home.file(name, content)
    }

    /// A directory, those above it included.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.home.directory(name)
    }

    /// A node of the root on an address of its own.
    pub(crate) fn node(&self) -> Node {
        self.node_with(&[])
    }

    /// A node with options.
    pub(crate) fn node_with(&self, options: &[&str]) -> Node {
        self.serve(&[&["--listen", "127.0.0.1:0"], options].concat())
    }

    /// A node on this address: that of one before, which comes back.
    pub(crate) fn node_at(&self, address: SocketAddr) -> Node {
        self.serve(&["--listen", &address.to_string()])
    }

    fn serve(&self, options: &[&str]) -> Node {
        let (root, state) = (self.path("root"), self.path("node"));
        let own = [OsStr::new("serve"), "--json".as_ref(), "--root".as_ref(), root.as_ref()];
        let state = [OsStr::new("--state"), state.as_ref()];
        let words: Vec<&OsStr> = own.into_iter().chain(state).chain(options.iter().map(OsStr::new)).collect();
        let mut process = Process::watch(self.home.spawn(&words));
        let ready = process.line(|line| line["type"] == "ready");
        let link = ready["link"].as_str().expect("a link").to_owned();
        let address = ready["control"][0].as_str().and_then(|text| text.parse().ok()).expect("an address");
        Node { process, link, address }
    }

    /// A copy that has begun. It tells JSON lines.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Process {
        let mut words: Vec<OsString> = vec!["cp".into(), "--json".into()];
        words.extend(args.into_iter().map(|word| word.as_ref().to_owned()));
        Process::watch(self.home.spawn(&words))
    }

    /// A copy from its start to its end.
    pub(crate) fn copy<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Done {
        self.start(args).finish()
    }
}

/// A node in a process of its own.
pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) link: String,
    pub(crate) address: SocketAddr,
}

impl Node {
    /// `LINK/path`.
    pub(crate) fn at(&self, path: impl AsRef<OsStr>) -> OsString {
        let mut location = OsString::from(format!("{}/", self.link));
        location.push(path);
        location
    }
}

/// A process whose JSON lines are read as they come. Killed on drop.
pub(crate) struct Process {
    child: Child,
    incoming: Receiver<Value>,
    /// What it told so far.
    pub(crate) lines: Vec<Value>,
    errors: Option<JoinHandle<String>>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<Value>,
    pub(crate) stderr: String,
}

impl Process {
    fn watch(mut child: Child) -> Self {
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut stderr = child.stderr.take().expect("piped");
        let (tell, incoming) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let parsed = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if tell.send(parsed).is_err() {
                    return;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).expect("a pipe can be read");
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Process { child, incoming, lines: Vec::new(), errors: Some(errors) }
    }

    /// Waits for a line.
    pub(crate) fn line(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(line) = self.lines.iter().find(|line| wanted(line)) {
            return line.clone();
        }
        loop {
            match self.incoming.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.lines.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no such line after {:#?}", self.lines),
                Err(RecvTimeoutError::Disconnected) => {
                    self.kill();
                    let told = self.errors.take().map(|errors| errors.join().expect("no panic"));
                    panic!("it ended without such a line: {:#?} {told:?}", self.lines);
                }
            }
        }
    }

    /// Ends it at once, as SIGKILL does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Done {
        let Some(status) = ended(&mut self.child) else {
            self.kill();
            let told: Vec<Value> = self.lines.iter().cloned().chain(self.incoming.iter()).collect();
            panic!("it does not end; it told {told:#?}");
        };
        let mut lines = std::mem::take(&mut self.lines);
        lines.extend(self.incoming.iter());
        let stderr = self.errors.take().expect("ended once").join().expect("no panic");
        Done { code: status.code(), lines, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that ended already cannot be killed, which is fine.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

impl Done {
    /// The last line.
    #[track_caller]
    pub(crate) fn summary(&self) -> &Value {
        let last = self.lines.last().filter(|line| line["type"] == "summary");
        last.unwrap_or_else(|| panic!("no summary: {self:#?}"))
    }

    /// A number of the summary.
    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.summary()[key].as_u64().unwrap_or_else(|| panic!("no number {key}: {self:#?}"))
    }

    /// Numbers of the summary.
    #[track_caller]
    pub(crate) fn numbers<const N: usize>(&self, keys: [&str; N]) -> [u64; N] {
        keys.map(|key| self.number(key))
    }

    /// The digest in the summary.
    #[track_caller]
    pub(crate) fn digest(&self) -> &str {
        self.summary()["digest"].as_str().unwrap_or_else(|| panic!("no digest: {self:#?}"))
    }

    /// What became of the file that ended under this name.
    #[track_caller]
    pub(crate) fn action(&self, path: &str) -> &str {
        let line = self.lines.iter().find(|line| line["type"] == "file" && line["path"] == path);
        line.and_then(|line| line["action"].as_str()).unwrap_or_else(|| panic!("no {path}: {self:#?}"))
    }

    /// It ended with this code, and its summary, if there is one, says the same.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        if let Some(last) = self.lines.last() {
            assert_eq!(last["type"], "summary", "{self:#?}");
            assert_eq!(last["exit"], code, "{self:#?}");
            assert_eq!(last["error"].is_null(), code == 0, "{self:#?}");
        }
        self
    }
}

/// Waits until something is seen.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = seen() {
            return seen;
        }
        assert!(Instant::now() < end, "not seen: {what}");
        pause();
    }
}

/// Lets the processes that are looked at have the core between two looks.
fn pause() {
    thread::sleep(Duration::from_millis(1));
}
