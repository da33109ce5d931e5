//! What is asked of the queues of an engine, and what they obtained.

use crate::api::{EngineConfig, Poll, QueueReport};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use xfer_io::limits::BUSY_POLL_US;
use xfer_io::queue::Queue;
use xfer_io::udp::UdpConfig;

/// What is asked of each queue.
#[derive(Clone, Copy)]
pub(crate) struct QueueOptions {
    offloads: bool,
    zero_copy: bool,
    busy: bool,
}

impl QueueOptions {
    pub(crate) fn of(config: &EngineConfig) -> Self {
        let busy = config.poll == Poll::Busy;
        QueueOptions { offloads: config.offloads, zero_copy: config.zero_copy, busy }
    }

    /// The settings of a socket bound to `local`.
    pub(crate) fn socket(&self, local: SocketAddr) -> UdpConfig {
        let mut config = UdpConfig::new(local);
        config.gso = self.offloads;
        config.gro = self.offloads;
        config.zero_copy = self.zero_copy;
        config.busy_poll_us = self.busy.then_some(BUSY_POLL_US);
        config
    }
}

/// What all queues of an engine obtained; workers write, the application reads.
#[derive(Clone, Default)]
pub(crate) struct QueueReports(Arc<Mutex<Vec<QueueReport>>>);

impl QueueReports {
    /// Reports a queue of worker `worker`. Returns the place of its report.
    pub(crate) fn add(&self, worker: usize, queue: &impl Queue) -> usize {
        let capabilities = queue.capabilities().clone();
        tracing::debug!(worker, local = %queue.local_addr(), ?capabilities, "a queue is open");
        let mut reports = self.0.lock().unwrap_or_else(|e| e.into_inner());
        reports.push(QueueReport { worker, local: queue.local_addr(), capabilities });
        reports.len() - 1
    }

    /// Reports the queue of `place` again, since it learned what it can do.
    pub(crate) fn renew(&self, place: usize, queue: &impl Queue) {
        let capabilities = queue.capabilities();
        let why = capabilities.notes.last().map_or("", String::as_str);
        let zero_copy = capabilities.zero_copy.name();
        tracing::info!(local = %queue.local_addr(), zero_copy, why, "a queue learned what it can do");
        let mut reports = self.0.lock().unwrap_or_else(|e| e.into_inner());
        reports[place].capabilities.clone_from(capabilities);
    }

    /// All of them, in the order they were opened.
    pub(crate) fn all(&self) -> Vec<QueueReport> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}
