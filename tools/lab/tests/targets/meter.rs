//! Bytes that arrive at host a, wire by wire, sampled beside a copy.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use xfer_lab::Lab;

/// Bytes of the kernel's table of interfaces that are read.
const TABLE_BYTES: usize = 8_192;

/// One look at the counters of all wires.
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// Bytes received since the interface was made, wire by wire.
    pub(crate) bytes: Vec<u64>,
}

/// Takes samples until it is stopped.
pub(crate) struct Meter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Meter {
    /// Samples the interfaces of host a on `wires` wires, so often.
    pub(crate) fn start(lab: &Lab, wires: usize, every: Duration) -> Meter {
        // The file shows the interfaces of the namespace in which it was opened.
        let table = lab.host("a").enter(|| File::open("/proc/thread-self/net/dev")).unwrap().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !told.load(Ordering::Relaxed) {
                samples.push(look(&table, wires));
                std::thread::sleep(every);
            }
            samples
        });
        Meter { stop, thread }
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the meter measures")
    }
}

fn look(table: &File, wires: usize) -> Sample {
    let mut text = [0; TABLE_BYTES];
    let len = table.read_at(&mut text, 0).unwrap();
    let at = Instant::now();
    let text = std::str::from_utf8(&text[..len]).unwrap();
    let received = |wire: usize| {
        let mark = format!("x{wire}:");
        let line = text.lines().find_map(|line| line.trim().strip_prefix(&mark)).expect("the interface");
        line.split_whitespace().next().and_then(|first| first.parse().ok()).expect("a counter")
    };
    Sample { at, bytes: (1..=wires).map(received).collect() }
}

/// Bytes a second over each span of at least this length: one entry for each sample that ends a span, with the times of its ends.
pub(crate) fn spans(samples: &[Sample], wire: usize, span: Duration) -> Vec<(Instant, Instant, f64)> {
    let mut rates = Vec::new();
    let mut first = 0;
    for last in samples {
        // The latest sample that lies a whole span back.
        while samples.get(first + 1).is_some_and(|next| last.at.saturating_duration_since(next.at) >= span) {
            first += 1;
        }
        let from = &samples[first];
        let took = last.at.saturating_duration_since(from.at);
        if took >= span {
            let bytes = last.bytes[wire - 1] - from.bytes[wire - 1];
            rates.push((from.at, last.at, bytes as f64 / took.as_secs_f64()));
        }
    }
    rates
}
