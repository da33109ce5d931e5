//! Steps: a command that is printed, streamed and timed, and the failure that ends a verb.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

/// Exit code of a wrong command line.
const USAGE: u8 = 2;
/// Exit code of a step that failed without one of its own.
const FAILED: u8 = 1;

/// Why a verb ended early: one line for the reader and the exit code for the caller.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

/// What every verb and step returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failed operation; exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: FAILED }
    }

    /// A wrong command line; exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Failure { message: message.into(), code: USAGE }
    }

    /// The exit code of the process.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

/// Adds to an I/O error what was done to what.
pub(crate) trait Doing<T> {
    /// Names the operation and its object: `read /a/b`.
    fn doing(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|cause| Failure::new(format!("{what}: {cause}")))
    }
}

/// One command of a verb. Everything that is printed about it goes to stderr: stdout belongs to the command.
pub(crate) struct Step {
    name: String,
    command: Command,
}

impl Step {
    /// A step called `name` that runs `program` in the workspace root.
    pub(crate) fn new(name: impl Into<String>, program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.current_dir(crate::workspace::root());
        Step { name: name.into(), command }
    }

    /// The same step under another name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// A step that runs the cargo that started this program.
    pub(crate) fn cargo<'a>(name: impl Into<String>, args: impl IntoIterator<Item = &'a str>) -> Self {
        Step::new(name, crate::workspace::cargo()).args(args)
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Runs to the end with this program's stdin, stdout and stderr.
    ///
    /// # Errors
    /// The command could not be started, or ended with another status than 0, which becomes the exit code.
    pub(crate) fn run(mut self) -> Outcome {
        let shown = show(&self.command);
        eprintln!("==> {}: {shown}", self.name);
        let started = Instant::now();
        let status = self.command.status().doing(format_args!("{}: start {shown}", self.name))?;
        let seconds = started.elapsed().as_secs_f64();
        if status.success() {
            eprintln!("<== {}: ok, {seconds:.1} s", self.name);
            return Ok(());
        }
        Err(Failure {
            message: format!("{}: {} after {seconds:.1} s: {shown}", self.name, ended(status)),
            code: exit_code(status),
        })
    }
}

/// Runs a command without streaming and returns its standard output without the trailing white space.
///
/// # Errors
/// It could not be started, failed (with its stderr), or did not print UTF-8.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let shown = show(command);
    let out = command.stdin(Stdio::null()).output().doing(format_args!("start {shown}"))?;
    if !out.status.success() {
        let stderr = String::from_utf8_lossy(&out.stderr);
        return Err(Failure::new(format!("{shown}: {}: {}", ended(out.status), stderr.trim())));
    }
    let text = String::from_utf8(out.stdout).doing(format_args!("output of {shown}"))?;
    Ok(text.trim_end().to_owned())
}

/// `exit status 1` or `signal 9` in words.
pub(crate) fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended without a status".to_owned(),
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(FAILED)
}

/// The command as one could type it, cut when it names hundreds of files.
fn show(command: &Command) -> String {
    const CHARS_MAX: usize = 300;
    let mut line = String::new();
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            line += &format!("{}={} ", key.to_string_lossy(), quote(value));
        }
    }
    line += &quote(command.get_program());
    for arg in command.get_args() {
        line.push(' ');
        line += &quote(arg);
    }
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_keeps_its_exit_code() {
        let failure = Step::new("seven", "sh").args(["-c", "exit 7"]).run().unwrap_err();
        assert_eq!(failure.code(), 7);
        assert!(failure.to_string().starts_with("seven: ended with status 7 after "), "{failure}");
    }

    #[test]
    fn a_killed_step_exits_with_1() {
        let failure = Step::new("killed", "sh").args(["-c", "kill -9 $$"]).run().unwrap_err();
        assert_eq!(failure.code(), 1);
        assert!(failure.to_string().contains("killed by signal 9"), "{failure}");
    }

    #[test]
    fn commands_are_shown_as_typed() {
        let mut command = Command::new("echo");
        command.args(["a b", "it's", "", "plain=1"]).env("K", "v w");
        assert_eq!(show(&command), r"K='v w' echo 'a b' 'it'\''s' '' plain=1");
    }

    #[test]
    fn output_reports_stderr() {
        let failure = output(Command::new("sh").args(["-c", "echo oh no >&2; exit 3"])).unwrap_err();
        assert!(failure.to_string().ends_with("ended with status 3: oh no"), "{failure}");
    }
}
