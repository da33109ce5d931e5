//! Runs `ip` and `tc`, which set up namespaces and interfaces.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::error::LabError;

const PACKAGE: &str = "iproute2";

fn run(mut command: Command, program: &'static str, input: &str) -> Result<Output, LabError> {
    let missing = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => LabError::MissingProgram { program, package: PACKAGE },
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

/// `ip` with these arguments; gives its output.
pub(crate) fn ip(arguments: &[&str]) -> Result<String, LabError> {
    let mut command = Command::new("ip");
    command.args(arguments);
    run(command, "ip", "").map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Many `ip` commands at once, in `namespace` or here; stops at the first that fails.
pub(crate) fn ip_batch(namespace: Option<&str>, lines: &[String]) -> Result<(), LabError> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("ip");
    command.args(namespace.map(|name| ["-n", name]).into_iter().flatten()).args(["-batch", "-"]);
    run(command, "ip", &(lines.join("\n") + "\n")).map(drop)
}

/// `tc` in `namespace`.
pub(crate) fn tc(namespace: &str, arguments: &[&str]) -> Result<(), LabError> {
    let mut command = Command::new("tc");
    command.args(["-n", namespace]).args(arguments);
    run(command, "tc", "").map(drop)
}

/// A shell script in `namespace`.
pub(crate) fn script(namespace: &str, text: &str) -> Result<(), LabError> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, "sh", "-e"]);
    run(command, "ip", text).map(drop)
}
