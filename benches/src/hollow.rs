//! Ciphers that cost nothing, so that what is counted is the protocol: control is copied, content is not even read.

use xfer_proto::crypto::{Crypto, Suite};

/// Longer packets carry content.
const CONTROL_MAX: usize = 1_000;

/// Copies what is short, and writes no tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hollow;

impl Crypto for Hollow {
    type Key = ();

    fn key(&self, _suite: Suite, _key: &[u8], _iv: [u8; 12]) {}

    fn seal(&self, _key: &(), _number: u64, _aad: &[u8], plain: &[u8], out: &mut [u8]) {
        if plain.len() <= CONTROL_MAX {
            out[..plain.len()].copy_from_slice(plain);
        }
    }

    fn open(&self, _key: &(), _number: u64, _aad: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        if out.len() <= CONTROL_MAX {
            out.copy_from_slice(&sealed[..out.len()]);
        }
        true
    }
}
