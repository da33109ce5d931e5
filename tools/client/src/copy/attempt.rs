//! One attempt of a copy: ticket, pairs of addresses, connection, events until the end.

use super::digest::CopyDigest;
use super::options::{CopyEvent, CopyOptions, CopyRequest};
use super::summary::Totals;
use super::{Plan, connect};
use crate::client::Client;
use crate::limits::{CANCEL_PATIENCE, DATA_TIMEOUT, TICK};
use crate::paths::{self, HostRoutes, Pairs};
use crate::pb;
use crate::retry::duration_exceeded;
use crate::transfer::{self, LocalSink, LocalSource};
use crossbeam::channel::RecvTimeoutError;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;
use xfer_engine::sink::Action;
use xfer_engine::{
    Class, Connect, Direction, Durability, Engine, Error, Event, FileEnd, Latency, Outcome, Progress, Role,
    Suite, Ticket, Transfer,
};

/// What an attempt is told.
pub(super) struct Attempt<'a> {
    pub(super) request: &'a CopyRequest,
    pub(super) plan: &'a Plan,
    pub(super) totals: &'a Totals,
    /// The node's name of the attempt before; empty: none.
    pub(super) replaces: &'a str,
    /// When the copy's time is over.
    pub(super) deadline: Option<Instant>,
}

/// How an attempt ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended {
    pub(super) error: Option<Error>,
    pub(super) progress: Progress,
    /// The engines were connected.
    pub(super) connected: bool,
    /// The node's name of the transfer; empty: there was none.
    pub(super) transfer: String,
    /// Content bytes of files that were completed.
    pub(super) completed_bytes: u64,
    pub(super) verified: bool,
    pub(super) durability: Option<Durability>,
    pub(super) digest: Option<[u8; 32]>,
    pub(super) first_failure: Option<Error>,
}

impl Ended {
    /// Ended before there was a transfer.
    pub(super) fn before(error: Error) -> Self {
        Ended { error: Some(error), ..Ended::default() }
    }

    /// Content moved.
    pub(super) fn moved(&self) -> bool {
        self.progress.bytes > 0
    }
}

/// The error of a copy that the user ended.
pub(super) fn interrupted() -> Error {
    Error::new(Class::Interrupted, "interrupted")
        .because("what arrived is kept; run the same command to go on")
}

/// A transfer that was started.
struct Started {
    transfer: Transfer,
    name: String,
    /// A single file was named.
    one_file: bool,
    /// The first component of names is not part of paths relative to the destination.
    renamed: bool,
}

impl Attempt<'_> {
    /// Runs the attempt to its end.
    pub(super) fn run(&self, engine: &Engine, tell: &mut dyn FnMut(CopyEvent)) -> Ended {
        match self.start(engine, tell) {
            Ok(started) => self.follow(started, tell),
            Err(error) => Ended::before(self.located(error)),
        }
    }

    fn options(&self) -> &CopyOptions {
        &self.request.options
    }

    /// Says which end failed, as far as it is known.
    fn located(&self, error: Error) -> Error {
        match error.side {
            Some(side) if side != self.plan.side() => error.node(self.plan.node.described()),
            _ => error,
        }
    }

    fn start(&self, engine: &Engine, tell: &mut dyn FnMut(CopyEvent)) -> Result<Started, Error> {
        // Missing sources show before anything is asked of the node.
        let source = match self.plan.upload {
            true => Some(transfer::source(self.plan, self.options())?),
            false => None,
        };
        let client = connect(self.plan, self.options())?;
        tell(CopyEvent::Decision(format!("control over {}", client.remote())));
        let request = transfer::create_request(self.plan, self.options(), source.as_ref(), self.replaces)?;
        let answer = client.create_transfer(request)?;
        match source {
            Some(LocalSource { source, infos }) => {
                let one_file = transfer::is_one_file(&infos);
                let renamed = answer.renamed;
                self.join(engine, &client, &answer, Role::Send(source), tell).map(|transfer| Started {
                    transfer,
                    name: answer.name,
                    one_file,
                    renamed,
                })
            }
            None => {
                let LocalSink { sink, renamed } = transfer::sink(self.plan, self.options(), &answer.sources)?;
                let one_file = transfer::is_one_file(&answer.sources);
                let transfer = self.join(engine, &client, &answer, Role::Receive(sink), tell)?;
                Ok(Started { transfer, name: answer.name, one_file, renamed })
            }
        }
    }

    /// Connects the engines.
    fn join(
        &self,
        engine: &Engine,
        client: &Client,
        answer: &pb::CreateTransferResponse,
        role: Role,
        tell: &mut dyn FnMut(CopyEvent),
    ) -> Result<Transfer, Error> {
        let malformed = |what: &str| Error::new(Class::Other, format!("the node answered with no {what}"));
        let Pairs { active, standby, reasons } = self.pairs(answer)?;
        for reason in reasons {
            tell(CopyEvent::Decision(format!("paths: {reason}")));
        }
        for pair in &active {
            tell(CopyEvent::Decision(format!("path {} to {}", pair.local, pair.remote)));
        }
        let suite = match answer.suite() {
            pb::Suite::Aes128Gcm => Suite::Aes128Gcm,
            pb::Suite::Chacha20Poly1305 => Suite::ChaCha20Poly1305,
            pb::Suite::Plain if self.options().cipher == super::Cipher::None => Suite::Plain,
            pb::Suite::Plain => {
                return Err(Error::new(
                    Class::Refused,
                    format!("the node {} wants unencrypted data", client.node()),
                ));
            }
            pb::Suite::Unspecified => return Err(malformed("cipher")),
        };
        let secret = answer.secret[..].try_into().map_err(|_| malformed("ticket"))?;
        let direction = if self.plan.upload { Direction::OpenerSends } else { Direction::OpenerReceives };
        let config = transfer::config(self.options());
        let ticket = Ticket { secret, suite, direction };
        engine.connect(Connect { ticket, paths: active, standby, role, config, timeout: DATA_TIMEOUT })
    }

    fn pairs(&self, answer: &pb::CreateTransferResponse) -> Result<Pairs, Error> {
        let mut remotes = Vec::with_capacity(answer.addresses.len());
        for address in &answer.addresses {
            remotes.push(address.parse::<SocketAddr>().map_err(|_| {
                Error::new(Class::Other, format!("the node answered with {address:?}, which is no address"))
            })?);
        }
        let interfaces = xfer_engine::io::route::interfaces()
            .map_err(|e| Error::new(Class::Other, "list this host's interfaces").because(e))?;
        paths::select(&interfaces, &remotes, &HostRoutes(&interfaces), &self.options().paths)
    }

    /// Reads events until the transfer ended, or until it should have.
    fn follow(&self, started: Started, tell: &mut dyn FnMut(CopyEvent)) -> Ended {
        let mut follow = Following {
            attempt: self,
            digest: CopyDigest::new(started.renamed),
            ended: Ended { transfer: started.name.clone(), ..Ended::default() },
            stopping: None,
            started: &started,
        };
        let outcome = follow.until_the_end(tell);
        let Following { digest, mut ended, stopping, .. } = follow;
        let Outcome { error, progress, verified, durability, .. } = outcome;
        // What was asked to end ended for that reason, unless it was done before it heard.
        ended.error = match (error, stopping) {
            (None, _) => None,
            (Some(_), Some((_, reason))) => Some(reason),
            (Some(error), None) => Some(self.located(error)),
        };
        ended.progress = progress;
        (ended.verified, ended.durability) = (verified, durability);
        ended.digest = digest.finish(started.one_file);
        ended
    }

    /// Why the transfer has to end now, if it has to.
    fn has_to_stop(&self, progress: &Progress) -> Option<Error> {
        if self.request.cancel.load(Ordering::Relaxed) {
            return Some(interrupted());
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Some(duration_exceeded());
        }
        let max = self.options().max_transfer?;
        (self.totals.merged(progress).bytes >= max).then(|| {
            Error::new(Class::TransferLimit, "--max-transfer is reached")
                .because("what arrived is kept; run the same command to go on")
        })
    }
}

/// A transfer whose events are read.
struct Following<'a> {
    attempt: &'a Attempt<'a>,
    started: &'a Started,
    digest: CopyDigest,
    ended: Ended,
    /// It was told to end: when, and why.
    stopping: Option<(Instant, Error)>,
}

impl Following<'_> {
    fn until_the_end(&mut self, tell: &mut dyn FnMut(CopyEvent)) -> Outcome {
        let transfer = &self.started.transfer;
        let mut tick = Instant::now() + TICK;
        loop {
            match transfer.events().recv_deadline(tick) {
                Ok(Event::Finished(outcome)) => {
                    tell(self.progress(&outcome.progress));
                    return *outcome;
                }
                Ok(event) => self.event(event, tell),
                Err(RecvTimeoutError::Disconnected) => {
                    return self.given_up(Error::new(Class::Other, "the engine stopped without a word"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now < tick {
                continue;
            }
            tick = now + TICK;
            let progress = transfer.progress();
            tell(self.progress(&progress));
            match &self.stopping {
                None => {
                    if let Some(why) = self.attempt.has_to_stop(&progress) {
                        transfer.cancel(&why.message);
                        self.stopping = Some((now, why));
                    }
                }
                Some((since, why)) if now.duration_since(*since) >= CANCEL_PATIENCE => {
                    let why = why.clone();
                    return self.given_up(why);
                }
                Some(_) => {}
            }
        }
    }

    /// An end that the engine did not tell.
    fn given_up(&self, error: Error) -> Outcome {
        let progress = self.started.transfer.progress();
        Outcome {
            error: Some(error),
            progress,
            verified: false,
            durability: None,
            latency: Latency::default(),
        }
    }

    fn progress(&self, progress: &Progress) -> CopyEvent {
        CopyEvent::Progress(Box::new(self.attempt.totals.merged(progress)))
    }

    fn event(&mut self, event: Event, tell: &mut dyn FnMut(CopyEvent)) {
        match event {
            Event::Connected => {
                self.ended.connected = true;
                tell(CopyEvent::Connected(self.started.name.clone()));
            }
            Event::PathUp(pair) => tell(CopyEvent::PathUp(pair)),
            Event::PathDown(pair, why) => tell(CopyEvent::PathDown(pair, why)),
            Event::Warning { name, text } => tell(CopyEvent::Warning { name, text }),
            Event::File(file) => {
                let file = self.located(file);
                self.digest.tell(&file);
                if matches!(file.action, Action::Copied | Action::Resumed) {
                    self.ended.completed_bytes += file.bytes;
                }
                if self.ended.first_failure.is_none() {
                    self.ended.first_failure.clone_from(&file.error);
                }
                tell(CopyEvent::File(file));
            }
            Event::Finished(_) => unreachable!("the end is not an event among others"),
        }
    }

    fn located(&self, file: FileEnd) -> FileEnd {
        FileEnd { error: file.error.map(|error| self.attempt.located(error)), ..file }
    }
}
