//! The C and C++ programs of `examples/` and `tests/c`, compiled against the header and run with the shared library: as they are, under the
//! address and undefined-behaviour sanitizers, and under valgrind.

mod cc;

use cc::{Built, Checked, compile};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

/// Runs a program that checks itself.
fn runs(source: &str, checked: Checked) {
    let Some(built) = compile(source, checked) else { return };
    built.run(&[]);
}

macro_rules! program {
    ($name:ident, $source:literal) => {
        mod $name {
            use super::*;

            #[test]
            fn as_it_is() {
                runs($source, Checked::No);
            }

            #[test]
            fn with_sanitizers() {
                runs($source, Checked::Sanitizers);
            }

            #[test]
            fn under_valgrind() {
                runs($source, Checked::Valgrind);
            }
        }
    };
}

program!(objects, "tests/c/objects.c");
program!(misuse, "tests/c/misuse.c");
program!(ends, "tests/c/ends.c");
program!(pipeline, "examples/pipeline.c");
program!(pair_of_cpp, "examples/pair.cpp");

/// Sends a file of `len` bytes from one process to another.
fn send_file(len: usize, checked: Checked) {
    let (Some(receiver), Some(sender)) =
        (compile("examples/receive_file.c", checked), compile("examples/send_file.c", checked))
    else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content: Vec<u8> = (0..len).map(|i| (i * i / 7) as u8).collect();
    std::fs::write(&from, &content).unwrap();
    let secret = "5a".repeat(32);
    let arguments = [String::from("127.0.0.1:0"), secret.clone(), to.display().to_string()];
    let mut receiving = receiver.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(receiving.stdout.take().unwrap());
    let mut address = String::new();
    out.read_line(&mut address).unwrap();
    sender.run(&[address.trim().to_owned(), secret, from.display().to_string()]);
    out.read_to_string(&mut address).unwrap();
    Built::wait(receiving);
    assert!(std::fs::read(&to).unwrap() == content, "{len} bytes arrived changed");
}

#[test]
fn files_go_from_process_to_process() {
    for len in [0, 1, 1_025, 5_000_003] {
        send_file(len, Checked::No);
    }
}

#[test]
fn files_go_from_process_to_process_with_sanitizers() {
    send_file(2_000_001, Checked::Sanitizers);
}

#[test]
fn files_go_from_process_to_process_under_valgrind() {
    send_file(2_000_001, Checked::Valgrind);
}
