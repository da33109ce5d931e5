//! A copy between this machine and a node: from the request to the summary, through losses of the network.
//!
//! In: locations and options. Out: events while it goes, a summary when it ended. The bytes move in an engine of this copy's own.

mod attempt;
mod dry;
mod explain;
mod options;
mod summary;

pub(crate) use attempt::interrupted;
pub use explain::{Compared, Explained, PlannedPath};
pub(crate) use explain::{engine_config, pairs};
pub use options::{Cipher, CopyEvent, CopyOptions, CopyRequest, Filter};
pub use summary::Summary;
pub(crate) use summary::side_of;
pub use xfer_engine::codec::Compression;
pub use xfer_engine::sink::{Compare, Overwrite};
pub use xfer_engine::source::Preserve;

use crate::client::Client;
use crate::location::{Location, Remote};
use crate::retry::{Next, Schedule, duration_exceeded};
use attempt::{Attempt, Ended};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use summary::Totals;
use xfer_engine::{Class, Engine, Error, Side};

/// This machine's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Here {
    /// Files, or where they go.
    Paths(Vec<PathBuf>),
    /// Standard input or output.
    Stdio,
}

/// A request whose ends are known.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) upload: bool,
    pub(crate) here: Here,
    /// The node; its `path` is the destination of an upload.
    pub(crate) node: Remote,
    /// Paths on the node that a download takes.
    pub(crate) remote_sources: Vec<Vec<u8>>,
}

/// Runs a copy to its end. What fails after the request was understood is in the summary.
///
/// # Errors
/// `Usage`: not one end here and one on a node, or options that contradict each other; nothing was done.
pub fn copy(request: &CopyRequest, tell: &mut dyn FnMut(CopyEvent)) -> Result<Summary, Error> {
    let plan = Plan::of(request)?;
    request.options.check()?;
    if request.options.dry_run {
        let (expected, error) = match dry::run(&plan, &request.options, tell) {
            Ok(expected) => (expected, None),
            Err(error) => (None, Some(error)),
        };
        return Ok(Summary { expected, ..Summary::of_nothing(request.started.elapsed(), error) });
    }
    Ok(Copy { request, plan, tell, totals: Totals::default(), replaces: String::new() }.run())
}

impl Plan {
    fn of(request: &CopyRequest) -> Result<Plan, Error> {
        let usage = |why: &str| Err(Error::new(Class::Usage, why));
        let (mut local, mut remote, mut stdin) = (Vec::new(), Vec::new(), 0);
        for source in &request.sources {
            match source {
                Location::Stdio => stdin += 1,
                Location::Local(path) => local.push(path.clone()),
                Location::Remote(there) => remote.push(there.clone()),
            }
        }
        if request.sources.is_empty() {
            return usage("nothing to copy");
        }
        if stdin > 0 && request.sources.len() > 1 {
            return usage("standard input is copied alone");
        }
        match (&request.destination, remote.first()) {
            (Location::Remote(_), Some(_)) => {
                usage("one end must be on this machine; copying from node to node is not supported")
            }
            (Location::Remote(node), None) => {
                let here = if stdin > 0 { Here::Stdio } else { Here::Paths(local) };
                Ok(Plan { upload: true, here, node: node.clone(), remote_sources: Vec::new() })
            }
            (_, None) => usage("one end must be on a node: NODE:PATH or a link; both are on this machine"),
            (destination, Some(node)) => {
                if !local.is_empty() || remote.iter().any(|other| other.link != node.link) {
                    return usage("all sources must be on one node");
                }
                let here = match destination {
                    Location::Local(path) => Here::Paths(vec![path.clone()]),
                    _ if remote.len() > 1 || request.options.recursive => {
                        return usage("only one file goes to standard output");
                    }
                    _ => Here::Stdio,
                };
                let remote_sources = remote.iter().map(|there| there.path.clone()).collect();
                Ok(Plan { upload: false, here, node: node.clone(), remote_sources })
            }
        }
    }

    /// The end that this machine is.
    pub(crate) fn side(&self) -> Side {
        if self.upload { Side::Source } else { Side::Destination }
    }
}

/// A copy in progress.
struct Copy<'a> {
    request: &'a CopyRequest,
    plan: Plan,
    tell: &'a mut dyn FnMut(CopyEvent),
    totals: Totals,
    /// The node's name of the attempt before.
    replaces: String,
}

impl Copy<'_> {
    fn run(mut self) -> Summary {
        let options = &self.request.options;
        let engine = match Engine::start(explain::engine_config(options)) {
            Ok(engine) => engine,
            Err(error) => return Summary::of_nothing(self.request.started.elapsed(), Some(error)),
        };
        let mut schedule = Schedule::new(options.patience);
        let ended = loop {
            let ended = self.attempt(&engine, schedule.left(self.request.started.elapsed()));
            if ended.moved() {
                schedule.progressed();
            }
            let Some(error) = ended.error.clone().filter(|_| self.is_worth_retrying(&ended)) else {
                break ended;
            };
            match schedule.failed(error.clone(), self.request.started.elapsed()) {
                Next::GiveUp(error) => break Ended { error: Some(error), ..ended },
                Next::Wait(wait) => {
                    self.totals.add(&ended.progress, ended.completed_bytes);
                    (self.tell)(CopyEvent::Retry { number: schedule.failures(), wait, error });
                    if let Err(error) = self.wait(wait) {
                        break Ended::before(error);
                    }
                }
            }
        };
        engine.shut_down(crate::limits::ENGINE_STOP);
        self.summary(ended)
    }

    /// Only once there was a connection, and only what can be read or written again.
    fn is_worth_retrying(&self, ended: &Ended) -> bool {
        let stood = ended.connected || !self.replaces.is_empty();
        stood && self.plan.here != Here::Stdio
    }

    fn attempt(&mut self, engine: &Engine, left: Option<Duration>) -> Ended {
        if left == Some(Duration::ZERO) {
            return Ended::before(duration_exceeded());
        }
        let attempt = Attempt {
            request: self.request,
            plan: &self.plan,
            totals: &self.totals,
            replaces: &self.replaces,
            deadline: left.map(|left| Instant::now() + left),
        };
        let ended = attempt.run(engine, self.tell);
        if ended.connected {
            self.replaces.clone_from(&ended.transfer);
        }
        ended
    }

    /// Waits, unless the user wants to end.
    fn wait(&self, wait: Duration) -> Result<(), Error> {
        let until = Instant::now() + wait;
        loop {
            if self.request.cancel.load(Ordering::Relaxed) {
                return Err(attempt::interrupted());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(crate::limits::TICK));
        }
    }

    fn summary(self, ended: Ended) -> Summary {
        let progress = self.totals.merged(&ended.progress);
        let mut summary = Summary::new(ended, progress, self.request.started.elapsed());
        let nothing = summary.bytes == 0 && summary.files == 0;
        if self.request.options.error_on_no_transfer && nothing && summary.error.is_none() {
            summary.error = Some(Error::new(Class::NothingToDo, "nothing had to be copied"));
        }
        summary
    }
}

/// Connects to the node of a plan.
pub(crate) fn connect(plan: &Plan, options: &CopyOptions) -> Result<Client, Error> {
    Client::of(&plan.node, options.connect_timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Link;

    fn remote(last: u8, path: &str) -> Location {
        let link = Link { token: [0; 32], fingerprint: [last; 32], addresses: Vec::new() };
        Location::Remote(Remote { link, node: "n".to_owned(), path: path.as_bytes().to_vec() })
    }

    fn local(path: &str) -> Location {
        Location::Local(path.into())
    }

    fn plan(sources: Vec<Location>, destination: Location) -> Result<Plan, Error> {
        Plan::of(&CopyRequest::new(sources, destination))
    }

    #[test]
    fn one_end_here_and_one_on_a_node() {
        let up = plan(vec![local("a"), local("b")], remote(1, "d/")).unwrap();
        assert!(up.upload && up.here == Here::Paths(vec!["a".into(), "b".into()]) && up.node.path == b"d/");
        let down = plan(vec![remote(1, "a"), remote(1, "b")], local("d")).unwrap();
        assert!(!down.upload && down.here == Here::Paths(vec!["d".into()]));
        assert_eq!(down.remote_sources, [b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(plan(vec![Location::Stdio], remote(1, "x")).unwrap().here, Here::Stdio);
        assert_eq!(plan(vec![remote(1, "x")], Location::Stdio).unwrap().here, Here::Stdio);
        for (sources, destination) in [
            (vec![], remote(1, "x")),
            (vec![local("a")], local("b")),
            (vec![remote(1, "a")], remote(1, "b")),
            (vec![remote(1, "a"), remote(2, "b")], local("d")),
            (vec![remote(1, "a"), local("b")], local("d")),
            (vec![Location::Stdio, local("b")], remote(1, "d")),
            (vec![remote(1, "a"), remote(1, "b")], Location::Stdio),
            (vec![Location::Stdio], Location::Stdio),
        ] {
            assert_eq!(plan(sources.clone(), destination).unwrap_err().class, Class::Usage, "{sources:?}");
        }
    }
}
