//! OpenSSH with AES-128-GCM: scp, sftp, cat through ssh, tar through ssh; and the sshd that others reach their programs by.

use std::path::PathBuf;
use std::process::Command;

use super::{ENCRYPTED, Guards, Job, Peer, Program, Serving, What, packaged};
use crate::failure::{Doing, Failure, Outcome};
use crate::line::{Line, quote};

const CIPHER: &str = "aes128-gcm@openssh.com";

/// What is needed to reach host b by ssh.
pub(super) const SSH: Program = packaged("ssh", "openssh-client");
pub(super) const SSHD: Program = packaged("sshd", "openssh-server");

/// scp, sftp, and ssh as a pipe.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Ssh::Scp), Box::new(Ssh::Sftp), Box::new(Ssh::Pipe)]
}

enum Ssh {
    Scp,
    Sftp,
    Pipe,
}

/// Writes keys and configuration of an sshd on host b; gives the daemon, and the client's configuration for host `b`.
pub(super) fn daemon(job: &Job<'_>) -> Outcome<(Serving, PathBuf)> {
    let key = |name: &str| {
        let path = job.dir.join(name);
        let mut command = Command::new("ssh-keygen");
        let made = command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
        match made.doing("start ssh-keygen")?.success() {
            true => Ok(path),
            false => Err(Failure::new(format!("ssh-keygen made no key at {}", path.display()))),
        }
    };
    let (host_key, user_key) = (key("host_key")?, key("user_key")?);
    // sshd chroots its unprivileged half into this directory, which is compiled in.
    std::fs::create_dir_all("/run/sshd").doing("make /run/sshd")?;
    let (node, port) = (job.node, job.port);
    let config = format!(
        "ListenAddress {node}\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}.pub\nPermitRootLogin yes\nStrictModes no\n\
         UsePAM no\nPidFile none\nCiphers {CIPHER}\nUseDNS no\nMaxStartups 100\nSubsystem sftp internal-sftp\n",
        host_key.display(),
        user_key.display()
    );
    let config = job.write("sshd.conf", &config)?;
    let client = format!(
        "Host b\nHostName {node}\nPort {port}\nUser root\nIdentityFile {}\nIdentitiesOnly yes\nStrictHostKeyChecking no\n\
         UserKnownHostsFile /dev/null\nLogLevel ERROR\nCiphers {CIPHER}\nCompression no\nBatchMode yes\n",
        user_key.display()
    );
    let client = job.write("ssh.conf", &client)?;
    // sshd starts itself again for each connection, and so wants to be called by its path.
    let program = super::find_program("sshd").unwrap_or_else(|| "/usr/sbin/sshd".into());
    let line = Line::new(program).args("-D -e -f").path(&config);
    Ok((Serving::tcp(port, line), client))
}

/// The client's configuration that [`daemon`] wrote for this job.
pub(super) fn client_config(job: &Job<'_>) -> PathBuf {
    job.dir.join("ssh.conf")
}

impl Peer for Ssh {
    fn name(&self) -> &str {
        match self {
            Ssh::Scp => "scp",
            Ssh::Sftp => "sftp",
            Ssh::Pipe => "cat | ssh",
        }
    }

    fn tree_name(&self) -> &str {
        match self {
            Ssh::Pipe => "tar | ssh",
            Ssh::Scp | Ssh::Sftp => self.name(),
        }
    }

    fn guards(&self) -> Guards {
        ENCRYPTED
    }

    fn needs(&self) -> &[Program] {
        &[SSH, SSHD]
    }

    fn takes(&self, _: What) -> bool {
        true
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        if job.what == What::Tree && matches!(self, Ssh::Pipe) {
            job.make_target()?;
        }
        Ok(vec![daemon(job)?.0])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let config = client_config(job);
        let into = job.target_dir().display();
        let (source, target) = (job.source.display().to_string(), job.target.display().to_string());
        let tree = job.what == What::Tree;
        Ok(match self {
            Ssh::Scp => {
                let line = Line::new("scp").args("-q -F").path(&config);
                let line = if tree { line.arg("-r") } else { line };
                line.path(job.source).arg(format!("b:{into}/"))
            }
            Ssh::Sftp => {
                let put = if tree { "put -r" } else { "put" };
                let batch = job.write("batch", &format!("{put} {} {}/\n", quote(&source), into))?;
                let line = Line::new("sftp").args("-q -B 261120 -R 128 -F").path(&config);
                line.arg("-b").path(&batch).arg("b")
            }
            Ssh::Pipe => {
                let ssh = format!("ssh -F {} b", quote(&config.display().to_string()));
                let (source, target) = (quote(&source), quote(&target));
                Line::shell(match job.what {
                    What::File => format!("exec {ssh} 'cat > {target}' < {source}"),
                    What::Tree => format!("tar c -C {source} . | {ssh} 'tar x -C {target}'"),
                })
            }
        })
    }
}
