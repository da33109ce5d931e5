//! nfs-cp, a client of NFS in user space, from nfs-ganesha, a server in user space: this kernel may have neither.

use super::{Guards, Job, PLAIN, Peer, Program, Serving, What, packaged};
use crate::failure::Outcome;
use crate::line::Line;

/// NFS 4.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Nfs)]
}

struct Nfs;

impl Peer for Nfs {
    fn name(&self) -> &str {
        "nfs-cp, nfs-ganesha"
    }

    fn guards(&self) -> Guards {
        PLAIN
    }

    fn needs(&self) -> &[Program] {
        const NEEDS: &[Program] = &[
            packaged("nfs-cp", "libnfs-utils"),
            // Which brings the server and the part of it that serves files.
            packaged("ganesha.nfsd", "nfs-ganesha-vfs"),
        ];
        NEEDS
    }

    fn takes(&self, what: What) -> bool {
        what == What::File
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        let (dir, node, port, root) = (job.dir.display(), job.node, job.port, job.source_dir().display());
        let config = format!(
            "NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = {port}; Bind_addr = {node}; Enable_NLM = false; Enable_RQUOTA = false; }}\n\
             NFSv4 {{ Graceless = true; RecoveryRoot = \"{dir}/recovery\"; }}\n\
             EXPORT {{ Export_Id = 1; Path = {root}; Pseudo = /x; Access_Type = RO; Squash = None; SecType = sys;\n\
             Protocols = 4; Transports = TCP; FSAL {{ Name = VFS; }} }}\n"
        );
        let config = job.write("ganesha.conf", &config)?;
        let line = Line::new("ganesha.nfsd")
            .args("-F -f")
            .path(&config)
            .arg("-L")
            .path(&job.dir.join("ganesha.log"));
        Ok(vec![Serving::tcp(port, line.arg("-p").path(&job.dir.join("ganesha.pid")))])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let from = format!("nfs://{}/x/{}?version=4&nfsport={}", job.node, job.name(), job.port);
        Ok(Line::new("nfs-cp").arg(from).path(&job.target))
    }
}
