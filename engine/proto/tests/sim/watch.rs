//! Ciphers with a witness: each key seals the numbers of one epoch, each number once, whoever has the key.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use xfer_proto::crypto::{Crypto, Suite, epoch};

/// What each key sealed: its epoch and the highest number.
type Uses = Arc<Mutex<HashMap<u64, (u64, u64)>>>;

/// The ciphers of all ends of a run.
#[derive(Clone, Debug)]
pub(crate) struct Watched<C> {
    inner: C,
    uses: Option<Uses>,
}

/// A key and its name, by which it is known whoever derived it.
pub(crate) struct Key<C: Crypto> {
    inner: C::Key,
    name: u64,
}

/// Ciphers that somebody looks at.
pub(crate) trait Witnessed: Crypto + Clone {
    /// The same ciphers, with nobody looking.
    fn unseen(&self) -> Self;
}

impl<C: Crypto + Clone> Watched<C> {
    pub(crate) fn new(inner: C) -> Self {
        Watched { inner, uses: Some(Uses::default()) }
    }
}

impl<C: Crypto + Clone + 'static> Witnessed for Watched<C> {
    fn unseen(&self) -> Self {
        Watched { inner: self.inner.clone(), uses: None }
    }
}

impl<C: Crypto + 'static> Crypto for Watched<C> {
    type Key = Key<C>;

    fn key(&self, suite: Suite, key: &[u8], iv: [u8; 12]) -> Key<C> {
        let mut name = DefaultHasher::new();
        (key, iv).hash(&mut name);
        Key { inner: self.inner.key(suite, key, iv), name: name.finish() }
    }

    fn seal(&self, key: &Key<C>, number: u64, aad: &[u8], plain: &[u8], out: &mut [u8]) {
        if let Some(uses) = &self.uses {
            let mut uses = uses.lock().expect("no other end panicked");
            let epoch = epoch(number);
            if let Some((of, highest)) = uses.insert(key.name, (epoch, number)) {
                assert!(of == epoch, "a key of epoch {of} seals packet {number} of epoch {epoch}");
                assert!(number > highest, "a key seals packet {number} after {highest}");
            }
        }
        self.inner.seal(&key.inner, number, aad, plain, out);
    }

    fn open(&self, key: &Key<C>, number: u64, aad: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        self.inner.open(&key.inner, number, aad, sealed, out)
    }
}
