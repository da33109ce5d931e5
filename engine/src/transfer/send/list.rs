//! What a sender lists: page after page, as far as the receiver takes them.

use super::{Object, Sending, Undecided};
use crate::api::Event;
use crate::error::{Error, Side};
use crate::limits;
use crate::sink::Action;
use crate::source::{Listing, Now};
use crate::storage::Job;
use crate::transfer::{Context, TRANSFER, failed};
use xfer_proto::wire::{EntryKind, Message, Page};

impl Sending {
    /// Whether another page is to be listed, of the `pages` that the receiver takes.
    pub(super) fn may_list(&self, cx: &Context<'_>, pages: u32) -> bool {
        let room = cx.connection.stream_backlog() < limits::STREAM_BACKLOG_MAX;
        let ahead =
            self.pages.len() >= limits::PAGES_UNDECIDED_MAX || self.files_open >= limits::FILES_OPEN_MAX;
        !self.listing && !self.listed_all && room && !ahead && self.next_page < pages
    }

    /// Lists a page, or has it listed. Whether there may be another at once.
    pub(super) fn list(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        match self.source.list_now(self.next_object) {
            Now::Ask => {
                self.listing = true;
                cx.storage.submit(cx.key, Job::List(self.source.clone(), self.next_object));
                Ok(false)
            }
            Now::Later => Ok(false),
            Now::Ready(listing) => {
                self.listed(cx, listing?);
                Ok(true)
            }
        }
    }

    /// Takes what was listed: tells the receiver, and remembers the objects.
    pub(super) fn listed(&mut self, cx: &mut Context<'_>, mut listing: Listing) {
        if !std::mem::take(&mut self.told_ahead) {
            tell_listing(&mut listing, self.next_page, self.next_object, &mut |m| cx.connection.send(m));
        }
        for notice in listing.notices {
            cx.events.push_back(Event::Warning { name: Some(notice.name), text: notice.text });
        }
        for error in listing.errors {
            let name = error.name.clone().unwrap_or_default();
            cx.totals.unlisted_failure();
            cx.events.push_back(Event::File(failed(UNLISTED, name, false, error)));
        }
        let first_object = self.next_object;
        for (object, entry) in (first_object..).zip(&listing.entries) {
            let is_directory = entry.kind == EntryKind::Directory;
            if entry.open {
                self.open = Some(object);
            }
            cx.totals.listed(is_directory, entry.size);
            let (name, size) = (entry.name.clone(), entry.size);
            let remembered =
                Object { name, is_directory, size, action: Action::Failed, reused: 0, awaited: false };
            self.files_open += usize::from(!is_directory);
            self.objects.insert(object, remembered);
        }
        self.next_object += listing.entries.len() as u32;
        self.listed_all = listing.last;
        if listing.last {
            cx.totals.listing_ended();
        }
        let number = self.next_page;
        self.next_page += 1;
        let decisions = Vec::with_capacity(listing.entries.len());
        self.pages.push_back(Undecided { number, first_object, entries: listing.entries, decisions });
    }
}

/// Hands `send` what the receiver hears of a listing: page `number`, whose first object is `first_object`, before it what could not be listed.
pub(crate) fn tell_listing(
    listing: &mut Listing,
    number: u32,
    first_object: u32,
    send: &mut dyn FnMut(&Message),
) {
    for error in &listing.errors {
        let error = error.to_wire(Side::Source);
        send(&Message::Withdraw { transfer: TRANSFER, object: UNLISTED, error });
    }
    let (last, entries) = (listing.last, std::mem::take(&mut listing.entries));
    let message = Message::Page(Page { transfer: TRANSFER, number, first_object, last, entries });
    send(&message);
    if let Message::Page(page) = message {
        listing.entries = page.entries;
    }
}

/// The number of objects that were never listed, because their listing failed (PROTOCOL.md#control-stream).
pub(in crate::transfer) const UNLISTED: u32 = u32::MAX;
