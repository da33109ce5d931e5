//! What the figures were made on: the machine, the commit, the day.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Processor, cores, memory, kernel, in a line.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':'))
            .map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let (processors, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kib: u64 = field(&memory, "MemTotal").split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let model = field(&processors, "model name");
    format!("{model}, {count} CPUs, {} GiB, Linux {}", (kib + (1 << 19)) >> 20, kernel.trim())
}

/// The checkout's commit, with `+` where files differ from it; nothing where there is no git.
pub(crate) fn commit(checkout: &Path) -> String {
    let git = |words: &[&str]| output(Command::new("git").arg("-C").arg(checkout).args(words));
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"]).is_empty();
    format!("{}{}", git(&["rev-parse", "--short=10", "HEAD"]), if changed { "+" } else { "" })
}

/// Today, as 2026-11-21.
pub(crate) fn day() -> String {
    output(Command::new("date").arg("+%F"))
}

fn output(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}
