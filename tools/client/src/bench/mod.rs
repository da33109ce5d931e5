//! A benchmark between the memory of this machine and that of a node: from the request to the summary.
//!
//! In: a node that `xferctl bench serve` runs, and options. Out: events while it runs, a summary when it ended. There are no retries: a
//! benchmark that lost its peer measured nothing.

mod calls;
mod leg;
mod options;
mod summary;

pub use options::{BenchEvent, BenchOptions, BenchRequest, Interval, Mode};
pub use summary::{BenchSummary, Direction, End, MessageLatency};

use crate::client::Client;
use crate::copy::{engine_config, interrupted};
use crate::limits::{BENCH_DRAIN_MAX, BENCH_DRAIN_USUAL, CANCEL_PATIENCE, ENGINE_STOP, TICK};
use leg::Running;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use xfer_engine::{Class, Engine, Error, Progress};

/// What a user is told who has to wait.
const SLOW_DRAIN: &str = "the time is over, but not all that was sent in it has arrived; smaller chunks (--chunk 64KiB) make that wait shorter";

/// Runs a benchmark to its end. What fails after the request was understood is in the summary.
///
/// # Errors
/// `Usage`: options that contradict each other or are beyond their bounds; nothing was done.
pub fn bench(request: &BenchRequest, tell: &mut dyn FnMut(BenchEvent)) -> Result<BenchSummary, Error> {
    request.options.check()?;
    let engine = match Engine::start(engine_config(&request.options.how)) {
        Ok(engine) => engine,
        Err(error) => return Ok(BenchSummary::of_nothing(error)),
    };
    let summary = match start(request, &engine, tell) {
        Ok(running) => {
            Bench { request, running, stopping: None, since: None, told: None, intervals: 0 }.run(tell)
        }
        Err(error) => BenchSummary::of_nothing(error),
    };
    engine.shut_down(ENGINE_STOP);
    Ok(summary)
}

/// Gets the tickets and starts each direction.
fn start(
    request: &BenchRequest,
    engine: &Engine,
    tell: &mut dyn FnMut(BenchEvent),
) -> Result<Vec<Running>, Error> {
    let client = connect(request)?;
    tell(BenchEvent::Decision(format!("control over {}", client.remote())));
    let ends: &[End] = match request.options.mode {
        Mode::Send | Mode::Messages => &[End::Client],
        Mode::Receive => &[End::Node],
        Mode::Both => &[End::Client, End::Node],
    };
    // A direction that was started ends with its engine when the next one cannot be.
    ends.iter().map(|sender| Running::start(request, engine, &client, *sender, tell)).collect()
}

fn connect(request: &BenchRequest) -> Result<Client, Error> {
    Client::of(&request.node, request.options.how.connect_timeout)
}

/// What was accepted at the last look.
struct Told {
    at: Instant,
    sent: u64,
    received: u64,
}

/// A benchmark in progress.
struct Bench<'a> {
    request: &'a BenchRequest,
    running: Vec<Running>,
    /// It was told to end: when, and why.
    stopping: Option<(Instant, Error)>,
    /// When the engines were connected.
    since: Option<Instant>,
    told: Option<Told>,
    /// Those that are over.
    intervals: u32,
}

impl Bench<'_> {
    fn run(mut self, tell: &mut dyn FnMut(BenchEvent)) -> BenchSummary {
        self.until_the_end(tell);
        self.summary(tell)
    }

    fn until_the_end(&mut self, tell: &mut dyn FnMut(BenchEvent)) {
        let time_over = Instant::now() + self.request.options.time;
        let overdue = time_over + BENCH_DRAIN_MAX;
        let mut patient = true;
        loop {
            let until = self.next_interval().min(Instant::now() + TICK);
            for at in 0..self.running.len() {
                // One wait is enough: the others' events are there by then.
                let until = if at == 0 { until } else { Instant::now() };
                self.running[at].events(until, tell);
            }
            let now = Instant::now();
            if self.since.is_none() && self.running.iter().all(Running::is_connected) {
                self.since = Some(now);
                self.told = Some(self.look(now));
            }
            if self.running.iter().all(Running::has_ended) {
                return self.tell_rest(now, tell);
            }
            if self.since.is_some() && now >= self.next_interval() {
                self.tell_interval(now, tell);
                while now >= self.next_interval() {
                    self.intervals += 1;
                }
            }
            if patient && now >= time_over + BENCH_DRAIN_USUAL && self.stopping.is_none() {
                patient = false;
                tell(BenchEvent::Warning(SLOW_DRAIN.to_owned()));
            }
            match &self.stopping {
                None => self.stopping = self.has_to_stop(now >= overdue).map(|why| (now, why)),
                Some((since, _)) if now.duration_since(*since) >= CANCEL_PATIENCE => return,
                Some(_) => {}
            }
        }
    }

    /// Why it has to end now, if it has to; then all directions are told.
    fn has_to_stop(&self, overdue: bool) -> Option<Error> {
        let failed = self.running.iter().find_map(Running::error);
        let why = if let Some(error) = failed {
            error
        } else if self.request.cancel.load(Ordering::Relaxed) {
            Error { causes: Vec::new(), ..interrupted() }
        } else if overdue {
            Error::new(Class::Temporary, "what was sent in time did not arrive in five minutes more")
        } else {
            return None;
        };
        self.running.iter().for_each(|running| running.cancel(&why.message));
        Some(why)
    }

    /// When the present interval is over.
    fn next_interval(&self) -> Instant {
        let step = self.request.options.interval.checked_mul(self.intervals + 1);
        let next = self.since.zip(step).and_then(|(since, step)| since.checked_add(step));
        next.unwrap_or_else(|| Instant::now() + TICK)
    }

    /// Tells the interval in which it ended, unless that is hardly one.
    fn tell_rest(&mut self, now: Instant, tell: &mut dyn FnMut(BenchEvent)) {
        let rest = self.told.as_ref().map_or(Duration::ZERO, |told| now.duration_since(told.at));
        if rest >= self.request.options.interval / 2 {
            self.tell_interval(now, tell);
        }
    }

    fn look(&self, at: Instant) -> Told {
        let bytes = |sender| self.of(sender).map_or(0, |running| running.progress().bytes);
        Told { at, sent: bytes(End::Client), received: bytes(End::Node) }
    }

    fn of(&self, sender: End) -> Option<&Running> {
        self.running.iter().find(|running| running.sender == sender)
    }

    fn tell_interval(&mut self, now: Instant, tell: &mut dyn FnMut(BenchEvent)) {
        let (Some(since), Some(before)) = (self.since, &self.told) else { return };
        let told = self.look(now);
        let between = |sender, before: u64, now: u64| self.of(sender).map(|_| now.saturating_sub(before));
        let interval = Interval {
            from: before.at.duration_since(since),
            to: now.duration_since(since),
            sent: between(End::Client, before.sent, told.sent),
            received: between(End::Node, before.received, told.received),
            progress: together(self.running.iter().map(Running::progress)),
        };
        self.told = Some(told);
        tell(BenchEvent::Interval(Box::new(interval)));
    }

    fn summary(self, tell: &mut dyn FnMut(BenchEvent)) -> BenchSummary {
        let Bench { request, running, stopping, .. } = self;
        let ended = running.iter().all(Running::has_ended);
        // What was asked to end ended for that reason, unless it was done before it heard.
        let failed = running.iter().find_map(Running::error);
        let error = match (failed, stopping) {
            (None, _) if ended => None,
            (failed, stopping) => stopping.map(|(_, why)| why).or(failed),
        };
        let there = match error {
            None => node_ends(request, &running, tell),
            Some(_) => vec![None; running.len()],
        };
        let latency = running.iter().find_map(Running::latency);
        let verified = error.is_none() && running.iter().all(Running::verified);
        let legs: Vec<_> = running.into_iter().zip(there).map(|(leg, there)| leg.into_leg(there)).collect();
        BenchSummary { latency, verified, error, ..BenchSummary::new(&legs) }
    }
}

/// What the node's ends took, asked on a new connection: the first one was not driven meanwhile.
fn node_ends(
    request: &BenchRequest,
    running: &[Running],
    tell: &mut dyn FnMut(BenchEvent),
) -> Vec<Option<xfer_engine::meter::Measured>> {
    let asked = connect(request).and_then(|client| {
        running.iter().map(|running| client.bench(&running.name)).collect::<Result<Vec<_>, _>>()
    });
    match asked {
        Ok(measured) => measured.into_iter().map(Some).collect(),
        Err(error) => {
            tell(BenchEvent::Warning(format!("the node did not tell what it took: {error}")));
            vec![None; running.len()]
        }
    }
}

/// Totals of both directions.
fn together(mut of: impl Iterator<Item = Progress>) -> Progress {
    let first = of.next().unwrap_or_default();
    of.fold(first, |mut sum, next| {
        sum.bytes += next.bytes;
        sum.total_bytes += next.total_bytes;
        sum.wire_bytes += next.wire_bytes;
        sum.retransmitted_bytes += next.retransmitted_bytes;
        sum.paths.extend(next.paths);
        sum
    })
}
