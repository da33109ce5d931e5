//! A range that is too long for a call: a download of that range, through an engine, into memory.

use super::call::older;
use super::{FileRange, ReadRange};
use crate::client::Client;
use crate::copy::{self, CopyOptions};
use crate::limits::{CANCEL_PATIENCE, DATA_TIMEOUT, TICK};
use crate::paths::Pairs;
use crate::{offer, pb, status, transfer};
use crossbeam::channel::RecvTimeoutError;
use std::sync::Arc;
use std::time::Instant;
use tonic::Status;
use xfer_engine::sink::MemorySink;
use xfer_engine::{
    Class, Connect, Direction, Engine, EngineConfig, Error, Event, FileEnd, Role, Side, Suite, Ticket,
    Transfer,
};

/// The engine that ranges come through.
pub(super) fn engine_config() -> EngineConfig {
    copy::engine_config(&CopyOptions::default())
}

/// A download that runs.
pub(super) struct Fetching {
    transfer: Transfer,
    sink: Arc<MemorySink>,
    told: pb::SentRange,
    len: u64,
    name: String,
    node: String,
}

/// Asks for a range and connects the engines. Dropped, the transfer ends.
///
/// # Errors
/// What the node refuses, and those of the call; `Refused` where the node knows no ranges.
pub(super) async fn start(client: &Client, engine: &Engine, range: &FileRange) -> Result<Fetching, Error> {
    let options = CopyOptions::default();
    let download = pb::Download {
        sources: vec![range.path.clone()],
        range: Some(pb::ByteRange { offset: range.offset, length: range.len }),
        ..Default::default()
    };
    let request = pb::CreateTransferRequest {
        what: Some(pb::create_transfer_request::What::Download(download)),
        options: Some(transfer::transfer_options(&options)),
        versions: vec![1],
        ..Default::default()
    };
    let failed = |status: Status| status::error(&status, client.node());
    let answer = client.transfers().create_transfer(client.short(request)).await;
    let answer = answer.map_err(failed)?.into_inner();
    match connect(client.node(), engine, range, &options, &answer) {
        Ok(fetching) => Ok(fetching),
        Err(error) => {
            client.give_back_later(&answer.name, &error.message).await;
            Err(error)
        }
    }
}

fn connect(
    node: &str,
    engine: &Engine,
    range: &FileRange,
    options: &CopyOptions,
    answer: &pb::CreateTransferResponse,
) -> Result<Fetching, Error> {
    let told = answer.range.ok_or_else(|| older(node))?;
    let len = range.len_within(told.size);
    let wrong = |what: &str| Error::new(Class::Other, what).node(node);
    if told.length != len {
        return Err(wrong("the node answered with another range than was asked for"));
    }
    let suite = offer::suite(answer)?;
    if suite == Suite::Plain {
        return Err(Error::new(Class::Refused, format!("the node {node} wants unencrypted data")));
    }
    let secret = answer.secret[..].try_into().map_err(|_| wrong("the node answered with no ticket"))?;
    let Pairs { active, standby, .. } = copy::pairs(&offer::addresses(answer)?, options)?;
    let sink = Arc::new(MemorySink::new(len, true));
    let ticket = Ticket { secret, suite, direction: Direction::OpenerReceives };
    let transfer = engine.connect(Connect {
        ticket,
        paths: active,
        standby,
        role: Role::Receive(sink.clone()),
        config: transfer::config(options),
        timeout: DATA_TIMEOUT,
    })?;
    let name = answer.name.clone();
    Ok(Fetching { transfer, sink, told, len, name, node: node.to_owned() })
}

impl Fetching {
    /// What the node calls it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until all of it is here. Blocks; looks now and then whether it `is_cancelled`.
    ///
    /// # Errors
    /// Why it failed; `Interrupted` when it was cancelled.
    pub(super) fn wait(self, is_cancelled: &dyn Fn() -> bool) -> Result<ReadRange, Error> {
        let file = self.ended(is_cancelled).map_err(|error| self.located(error))?;
        let content = self.sink.names().pop().and_then(|name| self.sink.take(&name)).unwrap_or_default();
        if content.len() as u64 != self.len {
            return Err(
                Error::new(Class::Other, "the node sent another object than the range").node(self.node)
            );
        }
        let digest = file.and_then(|file| file.digest).unwrap_or_else(|| *blake3::hash(&content).as_bytes());
        Ok(ReadRange { content, digest, file_size: self.told.size, mtime_ns: self.told.mtime_ns })
    }

    fn located(&self, error: Error) -> Error {
        if error.side == Some(Side::Source) { error.node(self.node.clone()) } else { error }
    }

    /// How the object ended, once the transfer has.
    fn ended(&self, is_cancelled: &dyn Fn() -> bool) -> Result<Option<FileEnd>, Error> {
        let (mut file, mut stopping) = (None, None);
        loop {
            match self.transfer.events().recv_timeout(TICK) {
                Ok(Event::Finished(_)) if stopping.is_some() => return Err(cancelled()),
                Ok(Event::Finished(outcome)) => {
                    let failure = file.as_mut().and_then(|file: &mut FileEnd| file.error.take());
                    return outcome.error.or(failure).map_or(Ok(file), Err);
                }
                Ok(Event::File(ended)) => file = Some(ended),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(Class::Other, "the engine stopped without a word"));
                }
            }
            match stopping {
                None if is_cancelled() => {
                    self.transfer.cancel("cancelled by the application");
                    stopping = Some(Instant::now());
                }
                Some(since) if since.elapsed() >= CANCEL_PATIENCE => return Err(cancelled()),
                _ => {}
            }
        }
    }
}

/// The error of a range that the application ended.
pub(super) fn cancelled() -> Error {
    Error::new(Class::Interrupted, "cancelled by the application")
}
