//! The log: how much, in which format, and where to. `tracing` records of this process; PRODUCT.md, "Logs".

use crate::args::{GlobalArgs, LogFormatArg};
use crate::limits::LOG_LINES_WAITING_MAX;
use crate::logfmt::Logfmt;
use crate::output;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, OnceLock};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use xfer_client::{Class, Error};

/// Starts the log of a node or of a command. A node never waits for whoever reads its log: lines that find too many before them are
/// dropped and counted. What is returned is kept until the end, and writes what waits.
///
/// # Errors
/// `--log-file` cannot be opened.
pub(crate) fn start(args: &GlobalArgs, is_node: bool) -> Result<Option<WorkerGuard>, Error> {
    let level = level(args, if is_node { LevelFilter::INFO } else { LevelFilter::WARN });
    let (out, terminal): (Box<dyn Write + Send + Sync>, bool) = match &args.log_file {
        Some(path) => {
            let file = open(path).map_err(|e| {
                let class = e.raw_os_error().map_or(Class::Other, Class::of_errno);
                Error::new(class, "open the log file").object(path.as_os_str().as_encoded_bytes()).because(e)
            })?;
            (Box::new(file), false)
        }
        None => (Box::new(Stderr), io::stderr().is_terminal()),
    };
    let (writer, guard) = if is_node { behind(out) } else { (BoxMakeWriter::new(Mutex::new(out)), None) };
    let colors = terminal && output::colors(args.color);
    let usual_format = if terminal { LogFormatArg::Human } else { LogFormatArg::Logfmt };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colors);
    let layer = match args.log_format.unwrap_or(usual_format) {
        LogFormatArg::Human => layer.with_target(false).with_timer(Clock).boxed(),
        LogFormatArg::Logfmt => layer.event_format(Logfmt).boxed(),
        LogFormatArg::Json => layer.json().flatten_event(true).with_timer(Clock).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(ours(level))).init();
    Ok(guard)
}

/// Crates of others tell what helps to debug them, which is shown only when everything is.
fn ours(level: LevelFilter) -> Targets {
    let others = if level == LevelFilter::TRACE { level } else { LevelFilter::WARN.min(level) };
    let crates = ["xferctl", "xfer_client", "xfer_node", "xfer_engine", "xfer_io", "xfer_proto"];
    Targets::new().with_default(others).with_targets(crates.map(|name| (name, level)))
}

fn open(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn level(args: &GlobalArgs, usual: LevelFilter) -> LevelFilter {
    match (args.quiet, args.verbose) {
        (true, 0) => LevelFilter::ERROR,
        (_, 0) => usual,
        (_, 1) => LevelFilter::INFO.max(usual),
        (_, 2) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

/// The time of a record, as in JSON lines.
struct Clock;

impl tracing_subscriber::fmt::time::FormatTime for Clock {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        w.write_str(&crate::json::timestamp())
    }
}

/// A thread that writes to `out`, and the way to it.
fn behind(out: Box<dyn Write + Send + Sync>) -> (BoxMakeWriter, Option<WorkerGuard>) {
    let lost = Arc::new(OnceLock::new());
    let told = Told { out, lost: lost.clone(), told: 0 };
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LOG_LINES_WAITING_MAX);
    let (writer, guard) = builder.thread_name("log").finish(told);
    // Nothing was written before.
    lost.get_or_init(|| writer.error_counter());
    (BoxMakeWriter::new(writer), Some(guard))
}

/// Writes records, and tells how many could not be.
struct Told<W> {
    out: W,
    lost: Arc<OnceLock<ErrorCounter>>,
    told: usize,
}

impl<W: Write> Write for Told<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        let lost = self.lost.get().map_or(0, ErrorCounter::dropped_lines);
        if lost > self.told {
            tracing::warn!(
                lines = lost - self.told,
                "lines of the log are lost: whoever reads it is too slow"
            );
            self.told = lost;
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Stderr, above the bars.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A log that nobody can read any more stops nothing.
        output::write_stderr(bytes).unwrap_or_default();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
