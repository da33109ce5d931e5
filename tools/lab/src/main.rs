//! The program `lab`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    xfer_lab::cli::main(std::env::args_os())
}
