//! Storage that fails at either end of a copy through a node: which end, which object, where and why is told, the class is the exit code's,
//! and a rerun completes. What no kernel does on demand is made by the fault layer below files, so that both ends run in this process.

mod in_process;
mod support;

use in_process::{Served, config};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::{PATIENCE, content};
use xfer_client::Location;
use xfer_client::copy::{CopyRequest, Summary, copy};
use xfer_engine::Side;
use xfer_engine::io::file::faults::{Fault, Faults, Rule, Verb};
use xfer_node::Roots;

const EIO: i32 = 5;
const EACCES: i32 = 13;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EMFILE: i32 = 24;
const EDQUOT: i32 = 122;

/// Bytes of the file: nine chunks.
const LEN: usize = (8 << 20) + 17;

/// A fault, and what is told of it.
struct Row {
    side: Side,
    verb: Verb,
    /// Of the paths that it is on.
    ending: &'static str,
    after: u64,
    errno: i32,
    /// Class and exit code.
    code: u8,
    /// The cause, in the system's words.
    cause: &'static str,
}

const fn row(
    side: Side,
    (verb, ending, after): (Verb, &'static str, u64),
    (errno, code, cause): (i32, u8, &'static str),
) -> Row {
    Row { side, verb, ending, after, errno, code, cause }
}

const IO: (i32, u8, &str) = (EIO, 7, "Input/output error");
const FULL: (i32, u8, &str) = (ENOSPC, 7, "No space left on device");
const QUOTA: (i32, u8, &str) = (EDQUOT, 7, "Disk quota exceeded");
const READ_ONLY: (i32, u8, &str) = (EROFS, 6, "Read-only file system");
const DENIED: (i32, u8, &str) = (EACCES, 13, "Permission denied");
const TOO_MANY: (i32, u8, &str) = (EMFILE, 7, "Too many open files");

const ROWS: [Row; 16] = [
    row(Side::Source, (Verb::Open, "/f", 0), DENIED),
    row(Side::Source, (Verb::Open, "/f", 0), IO),
    row(Side::Source, (Verb::Open, "/f", 0), TOO_MANY),
    row(Side::Source, (Verb::Read, "/f", 0), IO),
    row(Side::Source, (Verb::Read, "/f", 5), IO),
    row(Side::Destination, (Verb::Create, ".part", 0), DENIED),
    row(Side::Destination, (Verb::Create, ".part", 0), TOO_MANY),
    row(Side::Destination, (Verb::Create, ".journal", 0), QUOTA),
    row(Side::Destination, (Verb::MakeDir, ".xfer-partial", 0), READ_ONLY),
    row(Side::Destination, (Verb::Write, ".part", 0), QUOTA),
    row(Side::Destination, (Verb::Write, ".part", 5), FULL),
    row(Side::Destination, (Verb::Write, ".part", 8), IO),
    row(Side::Destination, (Verb::SyncData, ".part", 0), IO),
    row(Side::Destination, (Verb::Sync, "", 0), IO),
    row(Side::Destination, (Verb::Rename, "/f", 0), FULL),
    row(Side::Destination, (Verb::Rename, "/f", 0), READ_ONLY),
];

/// A node's root and a directory here; a file at one of them.
struct Bench {
    served: Served,
    up: bool,
}

impl Bench {
    fn new(up: bool) -> Bench {
        let served = Served::start(|dir| {
            for made in ["root", "here"] {
                fs::create_dir(dir.join(made)).unwrap();
            }
            config(dir, Roots::One(dir.join("root")))
        });
        let bench = Bench { served, up };
        fs::write(bench.directory(Side::Source).join("f"), content(LEN, 1)).unwrap();
        bench
    }

    fn directory(&self, side: Side) -> PathBuf {
        let here = self.up == (side == Side::Source);
        self.served.path(if here { "here" } else { "root" })
    }

    fn copy(&self) -> Summary {
        let here = self.served.path(if self.up { "here/f" } else { "here" });
        let (here, there) = (Location::Local(here), self.served.there(if self.up { "" } else { "f" }));
        let (from, to) = if self.up { (here, there) } else { (there, here) };
        let mut request = CopyRequest::new(vec![from], to);
        request.options.patience.retries = Some(0);
        copy(&request, &mut |_| ()).unwrap()
    }
}

/// What this process has open below `directory`.
fn open_below(directory: &std::path::Path) -> Vec<PathBuf> {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    open.filter(|path| path.starts_with(directory) && path != directory).collect()
}

fn closes_all(directory: &std::path::Path, case: &str) {
    let end = Instant::now() + PATIENCE;
    while !open_below(directory).is_empty() {
        assert!(Instant::now() < end, "{case}: {:?} are open", open_below(directory));
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Row {
    fn check(&self, up: bool) {
        let Row { side, verb, ending, after, errno, code, cause } = self;
        let case = format!("{} {side} {verb:?} {ending} {after} {errno}", if up { "up" } else { "down" });
        let bench = Bench::new(up);
        let faults = Faults::below(&bench.directory(*side)).unwrap();
        faults.add(Rule::new(*verb, Fault::Errno(*errno)).on(ending).after(*after));
        let summary = bench.copy();
        assert!(faults.struck() > 0, "{case}: not met");
        assert_eq!(summary.exit_code(), *code, "{case}: {:?}", summary.error);
        let error = summary.error.unwrap();
        assert_eq!((error.side, error.errno), (Some(*side), Some(*errno)), "{case}: {error:?}");
        let name = error.name.as_ref().unwrap_or_else(|| panic!("{case}: no object: {error:?}"));
        assert!(!name.is_empty() && !error.to_string().contains(".xfer"), "{case}: {error}");
        assert!(name.ends_with(b"f") || *verb == Verb::Sync, "{case}: {error}");
        assert!(error.causes.iter().any(|told| told == cause), "{case}: {error:?}");
        if matches!(verb, Verb::Read | Verb::Write) {
            assert_eq!(error.offset.map(|at| at % (1 << 20)), Some(0), "{case}: {error:?}");
        }
        let target = bench.directory(Side::Destination).join("f");
        // What could not be made durable may have its name already: it is whole.
        let wanted = content(LEN, 1);
        assert!(!target.exists() || *verb == Verb::Sync && fs::read(&target).unwrap() == wanted, "{case}");
        closes_all(&bench.directory(*side), &case);
        faults.clear();
        let rerun = bench.copy();
        assert_eq!(rerun.error, None, "{case}");
        assert!(fs::read(&target).unwrap() == wanted, "{case}");
        assert_eq!(fs::read_dir(bench.directory(Side::Destination)).unwrap().count(), 1, "{case}");
    }
}

#[test]
fn faults_of_an_upload_are_told_and_a_rerun_completes() {
    ROWS.iter().for_each(|row| row.check(true));
}

#[test]
fn faults_of_a_download_are_told_and_a_rerun_completes() {
    ROWS.iter().for_each(|row| row.check(false));
}
