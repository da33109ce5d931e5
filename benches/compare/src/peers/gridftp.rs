//! GridFTP: globus-url-copy to globus-gridftp-server, plain, with checksums, and encrypted by GSI.

use std::fs;
use std::process::Command;

use super::http::{OPENSSL, certificate};
use super::{ENCRYPTED, Guards, Job, PLAIN, Peer, Program, Serving, VERIFIED, What, as_host, packaged};
use crate::failure::{Doing, Failure, Outcome};
use crate::line::Line;

/// One and eight streams, with checksum, encrypted; small files pipelined and concurrently.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    let of =
        |name, guards, what, options| -> Box<dyn Peer> { Box::new(GridFtp { name, guards, what, options }) };
    vec![
        of("GridFTP -p 1", PLAIN, What::File, "-p 1"),
        of("GridFTP -p 8", PLAIN, What::File, "-p 8"),
        of("GridFTP -fast -p 4", PLAIN, What::File, "-fast -p 4"),
        of("GridFTP -p 8 -verify-checksum", VERIFIED, What::File, "-p 8 -verify-checksum"),
        of("GridFTP -p 8 -dcpriv", ENCRYPTED, What::File, "-p 8 -dcpriv"),
        of("GridFTP -pp -fast", PLAIN, What::Tree, "-pp -fast -r -cd"),
        of("GridFTP -cc 4 -fast", PLAIN, What::Tree, "-cc 4 -fast -r -cd"),
        of("GridFTP -pp -verify-checksum", VERIFIED, What::Tree, "-pp -fast -r -cd -verify-checksum"),
    ]
}

struct GridFtp {
    name: &'static str,
    guards: Guards,
    what: What,
    options: &'static str,
}

/// What both ends find their certificates by. Each signs its own, and the other takes it for an authority.
fn credentials(job: &Job<'_>) -> Outcome {
    let trusted = job.dir.join("trusted");
    fs::create_dir_all(&trusted).doing(format_args!("make {}", trusted.display()))?;
    for name in ["a", "b"] {
        let (_, certificate) = certificate(&job.dir, name)?;
        let mut command = Command::new("openssl");
        let output = command.args(["x509", "-noout", "-hash", "-in"]).arg(&certificate).output();
        let output = output.doing("start openssl")?;
        let hash = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if hash.is_empty() {
            return Err(Failure::new(format!("openssl made no hash of {}", certificate.display())));
        }
        let place = trusted.join(format!("{hash}.0"));
        fs::copy(&certificate, &place).doing(format_args!("copy to {}", place.display()))?;
        let policy = format!(
            "access_id_CA X509 '/CN={name}'\npos_rights globus CA:sign\ncond_subjects globus '\"/CN={name}*\"'\n"
        );
        let place = trusted.join(format!("{hash}.signing_policy"));
        fs::write(&place, policy).doing(format_args!("write {}", place.display()))?;
    }
    job.write("gridmap", "\"/CN=a\" root\n").map(drop)
}

/// `env` with the variables by which end `name` finds its credentials.
fn with_credentials(job: &Job<'_>, name: &str) -> Line {
    let dir = job.dir.display();
    as_host(job, name)
        .arg("env")
        .arg(format!("X509_CERT_DIR={dir}/trusted"))
        .arg(format!("X509_USER_CERT={dir}/{name}.pem"))
        .arg(format!("X509_USER_KEY={dir}/{name}.key"))
        .arg(format!("GRIDMAP={dir}/gridmap"))
}

impl Peer for GridFtp {
    fn name(&self) -> &str {
        self.name
    }

    fn guards(&self) -> Guards {
        self.guards
    }

    fn needs(&self) -> &[Program] {
        const NEEDS: &[Program] = &[
            packaged("globus-url-copy", "globus-gass-copy-progs"),
            packaged("globus-gridftp-server", "globus-gridftp-server-progs"),
            OPENSSL,
        ];
        NEEDS
    }

    fn takes(&self, what: What) -> bool {
        what == self.what
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        job.write_hosts()?;
        let line = if self.guards.encrypted {
            credentials(job)?;
            with_credentials(job, "b").arg("globus-gridftp-server")
        } else {
            as_host(job, "b").args("globus-gridftp-server -aa -anonymous-user root")
        };
        // Without a configuration of its own it reads the machine's.
        let config = job.write("gridftp.conf", "")?;
        let line = line.arg("-c").path(&config).args("-allow-root -port").arg(job.port);
        let line = line.arg("-control-interface").arg(job.node).arg("-data-interface").arg(job.node);
        Ok(vec![Serving::tcp(job.port, line)])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let slash = if job.what == What::Tree { "/" } else { "" };
        let scheme = if self.guards.encrypted { "gsiftp" } else { "ftp" };
        let line = if self.guards.encrypted {
            with_credentials(job, "a").args("globus-url-copy -ds /CN=b")
        } else {
            as_host(job, "a").arg("globus-url-copy")
        };
        let line =
            line.args(self.options).args("-bs 1M").arg(format!("file://{}{slash}", job.source.display()));
        Ok(line.arg(format!("{scheme}://{}:{}{}{slash}", job.node, job.port, job.target.display())))
    }
}
