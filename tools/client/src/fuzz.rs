//! What the fuzz targets ask of this crate's decoders: answers of a node that may be hostile, and files that may be damaged.

use crate::book::Book;
use crate::client::Entry;
use crate::ranges::FileRange;
use crate::ranges::call::Gathering;
use crate::{cache, offer, pb, status, transfer};
use prost::Message;
use std::path::Path;
use tonic::{Code, Status};
use xfer_engine::sink::{Ground, SourceInfo, Target};

/// The messages of a node that [`answer`] tells apart.
pub const ANSWERS: u8 = 7;

/// Takes `bytes` as the `kind`th of the messages that a node answers with, up to what a client makes of it.
///
/// # Panics
/// What decodes does not come back from its own bytes.
pub fn answer(kind: u8, bytes: &[u8]) {
    match kind % ANSWERS {
        0 => {
            let code = Code::from(i32::from(kind / ANSWERS));
            let error = status::error(&Status::with_details(code, "text", bytes.to_vec().into()), "n");
            assert!(error.class.exit_code() != 0 && !error.to_string().trim_start_matches("n: ").is_empty());
        }
        1 => {
            let Some(listed) = decoded::<pb::ListResponse>(bytes) else { return };
            listed.entries.into_iter().for_each(|entry| drop(Entry::from(entry)));
        }
        2 => drop(decoded::<pb::Entry>(bytes).map(Entry::from)),
        3 => {
            drop(decoded::<pb::HashResponse>(bytes));
            part(bytes);
        }
        4 => ticket(bytes),
        5 => drop(decoded::<pb::Transfer>(bytes)),
        _ => drop(decoded::<pb::Bench>(bytes)),
    }
}

fn decoded<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    assert_eq!(M::decode(&message.encode_to_vec()[..]).as_ref(), Ok(&message));
    Some(message)
}

/// The first part of a range that was asked for.
fn part(bytes: &[u8]) {
    let Some(part) = decoded::<pb::ReadResponse>(bytes) else { return };
    let ranges = [FileRange { path: b"f".to_vec(), offset: 1, len: 64 }];
    if let Ok(Some((_, Ok(read)))) = Gathering::new(&ranges, "n").part(part) {
        assert!(read.content.len() <= 64 && read.digest == *blake3::hash(&read.content).as_bytes());
    }
}

/// The answer to a request for a transfer, up to the places that a download would write.
fn ticket(bytes: &[u8]) {
    let Some(answer) = decoded::<pb::CreateTransferResponse>(bytes) else { return };
    // What is wrong with either is an error of the copy.
    drop(offer::addresses(&answer));
    drop(offer::suite(&answer));
    let sources: Vec<SourceInfo> = answer.sources.iter().map(transfer::source_info).collect();
    for destination in [&b"/nowhere/x"[..], b"/nowhere/"] {
        drop(Target::resolve(Ground::Local, destination, &sources, true));
    }
}

/// Takes `bytes` as the node book.
///
/// # Panics
/// An error tells a token.
pub fn book(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut book = Book::empty();
    match book.read(text, Path::new("nodes.toml")) {
        Ok(()) => assert!(book.nodes().all(|(_, link)| !link.addresses.is_empty())),
        Err(error) => {
            let told = error.to_string();
            let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            let secrets = text.split("xfer://").skip(1).filter_map(|link| link.get(..43));
            let secrets = secrets.filter(|token| token.bytes().all(letter));
            // What also stands somewhere else, as a name perhaps, is no secret.
            let secrets = secrets.filter(|token| text.matches(token).count() == 1);
            secrets.for_each(|token| assert!(!told.contains(token), "an error tells a token"));
        }
    }
}

/// Takes `bytes` as the file of digests that are remembered.
///
/// # Panics
/// More is remembered than there is room for.
pub fn digests(bytes: &[u8]) {
    let known = cache::parse(bytes);
    assert!(known.len() * (16 + 32 + 8) <= bytes.len());
}
