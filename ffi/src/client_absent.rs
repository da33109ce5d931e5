//! In the place of the client of nodes where the library is built without it.

use crate::engine::Engine;
use crate::status::{Detail, Failure, Outcome, XFER_ERR_UNSUPPORTED};
use crate::structs::{ClientOptions, Operation};
use std::sync::Arc;

/// There is none.
pub(crate) enum Client {}

fn absent() -> Failure {
    Failure::new(XFER_ERR_UNSUPPORTED, "this libxfer was built without the client of nodes")
}

impl Client {
    pub(crate) fn open(_: &Arc<Engine>, _: &ClientOptions) -> Outcome<Arc<Client>> {
        Err(absent())
    }

    pub(crate) fn submit(&self, _: &Operation) -> Outcome<()> {
        match *self {}
    }

    pub(crate) fn close(&self) -> Outcome<()> {
        match *self {}
    }

    pub(crate) fn left(&self) {
        match *self {}
    }

    pub(crate) fn detail(&self) -> &Detail {
        match *self {}
    }
}
