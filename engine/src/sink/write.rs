//! Stage 9, write: a verified chunk into its files.

use super::directory::{lock, split_place};
use super::fault::{Fault, has_ended, inconsistent, refusal};
use super::object::{Body, Finished, Object, Parts};
use super::partial::{Claim, ClaimFault, Partials, stem};
use super::verify::{self, Checked};
use super::{Ended, FileSink, Verdict};
use crate::digest::{self, Digest};
use crate::error::{Class, Error};
use crate::limits::{LINES_EVERY, LINES_MAX};
use crate::source::{ChunkPlan, Encoding};
use crate::sparing::Sparing;
use std::sync::Arc;
use std::time::Instant;
use xfer_io::file::File;
use xfer_proto::space::Piece;

impl FileSink {
    #[expect(clippy::indexing_slicing, reason = "there is an object and a value for each piece")]
    pub(super) fn write_chunk(
        &self,
        plan: &ChunkPlan,
        encoding: &Encoding,
        stored: &[u8],
    ) -> Result<Verdict, Error> {
        let objects: Vec<Option<Arc<Object>>> = {
            let table = lock(&self.objects);
            plan.pieces.iter().map(|piece| table.get(&piece.object).cloned()).collect()
        };
        let wanted = |at: usize| objects[at].is_some();
        let digests = self.spec.digests;
        let Some(checked) = verify::check(plan, encoding, stored, digests, &self.scratch, wanted) else {
            return Ok(Verdict::Rejected);
        };
        let mut ended = Vec::new();
        for (at, piece) in plan.pieces.iter().enumerate() {
            let Some(object) = &objects[at] else { continue };
            let written = if object.is_parted(piece) {
                self.write_part(object, plan, piece, &checked, checked.values[at])
            } else {
                self.write_whole(object, piece, &checked, checked.values[at])
            };
            match written {
                Ok(more) => ended.extend(more),
                Err(Fault::Object(error)) => ended.extend(self.fail(object, error)),
                Err(Fault::Transfer(error)) => return Err(error),
            }
        }
        Ok(Verdict::Accepted(ended))
    }

    /// Writes an object that lies in one chunk.
    fn write_whole(
        &self,
        object: &Arc<Object>,
        piece: &Piece,
        checked: &Checked<'_>,
        root: Digest,
    ) -> Result<Vec<Ended>, Fault> {
        if u64::from(piece.len) != object.subject.size {
            return Err(Fault::Transfer(inconsistent("a piece is not its object")));
        }
        if self.end(object).is_none() {
            return Ok(Vec::new());
        }
        let fill = |file: &File| {
            let runs = checked.runs(piece);
            if runs.last().is_none_or(|(_, at)| *at + runs_len(&runs) < u64::from(piece.len)) {
                file.truncate(u64::from(piece.len))?;
            }
            runs.into_iter().try_for_each(|(range, at)| file.write_at(checked.data(range), at))
        };
        self.create_whole(object, u64::from(piece.len), self.spec.digests.then_some(root), fill).or_else(
            |error| match error {
                Fault::Object(error) => Ok(vec![object.failed(error)]),
                fatal => Err(fatal),
            },
        )
    }

    /// Makes a whole file beside its place and lets it have its name.
    pub(super) fn create_whole(
        &self,
        object: &Arc<Object>,
        size: u64,
        digest: Option<Digest>,
        fill: impl FnOnce(&File) -> Result<(), xfer_io::file::FileError>,
    ) -> Result<Vec<Ended>, Fault> {
        let partials = self.partials_of(object)?;
        let stem = stem(&object.subject.name, object.subject.size, object.subject.mtime);
        let (file, name) = partials.create_small(&stem).map_err(|error| claim_fault(object, error))?;
        if let Err(error) = fill(&file).and_then(|()| object.kept.set(&file)) {
            self.remove_or_warn(&partials, &name);
            return Err(Fault::of(&object.name, &error));
        }
        let body = Body::Small { partials, name, file: Some(file) };
        self.finished(Finished { object: Arc::clone(object), body, size, reused: 0, digest })
    }

    /// Writes one chunk of an object that has several, in place.
    fn write_part(
        &self,
        object: &Arc<Object>,
        plan: &ChunkPlan,
        piece: &Piece,
        checked: &Checked<'_>,
        value: Digest,
    ) -> Result<Vec<Ended>, Fault> {
        let chunk_log2 = object.subject.chunk_log2;
        let index = u32::try_from(piece.object_offset >> chunk_log2)
            .ok()
            .filter(|index| u64::from(*index) << chunk_log2 == piece.object_offset)
            .ok_or(Fault::Transfer(inconsistent("a chunk off the object's grid")))?;
        let Some(claim) = self.claim_of(object)? else { return Ok(Vec::new()) };
        let failed = |error| Fault::of(&object.name, &error);
        let mut written = 0;
        if claim.holes_are_written {
            claim.file.write_at(&checked.piece(piece), piece.object_offset).map_err(failed)?;
            written = u64::from(piece.len);
        } else {
            for (range, at) in checked.runs(piece) {
                written += range.len() as u64;
                claim.file.write_at(checked.data(range), at).map_err(failed)?;
            }
        }
        let open = object.subject.size == OPEN_SIZE;
        let alone = (index == 0 && (open || !plan.is_subtree()))
            .then(|| if plan.is_subtree() { checked.root(piece) } else { value });
        let complete = {
            let mut state = lock(&object.state);
            self.fulfil(&mut state, written);
            let size = state.size;
            let Some(parts) = state.parts.as_mut() else { return Ok(Vec::new()) };
            parts.arrived((index, value), alone);
            size.filter(|size| parts.is_complete(*size, chunk_log2))
        };
        complete.map_or(Ok(Vec::new()), |size| self.complete(object, size))
    }

    /// The object's partial file, taken at its first chunk; `None` when the object has ended.
    fn claim_of(&self, object: &Arc<Object>) -> Result<Option<Arc<Claim>>, Fault> {
        let mut state = lock(&object.state);
        if state.ended {
            return Ok(None);
        }
        if let Some(parts) = &state.parts {
            return Ok(Some(Arc::clone(&parts.claim)));
        }
        let Some(place) = self.places.take() else {
            let full = refusal(Class::Temporary, &object.name, "too many large files in progress at once:");
            return Err(Fault::Object(full.because("none of those that were begun before has ended")));
        };
        let partials = self.partials_of(object)?;
        let claim = if object.subject.size == OPEN_SIZE {
            partials.claim_open(&stem(&object.subject.name, 0, object.subject.mtime))
        } else {
            partials.claim(&object.subject, &self.spec.holder, &self.closed)
        };
        let mut claim = claim.map_err(|error| claim_fault(object, error))?;
        claim.place = Some(place);
        // What an earlier run left was offered when the object was decided; what came since then was not.
        claim.forget_held().map_err(|error| Fault::of(&object.name, &error))?;
        let parts = state.parts.insert(Parts::new(claim, &object.subject));
        Ok(Some(Arc::clone(&parts.claim)))
    }

    /// All chunks of an object are in its partial file.
    pub(super) fn complete(&self, object: &Arc<Object>, size: u64) -> Result<Vec<Ended>, Fault> {
        let Some(parts) = self.end(object) else { return Ok(Vec::new()) };
        let Some(parts) = parts else {
            return self.create_whole(object, size, self.spec.digests.then(|| digest::root(b"")), |_| Ok(()));
        };
        let claim = parts.claim.clone();
        let sized = if size == object.subject.size { Ok(()) } else { claim.file.truncate(size) };
        if let Err(error) = sized.and_then(|()| object.kept.set(&claim.file)) {
            return match Fault::of(&object.name, &error) {
                Fault::Object(error) => {
                    self.discard_or_warn(&claim);
                    Ok(vec![object.failed(error)])
                }
                fatal => Err(fatal),
            };
        }
        let digest = self.spec.digests.then(|| parts.root()).flatten();
        let finished = Finished {
            object: Arc::clone(object),
            body: Body::Large(claim),
            size,
            reused: parts.reused,
            digest,
        };
        self.finished(finished)
    }

    /// The object cannot be received; what is journaled of it stays for a later run.
    pub(super) fn fail(&self, object: &Object, error: Error) -> Option<Ended> {
        let parts = self.end(object)?;
        if let Some(claim) = parts.map(|parts| parts.claim).filter(|claim| !claim.is_journaled()) {
            self.discard_or_warn(&claim);
        }
        Some(object.failed(error))
    }

    /// The sender cannot send the object: nothing of it gets the name. A source that changed will not want the rest either.
    pub(super) fn give_up(&self, number: u32, error: Error) -> Vec<Ended> {
        let object = lock(&self.objects).get(&number).cloned();
        let Some(object) = object else {
            return self.give_up_finished(number, error);
        };
        let error = error.object(object.name.clone());
        let Some(parts) = self.end(&object) else { return Vec::new() };
        if let Some(parts) = parts {
            if error.class == Class::Digest || !parts.claim.is_journaled() {
                self.discard_or_warn(&parts.claim);
            } else {
                let synced = parts.claim.file.sync_data().and_then(|()| parts.claim.append(&parts.unsynced));
                warn_of(&object.name, synced);
            }
        }
        vec![object.failed(error)]
    }

    /// The object is whole but has not got its name yet.
    fn give_up_finished(&self, number: u32, error: Error) -> Vec<Ended> {
        let Some(finished) = lock(&self.pending).remove(number) else { return Vec::new() };
        self.discard_finished(&finished);
        let error = error.object(finished.object.name.clone());
        vec![finished.object.failed(error)]
    }

    pub(super) fn end_open_object(&self, number: u32, size: u64) -> Vec<Ended> {
        let Some(object) = lock(&self.objects).get(&number).cloned() else { return Vec::new() };
        let complete = {
            let mut state = lock(&object.state);
            state.size = Some(size);
            match &state.parts {
                Some(parts) => parts.is_complete(size, object.subject.chunk_log2),
                None => size == 0,
            }
        };
        if !complete {
            return Vec::new();
        }
        match self.complete(&object, size) {
            Ok(ended) => ended,
            Err(Fault::Object(error) | Fault::Transfer(error)) => vec![object.failed(error)],
        }
    }

    pub(super) fn partials_of(&self, object: &Object) -> Result<Arc<Partials>, Fault> {
        let (parent, _) = split_place(&object.place);
        let made = self.directories.get(parent).and_then(|directory| directory.partials());
        made.map_err(|error| Fault::of(&object.name, &error))
    }

    pub(super) fn discard_finished(&self, finished: &Finished) {
        match &finished.body {
            Body::Small { partials, name, .. } => self.remove_or_warn(partials, name),
            Body::Large(claim) => self.discard_or_warn(claim),
        }
    }

    fn remove_or_warn(&self, partials: &Partials, name: &[u8]) {
        warn_of(name, partials.root.remove_file(name));
    }

    fn discard_or_warn(&self, claim: &Claim) {
        warn_of(&claim.name, claim.discard());
    }
}

/// Where the last run of a piece ends, counted from its own start.
fn runs_len(runs: &[verify::Run]) -> u64 {
    runs.last().map_or(0, |(range, _)| range.len() as u64)
}

static LEFT: Sparing = Sparing::new(LINES_MAX, LINES_EVERY);

/// Tells of a failure that changes nothing about what is told otherwise.
pub(super) fn warn_of(name: &[u8], result: Result<(), xfer_io::file::FileError>) {
    if let Err(error) = result
        && let Some(others) = LEFT.admit(Instant::now())
    {
        tracing::warn!(side = "dst", object = %name.escape_ascii(), %error, others, "an operation on a partial file failed");
    }
}

/// Why a partial file could not be had, as the object's failure.
pub(super) fn claim_fault(object: &Object, error: ClaimFault) -> Fault {
    match error {
        ClaimFault::File(error) => Fault::of(&object.name, &error),
        ClaimFault::Busy(holder) => {
            let busy = refusal(Class::Temporary, &object.name, "another transfer writes");
            Fault::Object(if holder.is_empty() { busy } else { busy.because(format!("held by {holder}")) })
        }
        ClaimFault::Stopped => Fault::Transfer(has_ended()),
    }
}

impl Object {
    /// Whether the piece is one of several chunks, or of an object whose end was not known when it was decided.
    fn is_parted(&self, piece: &Piece) -> bool {
        self.subject.size == OPEN_SIZE || u64::from(piece.len) < piece.object_size
    }
}

/// Size of an open object's subject: it has no version that a later run could know again.
pub(super) const OPEN_SIZE: u64 = u64::MAX;
