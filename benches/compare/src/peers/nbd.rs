//! nbdcopy from nbd-server: a file as a block device.

use super::{Guards, Job, PLAIN, Peer, Program, Serving, What, packaged};
use crate::failure::Outcome;
use crate::line::{Line, quote};

/// nbdcopy.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Nbd)]
}

struct Nbd;

impl Peer for Nbd {
    fn name(&self) -> &str {
        "nbdcopy, nbd-server"
    }

    fn guards(&self) -> Guards {
        PLAIN
    }

    fn needs(&self) -> &[Program] {
        const NEEDS: &[Program] = &[packaged("nbdcopy", "libnbd-bin"), packaged("nbd-server", "nbd-server")];
        NEEDS
    }

    fn takes(&self, what: What) -> bool {
        what == What::File
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        let config = format!(
            "[generic]\nuser = root\ngroup = root\nlistenaddr = {}\nport = {}\n[x]\nexportname = {}\nreadonly = true\n",
            job.node,
            job.port,
            job.source.display()
        );
        let config = job.write("nbd.conf", &config)?;
        // It goes to the background, or serves one connection only; the shell stays in its place.
        let script = format!("nbd-server -C {} && exec sleep infinity", quote(&config.display().to_string()));
        Ok(vec![Serving::tcp(job.port, Line::shell(script))])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let from = format!("nbd://{}:{}/x", job.node, job.port);
        Ok(Line::new("nbdcopy").arg(from).path(&job.target))
    }
}
