//! The log: how much, in which format, and where to. `tracing` records of this process; PRODUCT.md, "Logs".

use crate::args::{GlobalArgs, LogFormatArg};
use crate::logfmt::Logfmt;
use crate::output;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use xfer_client::{Class, Error};

/// Starts the log. `usual` is the level without `-q` and `-v`.
///
/// # Errors
/// `--log-file` cannot be opened.
pub(crate) fn start(args: &GlobalArgs, usual: LevelFilter) -> Result<(), Error> {
    let level = level(args, usual);
    let (writer, terminal) = match &args.log_file {
        Some(path) => {
            let file = open(path).map_err(|e| {
                let class = e.raw_os_error().map_or(Class::Other, Class::of_errno);
                Error::new(class, "open the log file").object(path.as_os_str().as_encoded_bytes()).because(e)
            })?;
            (BoxMakeWriter::new(file), false)
        }
        None => (BoxMakeWriter::new(Stderr), io::stderr().is_terminal()),
    };
    let colors = terminal && output::colors(args.color);
    let usual_format = if terminal { LogFormatArg::Human } else { LogFormatArg::Logfmt };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colors);
    let layer = match args.log_format.unwrap_or(usual_format) {
        LogFormatArg::Human => layer.with_target(false).with_timer(Clock).boxed(),
        LogFormatArg::Logfmt => layer.event_format(Logfmt).boxed(),
        LogFormatArg::Json => layer.json().flatten_event(true).with_timer(Clock).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(ours(level))).init();
    Ok(())
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

/// Stderr, above the bars.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Record;

    fn make_writer(&'a self) -> Record {
        Record(Vec::new())
    }
}

/// One record, written as a whole when it is complete.
struct Record(Vec<u8>);

impl Write for Record {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // A log that nobody can read any more stops nothing.
        output::write_stderr(&self.0).unwrap_or_default();
    }
}
