//! The audit: a JSON line for each transfer that ended or was refused and each call that read ranges, with both ends, names, digest and
//! result. `xferctl-serve(1)` describes the fields, which stay.
//!
//! Lines are appended, each with one write, and name the hash of the line before: a line that is missing or changed later shows. A file
//! that was moved away or removed is made anew for the next line, so that whatever rotates logs needs no signal.

use crate::json::{self, Failure};
use crate::limits::{
    AUDIT_LINE_LEN_MAX, AUDIT_NAMES_MAX, AUDIT_REFUSALS_EVERY, AUDIT_REFUSALS_MAX, STRANGER_LINES_EVERY,
    STRANGER_LINES_MAX,
};
use crate::ranges::Answered;
use crate::registry::Record;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use xfer_engine::{Class, Durability, Error, Outcome, Sparing};

static FAILURES: Sparing = Sparing::new(STRANGER_LINES_MAX, STRANGER_LINES_EVERY);

/// Where audit lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTo {
    /// Standard output.
    Stdout,
    /// The end of this file, which is made when it is missing, readable by its owner alone.
    File(PathBuf),
}

/// Writes audit lines.
pub(crate) struct Audit {
    node: String,
    /// `None`: nobody wants any.
    out: Option<Mutex<Out>>,
    refusals: Sparing,
}

/// What a client asked for.
pub(crate) struct Asked<'a> {
    pub(crate) peer: SocketAddr,
    pub(crate) upload: bool,
    pub(crate) bench: bool,
    pub(crate) names: &'a [Vec<u8>],
}

impl Audit {
    /// The audit of the node with that fingerprint.
    ///
    /// # Errors
    /// What the kernel says when the file cannot be opened or read.
    pub(crate) fn open(to: Option<&AuditTo>, node: String) -> Result<Audit, Error> {
        let out = match to {
            None => None,
            Some(AuditTo::Stdout) => Some(Out { place: None, last: None }),
            Some(AuditTo::File(path)) => Some(Out::open(path).map_err(|e| {
                let class = e.raw_os_error().map_or(Class::Other, Class::of_errno);
                let mut error = Error::new(class, "open the audit file").object(path.as_os_str().as_bytes());
                error.errno = e.raw_os_error();
                error.because(e)
            })?),
        };
        let refusals = Sparing::new(AUDIT_REFUSALS_MAX, AUDIT_REFUSALS_EVERY);
        Ok(Audit { node, out: out.map(Mutex::new), refusals })
    }

    /// A request for a transfer was refused.
    pub(crate) fn refused(&self, asked: &Asked<'_>, error: &Error) {
        if self.out.is_none() {
            return;
        }
        let Some(left_out) = self.refusals.admit(Instant::now()) else { return };
        let line = Line { left_out, error: Some(Failure::new(error)), ..self.line("refused", asked) };
        self.write(&line);
    }

    /// A call read ranges of files.
    pub(crate) fn read(&self, asked: &Asked<'_>, answered: &Answered) {
        if self.out.is_none() {
            return;
        }
        let result = match answered {
            Answered { failed: 0, .. } => "done",
            Answered { ranges: 0, .. } => "failed",
            _ => "partial",
        };
        let line = Line {
            files: answered.ranges,
            failed: answered.failed,
            bytes: answered.bytes,
            digest: answered.digest.map(|digest| blake3::Hash::from_bytes(digest).to_hex().to_string()),
            verified: Some(true),
            error: answered.error.as_ref().map(Failure::new),
            ..self.line(result, asked)
        };
        self.write(&line);
    }

    /// A transfer ended. `digest`: of its file or tree, where it is known.
    pub(crate) fn ended(&self, record: &Record, outcome: &Outcome, digest: Option<String>) {
        if self.out.is_none() {
            return;
        }
        let asked =
            Asked { peer: record.peer, upload: record.upload, bench: record.bench, names: &record.paths };
        let progress = &outcome.progress;
        let result = match &outcome.error {
            Some(error) if error.class == Class::Interrupted => "cancelled",
            Some(_) => "failed",
            None if progress.failed > 0 => "partial",
            None => "done",
        };
        let wires = progress.paths.iter().map(|path| Wire {
            local: path.pair.local.to_string(),
            remote: path.pair.remote.to_string(),
            bytes: path.bytes,
        });
        let line = Line {
            task: Some(&record.name),
            paths: wires.collect(),
            started: Some(format!("{:.3}", record.created)),
            files: progress.files,
            skipped: progress.skipped,
            failed: progress.failed,
            bytes: progress.bytes,
            reused_bytes: progress.reused_bytes,
            skipped_bytes: progress.skipped_bytes,
            digest,
            verified: Some(outcome.verified),
            durability: outcome.durability.map(Durability::name),
            error: outcome.error.as_ref().map(Failure::new),
            ..self.line(result, &asked)
        };
        self.write(&line);
    }

    fn line<'a>(&'a self, result: &'a str, asked: &Asked<'_>) -> Line<'a> {
        Line {
            kind: "audit",
            ts: json::timestamp(),
            schema: json::SCHEMA,
            result,
            task: None,
            node: &self.node,
            peer: asked.peer.to_string(),
            credential: "token",
            direction: if asked.upload { "upload" } else { "download" },
            bench: asked.bench,
            names: asked.names.iter().take(AUDIT_NAMES_MAX).map(|name| json::Path::new(name)).collect(),
            names_total: asked.names.len(),
            paths: Vec::new(),
            started: None,
            files: 0,
            skipped: 0,
            failed: 0,
            bytes: 0,
            reused_bytes: 0,
            skipped_bytes: 0,
            digest: None,
            verified: None,
            durability: None,
            error: None,
            left_out: 0,
            prev: None,
        }
    }

    fn write(&self, line: &Line<'_>) {
        let Some(out) = &self.out else { return };
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = match out.write(line) {
            Ok(()) => return,
            Err(failed) => failed,
        };
        if let Some(others) = FAILURES.admit(Instant::now()) {
            tracing::error!(task = line.task, peer = line.peer, error = %failed, others, "an audit line is lost");
        }
    }
}

/// Where lines go, and the hash of the last one.
struct Out {
    /// `None`: standard output.
    place: Option<(PathBuf, File)>,
    last: Option<blake3::Hash>,
}

impl Out {
    fn open(path: &Path) -> io::Result<Out> {
        let mut file = appended(path)?;
        let last = last_line(&mut file)?;
        Ok(Out { place: Some((path.to_owned(), file)), last })
    }

    fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        let prev = self.last.map(|hash| hash.to_hex().to_string());
        let mut text = serde_json::to_vec(&Line { prev, ..line.clone() })?;
        let hash = blake3::hash(&text);
        text.push(b'\n');
        match &mut self.place {
            None => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&text)?;
                stdout.flush()?;
            }
            Some((path, file)) => {
                if !is_at(file, path)? {
                    *file = appended(path)?;
                }
                file.write_all(&text)?;
            }
        }
        self.last = Some(hash);
        Ok(())
    }
}

fn appended(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).create(true).append(true).mode(0o600).open(path)
}

/// Whether the file still has that name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match path.metadata() {
        Ok(named) => Ok((own.dev(), own.ino()) == (named.dev(), named.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The hash of the last line, if there is one. One that was cut off by a crash gets its end, and counts as it is.
fn last_line(file: &mut File) -> io::Result<Option<blake3::Hash>> {
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(AUDIT_LINE_LEN_MAX)))?;
    let mut end = Vec::new();
    file.take(AUDIT_LINE_LEN_MAX).read_to_end(&mut end)?;
    let Some((last, before)) = end.split_last() else { return Ok(None) };
    let whole = if *last == b'\n' { before } else { &end[..] };
    if *last != b'\n' {
        file.write_all(b"\n")?;
    }
    Ok(whole.rsplit(|byte| *byte == b'\n').next().map(blake3::hash))
}

/// A line. What does not apply is null, zero or empty, and there all the same.
#[derive(Clone, Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    ts: String,
    schema: &'a str,
    result: &'a str,
    task: Option<&'a str>,
    node: &'a str,
    peer: String,
    credential: &'a str,
    direction: &'a str,
    bench: bool,
    names: Vec<json::Path>,
    names_total: usize,
    paths: Vec<Wire>,
    started: Option<String>,
    files: u64,
    skipped: u64,
    failed: u64,
    bytes: u64,
    reused_bytes: u64,
    skipped_bytes: u64,
    digest: Option<String>,
    verified: Option<bool>,
    durability: Option<&'a str>,
    error: Option<Failure>,
    left_out: u64,
    prev: Option<String>,
}

/// A pair of addresses that carried.
#[derive(Clone, Serialize)]
struct Wire {
    local: String,
    remote: String,
    bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const PEER: &str = "10.0.0.2:9";

    fn refuse(audit: &Audit, name: &[u8]) {
        let asked =
            Asked { peer: PEER.parse().unwrap(), upload: true, bench: false, names: &[name.to_vec()] };
        audit.refused(
            &asked,
            &Error::new(Class::Refused, "no").on(xfer_engine::Side::Destination).object("f"),
        );
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn open(path: &Path) -> Audit {
        Audit::open(Some(&AuditTo::File(path.to_owned())), "node".to_owned()).unwrap()
    }

    /// Hash of each line and what the next one says about it.
    fn is_chained(texts: &[String]) -> bool {
        let told = texts.iter().skip(1).map(|text| {
            let line: Value = serde_json::from_str(text).unwrap();
            line["prev"].as_str().unwrap().to_owned()
        });
        texts
            .iter()
            .map(|text| blake3::hash(text.as_bytes()).to_hex().to_string())
            .zip(told)
            .all(|(a, b)| a == b)
    }

    #[test]
    fn each_line_names_the_one_before_over_restarts_and_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("audit"), dir.path().join("audit.1"));
        refuse(&open(&path), b"a");
        let audit = open(&path);
        refuse(&audit, b"b");
        std::fs::rename(&path, &old).unwrap();
        refuse(&audit, b"c");
        refuse(&audit, b"d");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let all: Vec<String> = (read(&old) + &read(&path)).lines().map(str::to_owned).collect();
        assert_eq!((all.len(), lines(&old).len()), (4, 2));
        assert!(is_chained(&all), "{all:#?}");
        let mut changed = all.clone();
        changed[1] = changed[1].replace("\"b\"", "\"x\"");
        assert!(!is_chained(&changed) && !is_chained(&[&all[..1], &all[2..]].concat()));
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        std::fs::write(&path, "{}\n{\"cut").unwrap();
        refuse(&open(&path), b"a");
        let text = std::fs::read_to_string(&path).unwrap();
        let all: Vec<&str> = text.lines().collect();
        assert_eq!(all[..2], ["{}", "{\"cut"]);
        let line: Value = serde_json::from_str(all[2]).unwrap();
        assert_eq!(line["prev"].as_str().unwrap(), blake3::hash(b"{\"cut").to_hex().as_str());
    }

    #[test]
    fn a_line_says_who_what_and_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        refuse(&open(&path), b"a\xff");
        let line = lines(&path).remove(0);
        let text = |field: &str| line[field].as_str().map(str::to_owned);
        assert_eq!(text("type").as_deref(), Some("audit"));
        assert_eq!((text("node").as_deref(), text("peer").as_deref()), (Some("node"), Some(PEER)));
        assert_eq!(
            (text("result").as_deref(), text("direction").as_deref()),
            (Some("refused"), Some("upload"))
        );
        assert_eq!(line["names"][0]["path"], "a\\xff");
        assert_eq!(line["names"][0]["path_b64"], "Yf8=");
        assert_eq!((&line["error"]["class"], &line["error"]["path"]), (&Value::from(6), &Value::from("f")));
        assert!(line["prev"].is_null() && line["task"].is_null() && line["digest"].is_null());
    }

    #[test]
    fn refusals_are_bounded_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        let audit = Audit { refusals: Sparing::new(2, std::time::Duration::ZERO), ..open(&path) };
        refuse(&audit, b"a");
        let audit = Audit { refusals: Sparing::new(2, AUDIT_REFUSALS_EVERY), ..audit };
        (0..9).for_each(|_| refuse(&audit, b"b"));
        assert_eq!(lines(&path).len(), 3);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let to = AuditTo::File(dir.path().join("none/audit"));
        assert!(Audit::open(Some(&to), String::new()).is_err());
        assert!(Audit::open(None, String::new()).is_ok());
    }
}
