//! `sim`: the protocol's simulation over many seeds, in the release profile.

use crate::step::{Failure, Outcome, Step};

/// Seeds of one run where nothing else is asked for: those of each test run.
pub(crate) const SEEDS: u64 = 2_000;
/// The variable that tells the simulation how many seeds to run.
pub(crate) const SEEDS_VARIABLE: &str = "SIM_SEEDS";
/// The variable that tells the simulation its first seed.
const BASE_VARIABLE: &str = "SIM_BASE";

/// Which seeds to run: `count` from `base` on.
#[derive(Debug, PartialEq)]
struct Seeds {
    count: u64,
    base: u64,
}

/// `sim [--seeds N] [--base B]`.
///
/// # Errors
/// A wrong command line, or a seed that fails: the simulation prints it and how to run it again.
pub(crate) fn run(args: &[String]) -> Outcome {
    let seeds = parse(args)?;
    let name = format!("simulation, {} seeds from {}", seeds.count, seeds.base);
    Step::cargo(name, ["test", "-p", "xfer-proto", "--release", "--test", "sim"])
        .env(SEEDS_VARIABLE, seeds.count.to_string())
        .env(BASE_VARIABLE, seeds.base.to_string())
        .run()
}

fn parse(args: &[String]) -> Outcome<Seeds> {
    let mut seeds = Seeds { count: SEEDS, base: 0 };
    let mut rest = args.iter();
    while let Some(flag) = rest.next() {
        let number = rest.next().and_then(|word| word.replace('_', "").parse().ok());
        match (flag.as_str(), number) {
            ("--seeds", Some(count)) => seeds.count = count,
            ("--base", Some(base)) => seeds.base = base,
            _ => return Err(Failure::usage("usage: cargo xtask sim [--seeds N] [--base B]")),
        }
    }
    Ok(seeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_in_any_order() {
        let parse = |line: &str| parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("").unwrap(), Seeds { count: SEEDS, base: 0 });
        assert_eq!(parse("--base 7 --seeds 20_000").unwrap(), Seeds { count: 20_000, base: 7 });
        for wrong in ["--seeds", "--seeds x", "5", "--seeds -1", "--base 1 2"] {
            assert_eq!(parse(wrong).unwrap_err().code(), 2, "{wrong}");
        }
    }
}
