//! What lies where in a package. In: the release build, the checkout. Out: a folder as it is unpacked, with modes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install;
use crate::step::{Doing, Outcome, output};
use crate::workspace;

/// Folders below the scratch folder.
pub(super) const DEBIAN: &str = "debian";
pub(super) const TARBALL: &str = concat!("xfer-", env!("CARGO_PKG_VERSION"));
/// Where the tarball's unit expects it.
pub(super) const HOME: &str = "/opt/xfer";

/// Completions: shell, folder below the prefix, file. The zsh folder is the layout's.
const COMPLETIONS: [(&str, &str, &str); 3] = [
    ("bash", "share/bash-completion/completions", "xferctl"),
    ("zsh", "", "_xferctl"),
    ("fish", "share/fish/vendor_completions.d", "xferctl.fish"),
];
/// Documents and examples, below the checkout and below the package's documents.
const DOCUMENTS: [(&str, &str); 8] = [
    ("README.md", "README.md"),
    ("LOG.md", "LOG.md"),
    ("SECURITY.md", "SECURITY.md"),
    ("tools/xferctl/systemd/config.toml", "examples/config.toml"),
    ("ffi/examples/send_file.c", "examples/send_file.c"),
    ("ffi/examples/receive_file.c", "examples/receive_file.c"),
    ("ffi/examples/pipeline.c", "examples/pipeline.c"),
    ("ffi/examples/pair.cpp", "examples/pair.cpp"),
];
const MANUAL: &str = "tools/xferctl/man";
const UNIT: &str = "tools/xferctl/systemd/xfer.service";
const USERS: &str = "tools/xferctl/systemd/xfer.sysusers";

/// Where a kind of package has its files.
pub(super) struct Layout {
    /// Its folder while it is made.
    pub(super) name: &'static str,
    /// Below the package's root; empty where they are the same.
    prefix: &'static str,
    /// Where the prefix is once it is installed.
    home: &'static str,
    /// Of the libraries, below the prefix.
    libraries: String,
    zsh: &'static str,
    /// Whether it brings the text of its licence, which Debian has.
    licence: bool,
}

/// Files that are made for the packages alone.
pub(super) struct Extras {
    pub(super) bill: PathBuf,
    /// Licences of everything that is linked.
    pub(super) licences: String,
}

impl Layout {
    /// Debian's places.
    ///
    /// # Errors
    /// The compiler does not say what its libraries' folder is called.
    pub(super) fn debian() -> Outcome<Layout> {
        let libraries = format!("lib/{}", output(Command::new("cc").arg("-print-multiarch"))?);
        let libraries = libraries.trim_end_matches('/').to_owned();
        Ok(Layout {
            name: DEBIAN,
            prefix: "usr",
            home: "/usr",
            libraries,
            zsh: "share/zsh/vendor-completions",
            licence: false,
        })
    }

    /// One folder that may lie anywhere.
    pub(super) fn tarball() -> Layout {
        let zsh = "share/zsh/site-functions";
        Layout { name: TARBALL, prefix: "", home: HOME, libraries: "lib".to_owned(), zsh, licence: true }
    }

    pub(super) fn program(&self, stage: &Path) -> PathBuf {
        stage.join(self.prefix).join("bin/xferctl")
    }

    pub(super) fn libraries(&self, stage: &Path) -> PathBuf {
        stage.join(self.prefix).join(&self.libraries)
    }

    /// What needs libraries of the system.
    pub(super) fn binaries(&self, stage: &Path) -> Vec<PathBuf> {
        vec![self.program(stage), self.libraries(stage).join(install::SONAME)]
    }

    /// Below the package's root: the path of each file that [`place`] makes, manual pages excepted.
    fn names(&self) -> Vec<String> {
        let below = |path: &str| Path::new(self.prefix).join(path).display().to_string();
        let lib = &self.libraries;
        let mut names: Vec<String> = ["bin/xferctl", "include/xfer.h", "include/xfer.hpp"].map(below).into();
        for name in ["libxfer.so.1", "libxfer.so", "libxfer.a", "pkgconfig/xfer.pc"] {
            names.push(below(&format!("{lib}/{name}")));
        }
        for name in ["xfer-config.cmake", "xfer-config-version.cmake"] {
            names.push(below(&format!("{lib}/cmake/xfer/{name}")));
        }
        names.extend(self.completions().map(|(_, path)| below(&path)));
        names.extend(["lib/systemd/system/xfer.service", "lib/sysusers.d/xfer.conf"].map(below));
        let made = ["changelog.gz", "copyright", "third-party.txt.gz", "xfer.cdx.json"];
        let documents = DOCUMENTS.iter().map(|(_, name)| *name).chain(made);
        let documents = documents.chain(self.licence.then_some("LICENSE"));
        names.extend(documents.map(|name| below(&format!("share/doc/xfer/{name}"))));
        names.sort();
        names
    }

    /// Shell, and the file of its completions below the prefix.
    fn completions(&self) -> impl Iterator<Item = (&'static str, String)> {
        let zsh = self.zsh;
        COMPLETIONS.into_iter().map(move |(shell, folder, name)| {
            (shell, format!("{}/{name}", if folder.is_empty() { zsh } else { folder }))
        })
    }
}

/// Puts everything below `stage`.
///
/// # Errors
/// Something cannot be read or written, or is not where it should be.
pub(super) fn place(stage: &Path, layout: &Layout, release: &Path, extras: &Extras) -> Outcome {
    let prefix = stage.join(layout.prefix);
    install::place(release, &prefix, &layout.libraries)?;
    strip(&layout.libraries(stage).join("libxfer.a"), "--strip-debug")?;
    let program = layout.program(stage);
    copy(&release.join("xferctl"), &program)?;
    strip(&program, "--strip-unneeded")?;
    manual(&prefix.join("share/man/man1"))?;
    for (shell, path) in layout.completions() {
        let text = output(Command::new(release.join("xferctl")).args(["completions", shell]))?;
        write(&prefix.join(path), &(text + "\n"))?;
    }
    service(&prefix, layout.home)?;
    let documents_in = prefix.join("share/doc/xfer");
    documents(&documents_in, extras)?;
    if layout.licence {
        copy(&workspace::root().join("LICENSE"), &documents_in.join("LICENSE"))?;
    }
    modes(stage, &program)?;
    complete(stage, layout)
}

fn manual(dir: &Path) -> Outcome {
    let from = workspace::root().join(MANUAL);
    for entry in fs::read_dir(&from).doing(format_args!("list {}", from.display()))?.flatten() {
        let page = dir.join(entry.file_name());
        copy(&entry.path(), &page)?;
        gzip(&page)?;
    }
    Ok(())
}

/// The unit, which names the program's place, and the user that it runs as.
fn service(prefix: &Path, home: &str) -> Outcome {
    let from = workspace::root().join(UNIT);
    let text = fs::read_to_string(&from).doing(format_args!("read {}", from.display()))?;
    write(&prefix.join("lib/systemd/system/xfer.service"), &at_home(&text, home))?;
    copy(&workspace::root().join(USERS), &prefix.join("lib/sysusers.d/xfer.conf"))
}

/// A unit's text for another place than `/usr`.
fn at_home(unit: &str, home: &str) -> String {
    unit.replace("/usr/bin/", &format!("{home}/bin/"))
}

fn documents(dir: &Path, extras: &Extras) -> Outcome {
    let root = workspace::root();
    for (from, to) in DOCUMENTS {
        copy(&root.join(from), &dir.join(to))?;
    }
    copy(&extras.bill, &dir.join("xfer.cdx.json"))?;
    write(&dir.join("copyright"), &copyright())?;
    let licences = dir.join("third-party.txt");
    write(&licences, &extras.licences)?;
    gzip(&licences)?;
    let changes = dir.join("changelog");
    copy(&root.join("CHANGELOG.md"), &changes)?;
    gzip(&changes)
}

/// In Debian's machine-readable form.
fn copyright() -> String {
    format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: xfer\nSource: {}\n\n\
         Files: *\nCopyright: 2026 The authors of xfer\nLicense: Apache-2.0\n\
         Comment: Programs and libraries hold the crates of others that xfer.cdx.json\n \
         lists; third-party.txt.gz has their licences.\n\n\
         License: Apache-2.0\n \
         On Debian systems the text of the licence is in\n /usr/share/common-licenses/Apache-2.0.\n",
        env!("CARGO_PKG_REPOSITORY")
    )
}

/// Folders and programs 755, all else 644.
fn modes(dir: &Path, program: &Path) -> Outcome {
    set_mode(dir, 0o755)?;
    for entry in fs::read_dir(dir).doing(format_args!("list {}", dir.display()))? {
        let path = entry.doing(format_args!("list {}", dir.display()))?.path();
        let meta = path.symlink_metadata().doing(format_args!("look at {}", path.display()))?;
        if meta.is_dir() {
            modes(&path, program)?;
        } else if meta.is_file() {
            set_mode(&path, if path == program { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

pub(super) fn set_mode(path: &Path, mode: u32) -> Outcome {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .doing(format_args!("set the mode of {}", path.display()))
}

/// Each file that is promised is there, and at least one manual page.
fn complete(stage: &Path, layout: &Layout) -> Outcome {
    let page = Path::new(layout.prefix).join("share/man/man1/xferctl.1.gz").display().to_string();
    for name in layout.names().into_iter().chain([page]) {
        let path = stage.join(&name);
        path.symlink_metadata().doing(format_args!("look for {}", path.display()))?;
    }
    Ok(())
}

/// Takes out of a binary what only debuggers read.
pub(super) fn strip(path: &Path, how: &str) -> Outcome {
    output(Command::new("strip").args([how, "--enable-deterministic-archives"]).arg(path)).map(|_| ())
}

/// Compresses a file in place, without its name and time.
pub(super) fn gzip(path: &Path) -> Outcome {
    output(Command::new("gzip").args(["-n9f"]).arg(path)).map(|_| ())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    make_parent(to)?;
    fs::copy(from, to).doing(format_args!("copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

pub(super) fn write(to: &Path, text: &str) -> Outcome {
    make_parent(to)?;
    fs::write(to, text).doing(format_args!("write {}", to.display()))
}

fn make_parent(path: &Path) -> Outcome {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).doing(format_args!("make {}", parent.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_packages_hold() {
        let libraries = "lib/x86_64-linux-gnu".to_owned();
        let name = DEBIAN;
        let debian = Layout { name, prefix: "usr", home: "/usr", libraries, zsh: "zsh", licence: false };
        let names = debian.names();
        for name in [
            "usr/bin/xferctl",
            "usr/include/xfer.h",
            "usr/lib/x86_64-linux-gnu/libxfer.so.1",
            "usr/lib/x86_64-linux-gnu/pkgconfig/xfer.pc",
            "usr/lib/systemd/system/xfer.service",
            "usr/zsh/_xferctl",
            "usr/share/doc/xfer/copyright",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
        assert!(names.iter().all(|name| name.starts_with("usr/")), "nothing in /etc: no conffiles");
        let plain = Layout::tarball().names();
        assert_eq!(plain.len(), names.len() + 1, "the licence");
        assert!(plain.contains(&"lib/libxfer.so.1".to_owned()), "{plain:?}");
        for (from, _) in DOCUMENTS {
            assert!(workspace::root().join(from).exists(), "{from}");
        }
    }

    #[test]
    fn the_unit_names_the_programs_place() {
        let unit = fs::read_to_string(workspace::root().join(UNIT)).unwrap();
        assert!(at_home(&unit, "/opt/x").contains("\nExecStart=/opt/x/bin/xferctl serve "));
        assert_eq!(at_home(&unit, "/usr"), unit);
    }
}
