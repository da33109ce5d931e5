//! smbclient from smbd, SMB 3 without encryption.

use super::{Guards, Job, PLAIN, Peer, Program, Serving, What, packaged};
use crate::failure::Outcome;
use crate::line::{Line, quote};

/// smbclient.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Samba)]
}

struct Samba;

impl Peer for Samba {
    fn name(&self) -> &str {
        "smbclient, smbd"
    }

    fn guards(&self) -> Guards {
        PLAIN
    }

    fn needs(&self) -> &[Program] {
        const NEEDS: &[Program] = &[packaged("smbclient", "smbclient"), packaged("smbd", "samba")];
        NEEDS
    }

    fn takes(&self, _: What) -> bool {
        true
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        if job.what == What::Tree {
            job.make_target()?;
        }
        let dir = job.dir.display();
        let places = ["lock", "state", "cache", "pid", "private", "ncalrpc"];
        let places: String = places
            .iter()
            .map(|place| {
                let word = if matches!(*place, "private" | "ncalrpc") { "dir" } else { "directory" };
                format!("{place} {word} = {dir}\n")
            })
            .collect();
        let config = format!(
            "[global]\nserver role = standalone server\nmap to guest = Bad User\nguest account = root\n\
             bind interfaces only = yes\ninterfaces = {}\nsmb ports = {}\ndisable netbios = yes\nload printers = no\n\
             log file = {dir}/smbd.log\nuse sendfile = yes\n{places}[x]\npath = {}\nguest ok = yes\nread only = yes\n",
            job.node,
            job.port,
            job.source_dir().display()
        );
        let config = job.write("smb.conf", &config)?;
        let line = Line::new("smbd").args("--foreground --no-process-group --configfile").path(&config);
        Ok(vec![Serving::tcp(job.port, line)])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let target = quote(&job.target.display().to_string());
        let command = match job.what {
            What::File => format!("get {} {target}", job.name()),
            What::Tree => format!("lcd {target}; cd {}; recurse; prompt; mget *", job.name()),
        };
        let line = Line::new("smbclient").args("-N -p").arg(job.port).arg("--configfile");
        Ok(line.path(&job.dir.join("smb.conf")).arg(format!("//{}/x", job.node)).arg("-c").arg(command))
    }
}
