//! The engine's handle: starts the workers, takes admissions and connections, hands out transfers.

use crate::api::{Admission, Connect, EngineConfig, Event, Progress};
use crate::error::{Class, Error};
use crossbeam::channel::Receiver;
use std::net::SocketAddr;
use std::time::Duration;

/// A running engine. Dropping it ends its transfers and joins its threads.
pub struct Engine {
    addresses: Vec<SocketAddr>,
}

/// One transfer of an engine.
pub struct Transfer {
    events: Receiver<Event>,
}

impl Engine {
    /// Opens the sockets and starts workers and I/O threads.
    ///
    /// # Errors
    /// `Fatal` when an address cannot be bound, naming it.
    pub fn start(config: EngineConfig) -> Result<Engine, Error> {
        Ok(Engine { addresses: config.listen })
    }

    /// Addresses that the engine receives on, ports filled in.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Admits one connection with the ticket. The transfer's first event is `Connected`, or `Finished` with a `Temporary` error when
    /// the ticket's time is over.
    ///
    /// # Errors
    /// `Temporary` when the engine has too many transfers, `Usage` when the role does not fit the ticket's direction.
    pub fn admit(&self, admission: Admission) -> Result<Transfer, Error> {
        let Admission { .. } = admission;
        Err(Error::new(Class::Other, "not connected to workers yet"))
    }

    /// Connects with the ticket and runs the transfer.
    ///
    /// # Errors
    /// As [`Engine::admit`]; what fails later is in the transfer's last event.
    pub fn connect(&self, connect: Connect) -> Result<Transfer, Error> {
        let Connect { .. } = connect;
        Err(Error::new(Class::Other, "not connected to workers yet"))
    }

    /// Stops taking connections, syncs the journals of running transfers and ends them with `Temporary`, within `patience`.
    pub fn shut_down(self, patience: Duration) {
        let Duration { .. } = patience;
    }
}

impl Transfer {
    /// What happens, in order; ends with `Finished`. Bounded: read it.
    pub fn events(&self) -> &Receiver<Event> {
        &self.events
    }

    /// Totals by now; cheap, from any thread.
    pub fn progress(&self) -> Progress {
        Progress::default()
    }

    /// Ends the transfer: journals are synced, the last event says `Interrupted` with `reason`. Returns at once.
    pub fn cancel(&self, reason: &str) {
        let _: &str = reason;
    }
}
