//! Many ranges of one node at once. What is asked for while as many calls as may be are under way waits, and shares the next call.

use super::access::Access;
use super::call::{self, Failed};
use super::fetch;
use super::{FileRange, ReadRange};
use crate::client::Client;
use crate::limits::{
    RANGE_CALL_LEN_MAX, RANGE_CALLS_MAX, RANGE_CROWDED_WAIT, RANGE_FETCHES_MAX, RANGE_RETRIES_MAX,
    RANGES_CALL_LEN_MAX, RANGES_PER_CALL_MAX, RANGES_WAITING_MAX,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use xfer_engine::{Class, Error};

/// Hears what came of a range, on the queue's thread; it must not wait for long.
pub type Done = Box<dyn FnOnce(Result<ReadRange, Error>) + Send>;

/// A range that waits or is read.
struct Task {
    range: FileRange,
    done: Done,
    /// Cancellations before it was submitted.
    epoch: u64,
}

impl Task {
    fn is_small(&self) -> bool {
        self.range.len <= RANGE_CALL_LEN_MAX
    }
}

/// Reads ranges on a thread of its own, which ends with this.
pub struct RangeQueue {
    tasks: Option<Sender<Task>>,
    epoch: watch::Sender<u64>,
    thread: Option<JoinHandle<()>>,
}

impl RangeQueue {
    /// A queue to a node; connects with the first range.
    ///
    /// # Errors
    /// `Fatal` when the system gives no thread.
    pub fn new(access: Arc<Access>) -> Result<RangeQueue, Error> {
        let (tasks, queue) = mpsc::channel(RANGES_WAITING_MAX);
        let (epoch, cancelled) = watch::channel(0);
        let reader = Reader { access, cancelled, fetches: Arc::new(Semaphore::new(RANGE_FETCHES_MAX)) };
        let thread = std::thread::Builder::new().name("xfer-ranges".to_owned());
        let thread = thread.spawn(move || reader.run(queue));
        let thread = thread.map_err(|error| Error::new(Class::Fatal, "start a thread").because(error))?;
        Ok(RangeQueue { tasks: Some(tasks), epoch, thread: Some(thread) })
    }

    /// Asks for a range; `done` hears of it, once. False, and `done` hears nothing, when [`RANGES_WAITING_MAX`] wait already.
    pub fn submit(&self, range: FileRange, done: Done) -> bool {
        let task = Task { range, done, epoch: *self.epoch.borrow() };
        self.tasks.as_ref().is_some_and(|tasks| tasks.try_send(task).is_ok())
    }

    /// Reads one range, and waits for it.
    ///
    /// # Errors
    /// What it failed by; `Temporary` when too many wait.
    pub fn read(&self, range: FileRange) -> Result<ReadRange, Error> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let done = Box::new(move |read| {
            // Whoever asked waits below.
            tell.send(read).unwrap_or_default();
        });
        let busy = || Error::new(Class::Temporary, "too many ranges wait");
        if !self.submit(range, done) {
            return Err(busy());
        }
        told.recv().unwrap_or_else(|_| Err(busy()))
    }

    /// Ends all that was submitted so far: it fails with `Interrupted`, unless it has ended just now.
    pub fn cancel(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }
}

impl Drop for RangeQueue {
    fn drop(&mut self) {
        self.cancel();
        drop(self.tasks.take());
        // A panic there was told by its own.
        self.thread.take().map(JoinHandle::join).transpose().unwrap_or_default();
    }
}

/// What the queue's thread has.
#[derive(Clone)]
struct Reader {
    access: Arc<Access>,
    /// Counts cancellations.
    cancelled: watch::Receiver<u64>,
    /// Downloads that may run at once.
    fetches: Arc<Semaphore>,
}

impl Reader {
    fn run(self, mut queue: Receiver<Task>) {
        while let Some(first) = queue.blocking_recv() {
            if first.epoch < *self.cancelled.borrow() {
                (first.done)(Err(fetch::cancelled()));
                continue;
            }
            match self.access.client() {
                Ok(client) => client.drive(self.drive(&client, &mut queue, first)),
                Err(error) => {
                    // Those that came meanwhile would wait as long for the same.
                    let waiting = std::iter::from_fn(|| queue.try_recv().ok());
                    for task in std::iter::once(first).chain(waiting) {
                        (task.done)(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Reads until nothing is left.
    async fn drive(&self, client: &Arc<Client>, queue: &mut Receiver<Task>, first: Task) {
        let (mut running, mut waiting) = (JoinSet::new(), VecDeque::from([first]));
        let (mut calls, mut open) = (0, true);
        loop {
            while waiting.len() < RANGES_WAITING_MAX
                && let Ok(task) = queue.try_recv()
            {
                waiting.push_back(task);
            }
            while calls < RANGE_CALLS_MAX
                && let Some(batch) = next(&mut waiting)
            {
                calls += 1;
                running.spawn(self.clone().batch(client.clone(), batch));
            }
            if calls == 0 {
                return;
            }
            tokio::select! {
                Some(ended) = running.join_next() => {
                    calls -= 1;
                    if ended.is_err() {
                        tracing::error!("reading ranges ended by a bug");
                    }
                }
                task = queue.recv(), if open && waiting.len() < RANGES_WAITING_MAX => match task {
                    Some(task) => waiting.push_back(task),
                    None => open = false,
                },
            }
        }
    }

    async fn batch(self, client: Arc<Client>, batch: Vec<Task>) {
        let epoch = batch.iter().map(|task| task.epoch).min().unwrap_or_default();
        let mut cancelled = self.cancelled.clone();
        let mut tasks: Vec<Option<Task>> = batch.into_iter().map(Some).collect();
        let alone = tasks.iter().flatten().find(|task| !task.is_small()).map(|task| task.range.clone());
        let done = tokio::select! {
            biased;
            // The other end is never gone: the queue outlives its thread. A download that is left alone here sees it too, and ends.
            _ = cancelled.wait_for(|now| *now > epoch) => Err(fetch::cancelled()),
            done = async {
                match alone {
                    Some(range) => self.fetch(&client, &range, epoch).await.map(|read| end(&mut tasks, 0, Ok(read))),
                    None => self.call(&client, &mut tasks).await,
                }
            } => done,
        };
        let error = done.err();
        if error.as_ref().is_some_and(|error| error.class == Class::Temporary) {
            self.access.forget(&client);
        }
        for task in tasks.into_iter().flatten() {
            let unsaid = || Error::new(Class::Other, "the range has no end");
            (task.done)(Err(error.clone().unwrap_or_else(unsaid)));
        }
    }

    /// Reads what is left of `tasks` by calls: anew where the connection was lost, later where the node is crowded.
    async fn call(&self, client: &Client, tasks: &mut [Option<Task>]) -> Result<(), Error> {
        let (started, mut retries, mut wait) = (Instant::now(), 0, RANGE_CROWDED_WAIT);
        loop {
            let left: Vec<usize> = (0..tasks.len()).filter(|at| tasks[*at].is_some()).collect();
            let ranges: Vec<_> = tasks.iter().flatten().map(|task| task.range.clone()).collect();
            let failed = match call::read(client, &ranges, &mut |at, read| end(tasks, left[at], read)).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            match failed {
                Failed::Crowded(error) if started.elapsed() + wait > self.access.patience() => {
                    return Err(error);
                }
                Failed::Crowded(_) => {
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                Failed::Other(error) if error.class == Class::Temporary && retries < RANGE_RETRIES_MAX => {
                    tracing::debug!(%error, "a call for ranges is made again");
                    retries += 1;
                }
                Failed::Other(error) => return Err(error),
            }
        }
    }

    async fn fetch(&self, client: &Client, range: &FileRange, epoch: u64) -> Result<ReadRange, Error> {
        let lost = |what: &str| Error::new(Class::Other, what);
        let place = self.fetches.acquire().await.map_err(|_| lost("no download may run"))?;
        let engine = self.access.engine()?;
        let fetching = fetch::start(client, &engine, range).await?;
        let (name, cancelled) = (fetching.name().to_owned(), self.cancelled.clone());
        let waited =
            tokio::task::spawn_blocking(move || fetching.wait(&|| *cancelled.borrow() > epoch)).await;
        drop(place);
        let read = waited.map_err(|_| lost("a bug ended the download of a range"))?;
        if read.as_ref().is_err_and(|error| error.class == Class::Temporary) {
            client.give_back_later(&name, "no path to the node answered").await;
        }
        read
    }
}

/// Tells a task what came of it.
fn end(tasks: &mut [Option<Task>], at: usize, read: Result<ReadRange, Error>) {
    if let Some(task) = tasks.get_mut(at).and_then(Option::take) {
        (task.done)(read);
    }
}

/// What the next call is for: small ranges, as many as fit, or one that is fetched.
fn next(waiting: &mut VecDeque<Task>) -> Option<Vec<Task>> {
    let first = waiting.pop_front()?;
    let (mut len, mut batch) = (first.range.len, vec![first]);
    if !batch.iter().all(Task::is_small) {
        return Some(batch);
    }
    while batch.len() < RANGES_PER_CALL_MAX
        && let Some(task) =
            waiting.pop_front_if(|task| task.is_small() && len + task.range.len <= RANGES_CALL_LEN_MAX)
    {
        len += task.range.len;
        batch.push(task);
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(lens: &[u64]) -> VecDeque<Task> {
        let task = |len: &u64| Task {
            range: FileRange { path: Vec::new(), offset: 0, len: *len },
            done: Box::new(|_| {}),
            epoch: 0,
        };
        lens.iter().map(task).collect()
    }

    fn batches(lens: &[u64]) -> Vec<usize> {
        let mut waiting = waiting(lens);
        std::iter::from_fn(|| next(&mut waiting)).map(|batch| batch.len()).collect()
    }

    #[test]
    fn small_ranges_share_a_call_while_they_fit() {
        let small = RANGE_CALL_LEN_MAX;
        let fit = (RANGES_CALL_LEN_MAX / small) as usize;
        assert_eq!(batches(&[]), [0; 0]);
        assert_eq!(batches(&[small; 1]), [1]);
        assert_eq!(batches(&vec![small; fit]), [fit]);
        assert_eq!(batches(&vec![small; fit + 1]), [fit, 1]);
        assert_eq!(batches(&[0; RANGES_PER_CALL_MAX + 1]), [RANGES_PER_CALL_MAX, 1]);
        assert_eq!(batches(&[1, 1, small + 1, 1, u64::MAX, u64::MAX]), [2, 1, 1, 1, 1]);
    }

    #[test]
    fn a_queue_without_work_ends() {
        let link = crate::Link { token: [0; 32], fingerprint: [0; 32], addresses: Vec::new() };
        let access = Arc::new(Access::new(link, std::time::Duration::from_millis(1)));
        let queue = RangeQueue::new(access).unwrap();
        let range = FileRange { path: Vec::new(), offset: 0, len: 1 };
        assert_eq!(queue.read(range).unwrap_err().class, Class::Temporary);
        queue.cancel();
    }
}
