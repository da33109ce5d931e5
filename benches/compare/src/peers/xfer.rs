//! The product itself: a node on host b, an upload from host a.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{FULL, Guards, Job, PLAIN, Peer, Program, Serving, What};
use crate::failure::{Failure, Outcome};
use crate::line::Line;
use crate::process::Ready;

/// Both ways of copying.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(Xfer { name: "xferctl", guards: FULL, options: "" }),
        Box::new(Xfer { name: "xferctl plain", guards: PLAIN, options: "--no-encrypt --digest none" }),
    ]
}

struct Xfer {
    name: &'static str,
    guards: Guards,
    options: &'static str,
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Says where the product is; to be called once, before anything else here.
pub(crate) fn set_program(path: PathBuf) -> Outcome {
    PROGRAM
        .set(path)
        .map_err(|path| Failure::new(format!("xferctl is set already, not to {}", path.display())))
}

/// The product's program.
pub(crate) fn program() -> PathBuf {
    PROGRAM.get().cloned().unwrap_or_else(|| "xferctl".into())
}

/// A node on host b that does `verb`: `serve`, `bench serve`. Its state is kept in `dir`.
pub(crate) fn node(verb: &str, dir: &Path, listen: &[Ipv4Addr], port: u16) -> Serving {
    let mut line =
        Line::new(program()).args(verb).args("--json --allow-plain --state").path(&dir.join("state"));
    for address in listen {
        line = line.arg("--listen").arg(format!("{address}:{port}"));
    }
    Serving { line, ready: Ready::Line }
}

/// The link in the first line that a node has written.
pub(crate) fn link(told: &[String]) -> Outcome<String> {
    let first = told.first().and_then(|text| text.lines().next()).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(first).unwrap_or_default();
    let link = value["link"].as_str().map(str::to_owned);
    link.ok_or_else(|| Failure::new(format!("the node told no link: {first}")))
}

/// What a shown command has names for: the link that a node told, if it did, and the directory of this run.
pub(crate) fn hidden(told: &[String], dir: &Path) -> [(String, &'static str); 2] {
    [(link(told).unwrap_or_default(), "$LINK"), (dir.display().to_string(), "$DIR")]
}

impl Peer for Xfer {
    fn name(&self) -> &str {
        self.name
    }

    fn guards(&self) -> Guards {
        self.guards
    }

    fn needs(&self) -> &[Program] {
        &[]
    }

    fn takes(&self, _: What) -> bool {
        true
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        let mut node = node("serve", &job.dir, &[job.node], job.port);
        node.line = node.line.arg("--allow-unverified").arg("--root").path(job.target_dir());
        Ok(vec![node])
    }

    fn copy(&self, job: &Job<'_>, told: &[String]) -> Outcome<Line> {
        let line = Line::new(program()).args("cp --json --progress none").args(self.options);
        let line = if job.what == What::Tree { line.arg("-r") } else { line };
        Ok(line.path(job.source).arg(format!("{}/{}", link(told)?, job.name())))
    }

    fn available(&self) -> Result<(), String> {
        let path = program();
        if path.is_file() { Ok(()) } else { Err(format!("no xferctl at {}", path.display())) }
    }
}
