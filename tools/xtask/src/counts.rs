//! `bench counts`: instructions of the hottest parts, counted by callgrind, against `benches/counts.txt`. A count does not depend on what
//! else the machine does, and where libc would pick its functions by the processor it is told not to.
//!
//! Another compiler makes other instructions: counts are compared only where the one that made the committed counts is in use.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::setup;
use crate::step::{Doing, Failure, Outcome, Step, ended, output};
use crate::workspace;

/// The committed counts.
const FILE: &str = "benches/counts.txt";
/// The program that runs one case, and the function of it that is counted.
const PROGRAM: &str = "counts";
const COUNTED: &str = "*counts::measured*";
/// A count may differ from the committed one by so much, in hundredths of a percent.
const TOLERANCE: u64 = 100;
/// One copy routine for all processors.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX_Usable,-AVX2_Usable,-AVX,-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load:\
glibc.cpu.x86_non_temporal_threshold=0x1000000";

/// Counts by case.
type Counts = BTreeMap<String, u64>;

/// What the committed file holds.
#[derive(Debug, Default, PartialEq)]
struct Committed {
    compiler: String,
    counts: Counts,
}

/// Compares each count with the committed one.
///
/// # Errors
/// Some differ by more than the tolerance, cases came or went, or there is nothing to count with.
pub(crate) fn check() -> Outcome {
    let path = workspace::root().join(FILE);
    let text = std::fs::read_to_string(&path).doing(format_args!("read {FILE}"))?;
    let committed = parse(&text)?;
    let here = compiler()?;
    if committed.compiler != here {
        eprintln!(
            "==> counts: NOT COMPARED, {FILE} was made by `{}`, this is `{here}`; \
             `cargo xtask bench counts --bless` makes it anew",
            committed.compiler
        );
        return Ok(());
    }
    let counts = count_all()?;
    let wrong = report(&committed.counts, &counts);
    if wrong == 0 {
        return Ok(());
    }
    Err(Failure::new(format!(
        "counts: {wrong} of {} are not what {FILE} says; if that is meant, `cargo xtask bench counts --bless` writes them, \
         and the commit says why",
        counts.len()
    )))
}

/// Writes the counts of now.
///
/// # Errors
/// There is nothing to count with, or the file cannot be written.
pub(crate) fn bless() -> Outcome {
    let path = workspace::root().join(FILE);
    let before =
        std::fs::read_to_string(&path).ok().map(|text| parse(&text)).transpose()?.unwrap_or_default();
    let counts = count_all()?;
    report(&before.counts, &counts);
    let text = format(&Committed { compiler: compiler()?, counts });
    std::fs::write(&path, text).doing(format_args!("write {FILE}"))?;
    eprintln!("==> counts: {FILE} written");
    Ok(())
}

/// Prints every count beside the committed one; says how many are not as committed.
fn report(committed: &Counts, counts: &Counts) -> usize {
    let mut wrong = 0;
    let names: Vec<&String> =
        committed.keys().chain(counts.keys().filter(|k| !committed.contains_key(*k))).collect();
    for name in names {
        let (verdict, fine) = match (committed.get(name), counts.get(name)) {
            (Some(before), Some(now)) => {
                let part = *now as f64 * 100.0 / *before as f64 - 100.0;
                (format!("{before:>12} {now:>12} {part:>+8.2} %"), is_close(*before, *now))
            }
            (None, Some(now)) => (format!("{:>12} {now:>12} is new", ""), false),
            (Some(before), None) => (format!("{before:>12} {:>12} is gone", ""), false),
            (None, None) => continue,
        };
        wrong += usize::from(!fine);
        println!("{name:<28} {verdict}{}", if fine { "" } else { "  <--" });
    }
    wrong
}

fn is_close(before: u64, now: u64) -> bool {
    u128::from(before.abs_diff(now)) * 10_000 <= u128::from(before) * u128::from(TOLERANCE)
}

/// The compiler and the processor's family.
fn compiler() -> Outcome<String> {
    let version = output(Command::new("rustc").arg("-V").current_dir(workspace::root()))?;
    Ok(format!("{version} {}", std::env::consts::ARCH))
}

/// Builds the program and counts all its cases.
fn count_all() -> Outcome<Counts> {
    setup::ensure(setup::COUNTS)?;
    Step::cargo("build", ["build", "--locked", "--release", "-p", "xfer-benches", "--bin", PROGRAM]).run()?;
    let program = workspace::target_dir()?.join("release").join(PROGRAM);
    let names = output(&mut Command::new(&program))?;
    names.lines().map(|name| Ok((name.to_owned(), count(&program, name)?))).collect()
}

/// Instructions of one case.
fn count(program: &Path, name: &str) -> Outcome<u64> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", &format!("--toggle-collect={COUNTED}")])
        .arg(program)
        .arg(name)
        // What is in the environment moves the stack.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GLIBC_TUNABLES", TUNABLES)
        .stdin(Stdio::null());
    let out = command.output().doing("start valgrind")?;
    let text = String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        return Err(Failure::new(format!("valgrind on `{name}`: {}: {}", ended(out.status), text.trim())));
    }
    collected(&text).filter(|count| *count > 0).ok_or_else(|| {
        Failure::new(format!("valgrind on `{name}` collected nothing in {COUNTED}: {}", text.trim()))
    })
}

/// The number behind callgrind's `Collected :`.
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

fn format(committed: &Committed) -> String {
    let mut text = String::from(
        "# Instructions of one run of each case; `cargo xtask bench counts` compares them, with --bless it writes them.\n",
    );
    text += &format!("compiler: {}\n", committed.compiler);
    for (name, count) in &committed.counts {
        text += &format!("{count:>12} {name}\n");
    }
    text
}

fn parse(text: &str) -> Outcome<Committed> {
    let mut committed = Committed::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(compiler) = line.strip_prefix("compiler: ") {
            committed.compiler = compiler.to_owned();
            continue;
        }
        let entry =
            line.split_once(' ').and_then(|(count, name)| Some((name.to_owned(), count.parse().ok()?)));
        let (name, count) = entry.ok_or_else(|| Failure::new(format!("{FILE}: `{line}` is no count")))?;
        committed.counts.insert(name, count);
    }
    Ok(committed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, u64)]) -> Counts {
        of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let counts = counts(&[("wire/chunk messages", 12), ("a/b", 1_000_000_000_000)]);
        let committed = Committed { compiler: "rustc 1.2.3 (abc 2026-01-01) x86_64".to_owned(), counts };
        assert_eq!(parse(&format(&committed)).unwrap(), committed);
        assert!(parse("many a/b").is_err());
    }

    #[test]
    fn one_percent_is_close_and_more_is_not() {
        for (before, now, close) in [(10_000, 10_100, true), (10_000, 9_900, true), (10_000, 10_101, false)] {
            assert_eq!(is_close(before, now), close, "{before} {now}");
        }
        assert!(is_close(0, 0) && !is_close(0, 1));
    }

    #[test]
    fn changed_new_and_gone_cases_are_wrong() {
        let before = counts(&[("same", 1_000), ("slower", 1_000), ("gone", 1)]);
        let now = counts(&[("same", 1_001), ("slower", 1_011), ("new", 1)]);
        assert_eq!(report(&before, &now), 3);
        assert_eq!(report(&now, &now), 0);
    }

    #[test]
    fn callgrinds_count_is_found() {
        assert_eq!(collected("==7== Events    : Ir\n==7== Collected : 4707605\n"), Some(4_707_605));
        assert_eq!(collected("==7== Collected : \n"), None);
    }
}
