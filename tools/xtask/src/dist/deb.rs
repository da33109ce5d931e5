//! The Debian package: its control files, and `dpkg-deb` that joins them with the files. In: the staged files. Out: one `.deb`.
//!
//! One package has program, library and headers. No file is in /etc, and the unit is not enabled: what a node serves is for its owner to say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::{Doing, Outcome, Step, output};

use super::files::{gzip, set_mode, write};
use super::{Source, VERSION};

/// The package's name.
pub(super) const NAME: &str = "xfer";
/// Who is asked about it.
const MAINTAINER: &str = "The authors of xfer <xfer-project@users.noreply.github.com>";
/// Debian's part of the version.
const REVISION: &str = "1";

/// Makes the user that the unit runs as, where systemd is; nothing is started or enabled.
const POSTINST: &str = "#!/bin/sh\nset -e\n\
    if [ \"$1\" = configure ] && command -v systemd-sysusers >/dev/null; then\n    systemd-sysusers xfer.conf\nfi\n\
    if [ -d /run/systemd/system ]; then\n    systemctl --system daemon-reload >/dev/null || true\nfi\n";
/// A node that runs ends before its program goes.
const PRERM: &str = "#!/bin/sh\nset -e\n\
    if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then\n    deb-systemd-invoke stop xfer.service >/dev/null || true\nfi\n";

/// What `control` says besides constants.
struct Control<'a> {
    architecture: &'a str,
    depends: &'a str,
    /// Of the files, in KiB.
    installed: u64,
}

/// Adds the control files and Debian's changelog to the staged files.
///
/// # Errors
/// A file cannot be written, or `dpkg` does not run.
pub(super) fn finish(source: &Source, stage: &Path, depends: &str) -> Outcome {
    let changes = stage.join("usr/share/doc").join(NAME).join("changelog.Debian");
    let date = output(Command::new("date").args(["-u", "-R", "-d", &format!("@{}", source.epoch)]))?;
    write(&changes, &changelog(&source.commit, &date))?;
    gzip(&changes)?;
    set_mode(&changes.with_extension("Debian.gz"), 0o644)?;
    let files = files(stage, stage)?;
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let installed = files.iter().map(|(_, bytes)| bytes.div_ceil(1024).max(1)).sum();
    let text = control(&Control { architecture: &architecture, depends, installed });
    let sums =
        output(Command::new("md5sum").args(files.iter().map(|(name, _)| name)).current_dir(stage))? + "\n";
    let shlibs = format!("libxfer 1 {NAME} (>= {VERSION})\n");
    for (name, text, mode) in [
        ("control", text.as_str(), 0o644),
        ("md5sums", &sums, 0o644),
        ("shlibs", &shlibs, 0o644),
        ("triggers", "activate-noawait ldconfig\n", 0o644),
        ("postinst", POSTINST, 0o755),
        ("prerm", PRERM, 0o755),
    ] {
        let path = stage.join("DEBIAN").join(name);
        write(&path, text)?;
        set_mode(&path, mode)?;
    }
    set_mode(&stage.join("DEBIAN"), 0o755)
}

/// Joins the staged files into `out`; returns where the package is.
///
/// # Errors
/// `dpkg-deb` fails.
pub(super) fn pack(stage: &Path, out: &Path, epoch: u64) -> Outcome<PathBuf> {
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let deb = out.join(format!("{NAME}_{VERSION}-{REVISION}_{architecture}.deb"));
    Step::new("Debian package", "dpkg-deb")
        .args(["--root-owner-group", "-Zxz", "-z3", "--build"])
        .args([stage, &deb])
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .run()?;
    Ok(deb)
}

fn control(control: &Control<'_>) -> String {
    format!(
        "Package: {NAME}\nVersion: {VERSION}-{REVISION}\nArchitecture: {}\nMaintainer: {MAINTAINER}\nInstalled-Size: {}\n\
         Depends: {}\nSuggests: libc6-dev, pkgconf, systemd\nSection: net\nPriority: optional\nHomepage: {}\n\
         Description: verified, resumable transfers over every network interface\n \
         xfer cuts files into chunks, stripes them as encrypted UDP packets over every\n \
         network interface at once, verifies each chunk with BLAKE3 before a byte of it\n \
         reaches a file, and picks up where it stopped.\n .\n \
         This package has the tool xferctl, a systemd unit for a node that is not\n \
         enabled, and libxfer for C and C++ programs: shared and static library,\n \
         headers, pkg-config and CMake files.\n",
        control.architecture,
        control.installed,
        control.depends,
        env!("CARGO_PKG_REPOSITORY"),
    )
}

fn changelog(commit: &str, date: &str) -> String {
    format!(
        "{NAME} ({VERSION}-{REVISION}) unstable; urgency=medium\n\n  * Built of commit {commit}.\n\n -- {MAINTAINER}  {date}\n"
    )
}

/// Regular files below `dir`, sorted: path below `root`, and bytes. Control files excepted.
fn files(root: &Path, dir: &Path) -> Outcome<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).doing(format_args!("list {}", dir.display()))? {
        let path = entry.doing(format_args!("list {}", dir.display()))?.path();
        let meta = path.symlink_metadata().doing(format_args!("look at {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if meta.is_dir() && name != "DEBIAN" {
            found.extend(files(root, &path)?);
        } else if meta.is_file() {
            found.push((name, meta.len()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_has_the_fields_that_dpkg_wants() {
        let text = control(&Control { architecture: "amd64", depends: "libc6 (>= 2.34)", installed: 7 });
        for field in ["Package: xfer", "Architecture: amd64", "Installed-Size: 7", "Depends: libc6 (>= 2.34)"]
        {
            assert!(text.lines().any(|line| line == field), "{field} in {text}");
        }
        let (_, description) = text.split_once("Description: ").unwrap();
        assert!(description.lines().skip(1).all(|line| line.starts_with(' ')), "{description}");
        assert!(description.lines().all(|line| line.len() < 80), "{description}");
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
    }

    #[test]
    fn files_are_sorted_and_without_control() {
        let dir = std::env::temp_dir().join(format!("xtask-deb-{}", std::process::id()));
        for (name, text) in [("usr/b", "12"), ("usr/a/c", ""), ("DEBIAN/control", "x")] {
            write(&dir.join(name), text).unwrap();
        }
        assert_eq!(files(&dir, &dir).unwrap(), [("usr/a/c".to_owned(), 0), ("usr/b".to_owned(), 2)]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
