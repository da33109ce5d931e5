//! Development verbs: one file each, listed in `VERBS`. In: the command line. Out: steps that run, stream and are timed.
//!
//! Std only, so that `cargo xtask` starts seconds after a clone. Deliberately absent: anything the product ships.

mod bench;
mod blake3;
mod ci;
mod counts;
mod coverage;
mod demo;
mod dist;
mod ebpf;
mod faults;
mod folder;
mod fuzz;
mod generate;
mod install;
mod json;
mod lab;
mod long;
mod loom;
mod mutants;
mod python;
mod sanitize;
mod setup;
mod sim;
mod step;
mod test;
mod tidy;
mod tree;
mod workspace;

use std::process::ExitCode;

use step::{Failure, Outcome};

/// A verb: how it is called, what it does, and the function that does it with the arguments after the verb.
struct Verb {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Outcome,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "demo",
        usage: "demo [DIR]",
        about: "build, then move real files between two hosts over two wires and check every byte (root)",
        run: demo::run,
    },
    Verb {
        name: "test",
        usage: "test [FILTER]",
        about: "every correctness test, simulation and lab included (root)",
        run: test::run,
    },
    Verb {
        name: "gen",
        usage: "gen [--check]",
        about: "write the generated files again; --check fails where they differ",
        run: generate::run,
    },
    Verb {
        name: "ebpf",
        usage: "ebpf [--check]",
        about: "compile the eBPF programs; --check fails where the committed objects are not what clang makes of them",
        run: ebpf::run,
    },
    Verb {
        name: "tidy",
        usage: "tidy",
        about: "crate edges, sizes, unsafe and cfg allow-lists, headers, anchors",
        run: tidy::run,
    },
    Verb {
        name: "install",
        usage: "install --prefix P [--client] [--debug]",
        about: "libxfer for C programs: header, libraries, pkg-config, CMake; --client with the client of nodes",
        run: install::run,
    },
    Verb {
        name: "wheel",
        usage: "wheel [--debug]",
        about: "the Python package with the library that it carries: one wheel for every Python 3",
        run: python::run,
    },
    Verb {
        name: "dist",
        usage: "dist [--check [--root DIR]]",
        about: "Debian package, tarball, wheel, bill of materials; --check installs, tries and removes each, upon this system or DIR's (root)",
        run: dist::run,
    },
    Verb {
        name: "lab",
        usage: "lab ARGS...",
        about: "build and run the lab: up, exec, set, cut, restore, info, down (root)",
        run: lab::run,
    },
    Verb {
        name: "sim",
        usage: "sim [--seeds N] [--base B] [--minutes M]",
        about: "the simulation over N seeds from B on, or as many as M minutes allow",
        run: sim::run,
    },
    Verb {
        name: "bench",
        usage: "bench compare|micro|counts",
        about: "xferctl beside other tools (root); the engine's parts in time, or in instructions against benches/counts.txt",
        run: bench::run,
    },
    Verb {
        name: "long",
        usage: "long [WHAT]",
        about: "what takes too long for every change; without WHAT lists it",
        run: long::run,
    },
    Verb {
        name: "ci",
        usage: "ci",
        about: "format, lints, docs, drift, licences, counts, 20,000 seeds, then test",
        run: ci::run,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var_os(python::CARGO_VARIABLE).is_some() {
        return finish(python::in_place_of_cargo(&args));
    }
    let Some((name, rest)) = args.split_first() else {
        print_verbs();
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        print_verbs();
        return ExitCode::SUCCESS;
    }
    if let Err(failure) = setup::put_sbin_on_path() {
        return finish(Err(failure));
    }
    if name == demo::GUARD_VERB {
        return finish(demo::guard(rest));
    }
    match VERBS.iter().find(|verb| verb.name == name) {
        Some(verb) => finish((verb.run)(rest)),
        None => finish(Err(Failure::usage(format!("there is no verb `{name}`; `cargo xtask` lists them")))),
    }
}

fn finish(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn print_verbs() {
    println!("cargo xtask VERB:");
    for verb in VERBS {
        println!("  {:<44} {}", verb.usage, verb.about);
    }
}
