//! Ciphers that hide nothing and prove nothing: the network of this test damages no packet, and time is better spent on more of it.

use xfer_proto::crypto::{Crypto, Suite};
use xfer_proto::wire::TAG_LEN;

/// Copies, and adds a tag of zeros.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hollow;

impl Crypto for Hollow {
    type Key = ();

    fn key(&self, _suite: Suite, _key: &[u8], _iv: [u8; 12]) {}

    fn seal(&self, _key: &(), _number: u64, _aad: &[u8], plain: &[u8], out: &mut [u8]) {
        let (sealed, tag) = out.split_at_mut(plain.len());
        sealed.copy_from_slice(plain);
        tag.fill(0);
    }

    fn open(&self, _key: &(), _number: u64, _aad: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        assert_eq!(sealed.len(), out.len() + TAG_LEN);
        out.copy_from_slice(&sealed[..out.len()]);
        true
    }
}
