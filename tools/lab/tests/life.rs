//! The life of a lab: up, cut, restored, down, and what users see of it. As root, in namespaces of its own.

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{connect, lab, pair, passes, receive, round_trip, socket, wires};
use xfer_lab::{Config, Cut, Lab, LabError, WireKind, WireShape};

const SHORT: Duration = Duration::from_millis(100);

fn emulated() -> WireShape {
    WireShape { delay_ns: 1_000_000, ..WireShape::default() }
}

fn namespaces() -> String {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn carrier(lab: &Lab, host: &str, wire: usize) -> bool {
    let interface = format!("x{wire}");
    let output = lab.host(host).command("ip").args(["-o", "link", "show", &interface]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).contains("LOWER_UP")
}

/// Cuts and mends wire 1 of `lab` in both ways; wire 2 goes on working all the time.
fn cuts_and_restores(lab: &Lab) {
    let (ours, theirs) = pair(lab, 1);
    let (other_ours, other_theirs) = pair(lab, 2);
    for cut in [Cut::Blackhole, Cut::Carrier] {
        assert!(passes(&ours, &theirs, Duration::from_secs(5)));
        lab.cut(1, None, cut).unwrap();
        assert!(!passes(&ours, &theirs, SHORT) && !passes(&theirs, &ours, SHORT), "{cut:?}");
        assert_eq!(carrier(lab, "a", 1), cut == Cut::Blackhole);
        assert_eq!(carrier(lab, "b", 1), cut == Cut::Blackhole);
        round_trip((&other_ours, &other_theirs));
        lab.cut(1, None, Cut::Blackhole).unwrap();
        lab.restore(1).unwrap();
        lab.restore(1).unwrap();
        assert!(carrier(lab, "a", 1) && carrier(lab, "b", 1));
        round_trip((&ours, &theirs));
    }
    let (a, b) = (lab.host("a"), lab.host("b"));
    let (ours, theirs) = (socket(&a, a.ipv6(1)), socket(&b, b.ipv6(1)));
    connect(&ours, &theirs);
    round_trip((&ours, &theirs));
}

#[test]
fn emulated_wires_are_cut_and_restored() {
    cuts_and_restores(&lab("cut-e", wires(2, emulated())));
}

#[test]
fn bare_wires_are_cut_and_restored() {
    cuts_and_restores(&lab("cut-b", wires(2, WireShape::default())));
}

#[test]
fn bridged_wires_are_cut_and_restored() {
    cuts_and_restores(&lab("cut-h", Config { hosts: 3, ..wires(2, WireShape::default()) }));
}

#[test]
fn what_is_under_way_is_lost_with_the_wire() {
    let lab = lab("flight", wires(1, WireShape { delay_ns: 300_000_000, ..WireShape::default() }));
    let (ours, theirs) = pair(&lab, 1);
    ours.send(b"lost").unwrap();
    lab.cut(1, None, Cut::Blackhole).unwrap();
    lab.restore(1).unwrap();
    ours.send(b"next").unwrap();
    let mut buffer = [0; 8];
    let len = receive(&theirs, &mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"next");
    let directions = lab.info().unwrap().emulator.unwrap().directions;
    assert!(directions.iter().find(|one| one.from == "b").unwrap().lost_towards >= 1);
}

#[test]
fn one_direction_can_be_cut_alone() {
    let lab = lab("oneway", wires(1, emulated()));
    let (ours, theirs) = pair(&lab, 1);
    lab.cut(1, Some("a"), Cut::Blackhole).unwrap();
    assert!(!passes(&ours, &theirs, SHORT));
    assert!(passes(&theirs, &ours, Duration::from_secs(5)));
}

#[test]
fn three_hosts_meet_on_one_wire() {
    for (name, shape) in [("three-b", WireShape::default()), ("three-e", emulated())] {
        let lab = lab(name, Config { hosts: 3, ..wires(1, shape) });
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "a")] {
            let (from, to) = (lab.host(from), lab.host(to));
            let (ours, theirs) = (socket(&from, from.ipv4(1)), socket(&to, to.ipv4(1)));
            connect(&ours, &theirs);
            round_trip((&ours, &theirs));
        }
    }
}

#[test]
fn a_command_runs_on_its_host_with_its_home() {
    let lab = lab("exec", wires(1, WireShape::default()));
    for letter in ["a", "b"] {
        let host = lab.host(letter);
        let script = "echo $HOME $XDG_STATE_HOME; test -d $XDG_RUNTIME_DIR && cat /proc/sys/net/ipv6/conf/x1/accept_dad; exit 7";
        let output = host.command("sh").args(["-c", script]).output().unwrap();
        let home = host.home();
        let expected = format!("{0} {0}/.local/state\n0\n", home.display());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
        assert_eq!(output.status.code(), Some(7));
    }
    assert_ne!(lab.host("a").home(), lab.host("b").home());
    assert!(matches!(lab.find_host("c"), Err(LabError::NoHost { .. })));
}

#[test]
fn down_leaves_nothing() {
    let lab = lab("down", wires(2, emulated()));
    let (name, home) = (lab.name().to_string(), lab.host("a").home());
    assert!(namespaces().contains(&format!("xfer-{name}-a")) && home.is_dir());
    let pid = lab.info().unwrap().emulator.unwrap().pid;
    let mut left = lab.host("a").command("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
    // Only once it is the program itself has it entered the namespace.
    let entered = || std::fs::read_to_string(format!("/proc/{}/comm", left.id())).unwrap().trim() == "sleep";
    while !entered() {
        std::thread::yield_now();
    }
    drop(lab);
    assert!(!namespaces().contains(&format!("xfer-{name}-")) && !home.exists());
    assert!(!left.wait().unwrap().success(), "what ran on the host is ended");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    Lab::down(&name).expect("nothing to clear is no error");
}

#[test]
fn down_clears_what_a_crash_left() {
    let lab = lab("crash", wires(1, emulated()));
    let name = lab.name().to_string();
    let pid = lab.info().unwrap().emulator.unwrap().pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    std::fs::remove_file(lab.host("a").home().with_file_name("lab.json")).unwrap();
    assert!(matches!(Lab::open(&name), Err(LabError::NotUp { .. })));
    drop(lab);
    assert!(!namespaces().contains(&name));
}

#[test]
fn a_name_is_taken_once_and_bare_wires_have_no_shape() {
    let lab = lab("twice", wires(1, WireShape::default()));
    let again = Config { name: lab.name().into(), ..Config::default() };
    assert!(matches!(Lab::up(&again), Err(LabError::IsUp { .. })));
    let (ours, theirs) = pair(&lab, 1);
    round_trip((&ours, &theirs));
    assert!(matches!(lab.set(1, None, &emulated()), Err(LabError::Bare { wire: 1, .. })));
    for wire in [0, 2] {
        assert!(matches!(lab.restore(wire), Err(LabError::NoWire { .. })));
    }
    assert_eq!(lab.info().unwrap().wires[0].kind, WireKind::Bare);
}

#[test]
fn the_program_does_it_all_by_hand() {
    let name = format!("t{}-cli", std::process::id());
    let run = |arguments: &[&str]| {
        let (verb, rest) = arguments.split_first().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        let output = command.args([verb, "--name", &name]).args(rest).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let start = Instant::now();
    let up =
        run(&["up", "--wires", "2", "--rate", "1Gbit", "--delay", "25ms", "--loss", "1%", "--queue", "BDP"]);
    assert_eq!(up.0, Some(0), "{}", up.2);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(run(&["exec", "a", "--", "sh", "-c", "exit 3"]).0, Some(3));
    assert_eq!(run(&["set", "1", "--loss", "2%", "--rate", "none"]).0, Some(0));
    assert_eq!(run(&["cut", "2", "--carrier"]).0, Some(0));
    let info: serde_json::Value = serde_json::from_str(&run(&["info", "--json"]).1).unwrap();
    let directions = info["emulator"]["directions"].as_array().unwrap();
    assert_eq!((directions.len(), info["hosts"][1]["addresses"][0].as_str()), (4, Some("10.77.1.2")));
    let shape = &directions[0]["shape"];
    assert_eq!((shape["loss"].as_f64(), shape["delay_ns"].as_u64()), (Some(0.02), Some(25_000_000)));
    assert!(
        shape["rate_bps"].is_null() && directions[2]["cut"] == "carrier" && directions[0]["cut"].is_null()
    );
    assert_eq!(run(&["restore", "2"]).0, Some(0));
    assert_eq!(run(&["down"]).0, Some(0));
    let (status, _, words) = run(&["info"]);
    assert_eq!((status, words.contains("is not up")), (Some(1), true));
    for wrong in
        [&["up", "--rate", "1000"][..], &["up", "--hosts", "1"], &["cut", "1", "--carrier", "--blackhole"]]
    {
        assert_eq!(run(wrong).0, Some(2), "{wrong:?}");
    }
}

/// Runs a script in a root directory that is no mount point, as a chroot's usually is: an empty folder into which
/// everything of this root is mounted. Where this root is such a one itself, it has no propagation to change.
const CHROOT: &str = r#"
while read -r _ _ _ _ point _; do
    mount --make-private "$point" 2>/dev/null || true
done < /proc/self/mountinfo
for entry in /*; do
    if [ -L "$entry" ]; then
        cp -P "$entry" "$ROOT/"
    elif [ -d "$entry" ]; then
        mkdir "$ROOT$entry"
        mount --rbind "$entry" "$ROOT$entry"
    fi
done
exec chroot "$ROOT" /bin/sh -euc "$SCRIPT"
"#;

#[test]
fn a_lab_works_in_a_chroot() {
    let name = format!("t{}-chroot", std::process::id());
    let root = std::env::temp_dir().join(format!("xfer-lab-{name}"));
    std::fs::create_dir(&root).unwrap();
    let script = r#"
        trap '"$LAB" down --name "$NAME"' EXIT
        "$LAB" up --name "$NAME" --wires 2
        "$LAB" cut --name "$NAME" 1
        "$LAB" restore --name "$NAME" 1
        "$LAB" exec --name "$NAME" b -- ip -o addr show x2
    "#;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "unchanged", "sh", "-euc", CHROOT])
        .env("ROOT", &root)
        .env("SCRIPT", script);
    let output = command.env("NAME", &name).env("LAB", env!("CARGO_BIN_EXE_lab")).output().unwrap();
    for entry in std::fs::read_dir(&root).unwrap().flatten() {
        // The mounts went with the namespace; a folder that is not empty would be one that did not.
        let path = entry.path();
        if path.is_symlink() { std::fs::remove_file(path) } else { std::fs::remove_dir(path) }.unwrap();
    }
    std::fs::remove_dir(&root).unwrap();
    let (words, shown) =
        (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(output.status.success() && shown.contains("10.77.2.2/24"), "{shown}{words}");
    assert!(!namespaces().contains(&name));
}

#[test]
fn without_root_the_error_says_so() {
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_lab"), "up"])
        .output();
    let output = output.expect("setpriv is part of util-linux");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && words.contains("needs root"), "{words}");
}
