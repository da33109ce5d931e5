//! The sending half of a connection: objects in the order in which they were submitted, and what became of each.
//!
//! The completion of an object in the application's memory waits for two things: that the object ended, and that the engine's last use of the
//! memory is over, whichever comes last.

use crate::completion::{NOTHING, Told, set_digest};
use crate::connection::{Outstanding, bytes_at, name, region, unsupported};
use crate::engine::Engine;
use crate::memory::{Loan, Use};
use crate::status::{Failure, Outcome, XFER_ERR_ENDED};
use crate::stream::StreamReader;
use crate::structs::{
    Completion, ConnectionHandle, Operation, XFER_EVENT_SENT, XFER_OP_FLAG_MORE, XFER_OP_SEND,
    XFER_OP_SEND_FILE, XFER_SMALL_MAX,
};
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use xfer_engine::io::signal::Signal;
use xfer_engine::source::{LiveContent, LiveObject, LiveSource};
use xfer_engine::{Error, FileEnd};

/// The name of an object that was given none.
const NAME: &[u8] = b"object";

/// What a sending connection keeps.
pub(crate) struct Sending {
    source: Arc<LiveSource>,
    digests: bool,
    pub(crate) outstanding: Outstanding,
    objects: Mutex<Objects>,
    freed: Arc<Freed>,
    /// The connection has ended: threads that read streams let go.
    ended: Arc<AtomicBool>,
}

#[derive(Default)]
struct Objects {
    /// The number of the first one here.
    first: u64,
    queue: VecDeque<Object>,
    /// Nothing follows.
    finished: bool,
}

struct Object {
    user: u64,
    /// The engine may still look at its memory.
    lent: bool,
    /// How it ended, until that is told.
    end: Option<End>,
    told: bool,
}

struct End {
    bytes: u64,
    digest: Option<[u8; 32]>,
    error: Option<Error>,
}

/// Objects whose memory the engine has let go.
struct Freed {
    objects: Mutex<Vec<u64>>,
    some: AtomicBool,
    signal: Arc<Signal>,
}

impl Freed {
    fn add(&self, object: u64) {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).push(object);
        self.some.store(true, Ordering::Release);
        self.signal.raise();
    }
}

impl Sending {
    pub(crate) fn new(
        source: Arc<LiveSource>,
        digests: bool,
        outstanding: Outstanding,
        signal: Arc<Signal>,
    ) -> Self {
        let freed = Freed { objects: Mutex::default(), some: AtomicBool::new(false), signal };
        Sending {
            source,
            digests,
            outstanding,
            objects: Mutex::default(),
            freed: Arc::new(freed),
            ended: Arc::default(),
        }
    }

    /// Takes an object.
    pub(crate) fn submit(&self, engine: &Arc<Engine>, operation: &Operation) -> Outcome<()> {
        if operation.flags & !XFER_OP_FLAG_MORE != 0 {
            return Err(unsupported("a flag of an operation"));
        }
        let name = name(operation)?.unwrap_or(NAME);
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let number = objects.first + objects.queue.len() as u64;
        if objects.finished || number >= u64::from(u32::MAX) {
            return Err(Failure::new(XFER_ERR_ENDED, "nothing may follow on this connection"));
        }
        let content = self.content(engine, operation, number)?;
        let lent = matches!(content, LiveContent::Memory(_));
        let last = matches!(content, LiveContent::Stream(_));
        let object = LiveObject::new(name, content, self.digests)?;
        let object = if operation.flags & XFER_OP_FLAG_MORE != 0 { object.with_more() } else { object };
        self.outstanding.add()?;
        if self.source.push(object).is_err() {
            self.outstanding.remove();
            return Err(Failure::new(XFER_ERR_ENDED, "nothing may follow on this connection"));
        }
        objects.finished |= last;
        objects.queue.push_back(Object { user: operation.user, lent, end: None, told: false });
        Ok(())
    }

    fn content(&self, engine: &Arc<Engine>, operation: &Operation, number: u64) -> Outcome<LiveContent> {
        match operation.kind {
            XFER_OP_SEND => self.memory(engine, operation, number),
            XFER_OP_SEND_FILE => {
                let file = duplicate(operation.fd)?;
                let of = file.metadata().map_err(|e| Failure::argument(format!("fstat: {e}")))?;
                let end = operation.offset.checked_add(operation.len);
                if !of.is_file() || end.is_none_or(|end| end > of.len()) {
                    let text = "no regular file, or one that ends before the range does";
                    return Err(Failure::argument(text));
                }
                Ok(LiveContent::File(file, operation.offset, operation.len))
            }
            _ => {
                let (file, ended) = (duplicate(operation.fd)?, self.ended.clone());
                Ok(LiveContent::Stream(Box::new(StreamReader { file, ended })))
            }
        }
    }

    fn memory(&self, engine: &Arc<Engine>, operation: &Operation, number: u64) -> Outcome<LiveContent> {
        let too_long = || Failure::argument("more memory than there is");
        let len = usize::try_from(operation.len).map_err(|_| too_long())?;
        let (start, memory) = region(engine, operation, len)?;
        if operation.len <= XFER_SMALL_MAX {
            return Ok(LiveContent::Small(bytes_at(start, len)?.to_vec()));
        }
        let used = Use::of(&engine.ranges, start, len, false, memory.as_deref())?;
        let freed = self.freed.clone();
        Ok(LiveContent::Memory(Arc::new(Loan::new(used, Box::new(move || freed.add(number))))))
    }

    /// Nothing follows.
    pub(crate) fn finish(&self) {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).finished = true;
        self.source.finish();
    }

    pub(crate) fn has_freed(&self) -> bool {
        self.freed.some.load(Ordering::Acquire)
    }

    /// Completes objects whose memory is free by now.
    pub(crate) fn take_freed(&self, handle: *mut ConnectionHandle, ready: &mut VecDeque<Told>) {
        if !self.freed.some.swap(false, Ordering::AcqRel) {
            return;
        }
        let freed = std::mem::take(&mut *self.freed.objects.lock().unwrap_or_else(PoisonError::into_inner));
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        for number in freed {
            if let Some(object) = objects.get(number) {
                object.lent = false;
                ready.extend(object.tell(handle, number));
            }
        }
        objects.forget();
    }

    /// An object ended: its completion, if nothing else is waited for.
    pub(crate) fn ended(&self, handle: *mut ConnectionHandle, end: &FileEnd) -> Option<Told> {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u64::from(end.object);
        let object = objects.get(number)?;
        object.end = Some(End { bytes: end.bytes, digest: end.digest, error: end.error.clone() });
        let told = object.tell(handle, number);
        objects.forget();
        told
    }

    /// The connection has ended: so have all objects.
    pub(crate) fn end_all(&self, handle: *mut ConnectionHandle, why: &Error, ready: &mut VecDeque<Told>) {
        self.ended.store(true, Ordering::Release);
        self.source.clear();
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.finished = true;
        let first = objects.first;
        for (number, object) in (first..).zip(&mut objects.queue) {
            if object.end.is_none() && !object.told {
                object.end = Some(End { bytes: 0, digest: None, error: Some(why.clone()) });
                ready.extend(object.tell(handle, number));
            }
        }
        objects.forget();
    }
}

impl Objects {
    fn get(&mut self, number: u64) -> Option<&mut Object> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.queue.get_mut(at)
    }

    /// Forgets those at the front that were told.
    fn forget(&mut self) {
        while self.queue.front().is_some_and(|object| object.told && !object.lent) {
            self.queue.pop_front();
            self.first += 1;
        }
    }
}

impl Object {
    /// The completion, once, when the object ended and its memory is free.
    fn tell(&mut self, handle: *mut ConnectionHandle, number: u64) -> Option<Told> {
        let End { bytes, digest, error } = self.end.take_if(|_| !self.lent)?;
        self.told = true;
        let kind = XFER_EVENT_SENT;
        let mut bare =
            Completion { user: self.user, connection: handle, kind, object: number, bytes, ..NOTHING };
        set_digest(&mut bare, digest);
        Some(Told { bare, name: None, error })
    }
}

/// A descriptor of the engine's own for the application's file.
pub(crate) fn duplicate(fd: RawFd) -> Outcome<File> {
    if fd < 0 {
        return Err(Failure::argument("no file descriptor"));
    }
    // SAFETY: the number is not -1; where the application has no such descriptor, duplicating it fails.
    let given = unsafe { BorrowedFd::borrow_raw(fd) };
    let own = given.try_clone_to_owned();
    own.map(File::from).map_err(|error| Failure::argument(format!("duplicate descriptor {fd}: {error}")))
}
