//! What processes cost: seconds of CPU and resident memory, read from `/proc`.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};

/// One process as `/proc/PID/stat` shows it.
struct Process {
    pid: u32,
    parent: u32,
    /// Clock ticks of CPU, its own and those of children that it has waited for.
    ticks: u64,
}

/// What a tree of processes has cost so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) cpu_s: f64,
    /// Most memory that one of them had resident, KiB.
    pub(crate) rss_kib: u64,
}

/// Of all processes below process `root`, which does not count.
pub(crate) fn below(root: u32) -> Cost {
    let all = processes();
    let (mut cost, mut open) = (Cost::default(), vec![root]);
    let mut ticks = 0;
    while let Some(parent) = open.pop() {
        for child in all.iter().filter(|process| process.parent == parent) {
            ticks += child.ticks;
            cost.rss_kib = cost.rss_kib.max(resident_peak_kib(child.pid));
            open.push(child.pid);
        }
    }
    cost.cpu_s = ticks as f64 / ticks_per_second();
    cost
}

/// Children of process `parent`.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let own = processes().into_iter().filter(|process| process.parent == parent);
    own.map(|process| process.pid).collect()
}

/// Seconds of CPU of all ended children of this process, and of theirs.
pub(crate) fn ended_children_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("own usage can be read");
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

/// Most memory that process `pid` has had resident since it began its program, KiB; 0 where it is gone.
pub(crate) fn resident_peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

fn ticks_per_second() -> f64 {
    sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let stats = pids.filter_map(|pid| Some((pid, fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)));
    stats.filter_map(|(pid, stat)| parse(pid, &stat)).collect()
}

/// Reads a line of `/proc/PID/stat`: proc(5). The program's name may hold blanks and parentheses.
fn parse(pid: u32, stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields 4 (parent) and 14 to 17 (user, system, and those of children); the first here is field 3.
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Process { pid, parent: fields.get(1)?.parse().ok()?, ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_an_odd_name() {
        let line = "7 (a) b) S 3 7 7 0 -1 4194304 1 2 3 4 10 20 300 4000 20 0 1 0 5 6 7";
        let process = parse(7, line).unwrap();
        assert_eq!((process.parent, process.ticks), (3, 4_330));
        assert!(parse(7, "7 (a) S 3").is_none());
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_peak_kib(std::process::id()) > 100);
        assert_eq!(resident_peak_kib(0), 0);
    }
}
