//! Sans-IO protocol of xfer: decides what to send, believes nothing it receives.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
