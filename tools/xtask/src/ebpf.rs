//! `ebpf`: what clang makes of the programs in `ebpf/programs`, into `ebpf/objects`, which is committed.
//!
//! One version of one compiler, called from one folder, makes the same bytes everywhere, so that a difference is a change of the sources.

use crate::folder;
use crate::generate;
use crate::setup;
use crate::step::{Failure, Outcome, Step};
use crate::workspace;

/// The crate of the programs.
const CRATE: &str = "ebpf";
/// What is made, below the workspace root.
pub(crate) const OBJECTS: &str = "ebpf/objects";
/// Each is `programs/NAME.c` and `objects/NAME.o`.
const PROGRAMS: [&str; 2] = ["xdp", "tcx"];
/// The instruction set of kernels from 5.1 on, little-endian; debug information, because loaders and verifier read types from it;
/// nothing of this folder or compiler in the object.
const FLAGS: [&str; 10] = [
    "-target",
    "bpfel",
    "-mcpu=v3",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fdebug-compilation-dir=.",
    "-fno-ident",
];

/// `ebpf [--check]`.
///
/// # Errors
/// The compiler's, or with `--check` the objects that differ from what it makes.
pub(crate) fn run(args: &[String]) -> Outcome {
    match args {
        [] => generate::one(OBJECTS, false),
        [flag] if flag == "--check" => generate::one(OBJECTS, true),
        _ => Err(Failure::usage("usage: cargo xtask ebpf [--check]")),
    }
}

/// Makes all objects; one without a program goes.
///
/// # Errors
/// The compiler is missing and cannot be installed, or finds fault with a program.
pub(crate) fn write_objects() -> Outcome {
    setup::ensure(setup::EBPF)?;
    let root = workspace::root();
    folder::empty(&root.join(OBJECTS))?;
    for program in PROGRAMS {
        let (source, object) = (format!("programs/{program}.c"), format!("objects/{program}.o"));
        Step::new(format!("compile {source}"), setup::CLANG)
            .args(FLAGS)
            .args(["-c", &source, "-o", &object])
            .dir(&root.join(CRATE))
            .run()?;
        // Keeps the types, which are in sections of their own.
        Step::new(format!("strip {object}"), setup::LLVM_STRIP)
            .args(["--strip-debug", &object])
            .dir(&root.join(CRATE))
            .run()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_source_is_compiled() {
        let folder = workspace::root().join(CRATE).join("programs");
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut sources: Vec<String> =
            names.filter_map(|name| name.to_str()?.strip_suffix(".c").map(str::to_owned)).collect();
        sources.sort();
        let mut programs = PROGRAMS.to_vec();
        programs.sort_unstable();
        assert_eq!(sources, programs);
    }
}
