//! What happens in a copy, told as it happens: JSON lines, the log, progress.

use super::explain::{self, PlanLine};
use super::summary::{self, SummaryLine};
use crate::args::{CopyArgs, GlobalArgs};
use crate::complain;
use crate::json::{self, Failure, Path};
use crate::names;
use crate::output::{self, Stdout};
use crate::progress::Shown;
use crate::units::show_size;
use serde::Serialize;
use std::time::Duration;
use xfer_client::copy::Explained;
use xfer_client::{Action, CopyEvent, Error, FileEnd, Summary};

/// An object that ended.
#[derive(Serialize)]
struct FileLine {
    #[serde(flatten)]
    path: Path,
    action: &'static str,
    bytes: u64,
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// What would go where.
#[derive(Serialize)]
struct MappingLine {
    #[serde(flatten)]
    path: Path,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_b64: Option<String>,
    bytes: u64,
}

/// Why something is done as it is.
#[derive(Serialize)]
struct DecisionLine<'a> {
    decision: &'a str,
}

/// An attempt that failed.
#[derive(Serialize)]
struct RetryLine {
    retry: u32,
    wait_s: f64,
    error: Failure,
}

/// Tells of one copy.
pub(super) struct Reporter {
    stdout: Stdout,
    json: bool,
    explain: bool,
    quiet: bool,
    dry_run: bool,
    shown: Shown,
    /// Stdout could not be written to any more; the copy goes on.
    lost: Option<Error>,
}

impl Reporter {
    pub(super) fn new(args: &CopyArgs, global: &GlobalArgs) -> Result<Self, Error> {
        Ok(Reporter {
            stdout: Stdout::new(),
            json: args.json,
            explain: args.explain,
            quiet: global.quiet,
            dry_run: args.dry_run,
            shown: Shown::new(args.progress, args.json, global),
            lost: None,
        })
    }

    /// Takes one event.
    pub(super) fn take(&mut self, event: CopyEvent) {
        match event {
            CopyEvent::Decision(text) => self.decision(&text),
            CopyEvent::Explained(explained) => self.explained(&explained),
            CopyEvent::Mapping { source, destination, size } => self.mapping(&source, &destination, size),
            CopyEvent::Connected(task) => tracing::info!(task, "connected"),
            CopyEvent::PathUp(pair) => {
                tracing::info!(local = %pair.local, remote = %pair.remote, "path is up")
            }
            CopyEvent::PathDown(pair, why) => {
                tracing::warn!(local = %pair.local, remote = %pair.remote, why, "path is down; its chunks go over the others");
            }
            CopyEvent::File(end) => self.file(&end),
            CopyEvent::Warning { name, text } => match name {
                Some(name) => tracing::warn!(file = names::show(&name), "{text}"),
                None => tracing::warn!("{text}"),
            },
            CopyEvent::Progress(progress) => {
                if let Some(line) = self.shown.take(*progress) {
                    self.print(&line);
                }
            }
            CopyEvent::Retry { number, wait, error } => self.retry(number, wait, &error),
        }
    }

    fn decision(&mut self, text: &str) {
        if self.explain {
            if self.json {
                self.print(&json::line("plan", &DecisionLine { decision: text }));
            } else {
                output::tell(&format!("xferctl: {text}"));
            }
        } else {
            tracing::info!("{text}");
        }
    }

    fn explained(&mut self, explained: &Explained) {
        if self.json {
            self.print(&json::line("plan", &PlanLine::new(explained)));
        } else {
            explain::lines(explained).iter().for_each(|line| output::tell(&format!("xferctl: {line}")));
        }
    }

    fn mapping(&mut self, source: &[u8], destination: &[u8], size: u64) {
        let line = if self.json {
            let (to, to_b64) = json::name(destination);
            json::line("plan", &MappingLine { path: Path::new(source), to, to_b64, bytes: size })
        } else {
            format!("{} -> {} ({})\n", names::show(source), names::show(destination), show_size(size))
        };
        self.print(&line);
    }

    fn file(&mut self, end: &FileEnd) {
        let action = end.action.name();
        let digest = end.digest.map(|digest| names::hex(&digest));
        let name = names::show(&end.name);
        match &end.error {
            Some(error) if !self.json => tracing::error!("{}", complain::render(&naming(error, &end.name))),
            Some(error) => tracing::error!(file = name, "{}", complain::render(error)),
            None if end.is_directory => tracing::debug!(directory = name, action, "directory"),
            None => tracing::info!(file = name, action, bytes = end.bytes, digest, "file"),
        }
        if self.json && (!end.is_directory || end.action == Action::Failed) {
            let error = end.error.as_ref().map(Failure::new);
            let path = Path::new(&end.name);
            self.print(&json::line("file", &FileLine { path, action, bytes: end.bytes, digest, error }));
        }
    }

    fn retry(&mut self, number: u32, wait: Duration, error: &Error) {
        let wait_s = wait.as_secs_f64();
        if !self.quiet {
            output::tell(&format!("xferctl: {}; retry {number} in {wait_s} s", complain::render(error)));
        }
        if self.json {
            self.print(&json::line(
                "retry",
                &RetryLine { retry: number, wait_s, error: Failure::new(error) },
            ));
        }
    }

    /// Prints a line on stdout; one that cannot be written is not the copy's end.
    fn print(&mut self, line: &str) {
        if self.lost.is_none() {
            let written = self.stdout.write(line.as_bytes()).and_then(|()| self.stdout.flush());
            self.lost = written.err();
        }
    }

    /// Tells the summary. A usage error that shows late prints none, unless lines came before.
    ///
    /// # Errors
    /// Stdout was lost in a copy that otherwise succeeded.
    pub(super) fn end(mut self, summary: &Summary) -> Result<(), Error> {
        self.shown.end();
        let usage = summary.exit_code() == xfer_client::Class::Usage.exit_code();
        if self.json && (!usage || self.stdout.wrote()) {
            self.print(&json::line("summary", &SummaryLine::new(summary)));
        }
        // An error that came before anything moved says all by itself.
        let nothing =
            summary.error.is_some() && summary.total_bytes == 0 && summary.files + summary.failed == 0;
        if !self.json && !self.quiet && !self.dry_run && !usage && !nothing {
            output::tell(&summary::text(summary));
        }
        match self.lost {
            Some(error) if summary.error.is_none() => Err(error),
            _ => Ok(()),
        }
    }
}

/// The error of a file, which is named even where the error does not.
fn naming(error: &Error, name: &[u8]) -> Error {
    error.clone().object(name)
}
