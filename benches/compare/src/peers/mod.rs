//! The tools that are compared, one file a family. Each says how its serving side is set up and how one copies with it, with its
//! best options; what it is given is a [`Job`].

mod aria;
mod gridftp;
mod http;
mod lftp;
mod nbd;
mod nfs;
mod pipes;
mod rclone;
mod rsync;
mod samba;
mod ssh;
mod strangers;
mod udp;
pub(crate) mod xfer;
mod xrootd;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Outcome};
use crate::line::{Line, quote};
use crate::process::Ready;

/// A tool that copies from host to host.
pub(crate) trait Peer: Sync {
    /// What the tables call it, options that matter included.
    fn name(&self) -> &str;

    /// What they call it when it copies a tree.
    fn tree_name(&self) -> &str {
        self.name()
    }

    /// What it does for the content besides moving it.
    fn guards(&self) -> Guards;

    /// The programs that it runs.
    fn needs(&self) -> &[Program];

    /// Whether it can copy this, sensibly.
    fn takes(&self, what: What) -> bool;

    /// Sets up its serving side: writes what it is configured by, and gives the programs to start on host b, in order.
    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>>;

    /// The command that is timed, on host a. `told` is what the serving programs have written so far.
    fn copy(&self, job: &Job<'_>, told: &[String]) -> Outcome<Line>;

    /// When the copy is done.
    fn ends(&self) -> Ends {
        Ends::WithClient
    }

    /// Says what is missing, where it cannot run.
    fn available(&self) -> Result<(), String> {
        match self.needs().iter().find(|program| find_program(program.name).is_none()) {
            None => Ok(()),
            Some(Program { name, package: Some(package) }) => {
                Err(format!("no {name} here (Debian: {package})"))
            }
            Some(Program { name, package: None }) => {
                Err(format!("no {name} on PATH, and Debian has no package"))
            }
        }
    }
}

/// Encryption and verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guards {
    /// Content is encrypted and authenticated on its way.
    pub(crate) encrypted: bool,
    /// A digest of the content is compared at both ends.
    pub(crate) verified: bool,
}

pub(crate) const PLAIN: Guards = Guards { encrypted: false, verified: false };
pub(crate) const ENCRYPTED: Guards = Guards { encrypted: true, verified: false };
pub(crate) const VERIFIED: Guards = Guards { encrypted: false, verified: true };
pub(crate) const FULL: Guards = Guards { encrypted: true, verified: true };

/// A program and the Debian package that brings it, if one does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: Option<&'static str>,
}

/// A program that a Debian package brings.
pub(crate) const fn packaged(name: &'static str, package: &'static str) -> Program {
    Program { name, package: Some(package) }
}

/// What is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    File,
    Tree,
}

/// A program to start on host b.
pub(crate) struct Serving {
    pub(crate) line: Line,
    pub(crate) ready: Ready,
}

impl Serving {
    fn tcp(port: u16, line: Line) -> Self {
        Self { line, ready: Ready::Tcp(port) }
    }
}

/// When a copy is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// When the timed command ends.
    WithClient,
    /// When the serving programs have ended, too: the receiver ends on its own.
    WithServers,
}

/// One copy to make. Source and target have the same name in different directories; both hosts see both.
pub(crate) struct Job<'a> {
    pub(crate) what: What,
    pub(crate) source: &'a Path,
    /// Not there yet; its directory is, and is empty.
    pub(crate) target: PathBuf,
    /// A directory of this run, for configuration and logs.
    pub(crate) dir: PathBuf,
    /// Host b's address.
    pub(crate) node: Ipv4Addr,
    /// Host a's address.
    pub(crate) client: Ipv4Addr,
    /// The first of `limits::PORTS_OF_RUN` free ports.
    pub(crate) port: u16,
}

impl Job<'_> {
    /// The directory that the target will be in.
    fn target_dir(&self) -> &Path {
        self.target.parent().unwrap_or(Path::new("/"))
    }

    /// The directory that the source is in.
    fn source_dir(&self) -> &Path {
        self.source.parent().unwrap_or(Path::new("/"))
    }

    /// The name that source and target share.
    fn name(&self) -> String {
        self.source.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Writes a file of this run; gives its path.
    fn write(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, text).doing(format_args!("write {}", path.display()))?;
        Ok(path)
    }

    /// Writes the table of hosts for [`as_host`].
    fn write_hosts(&self) -> Outcome {
        let table = format!("127.0.0.1 localhost\n{} a\n{} b\n", self.client, self.node);
        self.write("hosts", &table).map(drop)
    }

    /// Makes the target's own directory, for tools that fill one.
    fn make_target(&self) -> Outcome {
        fs::create_dir_all(&self.target).doing(format_args!("make {}", self.target.display()))
    }
}

/// Runs what follows as host `name` with a table of hosts: some tools want every address to have
/// a name, and the lab has no name service. [`Job::write_hosts`] made the table.
fn as_host(job: &Job<'_>, name: &str) -> Line {
    let hosts = job.dir.join("hosts");
    let script = format!(
        "mount --bind {} /etc/hosts && hostname {name} && exec \"$@\"",
        quote(&hosts.display().to_string())
    );
    Line::new("unshare").args("--mount --uts sh -c").arg(script).arg("sh")
}

/// All peers; the product first.
pub(crate) fn all() -> Vec<Box<dyn Peer>> {
    let families = [
        xfer::all,
        pipes::all,
        http::all,
        aria::all,
        lftp::all,
        rsync::all,
        ssh::all,
        gridftp::all,
        nbd::all,
    ];
    let more = [rclone::all, samba::all, nfs::all, xrootd::all, udp::all, strangers::all];
    families.iter().chain(&more).flat_map(|family| family()).collect()
}

/// The file that `name` runs: itself, where it is a path, else looked for on PATH and where Debian keeps daemons.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
