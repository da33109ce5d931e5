//! A client of one node: its operations run on a thread of its own, one after the other, and tell by the engine's completion queue. Ranges
//! are read on another, many at once.

use crate::completion::{NOTHING, Told, set_digest};
use crate::connection::{name, unsupported};
use crate::engine::Engine;
use crate::input;
use crate::memory::Use;
use crate::place::{MemoryPlace, Target};
use crate::status::{Detail, Failure, Outcome, XFER_ERR_BUSY, XFER_ERR_FULL};
use crate::structs::*;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use xfer_client::{
    Access, CopyEvent, CopyRequest, Entry, FileRange, Kind, Link, Listed, Location, RangeQueue, ReadRange,
    Remote, copy,
};
use xfer_engine::sink::Place;
use xfer_engine::{Class, Error};

/// Operations that wait for the one before.
const OPERATIONS_MAX: usize = 256;
/// How long no address may answer, where the application does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client.
pub(crate) struct Client {
    engine: Arc<Engine>,
    tasks: Mutex<Option<SyncSender<Task>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    ranges: Mutex<Option<RangeQueue>>,
    outstanding: Arc<AtomicUsize>,
    /// Set for what was submitted before a cancellation.
    cancel: Mutex<Arc<AtomicBool>>,
    detail: Detail,
}

/// An operation, with its texts copied.
struct Task {
    kind: u32,
    user: u64,
    recursive: bool,
    /// On the node.
    there: Vec<u8>,
    /// On this machine.
    here: Vec<u8>,
    cancel: Arc<AtomicBool>,
}

/// What the client's thread has.
struct Runner {
    engine: Arc<Engine>,
    access: Arc<Access>,
}

impl Client {
    pub(crate) fn open(engine: &Arc<Engine>, options: &ClientOptions) -> Outcome<Arc<Client>> {
        engine.running()?;
        let link = Link::parse(input::text(options.link, "link")?.as_bytes());
        let link = link.map_err(|error| Failure::argument(error.to_string()))?;
        let patience = input::duration(options.timeout_ms, PATIENCE);
        let (tasks, queue) = sync_channel(OPERATIONS_MAX);
        let outstanding = Arc::new(AtomicUsize::new(0));
        let access = Arc::new(Access::new(link, patience));
        let ranges = RangeQueue::new(access.clone())?;
        let runner = Runner { engine: engine.clone(), access };
        let counted = outstanding.clone();
        let thread = std::thread::Builder::new().name("xfer-client".to_owned());
        let thread = thread.spawn(move || runner.run(&queue, &counted));
        let thread = thread
            .map_err(|error| Failure::from(Error::new(Class::Fatal, "start a thread").because(error)))?;
        Ok(Arc::new(Client {
            engine: engine.clone(),
            tasks: Mutex::new(Some(tasks)),
            thread: Mutex::new(Some(thread)),
            ranges: Mutex::new(Some(ranges)),
            outstanding,
            cancel: Mutex::default(),
            detail: Detail::default(),
        }))
    }

    /// Takes one operation.
    pub(crate) fn submit(&self, operation: &Operation) -> Outcome<()> {
        self.take(operation).inspect_err(|failure| self.detail.keep(failure.text.clone()))
    }

    fn take(&self, operation: &Operation) -> Outcome<()> {
        self.engine.running()?;
        let mut cancel = self.cancel.lock().unwrap_or_else(PoisonError::into_inner);
        match operation.kind {
            XFER_OP_CLIENT_LIST | XFER_OP_CLIENT_STAT | XFER_OP_CLIENT_GET | XFER_OP_CLIENT_PUT => {}
            XFER_OP_CLIENT_READ => return self.read(operation),
            XFER_OP_CLIENT_CANCEL => {
                std::mem::take(&mut *cancel).store(true, Ordering::Release);
                self.ranges(RangeQueue::cancel)?;
                return Ok(());
            }
            _ => return Err(unsupported("an operation")),
        }
        if operation.flags & !XFER_OP_FLAG_RECURSIVE != 0 {
            return Err(unsupported("a flag of an operation"));
        }
        let here = input::array(operation.data.cast_const().cast::<u8>(), operation.len as usize)?.to_vec();
        if matches!(operation.kind, XFER_OP_CLIENT_GET | XFER_OP_CLIENT_PUT) && here.is_empty() {
            return Err(Failure::argument("no local path"));
        }
        let task = Task {
            kind: operation.kind,
            user: operation.user,
            recursive: operation.flags & XFER_OP_FLAG_RECURSIVE != 0,
            there: name(operation)?.unwrap_or_default().to_vec(),
            here,
            cancel: cancel.clone(),
        };
        drop(cancel);
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tasks) = &*tasks else { return Err(Failure::argument("the client was closed")) };
        self.outstanding.fetch_add(1, Ordering::AcqRel);
        tasks.try_send(task).map_err(|error| {
            self.outstanding.fetch_sub(1, Ordering::AcqRel);
            match error {
                TrySendError::Full(_) => {
                    Failure::new(XFER_ERR_FULL, format!("{OPERATIONS_MAX} operations wait for the client"))
                }
                TrySendError::Disconnected(_) => Failure::argument("the client's thread is gone"),
            }
        })
    }

    /// Takes a range to be read.
    fn read(&self, operation: &Operation) -> Outcome<()> {
        if operation.flags != 0 {
            return Err(unsupported("a flag of an operation"));
        }
        if !operation.memory.is_null() {
            return Err(unsupported("registered memory for a range"));
        }
        let (start, len) = (operation.data.expose_provenance(), operation.len);
        let bytes = usize::try_from(len).map_err(|_| Failure::argument("no memory is as long as that"))?;
        let memory = match bytes {
            0 => None,
            _ => Some(Use::of(&self.engine.ranges, start, bytes, true, None)?),
        };
        let place = memory.map(|memory| MemoryPlace::new(memory, self.engine.counters.clone(), false));
        let path = name(operation)?.unwrap_or_default().to_vec();
        let (engine, outstanding, user) = (self.engine.clone(), self.outstanding.clone(), operation.user);
        let done = Box::new(move |read: Result<ReadRange, Error>| {
            let told = came(user, place, read);
            outstanding.fetch_sub(1, Ordering::AcqRel);
            tell(&engine, told);
        });
        self.outstanding.fetch_add(1, Ordering::AcqRel);
        let range = FileRange { path, offset: operation.offset, len };
        if self.ranges(|ranges| ranges.submit(range, done))? {
            return Ok(());
        }
        self.outstanding.fetch_sub(1, Ordering::AcqRel);
        Err(Failure::new(XFER_ERR_FULL, "as many ranges wait as may"))
    }

    fn ranges<T>(&self, body: impl FnOnce(&RangeQueue) -> T) -> Outcome<T> {
        let ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        ranges.as_ref().map(body).ok_or_else(|| Failure::argument("the client was closed"))
    }

    /// Whether it may be closed.
    pub(crate) fn close(&self) -> Outcome<()> {
        match self.outstanding.load(Ordering::Acquire) {
            0 => Ok(()),
            count => Err(Failure::new(XFER_ERR_BUSY, format!("{count} operations have no completion yet"))),
        }
    }

    /// Its handle is gone: ends the threads.
    pub(crate) fn left(&self) {
        let ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(ranges);
        drop(self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(panic)) = thread.map(JoinHandle::join) {
            drop(panic);
        }
        self.engine.children.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn detail(&self) -> &Detail {
        &self.detail
    }
}

impl Runner {
    fn run(self, queue: &Receiver<Task>, outstanding: &AtomicUsize) {
        for task in queue {
            let mut bare = Completion { user: task.user, kind: XFER_EVENT_DONE, ..NOTHING };
            let done = match task.cancel.load(Ordering::Acquire) {
                true => Err(Error::new(Class::Interrupted, "cancelled by the application")),
                false => self.perform(&task, &mut bare),
            };
            let error = done.err();
            // Counted before it is told: who hears it may close the client.
            outstanding.fetch_sub(1, Ordering::AcqRel);
            self.tell(Told { bare, name: None, error });
        }
    }

    fn perform(&self, task: &Task, bare: &mut Completion) -> Result<(), Error> {
        match task.kind {
            XFER_OP_CLIENT_LIST => self.list(task),
            XFER_OP_CLIENT_STAT => {
                let entry = self.call(|client| client.stat(&task.there, false))?;
                self.tell(told(task.user, entry));
                Ok(())
            }
            kind => self.copy(task, kind == XFER_OP_CLIENT_PUT, bare),
        }
    }

    fn tell(&self, told: Told) {
        tell(&self.engine, told);
    }

    /// Makes a call; the next one goes over another connection where this one was lost.
    fn call<T>(&self, call: impl FnOnce(&xfer_client::Client) -> Result<T, Error>) -> Result<T, Error> {
        let client = self.access.client()?;
        call(&client).inspect_err(|error| {
            if error.class == Class::Temporary {
                self.access.forget(&client);
            }
        })
    }

    fn list(&self, task: &Task) -> Result<(), Error> {
        let engine = self.engine.clone();
        let mut failure = None;
        let mut each = |listed| {
            if task.cancel.load(Ordering::Acquire) {
                return Err(Error::new(Class::Interrupted, "cancelled by the application"));
            }
            match listed {
                Listed::Entry(entry) => tell(&engine, told(task.user, entry)),
                Listed::Failure(error) => failure = failure.take().or(Some(error)),
            }
            Ok(())
        };
        self.call(|client| client.list(&task.there, task.recursive, &mut each))?;
        failure.map_or(Ok(()), |error| Err(Error { class: Class::Partial, ..error }))
    }

    fn copy(&self, task: &Task, upload: bool, bare: &mut Completion) -> Result<(), Error> {
        let here = Location::Local(PathBuf::from(OsString::from_vec(task.here.clone())));
        let link = self.access.link().clone();
        let node = link.display_name();
        let there = Location::Remote(Remote { link, node, path: task.there.clone() });
        let (source, destination) = if upload { (here, there) } else { (there, here) };
        let mut request = CopyRequest::new(vec![source], destination);
        request.options.recursive = task.recursive;
        request.options.connect_timeout = self.access.patience();
        request.cancel = task.cancel.clone();
        let summary = copy(&request, &mut |_: CopyEvent| {})?;
        bare.bytes = summary.total_bytes;
        bare.object = summary.files + summary.skipped;
        set_digest(bare, summary.digest);
        summary.error.map_or(Ok(()), Err)
    }
}

fn tell(engine: &Engine, told: Told) {
    engine.told.add(told);
    engine.signal.raise();
}

/// Puts a range where the application wants it. Its completion: nothing of the library reaches the memory any more.
fn came(user: u64, place: Option<MemoryPlace>, read: Result<ReadRange, Error>) -> Told {
    let mut bare = Completion { user, kind: XFER_EVENT_DONE, ..NOTHING };
    let put = read.and_then(|read| {
        if let Some(place) = &place {
            place.put(0, &read.content)?;
        }
        Ok(read)
    });
    if let Some(place) = place {
        place.close();
    }
    let error = match put {
        Ok(read) => {
            (bare.bytes, bare.object, bare.mtime_ns) =
                (read.content.len() as u64, read.file_size, read.mtime_ns);
            set_digest(&mut bare, Some(read.digest));
            None
        }
        Err(error) => Some(error),
    };
    Told { bare, name: None, error }
}

/// The completion of an object on the node.
fn told(user: u64, entry: Entry) -> Told {
    let mut bare = Completion { user, kind: XFER_EVENT_ENTRY, bytes: entry.size, ..NOTHING };
    bare.flags = match entry.kind {
        Kind::Directory => XFER_COMPLETION_DIRECTORY,
        Kind::Symlink => XFER_COMPLETION_SYMLINK,
        Kind::File | Kind::Other => 0,
    };
    (bare.mtime_ns, bare.mode) = (entry.mtime_ns, entry.mode);
    set_digest(&mut bare, entry.digest);
    Told { bare, name: Some(entry.path), error: None }
}
