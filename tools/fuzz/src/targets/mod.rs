//! All targets. A new one is a line here and a folder of inputs.

mod codec;
mod frames;
mod handshake;
mod header;
mod link;
mod manifest;
mod messages;
mod requests;

use crate::Target;
use crate::duel;

/// All targets, in the order in which they run.
pub(crate) const ALL: &[Target] = &[
    Target { name: "header", run: header::run },
    Target { name: "frames", run: frames::run },
    Target { name: "messages", run: messages::run },
    Target { name: "manifest", run: manifest::run },
    Target { name: "handshake", run: handshake::run },
    Target { name: "receiver", run: duel::receive },
    Target { name: "sender", run: duel::send },
    Target { name: "codec", run: codec::run },
    Target { name: "journal", run: xfer_engine::sink::fuzz::journal },
    Target { name: "requests", run: requests::run },
    Target { name: "paths", run: xfer_node::fuzz::remote_path },
    Target { name: "identity", run: xfer_node::fuzz::identity },
    Target { name: "answers", run: answers },
    Target { name: "link", run: link::run },
    Target { name: "book", run: xfer_client::fuzz::book },
    Target { name: "digests", run: xfer_client::fuzz::digests },
    Target { name: "settings", run: xferctl::fuzz::settings },
    Target { name: "quantities", run: xferctl::fuzz::quantities },
];

/// A node's answer: the first byte says which.
fn answers(input: &[u8]) {
    if let Some((kind, bytes)) = input.split_first() {
        xfer_client::fuzz::answer(*kind, bytes);
    }
}
