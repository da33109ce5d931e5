//! Parts of the engine, each alone and over memory: one case is one closure that may run again and again, and that goes on in the state
//! where its last run left it.
//!
//! `micro.rs` times all of them; the program `counts` runs the hottest under callgrind, whose counts are committed. Those do not depend on
//! what the processor can do: no ciphers, no hashes. Absent on purpose: sockets, files, threads.

mod acks;
mod ciphers;
mod congestion;
mod hollow;
mod journals;
mod ledger;
mod pair;
mod rings;
mod wire;

// What the journal's file, which is the engine's own, finds in its crate.
use xfer_engine::{digest, limits};

#[path = "../../engine/src/sink/journal.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is the engine's own file")]
mod journal;

/// What one run of a case works on.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Bytes of content.
    Bytes(u64),
    /// Packets, records or messages.
    Items(u64),
}

/// One case.
pub struct Case {
    /// `group/what`.
    pub name: &'static str,
    /// What one run works on.
    pub work: Work,
    /// Whether its instructions are counted and compared.
    pub counted: bool,
    /// Sets it up; what comes back is one run.
    pub make: fn() -> Box<dyn FnMut()>,
}

/// A case of which only the time is measured.
const fn timed(name: &'static str, work: Work, make: fn() -> Box<dyn FnMut()>) -> Case {
    Case { name, work, counted: false, make }
}

/// A case of which the instructions are counted too.
const fn counted(name: &'static str, work: Work, make: fn() -> Box<dyn FnMut()>) -> Case {
    Case { name, work, counted: true, make }
}

/// All cases, by group.
pub const CASES: &[Case] = &[
    counted("wire/headers", Work::Items(wire::HEADERS), wire::headers),
    counted("wire/chunk messages", Work::Items(wire::MESSAGES), wire::chunk_messages),
    timed("wire/page", Work::Items(wire::ENTRIES), wire::page),
    timed("seal/aes-128-gcm 1424", Work::Bytes(ciphers::CONTENT), || ciphers::seal(ciphers::AES, 1_424)),
    timed("seal/aes-128-gcm 8912", Work::Bytes(ciphers::CONTENT), || ciphers::seal(ciphers::AES, 8_912)),
    timed("seal/chacha20-poly1305 1424", Work::Bytes(ciphers::CONTENT), || {
        ciphers::seal(ciphers::CHACHA, 1_424)
    }),
    timed("open/aes-128-gcm 1424", Work::Bytes(ciphers::CONTENT), || ciphers::open(ciphers::AES, 1_424)),
    timed("open/aes-128-gcm 8912", Work::Bytes(ciphers::CONTENT), || ciphers::open(ciphers::AES, 8_912)),
    timed("open/chacha20-poly1305 1424", Work::Bytes(ciphers::CONTENT), || {
        ciphers::open(ciphers::CHACHA, 1_424)
    }),
    timed("hash/chunk", Work::Bytes(ciphers::CHUNK), ciphers::hash_chunk),
    timed("hash/packed piece", Work::Bytes(ciphers::PIECE), ciphers::hash_piece),
    timed("hash/tree of 1,024 chunks", Work::Items(ciphers::TREE), ciphers::hash_tree),
    counted("ledger/no loss", Work::Items(ledger::PACKETS), ledger::no_loss),
    counted("ledger/1 in 50 lost", Work::Items(ledger::PACKETS), ledger::lossy),
    counted("ack/record in order", Work::Items(acks::PACKETS), acks::in_order),
    counted("ack/record with gaps", Work::Items(acks::PACKETS), acks::with_gaps),
    counted("cc/bbr", Work::Items(congestion::ACKS), congestion::bbr),
    counted("cc/cubic", Work::Items(congestion::ACKS), congestion::cubic),
    counted("cc/ledbat", Work::Items(congestion::ACKS), congestion::ledbat),
    timed("rings/orders", Work::Items(rings::ITEMS), rings::orders),
    timed("rings/jobs", Work::Items(rings::ITEMS), rings::jobs),
    timed("journal/write", Work::Items(journals::RECORDS), journals::write),
    timed("journal/read", Work::Items(journals::RECORDS), journals::read),
    counted("connection/no loss", Work::Bytes(pair::BYTES), pair::no_loss),
    counted("connection/1 in 50 lost", Work::Bytes(pair::BYTES), pair::lossy),
];
