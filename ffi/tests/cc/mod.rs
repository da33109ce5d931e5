//! Compiles and runs C and C++ programs that use the library.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a program may run.
const PATIENCE: Duration = Duration::from_secs(240);

/// What looks on while a program runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    No,
    Sanitizers,
    Valgrind,
}

/// A program, in a folder with the library under the name that it asks for.
pub(crate) struct Built {
    dir: tempfile::TempDir,
    checked: Checked,
}

/// The folder of this crate.
pub(crate) fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo left the library for this test.
pub(crate) fn library(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let built = deps.join(name);
    assert!(built.exists(), "{} is not there", built.display());
    built
}

pub(crate) fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success())
}

/// Compiles a source of this crate against the header and the shared library. `None`, with a line that says so, where there is no valgrind.
pub(crate) fn compile(source: &str, checked: Checked) -> Option<Built> {
    compile_with(source, checked, &home().join("../include"))
}

/// The same with another folder of headers.
pub(crate) fn compile_with(source: &str, checked: Checked, include: &Path) -> Option<Built> {
    if checked == Checked::Valgrind && !is_there("valgrind") {
        assert!(std::env::var_os("CI").is_none(), "there is no valgrind");
        eprintln!("skipped: there is no valgrind");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let shared = library("libxfer.so");
    for name in ["libxfer.so", "libxfer.so.1"] {
        std::os::unix::fs::symlink(&shared, dir.path().join(name)).unwrap();
    }
    let cpp = source.ends_with(".cpp");
    let mut command = Command::new(if cpp { "c++" } else { "cc" });
    command.arg(if cpp { "-std=c++17" } else { "-std=gnu11" });
    command.args(["-g", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", "-I"]);
    command.arg(include).arg("-I").arg(home().join("../include"));
    if checked == Checked::Sanitizers {
        command.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    }
    command.arg(home().join(source)).arg("-o").arg(dir.path().join("program"));
    command.arg("-L").arg(dir.path()).arg("-lxfer").arg("-Wl,-rpath").arg(dir.path());
    let out = command.output().expect("a C compiler");
    assert!(out.status.success(), "{source}: {}", String::from_utf8_lossy(&out.stderr));
    Some(Built { dir, checked })
}

impl Built {
    pub(crate) fn command(&self, arguments: &[String]) -> Command {
        let program = self.dir.path().join("program");
        let mut command = match self.checked {
            Checked::Valgrind => {
                let mut valgrind = Command::new("valgrind");
                valgrind.args(["--quiet", "--error-exitcode=99", "--leak-check=full"]);
                valgrind.args([
                    "--errors-for-leak-kinds=definite",
                    "--show-leak-kinds=definite",
                    "--fair-sched=try",
                ]);
                valgrind
                    .arg("--suppressions=".to_owned() + home().join("tests/valgrind.supp").to_str().unwrap());
                valgrind.arg(program);
                valgrind
            }
            _ => Command::new(program),
        };
        let slow = if self.checked == Checked::Valgrind { "1" } else { "0" };
        command.args(arguments).env("SLOW", slow);
        command
    }

    /// Runs it to its end, which must be a good one.
    pub(crate) fn run(&self, arguments: &[String]) {
        Built::wait(self.command(arguments).spawn().unwrap());
    }

    /// Waits for a program, for a bounded time.
    pub(crate) fn wait(mut child: Child) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() >= deadline {
                child.kill().unwrap();
                panic!("a program runs for more than {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "a program {status}");
    }
}
