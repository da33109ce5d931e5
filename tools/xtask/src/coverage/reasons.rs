//! `coverage.toml`: for each function with lines that no test runs, how many they may be and why. One inline table a line:
//! `{ at = "FILE: FUNCTION", lines = N, why = "REASON" },`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::step::{Doing, Failure, Outcome};

use super::lines::Function;

/// Where the reasons are, below the workspace root.
const FILE: &str = "coverage.toml";

/// What the file says, by `FILE: FUNCTION`: the most lines that may not run.
#[derive(Debug, PartialEq)]
pub(super) struct Reasons(BTreeMap<String, usize>);

impl Reasons {
    /// Reads the file below `root`.
    ///
    /// # Errors
    /// It cannot be read, or a line is none of the above.
    pub(super) fn load(root: &Path) -> Outcome<Self> {
        Reasons::parse(&fs::read_to_string(root.join(FILE)).doing(format_args!("read {FILE}"))?)
    }

    fn parse(text: &str) -> Outcome<Self> {
        let mut all = BTreeMap::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with('{')) {
            let bad = || Failure::new(format!("{FILE}:{}: expected at, lines and why", index + 1));
            let (at, lines) = reason(line).ok_or_else(bad)?;
            if all.insert(at.clone(), lines).is_some() {
                return Err(Failure::new(format!("{FILE}:{}: {at} has a reason already", index + 1)));
            }
        }
        Ok(Reasons(all))
    }

    /// What is not run and has no reason here.
    pub(super) fn check(&self, functions: &BTreeMap<String, Function>) -> Vec<String> {
        let mut findings = Vec::new();
        for (at, function) in functions {
            let ranges: Vec<String> =
                function.ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
            let (lines, ranges) = (function.lines, ranges.join(", "));
            match self.0.get(at) {
                None => findings
                    .push(format!("{at}: {lines} lines that no test runs, without a reason: {ranges}")),
                Some(most) if lines > *most => {
                    findings.push(format!(
                        "{at}: {lines} lines that no test runs, of which {most} have a reason: {ranges}"
                    ));
                }
                Some(_) => {}
            }
        }
        findings
    }

    /// Reasons for what ran this time. Where threads meet that differs from run to run, so it is no finding.
    pub(super) fn unused<'a>(
        &'a self,
        functions: &'a BTreeMap<String, Function>,
    ) -> impl Iterator<Item = &'a String> {
        self.0.keys().filter(|at| !functions.contains_key(*at))
    }
}

fn reason(line: &str) -> Option<(String, usize)> {
    let rest = line.trim().strip_prefix("{ at = \"")?;
    let (at, rest) = rest.split_once("\", lines = ")?;
    let (lines, rest) = rest.split_once(", why = \"")?;
    let why = rest.strip_suffix("\" },")?;
    (!why.trim().is_empty()).then_some((at.to_owned(), lines.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uncovered(at: &str, lines: usize) -> BTreeMap<String, Function> {
        BTreeMap::from([(at.to_owned(), Function { ranges: vec![(3, 2 + lines)], lines })])
    }

    #[test]
    fn each_function_needs_a_reason_that_is_wide_enough() {
        let text =
            "# Why\nuncovered = [\n  { at = \"a.rs: f\", lines = 2, why = \"no such kernel here\" },\n]\n";
        let reasons = Reasons::parse(text).unwrap();
        assert_eq!(reasons.check(&uncovered("a.rs: f", 2)), [""; 0]);
        assert_eq!(reasons.check(&uncovered("a.rs: f", 3)).len(), 1);
        assert_eq!(reasons.check(&uncovered("a.rs: g", 1)).len(), 1);
        assert_eq!(reasons.unused(&uncovered("a.rs: f", 1)).count(), 0);
        assert_eq!(reasons.unused(&BTreeMap::new()).collect::<Vec<_>>(), ["a.rs: f"]);
    }

    #[test]
    fn a_reason_says_something_once() {
        for wrong in [
            "{ at = \"a\", lines = 2, why = \"\" },",
            "{ at = \"a\", lines = x, why = \"b\" },",
            "{ at = \"a\", why = \"b\" },",
            "{ at = \"a\", lines = 1, why = \"b\" },\n{ at = \"a\", lines = 1, why = \"b\" },",
        ] {
            assert!(Reasons::parse(wrong).is_err(), "{wrong}");
        }
    }
}
