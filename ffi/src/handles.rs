//! The one table of handles. A handle is a number in the shape of a pointer, never an address: a closed one, one that was made up and one of
//! another kind are told from a live one without reading memory that may be gone.
//!
//! The table is all that engines of a process share. It holds the way from numbers to handles, and nothing that one engine could change for
//! another.

use crate::client::Client;
use crate::connection::Connection;
use crate::engine::Engine;
use crate::memory::Memory;
use crate::status::{Detail, Failure, Outcome, XFER_ERR_HANDLE};
use std::sync::{Arc, PoisonError, RwLock};

/// What a handle stands for.
#[derive(Clone)]
pub(crate) enum Handle {
    Engine(Arc<Engine>),
    Connection(Arc<Connection>),
    Memory(Arc<Memory>),
    Client(Arc<Client>),
}

impl Handle {
    /// Why the last call that failed on it did.
    pub(crate) fn detail(&self) -> &Detail {
        match self {
            Handle::Engine(engine) => engine.detail(),
            Handle::Connection(connection) => connection.detail(),
            Handle::Memory(memory) => memory.detail(),
            Handle::Client(client) => client.detail(),
        }
    }
}

/// A kind of handle.
pub(crate) trait Kind: Sized {
    fn of(handle: &Handle) -> Option<&Arc<Self>>;

    /// Keeps why a call failed on it.
    fn keep(&self, text: String);
}

macro_rules! kinds {
    ($($kind:ident),*) => { $(
        impl Kind for $kind {
            fn of(handle: &Handle) -> Option<&Arc<Self>> {
                match handle {
                    Handle::$kind(value) => Some(value),
                    _ => None,
                }
            }

            fn keep(&self, text: String) {
                self.detail().keep(text);
            }
        }
        impl From<Arc<$kind>> for Handle {
            fn from(value: Arc<$kind>) -> Self {
                Handle::$kind(value)
            }
        }
    )* };
}

kinds!(Engine, Connection, Memory, Client);

#[derive(Default)]
struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    /// Counts those who had it.
    generation: u32,
    handle: Option<Handle>,
}

static TABLE: RwLock<Table> = RwLock::new(Table { slots: Vec::new(), free: Vec::new() });

/// The number of slot `index` in its present generation; never 0, and odd in its lowest bit, as no address of a struct is.
fn number(index: u32, generation: u32) -> usize {
    ((generation as usize) << 32) | ((index as usize) << 1) | 1
}

fn parts(number: usize) -> Option<(usize, u32)> {
    (number & 1 == 1).then_some(((number & 0xffff_ffff) >> 1, (number >> 32) as u32))
}

/// Enters a handle, and returns its number.
pub(crate) fn enter(handle: impl Into<Handle>) -> usize {
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let index = table.free.pop().unwrap_or_else(|| {
        table.slots.push(Slot::default());
        table.slots.len() as u32 - 1
    });
    let slot = &mut table.slots[index as usize];
    slot.handle = Some(handle.into());
    number(index, slot.generation)
}

/// What the number stands for.
pub(crate) fn any(number: usize) -> Option<Handle> {
    let (index, generation) = parts(number)?;
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    let slot = table.slots.get(index).filter(|slot| slot.generation == generation)?;
    slot.handle.clone()
}

/// The handle of this kind that a number stands for.
pub(crate) fn get<T: Kind>(number: usize) -> Outcome<Arc<T>> {
    let handle = any(number);
    handle.as_ref().and_then(T::of).cloned().ok_or_else(closed)
}

/// Forgets a handle: from now on its number is a closed one.
pub(crate) fn leave<T: Kind>(number: usize) -> Outcome<Arc<T>> {
    let (index, generation) = parts(number).ok_or_else(closed)?;
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    let slot = table.slots.get_mut(index).filter(|slot| slot.generation == generation).ok_or_else(closed)?;
    let value = slot.handle.as_ref().and_then(T::of).cloned().ok_or_else(closed)?;
    slot.handle = None;
    slot.generation = slot.generation.wrapping_add(1);
    table.free.push(index as u32);
    Ok(value)
}

fn closed() -> Failure {
    Failure::new(XFER_ERR_HANDLE, "the handle is closed, or none of this kind")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_there_and_back() {
        for (index, generation) in [(0, 0), (1, 0), (0, 1), ((1 << 31) - 1, u32::MAX)] {
            let number = number(index, generation);
            assert_eq!(parts(number), Some((index as usize, generation)));
            assert!(number != 0 && number % 2 == 1);
        }
        assert_eq!((parts(0), parts(0x7fff_0000_1000)), (None, None));
        assert!(any(1 | 999 << 1).is_none());
    }
}
