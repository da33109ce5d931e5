//! xrdcp from an xrootd, with one stream and with four.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Guards, Job, PLAIN, Peer, Program, Serving, What, as_host, packaged};
use crate::failure::{Doing, Outcome};
use crate::line::Line;

/// One and four streams; of trees, eight files at once.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(Xrootd { name: "xrdcp, xrootd", streams: 1 }),
        Box::new(Xrootd { name: "xrdcp -S 4, xrootd", streams: 4 }),
    ]
}

struct Xrootd {
    name: &'static str,
    streams: usize,
}

impl Peer for Xrootd {
    fn name(&self) -> &str {
        self.name
    }

    fn tree_name(&self) -> &str {
        "xrdcp --parallel 4, xrootd"
    }

    fn guards(&self) -> Guards {
        PLAIN
    }

    fn needs(&self) -> &[Program] {
        const NEEDS: &[Program] = &[packaged("xrdcp", "xrootd-client"), packaged("xrootd", "xrootd-server")];
        NEEDS
    }

    fn takes(&self, what: What) -> bool {
        what == What::File || self.streams == 1
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        job.write_hosts()?;
        // It will not serve as root, and what it becomes keeps files of its own.
        let state = job.dir.join("xrootd");
        fs::create_dir_all(&state).doing(format_args!("make {}", state.display()))?;
        let mode = fs::Permissions::from_mode(0o777);
        fs::set_permissions(&state, mode).doing(format_args!("open {} to all", state.display()))?;
        let (port, root, state) = (job.port, job.source_dir().display(), state.display());
        let config =
            format!("xrd.port {port}\nall.export {root} r/o\nall.adminpath {state}\nall.pidpath {state}\n");
        let config = job.write("xrootd.conf", &config)?;
        let line = as_host(job, "b").args("xrootd -R nobody -c").path(&config);
        Ok(vec![Serving::tcp(job.port, line)])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let line = as_host(job, "a").args("xrdcp --silent --force");
        let from = format!("root://{}:{}/{}", job.node, job.port, job.source.display());
        Ok(match job.what {
            What::File if self.streams == 1 => line.arg(from).path(&job.target),
            What::File => line.arg("--streams").arg(self.streams).arg(from).path(&job.target),
            What::Tree => line.args("--recursive --parallel 4").arg(from).path(job.target_dir()),
        })
    }
}
