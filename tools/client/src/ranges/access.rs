//! The way to a node for those who come and go: connected to when it is needed, and anew once it was lost.

use super::fetch;
use crate::client::Client;
use crate::link::Link;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use xfer_engine::{Engine, Error};

/// The control connection to a node, and an engine for what does not fit a call. Shared by all threads that use the node.
pub struct Access {
    link: Link,
    patience: Duration,
    client: Mutex<Option<Arc<Client>>>,
    engine: Mutex<Option<Arc<Engine>>>,
}

impl Access {
    /// Knows the way, and opens nothing. `patience`: how long no address may answer.
    pub fn new(link: Link, patience: Duration) -> Access {
        Access { link, patience, client: Mutex::default(), engine: Mutex::default() }
    }

    /// The node's link.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// How long no address of the node may answer.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The control connection; those who come meanwhile wait for it.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn client(&self) -> Result<Arc<Client>, Error> {
        let mut known = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*known {
            return Ok(client.clone());
        }
        let opened = Arc::new(Client::connect(&self.link, &self.link.display_name(), self.patience)?);
        *known = Some(opened.clone());
        Ok(opened)
    }

    /// The next one who asks gets another connection, unless somebody has got one since.
    pub fn forget(&self, client: &Arc<Client>) {
        let mut known = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        known.take_if(|known| Arc::ptr_eq(known, client));
    }

    /// The engine, started with the first range that needs one.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub(super) fn engine(&self) -> Result<Arc<Engine>, Error> {
        let mut known = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*known {
            return Ok(engine.clone());
        }
        let started = Arc::new(Engine::start(fetch::engine_config())?);
        *known = Some(started.clone());
        Ok(started)
    }
}
