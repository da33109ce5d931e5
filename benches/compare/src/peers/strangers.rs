//! Tools that Debian does not package, used where they are found on PATH.

use super::{ENCRYPTED, Ends, Guards, Job, PLAIN, Peer, Program, Serving, What};
use crate::failure::{Failure, Outcome};
use crate::line::Line;
use crate::process::Ready;

/// WDT.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Wdt { encrypted: false }), Box::new(Wdt { encrypted: true })]
}

struct Wdt {
    encrypted: bool,
}

impl Wdt {
    fn line(&self) -> Line {
        let kind = if self.encrypted { "aes128gcm" } else { "none" };
        Line::new("wdt")
            .args("-num_ports 8 -overwrite -enable_checksum=false")
            .arg(format!("-encryption_type={kind}"))
    }
}

impl Peer for Wdt {
    fn name(&self) -> &str {
        if self.encrypted { "wdt aes128gcm" } else { "wdt" }
    }

    fn guards(&self) -> Guards {
        if self.encrypted { ENCRYPTED } else { PLAIN }
    }

    fn needs(&self) -> &[Program] {
        &[Program { name: "wdt", package: None }]
    }

    fn takes(&self, _: What) -> bool {
        true
    }

    /// It copies directories alone: the one that holds the source.
    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        let line = self.line().arg("-hostname").arg(job.node).arg("-start_port").arg(job.port);
        let line = line.arg("-directory").path(job.target_dir());
        Ok(vec![Serving { line, ready: Ready::Line }])
    }

    fn copy(&self, job: &Job<'_>, told: &[String]) -> Outcome<Line> {
        let url = told.iter().flat_map(|text| text.lines()).find(|line| line.starts_with("wdt://"));
        let url = url.ok_or_else(|| Failure::new("wdt told no connection URL"))?;
        Ok(self.line().arg("-connection_url").arg(url).arg("-directory").path(job.source_dir()))
    }

    fn ends(&self) -> Ends {
        Ends::WithServers
    }
}
