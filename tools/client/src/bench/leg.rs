//! One direction of a benchmark: its ticket, its transfer, its end.

use super::options::{BenchEvent, BenchRequest, Mode};
use super::summary::{End, Leg, MessageLatency};
use crate::client::Client;
use crate::copy::{Cipher, pairs};
use crate::limits::{BENCH_MESSAGE_BYTES, DATA_TIMEOUT};
use crate::paths::Pairs;
use crate::{offer, pb, transfer};
use crossbeam::channel::RecvTimeoutError;
use std::sync::Arc;
use std::time::Instant;
use xfer_engine::meter::{Measured, Meter};
use xfer_engine::sink::DiscardSink;
use xfer_engine::source::{EndlessSource, MessageSource};
use xfer_engine::{
    Class, Connect, Direction, Engine, Error, Event, Latency, Outcome, Progress, Role, Side, Suite, Ticket,
    Transfer,
};

/// A direction that was started.
pub(super) struct Running {
    pub(super) sender: End,
    /// The node's name of it.
    pub(super) name: String,
    /// What messages call the node.
    node: String,
    transfer: Transfer,
    meter: Arc<Meter>,
    messages: Option<Arc<MessageSource>>,
    connected: bool,
    outcome: Option<Outcome>,
}

/// This machine's end.
struct Here {
    role: Role,
    meter: Arc<Meter>,
    messages: Option<Arc<MessageSource>>,
}

impl Here {
    fn new(request: &BenchRequest, sender: End) -> Result<Here, Error> {
        let options = &request.options;
        let (digests, meter) = (options.how.digests, Arc::new(Meter::default()));
        let mut messages = None;
        let role = match (sender, options.mode) {
            (End::Node, _) => Role::Receive(Arc::new(DiscardSink::new(digests, meter.clone()))),
            (End::Client, Mode::Messages) => {
                let source = MessageSource::new(BENCH_MESSAGE_BYTES, options.time, digests, meter.clone())?;
                Role::Send(messages.insert(Arc::new(source)).clone())
            }
            (End::Client, _) => {
                let bytes = usize::try_from(options.source)
                    .map_err(|e| Error::new(Class::Usage, "--source").because(e))?;
                Role::Send(Arc::new(EndlessSource::new(bytes, options.time, digests, meter.clone())))
            }
        };
        Ok(Here { role, meter, messages })
    }
}

fn create_request(request: &BenchRequest, sender: End) -> pb::CreateBenchRequest {
    let options = &request.options;
    let time_ms = u32::try_from(options.time.as_millis()).unwrap_or(u32::MAX);
    let send = (sender == End::Node).then_some(pb::Memory { bytes: options.source, time_ms });
    pb::CreateBenchRequest {
        options: Some(transfer::transfer_options(&options.how)),
        send,
        versions: vec![1],
    }
}

impl Running {
    /// Gets a ticket and connects the engines with it.
    pub(super) fn start(
        request: &BenchRequest,
        engine: &Engine,
        client: &Client,
        sender: End,
        tell: &mut dyn FnMut(BenchEvent),
    ) -> Result<Running, Error> {
        let here = Here::new(request, sender)?;
        let answer = client.create_bench(create_request(request, sender))?;
        join(request, engine, client, &answer, sender, here, tell)
            .inspect_err(|error| client.give_back(&answer.name, &error.message))
    }

    /// Takes events until `until`, until it is connected, or until it ended.
    pub(super) fn events(&mut self, until: Instant, tell: &mut dyn FnMut(BenchEvent)) {
        while self.outcome.is_none() {
            match self.transfer.events().recv_deadline(until) {
                Ok(Event::Connected) => {
                    self.connected = true;
                    return;
                }
                Ok(Event::PathUp(pair)) => tell(BenchEvent::PathUp(pair)),
                Ok(Event::PathDown(pair, why)) => tell(BenchEvent::PathDown(pair, why)),
                Ok(Event::Warning { text, .. }) => tell(BenchEvent::Warning(text)),
                Ok(Event::File(_) | Event::Offered(_)) => {}
                Ok(Event::Finished(outcome)) => self.ended(*outcome),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => self.ended(Outcome {
                    error: Some(Error::new(Class::Other, "the engine stopped without a word")),
                    progress: self.transfer.progress(),
                    verified: false,
                    durability: None,
                    latency: Latency::default(),
                }),
            }
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        self.meter.end();
        self.release();
        self.outcome = Some(outcome);
    }

    /// A source that waits would keep a thread of the engine.
    fn release(&self) {
        if let Some(messages) = &self.messages {
            messages.stop();
        }
    }

    pub(super) fn cancel(&self, why: &str) {
        self.release();
        self.transfer.cancel(why);
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(super) fn has_ended(&self) -> bool {
        self.outcome.is_some()
    }

    /// Why it failed, if it did, and on which end.
    pub(super) fn error(&self) -> Option<Error> {
        let error = self.outcome.as_ref()?.error.clone()?;
        let here = if self.sender == End::Client { Side::Source } else { Side::Destination };
        Some(match error.side {
            Some(side) if side != here => error.node(self.node.clone()),
            _ => error,
        })
    }

    pub(super) fn progress(&self) -> Progress {
        self.outcome.as_ref().map_or_else(|| self.transfer.progress(), |outcome| outcome.progress.clone())
    }

    pub(super) fn verified(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.verified)
    }

    /// How long messages took.
    pub(super) fn latency(&self) -> Option<MessageLatency> {
        let accepted = self.messages.as_ref()?.latency();
        let rtt = self.outcome.as_ref().map(|outcome| outcome.latency.rtt).unwrap_or_default();
        Some(MessageLatency { accepted, rtt })
    }

    /// What came of it; `there`: what the node told of its end.
    pub(super) fn into_leg(self, there: Option<Measured>) -> Leg {
        Leg { sender: self.sender, progress: self.progress(), here: self.meter.measured(), there }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.release();
    }
}

/// What the node answered becomes a transfer.
fn join(
    request: &BenchRequest,
    engine: &Engine,
    client: &Client,
    answer: &pb::CreateTransferResponse,
    sender: End,
    here: Here,
    tell: &mut dyn FnMut(BenchEvent),
) -> Result<Running, Error> {
    let how = &request.options.how;
    let suite = offer::suite(answer)?;
    if suite == Suite::Plain && how.cipher != Cipher::None {
        let text = format!("the node {} wants unencrypted data", client.node());
        return Err(Error::new(Class::Refused, text));
    }
    let Pairs { active, standby, reasons } = pairs(&offer::addresses(answer)?, how)?;
    for reason in reasons {
        tell(BenchEvent::Decision(format!("paths: {reason}")));
    }
    let no_ticket = |_| Error::new(Class::Other, "the node answered with no ticket");
    let secret = answer.secret[..].try_into().map_err(no_ticket)?;
    let direction = match sender {
        End::Client => Direction::OpenerSends,
        End::Node => Direction::OpenerReceives,
    };
    let transfer = engine.connect(Connect {
        ticket: Ticket { secret, suite, direction },
        paths: active,
        standby,
        role: here.role,
        config: transfer::config(how),
        timeout: DATA_TIMEOUT,
    })?;
    Ok(Running {
        sender,
        name: answer.name.clone(),
        node: request.node.described(),
        transfer,
        meter: here.meter,
        messages: here.messages,
        connected: false,
        outcome: None,
    })
}
