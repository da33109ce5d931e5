//! `cp` against real nodes on loopback: what arrives, what is told, and every exit code that a copy has.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, ChildStdout};
use std::time::Duration;
use support::{Home, Ran, content, signal, wait};

const MIB: usize = 1 << 20;

/// `cp --json` with options, then locations.
fn cp(home: &Home, words: &[impl AsRef<OsStr>]) -> Ran {
    let mut all = vec![OsStr::new("cp"), OsStr::new("--json")];
    all.extend(words.iter().map(AsRef::as_ref));
    home.run(&all)
}

/// A `cp --json` that goes on, its lines to be read.
fn cp_running(home: &Home, words: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = home.spawn(&[&["cp", "--json", "--max-duration", "2m"], words].concat());
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

/// Reads lines until content has moved.
fn until_moving(stdout: &mut BufReader<ChildStdout>) {
    for line in stdout.lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        if line["type"] == "progress" && line["bytes"].as_u64() > Some(0) {
            return;
        }
        assert_ne!(line["type"], "summary", "it ended too early: {line}");
    }
    panic!("no progress was told");
}

fn last_line(stdout: BufReader<ChildStdout>) -> serde_json::Value {
    serde_json::from_str(&stdout.lines().map(Result::unwrap).last().unwrap()).unwrap()
}

/// Every object with mode, time and content, as the proof of the main job compares trees.
fn shown(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let (path, meta) = (entry.path(), entry.path().symlink_metadata().unwrap());
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
            let content = match meta.file_type() {
                kind if kind.is_dir() => {
                    todo.push(path);
                    String::new()
                }
                kind if kind.is_symlink() => format!("{:?}", fs::read_link(&path).unwrap()),
                kind if kind.is_file() => format!("{:?}", fs::read(&path).unwrap().len()),
                _ => continue,
            };
            let time = (meta.mtime(), meta.mtime_nsec());
            found.push(format!("{name} {:o} {time:?} {content}", meta.mode()));
        }
    }
    found.sort();
    found
}

/// Names, kinds and sizes that copies have to get right.
fn odd_tree(home: &Home) -> std::path::PathBuf {
    let tree = home.directory("tree");
    for (name, len) in
        [("empty", 0), ("one", 1), ("d/below", MIB - 1), ("d/chunk", MIB), ("d/above", MIB + 1)]
    {
        home.file(&format!("tree/{name}"), content(len, len as u64));
    }
    home.directory("tree/empty-dir");
    for name in [&b"a:b"[..], b"new\nline", b"not-utf8-\xff", &[b'x'; 255]] {
        fs::write(tree.join(OsStr::from_bytes(name)), name).unwrap();
    }
    symlink("nowhere", tree.join("dangling")).unwrap();
    fs::set_permissions(tree.join("one"), fs::Permissions::from_mode(0o604)).unwrap();
    fs::set_permissions(tree.join("d"), fs::Permissions::from_mode(0o750)).unwrap();
    tree
}

#[test]
fn a_file_goes_there_and_back() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let bytes = content(5 * MIB + 1, 1);
    let file = home.file("f", &bytes);
    let up = cp(&home, &[file.to_str().unwrap(), &node.at("")]).code(0).summary();
    assert_eq!(fs::read(home.path("root/f")).unwrap(), bytes);
    assert_eq!((up["bytes"].as_u64(), up["files"].as_u64()), (Some(bytes.len() as u64), Some(1)));
    assert_eq!(up["total_bytes"], up["bytes"]);
    assert_eq!((up["verified"].as_bool(), up["durability"].as_str()), (Some(true), Some("batch")));
    let digest = up["digest"].as_str().unwrap().to_owned();
    let local = home.run(&["hash", file.to_str().unwrap()]).code(0).text();
    assert!(local.starts_with(&digest), "{local} {digest}");
    let paths = up["paths"].as_array().unwrap();
    assert_eq!(
        (paths[0]["local"].as_str(), paths[0]["remote"].as_str()),
        (Some("127.0.0.1"), Some("127.0.0.1"))
    );

    let back = home.path("back");
    let down = cp(&home, &[&node.at("f"), back.to_str().unwrap()]).code(0);
    assert_eq!(fs::read(&back).unwrap(), bytes);
    assert_eq!(down.summary()["digest"], digest);
    let line = down.lines().into_iter().find(|line| line["type"] == "file").unwrap();
    assert_eq!((line["path"].as_str(), line["action"].as_str()), (Some("f"), Some("copied")));
    let time = |path| fs::metadata(path).unwrap().modified().unwrap();
    assert_eq!(time(&back), time(&file));
}

#[test]
fn small_files_count_too() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    for len in [0, 1, 15, 16, 17, 1_024, 1_025] {
        let bytes = content(len, 3);
        let file = home.file("f", &bytes);
        let name = node.at(&len.to_string());
        let summary = cp(&home, &[file.to_str().unwrap(), &name]).code(0).summary();
        assert_eq!(fs::read(home.path("root").join(len.to_string())).unwrap(), bytes);
        assert_eq!(summary["bytes"], len, "{summary}");
    }
}

#[test]
fn a_tree_is_the_same_on_both_sides() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let tree = odd_tree(&home);
    let up = cp(&home, &["-r", tree.to_str().unwrap(), &node.at("")]).code(0).summary();
    assert_eq!(shown(&home.path("root/tree")), shown(&tree));
    assert_eq!(up["files"], 10, "{up}");
    let back = home.path("back");
    let down = cp(&home, &["-r", &node.at("tree/."), back.to_str().unwrap()]).code(0).summary();
    assert_eq!(shown(&back), shown(&tree));
    assert_ne!(down["digest"], serde_json::Value::Null);

    // Nothing changed: all is skipped, its digest known all the same.
    let again = cp(&home, &["-r", &node.at("tree/."), back.to_str().unwrap()]).code(0).summary();
    assert_eq!((again["bytes"].as_u64(), again["files"].as_u64()), (Some(0), Some(0)));
    assert_eq!((&again["digest"], &again["skipped_bytes"]), (&down["digest"], &down["total_bytes"]));
    let words = ["-r", "--error-on-no-transfer", &node.at("tree/."), back.to_str().unwrap()];
    cp(&home, &words).code(9).summary();
    // Nothing of the tool stays in the trees.
    let left = home.run(&["ls", "-r", &node.link]).code(0).text();
    assert!(!left.contains(".xfer-partial"), "{left}");
}

#[test]
fn a_changed_byte_is_mended_by_digest() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let file = home.file("f", content(3 * MIB, 4));
    cp(&home, &[file.to_str().unwrap(), &node.at("f")]).code(0);
    let there = home.path("root/f");
    let time = fs::metadata(&there).unwrap().modified().unwrap();
    let mut bytes = fs::read(&there).unwrap();
    bytes[2 * MIB] ^= 1;
    fs::write(&there, bytes).unwrap();
    fs::File::options().write(true).open(&there).unwrap().set_modified(time).unwrap();
    let blind = cp(&home, &[file.to_str().unwrap(), &node.at("f")]).code(0).summary();
    assert_eq!(blind["skipped"], 1);
    let mended = cp(&home, &["--compare", "digest", file.to_str().unwrap(), &node.at("f")]).code(0).summary();
    assert_eq!(mended["files"], 1, "{mended}");
    assert_eq!(fs::read(&there).unwrap(), fs::read(&file).unwrap());
}

#[test]
fn standard_output() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let bytes = content(MIB + 7, 5);
    home.file("root/f", &bytes);
    let ran = home.run(&["cp", &node.at("f"), "-"]).code(0);
    assert!(ran.stdout == bytes, "{} bytes came", ran.stdout.len());
}

#[test]
fn standard_input() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let bytes = content(MIB + 7, 5);
    let mut command = home.tool(&["cp", "-", &node.at("f")]);
    let output = command.write_stdin(bytes.clone()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read(home.path("root/f")).unwrap(), bytes);
}

#[test]
fn where_things_go() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    home.directory("root/D");
    let (f, d) = (home.file("f", "1"), home.directory("d"));
    let g = home.file("d/g", "2");
    let (f, d, g) = (f.to_str().unwrap(), d.to_str().unwrap(), g.to_str().unwrap());
    let there = |name: &str| home.path("root").join(name).is_file();
    cp(&home, &[f, &node.at("D")]).code(0);
    cp(&home, &[f, &node.at("D/x")]).code(0);
    assert!(there("D/f") && there("D/x"));
    cp(&home, &["-r", d, &node.at("D")]).code(0);
    cp(&home, &["-r", d, &node.at("E")]).code(0);
    cp(&home, &["-r", &format!("{d}/."), &node.at("D")]).code(0);
    assert!(there("D/d/g") && there("E/g") && there("D/g"));
    cp(&home, &[f, g, &node.at("E/")]).code(0);
    assert!(there("E/f"));
    for (words, code) in [
        (vec![f, "no/parent/x"], 3),
        (vec![f, "none/"], 3),
        (vec![f, g, "D/x"], 2),
        (vec![f, g, "absent"], 2),
        (vec!["-r", d, "D/x"], 2),
        (vec![d, "D"], 2),
        (vec!["/no/such", "D"], 4),
    ] {
        let (last, first) = words.split_last().unwrap();
        let at = node.at(last);
        let all: Vec<&str> = first.iter().copied().chain([at.as_str()]).collect();
        let ran = cp(&home, &all).code(code);
        if code == 2 {
            assert_eq!(ran.text(), "", "{words:?}");
        } else {
            ran.summary();
        }
    }
    assert!(
        !home.path("root/no").exists()
            && !home.path("root/none").exists()
            && !home.path("root/absent").exists()
    );
    let back = home.path("no/parent");
    cp(&home, &[&node.at("D/f"), back.to_str().unwrap()]).code(3).summary();
    cp(&home, &[&node.at("nosuch"), home.path("x").to_str().unwrap()]).code(4).summary();
}

#[test]
fn a_dry_run_tells_and_does_nothing() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let tree = odd_tree(&home);
    let ran = cp(&home, &["-r", "-n", tree.to_str().unwrap(), &node.at("new")]).code(0);
    assert!(
        ran.lines().iter().any(|line| line["type"] == "plan" && line["to"] == "new/d/above"),
        "{}",
        ran.text()
    );
    assert_eq!(ran.summary()["bytes"], 0);
    assert_eq!(fs::read_dir(home.path("root")).unwrap().count(), 0);
    let text = home.run(&["cp", "-r", "-n", tree.to_str().unwrap(), &node.at("new")]).code(0).text();
    assert!(text.contains("new/d/above (1.0 MiB)"), "{text}");
}

#[test]
fn filters_and_lists_choose() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    for name in ["a.rs", "b.txt", "d/c.rs", "d/e.txt"] {
        home.file(&format!("t/{name}"), name);
    }
    let tree = home.path("t");
    let tree = tree.to_str().unwrap();
    let names = |at: &str| home.run(&["ls", "-r", &node.at(at)]).code(0).text();
    cp(&home, &["-r", "--include", "d/e.txt", "--exclude", "*.txt", tree, &node.at("1")]).code(0);
    assert_eq!(names("1"), "a.rs\nd/\nd/c.rs\nd/e.txt\n");
    let list = home.file("list", "b.txt\nd/c.rs\n");
    cp(&home, &["-r", "--files-from", list.to_str().unwrap(), tree, &node.at("2")]).code(0);
    let listed = names("2");
    assert!(listed.contains("b.txt") && listed.contains("c.rs") && !listed.contains("a.rs"), "{listed}");
}

#[test]
fn what_is_there_can_be_kept() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let file = home.file("f", "new");
    let there = home.file("root/f", "newer, and longer");
    // The kernel's clock is coarse: files written one after the other may have one time.
    let before = fs::metadata(&there).unwrap().modified().unwrap() - Duration::from_secs(10);
    fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
    cp(&home, &["--no-clobber", file.to_str().unwrap(), &node.at("f")]).code(0);
    cp(&home, &["-u", file.to_str().unwrap(), &node.at("f")]).code(0);
    assert_eq!(fs::read(&there).unwrap(), b"newer, and longer");
    cp(&home, &[file.to_str().unwrap(), &node.at("f")]).code(0);
    assert_eq!(fs::read(&there).unwrap(), b"new");
}

#[test]
fn policy_refuses() {
    let home = Home::new();
    let root = home.directory("root");
    let file = home.file("f", "x");
    let file = file.to_str().unwrap();
    let node = home.serve(&root);
    cp(&home, &["--no-encrypt", file, &node.at("f")]).code(6).summary();
    cp(&home, &["--digest", "none", file, &node.at("f")]).code(6).summary();
    cp(&home, &[file, &node.at("../f")]).code(6).summary();
    cp(&home, &[file, &format!("{}/f", node.forged())]).code(13).summary();
    drop(node);
    let node = home.serve_with(&["--root".as_ref(), root.as_os_str(), "--read-only".as_ref()]);
    cp(&home, &[file, &node.at("f")]).code(6).summary();
    drop(node);
    let flags =
        ["--root".as_ref(), root.as_os_str(), "--allow-plain".as_ref(), "--allow-unverified".as_ref()];
    let node = home.serve_with(&flags);
    cp(&home, &["--no-encrypt", file, &node.at("f")]).code(0).summary();
    let unverified = cp(&home, &["--digest", "none", file, &node.at("g")]).code(0).summary();
    assert_eq!((unverified["verified"].as_bool(), unverified["digest"].is_null()), (Some(false), true));
}

#[test]
fn nobody_there_is_temporary() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let file = home.file("f", "x");
    let at = node.at("f");
    drop(node);
    let words = ["--retries", "0", "--connect-timeout", "2s", file.to_str().unwrap(), &at];
    let summary = cp(&home, &words).code(5).summary();
    assert_eq!(summary["error"]["class"], 5);
    assert!(summary["error"]["message"].as_str().unwrap().contains("cannot reach"), "{summary}");
}

/// What is wrong shows when the node has made everything ready; the next try must not find that in its way.
#[test]
fn a_copy_that_did_not_begin_holds_nothing() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let file = home.file("f", "x").to_str().unwrap().to_owned();
    cp(&home, &["--path", "127.0.0.1=10.255.255.1", &file, &node.at("")]).code(2);
    cp(&home, &[&file, &node.at("")]).code(0);
}

#[test]
fn limits_end_a_copy_that_can_go_on() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let bytes = content(24 * MIB, 6);
    let file = home.file("f", &bytes);
    let file = file.to_str().unwrap();
    let slow = ["--rate", "64Mbit"];
    let at = node.at("f");
    let first = cp(&home, &[&slow[..], &["--max-duration", "1500ms", file, &at]].concat()).code(11).summary();
    assert!(!home.path("root/f").exists(), "{first}");
    let second = cp(&home, &[&slow[..], &["--max-transfer", "2MiB", file, &at]].concat()).code(8).summary();
    assert!(second["bytes"].as_u64().unwrap() < bytes.len() as u64, "{second}");
    let last = cp(&home, &[file, &at]).code(0).summary();
    assert_eq!(fs::read(home.path("root/f")).unwrap(), bytes);
    let sum = last["bytes"].as_u64().unwrap() + last["reused_bytes"].as_u64().unwrap();
    assert_eq!(sum, bytes.len() as u64);
    assert!(last["reused_bytes"].as_u64() > Some(0), "{last}");
    assert!(!home.path("root/.xfer-partial").exists());
}

#[test]
fn a_signal_ends_a_copy_that_can_go_on() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let bytes = content(24 * MIB, 7);
    let file = home.file("f", &bytes);
    let (file, at) = (file.to_str().unwrap(), node.at("f"));
    let (mut child, mut stdout) = cp_running(&home, &["--rate", "64Mbit", file, &at]);
    until_moving(&mut stdout);
    signal(&child, "INT");
    let summary = last_line(stdout);
    assert_eq!(wait(&mut child).code(), Some(20));
    assert_eq!((summary["type"].as_str(), summary["exit"].as_u64()), (Some("summary"), Some(20)));
    let last = cp(&home, &[file, &at]).code(0).summary();
    assert_eq!(fs::read(home.path("root/f")).unwrap(), bytes);
    assert!(last["reused_bytes"].as_u64() > Some(0), "{last}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let file = home.file("f", content(64 * MIB, 8));
    let (mut child, mut stdout) =
        cp_running(&home, &["--rate", "16Mbit", file.to_str().unwrap(), &node.at("f")]);
    until_moving(&mut stdout);
    signal(&child, "TERM");
    signal(&child, "TERM");
    assert_eq!(wait(&mut child).code(), Some(20));
}

#[test]
fn a_source_that_changes_fails_its_file() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let file = home.file("f", content(24 * MIB, 9));
    let (mut child, mut stdout) =
        cp_running(&home, &["--rate", "64Mbit", file.to_str().unwrap(), &node.at("f")]);
    until_moving(&mut stdout);
    fs::write(&file, content(24 * MIB, 10)).unwrap();
    let summary = last_line(stdout);
    assert_eq!(wait(&mut child).code(), Some(15), "{summary}");
    assert!(summary["error"].to_string().contains("changed"), "{summary}");
    assert!(!home.path("root/f").exists());
}

#[test]
fn some_files_may_fail() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    home.file("t/a", "a");
    home.file("t/b", "b");
    home.file("root/t/a/in-the-way", "x");
    let ran = cp(&home, &["-r", home.path("t").to_str().unwrap(), &node.at("")]).code(16);
    let actions: Vec<_> = ran
        .lines()
        .iter()
        .filter(|line| line["type"] == "file")
        .map(|line| (line["path"].as_str().unwrap().to_owned(), line["action"].as_str().unwrap().to_owned()))
        .collect();
    assert!(actions.contains(&("t/a".to_owned(), "failed".to_owned())), "{actions:?}");
    assert!(actions.contains(&("t/b".to_owned(), "copied".to_owned())), "{actions:?}");
    assert_eq!(ran.summary()["failed"], 1);
}

#[test]
fn a_target_in_progress_is_busy() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let file = home.file("f", content(64 * MIB, 11));
    let (file, at) = (file.to_str().unwrap(), node.at("f"));
    let (mut child, mut stdout) = cp_running(&home, &["--rate", "16Mbit", file, &at]);
    until_moving(&mut stdout);
    let ran = cp(&home, &["--retries", "0", file, &at]).code(5);
    assert!(ran.summary()["error"].to_string().contains("transfer"), "{}", ran.text());
    signal(&child, "INT");
    assert_eq!(wait(&mut child).code(), Some(20));
}

#[test]
fn progress_is_told_where_it_is_asked_for() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let file = home.file("f", content(8 * MIB, 12));
    let file = file.to_str().unwrap();
    let json = home.run(&["cp", "--progress", "json", "--rate", "32Mbit", file, &node.at("1")]).code(0);
    assert_eq!(json.text(), "");
    let told = json.stderr.lines().find(|line| line.contains(r#""type":"progress""#)).unwrap();
    let told: serde_json::Value = serde_json::from_str(told).unwrap();
    for key in ["bytes", "total_bytes", "files", "gbps", "eta_s", "scanning", "limited_by", "paths"] {
        assert!(told.get(key).is_some(), "{key}");
    }
    let quiet = home.run(&["cp", "-q", file, &node.at("2")]).code(0);
    assert_eq!((quiet.text().as_str(), quiet.stderr.as_str()), ("", ""));
    let plain = home.run(&["cp", "-v", "--explain", file, &node.at("3")]).code(0);
    assert!(
        plain.stderr.contains("verified; durable") && plain.stderr.contains("control over"),
        "{}",
        plain.stderr
    );
}

#[test]
fn a_node_that_ends_is_waited_for() {
    let home = Home::new();
    let root = home.directory("root");
    let node = home.serve(&root);
    let bytes = content(24 * MIB, 13);
    let file = home.file("f", &bytes);
    let (mut child, mut stdout) =
        cp_running(&home, &["--rate", "64Mbit", file.to_str().unwrap(), &node.at("f")]);
    until_moving(&mut stdout);
    let address = node.link.rsplit('@').next().unwrap().to_owned();
    node.signal("TERM");
    assert_eq!(node.end().0.code(), Some(0));
    let words = ["--root".as_ref(), root.as_os_str(), "--listen".as_ref(), address.as_ref()];
    let _again = home.serve_with(&words);
    let lines: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(wait(&mut child).code(), Some(0), "{:?}", lines.last());
    let retry = lines.iter().find(|line| line["type"] == "retry").unwrap();
    assert_eq!((retry["retry"].as_u64(), retry["wait_s"].as_f64()), (Some(1), Some(5.0)));
    assert_eq!(fs::read(home.path("root/f")).unwrap(), bytes);
    let summary = lines.last().unwrap();
    assert_eq!(summary["total_bytes"].as_u64(), Some(bytes.len() as u64), "{summary}");
    assert!(summary["seconds"].as_f64() > Some(Duration::from_secs(5).as_secs_f64()));
}
