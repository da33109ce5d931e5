//! QUIC libraries: the program of `quic/`, a package of its own, with one stream of quinn or of s2n-quic.

use std::path::PathBuf;

use serde_json::Value;

use super::{Flow, Job};
use crate::failure::{Doing, Failure, Outcome};
use crate::line::Line;
use crate::peers::{ENCRYPTED, Guards, Serving};
use crate::process::Ready;

/// One library with one congestion control.
pub(crate) struct Quic {
    pub(crate) library: &'static str,
    pub(crate) control: &'static str,
    /// Of the wire.
    pub(crate) mtu: u32,
}

/// The program, beside this one.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("quic-flow")
}

impl Quic {
    fn line(&self, verb: &str, job: &Job) -> Line {
        let line = Line::new(program()).arg(self.library).arg(verb).arg("--control").arg(self.control);
        let line = line.arg("--mtu").arg(self.mtu).arg("--certificate").path(&job.dir.join("certificate"));
        line.arg(format!("{}:{}", job.nodes[0], job.port))
    }
}

impl Flow for Quic {
    fn name(&self) -> String {
        format!("{} {}", self.library, self.control)
    }

    fn guards(&self) -> Guards {
        ENCRYPTED
    }

    fn available(&self) -> Result<(), String> {
        if program().is_file() {
            Ok(())
        } else {
            Err("not built; `cargo xtask bench compare` builds it".into())
        }
    }

    fn serve(&self, job: &Job) -> Serving {
        Serving { line: self.line("serve", job), ready: Ready::Line }
    }

    fn send(&self, job: &Job, _: &[String]) -> Outcome<Line> {
        Ok(self.line("send", job).arg("--seconds").arg(job.seconds))
    }

    fn read(&self, job: &Job, output: &str) -> Outcome<f64> {
        if job.skip > 0 {
            return Err(Failure::new("quic-flow tells no intervals"));
        }
        let report: Value = serde_json::from_str(output.trim()).doing("read the report of quic-flow")?;
        let gbps = report["gbps"].as_f64().ok_or_else(|| Failure::new("quic-flow told no rate"))?;
        Ok(gbps * 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read() {
        let quic = Quic { library: "quinn", control: "bbr", mtu: 1500 };
        let job = Job {
            dir: "/x".into(),
            nodes: vec![[10, 0, 0, 2].into()],
            clients: vec![[10, 0, 0, 1].into()],
            port: 5,
            seconds: 3,
            skip: 0,
        };
        let line = quic.send(&job, &[]).unwrap().show(&[]);
        assert!(line.ends_with(
            "quinn send --control bbr --mtu 1500 --certificate /x/certificate 10.0.0.2:5 --seconds 3"
        ));
        assert_eq!(quic.read(&job, "{\"type\":\"summary\",\"gbps\":1.5,\"bytes\":7}\n").unwrap(), 1.5e9);
        assert!(quic.read(&job, "{}").is_err() && quic.read(&job, "").is_err());
        assert!(quic.read(&Job { skip: 1, ..job }, "{\"gbps\":1.5}").is_err());
    }
}
