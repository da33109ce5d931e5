//! What tests of the tool have in common: the tool with a home of its own, a node on loopback, JSON lines.

#![allow(dead_code, reason = "each test program uses a part")]

use assert_cmd::Command;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No command of these tests takes longer, even where two cores are shared by many.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A directory with a home, and the tool that lives there.
pub(crate) struct Home {
    pub(crate) dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Home { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A directory in the home.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A file in the home.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The environment of every command: nothing of whoever runs the tests.
    fn environment(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("HOME", self.dir.path().to_owned()),
            ("XDG_CONFIG_HOME", self.path("config")),
            ("XDG_STATE_HOME", self.path("state")),
            ("XDG_CACHE_HOME", self.path("cache")),
        ]
    }

    /// The tool, started in an empty working directory.
    pub(crate) fn tool(&self, words: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xferctl"));
        command.env_clear().envs(self.environment()).current_dir(self.directory("work")).args(words);
        command.timeout(PATIENCE);
        command
    }

    /// The tool as a process that goes on.
    pub(crate) fn spawn(&self, words: &[impl AsRef<OsStr>]) -> Child {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xferctl"));
        command.env_clear().envs(self.environment()).current_dir(self.directory("work")).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs the tool to its end.
    pub(crate) fn run(&self, words: &[impl AsRef<OsStr>]) -> Ran {
        let output = self.tool(words).output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A node that serves `root` on a port of its own.
    pub(crate) fn serve(&self, root: &Path) -> Node {
        self.serve_with(&[OsStr::new("--root"), root.as_os_str()])
    }

    /// A node with these options; listens on loopback unless they say otherwise.
    pub(crate) fn serve_with(&self, options: &[&OsStr]) -> Node {
        self.node(&["serve"], options)
    }

    /// A node of that command, with these options; listens on loopback unless they say otherwise.
    pub(crate) fn node(&self, command: &[&str], options: &[&OsStr]) -> Node {
        let mut words: Vec<&OsStr> = command.iter().map(OsStr::new).collect();
        words.push(OsStr::new("--json"));
        if !options.contains(&OsStr::new("--listen")) {
            words.extend([OsStr::new("--listen"), OsStr::new("127.0.0.1:0")]);
        }
        words.extend(options);
        let mut child = self.spawn(&words);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let ready = next_line(&mut stdout);
        assert_eq!(ready["type"], "ready");
        assert_eq!(ready["schema"], "xfer/1");
        Node { child, stdout, link: ready["link"].as_str().unwrap().to_owned(), ready }
    }
}

/// What a command did.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts the exit code, showing what was said.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.text(), self.stderr);
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Stdout as JSON lines, the head of each checked.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.stdout.clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &lines {
            assert_eq!(line["schema"], "xfer/1");
            let ts = line["ts"].as_str().unwrap();
            assert!(ts.ends_with('Z') && ts.as_bytes()[10] == b'T', "{ts}");
            assert!(line["type"].is_string());
        }
        lines
    }

    /// The summary, which is the last line, and which repeats the exit code.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        let last = self.lines().pop().unwrap_or_else(|| panic!("no summary; stderr: {}", self.stderr));
        assert_eq!(last["type"], "summary");
        assert_eq!(last["exit"], self.code);
        assert_eq!(last["error"].is_null(), self.code == 0);
        last
    }
}

fn next_line(stdout: &mut impl BufRead) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
}

/// A node that runs.
pub(crate) struct Node {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) link: String,
    /// The line by which it told that it serves.
    pub(crate) ready: Value,
}

impl Node {
    /// A path on the node, as the tool takes it.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.link)
    }

    /// The link with another token.
    pub(crate) fn forged(&self) -> String {
        let rest = &self.link["xfer://".len() + 43..];
        format!("xfer://{}{rest}", "A".repeat(43))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// What it prints next, once it does.
    pub(crate) fn next_line(&mut self) -> Value {
        next_line(&mut self.stdout)
    }

    /// Reads stderr from here on to its end; before, nobody does.
    pub(crate) fn read_stderr(&mut self) -> JoinHandle<String> {
        let mut stderr = self.child.stderr.take().unwrap();
        std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        })
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Waits for the end, and tells what was said on stderr.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let stderr = self.read_stderr();
        (self.wait(), stderr.join().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that ended by itself cannot be killed any more.
        self.child.kill().unwrap_or_default();
        self.child.wait().unwrap();
    }
}

/// Sends a signal. Every shell knows `kill`; the program of that name is not on every system.
pub(crate) fn signal(child: &Child, name: &str) {
    let kill = format!("kill -s {name} {}", child.id());
    let sent = std::process::Command::new("sh").args(["-c", &kill]).status();
    assert!(sent.unwrap().success());
}

/// Waits for a process, but not for ever.
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    ended(child).expect("the process ends")
}

/// Waits for a process; none when it does not end in [`PATIENCE`].
pub(crate) fn ended(child: &mut Child) -> Option<ExitStatus> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Bytes that no codec and no offset leaves alike.
pub(crate) fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
