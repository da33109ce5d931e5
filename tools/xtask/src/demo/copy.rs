//! The two programs of the demo: a node on host b, copies into it from host a, and what they report as JSON lines.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::json::Json;
use crate::step::{Doing, Failure, Outcome, ended};
use crate::workspace::Programs;

use super::WIRES;
use super::guard::SCRATCH_VARIABLE;
use super::sources::Sources;

/// How long a node may take to print its link.
const READY_MAX: Duration = Duration::from_secs(20);
/// How long one copy may take, as `cp` reads it: a demo that hangs is a failure.
const COPY_MAX: &str = "10m";
/// What asks a node to end.
const SIGTERM: i32 = 15;
/// The node's log in the scratch folder.
const LOG: &str = "node.log";
/// The last lines of the node's log that are shown when something fails.
const LOG_LINES: usize = 20;

/// The address of host a on a wire, counted from 1.
pub(crate) fn local_address(wire: u32) -> String {
    format!("10.77.{wire}.1")
}

fn remote_address(wire: u32) -> String {
    format!("10.77.{wire}.2")
}

/// `xferctl` on a host of the lab, marked for the guard.
fn on_host(programs: &Programs, host: &str, scratch: &Path) -> Command {
    let mut command = Command::new(&programs.lab);
    command.env(SCRATCH_VARIABLE, scratch);
    command.args(["exec", host, "--"]).arg(&programs.xferctl).stdin(Stdio::null());
    command
}

/// `xferctl serve` on host b.
pub(crate) struct Node {
    child: Child,
    link: String,
    scratch: PathBuf,
}

impl Node {
    /// Serves `root` and waits for the link; the node's stderr goes to a log in `scratch`.
    ///
    /// # Errors
    /// The node ended, printed something else, or printed nothing in time; with the end of its log.
    pub(crate) fn serve(programs: &Programs, root: &Path, scratch: &Path) -> Outcome<Node> {
        let log = scratch.join(LOG);
        let stderr = File::create(&log).doing(format_args!("create {}", log.display()))?;
        let mut command = on_host(programs, "b", scratch);
        command.args(["serve", "--json", "--root"]).arg(root).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().doing("start the node")?;
        let stdout = child.stdout.take().ok_or_else(|| Failure::new("the node has no stdout"))?;
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| send.send(line).ok())
        });
        let mut node = Node { child, link: String::new(), scratch: scratch.to_path_buf() };
        let line = lines.recv_timeout(READY_MAX).map_err(|_| node.failure("the node printed no link"))?;
        node.link = link_of(&line)?;
        // The rest of what the node prints is read by the thread until the node ends.
        std::thread::spawn(move || lines.into_iter().for_each(drop));
        Ok(node)
    }

    /// Asks the node to end and waits for it.
    ///
    /// # Errors
    /// It ended otherwise than with status 0 or by the signal that asked.
    pub(crate) fn stop(mut self) -> Outcome {
        let script = format!("kill -TERM {}", self.child.id());
        Command::new("sh").args(["-c", &script]).status().doing("start sh")?;
        let status = self.child.wait().doing("wait for the node")?;
        if status.success() || status.signal() == Some(SIGTERM) {
            return Ok(());
        }
        Err(self.failure(&format!("the node {}", ended(status))))
    }

    fn failure(&self, what: &str) -> Failure {
        let log = fs::read(self.scratch.join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        Failure::new(format!("{what}; the end of its log:\n  {tail}"))
    }
}

impl Drop for Node {
    /// A node that was not stopped is killed, so that a failed demo does not wait for it.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None))
            && let Err(cause) = self.child.kill().and_then(|()| self.child.wait())
        {
            eprintln!("demo: kill the node: {cause}");
        }
    }
}

/// The link in the first line of a node.
fn link_of(line: &str) -> Outcome<String> {
    let ready = Json::parse(line)?;
    match (ready.get("type").text(), ready.get("link").text()) {
        (Some("ready"), Some(link)) => Ok(link.to_owned()),
        _ => Err(Failure::new(format!("the first line of the node is not `ready` with a link: {line}"))),
    }
}

/// Bytes that one path carried.
#[derive(Debug, PartialEq)]
pub(crate) struct PathShare {
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) bytes: u64,
}

/// The fields of a copy's last line that the demo checks or prints.
#[derive(Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) gbps: f64,
    pub(crate) digest: Option<String>,
    pub(crate) verified: bool,
    pub(crate) durability: String,
    pub(crate) paths: Vec<PathShare>,
}

impl Summary {
    /// Reads the last line of a copy.
    ///
    /// # Errors
    /// It is no summary or lacks a field; or it is that of a failed copy, whose error is then told.
    fn parse(line: &str) -> Outcome<Summary> {
        let json = Json::parse(line)?;
        if json.get("type").text() != Some("summary") {
            return Err(Failure::new(format!("the last line of the copy is no summary: {line}")));
        }
        if json.get("exit").count() != Some(0) {
            let message = json.get("error").get("message").text().unwrap_or(line);
            return Err(Failure::new(format!("the copy failed: {message}")));
        }
        let count = |json: &Json, key: &str| json.get(key).count().ok_or_else(|| missing(key));
        let text =
            |json: &Json, key: &str| json.get(key).text().map(str::to_owned).ok_or_else(|| missing(key));
        let number = |key: &str| {
            if let Json::Number(number) = json.get(key) { Ok(*number) } else { Err(missing(key)) }
        };
        let share = |path: &Json| {
            Ok(PathShare {
                local: text(path, "local")?,
                remote: text(path, "remote")?,
                bytes: count(path, "bytes")?,
            })
        };
        Ok(Summary {
            files: count(&json, "files")?,
            bytes: count(&json, "bytes")?,
            seconds: number("seconds")?,
            gbps: number("gbps")?,
            digest: json.get("digest").text().map(str::to_owned),
            verified: *json.get("verified") == Json::Bool(true),
            durability: text(&json, "durability")?,
            paths: json.get("paths").items().iter().map(share).collect::<Outcome<_>>()?,
        })
    }
}

fn missing(key: &str) -> Failure {
    Failure::new(format!("the summary of the copy has no `{key}`"))
}

/// Copies all sources into the node's root over every wire.
///
/// # Errors
/// The copy failed or its summary cannot be read; with the end of the node's log.
pub(crate) fn copy(
    programs: &Programs,
    node: &Node,
    sources: &Sources,
    options: &[&str],
) -> Outcome<Summary> {
    let mut command = on_host(programs, "a", &node.scratch);
    command.args(["cp", "-r", "--json", "--max-duration", COPY_MAX]).args(options);
    for wire in 1..=WIRES {
        command.args(["--path", &format!("{}={}", local_address(wire), remote_address(wire))]);
    }
    command.args(&sources.roots).arg(format!("{}/", node.link)).stdout(Stdio::piped());
    let mut child = command.spawn().doing("start the copy")?;
    let stdout = child.stdout.take().ok_or_else(|| Failure::new("the copy has no stdout"))?;
    let mut last = String::new();
    for line in BufReader::new(stdout).lines() {
        last = line.doing("read what the copy prints")?;
    }
    let status = child.wait().doing("wait for the copy")?;
    let summary = Summary::parse(&last).map_err(|failure| node.failure(&failure.to_string()))?;
    if status.success() { Ok(summary) } else { Err(node.failure(&format!("the copy {}", ended(status)))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"type":"summary","ts":"2026-01-01T00:00:00Z","schema":"xfer/1","bytes":30,"reused_bytes":0,
        "skipped_bytes":0,"total_bytes":30,"files":3,"skipped":0,"seconds":0.5,"gbps":0.00048,"wire_bytes":50,
        "paths":[{"local":"10.77.1.1","remote":"10.77.1.2","bytes":10,"rtt_us":50,"loss":0.0},
        {"local":"10.77.2.1","remote":"10.77.2.2","bytes":20,"rtt_us":50,"loss":0.0}],
        "digest":"ab","verified":true,"durability":"batch","limited_by":"sink","exit":0,"error":null}"#;

    #[test]
    fn a_summary_is_read() {
        let summary = Summary::parse(LINE).unwrap();
        assert_eq!((summary.files, summary.bytes, summary.verified), (3, 30, true));
        assert_eq!(summary.digest.as_deref(), Some("ab"));
        let shares: Vec<_> = summary.paths.iter().map(|path| (path.local.as_str(), path.bytes)).collect();
        assert_eq!(shares, [("10.77.1.1", 10), ("10.77.2.1", 20)]);
    }

    #[test]
    fn a_failed_or_cut_summary_says_why() {
        let failed =
            LINE.replace(r#""exit":0,"error":null"#, r#""exit":5,"error":{"message":"no path answers"}"#);
        assert_eq!(Summary::parse(&failed).unwrap_err().to_string(), "the copy failed: no path answers");
        let lacking = LINE.replace("\"durability\"", "\"other\"");
        assert_eq!(
            Summary::parse(&lacking).unwrap_err().to_string(),
            "the summary of the copy has no `durability`"
        );
        assert!(Summary::parse("").is_err());
        assert!(Summary::parse(r#"{"type":"file"}"#).unwrap_err().to_string().contains("no summary"));
    }

    #[test]
    fn the_link_is_in_the_first_line() {
        assert_eq!(link_of(r#"{"type":"ready","link":"xfer://t.f@1:2"}"#).unwrap(), "xfer://t.f@1:2");
        assert!(link_of(r#"{"type":"summary"}"#).is_err());
        assert!(link_of("xfer://t.f@1:2").is_err());
    }
}
