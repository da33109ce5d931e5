//! One attempt of a copy: ticket, pairs of addresses, connection, events until the end.

use super::explain::{self, Explained};
use super::options::{CopyEvent, CopyOptions, CopyRequest};
use super::summary::Totals;
use super::{Plan, connect};
use crate::client::Client;
use crate::forecast::Forecast;
use crate::limits::{CANCEL_PATIENCE, DATA_TIMEOUT, TICK};
use crate::offer;
use crate::paths::Pairs;
use crate::pb;
use crate::retry::duration_exceeded;
use crate::transfer::{self, LocalSink, LocalSource};
use crossbeam::channel::RecvTimeoutError;
use std::sync::atomic::Ordering;
use std::time::Instant;
use xfer_engine::sink::Action;
use xfer_engine::{
    Class, Connect, CopyDigest, Direction, Durability, Engine, Error, Event, FileEnd, Latency, Outcome,
    Progress, Role, Suite, Ticket, Transfer,
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
    /// What was expected, when that was asked for.
    pub(super) forecast: Option<Forecast>,
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
pub(crate) fn interrupted() -> Error {
    Error::new(Class::Interrupted, "interrupted")
        .because("what arrived is kept; run the same command to go on")
}

/// A transfer that was started.
struct Started {
    transfer: Transfer,
    /// Control, until the engines are connected.
    client: Option<Client>,
    forecast: Option<Forecast>,
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
        match self.use_ticket(engine, &client, &answer, source, tell) {
            Ok(started) => Ok(Started { client: Some(client), ..started }),
            Err(error) => {
                client.give_back(&answer.name, &error.message);
                Err(error)
            }
        }
    }

    /// What the node answered becomes a transfer.
    fn use_ticket(
        &self,
        engine: &Engine,
        client: &Client,
        answer: &pb::CreateTransferResponse,
        source: Option<LocalSource>,
        tell: &mut dyn FnMut(CopyEvent),
    ) -> Result<Started, Error> {
        let (role, one_file, renamed) = match source {
            Some(LocalSource { source, infos }) => {
                (Role::Send(source), transfer::is_one_file(&infos), answer.renamed)
            }
            None => {
                let LocalSink { sink, renamed } = transfer::sink(self.plan, self.options(), &answer.sources)?;
                (Role::Receive(sink), transfer::is_one_file(&answer.sources), renamed)
            }
        };
        let (transfer, forecast) = self.join(engine, client, answer, role, tell)?;
        Ok(Started { transfer, client: None, forecast, name: answer.name.clone(), one_file, renamed })
    }

    /// Connects the engines.
    fn join(
        &self,
        engine: &Engine,
        client: &Client,
        answer: &pb::CreateTransferResponse,
        role: Role,
        tell: &mut dyn FnMut(CopyEvent),
    ) -> Result<(Transfer, Option<Forecast>), Error> {
        let pairs = explain::pairs(&offer::addresses(answer)?, self.options())?;
        for reason in &pairs.reasons {
            tell(CopyEvent::Decision(format!("paths: {reason}")));
        }
        let suite = offer::suite(answer)?;
        if suite == Suite::Plain && self.options().cipher != super::Cipher::None {
            let text = format!("the node {} wants unencrypted data", client.node());
            return Err(Error::new(Class::Refused, text));
        }
        let mut forecast = None;
        if self.options().explain {
            let explained = Explained::of(self.plan, self.options(), client, &pairs, suite)?;
            forecast = Some(explained.forecast.clone());
            tell(CopyEvent::Explained(Box::new(explained)));
        }
        let Pairs { active, standby, .. } = pairs;
        if forecast.is_none() {
            for pair in &active {
                tell(CopyEvent::Decision(format!("path {} to {}", pair.local, pair.remote)));
            }
        }
        let no_ticket = |_| Error::new(Class::Other, "the node answered with no ticket");
        let secret = answer.secret[..].try_into().map_err(no_ticket)?;
        let direction = if self.plan.upload { Direction::OpenerSends } else { Direction::OpenerReceives };
        let config = transfer::config(self.options());
        let ticket = Ticket { secret, suite, direction };
        let connect = Connect { ticket, paths: active, standby, role, config, timeout: DATA_TIMEOUT };
        engine.connect(connect).map(|transfer| (transfer, forecast))
    }

    /// Reads events until the transfer ended, or until it should have.
    fn follow(&self, mut started: Started, tell: &mut dyn FnMut(CopyEvent)) -> Ended {
        let mut follow = Following {
            client: started.client.take(),
            attempt: self,
            digest: CopyDigest::new(started.renamed),
            ended: Ended { transfer: started.name.clone(), ..Ended::default() },
            stopping: None,
            started: &started,
        };
        let outcome = follow.until_the_end(tell);
        let Following { digest, mut ended, stopping, client, .. } = follow;
        let Outcome { error, progress, verified, durability, .. } = outcome;
        if let Some(client) = client {
            client.give_back(&started.name, "no path to the node answered, or it was not waited for");
        }
        // What was asked to end ended for that reason, unless it was done before it heard.
        ended.error = match (error, stopping) {
            (None, _) => None,
            (Some(_), Some((_, reason))) => Some(reason),
            (Some(error), None) => Some(self.located(error)),
        };
        ended.progress = progress;
        (ended.verified, ended.durability) = (verified, durability);
        ended.digest = digest.finish(started.one_file);
        ended.forecast = started.forecast;
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
    /// Control, until the engines are connected: a ticket that was not used is given back.
    client: Option<Client>,
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
                self.client = None;
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
            Event::Offered(_) => unreachable!("a copy's sink decides by itself"),
        }
    }

    fn located(&self, file: FileEnd) -> FileEnd {
        FileEnd { error: file.error.map(|error| self.attempt.located(error)), ..file }
    }
}
