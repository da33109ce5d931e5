//! `sim`: the protocol's simulation over many seeds, in the release profile.

use std::time::{Duration, Instant};

use crate::step::{Failure, Outcome, Step};

/// Seeds of one run where nothing else is asked for: those of each test run.
pub(crate) const SEEDS: u64 = 2_000;
/// Seeds of `ci`.
pub(crate) const SEEDS_OF_CI: u64 = 20_000;
/// The variable that tells the simulation how many seeds to run.
pub(crate) const SEEDS_VARIABLE: &str = "SIM_SEEDS";
/// The variable that makes the simulation stop at the first seed that fails.
pub(crate) const FIRST_VARIABLE: &str = "SIM_FIRST";
/// The test that runs them.
pub(crate) const SEEDS_TEST: &str = "every_seed_is_safe_and_live";
/// The variable that tells the simulation its first seed.
const BASE_VARIABLE: &str = "SIM_BASE";
/// Seeds between two looks at the time.
const BATCH: u64 = 2_000;
const USAGE: &str = "usage: cargo xtask sim [--seeds N] [--base B] [--minutes M]";

/// Which seeds to run: from `base` on, `count` at most, for `minutes` at most.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seeds {
    count: Option<u64>,
    base: u64,
    minutes: Option<u64>,
}

/// `sim [--seeds N] [--base B] [--minutes M]`. With `--minutes` alone as many as fit; the seeds under way when the time is over are finished.
///
/// # Errors
/// A wrong command line, or a seed that fails: the simulation prints it, its smallest fault list, and how to run it again.
pub(crate) fn run(args: &[String]) -> Outcome {
    let Seeds { count, base, minutes } = parse(args)?;
    let Some(minutes) = minutes else { return seeds(base, count.unwrap_or(SEEDS)) };
    let until = Instant::now() + Duration::from_secs(minutes * 60);
    let end = base + count.unwrap_or(u64::MAX - base);
    let mut next = base;
    while next < end && Instant::now() < until {
        let batch = BATCH.min(end - next);
        seeds(next, batch)?;
        next += batch;
    }
    println!("simulation: {} seeds from {base}, none failed", next - base);
    Ok(())
}

/// Runs `count` seeds from `base` on.
///
/// # Errors
/// One of them fails.
pub(crate) fn seeds(base: u64, count: u64) -> Outcome {
    let name = format!("simulation, {count} seeds from {base}");
    Step::cargo(name, ["test", "-p", "xfer-proto", "--release", "--test", "sim", SEEDS_TEST])
        .env(SEEDS_VARIABLE, count.to_string())
        .env(BASE_VARIABLE, base.to_string())
        .run()
}

fn parse(args: &[String]) -> Outcome<Seeds> {
    let mut seeds = Seeds { count: None, base: 0, minutes: None };
    let mut rest = args.iter();
    while let Some(flag) = rest.next() {
        let number = rest.next().and_then(|word| word.replace('_', "").parse().ok());
        match (flag.as_str(), number) {
            ("--seeds", Some(count)) => seeds.count = Some(count),
            ("--base", Some(base)) => seeds.base = base,
            ("--minutes", Some(minutes)) => seeds.minutes = Some(minutes),
            _ => return Err(Failure::usage(USAGE)),
        }
    }
    let too_far = seeds.base.checked_add(seeds.count.unwrap_or(0)).is_none();
    if too_far || seeds.minutes.is_some_and(|minutes| minutes > u64::from(u32::MAX)) {
        return Err(Failure::usage(USAGE));
    }
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_in_any_order() {
        let parse = |line: &str| parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("").unwrap(), Seeds { count: None, base: 0, minutes: None });
        let some = Seeds { count: Some(20_000), base: 7, minutes: None };
        assert_eq!(parse("--base 7 --seeds 20_000").unwrap(), some);
        assert_eq!(parse("--minutes 3 --base 7 --seeds 20_000").unwrap(), Seeds { minutes: Some(3), ..some });
        let far = format!("--base {} --seeds 1", u64::MAX);
        for wrong in ["--seeds", "--seeds x", "5", "--seeds -1", "--base 1 2", "--minutes", &far] {
            assert_eq!(parse(wrong).unwrap_err().code(), 2, "{wrong}");
        }
    }

    #[test]
    fn no_time_runs_no_seed() {
        run(&["--minutes".to_owned(), "0".to_owned()]).unwrap();
    }
}
