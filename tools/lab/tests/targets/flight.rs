//! A copy under way: when it said what of its progress, and its end.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// No copy takes longer.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL_EVERY: Duration = Duration::from_millis(1);

/// A line of the copy's standard output and when it came.
type Said = (Instant, Value);

/// A copy under way. Dropped, it is killed, and what it wrote is removed.
pub(crate) struct Flight {
    child: Child,
    said: Arc<Mutex<Vec<Said>>>,
    reader: Option<JoinHandle<()>>,
    pub(crate) started: Instant,
    out: PathBuf,
}

impl Flight {
    pub(crate) fn start(mut command: Command, out: PathBuf) -> Flight {
        let started = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (lines, sink) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::clone(&said));
        let reader = std::thread::spawn(move || {
            for line in lines {
                let value = serde_json::from_str(&line.unwrap()).expect("every line is JSON");
                sink.lock().unwrap().push((Instant::now(), value));
            }
        });
        Flight { child, said, reader: Some(reader), started, out }
    }

    /// Where it writes.
    pub(crate) fn out(&self) -> &Path {
        &self.out
    }

    /// Waits until `at`, or until the copy ended.
    pub(crate) fn until(&mut self, at: Instant) {
        while Instant::now() < at && self.child.try_wait().unwrap().is_none() {
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Content bytes a second that arrived between these two times from its start, of the lines that it said then.
    pub(crate) fn rate(&self, from: Duration, until: Duration) -> f64 {
        let said = self.said.lock().unwrap();
        let progress: Vec<(Duration, u64)> = said
            .iter()
            .filter(|(_, line)| line["type"] == "progress")
            .map(|(at, line)| (*at - self.started, path_bytes(line)))
            .filter(|(at, _)| (from..=until).contains(at))
            .collect();
        let (Some(first), Some(last)) = (progress.first(), progress.last()) else {
            panic!("no progress between {from:?} and {until:?}")
        };
        assert!(last.0 - first.0 > (until - from) / 2, "progress was told for {:?} only", last.0 - first.0);
        (last.1 - first.1) as f64 / (last.0 - first.0).as_secs_f64()
    }

    /// Waits for the end, which must be a success; gives the time from its start and its last line.
    pub(crate) fn finish(mut self) -> (Duration, Value) {
        self.until(Instant::now() + PATIENCE);
        let took = self.started.elapsed();
        let status = self.child.try_wait().unwrap().expect("the copy ends in time");
        self.reader.take().map(JoinHandle::join).expect("it reads").expect("it read");
        let said = self.said.lock().unwrap();
        let last = said.last().expect("it said something").1.clone();
        assert!(status.success(), "{last}");
        assert_eq!(
            (last["type"].as_str(), last["verified"].as_bool()),
            (Some("summary"), Some(true)),
            "{last}"
        );
        (took, last)
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

fn path_bytes(line: &Value) -> u64 {
    line["paths"].as_array().unwrap().iter().map(|path| path["bytes"].as_u64().unwrap()).sum()
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().and_then(|()| self.child.wait().map(drop)).expect("the copy ends");
        }
        for left in [&self.out, &self.out.with_file_name(".xfer-partial")] {
            let removed =
                if left.is_dir() { std::fs::remove_dir_all(left) } else { std::fs::remove_file(left) };
            assert!(removed.is_ok() || !left.exists(), "{left:?} stays");
        }
    }
}
