//! `install`: libxfer as C programs find it. In: the static library that cargo builds. Out: header, static and shared library, pkg-config and
//! CMake files under one prefix, which may be moved as a whole. `dist` places the same in its packages.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::folder;
use crate::setup;
use crate::step::{Doing, Failure, Outcome, Step};
use crate::workspace;

/// The version script: the names that the shared library exports, and since which interface.
const MAP: &str = "ffi/xfer.map";
/// What programs that were linked with the shared library ask for.
pub(crate) const SONAME: &str = "libxfer.so.1";
/// Libraries of the system that the static library needs.
const SYSTEM_LIBRARIES: [&str; 4] = ["-lgcc_s", "-lm", "-lpthread", "-ldl"];

/// What to install, and where.
struct Wanted {
    prefix: PathBuf,
    client: bool,
    profile: &'static str,
}

/// `install --prefix P [--client] [--debug]`.
///
/// # Errors
/// The build fails, or a file cannot be written.
pub(crate) fn run(args: &[String]) -> Outcome {
    let wanted = parse(args)?;
    install(&wanted)?;
    for name in [SONAME, "libxfer.a"] {
        let path = wanted.prefix.join("lib").join(name);
        let bytes = fs::metadata(&path).doing(format_args!("look at {}", path.display()))?.len();
        let what = if wanted.client { "with the client of nodes" } else { "engine only" };
        println!("{} {bytes} bytes, {what}", path.display());
    }
    Ok(())
}

fn parse(args: &[String]) -> Outcome<Wanted> {
    let usage = || Failure::usage("usage: cargo xtask install --prefix P [--client] [--debug]");
    let mut wanted = Wanted { prefix: PathBuf::new(), client: false, profile: "release" };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--prefix" => wanted.prefix = args.next().ok_or_else(usage)?.into(),
            "--client" => wanted.client = true,
            "--debug" => wanted.profile = "dev",
            _ => return Err(usage()),
        }
    }
    if wanted.prefix.as_os_str().is_empty() {
        return Err(usage());
    }
    wanted.prefix = std::path::absolute(&wanted.prefix).doing("find the prefix")?;
    Ok(wanted)
}

fn install(wanted: &Wanted) -> Outcome {
    let features: &[&str] = if wanted.client { &["--features", "client"] } else { &[] };
    let words = ["build", "--locked", "--package", "libxfer", "--profile", wanted.profile];
    Step::cargo("libxfer", words).args(features).run()?;
    place(&built(wanted.profile)?, &wanted.prefix, "lib")
}

/// Where cargo leaves what it builds.
fn built(profile: &str) -> Outcome<PathBuf> {
    Ok(workspace::target_dir()?.join(workspace::profile_folder(profile)))
}

/// Puts what programs need below `prefix`, the libraries into its folder `libraries`; `built` has the static one.
///
/// # Errors
/// A file cannot be read or written, or the shared library cannot be linked.
pub(crate) fn place(built: &Path, prefix: &Path, libraries: &str) -> Outcome {
    let [lib, include] = [libraries, "include"].map(|name| prefix.join(name));
    let (pc, cmake) = (lib.join("pkgconfig"), lib.join("cmake/xfer"));
    for dir in [&include, &pc, &cmake] {
        fs::create_dir_all(dir).doing(format_args!("make {}", dir.display()))?;
    }
    let root = workspace::root();
    for (from, to) in [
        (root.join("include/xfer.h"), include.join("xfer.h")),
        (root.join("include/xfer.hpp"), include.join("xfer.hpp")),
        (built.join("libxfer.a"), lib.join("libxfer.a")),
    ] {
        fs::copy(&from, &to).doing(format_args!("copy {} to {}", from.display(), to.display()))?;
    }
    link(&lib)?;
    for (name, to) in [
        ("xfer.pc.in", pc.join("xfer.pc")),
        ("xfer-config.cmake.in", cmake.join("xfer-config.cmake")),
        ("xfer-config-version.cmake.in", cmake.join("xfer-config-version.cmake")),
    ] {
        let from = root.join("ffi/package").join(name);
        let text = fs::read_to_string(&from).doing(format_args!("read {}", from.display()))?;
        fs::write(&to, fill(&text, libraries)).doing(format_args!("write {}", to.display()))?;
    }
    Ok(())
}

/// A template's text for libraries in that folder of the prefix.
fn fill(template: &str, libraries: &str) -> String {
    let up = vec![".."; 1 + libraries.split('/').count()].join("/");
    template
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@LIBRARIES@", &SYSTEM_LIBRARIES.join(" "))
        .replace("@LIB@", libraries)
        .replace("@UP@", &up)
}

/// Links the shared library of the static one. Cargo's own has no symbol versions: its linker script takes no second one.
fn link(lib: &Path) -> Outcome {
    let map = workspace::root().join(MAP);
    let text = fs::read_to_string(&map).doing(format_args!("read {}", map.display()))?;
    let names = exported(&text);
    let shared = lib.join(SONAME);
    Step::new("shared library", "cc")
        .args(["-shared", "-o"])
        .args([&shared])
        .args([format!("-Wl,-soname,{SONAME}"), format!("-Wl,--version-script={}", map.display())])
        .args(["-Wl,--gc-sections", "-Wl,-s", "-Wl,-z,relro,-z,now"])
        .args(names.iter().map(|name| format!("-Wl,-u,{name}")))
        .args([lib.join("libxfer.a")])
        .args(SYSTEM_LIBRARIES)
        .run()?;
    let plain = lib.join("libxfer.so");
    if plain.symlink_metadata().is_ok() {
        fs::remove_file(&plain).doing(format_args!("remove {}", plain.display()))?;
    }
    symlink(SONAME, &plain).doing(format_args!("link {}", plain.display()))
}

/// The names in a version script.
fn exported(map: &str) -> Vec<&str> {
    map.lines()
        .filter_map(|line| line.trim().strip_suffix(';'))
        .filter(|name| name.starts_with("xfer_"))
        .collect()
}

/// Installs into a folder of its own, and builds a program there by pkg-config and one by CMake.
///
/// # Errors
/// Any of it fails.
pub(crate) fn check() -> Outcome {
    setup::ensure(setup::INSTALL)?;
    let home = workspace::target_dir()?.join("install-check");
    folder::remove(&home)?;
    let prefix = home.join("first");
    workspace::programs_and_libraries("dev", false)?;
    place(&built("dev")?, &prefix, "lib")?;
    let moved = home.join("moved");
    fs::rename(&prefix, &moved).doing(format_args!("move {}", prefix.display()))?;
    let source = workspace::root().join("ffi/examples/pair.cpp");
    let lib = moved.join("lib");
    let flags = pkg_config(&lib, &["--cflags", "--libs"])?;
    let program = home.join("by-pkg-config");
    Step::new("a program by pkg-config", "c++")
        .args(["-std=c++17", "-o"])
        .args([&program, &source])
        .args(flags.split_whitespace())
        .args([format!("-Wl,-rpath,{}", lib.display())])
        .run()?;
    Step::new("the program by pkg-config", &program).run()?;
    for (name, target) in [("shared", "xfer::xfer"), ("static", "xfer::static")] {
        let build = home.join(format!("by-cmake-{name}"));
        let project = workspace::root().join("ffi/package/test");
        Step::new("CMake", "cmake")
            .args(["-S"])
            .args([&project])
            .args(["-B"])
            .args([&build])
            .args([format!("-DCMAKE_PREFIX_PATH={}", moved.display()), format!("-DXFER_TARGET={target}")])
            .args([format!("-DXFER_SOURCE={}", source.display())])
            .run()?;
        Step::new("a program by CMake", "cmake").args(["--build"]).args([&build]).run()?;
        Step::new("the program by CMake", build.join("program")).run()?;
    }
    Ok(())
}

fn pkg_config(lib: &Path, words: &[&str]) -> Outcome<String> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", lib.join("pkgconfig")).args(words).arg("xfer");
    crate::step::output(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_needed_and_options_are_known() {
        let words = |words: &[&str]| parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert!(words(&["--prefix", "/p", "--client"]).is_ok_and(|wanted| wanted.client));
        for wrong in [&[][..], &["--prefix"], &["--prefix", "/p", "more"]] {
            assert_eq!(words(wrong).err().unwrap().code(), 2);
        }
    }

    #[test]
    fn templates_know_how_deep_the_libraries_are() {
        assert_eq!(fill("@LIB@ @UP@", "lib"), "lib ../..");
        assert_eq!(fill("@LIB@ @UP@", "lib/x86_64-linux-gnu"), "lib/x86_64-linux-gnu ../../..");
    }

    #[test]
    fn names_are_read_from_the_map() {
        assert_eq!(exported("X {\n global:\n  xfer_a;\n  xfer_b;\n local: *;\n};\n"), ["xfer_a", "xfer_b"]);
    }
}
