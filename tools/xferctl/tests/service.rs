//! A node as a service: as an ordinary user, with a read-only root, without a home, with few descriptors, under the unit's own filter of
//! system calls. Each serves a whole tree in both directions.

mod support;

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Home, PATIENCE, content, signal, wait};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/xfer.service");
const SANDBOX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sandbox.py");
const NOBODY: u32 = 65_534;
const FILES: usize = 300;

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        println!("skipped: only root may start a process as another user");
    }
    root
}

/// Directories of a service that belong to its user, and whoever copies to and from it.
struct Service {
    home: Home,
    node: Child,
    link: String,
}

impl Service {
    /// Starts a node by `wrapper`, a program and its words, with a state directory, link and audit of its own.
    fn start(home: Home, user: Option<u32>, wrapper: &[&OsStr]) -> Service {
        for name in ["root", "own"] {
            let path = home.directory(name);
            if let Some(user) = user {
                chown(&path, Some(user), Some(user)).unwrap();
            }
        }
        let (program, words) = wrapper.split_first().unwrap();
        let link = home.path("own/link");
        let mut command = Command::new(program);
        command.args(words).args(["serve", "--json", "--listen", "127.0.0.1:0", "--root"]);
        command.arg(home.path("root")).arg("--state").arg(home.path("own/state"));
        command.arg("--link-file").arg(&link).arg("--audit").arg(home.path("own/audit"));
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").current_dir("/");
        let log = fs::File::create(home.path("log")).unwrap();
        let mut node = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(node.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let ready: Value = serde_json::from_str(&first)
            .unwrap_or_else(|_| panic!("{first:?} {}", fs::read_to_string(home.path("log")).unwrap()));
        assert!(ready["link"].is_null(), "it is in its file alone");
        assert_eq!(fs::metadata(&link).unwrap().mode() & 0o777, 0o600);
        let link = fs::read_to_string(link).unwrap().trim().to_owned();
        Service { home, node, link }
    }

    /// A whole tree and a large file there and back; then the node ends as it should.
    fn serves_and_ends(mut self) {
        let tree = self.home.directory("tree");
        for i in 0..FILES {
            let directory = tree.join((i % 7).to_string());
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(i.to_string()), content(1 + 97 * i, i as u64)).unwrap();
        }
        fs::write(tree.join("large"), content((9 << 20) + 1, 7)).unwrap();
        let back = self.home.path("back");
        let copy = |from: &OsStr, to: &OsStr| {
            let words: [&OsStr; 6] =
                ["cp".as_ref(), "-r".as_ref(), "--json".as_ref(), "--retries=0".as_ref(), from, to];
            self.home.run(&words).code(0).summary()
        };
        let there = format!("{}/tree", self.link);
        let up = copy(tree.as_ref(), there.as_ref());
        let down = copy(there.as_ref(), back.as_ref());
        assert_eq!(up["files"].as_u64(), Some(FILES as u64 + 1));
        assert_eq!(up["digest"], down["digest"]);
        assert!(up["digest"].is_string() && up["verified"] == true);
        signal(&self.node, "TERM");
        assert!(wait(&mut self.node).success());
        let audit = fs::read_to_string(self.home.path("own/audit")).unwrap();
        assert_eq!(audit.lines().filter(|line| line.contains(r#""result":"done""#)).count(), 2, "{audit}");
        let said = fs::read_to_string(self.home.path("log")).unwrap();
        assert!(!said.contains("level=error"), "{said}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // One that ended by itself cannot be killed any more.
        self.node.kill().unwrap_or_default();
        self.node.wait().unwrap();
    }
}

fn tool() -> &'static OsStr {
    OsStr::new(env!("CARGO_BIN_EXE_xferctl"))
}

/// A home whose way others may go, and a copy of the tool there: the directory of builds may be closed to them.
fn open_home() -> (Home, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    fs::set_permissions(home.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copied = home.path("xferctl");
    fs::copy(tool(), &copied).unwrap();
    (home, copied)
}

fn words<'a>(words: &[&'a str], tool: &'a Path) -> Vec<&'a OsStr> {
    words.iter().map(|word| OsStr::new(*word)).chain([tool.as_os_str()]).collect()
}

#[test]
fn an_ordinary_user_without_a_home_serves() {
    if !is_root() {
        return;
    }
    let (home, tool) = open_home();
    let user = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
        "--no-new-privs",
    ];
    Service::start(home, Some(NOBODY), &words(&user, &tool)).serves_and_ends();
    // A home that is not there, and one that cannot be written to, are none.
    let (home, tool) = open_home();
    let nowhere = [&user[..], &["env", "HOME=/nonexistent"]].concat();
    Service::start(home, Some(NOBODY), &words(&nowhere, &tool)).serves_and_ends();
}

#[test]
fn without_a_place_for_its_state_it_says_which_option() {
    let home = Home::new();
    let root = home.directory("root");
    let mut command = Command::new(tool());
    command.env_clear().args(["serve", "--listen", "127.0.0.1:0", "--root"]).arg(&root);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--state DIR"));
}

#[test]
fn few_descriptors_are_enough() {
    for limit in ["256", "1024"] {
        let (home, tool) = open_home();
        let limited = format!("--nofile={limit}:{limit}");
        Service::start(home, None, &words(&["prlimit", &limited, "--"], &tool)).serves_and_ends();
    }
}

#[test]
fn the_sandbox_of_the_unit_still_works() {
    if !is_root() {
        return;
    }
    let (home, tool) = open_home();
    let (root, own) = (home.directory("root"), home.directory("own"));
    let writable = format!("{}:{}", root.display(), own.display());
    let sandboxed = ["unshare", "--mount", "python3", SANDBOX, UNIT, &writable];
    let service = Service::start(home, Some(NOBODY), &words(&sandboxed, &tool));
    let status = fs::read_to_string(format!("/proc/{}/status", service.node.id())).unwrap();
    let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!((of("Seccomp:"), of("NoNewPrivs:")), ("2".to_owned(), "1".to_owned()));
    assert_eq!((of("CapBnd:").as_str(), of("CapEff:").as_str()), ("0000000000000000", "0000000000000000"));
    assert!(of("Uid:").starts_with("65534\t"), "{status}");
    service.serves_and_ends();
}

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    let analyze = |words: &[&str]| {
        let output = Command::new("systemd-analyze").args(words).output();
        let output = output.expect("systemd-analyze is installed (Debian package systemd)");
        (output.status.success(), [output.stdout, output.stderr].concat())
    };
    // The program need not be installed here.
    let home = Home::new();
    let unit = fs::read_to_string(UNIT).unwrap().replace("/usr/bin/xferctl", tool().to_str().unwrap());
    let path = home.file("xfer.service", unit);
    let path = path.to_str().unwrap();
    let (taken, said) = analyze(&["verify", "--man=no", path]);
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(taken && !said.contains("xfer.service"), "{said}");
    let (low, said) = analyze(&["security", "--offline=true", "--threshold=20", "--no-pager", path]);
    let said = String::from_utf8_lossy(&said).into_owned();
    println!("{}", said.lines().last().unwrap_or_default());
    assert!(low, "{said}");
}

#[test]
fn a_link_file_is_whole_and_new_with_each_start() {
    let home = Home::new();
    let (root, file) = (home.directory("root"), home.file("link", "old"));
    let words: Vec<&OsStr> = vec![
        "serve".as_ref(),
        "--listen".as_ref(),
        "127.0.0.1:0".as_ref(),
        "--root".as_ref(),
        root.as_ref(),
        "--link-file".as_ref(),
        file.as_ref(),
    ];
    let mut node = home.spawn(&words);
    let started = Instant::now();
    while fs::read_to_string(&file).unwrap() == "old" {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    let link = fs::read_to_string(&file).unwrap();
    assert!(link.starts_with("xfer://") && link.ends_with('\n'), "{link}");
    home.run(&["ls", link.trim()]).code(0);
    signal(&node, "TERM");
    assert!(wait(&mut node).success());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut node.stdout.take().unwrap(), &mut said).unwrap();
    assert_eq!(said, "", "the link is a secret, and the journal no place for it");
}
