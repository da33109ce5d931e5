//! lftp with four connections, from nginx.

use super::http::{NGINX, OPENSSL, nginx, url};
use super::{Guards, Job, PLAIN, Peer, Program, Serving, What, packaged};
use crate::failure::Outcome;
use crate::line::{Line, quote};

/// `pget -n 4`.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Lftp)]
}

struct Lftp;

impl Peer for Lftp {
    fn name(&self) -> &str {
        "lftp pget -n 4, nginx"
    }

    fn guards(&self) -> Guards {
        PLAIN
    }

    fn needs(&self) -> &[Program] {
        const NEEDS: &[Program] = &[packaged("lftp", "lftp"), NGINX, OPENSSL];
        NEEDS
    }

    fn takes(&self, what: What) -> bool {
        what == What::File
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        Ok(vec![nginx(job)?])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let target = quote(&job.target.display().to_string());
        Ok(Line::new("lftp").args("--norc -c").arg(format!("pget -n 4 {} -o {target}", url(job, false))))
    }
}
