//! Nodes on loopback: how they start and end, and what is seen of them by `ls`, `stat`, `hash` and `doctor`.

mod support;

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use support::Home;

/// A root with one of each.
fn root(home: &Home) -> PathBuf {
    let root = home.directory("root");
    home.file("root/f", "abc");
    home.file("root/d/g", "");
    fs::set_permissions(root.join("f"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("s")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"x\xff\n")), "").unwrap();
    root
}

#[test]
fn listings_show_what_is_there() {
    let home = Home::new();
    let node = home.serve(&root(&home));
    assert_eq!(home.run(&["ls", &node.link]).code(0).text(), "d/\nf\ns\nx\\xff\\n\n");
    assert_eq!(home.run(&["list", "-r", &node.at("d")]).code(0).text(), "g\n");
    let long = home.run(&["ls", "-l", &node.link]).code(0).text();
    assert!(long.contains("-rw-r-----") && long.contains("s -> nowhere"), "{long}");
    let lines = home.run(&["ls", "-r", "--json", &node.link]).code(0).lines();
    assert!(lines.iter().all(|line| line["type"] == "entry"));
    let shown: Vec<_> = lines
        .iter()
        .map(|line| (line["path"].as_str().unwrap(), line["kind"].as_str().unwrap(), line["size"].as_u64()))
        .collect();
    let (d, f, s) = (("d", "dir", Some(0)), ("f", "file", Some(3)), ("s", "symlink", Some(0)));
    let (g, x) = (("d/g", "file", Some(0)), ("x\\xff\n", "file", Some(0)));
    let sized: Vec<_> =
        shown.iter().map(|(p, k, n)| if *k == "file" { (*p, *k, *n) } else { (*p, *k, Some(0)) }).collect();
    assert_eq!(sized, [d, g, f, s, x]);
    assert_eq!(lines[2]["mode"], "0640");
    assert_eq!(lines[3]["target"], "nowhere");
    assert_eq!(lines[4]["path_b64"], "eP8K");
}

#[test]
fn files_are_described_and_hashed_where_they_are() {
    let home = Home::new();
    let node = home.serve(&root(&home));
    let abc = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    let line = home.run(&["stat", "--json", "--digest", &node.at("f")]).code(0).lines().remove(0);
    assert_eq!((line["kind"].as_str(), line["digest"].as_str()), (Some("file"), Some(abc)));
    assert!(home.run(&["stat", &node.at("s")]).code(0).text().contains("nowhere"));
    home.run(&["node", "add", "n1", &node.link]).code(0);
    home.file("work/here", "abc");
    let ran = home.run(&["hash", "n1:f", "n1:/f", "here"]).code(0);
    assert_eq!(ran.text(), format!("{abc}  n1:f\n{abc}  n1:/f\n{abc}  here\n"));
    home.run(&["hash", "n1:f", "n1:nosuch"]).code(16);
    // What is printed of a link holds no token.
    let shown = home.run(&["hash", &node.at("f")]).code(0).text();
    assert!(!shown.contains("xfer://") && shown.ends_with(":/f\n"), "{shown}");
}

#[test]
fn failures_have_their_codes() {
    let home = Home::new();
    let node = home.serve(&root(&home));
    for words in [["ls", "nosuch"], ["stat", "nosuch"], ["hash", "nosuch"]] {
        home.run(&[words[0], &node.at(words[1])]).code(4);
    }
    home.run(&["ls", &node.at("../x")]).code(6);
    home.run(&["stat", &node.at("d/../f")]).code(6);
    home.run(&["ls", &node.forged()]).code(13);
    home.run(&["stat", &node.at("f"), &node.at("nosuch")]).code(16);
    let ran = home.run(&["stat", "--json", &node.at("nosuch")]).code(4);
    let line = ran.lines().remove(0);
    assert_eq!((line["type"].as_str(), line["error"]["class"].as_u64()), (Some("error"), Some(4)));
    let link = node.link.clone();
    drop(node);
    home.run(&["ls", &link]).code(5);
}

#[test]
fn another_certificate_is_refused() {
    let home = Home::new();
    let node = home.serve(&root(&home));
    let at = node.link.find('@').unwrap();
    let other = format!("{}{}{}", &node.link[..at - 43], "A".repeat(43), &node.link[at..]);
    let ran = home.run(&["ls", &other]).code(13);
    assert!(ran.stderr.contains("fingerprint"), "{}", ran.stderr);
}

#[test]
fn the_link_survives_a_restart() {
    let home = Home::new();
    let root = root(&home);
    let node = home.serve(&root);
    let link = node.link.clone();
    node.signal("TERM");
    let (status, _) = node.end();
    assert_eq!(status.code(), Some(0));
    let address = link.rsplit('@').next().unwrap().to_owned();
    let again =
        home.serve_with(&["--root".as_ref(), root.as_os_str(), "--listen".as_ref(), address.as_ref()]);
    assert_eq!(again.link, link);
    again.signal("INT");
    assert_eq!(again.end().0.code(), Some(0));
}

#[test]
fn a_plain_start_prints_one_line() {
    let home = Home::new();
    let root = root(&home);
    let words = ["serve", "--listen", "127.0.0.1:0", "--root"].map(OsStr::new);
    let mut child = home.spawn(&[&words[..], &[root.as_os_str()]].concat());
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    home.run(&["ls", line.trim_end()]).code(0);
    support::signal(&child, "TERM");
    assert_eq!(support::wait(&mut child).code(), Some(0));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn what_is_in_use_is_fatal() {
    let home = Home::new();
    let root = root(&home);
    let node = home.serve(&root);
    let address = node.link.rsplit('@').next().unwrap().to_owned();
    let root = root.to_str().unwrap();
    let other = home.path("other");
    let ran = home
        .run(&["serve", "--json", "--root", root, "--listen", &address, "--state", other.to_str().unwrap()])
        .code(7);
    assert!(ran.stderr.contains(&address), "{}", ran.stderr);
    let ran = home.run(&["serve", "--json", "--root", root, "--listen", "127.0.0.1:0"]).code(7);
    assert!(ran.stderr.contains("--state"), "{}", ran.stderr);
    home.run(&[
        "serve",
        "--root",
        "/no/such/root",
        "--listen",
        "127.0.0.1:0",
        "--state",
        other.to_str().unwrap(),
    ])
    .code(4);
}

#[test]
fn named_roots_are_listed() {
    let home = Home::new();
    let (one, two) = (home.directory("one"), home.directory("two"));
    let named = |name: &str, path: &PathBuf| format!("{name}={}", path.display());
    let (one, two) = (named("one", &one), named("b.2", &two));
    let node = home.serve_with(&["--root", &one, "--root", &two].map(OsStr::new));
    assert_eq!(home.run(&["ls", &node.link]).code(0).text(), "b.2/\none/\n");
    home.file("one/f", "");
    assert_eq!(home.run(&["ls", &node.at("one")]).code(0).text(), "f\n");
    doctor_finds(&home, &node.link);
}

#[test]
fn the_way_to_a_node_is_looked_at() {
    let home = Home::new();
    let root = root(&home);
    let words = ["--root".as_ref(), root.as_os_str(), "--read-only".as_ref()];
    let node = home.serve_with(&words);
    doctor_finds(&home, &node.link);
    let ran = home.run(&["doctor", "--json", &node.forged()]).code(13);
    assert!(ran.lines().iter().any(|line| line["check"] == "control" && line["status"] == "fail"));
    let link = node.link.clone();
    drop(node);
    let ran = home.run(&["doctor", &link]).code(5);
    assert!(ran.text().contains("open TCP"), "{}", ran.text());
}

#[test]
fn the_way_to_a_node_of_benchmarks_is_looked_at() {
    let home = Home::new();
    let node = home.node(&["bench", "serve"], &[]);
    let lines = doctor_finds(&home, &node.link);
    let serves = lines.iter().find(|line| line["check"] == "serves").unwrap();
    assert_eq!((&serves["status"], &serves["facts"]["files"]), (&"ok".into(), &false.into()));
    assert!(lines.iter().all(|line| line["status"] != "fail"), "{lines:?}");
}

/// Control and the pair of loopback addresses answer, and nothing stays behind. Gives all that was found.
fn doctor_finds(home: &Home, link: &str) -> Vec<Value> {
    let ran = home.run(&["doctor", "--json", link]).code(0);
    let lines = ran.lines();
    let find = |check: &str| lines.iter().find(|line| line["check"] == check).unwrap();
    assert_eq!(find("control")["facts"]["answers"], true);
    let data = &find("data")["facts"];
    assert_eq!((data["local"].as_str(), data["answers"].as_bool()), (Some("127.0.0.1"), Some(true)));
    lines
}

/// PRODUCT.md, "Logs": what belongs in an audit, with who and what, and nothing that is not known.
#[test]
fn a_node_logs_what_was_copied() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    home.file("work/t/small", "abc");
    home.file("work/t/mid", support::content(5_000, 1));
    home.file("work/t/big", support::content(3 << 20, 2));
    home.run(&["cp", "-r", "t", &node.link]).code(0);
    home.run(&["cp", "-r", "t", &node.link]).code(0);
    home.run(&["cp", &node.at("t/big"), "here"]).code(0);
    node.signal("TERM");
    let (status, log) = node.end();
    assert!(status.success());
    assert!(!log.contains("=\"\""), "{log}");
    let told = |side: &str, message: &str| -> Vec<&str> {
        let message = format!("msg={message} ");
        let side = format!("side={side}");
        let about = |line: &&str| line.contains(&message) && line.split(' ').any(|word| word == side);
        log.lines().filter(about).collect()
    };
    for (side, message, count) in [
        ("dst", "\"transfer starts\"", 2),
        ("dst", "\"transfer ended\"", 2),
        ("src", "\"transfer ended\"", 1),
        ("dst", "file", 6),
        ("src", "file", 1),
    ] {
        let lines = told(side, message);
        assert_eq!(lines.len(), count, "{side} {message}: {log}");
        for line in lines {
            let known = line.contains(" task=transfers/") && line.contains(" peer=127.0.0.1:");
            assert!(known && line.contains(" level=info "), "{line}");
        }
    }
    let digest = |name: &str| blake3::hash(&fs::read(home.path("work/t").join(name)).unwrap()).to_hex();
    for name in ["small", "mid", "big"] {
        let copied = format!("file=t/{name} action=copied ");
        let lines: Vec<_> = told("dst", "file").into_iter().filter(|line| line.contains(&copied)).collect();
        let [line] = lines[..] else { panic!("{copied}: {log}") };
        assert!(line.ends_with(&format!(" digest={}", digest(name))), "{line}");
    }
    let skipped = told("dst", "file").into_iter().filter(|line| line.contains("action=skipped"));
    assert!(skipped.clone().count() == 3 && skipped.clone().all(|line| !line.contains("digest")), "{log}");
    assert!(told("src", "file")[0].ends_with(&format!(" digest={}", digest("big"))), "{log}");
    for line in told("dst", "\"transfer ended\"") {
        assert!(line.contains(" durability=batch limited_by="), "{line}");
    }
}

/// Lines for more than a pipe and the node hold.
#[test]
fn a_node_whose_log_nobody_reads_serves_and_tells_later_what_is_lost() {
    let home = Home::new();
    for i in 0..3_000 {
        home.file(&format!("root/d/{i}"), "");
    }
    let root = home.path("root");
    let mut node = home.serve_with(&["--root", root.to_str().unwrap(), "--audit", "-"].map(OsStr::new));
    let all = home.path("all");
    home.run(&["cp".as_ref(), "-r".as_ref(), OsStr::new(&node.at("d")), all.as_os_str()]).code(0);
    assert_eq!(fs::read_dir(&all).unwrap().count(), 3_000);
    // Its audit follows its files' lines.
    assert_eq!(node.next_line()["result"], "done");
    let stderr = node.read_stderr();
    home.run(&["cp".as_ref(), OsStr::new(&node.at("d/0")), home.path("one").as_os_str()]).code(0);
    node.signal("TERM");
    assert!(node.wait().success());
    let log = stderr.join().unwrap();
    let lines = log.lines().filter(|line| line.contains("msg=file")).count();
    assert!(lines > 1_000 && lines < 3_000, "{lines} lines");
    assert!(log.contains("lines of the log are lost"), "{log}");
}
