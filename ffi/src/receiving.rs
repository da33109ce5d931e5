//! The receiving half of a connection: objects that are offered, where the application wants them, and what became of each.

use crate::completion::{NOTHING, Told};
use crate::connection::{Outstanding, reason, region, unsupported};
use crate::engine::Engine;
use crate::memory::Use;
use crate::place::{FilePlace, MemoryPlace, PipePlace, Target};
use crate::sending::duplicate;
use crate::status::{Failure, Outcome};
use crate::structs::{Completion, ConnectionHandle, Operation, XFER_EVENT_RECEIVED, XFER_OP_ACCEPT};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use xfer_engine::sink::{LiveSink, Place};
use xfer_engine::{Class, Error, FileEnd, Offer};

/// What a receiving connection keeps.
pub(crate) struct Receiving {
    sink: Arc<LiveSink>,
    chunk_bytes: u64,
    pub(crate) outstanding: Outstanding,
    objects: Mutex<Objects>,
}

#[derive(Default)]
struct Objects {
    /// Those that wait for a word, and their size.
    offered: BTreeMap<u32, Option<u64>>,
    /// Those that have one.
    answered: BTreeMap<u32, Answered>,
}

struct Answered {
    user: u64,
    target: Option<Arc<dyn Target>>,
}

impl Receiving {
    pub(crate) fn new(sink: Arc<LiveSink>, chunk_bytes: u64, outstanding: Outstanding) -> Self {
        Receiving { sink, chunk_bytes, outstanding, objects: Mutex::default() }
    }

    /// The application hears of an object.
    pub(crate) fn offered(&self, offer: &Offer) {
        if offer.content.is_none() {
            let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
            objects.offered.insert(offer.object, offer.size);
        }
    }

    /// Takes the word on an object: where it goes.
    pub(crate) fn accept(&self, engine: &Arc<Engine>, operation: &Operation) -> Outcome<()> {
        self.answer(operation, |number, size| {
            let target = self.target(engine, operation, size)?;
            let place: Arc<dyn Place> = target.clone();
            self.sink.accept(number, place)?;
            Ok(Some(target))
        })
    }

    /// Takes the word on an object: that it is not wanted.
    pub(crate) fn refuse(&self, operation: &Operation) -> Outcome<()> {
        let why = reason(operation)?.unwrap_or_else(|| "refused by the application".to_owned());
        self.answer(operation, |number, _| {
            self.sink.refuse(number, Error::new(Class::Refused, why))?;
            Ok(None)
        })
    }

    fn answer(
        &self,
        operation: &Operation,
        answer: impl FnOnce(u32, Option<u64>) -> Outcome<Option<Arc<dyn Target>>>,
    ) -> Outcome<()> {
        if operation.flags != 0 {
            return Err(unsupported("a flag of an operation"));
        }
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u32::try_from(operation.object).ok();
        let offered = number.and_then(|number| Some((number, *objects.offered.get(&number)?)));
        let Some((number, size)) = offered else {
            return Err(Failure::argument(format!("object {} waits for no answer", operation.object)));
        };
        self.outstanding.add()?;
        match answer(number, size) {
            Ok(target) => {
                objects.offered.remove(&number);
                objects.answered.insert(number, Answered { user: operation.user, target });
                Ok(())
            }
            Err(failure) => {
                self.outstanding.remove();
                Err(failure)
            }
        }
    }

    fn target(
        &self,
        engine: &Arc<Engine>,
        operation: &Operation,
        size: Option<u64>,
    ) -> Outcome<Arc<dyn Target>> {
        let counters = engine.counters.clone();
        if operation.kind != XFER_OP_ACCEPT {
            let file = duplicate(operation.fd)?;
            let of = file.metadata().map_err(|e| Failure::argument(format!("fstat: {e}")))?;
            return Ok(match of.is_file() {
                true => Arc::new(FilePlace::new(file, operation.offset, counters)),
                false => Arc::new(PipePlace::new(file, counters)),
            });
        }
        let room = operation.len;
        let len = size.unwrap_or(room);
        if len > room {
            return Err(Failure::argument(format!("{room} bytes of memory for an object of {len}")));
        }
        let len = usize::try_from(len).map_err(|_| Failure::argument("more memory than there is"))?;
        let (start, memory) = region(engine, operation, len)?;
        let used = Use::of(&engine.ranges, start, len, true, memory.as_deref())?;
        let may_lend = size.is_some_and(|size| size > self.chunk_bytes / 4);
        Ok(Arc::new(MemoryPlace::new(used, counters, may_lend)))
    }

    /// An object ended: the user value of the operation that answered for it. Its memory is the application's from here on.
    pub(crate) fn ended(&self, end: &FileEnd) -> Option<u64> {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let Answered { user, target } = objects.answered.remove(&end.object)?;
        drop(objects);
        if let Some(target) = target {
            target.close();
        }
        Some(user)
    }

    /// The connection has ended: so have all objects.
    pub(crate) fn end_all(&self, handle: *mut ConnectionHandle, why: &Error, ready: &mut VecDeque<Told>) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.offered.clear();
        for (number, Answered { user, target }) in std::mem::take(&mut objects.answered) {
            if let Some(target) = target {
                target.close();
            }
            let (kind, object) = (XFER_EVENT_RECEIVED, u64::from(number));
            let bare = Completion { user, connection: handle, kind, object, ..NOTHING };
            ready.push_back(Told { bare, name: None, error: Some(why.clone()) });
        }
    }
}
