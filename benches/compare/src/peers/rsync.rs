//! rsync without its delta algorithm, to a daemon and over ssh. It compares a digest of each whole file at both ends.

use super::{FULL, Guards, Job, Peer, Program, Serving, VERIFIED, What, packaged, ssh};
use crate::failure::Outcome;
use crate::line::Line;

const RSYNC: Program = packaged("rsync", "rsync");

/// Daemon and ssh.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Rsync::Daemon), Box::new(Rsync::Ssh)]
}

enum Rsync {
    Daemon,
    Ssh,
}

impl Peer for Rsync {
    fn name(&self) -> &str {
        match self {
            Rsync::Daemon => "rsync daemon",
            Rsync::Ssh => "rsync over ssh",
        }
    }

    fn guards(&self) -> Guards {
        match self {
            Rsync::Daemon => VERIFIED,
            Rsync::Ssh => FULL,
        }
    }

    fn needs(&self) -> &[Program] {
        match self {
            Rsync::Daemon => &[RSYNC],
            Rsync::Ssh => &[RSYNC, ssh::SSH, ssh::SSHD],
        }
    }

    fn takes(&self, _: What) -> bool {
        true
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        if let Rsync::Ssh = self {
            return Ok(vec![ssh::daemon(job)?.0]);
        }
        let into = job.target_dir().display();
        let config = format!(
            "use chroot = no\nuid = root\ngid = root\nreverse lookup = no\n[x]\npath = {into}\nread only = no\n"
        );
        let config = job.write("rsyncd.conf", &config)?;
        let line = Line::new("rsync").args("--daemon --no-detach --config").path(&config);
        let line = line.arg("--address").arg(job.node).arg("--port").arg(job.port);
        Ok(vec![Serving::tcp(job.port, line)])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let line = Line::new("rsync").args("--whole-file --inplace");
        let line = if job.what == What::Tree { line.arg("-rt") } else { line };
        Ok(match self {
            Rsync::Daemon => line.path(job.source).arg(format!("rsync://{}:{}/x/", job.node, job.port)),
            Rsync::Ssh => {
                let shell = format!("ssh -F {}", ssh::client_config(job).display());
                line.arg("-e").arg(shell).path(job.source).arg(format!("b:{}/", job.target_dir().display()))
            }
        })
    }
}
