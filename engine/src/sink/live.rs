//! The sink of an application that decides object by object, while the transfer runs, where each goes.
//!
//! In: pages, whose objects are offered; the application's word on each, from any thread; then their chunks. Out: decisions once a page's
//! objects all have one, content in the places that the application named. Small objects whose content travels in the page need no word:
//! they are offered with it.

use super::arrived::Arrived;
use super::directory::lock;
use super::fault::has_ended;
use super::finish::bare_end;
use super::verify::{self, Checked, Scratch};
use super::{Action, Decided, Ended, Sink, Verdict};
use crate::api::Offer;
use crate::digest;
use crate::error::{Class, Error, Side};
use crate::source::{ChunkPlan, Encoding};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use xfer_io::registered::Registered;
use xfer_proto::space::Piece;
use xfer_proto::wire::{Decision, Durability, Entry, EntryKind, Page};

/// Where the application puts one object.
pub trait Place: Send + Sync {
    /// Takes verified bytes of the object at `offset`: each once, in any order, from several I/O threads. It may wait.
    ///
    /// # Errors
    /// Fails the object, not the transfer.
    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Memory for the whole object, in which its chunks are opened and verified; [`Self::put`] is not called then. Asked once, of a place
    /// for an object of known size and more than a quarter of a chunk.
    fn memory(&self) -> Option<Registered> {
        None
    }
}

/// Receives each object where the application says.
pub struct LiveSink {
    digests: bool,
    /// Held by every thread for a look or an entry, never while anything waits.
    table: Mutex<Table>,
    scratch: Scratch,
}

#[derive(Default)]
struct Table {
    pending: Option<Pending>,
    open: HashMap<u32, Arc<Object>>,
    closed: bool,
}

/// The page that the application decides about.
struct Pending {
    first: u32,
    /// One for each entry, `None` until it is made.
    decisions: Vec<Option<Decision>>,
    /// How many are not made.
    undecided: usize,
    /// Objects that are accepted when the page is decided.
    accepted: Vec<Arc<Object>>,
    offered: Vec<Option<(Vec<u8>, Option<u64>)>>,
    ended: Vec<Ended>,
}

struct Object {
    number: u32,
    name: Vec<u8>,
    place: Arc<dyn Place>,
    /// Its place lent memory.
    in_place: AtomicBool,
    arrived: Mutex<Arrived>,
}

impl LiveSink {
    /// A sink for one transfer with or without digests.
    pub fn new(digests: bool) -> Self {
        LiveSink { digests, table: Mutex::default(), scratch: Scratch::default() }
    }

    /// Receives an offered object into `place`. Whether the worker is to be woken: all of a page's objects are decided.
    ///
    /// # Errors
    /// `Usage` when the object does not wait for a word.
    pub fn accept(&self, object: u32, place: Arc<dyn Place>) -> Result<bool, Error> {
        self.decide_one(object, |pending, name, size| {
            let arrived = Mutex::new(Arrived::new(size));
            let in_place = AtomicBool::new(false);
            pending.accepted.push(Arc::new(Object { number: object, name, place, in_place, arrived }));
            Decision::Need
        })
    }

    /// Refuses an offered object; the sender hears `why`. As [`LiveSink::accept`].
    ///
    /// # Errors
    /// As [`LiveSink::accept`].
    pub fn refuse(&self, object: u32, why: Error) -> Result<bool, Error> {
        self.decide_one(object, |pending, name, _| {
            let error = why.on(Side::Destination).object(name.clone());
            let decision = Decision::Fail(error.to_wire(Side::Destination));
            let end = bare_end(object, name, false, Action::Failed);
            pending.ended.push(Ended { error: Some(error), ..end });
            decision
        })
    }

    fn decide_one(
        &self,
        object: u32,
        decide: impl FnOnce(&mut Pending, Vec<u8>, Option<u64>) -> Decision,
    ) -> Result<bool, Error> {
        let mut table = lock(&self.table);
        let pending = table.pending.as_mut().and_then(|pending| {
            let at = object.checked_sub(pending.first)? as usize;
            let (name, size) = pending.offered.get_mut(at)?.take()?;
            Some((at, name, size, pending))
        });
        let Some((at, name, size, pending)) = pending else {
            return Err(Error::new(Class::Usage, format!("object {object} waits for no decision")));
        };
        let decision = decide(pending, name, size);
        if let Some(entry) = pending.decisions.get_mut(at) {
            *entry = Some(decision);
        }
        pending.undecided -= 1;
        Ok(pending.undecided == 0)
    }

    fn get(&self, object: u32) -> Option<Arc<Object>> {
        lock(&self.table).open.get(&object).cloned()
    }

    /// Ends the object when all of it is here.
    fn settle(&self, object: &Object) -> Option<Ended> {
        let (size, root) = {
            let arrived = lock(&object.arrived);
            let size = arrived.size().filter(|_| arrived.is_whole())?;
            (size, arrived.root())
        };
        lock(&self.table).open.remove(&object.number)?;
        let end = bare_end(object.number, object.name.clone(), false, Action::Copied);
        Some(Ended { bytes: size, digest: root.filter(|_| self.digests), ..end })
    }

    /// Ends the object without the rest of it.
    fn fail(&self, object: &Object, error: Error) -> Option<Ended> {
        lock(&self.table).open.remove(&object.number)?;
        let end = bare_end(object.number, object.name.clone(), false, Action::Failed);
        Some(Ended { error: Some(error.object(object.name.clone())), ..end })
    }

    /// Puts a verified piece in its place. How the object ended, if it did.
    #[expect(clippy::indexing_slicing, reason = "there is a value for each piece")]
    fn put(
        &self,
        object: &Object,
        plan: &ChunkPlan,
        at: usize,
        piece: &Piece,
        checked: &Checked<'_>,
    ) -> Option<Ended> {
        let start = piece.object_offset;
        if !object.in_place.load(Ordering::Acquire)
            && let Err(error) = object.place.put(start, &checked.piece(piece))
        {
            return self.fail(object, error.on(Side::Destination));
        }
        {
            let mut arrived = lock(&object.arrived);
            arrived.add(u64::from(piece.len));
            if self.digests {
                let value = checked.values[at];
                let alone = (start == 0).then(|| if plan.is_subtree() { checked.root(piece) } else { value });
                arrived.digested(start, u64::from(piece.len), value, alone);
            }
        }
        self.settle(object)
    }
}

impl Pending {
    fn new(first: u32, entries: usize) -> Self {
        Pending {
            first,
            decisions: Vec::with_capacity(entries),
            undecided: 0,
            accepted: Vec::new(),
            offered: Vec::with_capacity(entries),
            ended: Vec::with_capacity(entries),
        }
    }

    /// Takes one entry: its offer, where the application is to hear of it.
    fn take(&mut self, number: u32, entry: &Entry, digests: bool) -> Result<Option<Offer>, Error> {
        let is_directory = entry.kind == EntryKind::Directory;
        let end = bare_end(number, entry.name.clone(), is_directory, Action::Copied);
        let whole = match (&entry.inline, entry.kind) {
            (_, EntryKind::Symlink) => {
                let error = Error::new(Class::Refused, "an application takes no symlinks");
                let error = error.on(Side::Destination).object(&entry.name[..]);
                self.decided(Some(Decision::Fail(error.to_wire(Side::Destination))));
                self.ended.push(Ended { action: Action::Failed, error: Some(error), ..end });
                return Ok(None);
            }
            (_, EntryKind::Directory) => {
                self.decided(Some(Decision::Need));
                self.ended.push(end);
                return Ok(None);
            }
            (Some(inline), _) => Some((inline.content.clone(), Some(inline.digest))),
            (None, _) => (!entry.has_content()).then(|| (Vec::new(), None)),
        };
        let size = (!entry.open).then_some(entry.size);
        let offer = Offer { object: number, name: entry.name.clone(), size, content: None };
        let Some((content, told)) = whole else {
            self.decisions.push(None);
            self.offered.push(Some((entry.name.clone(), size)));
            self.undecided += 1;
            return Ok(Some(offer));
        };
        let root = digests.then(|| digest::root(&content));
        if root.is_some_and(|root| told.is_some_and(|told| told != root)) {
            return Err(wrong_digest(&entry.name));
        }
        self.decided(Some(Decision::Need));
        self.ended.push(Ended { bytes: content.len() as u64, digest: root, ..end });
        Ok(Some(Offer { content: Some(content), ..offer }))
    }

    fn decided(&mut self, decision: Option<Decision>) {
        self.decisions.push(decision);
        self.offered.push(None);
    }
}

fn wrong_digest(name: &[u8]) -> Error {
    let message = "the digest of the content in the manifest is wrong:";
    Error::new(Class::Digest, message).on(Side::Destination).object(name)
}

impl Sink for LiveSink {
    fn decide(&self, _: &Page) -> Result<Decided, Error> {
        Err(Error::new(Class::Other, "the application decides by itself").on(Side::Destination))
    }

    fn offer(&self, page: &Page) -> Option<Result<Vec<Offer>, Error>> {
        let mut pending = Pending::new(page.first_object, page.entries.len());
        let mut offers = Vec::with_capacity(page.entries.len());
        for (number, entry) in (page.first_object..).zip(&page.entries) {
            match pending.take(number, entry, self.digests) {
                Ok(offer) => offers.extend(offer),
                Err(error) => return Some(Err(error)),
            }
        }
        lock(&self.table).pending = Some(pending);
        Some(Ok(offers))
    }

    fn answer(&self, _: &Page) -> Option<Decided> {
        let mut table = lock(&self.table);
        let Pending { decisions, accepted, ended, .. } = table.pending.take_if(|p| p.undecided == 0)?;
        table.open.extend(accepted.into_iter().map(|object| (object.number, object)));
        Some(Decided { decisions: decisions.into_iter().flatten().collect(), ended })
    }

    #[expect(clippy::indexing_slicing, reason = "there is an object for each piece")]
    fn write(&self, plan: &ChunkPlan, encoding: &Encoding, stored: &[u8]) -> Result<Verdict, Error> {
        if lock(&self.table).closed {
            return Err(has_ended());
        }
        let objects: Vec<Option<Arc<Object>>> = plan.pieces.iter().map(|p| self.get(p.object)).collect();
        let wanted = |at: usize| objects[at].is_some();
        let Some(checked) = verify::check(plan, encoding, stored, self.digests, &self.scratch, wanted) else {
            return Ok(Verdict::Rejected);
        };
        let mut ended = Vec::new();
        for (at, (piece, object)) in plan.pieces.iter().zip(&objects).enumerate() {
            let Some(object) = object else { continue };
            ended.extend(self.put(object, plan, at, piece, &checked));
        }
        Ok(Verdict::Accepted(ended))
    }

    fn memory(&self, object: u32, _: usize) -> Option<Registered> {
        let object = self.get(object)?;
        let memory = object.place.memory()?;
        let fits = lock(&object.arrived).size().is_some_and(|size| memory.len() as u64 >= size);
        object.in_place.store(fits, Ordering::Release);
        fits.then_some(memory)
    }

    fn accept(&self, plan: &ChunkPlan) -> Option<Vec<Ended>> {
        let [piece] = &plan.pieces[..] else { return None };
        // A digest is an I/O thread's to make.
        let object = {
            let table = self.table.try_lock().ok().filter(|table| !table.closed && !self.digests)?;
            table.open.get(&piece.object).cloned()?
        };
        if !object.in_place.load(Ordering::Acquire) {
            return None;
        }
        let is_whole = object.arrived.try_lock().ok()?.add(u64::from(piece.len));
        Some(if is_whole { self.settle(&object).into_iter().collect() } else { Vec::new() })
    }

    fn withdraw(&self, object: u32, error: Error) -> Vec<Ended> {
        self.get(object).and_then(|object| self.fail(&object, error)).into_iter().collect()
    }

    fn end_open(&self, object: u32, size: u64) -> Vec<Ended> {
        let Some(object) = self.get(object) else { return Vec::new() };
        lock(&object.arrived).end(size);
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
        table.pending = None;
        table.open.clear();
    }
}
