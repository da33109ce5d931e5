//! What the demo copies: real files that it did not make.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::step::{Failure, Outcome};
use crate::tree::Tree;
use crate::workspace;

/// The default input has at least this many bytes ...
const BYTES_MIN: u64 = 1 << 30;
/// ... and this many files.
const FILES_MIN: usize = 5_000;

/// The sources of one copy and what is below them.
pub(crate) struct Sources {
    /// Absolute paths with distinct last components, as given to `cp`.
    pub(crate) roots: Vec<PathBuf>,
    /// Everything below, each root under its last component.
    pub(crate) tree: Tree,
    /// The tree digest, once it was asked for.
    digest: OnceCell<String>,
}

impl Sources {
    /// The folder that was asked for, or the default: from a fixed list as many folders as make up the minimum.
    ///
    /// # Errors
    /// A folder cannot be read; or this machine's folders are too small in sum.
    pub(crate) fn collect(dir: Option<&Path>) -> Outcome<Sources> {
        if let Some(dir) = dir {
            return Sources::pick([dir.to_path_buf()], 0, 0);
        }
        let sysroot = workspace::sysroot()?;
        let registry = workspace::cargo_home().map(|home| home.join("registry/src"));
        let toolchain = [sysroot.join("lib"), sysroot.join("bin")];
        let system = ["include", "lib/gcc", "lib/x86_64-linux-gnu", "libexec", "share"];
        let system = system.map(|dir| Path::new("/usr").join(dir));
        let documents = sysroot.join("share/doc");
        let candidates = toolchain.into_iter().chain(registry).chain(system).chain([documents]);
        let candidates = candidates.filter(|dir| dir.is_dir());
        Sources::pick(candidates, BYTES_MIN, FILES_MIN)
    }

    /// The tree digest of the sources, read once: nothing here changes them.
    ///
    /// # Errors
    /// Something cannot be read.
    pub(crate) fn digest(&self) -> Outcome<&str> {
        if let Some(digest) = self.digest.get() {
            return Ok(digest);
        }
        let digest = self.tree.digest()?;
        Ok(self.digest.get_or_init(|| digest))
    }

    /// Takes candidates until both minima are reached; a last component that was taken is not taken again.
    fn pick(
        candidates: impl IntoIterator<Item = PathBuf>,
        bytes_min: u64,
        files_min: usize,
    ) -> Outcome<Sources> {
        let mut sources = Sources { roots: Vec::new(), tree: Tree::default(), digest: OnceCell::new() };
        let mut names = BTreeSet::<OsString>::new();
        for root in candidates {
            let Some(name) = root.file_name() else {
                return Err(Failure::new(format!("{} has no name to copy it under", root.display())));
            };
            if !names.insert(name.to_owned()) {
                continue;
            }
            sources.tree.add(&root, Some(name.to_owned()))?;
            sources.roots.push(root);
            if sources.tree.bytes() >= bytes_min && sources.tree.entries.len() >= files_min {
                return Ok(sources);
            }
        }
        Err(Failure::new(format!(
            "toolchain, /usr and cargo's registry hold only {} bytes in {} files; name a larger folder",
            sources.tree.bytes(),
            sources.tree.entries.len()
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn folders_are_taken_until_there_is_enough() {
        let top = std::env::temp_dir().join(format!("xtask-sources-{}", std::process::id()));
        let folder = |path: &str, bytes: usize| {
            let dir = top.join(path);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("file"), vec![0; bytes]).unwrap();
            dir
        };
        let all = [folder("1/lib", 10), folder("2/lib", 10), folder("2/bin", 10), folder("2/src", 10)];
        let pick = |bytes, files| Sources::pick(all.clone(), bytes, files);
        assert_eq!(pick(10, 1).unwrap().roots, [all[0].clone()]);
        let two = pick(11, 1).unwrap();
        assert_eq!(two.roots, [all[0].clone(), all[2].clone()], "the second `lib` would collide");
        assert_eq!((two.tree.entries.len(), two.tree.bytes()), (2, 20));
        assert_eq!(pick(1, 3).unwrap().roots.len(), 3);
        assert!(pick(31, 1).is_err());
        fs::remove_dir_all(&top).unwrap();
    }
}
