//! `long asan` and `long valgrind`: shared memory, pools, frames and what lends them, on the heap, under tools that see each access.
//!
//! Both build into target folders of their own, with `--cfg heap_memory`: `engine/io/src/pages_heap.rs` takes the place of mapped pages.
//! AddressSanitizer comes with the stable compiler; the flag that asks for it does not, hence `RUSTC_BOOTSTRAP`.

use crate::setup;
use crate::step::{Outcome, Step};
use crate::workspace;

/// What is run: the crate with all unsafe code, and the engine's tests of memory that is lent, shared between workers and held.
const TESTS: &[&[&str]] = &[
    &["-p", "xfer-io", "--lib", "--tests"],
    &["-p", "xfer-engine", "--lib", "--test", "lend", "--test", "workers"],
];

/// What valgrind runs: the same memory, without sockets, which it makes too slow for their tests' patience.
const VALGRIND_TESTS: &[&[&str]] = &[&["-p", "xfer-io", "--lib"]];
/// Tests that valgrind cannot run: it knows neither the system call nor the limit that they ask for.
const VALGRIND_SKIPS: &[&str] =
    &["udp::", "route::", "file::", "thread::", "wake::", "xdp::tests", "xdp::hop", "xdp::interface"];

/// `long asan`.
///
/// # Errors
/// A test fails, or touches memory that is not its own.
pub(crate) fn asan(args: &[String]) -> Outcome {
    let flags = "-Zsanitizer=address --cfg heap_memory --cfg poison";
    let target = workspace::target_dir()?.join("asan");
    let host = setup::host()?;
    for tests in TESTS {
        // With a target named, build scripts and macros go without.
        let words = ["test", "--no-fail-fast", "--target", &host].into_iter().chain(tests.iter().copied());
        Step::cargo("tests under AddressSanitizer", words)
            .args(args)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", flags)
            .env("CARGO_TARGET_DIR", &target)
            .env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1")
            .run()?;
    }
    Ok(())
}

/// `long valgrind`.
///
/// # Errors
/// valgrind is missing and cannot be installed, a test fails, or it touches memory that is not its own.
pub(crate) fn valgrind(args: &[String]) -> Outcome {
    setup::ensure(setup::COUNTS)?;
    let target = workspace::target_dir()?.join("valgrind");
    let runner = setup::runner_variable()?;
    for tests in VALGRIND_TESTS {
        let words = ["test", "--no-fail-fast"].into_iter().chain(tests.iter().copied());
        let skips = VALGRIND_SKIPS.iter().flat_map(|name| ["--skip", name]);
        Step::cargo("tests under valgrind", words)
            .args(args)
            .args(["--", "--test-threads=1"])
            .args(skips)
            .env("RUSTFLAGS", "--cfg heap_memory")
            .env("CARGO_TARGET_DIR", &target)
            .env(
                &runner,
                "valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite",
            )
            .env("PROPTEST_CASES", "8")
            .run()?;
    }
    Ok(())
}
