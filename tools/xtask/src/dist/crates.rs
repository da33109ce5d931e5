//! The crates of which the packages are made. In: cargo's tree, its metadata, `Cargo.lock`. Out: each crate with version, licence, sum and
//! what it needs. What only tests use is not among them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::json::Json;
use crate::step::{Doing, Failure, Outcome, output};
use crate::workspace;

/// Name and version.
pub(super) type Id = (String, String);

/// A crate.
#[derive(Debug)]
pub(super) struct Crate {
    pub(super) id: Id,
    /// As its author writes it, by SPDX.
    pub(super) licence: Option<String>,
    /// SHA-256 of what the registry has; none for the workspace's own.
    pub(super) sum: Option<String>,
    /// Whether it is in a program or library; else it helps to build one.
    pub(super) linked: bool,
    pub(super) needs: Vec<Id>,
    /// Where its source is.
    pub(super) folder: PathBuf,
}

/// A package of `Cargo.lock`.
#[derive(Debug, Default, PartialEq)]
struct Locked {
    sum: Option<String>,
    /// `name` where only one version is locked, else `name version`.
    needs: Vec<String>,
}

/// The crates of xferctl and of libxfer with its client, sorted.
///
/// # Errors
/// cargo does not run, or what it says does not fit together.
pub(super) fn shipped() -> Outcome<Vec<Crate>> {
    let linked = tree("normal,no-proc-macro")?;
    let all = tree("normal,build")?;
    let path = workspace::root().join("Cargo.lock");
    let lock = locked(&fs::read_to_string(&path).doing(format_args!("read {}", path.display()))?);
    let mut told = metadata()?;
    all.iter()
        .map(|id| {
            let strange = || Failure::new(format!("{} {} is in cargo's tree only", id.0, id.1));
            let (licence, folder) = told.remove(id).ok_or_else(strange)?;
            let entry = lock.get(id).ok_or_else(strange)?;
            let needs = entry.needs.iter().filter_map(|need| resolve(need, &all)).cloned().collect();
            Ok(Crate {
                id: id.clone(),
                licence,
                sum: entry.sum.clone(),
                linked: linked.contains(id),
                needs,
                folder,
            })
        })
        .collect()
}

/// The crates along edges of these kinds.
fn tree(edges: &str) -> Outcome<BTreeSet<Id>> {
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root()).args(["tree", "--locked", "--prefix", "none", "--format", "{p}"]);
    command.args(["-p", "xferctl", "-p", "libxfer", "--features", "libxfer/client", "--edges", edges]);
    Ok(listed(&output(&mut command)?))
}

/// `name vVERSION (where)` a line.
fn listed(text: &str) -> BTreeSet<Id> {
    let id = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        Some((name.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    };
    text.lines().filter_map(id).collect()
}

/// Licence and folder of every package.
fn metadata() -> Outcome<BTreeMap<Id, (Option<String>, PathBuf)>> {
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root()).args(["metadata", "--locked", "--format-version", "1"]);
    let told = Json::parse(&output(&mut command)?)?;
    let package = |package: &Json| {
        let text = |key| package.get(key).text().map(str::to_owned);
        let manifest = PathBuf::from(text("manifest_path")?);
        Some(((text("name")?, text("version")?), (text("license"), manifest.parent()?.to_path_buf())))
    };
    Ok(told.get("packages").items().iter().filter_map(package).collect())
}

/// The packages of a lock file.
fn locked(text: &str) -> BTreeMap<Id, Locked> {
    let mut found = BTreeMap::new();
    for block in text.split("[[package]]").skip(1) {
        let field = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line.and_then(|value| value.strip_suffix('"')).map(str::to_owned)
        };
        let needs = block.lines().filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","));
        let entry = Locked { sum: field("checksum"), needs: needs.map(str::to_owned).collect() };
        if let (Some(name), Some(version)) = (field("name"), field("version")) {
            found.insert((name, version), entry);
        }
    }
    found
}

/// The crate that a lock file's word means, where it is among these.
fn resolve<'a>(need: &str, all: &'a BTreeSet<Id>) -> Option<&'a Id> {
    let mut words = need.split(' ');
    let (name, version) = (words.next()?, words.next());
    all.iter().find(|id| id.0 == name && version.is_none_or(|version| version == id.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, version: &str) -> Id {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn a_tree_is_a_set_of_crates() {
        let text = "xferctl v0.1.0 (/somewhere)\na v1.2.3\nb v2.0.0+x (proc-macro)\na v1.2.3 (*)\n\n";
        assert_eq!(listed(text), [id("a", "1.2.3"), id("b", "2.0.0+x"), id("xferctl", "0.1.0")].into());
    }

    #[test]
    fn the_lock_file_tells_sums_and_needs() {
        let text = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"s\"\nchecksum = \"ff\"\n\
                    dependencies = [\n \"b 2.0.0\",\n \"c\",\n]\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n";
        let lock = locked(text);
        let needs = vec!["b 2.0.0".to_owned(), "c".to_owned()];
        assert_eq!(lock[&id("a", "1.0.0")], Locked { sum: Some("ff".to_owned()), needs });
        assert_eq!(lock[&id("own", "0.1.0")], Locked::default());
    }

    #[test]
    fn a_need_is_found_by_name_and_version() {
        let all = [id("b", "1.0.0"), id("b", "2.0.0"), id("c", "3.0.0")].into();
        assert_eq!(resolve("b 2.0.0", &all), Some(&id("b", "2.0.0")));
        assert_eq!(resolve("c", &all), Some(&id("c", "3.0.0")));
        assert_eq!(resolve("d", &all), None, "tests need it");
    }

    #[test]
    fn every_crate_that_is_shipped_has_a_licence_and_a_sum() {
        let crates = shipped().unwrap();
        for one in &crates {
            assert!(one.licence.is_some(), "{:?}", one.id);
            let own = one.folder.starts_with(workspace::root());
            assert_eq!(one.sum.as_ref().map(String::len), if own { None } else { Some(64) }, "{:?}", one.id);
        }
        let linked = |name: &str| crates.iter().find(|one| one.id.0 == name).map(|one| one.linked);
        assert_eq!(linked("xferctl"), Some(true));
        assert_eq!(linked("aws-lc-sys"), Some(true));
        assert_eq!(linked("prost-build"), Some(false));
        assert_eq!(linked("proptest"), None, "only tests use it");
    }
}
