//! What a node offers to a transfer: the addresses that it takes data at and the ciphers that it agrees to. It tells them with a ticket.

use crate::client::{Client, Kind, Listed};
use crate::pb;
use std::net::SocketAddr;
use xfer_engine::{Class, Error, Suite};

/// What a node answered.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// Where its engine listens.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The ciphers of the ticket.
    pub(crate) suite: Suite,
    /// The directory that the ticket was for, as a source.
    pub(crate) source: Vec<u8>,
}

/// Asks with a ticket for nothing: everything is left out. The ticket is left to expire.
///
/// # Errors
/// The node gives no ticket.
pub(crate) fn ask(client: &Client, options: &pb::TransferOptions) -> Result<Offer, Error> {
    let whole = b".".to_vec();
    let error = match ticket(client, whole, options) {
        Ok(offer) => return Ok(offer),
        Err(error) => error,
    };
    // Where roots have names, the first of them.
    let mut first = None;
    client.list(b"", false, &mut |listed| {
        if let Listed::Entry(entry) = listed
            && entry.kind == Kind::Directory
        {
            first.get_or_insert(entry.path);
        }
        Ok(())
    })?;
    let mut named = first.ok_or(error)?;
    named.extend_from_slice(b"/.");
    ticket(client, named, options)
}

fn ticket(client: &Client, source: Vec<u8>, options: &pb::TransferOptions) -> Result<Offer, Error> {
    let everything_left_out = pb::Filter { include: false, glob: "*".to_owned() };
    let download = pb::Download {
        sources: vec![source.clone()],
        filters: vec![everything_left_out],
        ..Default::default()
    };
    let request = pb::CreateTransferRequest {
        what: Some(pb::create_transfer_request::What::Download(download)),
        options: Some(pb::TransferOptions { recursive: true, ..*options }),
        versions: vec![1],
        ..Default::default()
    };
    let answer = client.create_transfer(request)?;
    Ok(Offer { addresses: addresses(&answer)?, suite: suite(&answer)?, source })
}

/// The addresses of an answer.
///
/// # Errors
/// `Other` for what is none.
pub(crate) fn addresses(answer: &pb::CreateTransferResponse) -> Result<Vec<SocketAddr>, Error> {
    let parsed = answer.addresses.iter().map(|text| {
        let no_address = || format!("the node answered with {text:?}, which is no address");
        text.parse().map_err(|_| Error::new(Class::Other, no_address()))
    });
    parsed.collect()
}

/// The ciphers of an answer.
///
/// # Errors
/// `Other` when it names none.
pub(crate) fn suite(answer: &pb::CreateTransferResponse) -> Result<Suite, Error> {
    match answer.suite() {
        pb::Suite::Aes128Gcm => Ok(Suite::Aes128Gcm),
        pb::Suite::Chacha20Poly1305 => Ok(Suite::ChaCha20Poly1305),
        pb::Suite::Plain => Ok(Suite::Plain),
        pb::Suite::Unspecified => Err(Error::new(Class::Other, "the node answered with no cipher")),
    }
}
