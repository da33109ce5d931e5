//! Work for a call that may block on files. The call counts until it is done, whether anybody still waits for it or not.

use crate::clients::Call;
use crate::limits::ANSWER_TIMEOUT;
use crate::status;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;
use tonic::{Request, Status};
use xfer_engine::{Class, Error};

/// What a request holds while it counts among the calls of the node.
#[derive(Clone)]
pub(crate) struct Counted {
    _call: Option<Arc<Call>>,
}

impl Counted {
    /// That of `request`.
    pub(crate) fn of<T>(request: &Request<T>) -> Counted {
        Counted { _call: request.extensions().get::<Arc<Call>>().cloned() }
    }

    /// Runs `work` where it may block, and tells its failure as a call's.
    pub(crate) async fn blocking<T: Send + 'static>(
        self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Status> {
        let kept = move || {
            let done = work();
            drop(self);
            done
        };
        match tokio::task::spawn_blocking(kept).await {
            Ok(done) => done.map_err(|error| status::of(&error)),
            Err(lost) => {
                tracing::error!(%lost, "a call ended by a bug");
                Err(status::of(&Error::new(Class::Other, "a bug of the node ended the call").because(lost)))
            }
        }
    }

    /// Runs `work`, which answers by itself, where it may block.
    pub(crate) fn answering(self, work: impl FnOnce() + Send + 'static) {
        tokio::task::spawn_blocking(move || {
            work();
            drop(self);
        });
    }
}

/// Sends a part of an answer from where one may block. False: the client went away, or read nothing for [`ANSWER_TIMEOUT`].
pub(crate) fn tell<T>(sender: &Sender<T>, part: T) -> bool {
    Handle::current().block_on(timeout(ANSWER_TIMEOUT, sender.send(part))).is_ok_and(|sent| sent.is_ok())
}
