//! Runs one counted case under callgrind: `counts NAME`; without a name lists them. Only what happens in [`measured`] is collected.

use std::process::ExitCode;

use xfer_benches::CASES;

/// Runs before the one that is counted: start-up is over, and memory has its final size.
const WARM_UP: usize = 3;

/// What callgrind collects.
#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    run();
}

fn main() -> ExitCode {
    let counted = || CASES.iter().filter(|case| case.counted);
    let Some(name) = std::env::args().nth(1) else {
        counted().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    };
    let Some(case) = counted().find(|case| case.name == name) else {
        eprintln!("no case `{name}`");
        return ExitCode::from(2);
    };
    let mut run = (case.make)();
    (0..WARM_UP).for_each(|_| run());
    measured(&mut run);
    ExitCode::SUCCESS
}
