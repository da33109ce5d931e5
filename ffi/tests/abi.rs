//! The interface that programs were compiled against stays: names, layouts, and what old programs do with the new library.

mod cc;

use cc::{Checked, compile_with, home, is_there, library};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Functions that the library may export.
const SYMBOLS_MAX: usize = 40;

/// The functions that the header declares.
fn declared(header: &str) -> BTreeSet<String> {
    let starts = header.match_indices("xfer_").map(|(at, _)| &header[at..]);
    let names = starts.filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        rest[end..].starts_with('(').then(|| rest[..end].to_owned())
    });
    let code: BTreeSet<String> = names.collect();
    // Words of comments are calls too: `xfer_poll()`. Each of them is declared.
    code
}

/// The names of the version script.
fn versioned() -> BTreeSet<String> {
    let map = std::fs::read_to_string(home().join("xfer.map")).unwrap();
    let names = map.lines().filter_map(|line| line.trim().strip_suffix(';'));
    names.filter(|name| name.starts_with("xfer_")).map(str::to_owned).collect()
}

#[test]
fn exported_declared_and_versioned_names_are_the_same() {
    let out = Command::new("nm").args(["-D", "--defined-only"]).arg(library("libxfer.so")).output().unwrap();
    assert!(out.status.success());
    let text = String::from_utf8(out.stdout).unwrap();
    let exported: BTreeSet<String> =
        text.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect();
    let header = std::fs::read_to_string(home().join("../include/xfer.h")).unwrap();
    assert_eq!(exported, declared(&header));
    assert_eq!(exported, versioned());
    assert!(exported.len() <= SYMBOLS_MAX, "{} functions", exported.len());
}

#[test]
fn programs_of_the_baseline_run_with_this_library() {
    for source in ["tests/c/objects.c", "tests/c/misuse.c"] {
        let built = compile_with(source, Checked::No, &home().join("abi"));
        built.expect("it needs no tool").run(&[]);
    }
}

/// A library of bodies that do nothing for what a header declares, with all that the compiler knows of its types.
fn of_header(dir: &Path, header: &Path) -> PathBuf {
    let text = std::fs::read_to_string(header).unwrap();
    let code: String = text.lines().filter(|l| !l.trim_start().starts_with(['/', '*', '#'])).collect();
    let prototypes = code.split(';').filter_map(|statement| {
        let start = statement.rfind(['{', '}']).map_or(0, |at| at + 1);
        statement[start..].contains("xfer_").then(|| statement[start..].trim())
    });
    let bodies = prototypes.filter(|p| p.contains('(')).map(|p| format!("{p} {{ __builtin_trap(); }}\n"));
    let source = dir.join("bodies.c");
    std::fs::write(&source, format!("#include \"{}\"\n{}", header.display(), bodies.collect::<String>()))
        .unwrap();
    let library = dir.join(format!("{}.so", header.parent().unwrap().file_name().unwrap().display()));
    let built = Command::new("cc").args(["-g", "-shared", "-fPIC", "-o"]).args([&library, &source]).output();
    let built = built.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}

/// Whether programs of the first header do with a library of the second, and what abidiff says of it.
fn keeps(before: &Path, after: &Path) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let [before, after] = [before, after].map(|header| of_header(dir.path(), header));
    let out = Command::new("abidiff").arg("--no-added-syms").args([before, after]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    // Bits 0 and 1: it did not run; bit 3: names are gone. Bit 2, that something changed, is for structs that grew at their end.
    let grew = out.status.code() == Some(4)
        && !text.contains("offset changed")
        && !text.contains("type name changed");
    (out.status.success() || grew, text)
}

#[test]
fn the_interface_is_that_of_the_baseline_or_more() {
    if !is_there("abidiff") {
        assert!(std::env::var_os("CI").is_none(), "there is no abidiff");
        eprintln!("skipped: there is no abidiff (Debian's abigail-tools)");
        return;
    }
    let (baseline, present) = (home().join("abi/xfer.h"), home().join("../include/xfer.h"));
    let (kept, text) = keeps(&baseline, &present);
    assert!(kept, "{text}");
    // The comparison sees what it is to see.
    let header = std::fs::read_to_string(&present).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (from, to, kept) in [
        (
            "  uint64_t reserved;\n} xfer_client_options",
            "  uint64_t reserved;\n  uint64_t more;\n} xfer_client_options",
            true,
        ),
        ("int64_t timeout_ns", "int32_t timeout_ns", false),
        ("  uint32_t timeout_ms;\n", "  uint64_t timeout_ms;\n", false),
        ("uint32_t xfer_abi(void);", "", false),
    ] {
        let changed = header.replace(from, to);
        assert_ne!(changed, header, "{from}");
        let path = dir.path().join("xfer.h");
        std::fs::write(&path, changed).unwrap();
        let (found, text) = keeps(&baseline, &path);
        assert_eq!(found, kept, "{from}: {text}");
    }
}
