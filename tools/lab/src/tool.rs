//! Runs `ip` and `tc`, which set up namespaces and interfaces, and programs inside a namespace.
//!
//! `ip netns exec` and `ip -n` are not used: both remount `/sys` in a mount namespace of their own, which fails
//! where the root directory is no mount point, as in a chroot. `nsenter` changes the network and nothing else.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::LabError;

const NSENTER: &str = "nsenter";

/// Debian's package of a program that this file runs.
fn package(program: &str) -> &'static str {
    if program == NSENTER { "util-linux" } else { "iproute2" }
}

/// The file by which `ip netns` keeps `namespace`.
pub(crate) fn namespace_file(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

/// A command whose arguments are a program that runs in the network of `namespace`, and that program's arguments.
/// The process becomes the program: its number, signals and exit status are the program's own.
pub(crate) fn inside(namespace: &str) -> Command {
    let mut network = OsString::from("--net=");
    network.push(namespace_file(namespace));
    let mut command = Command::new(NSENTER);
    command.arg(network).arg("--");
    command
}

/// `program` in `namespace`, or here.
fn maybe_inside(namespace: Option<&str>, program: &'static str) -> (Command, &'static str) {
    let Some(namespace) = namespace else { return (Command::new(program), program) };
    let mut command = inside(namespace);
    command.arg(program);
    (command, NSENTER)
}

fn run(mut command: Command, program: &'static str, input: &str) -> Result<Output, LabError> {
    let missing = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => LabError::MissingProgram { program, package: package(program) },
        _ => LabError::io("run", program)(error),
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(missing)?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A program that ends early says why on its standard error, which is what the caller wants to hear.
    let written = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(LabError::io("wait for", program))?;
    if output.status.success() {
        return written.map(|()| output).map_err(LabError::io("write to", program));
    }
    let arguments: Vec<_> = command.get_args().map(|part| part.to_string_lossy()).collect();
    let text = String::from_utf8_lossy(&output.stderr).trim().to_string();
    Err(LabError::Command {
        command: format!("{program} {}", arguments.join(" ")),
        stderr: explain(text, input),
    })
}

/// Adds the line of the batch that failed: `ip` names it by number only.
fn explain(stderr: String, input: &str) -> String {
    let number = stderr.rsplit_once("Command failed -:").and_then(|(_, number)| number.trim().parse().ok());
    match number.and_then(|number: usize| input.lines().nth(number.saturating_sub(1))) {
        Some(line) => format!("{stderr} ({line})"),
        None => stderr,
    }
}

/// `ip` with these arguments, in `namespace` or here; gives its output.
pub(crate) fn ip(namespace: Option<&str>, arguments: &[&str]) -> Result<String, LabError> {
    let (mut command, program) = maybe_inside(namespace, "ip");
    command.args(arguments);
    run(command, program, "").map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Many `ip` commands at once, in `namespace` or here; stops at the first that fails.
pub(crate) fn ip_batch(namespace: Option<&str>, lines: &[String]) -> Result<(), LabError> {
    if lines.is_empty() {
        return Ok(());
    }
    let (mut command, program) = maybe_inside(namespace, "ip");
    command.args(["-batch", "-"]);
    run(command, program, &(lines.join("\n") + "\n")).map(drop)
}

/// `tc` in `namespace`.
pub(crate) fn tc(namespace: &str, arguments: &[&str]) -> Result<(), LabError> {
    let (mut command, program) = maybe_inside(Some(namespace), "tc");
    command.args(arguments);
    run(command, program, "").map(drop)
}

/// A shell script in `namespace`.
pub(crate) fn script(namespace: &str, text: &str) -> Result<(), LabError> {
    let (mut command, program) = maybe_inside(Some(namespace), "sh");
    command.arg("-e");
    run(command, program, text).map(drop)
}
