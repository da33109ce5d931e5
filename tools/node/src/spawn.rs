//! Work for a call that may block on files.

use crate::status;
use tonic::Status;
use xfer_engine::{Class, Error};

/// Runs `work` where it may block, and tells its failure as a call's.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| status::of(&error)),
        Err(lost) => {
            tracing::error!(%lost, "a call ended by a bug");
            Err(status::of(&Error::new(Class::Other, "a bug of the node ended the call").because(lost)))
        }
    }
}
