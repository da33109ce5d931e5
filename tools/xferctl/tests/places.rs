//! Where copies go, in both directions: the table of PRODUCT.md, "Copying, exactly", and that nothing is made where it says so.

mod support;
mod watched;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use support::content;
use watched::{Bench, Node, tree};

/// Both ends of a copy: sources on one, destinations on the other.
struct Ends {
    bench: Bench,
    node: Node,
    up: bool,
}

impl Ends {
    fn new(up: bool) -> Self {
        let bench = Bench::new();
        let node = bench.node();
        bench.directory("here");
        let ends = Ends { bench, node, up };
        let sources = ends.source_root();
        for name in ["d/sub", "e", "h"] {
            fs::create_dir_all(sources.join(name)).unwrap();
        }
        for (seed, name) in ["f", "g", "d/a", "d/sub/b", "e/c", "h/a"].into_iter().enumerate() {
            tree::file(sources.join(name), seed as u64, 3_000 * seed);
        }
        let destinations = ends.destination_root();
        for name in ["D/sub", "E/f"] {
            fs::create_dir_all(destinations.join(name)).unwrap();
        }
        for name in ["file", "D/old", "D/d-file"] {
            fs::write(destinations.join(name), "old").unwrap();
        }
        ends
    }

    fn source_root(&self) -> PathBuf {
        self.bench.path(if self.up { "here" } else { "root" })
    }

    fn destination_root(&self) -> PathBuf {
        self.bench.path(if self.up { "root" } else { "here" })
    }

    fn here(&self, path: &str) -> OsString {
        let mut location = self.bench.path("here").into_os_string();
        location.push("/");
        location.push(path);
        location
    }

    /// A copy with its options, sources and destination as words, each location relative to its root.
    fn copy(&self, options: &[&str], sources: &[&str], destination: &str) -> watched::Done {
        let (from, to): (Vec<OsString>, OsString) = match self.up {
            true => (sources.iter().map(|s| self.here(s)).collect(), self.node.at(destination)),
            false => (sources.iter().map(|s| self.node.at(s)).collect(), self.here(destination)),
        };
        let words = options.iter().map(OsString::from).chain(from).chain([to]);
        self.bench.copy(words)
    }
}

/// A row of the table: options, sources, destination, and what is where then.
type Row =
    (&'static [&'static str], &'static [&'static str], &'static str, &'static [(&'static str, &'static str)]);

const ROWS: [Row; 10] = [
    (&[], &["f"], "D", &[("D/f", "f")]),
    (&[], &["g"], "D/", &[("D/g", "g")]),
    (&[], &["g"], "D/x", &[("D/x", "g")]),
    (&[], &["g"], "file", &[("file", "g")]),
    (&["-r"], &["d"], "D", &[("D/d/a", "d/a"), ("D/d/sub/b", "d/sub/b")]),
    (&["-r"], &["d"], "new", &[("new/a", "d/a"), ("new/sub/b", "d/sub/b")]),
    (&["-r"], &["d/."], "D", &[("D/a", "d/a"), ("D/sub/b", "d/sub/b")]),
    (&["-r"], &["d/."], "newer", &[("newer/a", "d/a"), ("newer/sub/b", "d/sub/b")]),
    (&["-r"], &["f", "d", "e/."], "D/", &[("D/f", "f"), ("D/d/a", "d/a"), ("D/c", "e/c")]),
    (&["-r"], &["e/.", "d/."], "D", &[("D/a", "d/a"), ("D/c", "e/c"), ("D/sub/b", "d/sub/b")]),
];

fn table(up: bool) {
    for (options, sources, destination, expected) in ROWS {
        let ends = Ends::new(up);
        ends.copy(options, sources, destination).expect(0);
        for (there, source) in expected {
            let (one, other) = (ends.destination_root().join(there), ends.source_root().join(source));
            assert_eq!(
                fs::read(&one).unwrap(),
                fs::read(&other).unwrap(),
                "{sources:?} to {destination}: {there}"
            );
        }
        if destination != "file" {
            assert_eq!(fs::read(ends.destination_root().join("file")).unwrap(), b"old");
        }
        assert_eq!(fs::read(ends.destination_root().join("D/old")).unwrap(), b"old");
    }
}

#[test]
fn uploads_go_where_the_table_says() {
    table(true);
}

#[test]
fn downloads_go_where_the_table_says() {
    table(false);
}

/// Options, sources, destination, exit code: nothing is made or changed.
const REFUSALS: [(&[&str], &[&str], &str, i32); 15] = [
    (&[], &["f"], "no/x", 3),
    (&[], &["f"], "none/", 3),
    (&["-r"], &["d"], "no/x", 3),
    (&["-r"], &["d"], "none/", 3),
    (&["-r"], &["f", "d"], "none/", 3),
    (&[], &["f", "g"], "file", 2),
    (&[], &["f", "g"], "none", 2),
    (&[], &["d"], "D", 2),
    (&["-r"], &["d"], "file", 2),
    (&[], &["f"], "E", 2),
    (&[], &["f"], "E/", 2),
    (&["-r"], &["d/.", "h/."], "D", 2),
    (&["-r"], &["d/.", "h/a"], "D", 2),
    (&[], &["nothing"], "D", 4),
    (&["-r"], &["nothing"], "none", 4),
];

fn refusals(up: bool) {
    let ends = Ends::new(up);
    let before = tree::listed(&ends.destination_root());
    for (options, sources, destination, code) in REFUSALS {
        for dry in [false, true] {
            let dry: &[&str] = if dry { &["-n"] } else { &[] };
            let done = ends.copy(&[options, dry].concat(), sources, destination);
            assert_eq!(done.code, Some(code), "{dry:?} {sources:?} to {destination}: {done:#?}");
            assert_eq!(done.lines.is_empty(), code == 2, "usage errors print no JSON: {done:#?}");
            assert!(!done.stderr.is_empty());
        }
        assert!(
            tree::listed(&ends.destination_root()) == before,
            "{sources:?} to {destination} left something"
        );
    }
}

#[test]
fn refused_uploads_make_nothing() {
    refusals(true);
}

#[test]
fn refused_downloads_make_nothing() {
    refusals(false);
}

#[test]
fn two_ends_of_one_kind_are_refused() {
    let ends = Ends::new(true);
    let (there, here) = (ends.node.at("D"), ends.here("f"));
    for pair in [[&there, &there], [&here, &here]] {
        let done = ends.bench.copy(pair);
        assert_eq!((done.code, done.lines.len()), (Some(2), 0), "{done:#?}");
    }
}

/// What `-n` tells is what then happens, and until then nothing does.
fn dry(up: bool) {
    let ends = Ends::new(up);
    let before = tree::listed(&ends.destination_root());
    let told = ends.copy(&["-r", "-n"], &["f", "d"], "D/").expect(0);
    assert!(tree::listed(&ends.destination_root()) == before);
    let plans: Vec<String> = told
        .lines
        .iter()
        .filter(|line| line["type"] == "plan" && line.get("to").is_some())
        .map(|line| line["to"].as_str().expect("text").to_owned())
        .collect();
    for name in ["D/f", "D/d/a", "D/d/sub/b"] {
        assert!(plans.iter().any(|to| to.ends_with(name)), "{name}: {plans:?}");
    }
    assert_eq!(told.numbers(["bytes", "files", "skipped"]), [0; 3]);
}

#[test]
fn a_dry_upload_moves_nothing() {
    dry(true);
}

#[test]
fn a_dry_download_moves_nothing() {
    dry(false);
}

/// `-u`, `--no-clobber`, and the two comparisons that look further or less far than size and time.
fn choices(up: bool) {
    let ends = Ends::new(up);
    let there = |name: &str| ends.destination_root().join(name);
    let is = |name: &str, expected: &Path| fs::read(there(name)).unwrap() == fs::read(expected).unwrap();
    // Newer than `g`, or as old, it stays with -u; so it does when its file system holds whole seconds only.
    let time = fs::metadata(ends.source_root().join("g")).unwrap().modified().unwrap();
    let part = Duration::from_nanos(time.duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into());
    let second = Duration::from_secs(1);
    let set = |time| fs::File::options().write(true).open(there("file")).unwrap().set_modified(time).unwrap();
    for (option, time) in
        [("-u", time), ("-u", time - part), ("-u", time + second), ("--no-clobber", time - second)]
    {
        set(time);
        let done = ends.copy(&[option], &["g"], "file").expect(0);
        assert_eq!(done.numbers(["files", "skipped"]), [0, 1], "{option} {time:?}");
        assert_eq!(fs::read(there("file")).unwrap(), b"old", "{option} {time:?}");
    }
    set(time - second);
    let done = ends.copy(&["-u"], &["g"], "file").expect(0);
    assert_eq!(done.numbers(["files", "skipped"]), [1, 0]);
    fs::write(there("file"), "old").unwrap();
    ends.copy(&["--compare", "exists"], &["g"], "file").expect(0);
    assert_eq!(fs::read(there("file")).unwrap(), b"old");
    ends.copy(&[], &["g"], "file").expect(0);
    assert!(is("file", &ends.source_root().join("g")));

    let copy = || ends.copy(&["-r"], &["d/."], "D").expect(0);
    let digest = copy().digest().to_owned();
    let damaged = there("D/sub/b");
    let time = fs::metadata(&damaged).unwrap().modified().unwrap();
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[1_234] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    fs::File::options().write(true).open(&damaged).unwrap().set_modified(time).unwrap();
    let blind = copy();
    assert_eq!(blind.numbers(["files", "skipped"]), [0, 2]);
    assert!(!is("D/sub/b", &ends.source_root().join("d/sub/b")));
    let mended = ends.copy(&["-r", "--compare", "digest"], &["d/."], "D").expect(0);
    assert!(is("D/sub/b", &ends.source_root().join("d/sub/b")));
    assert_eq!(mended.digest(), digest);
}

/// What is the same on both sides is read there, not copied.
#[test]
fn by_digest_only_what_differs_is_copied() {
    for up in [true, false] {
        let ends = Ends::new(up);
        ends.copy(&["-r"], &["d/."], "D").expect(0);
        let again = ends.copy(&["-r", "--compare", "digest"], &["d/."], "D").expect(0);
        assert_eq!(again.numbers(["files", "skipped"]), [0, 2], "up: {up}");
    }
}

#[test]
fn uploads_choose_what_to_replace() {
    choices(true);
}

#[test]
fn downloads_choose_what_to_replace() {
    choices(false);
}

#[test]
fn standard_input_and_output_carry_any_length() {
    let home = support::Home::new();
    let root = home.directory("root");
    let node = home.serve(&root);
    for len in [0, 1, 1 << 20, (40 << 20) + 3] {
        let bytes = content(len, 5);
        let into = home.tool(&["cp", "-", &node.at("x")]).write_stdin(bytes.clone()).output().unwrap();
        assert!(into.status.success(), "{len}: {}", String::from_utf8_lossy(&into.stderr));
        assert!(fs::read(root.join("x")).unwrap() == bytes, "{len}");
        let out = home.run(&["cp", &node.at("x"), "-"]).code(0);
        assert!(out.stdout == bytes, "{len}: {} bytes", out.stdout.len());
        fs::remove_file(root.join("x")).unwrap();
    }
    let missing = home.tool(&["cp", "-", &node.at("no/x")]).write_stdin("x").output().unwrap();
    assert_eq!(missing.status.code(), Some(3), "{}", String::from_utf8_lossy(&missing.stderr));
    home.run(&["cp", &node.at("nothing"), "-"]).code(4);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}
