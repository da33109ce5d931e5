//! What a receiver decides about pages: by storage, or by the application.

use super::{Receiving, attribute_bytes, inline_len, open_bytes};
use crate::api::Event;
use crate::error::Error;
use crate::limits;
use crate::sink::{Action, Decided, Ended};
use crate::storage::{Job, memories};
use crate::transfer::send::rule;
use crate::transfer::{Context, TRANSFER};
use xfer_proto::wire::{Decision, Decisions, EntryKind, Message, Page, Run};

impl Receiving {
    /// Has the next page decided: by storage, or by the application, whose decisions are taken once all are made. Whether to look again.
    pub(super) fn decide_next(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        if !self.deciding
            && cx.events.len() < limits::BACKLOG_MAX
            && let Some(page) = self.pages.pop_front()
        {
            self.deciding = true;
            match self.sink.offer(&page) {
                Some(offers) => {
                    cx.events.extend(offers?.into_iter().map(Event::Offered));
                    self.offered = Some(page);
                }
                None => {
                    cx.storage.submit(cx.key, Job::Decide(self.sink.clone(), page, cx.pool.chunk_bytes()))
                }
            }
        }
        let Some(page) = self.offered.take() else { return Ok(false) };
        let Some(decided) = self.sink.answer(&page) else {
            self.offered = Some(page);
            return Ok(false);
        };
        self.deciding = false;
        self.memories.extend(memories(&*self.sink, &page, &decided, cx.pool.chunk_bytes()));
        // What is here already was told with the offer.
        self.decided(cx, &page, decided, |end| end.action == Action::Copied)?;
        Ok(true)
    }

    /// Takes the decisions about a page. The application hears of objects that ended by it, unless it `knows`.
    pub(super) fn decided(
        &mut self,
        cx: &mut Context<'_>,
        page: &Page,
        decided: Decided,
        knows: impl Fn(&Ended) -> bool,
    ) -> Result<(), Error> {
        self.send_decisions(cx, page.number, &decided.decisions);
        let Some(space) = &mut self.space else { return Ok(()) };
        let objects = (page.first_object..).zip(&page.entries).zip(&decided.decisions);
        for ((object, entry), decision) in objects {
            let placed = space.place(object, entry, decision).map_err(|e| rule(e.what))?;
            if matches!(decision, Decision::Need | Decision::Resume(_)) {
                self.open_objects += 1;
                self.open_bytes += open_bytes(entry.kind == EntryKind::Directory, &entry.name);
                let attributes = attribute_bytes(entry);
                if attributes > 0 {
                    self.open_attributes.insert(object, attributes);
                    self.open_bytes += attributes;
                }
                cx.totals.moved(inline_len(entry));
            }
            let Some(placed) = placed else { continue };
            self.placed.push_back(placed);
            if let Decision::Resume(runs) = decision {
                let chunks = space.chunks_of(&placed);
                for Run { first, count } in runs {
                    let start = u64::from(chunks.start) + u64::from(*first);
                    self.not_needed.insert(start..start + u64::from(*count), usize::MAX);
                }
            }
        }
        space.end_page();
        self.decided_pages += 1;
        let first = page.first_object;
        self.undecided_from = first + page.entries.len() as u32;
        for end in decided.ended {
            let decision = end.object.checked_sub(first).and_then(|i| decided.decisions.get(i as usize));
            // An object of an earlier page was open: it ended with the batch that this page filled.
            let open = decision.is_none_or(|d| matches!(d, Decision::Need | Decision::Resume(_)));
            let tell = !knows(&end);
            self.object_ended(cx, end, open, tell);
        }
        let early = std::mem::take(&mut self.early);
        self.ended(cx, early);
        Ok(())
    }

    /// Answers a page, in as many messages as that takes; one without entries by one message all the same.
    #[expect(
        clippy::indexing_slicing,
        reason = "`first` and what is taken from there end with the decisions"
    )]
    fn send_decisions(&mut self, cx: &mut Context<'_>, page: u32, decisions: &[Decision]) {
        let mut first = 0;
        loop {
            let mut bytes = 0;
            let count = decisions[first..].iter().take_while(|d| {
                let fits = bytes < limits::DECISIONS_BYTES;
                bytes += match d {
                    Decision::Need | Decision::Skip => 1,
                    Decision::Resume(runs) => 3 + runs.len() * 8,
                    Decision::Fail(error) => 32 + error.name.len() + error.text.len(),
                };
                fits
            });
            let count = count.count();
            let part = decisions[first..first + count].to_vec();
            let first_entry = first as u16;
            cx.connection.send(&Message::Decision(Decisions {
                transfer: TRANSFER,
                page,
                first_entry,
                decisions: part,
            }));
            first += count;
            if first == decisions.len() {
                return;
            }
        }
    }
}
