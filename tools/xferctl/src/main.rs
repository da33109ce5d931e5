//! The xfer tool: copies, serves, lists, diagnoses.

fn main() {}
