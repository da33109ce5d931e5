//! Installs the Debian packages of the peers that were asked for.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::failure::{Doing, Failure, Outcome};
use crate::peers::{Peer, Program, find_program, packaged};

/// Asked before a package starts its daemon; one that says 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// What flows run.
const FLOWS: [Program; 2] = [packaged("iperf3", "iperf3"), packaged("mptcpize", "mptcpize")];

/// Packages of programs that `peers` and the flows need and that are not here.
fn missing(peers: &[&dyn Peer]) -> BTreeSet<&'static str> {
    let needs = peers.iter().flat_map(|peer| peer.needs()).chain(&FLOWS);
    let absent = needs.filter(|program| find_program(program.name).is_none());
    absent.filter_map(|program| program.package).collect()
}

/// Installs what is missing. A package that cannot be installed is told of, and its peers are left out later.
pub(crate) fn install(peers: &[&dyn Peer]) -> Outcome {
    let packages = missing(peers);
    if packages.is_empty() {
        return Ok(());
    }
    let shown = packages.iter().copied().collect::<Vec<_>>().join(" ");
    if find_program("apt-get").is_none() {
        eprintln!("compare: missing: {shown} (Debian's names), and there is no apt-get here");
        return Ok(());
    }
    eprintln!("compare: installing {shown}");
    let _still = Still::new()?;
    apt(&["update", "-qq"])?;
    for package in packages {
        if let Err(failure) = apt(&["install", "-qq", "-y", "--no-install-recommends", package]) {
            eprintln!("compare: {failure}");
        }
    }
    Ok(())
}

fn apt(words: &[&str]) -> Outcome {
    let mut command = Command::new("apt-get");
    let output =
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive").output().doing("start apt-get")?;
    let cause = crate::process::last_words(&String::from_utf8_lossy(&output.stderr));
    let shown = words.join(" ");
    if output.status.success() { Ok(()) } else { Err(Failure::new(format!("apt-get {shown}: {cause}"))) }
}

/// While this lives no package starts a daemon on this machine; the comparison starts its own.
struct Still {
    is_ours: bool,
}

impl Still {
    fn new() -> Outcome<Still> {
        // The machine's own policy stands.
        let is_ours = !Path::new(POLICY).exists();
        if is_ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n").doing(format_args!("write {POLICY}"))?;
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(POLICY, mode).doing(format_args!("make {POLICY} a program"))?;
        }
        Ok(Still { is_ours })
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("compare: remove {POLICY}: {error}");
        }
    }
}
