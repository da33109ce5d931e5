//! GridFTP: globus-url-copy to globus-gridftp-server, plain, with checksums, and encrypted by GSI.

use std::fs;
use std::process::Command;

use super::http::OPENSSL;
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

/// What both ends find their certificates by, from an authority that is made for it. Globus takes no end that signs itself, and makes
/// itself a key for the session that is as long as the certificate's: OpenSSL refuses the length of an elliptic one.
fn credentials(job: &Job<'_>) -> Outcome {
    let trusted = job.dir.join("trusted");
    fs::create_dir_all(&trusted).doing(format_args!("make {}", trusted.display()))?;
    let make = "req -x509 -newkey rsa:2048 -nodes -days 2";
    openssl(job, &format!("{make} -subj /CN=ca -keyout ca.key -out ca.pem"))?;
    for name in ["a", "b"] {
        let signed = "-CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:FALSE";
        openssl(job, &format!("{make} {signed} -subj /CN={name} -keyout {name}.key -out {name}.pem"))?;
    }
    let hash = openssl(job, "x509 -noout -hash -in ca.pem")?;
    let place = trusted.join(format!("{hash}.0"));
    fs::copy(job.dir.join("ca.pem"), &place).doing(format_args!("copy to {}", place.display()))?;
    let policy = "access_id_CA X509 '/CN=ca'\npos_rights globus CA:sign\ncond_subjects globus '\"/CN=*\"'\n";
    let place = trusted.join(format!("{hash}.signing_policy"));
    fs::write(&place, policy).doing(format_args!("write {}", place.display()))?;
    job.write("gridmap", "\"/CN=a\" root\n").map(drop)
}

/// Runs openssl in the directory of this run; gives what it says.
fn openssl(job: &Job<'_>, words: &str) -> Outcome<String> {
    let output = Command::new("openssl").args(words.split(' ')).current_dir(&job.dir).output();
    let output = output.doing("start openssl")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let cause = crate::process::last_words(&String::from_utf8_lossy(&output.stderr));
    Err(Failure::new(format!("openssl {words}: {cause}")))
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
