//! The I/O threads: everything that may wait for storage runs here, handed over by bounded queues, answered to the worker
//! that asked.

use crate::error::{Class, Error, panic_text};
use crate::limits;
use crate::sink::{Decided, Ended, Sink, Verdict};
use crate::source::{ChunkPlan, Encoding, Listing, ReadChunk, Source};
use crate::worker::{Mail, Mailbox};
use crossbeam::channel::{Receiver, Sender, bounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use xfer_io::borrows::Slot;
use xfer_io::pool::ChunkBuf;
use xfer_proto::wire::{Decision, Durability, Page};

/// Something to be done on storage.
pub(crate) enum Job {
    List(Arc<dyn Source>, u32),
    Decided(Arc<dyn Source>, u32, Vec<Decision>),
    Read(Arc<dyn Source>, ChunkPlan, u8, ChunkBuf),
    EndObject(Arc<dyn Source>, u32),
    Decide(Arc<dyn Sink>, Box<Page>),
    Write(Arc<dyn Sink>, ChunkPlan, Encoding, ChunkBuf),
    Withdraw(Arc<dyn Sink>, u32, Box<Error>),
    EndOpen(Arc<dyn Sink>, u32, u64),
    Sync(Arc<dyn Sink>),
    Finish(Arc<dyn Sink>),
    Abort(Arc<dyn Sink>),
}

/// What came of a job.
pub(crate) enum Answer {
    Listed(Result<Listing, Error>),
    DecisionsTold(u32, Vec<Decision>),
    /// The last is how long it took.
    Read(ChunkPlan, u8, ChunkBuf, Result<ReadChunk, Error>, Duration),
    ObjectEnded(u32, Result<Option<[u8; 32]>, Error>),
    Decided(Box<Page>, Result<Decided, Error>),
    Written(ChunkPlan, Encoding, ChunkBuf, Result<Verdict, Error>),
    Ended(Vec<Ended>),
    Synced(Result<Vec<Ended>, Error>),
    Finished(Result<(Vec<Ended>, Durability), Error>),
    Aborted,
    /// A source or sink panicked.
    Panicked(String),
}

struct Task {
    job: Job,
    owner: u32,
    reply: Mailbox,
}

/// The I/O threads' common queue. Dropping it ends them after their present job.
pub(crate) struct Storage {
    tasks: Option<Sender<Task>>,
    threads: Vec<JoinHandle<Option<()>>>,
}

/// A worker's way to the I/O threads.
#[derive(Clone)]
pub(crate) struct StorageHandle {
    tasks: Sender<Task>,
    reply: Mailbox,
}

impl Storage {
    /// Starts `threads` threads.
    pub(crate) fn start(threads: usize) -> Result<Self, Error> {
        let (tasks, receiver) = bounded(limits::JOBS_MAX);
        let mut storage = Storage { tasks: Some(tasks), threads: Vec::new() };
        for i in 0..threads.min(limits::IO_THREADS_MAX) {
            let receiver: Receiver<Task> = receiver.clone();
            let slot = Slot::new(limits::WORKERS_MAX + i).expect("bounded by IO_THREADS_MAX");
            let name = format!("xfer-io-{i}");
            let thread = xfer_io::thread::spawn(&name, None, move || run(&receiver, slot))
                .map_err(|e| Error::new(Class::Fatal, "start an I/O thread").because(e))?;
            storage.threads.push(thread);
        }
        Ok(storage)
    }

    /// A handle whose answers go to `reply`.
    pub(crate) fn handle(&self, reply: Mailbox) -> StorageHandle {
        StorageHandle { tasks: self.tasks.clone().expect("open until dropped"), reply }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.tasks = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("an I/O thread panicked outside of a job");
            }
        }
    }
}

impl StorageHandle {
    /// Hands a job over for driver `owner`. The queue is longer than all jobs that drivers may have under way.
    pub(crate) fn submit(&self, owner: u32, job: Job) {
        let task = Task { job, owner, reply: self.reply.clone() };
        assert!(self.tasks.try_send(task).is_ok(), "more jobs under way than JOBS_MAX, or I/O threads gone");
    }
}

fn run(tasks: &Receiver<Task>, slot: Slot) {
    for Task { job, owner, reply } in tasks {
        let answer = catch_unwind(AssertUnwindSafe(|| perform(job, slot)))
            .unwrap_or_else(|panic| Answer::Panicked(panic_text(&*panic)));
        reply.send(Mail::Answer(owner, answer));
    }
}

fn perform(job: Job, slot: Slot) -> Answer {
    match job {
        Job::List(source, first_object) => Answer::Listed(source.list(first_object)),
        Job::Decided(source, first_object, decisions) => {
            source.decided(first_object, &decisions);
            Answer::DecisionsTold(first_object, decisions)
        }
        Job::Read(source, plan, attempt, buffer) => {
            let mut bytes = buffer.writer(slot, 0..buffer.len()).expect("the buffer is this job's alone");
            let start = Instant::now();
            let read = source.read(&plan, attempt, &mut bytes);
            drop(bytes);
            Answer::Read(plan, attempt, buffer, read, start.elapsed())
        }
        Job::EndObject(source, object) => Answer::ObjectEnded(object, source.end(object)),
        Job::Decide(sink, page) => {
            let decided = sink.decide(&page);
            Answer::Decided(page, decided)
        }
        Job::Write(sink, plan, encoding, buffer) => {
            let stored = buffer
                .reader(slot, 0..encoding.stored_len as usize)
                .expect("a full chunk is written by nobody");
            let verdict = sink.write(&plan, &encoding, &stored);
            drop(stored);
            Answer::Written(plan, encoding, buffer, verdict)
        }
        Job::Withdraw(sink, object, error) => Answer::Ended(sink.withdraw(object, *error)),
        Job::EndOpen(sink, object, size) => Answer::Ended(sink.end_open(object, size)),
        Job::Sync(sink) => Answer::Synced(sink.sync()),
        Job::Finish(sink) => Answer::Finished(sink.finish()),
        Job::Abort(sink) => {
            sink.abort();
            Answer::Aborted
        }
    }
}
