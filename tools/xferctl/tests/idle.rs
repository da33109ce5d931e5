//! What a node costs that has nothing to do, and a transfer that waits for somebody: processor time and wake-ups of all threads.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::{Home, content};

const MIB: usize = 1 << 20;
/// How long is watched.
const SPAN: Duration = Duration::from_secs(3);
/// A moment after which what came before has settled.
const SETTLED: Duration = Duration::from_millis(500);

/// Processor time and voluntary context switches of all threads of a process.
#[derive(Clone, Copy, Debug)]
struct Used {
    cpu: Duration,
    wakes: u64,
}

impl Used {
    fn so_far(process: u32) -> Used {
        let (mut cpu, mut wakes) = (0, 0);
        for thread in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let thread = thread.unwrap().path();
            // A thread may end meanwhile.
            let (Ok(times), Ok(status)) =
                (fs::read_to_string(thread.join("schedstat")), fs::read_to_string(thread.join("status")))
            else {
                continue;
            };
            cpu += times.split_whitespace().next().unwrap().parse::<u64>().unwrap();
            let count =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
            wakes += count.trim().parse::<u64>().unwrap();
        }
        Used { cpu: Duration::from_nanos(cpu), wakes }
    }

    /// Of the next seconds: percent of a core, and wake-ups a second.
    fn watch(what: &str, processes: &[u32]) -> Vec<(f64, f64)> {
        std::thread::sleep(SETTLED);
        let before: Vec<Used> = processes.iter().map(|process| Used::so_far(*process)).collect();
        let start = Instant::now();
        std::thread::sleep(SPAN);
        let took = start.elapsed().as_secs_f64();
        let each = processes.iter().zip(before).map(|(process, before)| {
            let now = Used::so_far(*process);
            let cpu = now.cpu.saturating_sub(before.cpu).as_secs_f64() / took * 100.0;
            (cpu, now.wakes.saturating_sub(before.wakes) as f64 / took)
        });
        let each: Vec<(f64, f64)> = each.collect();
        println!("{what}: percent of a core and wake-ups a second {each:.3?}");
        each
    }
}

#[track_caller]
fn assert_idle(used: &[(f64, f64)]) {
    assert!(used.iter().all(|(cpu, wakes)| *cpu <= 0.1 && *wakes <= 10.0), "{used:?}");
}

#[track_caller]
fn assert_waits(used: &[(f64, f64)]) {
    assert!(used.iter().all(|(cpu, _)| *cpu <= 1.0), "{used:?}");
}

fn piped(home: &Home, words: &[&str]) -> Child {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_xferctl"));
    command.env_clear().env("HOME", home.dir.path()).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_node_without_work_sleeps() {
    let home = Home::new();
    let file = home.file("f", content(MIB, 41)).to_str().unwrap().to_owned();
    let node = home.serve(&home.directory("root"));
    assert_idle(&Used::watch("a node that was just started", &[node.id()]));
    home.run(&["cp", &file, &node.at("up")]).code(0);
    assert_idle(&Used::watch("a node after a transfer", &[node.id()]));
}

#[test]
fn a_transfer_that_waits_for_its_source_sleeps() {
    let home = Home::new();
    let node = home.serve(&home.directory("root"));
    let mut client = piped(&home, &["cp", "-q", "-", &node.at("up")]);
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(&content(MIB, 42)).unwrap();
    assert_waits(&Used::watch("silent standard input, client and node", &[client.id(), node.id()]));
    drop(stdin);
    assert!(support::wait(&mut client).success());
}

#[test]
fn a_transfer_that_waits_for_its_sink_sleeps() {
    let home = Home::new();
    home.file("root/f", content(48 * MIB, 43));
    let node = home.serve(&home.path("root"));
    let mut client = piped(&home, &["cp", "-q", &node.at("f"), "-"]);
    let mut stdout = client.stdout.take().unwrap();
    stdout.read_exact(&mut vec![0; MIB]).unwrap();
    assert_waits(&Used::watch("unread standard output, client and node", &[client.id(), node.id()]));
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    assert!(support::wait(&mut client).success() && rest.len() == 47 * MIB);
}

/// It is found dead after ten seconds; until then the node probes.
#[test]
fn a_transfer_that_waits_for_its_peer_sleeps() {
    let home = Home::new();
    home.file("root/f", content(48 * MIB, 44));
    let node = home.serve(&home.path("root"));
    let mut client = piped(&home, &["cp", "-q", "--rate", "64Mbit", &node.at("f"), "-"]);
    let mut stdout = client.stdout.take().unwrap();
    stdout.read_exact(&mut vec![0; MIB]).unwrap();
    support::signal(&client, "STOP");
    assert_waits(&Used::watch("a stopped peer", &[node.id()]));
    client.kill().unwrap();
    client.wait().unwrap();
}
