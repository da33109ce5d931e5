//! `demo`: the product's main job on real files, from build to clean-up, checked by a reader of its own.
//!
//! Two hosts with two bare wires; host b serves an empty folder, host a copies into it over both wires. The digest
//! that the copy reports is compared with one computed here over source and destination; then one byte is changed
//! at the destination and a second copy has to find and mend it. A guard removes everything, whatever happens.

mod copy;
mod guard;
mod sources;

use std::fs::{self, File, FileTimes, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::json::Json;
use crate::setup;
use crate::step::{Doing, Failure, Outcome, Step, output};
use crate::tree::{Entry, Tree};
use crate::workspace::{self, Programs};

use copy::{Node, Summary, copy};
use guard::Guard;
use sources::Sources;

pub(crate) use guard::{GUARD_VERB, run as guard};

/// Wires between the two hosts; each gets a path.
const WIRES: u32 = 2;
/// Says that the programs are built already: the second half of a demo that had to become root.
const BUILT: &str = "--built";

/// `demo [DIR]`.
///
/// # Errors
/// Anything that keeps the demo from its end, or a difference between what was copied and what should have been.
pub(crate) fn run(args: &[String]) -> Outcome {
    let (built, dir) = match args {
        [] => (false, None),
        [flag] if flag == BUILT => (true, None),
        [flag, dir] if flag == BUILT => (true, Some(dir)),
        [dir] if !dir.starts_with('-') => (false, Some(dir)),
        _ => return Err(Failure::usage("demo takes at most one folder: cargo xtask demo [DIR]")),
    };
    let dir = dir.map(|dir| fs::canonicalize(dir).doing(format_args!("find {dir}"))).transpose()?;
    if !built {
        setup::ensure(setup::LAB)?;
        setup::check_namespaces()?;
        workspace::build_release(&["xferctl", "xfer-lab"])?;
        if !setup::is_root() {
            return run_as_root(dir.as_deref());
        }
    }
    let started = Instant::now();
    let programs = workspace::programs()?;
    let sources = Sources::collect(dir.as_deref())?;
    println!("demo: {} of real data:", amount(sources.tree.entries.len(), sources.tree.bytes()));
    sources.roots.iter().for_each(|root| println!("  {}", root.display()));
    let mut guard = Guard::start(&programs.lab)?;
    let outcome = show(&programs, &sources, &mut guard);
    let cleaned = guard.finish();
    outcome?;
    cleaned?;
    println!("demo: nothing left behind; done in {:.1} s after building", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs the rest through sudo: network namespaces are root's to make.
fn run_as_root(dir: Option<&Path>) -> Outcome {
    let exe = std::env::current_exe().doing("find the path of xtask")?;
    let mut words = setup::root_prefix()?;
    words.extend([exe.display().to_string(), "demo".to_owned(), BUILT.to_owned()]);
    words.extend(dir.map(|dir| dir.display().to_string()));
    eprintln!("demo: the hosts are network namespaces, which only root can make");
    Step::new("demo as root", &words[0]).args(&words[1..]).run()
}

/// Everything between the first thing made and the clean-up.
fn show(programs: &Programs, sources: &Sources, guard: &mut Guard) -> Outcome {
    let scratch = guard.scratch().to_path_buf();
    refuse_foreign_lab(&programs.lab)?;
    let target = scratch.join("received");
    fs::create_dir(&target).doing(format_args!("create {}", target.display()))?;
    guard.lab_may_be_up()?;
    Step::new("lab", &programs.lab).args(["up", "--wires", &WIRES.to_string()]).run()?;

    let node = Node::serve(programs, &target, &scratch)?;
    let first = copy(programs, &node, sources, &[])?;
    print_summary(&first);
    check_paths(&first)?;
    check_content(sources, &target, &first)?;

    let changed = change_a_byte(&target)?;
    println!("demo: changed one byte of {}, its size and time as before", changed.display());
    let second = copy(programs, &node, sources, &["--compare", "digest"])?;
    check_content(sources, &target, &second)?;
    if second.files != 1 {
        return Err(Failure::new(format!("the rerun copied {} files where one had changed", second.files)));
    }
    println!("demo: a rerun with --compare digest mended that one file");
    node.stop()
}

/// A lab that is up already belongs to somebody: the demo would take it down with its own.
fn refuse_foreign_lab(lab: &Path) -> Outcome {
    let info = output(Command::new(lab).args(["info", "--json"])).and_then(|text| Json::parse(&text));
    match info {
        Ok(info) if !info.get("hosts").items().is_empty() => {
            Err(Failure::new("a lab is up already; `cargo xtask lab down` takes it down"))
        }
        // No lab: what `info` says then is its own affair.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn print_summary(summary: &Summary) {
    println!(
        "demo: copied {} in {:.1} s, {:.2} Gbit/s, durability {}",
        amount(summary.files as usize, summary.bytes),
        summary.seconds,
        summary.gbps,
        summary.durability
    );
    let total: u64 = summary.paths.iter().map(|path| path.bytes).sum();
    for path in &summary.paths {
        let share = 100.0 * path.bytes as f64 / total.max(1) as f64;
        println!("  {} -> {}  {:>15} bytes  {share:5.1} %", path.local, path.remote, grouped(path.bytes));
    }
}

/// Every wire has carried something.
fn check_paths(summary: &Summary) -> Outcome {
    for wire in 1..=WIRES {
        let local = copy::local_address(wire);
        if !summary.paths.iter().any(|path| path.local.starts_with(&local) && path.bytes > 0) {
            return Err(Failure::new(format!("the path from {local} carried nothing")));
        }
    }
    Ok(())
}

/// Source, destination and report agree.
fn check_content(sources: &Sources, target: &Path, summary: &Summary) -> Outcome {
    let mut received = Tree::default();
    received.add(target, None)?;
    let (sent, got) = (&sources.tree, &received);
    if (sent.entries.len(), sent.bytes()) != (got.entries.len(), got.bytes()) {
        return Err(Failure::new(format!(
            "the destination has {}, the source {}",
            amount(got.entries.len(), got.bytes()),
            amount(sent.entries.len(), sent.bytes())
        )));
    }
    let received = received.digest()?;
    let same = |name: &str, digest: &str| {
        println!("  {digest}  {name}");
        if digest == received {
            return Ok(());
        }
        Err(Failure::new(format!("the tree digest of the {name} differs from that of the destination")))
    };
    println!("demo: tree digest, read again from disk by a reader of its own:");
    same("destination", &received)?;
    same("source", sources.digest()?)?;
    same("summary of the copy", summary.digest.as_deref().unwrap_or("null"))?;
    if summary.verified { Ok(()) } else { Err(Failure::new("the copy reports `verified: false`")) }
}

/// Flips the middle byte of the largest file below `target`, keeping size and modification time.
fn change_a_byte(target: &Path) -> Outcome<PathBuf> {
    let mut tree = Tree::default();
    tree.add(target, None)?;
    let largest = tree.entries.iter().filter(|entry| entry.has_content()).max_by_key(|entry| entry.bytes);
    let Some(Entry { place, bytes, .. }) = largest else {
        return Err(Failure::new("nothing to change a byte of"));
    };
    flip(place, bytes / 2)?;
    Ok(place.clone())
}

fn flip(place: &Path, offset: u64) -> Outcome {
    let doing = || format!("change a byte of {}", place.display());
    let file: File = OpenOptions::new().read(true).write(true).open(place).doing(doing())?;
    let modified = file.metadata().and_then(|meta| meta.modified()).doing(doing())?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).doing(doing())?;
    file.write_all_at(&[!byte[0]], offset).doing(doing())?;
    file.set_times(FileTimes::new().set_modified(modified)).doing(doing())
}

fn amount(files: usize, bytes: u64) -> String {
    format!("{} files, {} bytes", grouped(files as u64), grouped(bytes))
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let shown: Vec<String> = [0, 999, 1000, 1_234_567].map(grouped).into();
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_changed_byte_keeps_size_and_time() {
        let dir = std::env::temp_dir().join(format!("xtask-flip-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("small"), b"x").unwrap();
        fs::write(dir.join("large"), b"abc").unwrap();
        let before = fs::metadata(dir.join("large")).unwrap();
        let changed = change_a_byte(&dir).unwrap();
        let after = fs::metadata(&changed).unwrap();
        assert_eq!(fs::read(&changed).unwrap(), [b'a', !b'b', b'c']);
        assert_eq!(
            (before.size(), before.mtime(), before.mtime_nsec()),
            (after.size(), after.mtime(), after.mtime_nsec())
        );
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn more_than_one_folder_is_a_usage_error() {
        let words = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        assert_eq!(run(&words(&["/a", "/b"])).unwrap_err().code(), 2);
        assert_eq!(run(&words(&["--fast"])).unwrap_err().code(), 2);
    }
}
