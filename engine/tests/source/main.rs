//! Sources, driven through the address space, codecs and digests as a transfer drives them.

mod list;
mod pump;
mod read;
