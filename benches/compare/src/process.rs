//! Programs on the two hosts. What serves runs in a PID namespace of its own, so that nothing which it started outlives it;
//! what is timed is started with nothing in between.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::account::{self, Cost};
use crate::failure::{Doing, Failure, Outcome};
use crate::limits::{CAUSE_CHARS_MAX, READY_POLL, READY_TIMEOUT, SAMPLE_EVERY};
use crate::line::Line;
use crate::stage::Side;

/// How one sees that a serving program can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// It listens at this TCP port.
    Tcp(u16),
    /// It has a socket at this UDP port.
    Udp(u16),
    /// It has written a line.
    Line,
}

/// A program that serves on host b.
pub(crate) struct Server {
    child: Child,
    /// Its standard output and error.
    logs: [PathBuf; 2],
    name: String,
}

impl Server {
    /// Starts `line` in `side`'s network on its core and waits until it is ready. Its output goes to files `log`.out and
    /// `log`.err.
    pub(crate) fn start(side: &Side, line: &Line, ready: &Ready, log: &Path) -> Outcome<Server> {
        let name = line.words()[0].clone();
        let mut command = side.host.command("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child=KILL"]);
        command.args(["taskset", "-c", &side.core.to_string()]).args(line.words());
        let logs = ["out", "err"].map(|end| log.with_extension(end));
        let make = |path: &PathBuf| File::create(path).doing(format_args!("make {}", path.display()));
        command.stdin(Stdio::null()).stdout(make(&logs[0])?).stderr(make(&logs[1])?).process_group(0);
        let child = command.spawn().doing(format_args!("start {name}"))?;
        let mut server = Server { child, logs, name };
        server.wait_ready(side, ready)?;
        Ok(server)
    }

    fn wait_ready(&mut self, side: &Side, ready: &Ready) -> Outcome {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let is_ready = match ready {
                Ready::Tcp(port) => side.listens("tcp", *port)?,
                Ready::Udp(port) => side.listens("udp", *port)?,
                Ready::Line => self.output().contains('\n'),
            };
            if is_ready {
                return Ok(());
            }
            let ended = self.child.try_wait().doing(format_args!("wait for {}", self.name))?;
            if let Some(status) = ended {
                let cause = self.last_words();
                return Err(Failure::new(format!("{} {}: {cause}", self.name, told(status))));
            }
            if Instant::now() > deadline {
                let cause = self.last_words();
                return Err(Failure::new(format!(
                    "{} is not ready after {READY_TIMEOUT:?}: {cause}",
                    self.name
                )));
            }
            std::thread::sleep(READY_POLL);
        }
    }

    /// All that it has written to its standard output so far.
    pub(crate) fn output(&self) -> String {
        text_of(&self.logs[0])
    }

    fn last_words(&self) -> String {
        last_words(&(self.output() + &text_of(&self.logs[1])))
    }

    /// What it and all that it started have cost so far.
    pub(crate) fn cost(&self) -> Cost {
        account::below(self.child.id())
    }

    /// Waits for its own end, which must be a success.
    pub(crate) fn wait_end(&mut self, deadline: Instant) -> Outcome {
        let child = &mut self.child;
        let ended = watched(child.id(), deadline, SAMPLE_EVERY, |_| {}, || child.wait());
        let status = ended.0.doing(format_args!("wait for {}", self.name))?;
        if ended.1 {
            return Err(Failure::new(format!("{} did not end in time", self.name)));
        }
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("{} {}: {}", self.name, told(status), self.last_words())))
    }
}

impl Drop for Server {
    /// Ends the first process of its namespace, with which all others end, and waits for that.
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let first = account::children(self.child.id());
        for pid in &first {
            // One that ended meanwhile needs no signal.
            kill(Pid::from_raw(*pid as i32), Signal::SIGKILL).unwrap_or_default();
        }
        if first.is_empty() {
            self.child.kill().unwrap_or_default();
        }
        if let Err(error) = self.child.wait() {
            eprintln!("compare: cannot wait for {}: {error}", self.name);
        }
    }
}

/// How a timed program went.
pub(crate) struct Ran {
    pub(crate) started: Instant,
    pub(crate) wall: Duration,
    /// When `watch` was first true.
    pub(crate) seen: Option<Duration>,
    pub(crate) cost: Cost,
    /// It was ended because its time was over.
    pub(crate) cut: bool,
    pub(crate) output: String,
}

/// A program to time.
pub(crate) struct Timed<'a> {
    pub(crate) line: &'a Line,
    /// Its standard output and error go to files in this directory.
    pub(crate) dir: &'a Path,
    /// How long it may take; it is ended then.
    pub(crate) limit: Duration,
    /// How often memory is sampled and `watch` is asked.
    pub(crate) every: Duration,
    /// Asked during the run until it is true.
    pub(crate) watch: &'a (dyn Fn() -> bool + Sync),
}

impl Timed<'_> {
    /// Runs it on `side` to its end.
    ///
    /// # Errors
    /// It could not be started, or ended with another status than 0 although it had time.
    pub(crate) fn run(&self, side: &Side) -> Outcome<Ran> {
        let name = &self.line.words()[0];
        let mut command = self.command(side)?;
        let before = account::ended_children_s();
        let core = side.core;
        let spawn = || {
            // For this thread, and so for the program that it starts.
            let mut set = CpuSet::new();
            set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).doing("pin a thread")?;
            let started = Instant::now();
            let child = command.spawn().doing(format_args!("start {name}"))?;
            Ok((started, child))
        };
        let (started, mut child) = side.host.enter(spawn).doing("enter a host")??;
        let (mut seen, mut rss_kib) = (None, 0);
        let pid = child.id();
        let sample = |at: Instant| {
            if seen.is_none() && (self.watch)() {
                seen = Some(at.duration_since(started));
            }
            rss_kib = rss_kib.max(account::resident_peak_kib(pid));
        };
        let (status, cut) = watched(pid, started + self.limit, self.every, sample, || child.wait());
        let status = status.doing(format_args!("wait for {name}"))?;
        let wall = started.elapsed();
        // What the program left of its group, a pipeline that was cut for example; there may be nothing.
        killpg(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap_or_default();
        let cost = Cost { cpu_s: account::ended_children_s() - before, rss_kib };
        let output = text_of(&self.dir.join("client.out"));
        if !cut && !status.success() {
            let said = format!("{output}\n{}", text_of(&self.dir.join("client.err")));
            return Err(Failure::new(format!("{name} {}: {}", told(status), last_words(&said))));
        }
        Ok(Ran { started, wall, seen, cost, cut, output })
    }

    fn command(&self, side: &Side) -> Outcome<Command> {
        let [program, arguments @ ..] = self.line.words() else {
            return Err(Failure::new("an empty command"));
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.dir).stdin(Stdio::null()).process_group(0);
        let surroundings = side.host.command("true");
        for (key, value) in surroundings.get_envs() {
            command.env(key, value.unwrap_or_default());
        }
        let file = |name: &str| File::create(self.dir.join(name)).doing(format_args!("make {name}"));
        command.stdout(file("client.out")?).stderr(file("client.err")?);
        Ok(command)
    }
}

/// Blocks in `wait` while another thread samples every so often, and ends the process group `pid` at `deadline`. Gives
/// what `wait` gave, and whether the deadline came first.
fn watched<T>(
    pid: u32,
    deadline: Instant,
    every: Duration,
    sample: impl FnMut(Instant) + Send,
    wait: impl FnOnce() -> T,
) -> (T, bool) {
    std::thread::scope(|scope| {
        let (ended, end) = channel::<()>();
        let watcher = scope.spawn(move || watch(pid, deadline, every, sample, &end));
        let result = wait();
        drop(ended);
        let cut = watcher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (result, cut)
    })
}

fn watch(
    pid: u32,
    deadline: Instant,
    every: Duration,
    mut sample: impl FnMut(Instant),
    end: &Receiver<()>,
) -> bool {
    let mut cut = false;
    loop {
        let waited = end.recv_timeout(every);
        let now = Instant::now();
        sample(now);
        if waited != Err(RecvTimeoutError::Timeout) {
            return cut;
        }
        if now >= deadline && !cut {
            cut = true;
            killpg(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap_or_default();
        }
    }
}

/// What a program has written; nothing where the file is gone.
fn text_of(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The last line of a program's output, shortened.
pub(crate) fn last_words(output: &str) -> String {
    let line = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim();
    line.chars().take(CAUSE_CHARS_MAX).collect()
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
