//! The I/O threads: everything that may wait for storage runs here, handed over by bounded queues, answered to the worker
//! that asked.

use crate::codec;
use crate::error::{Class, Error, Side, panic_text};
use crate::limits;
use crate::sink::{Decided, Ended, Sink, Verdict};
use crate::source::{ChunkPlan, Encoding, Lent, Listing, ReadChunk, Source};
use crate::transfer::Stored;
use crate::worker::{Mail, Mailbox};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use xfer_io::borrows::Slot;
use xfer_io::pool::ChunkBuf;
use xfer_io::registered::Registered;
use xfer_io::thread::join_by;
use xfer_proto::wire::{Codec, Decision, Durability, Page};

/// Something to be done on storage.
pub(crate) enum Job {
    List(Arc<dyn Source>, u32),
    Decided(Arc<dyn Source>, u32, Vec<Decision>),
    Read(Arc<dyn Source>, ChunkPlan, u8, ChunkBuf),
    /// Digests a lent chunk; the last is the size of a full one.
    Digest(Arc<dyn Source>, ChunkPlan, u8, Lent, usize),
    EndObject(Arc<dyn Source>, u32),
    /// The last is the size of a full chunk.
    Decide(Arc<dyn Sink>, Box<Page>, usize),
    Write(Arc<dyn Sink>, ChunkPlan, Encoding, Stored),
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
    /// A chunk was read, or digested where it is. The last is how long it took.
    Read(ChunkPlan, u8, Stored, Result<ReadChunk, Error>, Duration),
    ObjectEnded(u32, Result<Option<[u8; 32]>, Error>),
    Decided(Box<Page>, Result<Decided, Error>, Memories),
    Written(ChunkPlan, Encoding, Stored, Result<Verdict, Error>),
    Ended(Vec<Ended>),
    Synced(Result<Vec<Ended>, Error>),
    Finished(Result<(Vec<Ended>, Durability), Error>),
    Aborted,
    /// A source or sink panicked.
    Panicked(String),
}

/// Objects that are received into memory of the application, in the order of their numbers.
pub(crate) type Memories = Vec<(u32, Registered)>;

struct Task {
    job: Job,
    owner: u32,
    reply: Mailbox,
}

/// The I/O threads' common queue. Dropping it ends them after their present job, which is waited for as long as for workers.
pub(crate) struct Storage {
    tasks: Option<Sender<Task>>,
    threads: Vec<JoinHandle<Option<()>>>,
}

/// A worker's way to the I/O threads.
pub(crate) struct StorageHandle {
    tasks: Sender<Task>,
    reply: Mailbox,
    /// Jobs for which the queue had no room: bounded by what each transfer may have under way.
    waiting: RefCell<VecDeque<Task>>,
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
        let tasks = self.tasks.clone().expect("open until dropped");
        StorageHandle { tasks, reply, waiting: RefCell::default() }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.tasks = None;
        let deadline = Instant::now() + limits::STOP_PATIENCE;
        for thread in self.threads.drain(..) {
            match join_by(thread, deadline) {
                Some(Ok(_)) => {}
                // Its job may wait for ever: for a pipe that nobody writes to, for a file system that is away.
                None => tracing::debug!("an I/O thread is left to its job"),
                Some(Err(_)) => tracing::error!("an I/O thread panicked outside of a job"),
            }
        }
    }
}

impl StorageHandle {
    /// Hands a job over for driver `owner`, behind all that it handed over before; it waits here while the queue is full.
    pub(crate) fn submit(&self, owner: u32, job: Job) {
        let task = Task { job, owner, reply: self.reply.clone() };
        self.waiting.borrow_mut().push_back(task);
        self.flush();
    }

    /// Hands over what waits, as far as the queue has room. Whether something still waits.
    pub(crate) fn flush(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(task) = waiting.pop_front() {
            match self.tasks.try_send(task) {
                Ok(()) => {}
                Err(TrySendError::Full(task)) => {
                    waiting.push_front(task);
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => panic!("the I/O threads are gone"),
            }
        }
        false
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
            Answer::Read(plan, attempt, Stored::Buffer(buffer), read, start.elapsed())
        }
        Job::Digest(source, plan, attempt, lent, chunk_bytes) => {
            let start = Instant::now();
            let len = plan.plain_len;
            let digests =
                lent.read(0..len as usize, |bytes| source.digest(&plan, attempt, chunk_bytes, bytes));
            let read = ReadChunk::plain(len, digests);
            Answer::Read(plan, attempt, Stored::Lent(lent), Ok(read), start.elapsed())
        }
        Job::EndObject(source, object) => Answer::ObjectEnded(object, source.end(object)),
        Job::Decide(sink, page, chunk_bytes) => {
            let decided = sink.decide(&page);
            let memories = decided
                .as_ref()
                .map_or_else(|_| Memories::new(), |decided| memories(&*sink, &page, decided, chunk_bytes));
            Answer::Decided(page, decided, memories)
        }
        Job::Write(sink, plan, encoding, stored) => {
            let verdict = write(&*sink, &plan, &encoding, &stored, slot);
            Answer::Written(plan, encoding, stored, verdict)
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

/// What the sink lends of the application's memory for a page that was decided.
pub(crate) fn memories(sink: &dyn Sink, page: &Page, decided: &Decided, chunk_bytes: usize) -> Memories {
    let objects = (page.first_object..).zip(&page.entries).zip(&decided.decisions);
    let large = |size: u64| size > chunk_bytes as u64 / 4;
    objects
        .filter(|((_, entry), decision)| {
            let needed = matches!(decision, Decision::Need | Decision::Resume(_));
            needed && entry.has_content() && !entry.open && large(entry.size)
        })
        .filter_map(|((object, entry), _)| {
            let memory = sink.memory(object, chunk_bytes)?;
            (memory.len() as u64 >= entry.size).then_some((object, memory))
        })
        .collect()
}

fn write(
    sink: &dyn Sink,
    plan: &ChunkPlan,
    encoding: &Encoding,
    stored: &Stored,
    slot: Slot,
) -> Result<Verdict, Error> {
    let len = encoding.stored_len as usize;
    let verdict = if matches!(stored, Stored::Part(_)) && encoding.codec != Codec::Plain {
        decode_in_place(plan, encoding, stored, slot).and_then(|decoded| match decoded {
            Some(plain) => {
                stored.read(slot, 0..plan.plain_len as usize, |bytes| sink.write(plan, &plain, bytes))
            }
            None => Some(Ok(Verdict::Rejected)),
        })
    } else {
        stored.read(slot, 0..len, |bytes| sink.write(plan, encoding, bytes))
    };
    verdict.unwrap_or_else(|| Err(taken_back()))
}

/// Turns the stored bytes of a chunk in the application's memory into its plain bytes there. `None`: the memory is out of reach; in it `None`:
/// they do not decode.
fn decode_in_place(
    plan: &ChunkPlan,
    encoding: &Encoding,
    stored: &Stored,
    slot: Slot,
) -> Option<Option<Encoding>> {
    let packed = stored.read(slot, 0..encoding.stored_len as usize, <[u8]>::to_vec)?;
    let mut plain = stored.writer(slot, 0..plan.plain_len as usize)?;
    let decoded = codec::decode(encoding.codec, &packed, &mut plain);
    let digests = encoding.digests.clone();
    Some(decoded.ok().map(|()| Encoding { codec: Codec::Plain, stored_len: plan.plain_len, digests }))
}

/// The application took memory back that content was being received into.
pub(crate) fn taken_back() -> Error {
    Error::new(Class::Interrupted, "the memory was taken back while content came").on(Side::Destination)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::MemorySink;
    use crate::worker::post;
    use xfer_io::wake::Poller;

    #[test]
    fn jobs_that_find_the_queue_full_wait_in_order() {
        let poller = Poller::new().expect("an epoll");
        let (reply, _post) = post(poller.waker());
        let (tasks, queue) = bounded(2);
        let handle = StorageHandle { tasks, reply, waiting: RefCell::default() };
        assert!(!handle.flush());
        for owner in 0..5 {
            handle.submit(owner, Job::Abort(Arc::new(MemorySink::discarding(false))));
        }
        let mut owners = Vec::new();
        for left in [true, true, false, false, false] {
            owners.push(queue.try_recv().expect("a job").owner);
            assert_eq!(handle.flush(), left, "after {owners:?}");
        }
        assert_eq!(owners, [0, 1, 2, 3, 4]);
    }
}
