//! Development verbs: demo, test, gen, tidy, lab, sim, long, ci.

fn main() {}
