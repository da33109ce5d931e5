//! Memory of the application: what is registered, what is in use, and bytes that are sent from where they lie.

use crate::engine::Engine;
use crate::status::{Detail, Failure, Outcome, XFER_ERR_BUSY};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Memory that stays where it is until it is unregistered.
pub(crate) struct Memory {
    pub(crate) engine: Arc<Engine>,
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Operations that use part of it.
    uses: Arc<AtomicU32>,
}

impl Memory {
    pub(crate) fn new(engine: Arc<Engine>, start: usize, len: usize) -> Self {
        Memory { engine, start, len, uses: Arc::default() }
    }

    /// Its engine's: memory has none of its own.
    pub(crate) fn detail(&self) -> &Detail {
        self.engine.detail()
    }

    /// Whether an operation uses part of it.
    pub(crate) fn is_used(&self) -> bool {
        self.uses.load(Ordering::Acquire) > 0
    }
}

/// Ranges of memory that operations of one engine use: many may read a byte, or one write it.
#[derive(Default)]
pub(crate) struct Ranges(Mutex<Vec<Used>>);

struct Used {
    range: Range<usize>,
    writes: bool,
}

/// A range in use; free again when this is dropped.
pub(crate) struct Use {
    ranges: Arc<Ranges>,
    range: Range<usize>,
    writes: bool,
    /// Registered memory that it is part of.
    _memory: Option<Registration>,
}

/// One use of registered memory.
struct Registration(Arc<AtomicU32>);

impl Registration {
    fn of(memory: &Memory) -> Self {
        memory.uses.fetch_add(1, Ordering::AcqRel);
        Registration(memory.uses.clone())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Use {
    /// Takes `len` bytes at `start`, of registered memory or not.
    pub(crate) fn of(
        ranges: &Arc<Ranges>,
        start: usize,
        len: usize,
        writes: bool,
        memory: Option<&Memory>,
    ) -> Outcome<Use> {
        let end = start.checked_add(len).filter(|end| start > 0 && *end <= isize::MAX as usize);
        let end = end.ok_or_else(|| Failure::argument("memory that is null, or ends behind all memory"))?;
        let range = start..end;
        let mut used = ranges.0.lock().unwrap_or_else(PoisonError::into_inner);
        let meets = |used: &Used| used.range.start < range.end && range.start < used.range.end;
        if used.iter().any(|used| (used.writes || writes) && meets(used)) {
            return Err(Failure::new(XFER_ERR_BUSY, "memory that another operation uses"));
        }
        used.push(Used { range: range.clone(), writes });
        drop(used);
        Ok(Use { ranges: ranges.clone(), range, writes, _memory: memory.map(Registration::of) })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        NonNull::new(std::ptr::with_exposed_provenance_mut(self.range.start)).expect("`of` refuses null")
    }

    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut ranges = self.ranges.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |used: &Used| used.writes == self.writes && used.range == self.range;
        if let Some(at) = ranges.iter().position(same) {
            ranges.swap_remove(at);
        }
    }
}

/// Bytes that are sent from where they lie. The engine drops it with its last use of them, whichever thread that is.
pub(crate) struct Loan {
    memory: Option<Use>,
    /// Told that the bytes are free.
    free: Box<dyn Fn() + Send + Sync>,
}

impl Loan {
    pub(crate) fn new(memory: Use, free: Box<dyn Fn() + Send + Sync>) -> Self {
        Loan { memory: Some(memory), free }
    }
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        let Some(memory) = &self.memory else { return &[] };
        // SAFETY: the application leaves the memory as it is until the completion, which `free` lets go: the header says so. `Use` keeps
        // receiving operations away from it.
        unsafe { std::slice::from_raw_parts(memory.start().as_ptr(), memory.len()) }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        drop(self.memory.take());
        (self.free)();
    }
}
