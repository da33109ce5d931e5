//! Completions: filled into the application's array, with what their pointers lead to kept until the next poll.

use crate::status::{XFER_OK, status_of};
use crate::structs::{Completion, XFER_COMPLETION_DIGEST};
use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr::null;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use xfer_engine::Error;

/// A completion in which all is 0.
pub(crate) const NOTHING: Completion = Completion {
    user: 0,
    connection: std::ptr::null_mut(),
    kind: 0,
    status: XFER_OK,
    object: 0,
    bytes: 0,
    flags: 0,
    name_len: 0,
    name: null(),
    data: null(),
    text: null(),
    digest: [0; 32],
    mtime_ns: 0,
    mode: 0,
    os_error: 0,
    reserved: 0,
};

/// A completion that is not in the application's array yet.
pub(crate) struct Told {
    /// Without its pointers.
    pub(crate) bare: Completion,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) error: Option<Error>,
}

// SAFETY: the only pointer of a bare completion that is not null is a handle, which is a number.
unsafe impl Send for Told {}

/// What clients tell, in order, until it is taken. A thread that tells waits while it is full.
#[derive(Default)]
pub(crate) struct ToldQueue {
    queue: Mutex<VecDeque<Told>>,
    some: AtomicBool,
    room: Condvar,
}

/// Completions of clients that nobody took yet.
const TOLD_MAX: usize = 4_096;

impl ToldQueue {
    /// Adds one, as soon as there is room.
    #[allow(dead_code, reason = "a library without clients has nobody who tells")]
    pub(crate) fn add(&self, told: Told) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.room.wait_while(queue, |queue| queue.len() >= TOLD_MAX);
        waited.unwrap_or_else(PoisonError::into_inner).push_back(told);
        self.some.store(true, Ordering::Release);
    }

    pub(crate) fn has_some(&self) -> bool {
        self.some.load(Ordering::Acquire)
    }

    /// Moves what fits to the application's array.
    pub(crate) fn take(&self, out: &mut Out<'_>) {
        if !self.has_some() {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while !out.is_full()
            && let Some(told) = queue.pop_front()
        {
            out.push_told(told);
        }
        self.some.store(!queue.is_empty(), Ordering::Release);
        drop(queue);
        self.room.notify_all();
    }
}

/// The application's array.
pub(crate) struct Out<'a> {
    room: &'a mut [MaybeUninit<Completion>],
    filled: usize,
    held: &'a mut Vec<Vec<u8>>,
}

impl<'a> Out<'a> {
    pub(crate) fn new(room: &'a mut [MaybeUninit<Completion>], held: &'a mut Vec<Vec<u8>>) -> Self {
        Out { room, filled: 0, held }
    }

    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    pub(crate) fn is_full(&self) -> bool {
        self.filled == self.room.len()
    }

    /// Adds a completion; there is room.
    pub(crate) fn push(&mut self, completion: Completion) {
        self.room[self.filled].write(completion);
        self.filled += 1;
    }

    /// Adds one with its name, its content, and why it failed.
    pub(crate) fn push_with(
        &mut self,
        mut completion: Completion,
        name: Option<Vec<u8>>,
        content: Option<Vec<u8>>,
        error: Option<&Error>,
    ) {
        if let Some(name) = name {
            completion.name_len = name.len() as u32;
            completion.name = self.hold(name).cast::<c_char>();
        }
        if let Some(content) = content {
            completion.data = self.hold(content).cast::<c_void>();
        }
        if let Some(error) = error {
            completion.status = status_of(error);
            completion.os_error = error.errno.unwrap_or(0);
            completion.text = self.text(&error.to_string());
        }
        self.push(completion);
    }

    pub(crate) fn push_told(&mut self, told: Told) {
        self.push_with(told.bare, told.name, None, told.error.as_ref());
    }

    /// Keeps a text, and returns where it begins.
    pub(crate) fn text(&mut self, text: &str) -> *const c_char {
        let bytes = text.bytes().filter(|byte| *byte != 0).chain([0]);
        self.hold(bytes.collect()).cast()
    }

    /// Keeps bytes until the next poll. Their vector may move; they do not.
    fn hold(&mut self, bytes: Vec<u8>) -> *const u8 {
        let at = bytes.as_ptr();
        self.held.push(bytes);
        at
    }
}

/// Sets the digest, if there is one.
pub(crate) fn set_digest(completion: &mut Completion, digest: Option<[u8; 32]>) {
    if let Some(digest) = digest {
        completion.digest = digest;
        completion.flags |= XFER_COMPLETION_DIGEST;
    }
}
