//! Sinks that keep content in memory, or verify it and forget it: tests, benches, applications that want bytes and no files.

use super::arrived::Arrived;
use super::directory::lock;
use super::finish::bare_end;
use super::verify::{self, Scratch};
use super::{Action, Decided, Ended, Sink, Verdict};
use crate::digest;
use crate::error::{Class, Error, Side};
use crate::source::{ChunkPlan, Encoding};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use xfer_io::registered::Registered;
use xfer_proto::wire::{Decision, Durability, Entry, EntryKind, Page};

/// Receives objects into memory, each in one region that is allocated when the object is decided, or that was registered for it before; or
/// drops their bytes once they are verified. Content of large objects is opened in the region itself. Directories and symlinks are taken
/// and forgotten.
pub struct MemorySink {
    digests: bool,
    /// Bytes that all regions may take together; `None`: content is dropped.
    bytes_max: Option<u64>,
    table: Mutex<Table>,
    scratch: Scratch,
}

#[derive(Default)]
struct Table {
    taken: u64,
    /// Memory of objects that are not decided yet, by name.
    registered: BTreeMap<Vec<u8>, Vec<u8>>,
    open: HashMap<u32, Arc<Object>>,
    /// Each with the bytes that it counts for.
    done: BTreeMap<Vec<u8>, (Region, u64)>,
    closed: bool,
}

struct Object {
    number: u32,
    name: Vec<u8>,
    state: Mutex<State>,
}

/// The memory of one object.
enum Region {
    Own(Vec<u8>),
    /// Content is opened in it.
    Lent(Registered),
}

impl Region {
    fn empty() -> Self {
        Region::Own(Vec::new())
    }

    /// The memory alone: what still comes for the object does not reach it.
    #[expect(clippy::expect_used, reason = "whoever takes it leaves an empty one")]
    fn take(self) -> Vec<u8> {
        match self {
            Region::Own(vector) => vector,
            Region::Lent(memory) => memory.take_back().expect("a region is taken once"),
        }
    }
}

struct State {
    region: Region,
    /// Bytes that the region counts for.
    taken: u64,
    arrived: Arrived,
}

impl MemorySink {
    /// Keeps at most `bytes_max` bytes.
    pub fn new(bytes_max: u64, digests: bool) -> Self {
        MemorySink {
            digests,
            bytes_max: Some(bytes_max),
            table: Mutex::default(),
            scratch: Scratch::default(),
        }
    }

    /// Verifies and drops everything.
    pub fn discarding(digests: bool) -> Self {
        MemorySink { bytes_max: None, ..MemorySink::new(0, digests) }
    }

    /// Lets the object with this name be received into `memory`, which [`Self::take`] returns, cut to the object's size. It must be decided
    /// later than this, be no open object, and fit. The bound on all memory does not count this.
    pub fn register(&self, name: &[u8], memory: Vec<u8>) {
        lock(&self.table).registered.insert(name.to_vec(), memory);
    }

    /// The content of the object with this name, once it has ended; it is the caller's then.
    pub fn take(&self, name: &[u8]) -> Option<Vec<u8>> {
        let region = {
            let mut table = lock(&self.table);
            let (region, taken) = table.done.remove(name)?;
            table.taken -= taken;
            region
        };
        Some(region.take())
    }

    /// Names of the objects that have ended and were not taken, in order of bytes.
    pub fn names(&self) -> Vec<Vec<u8>> {
        lock(&self.table).done.keys().cloned().collect()
    }

    fn decide_entry(&self, number: u32, entry: &Entry, decided: &mut Decided) -> Result<(), Error> {
        let is_directory = entry.kind == EntryKind::Directory;
        let end = bare_end(number, entry.name.clone(), is_directory, Action::Copied);
        let mut table = lock(&self.table);
        if entry.has_content() {
            let (region, taken) = self.region(&mut table, entry)?;
            table.taken += taken;
            let arrived = Arrived::new((!entry.open).then_some(entry.size));
            let state = State { region: Region::Own(region), taken, arrived };
            let object = Object { number, name: entry.name.clone(), state: Mutex::new(state) };
            table.open.insert(number, Arc::new(object));
            return Ok(());
        }
        let content = match (entry.kind, &entry.inline) {
            (EntryKind::File, Some(inline)) => &inline.content,
            (EntryKind::Symlink, _) => &entry.target,
            _ => &Vec::new(),
        };
        if entry.kind == EntryKind::File && self.bytes_max.is_some() {
            table.taken += content.len() as u64;
            let region = Region::Own(content.clone());
            table.done.insert(entry.name.clone(), (region, content.len() as u64));
        }
        let digest = (self.digests && !is_directory).then(|| digest::root(content));
        let bytes = entry.inline.as_ref().map_or(0, |inline| inline.content.len() as u64);
        decided.ended.push(Ended { bytes, digest, ..end });
        Ok(())
    }

    /// Memory for a new object, and the bytes that it counts for.
    fn region(&self, table: &mut Table, entry: &Entry) -> Result<(Vec<u8>, u64), Error> {
        let no_room = |cause: String| {
            let error = Error::new(Class::Fatal, "no room in memory for").on(Side::Destination);
            error.object(entry.name.clone()).because(cause)
        };
        if let Some(mut memory) = table.registered.remove(&entry.name) {
            if entry.open || (memory.len() as u64) < entry.size {
                return Err(no_room(format!("{} bytes in {} that are registered", entry.size, memory.len())));
            }
            memory.truncate(entry.size as usize);
            return Ok((memory, 0));
        }
        match self.bytes_max {
            None => Ok((Vec::new(), 0)),
            Some(max) if max - table.taken < entry.size => Err(no_room(format!("{} bytes", entry.size))),
            Some(_) => Ok((vec![0; entry.size as usize], entry.size)),
        }
    }

    /// Ends the object when all of it is here.
    fn settle(&self, object: &Object) -> Option<Ended> {
        let (digest, size, region) = {
            let mut state = lock(&object.state);
            let size = state.arrived.size().filter(|_| state.arrived.is_whole())?;
            let root = state.arrived.root();
            let region = std::mem::replace(&mut state.region, Region::empty());
            (root.filter(|_| self.digests), size, (region, state.taken))
        };
        let mut table = lock(&self.table);
        table.open.remove(&object.number)?;
        if self.bytes_max.is_some() {
            table.done.insert(object.name.clone(), region);
        }
        let end = bare_end(object.number, object.name.clone(), false, Action::Copied);
        Some(Ended { bytes: size, digest, ..end })
    }

    fn get(&self, object: u32) -> Option<Arc<Object>> {
        lock(&self.table).open.get(&object).cloned()
    }

    /// Takes a piece's bytes to their place, where they are not opened there.
    #[expect(clippy::indexing_slicing, reason = "the region was made that long")]
    fn keep(&self, object: &Object, state: &mut State, start: u64, bytes: &[u8]) -> Result<(), Error> {
        let Region::Own(region) = &mut state.region else { return Ok(()) };
        let Some(max) = self.bytes_max else { return Ok(()) };
        let end = start + bytes.len() as u64;
        let more = end.saturating_sub(region.len() as u64);
        if more > 0 {
            let mut table = lock(&self.table);
            if max - table.taken < more {
                let error = Error::new(Class::Fatal, "no room in memory for").on(Side::Destination);
                return Err(error.object(object.name.clone()).at(end - more));
            }
            table.taken += more;
            state.taken += more;
            region.resize(end as usize, 0);
        }
        region[start as usize..end as usize].copy_from_slice(bytes);
        Ok(())
    }
}

impl Sink for MemorySink {
    fn decide(&self, page: &Page) -> Result<Decided, Error> {
        let decisions = vec![Decision::Need; page.entries.len()];
        let mut decided = Decided { decisions, ended: Vec::new() };
        for (number, entry) in (page.first_object..).zip(&page.entries) {
            self.decide_entry(number, entry, &mut decided)?;
        }
        Ok(decided)
    }

    #[expect(clippy::indexing_slicing, reason = "there is an object and a value for each piece")]
    fn write(&self, plan: &ChunkPlan, encoding: &Encoding, stored: &[u8]) -> Result<Verdict, Error> {
        if lock(&self.table).closed {
            return Err(Error::new(Class::Interrupted, "the transfer has ended").on(Side::Destination));
        }
        let objects: Vec<Option<Arc<Object>>> = plan.pieces.iter().map(|p| self.get(p.object)).collect();
        let wanted = |at: usize| objects[at].is_some();
        let Some(checked) = verify::check(plan, encoding, stored, self.digests, &self.scratch, wanted) else {
            return Ok(Verdict::Rejected);
        };
        let mut ended = Vec::new();
        for (at, piece) in plan.pieces.iter().enumerate() {
            let Some(object) = &objects[at] else { continue };
            let alone = (self.digests && piece.object_offset == 0)
                .then(|| if plan.is_subtree() { checked.root(piece) } else { checked.values[at] });
            let start = piece.object_offset;
            {
                let mut state = lock(&object.state);
                if self.get(object.number).is_none() {
                    continue;
                }
                if self.bytes_max.is_some() {
                    self.keep(object, &mut state, start, &checked.piece(piece))?;
                }
                state.arrived.add(u64::from(piece.len));
                if self.digests {
                    state.arrived.digested(start, u64::from(piece.len), checked.values[at], alone);
                }
            }
            ended.extend(self.settle(object));
        }
        Ok(Verdict::Accepted(ended))
    }

    fn memory(&self, object: u32, _: usize) -> Option<Registered> {
        let object = self.get(object)?;
        let mut state = lock(&object.state);
        state.arrived.size().filter(|_| self.bytes_max.is_some())?;
        let Region::Own(region) = &mut state.region else { return None };
        let memory = Registered::new(std::mem::take(region)).ok()?;
        state.region = Region::Lent(memory.clone());
        Some(memory)
    }

    fn accept(&self, plan: &ChunkPlan) -> Option<Vec<Ended>> {
        let [piece] = &plan.pieces[..] else { return None };
        // Whoever holds a lock is an I/O thread in the middle of something else.
        let object = {
            let table = self.table.try_lock().ok().filter(|table| !table.closed && !self.digests)?;
            table.open.get(&piece.object).cloned()?
        };
        {
            let mut state = object.state.try_lock().ok()?;
            if self.bytes_max.is_some() && matches!(state.region, Region::Own(_)) {
                return None;
            }
            if !state.arrived.add(u64::from(piece.len)) {
                return Some(Vec::new());
            }
        }
        Some(self.settle(&object).into_iter().collect())
    }

    fn withdraw(&self, object: u32, error: Error) -> Vec<Ended> {
        let Some(object) = self.get(object) else { return Vec::new() };
        {
            // Whoever writes to the object holds its state, and finds it gone afterwards.
            let mut state = lock(&object.state);
            let mut table = lock(&self.table);
            if table.open.remove(&object.number).is_none() {
                return Vec::new();
            }
            table.taken -= std::mem::take(&mut state.taken);
            state.region = Region::empty();
        }
        let end = bare_end(object.number, object.name.clone(), false, Action::Failed);
        vec![Ended { error: Some(error.object(object.name.clone())), ..end }]
    }

    fn end_open(&self, object: u32, size: u64) -> Vec<Ended> {
        let Some(object) = self.get(object) else { return Vec::new() };
        lock(&object.state).arrived.end(size);
        self.settle(&object).into_iter().collect()
    }

    fn sync(&self) -> Result<Vec<Ended>, Error> {
        Ok(Vec::new())
    }

    fn finish(&self) -> Result<(Vec<Ended>, Durability), Error> {
        Ok((Vec::new(), Durability::None))
    }

    fn abort(&self) {
        let mut table = lock(&self.table);
        table.closed = true;
        table.open.clear();
    }
}
