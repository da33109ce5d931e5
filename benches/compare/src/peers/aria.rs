//! aria2 with four connections, from nginx.

use super::http::{NGINX, OPENSSL, nginx, url};
use super::{ENCRYPTED, Guards, Job, PLAIN, Peer, Program, Serving, What, packaged};
use crate::content;
use crate::failure::Outcome;
use crate::line::Line;

/// Over HTTP and HTTPS.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Aria { encrypted: false }), Box::new(Aria { encrypted: true })]
}

struct Aria {
    encrypted: bool,
}

impl Peer for Aria {
    fn name(&self) -> &str {
        if self.encrypted { "aria2 -x 4 https, nginx" } else { "aria2 -x 4, nginx" }
    }

    fn tree_name(&self) -> &str {
        if self.encrypted { "aria2 -j 50 https, nginx" } else { "aria2 -j 50, nginx" }
    }

    fn guards(&self) -> Guards {
        if self.encrypted { ENCRYPTED } else { PLAIN }
    }

    fn needs(&self) -> &[Program] {
        const NEEDS: &[Program] = &[packaged("aria2c", "aria2"), NGINX, OPENSSL];
        NEEDS
    }

    fn takes(&self, _: What) -> bool {
        true
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        if job.what == What::Tree {
            let base = url(job, self.encrypted);
            let line = |name: &std::path::PathBuf| format!("{base}/{0}\n out={0}\n", name.display());
            let list: String = content::files(job.source)?.iter().map(line).collect();
            job.write("list", &list)?;
        }
        Ok(vec![nginx(job)?])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let line = Line::new("aria2c").args("-q --no-conf --file-allocation=none --check-certificate=false");
        Ok(match job.what {
            What::File => {
                let line = line.args("-x4 -s4 -k1M -d").path(job.target_dir());
                line.arg("-o").arg(job.name()).arg(url(job, self.encrypted))
            }
            What::Tree => line.args("-j50 -x16 -d").path(&job.target).arg("-i").path(&job.dir.join("list")),
        })
    }
}
