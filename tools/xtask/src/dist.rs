//! `dist`: what users install. In: the release build and the checkout's files. Out, in `target/dist`: a Debian package, a tarball, the Python
//! wheel, a bill of materials and the sums of all four; on standard output their sizes and what they need.
//!
//! The same commit in the same place gives the same bytes: times are the commit's, names are sorted, the owner is root.

mod crates;
mod deb;
mod files;
mod needs;
mod notices;
mod sbom;
mod tarball;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::folder;
use crate::install;
use crate::python;
use crate::setup;
use crate::step::{Doing, Failure, Outcome, output};
use crate::workspace;

use files::Layout;

/// What is packed.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Tries the packages below a folder: the half of `--check` that root does in namespaces of its own.
const TRY: &str = "--try";

/// What everything is made of.
struct Source {
    /// The folder of the release programs and libraries.
    release: PathBuf,
    /// The folder that is shown to the user.
    out: PathBuf,
    /// Scratch below it.
    work: PathBuf,
    commit: String,
    /// When the commit was made, or as `SOURCE_DATE_EPOCH` says: seconds since 1970.
    epoch: u64,
}

/// The files that were made.
struct Packages {
    deb: PathBuf,
    tarball: PathBuf,
    wheel: PathBuf,
    bill: PathBuf,
}

/// `dist [--check [--root DIR]]`.
///
/// # Errors
/// Something cannot be built or packed; with `--check` also what was found wrong in an installed package.
pub(crate) fn run(args: &[String]) -> Outcome {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        [] => make().map(|_| ()),
        ["--check"] => check(Path::new("/")),
        ["--check", "--root", system] => {
            check(&fs::canonicalize(system).doing(format_args!("find {system}"))?)
        }
        [TRY, out, system] => trial::run(Path::new(out), Path::new(system)),
        _ => Err(Failure::usage("usage: cargo xtask dist [--check [--root DIR]]")),
    }
}

fn check(system: &Path) -> Outcome {
    setup::ensure(setup::INSTALL)?;
    setup::ensure(setup::LAB)?;
    setup::check_namespaces()?;
    let (source, packages) = make()?;
    packed_again_is_the_same(&source, &packages)?;
    trial::prepare(&source.work)?;
    trial::enter(&source.out, system)
}

fn make() -> Outcome<(Source, Packages)> {
    setup::ensure(setup::DIST)?;
    let out = workspace::target_dir()?.join("dist");
    let source = Source {
        release: workspace::target_dir()?.join("release"),
        work: out.join("work"),
        out,
        commit: workspace::commit()?,
        epoch: epoch()?,
    };
    folder::empty(&source.out)?;
    fs::create_dir_all(&source.work).doing(format_args!("make {}", source.work.display()))?;
    // The last to leave a `libxfer.a` is the one that is packed.
    let engine = engine_only(&source)?;
    workspace::programs_and_libraries("release", true)?;
    let wheel = copy_into(&python::wheel()?, &source.out)?;
    let crates = crates::shipped()?;
    let bill = source.out.join(format!("xfer-{VERSION}.cdx.json"));
    let text = sbom::render(&crates, VERSION, &source.commit, &timestamp(source.epoch)?);
    fs::write(&bill, text).doing(format_args!("write {}", bill.display()))?;
    let licences = notices::collect(&crates)?;
    let extras = files::Extras { bill: bill.clone(), licences };
    let [debian, plain] =
        [Layout::debian()?, Layout::tarball()].map(|layout| (staged(&source, &layout), layout));
    for (stage, layout) in [&debian, &plain] {
        files::place(stage, layout, &source.release, &extras)?;
    }
    let found = needs::of_files(&debian.1.binaries(&debian.0))?;
    let depends = needs::packages(&source.work, &found)?;
    deb::finish(&source, &debian.0, &depends.list)?;
    let packages = pack(&source, &debian.0, &plain.0, wheel, bill)?;
    sums(&source.out, &packages)?;
    report(&packages, &debian, &engine, &crates)?;
    needs::print(&found, &depends);
    Ok((source, packages))
}

/// Sizes of the libraries without the client of nodes: name and bytes.
fn engine_only(source: &Source) -> Outcome<Vec<(&'static str, u64)>> {
    workspace::programs_and_libraries("release", false)?;
    let prefix = source.work.join("engine");
    install::place(&source.release, &prefix, "lib")?;
    files::strip(&prefix.join("lib/libxfer.a"), "--strip-debug")?;
    [install::SONAME, "libxfer.a"]
        .map(|name| Ok((name, size(&prefix.join("lib").join(name))?)))
        .into_iter()
        .collect()
}

fn staged(source: &Source, layout: &Layout) -> PathBuf {
    source.work.join(layout.name)
}

/// The Debian package and the tarball of what is staged.
fn pack(source: &Source, debian: &Path, plain: &Path, wheel: PathBuf, bill: PathBuf) -> Outcome<Packages> {
    let deb = deb::pack(debian, &source.out, source.epoch)?;
    let tarball = tarball::pack(plain, &source.out, source.epoch)?;
    Ok(Packages { deb, tarball, wheel, bill })
}

/// Packs the same files a second time, elsewhere and later.
fn packed_again_is_the_same(source: &Source, packages: &Packages) -> Outcome {
    let again = source.work.join("again");
    fs::create_dir_all(&again).doing(format_args!("make {}", again.display()))?;
    let deb = deb::pack(&source.work.join(files::DEBIAN), &again, source.epoch)?;
    let tarball = tarball::pack(&source.work.join(files::TARBALL), &again, source.epoch)?;
    for (first, second) in [(&packages.deb, &deb), (&packages.tarball, &tarball)] {
        let read = |path: &Path| fs::read(path).doing(format_args!("read {}", path.display()));
        if read(first)? != read(second)? {
            return Err(Failure::new(format!("{} is another when it is packed again", first.display())));
        }
    }
    println!("packed again: the same bytes");
    Ok(())
}

/// `SOURCE_DATE_EPOCH`, else the time of the commit.
fn epoch() -> Outcome<u64> {
    let told = std::env::var("SOURCE_DATE_EPOCH").ok();
    let git =
        || output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(workspace::root()));
    let text = told.map_or_else(git, Ok)?;
    text.trim().parse().doing(format_args!("SOURCE_DATE_EPOCH or commit time {text:?}"))
}

/// A time as RFC 3339 has it.
fn timestamp(epoch: u64) -> Outcome<String> {
    output(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d", &format!("@{epoch}")]))
}

fn copy_into(file: &Path, dir: &Path) -> Outcome<PathBuf> {
    let to = dir.join(file.file_name().unwrap_or_default());
    fs::copy(file, &to).doing(format_args!("copy {} to {}", file.display(), to.display()))?;
    Ok(to)
}

fn size(path: &Path) -> Outcome<u64> {
    Ok(fs::metadata(path).doing(format_args!("look at {}", path.display()))?.len())
}

impl Packages {
    fn all(&self) -> [&Path; 4] {
        [&self.deb, &self.tarball, &self.wheel, &self.bill]
    }
}

/// What `sha256sum --check` reads.
fn sums(out: &Path, packages: &Packages) -> Outcome {
    let names = packages.all().map(|path| path.file_name().unwrap_or_default());
    let text = output(Command::new("sha256sum").args(names).current_dir(out))?;
    let to = out.join("SHA256SUMS");
    fs::write(&to, text + "\n").doing(format_args!("write {}", to.display()))
}

fn report(
    packages: &Packages,
    (stage, layout): &(PathBuf, Layout),
    engine: &[(&str, u64)],
    crates: &[crates::Crate],
) -> Outcome {
    println!("packages, bytes:");
    for path in packages.all() {
        println!("  {:>11}  {}", size(path)?, path.display());
    }
    println!("installed, bytes:");
    let lib = layout.libraries(stage);
    let whole = [layout.program(stage), lib.join(install::SONAME), lib.join("libxfer.a")];
    for path in whole {
        println!("  {:>11}  {}", size(&path)?, path.strip_prefix(stage).unwrap_or(&path).display());
    }
    for (name, bytes) in engine {
        println!("  {bytes:>11}  {name} without the client of nodes, for comparison");
    }
    let linked = crates.iter().filter(|one| one.linked).count();
    println!("crates: {linked} linked, {} that only build", crates.len() - linked);
    Ok(())
}
