//! The program that libFuzzer drives: one target, named by `XFER_FUZZ_TARGET`.
#![no_main]

use std::sync::LazyLock;
use xfer_fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var(xfer_fuzz::TARGET_VARIABLE).unwrap_or_default();
    xfer_fuzz::find(&name)
        .unwrap_or_else(|| panic!("{} names no target: {name:?}", xfer_fuzz::TARGET_VARIABLE))
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.run)(input));
