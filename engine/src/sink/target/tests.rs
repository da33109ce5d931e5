//! Every row of PRODUCT.md's table, on both grounds.

use super::*;
use std::os::unix::fs::symlink;

fn file(name: &str) -> SourceInfo {
    SourceInfo { basename: name.as_bytes().to_vec(), kind: EntryKind::File, contents_only: false }
}

fn directory(name: &str) -> SourceInfo {
    SourceInfo { kind: EntryKind::Directory, ..file(name) }
}

fn contents(name: &str) -> SourceInfo {
    SourceInfo { contents_only: true, ..directory(name) }
}

/// `D`, `D/sub`, `D/f`, a symlink to `D`, one to `D/f` and a dangling one.
fn ground() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("D/sub")).expect("directory");
    fs::write(at("D/f"), b"old").expect("file");
    symlink("D", at("to-dir")).expect("symlink");
    symlink("D/f", at("to-file")).expect("symlink");
    symlink("nowhere", at("dangling")).expect("symlink");
    dir
}

/// Where `name` would go, from the ground's top, or the class of the refusal.
fn outcome(
    local: bool,
    to: &str,
    sources: &[SourceInfo],
    recursive: bool,
    name: &str,
) -> Result<String, Class> {
    let dir = ground();
    let before = tree(dir.path());
    let root = Root::open(dir.path()).expect("root");
    let resolved = if local {
        let full = format!("{}/{to}", dir.path().display());
        Target::resolve(Ground::Local, full.as_bytes(), sources, recursive)
    } else {
        Target::resolve(Ground::Served(&root), to.as_bytes(), sources, recursive)
    };
    assert_eq!(tree(dir.path()), before, "resolving creates nothing");
    let target = resolved.map_err(|error| error.class)?;
    let place = target.place(name.as_bytes());
    // Proves where the base is: by making the place there and looking for it from the top.
    let mark = if place.is_empty() { b"mark".to_vec() } else { [&place[..], b".mark"].concat() };
    let mark = mark.rsplit(|b| *b == b'/').next().expect("a component").to_vec();
    target.base().create(&mark, 0o600).expect("mark");
    let marked: Vec<_> = tree(dir.path()).into_iter().filter(|p| !before.contains(p)).collect();
    let base = marked[0].rsplit_once('/').map_or(String::new(), |(base, _)| format!("{base}/"));
    Ok(format!("{base}{}", String::from_utf8_lossy(&place)))
}

fn tree(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("directory").map(|e| e.expect("entry")) {
            all.push(entry.path().strip_prefix(dir).expect("below").display().to_string());
            if entry.file_type().expect("kind").is_dir() {
                open.push(entry.path());
            }
        }
    }
    all.sort();
    all
}

fn both(to: &str, sources: &[SourceInfo], recursive: bool, name: &str, expected: Result<&str, Class>) {
    for local in [true, false] {
        let got = outcome(local, to, sources, recursive, name);
        assert_eq!(got.as_deref(), expected.as_ref().map(|s| *s), "{sources:?} to {to:?}, local: {local}");
    }
}

#[test]
fn a_file_goes_into_a_directory() {
    for to in ["D", "D/", "D/.", "./D//"] {
        both(to, &[file("x")], false, "x", Ok("D/x"));
    }
    both("D", &[file("f")], false, "f", Ok("D/f"));
    both("", &[file("x")], false, "x", Ok("x"));
    both("/", &[file("x")], false, "x", Ok("x"));
}

#[test]
fn a_file_takes_an_absent_or_existing_files_name() {
    both("D/x", &[file("y")], false, "y", Ok("D/x"));
    both("D/f", &[file("y")], false, "y", Ok("D/f"));
    both("dangling", &[file("y")], false, "y", Ok("dangling"));
    both("to-file", &[file("y")], false, "y", Ok("to-file"));
    both("x", &[SourceInfo { kind: EntryKind::Symlink, ..file("l") }], true, "l", Ok("x"));
}

#[test]
fn a_directory_goes_into_one_or_becomes_the_absent_one() {
    both("D", &[directory("d")], true, "d/a/b", Ok("D/d/a/b"));
    both("D/new", &[directory("d")], true, "d", Ok("D/new"));
    both("D/new", &[directory("d")], true, "d/a/b", Ok("D/new/a/b"));
    both("D", &[directory("sub")], true, "sub/a", Ok("D/sub/a"));
}

#[test]
fn contents_go_into_the_directory_itself() {
    both("D", &[contents("d")], true, ".", Ok("D/"));
    both("D/", &[contents("d")], true, "a/b", Ok("D/a/b"));
    both("new", &[contents("d")], true, ".", Ok("new"));
    both("new", &[contents("d")], true, "a/b", Ok("new/a/b"));
}

#[test]
fn a_missing_directory_is_class_3() {
    let missing = Err(Class::NoDestination);
    both("none/x", &[file("f")], false, "f", missing);
    both("D/f/x", &[file("f")], false, "f", missing);
    both("none/", &[file("f")], false, "f", missing);
    both("none/", &[directory("d")], true, "d", missing);
    both("none/", &[file("f"), file("g")], false, "f", missing);
    both("none/more/", &[file("f"), file("g")], false, "f", missing);
}

#[test]
fn what_does_not_fit_is_class_2() {
    let usage = Err(Class::Usage);
    both("D/f", &[file("a"), file("b")], false, "a", usage);
    both("new", &[file("a"), file("b")], false, "a", usage);
    both("D", &[directory("d")], false, "d", usage);
    both("D", &[contents("d")], false, "d", usage);
    both("D/f", &[directory("d")], true, "d", usage);
    both("D/f", &[contents("d")], true, "d", usage);
    both("D/f/", &[file("a")], false, "a", usage);
    both("D", &[file("sub")], false, "sub", usage);
    both("D", &[directory("f")], true, "f", usage);
    both("D", &[file("a"), file("a")], false, "a", usage);
    both("D", &[], false, "a", usage);
    both("D", &[file("a"), file("b")], false, "b", Ok("D/b"));
}

#[test]
fn the_users_own_symlinks_are_followed_and_served_ones_refused() {
    assert_eq!(outcome(true, "to-dir", &[file("x")], false, "x").as_deref(), Ok("D/x"));
    assert_eq!(outcome(true, "to-dir/new", &[file("x")], false, "x").as_deref(), Ok("D/new"));
    for to in ["to-dir", "to-dir/", "to-dir/new", "to-dir/sub", "dangling/"] {
        assert_eq!(outcome(false, to, &[file("x")], false, "x"), Err(Class::Refused), "{to}");
    }
}

#[test]
fn dot_dot_is_refused_beneath_a_served_root_even_inside() {
    for to in ["..", "../x", "D/../x", "D/sub/..", "/.."] {
        assert_eq!(outcome(false, to, &[file("x")], false, "x"), Err(Class::Refused), "{to}");
    }
    assert_eq!(outcome(true, "D/sub/..", &[file("x")], false, "x").as_deref(), Ok("D/x"));
    assert_eq!(outcome(true, "D/../new", &[file("x")], false, "x").as_deref(), Ok("new"));
}

#[test]
fn the_mapping_is_shown_as_the_user_wrote_it() {
    let dir = ground();
    let root = Root::open(dir.path()).expect("root");
    let shown = |to: &str, source: SourceInfo, name: &str| {
        let target = Target::resolve(Ground::Served(&root), to.as_bytes(), &[source], true).expect("fits");
        String::from_utf8(target.shown(name.as_bytes())).expect("text")
    };
    assert_eq!(shown("D", file("x"), "x"), "D/x");
    assert_eq!(shown("/D/new", directory("d"), "d/a"), "/D/new/a");
    assert_eq!(shown("", file("x"), "x"), "x");
    assert_eq!(shown("new", contents("d"), "a"), "new/a");
}
