//! rclone, from nginx and to an sshd.

use super::http::{NGINX, OPENSSL, nginx};
use super::{ENCRYPTED, Guards, Job, PLAIN, Peer, Program, Serving, What, packaged, ssh};
use crate::failure::Outcome;
use crate::line::Line;

const RCLONE: Program = packaged("rclone", "rclone");

/// Over HTTP and SFTP.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Rclone::Http), Box::new(Rclone::Sftp)]
}

enum Rclone {
    Http,
    Sftp,
}

impl Peer for Rclone {
    fn name(&self) -> &str {
        match self {
            Rclone::Http => "rclone http, nginx",
            Rclone::Sftp => "rclone sftp",
        }
    }

    fn guards(&self) -> Guards {
        match self {
            Rclone::Http => PLAIN,
            Rclone::Sftp => ENCRYPTED,
        }
    }

    fn needs(&self) -> &[Program] {
        match self {
            Rclone::Http => &[RCLONE, NGINX, OPENSSL],
            Rclone::Sftp => &[RCLONE, ssh::SSH, ssh::SSHD],
        }
    }

    fn takes(&self, _: What) -> bool {
        true
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        Ok(vec![match self {
            Rclone::Http => nginx(job)?,
            Rclone::Sftp => ssh::daemon(job)?.0,
        }])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let verb = if job.what == What::Tree { "copy" } else { "copyto" };
        let line = Line::new("rclone").arg(verb).args("-q --config /dev/null --transfers 32 --checkers 32");
        Ok(match self {
            Rclone::Http => {
                let base = format!("http://{}:{}", job.node, job.port);
                let line = line.arg("--multi-thread-streams").arg(4).arg("--http-url").arg(base);
                line.arg(format!(":http:{}", job.name())).path(&job.target)
            }
            Rclone::Sftp => {
                let line = line.args("--sftp-user root --sftp-host");
                let line = line.arg(job.node).arg("--sftp-port").arg(job.port).arg("--sftp-key-file");
                let line = line.path(&job.dir.join("user_key")).arg("--sftp-disable-hashcheck");
                line.path(job.source).arg(format!(":sftp:{}", job.target.display()))
            }
        })
    }
}
