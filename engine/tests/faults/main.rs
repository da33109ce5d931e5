//! Whole transfers over faulty storage: what is told, what is left behind, and that a rerun completes once the fault is gone.

mod changing;
mod field;
#[path = "../pair/mod.rs"]
mod pair;
mod storage;
