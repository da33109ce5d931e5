//! QUIC libraries: the small programs of `src/quic`, built with the feature `quic`.

use std::path::PathBuf;

use serde_json::Value;

use super::{Flow, Job};
use crate::failure::{Doing, Failure, Outcome};
use crate::line::Line;
use crate::peers::{ENCRYPTED, Guards, Serving};
use crate::process::Ready;

/// One library.
pub(crate) struct Quic {
    pub(crate) library: &'static str,
}

/// The program, beside this one.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("quicflow")
}

impl Flow for Quic {
    fn name(&self) -> String {
        format!("{}, one stream", self.library)
    }

    fn guards(&self) -> Guards {
        ENCRYPTED
    }

    fn available(&self) -> Result<(), String> {
        let built = program().is_file();
        if built {
            Ok(())
        } else {
            Err("not built; cargo build --release -p xfer-compare --features quic".into())
        }
    }

    fn serve(&self, job: &Job) -> Serving {
        let line =
            Line::new(program()).arg(self.library).arg("serve").arg(format!("{}:{}", job.nodes[0], job.port));
        Serving { line: line.path(&job.dir.join("certificate")), ready: Ready::Line }
    }

    fn send(&self, job: &Job, _: &[String]) -> Outcome<Line> {
        let line =
            Line::new(program()).arg(self.library).arg("send").arg(format!("{}:{}", job.nodes[0], job.port));
        Ok(line.path(&job.dir.join("certificate")).arg(job.seconds + job.skip).arg(job.skip))
    }

    fn read(&self, _: &Job, output: &str) -> Outcome<f64> {
        let report: Value = serde_json::from_str(output.trim()).doing("read the report of quicflow")?;
        report["bits_per_second"].as_f64().ok_or_else(|| Failure::new("quicflow told no rate"))
    }
}
