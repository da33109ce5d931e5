//! SIGINT and SIGTERM: the first one asks for an end, the second one ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use tokio::signal::unix::{SignalKind, signal};
use xfer_client::{Class, Error};

/// What a first signal sets in motion.
pub(crate) struct Asked {
    /// Set by the first signal.
    pub(crate) cancel: Arc<AtomicBool>,
    /// Told of the first signal.
    pub(crate) told: Receiver<()>,
}

/// Watches for both signals on a thread of its own. `first` runs there at the first one; the second one runs `last` and exits with `code`.
///
/// # Errors
/// The system gives no thread or no way to hear signals.
pub(crate) fn watch(
    code: u8,
    first: impl Fn() + Send + 'static,
    last: impl Fn() + Send + 'static,
) -> Result<Asked, Error> {
    let failed = |e: std::io::Error| Error::new(Class::Fatal, "watch for signals").because(e);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(failed)?, signal(SignalKind::terminate()).map_err(failed)?)
    };
    let cancel = Arc::new(AtomicBool::new(false));
    let (tell, told) = mpsc::channel();
    let flag = cancel.clone();
    let heard = async move {
        let mut times = 0;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            times += 1;
            if times > 1 {
                last();
                std::process::exit(code.into());
            }
            flag.store(true, Ordering::Relaxed);
            first();
            // Nobody listens when the command is over already.
            tell.send(()).unwrap_or_default();
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(heard))
        .map_err(failed)?;
    Ok(Asked { cancel, told })
}
