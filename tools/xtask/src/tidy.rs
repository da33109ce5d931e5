//! `tidy`: the rules of the house that no compiler checks. In: the tree as it lies. Out: one line per finding.
//!
//! It also runs as a test of this crate. What may break a rule stands in `tidy.txt` with its reason; an entry that
//! is no longer needed is a finding itself.

mod anchors;
mod code;
mod decoders;
mod edges;
mod excuses;
mod files;
mod panics;
mod rules;
mod sizes;

use std::fmt;
use std::path::Path;
use std::time::Instant;

use crate::mutants;
use crate::step::{Failure, Outcome};
use crate::workspace;

use excuses::Excuses;
use files::Files;

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Path below the workspace root.
    file: String,
    /// Line from 1; 0 for the file as a whole.
    line: usize,
    rule: &'static str,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}: {}", self.file, self.line, self.rule, self.message)
    }
}

/// `tidy`.
///
/// # Errors
/// There are findings; each is printed.
pub(crate) fn run(args: &[String]) -> Outcome {
    if !args.is_empty() {
        return Err(Failure::usage("usage: cargo xtask tidy"));
    }
    let started = Instant::now();
    let (count, findings) = check(workspace::root())?;
    findings.iter().for_each(|finding| println!("{finding}"));
    match findings.len() {
        0 => {
            eprintln!("tidy: {count} files, no findings, {:.2} s", started.elapsed().as_secs_f64());
            Ok(())
        }
        found => Err(Failure::new(format!("tidy: {found} findings in {count} files"))),
    }
}

/// All findings of a tree that no excuse covers, and the number of files read.
fn check(root: &Path) -> Outcome<(usize, Vec<Finding>)> {
    let files = Files::load(root)?;
    let mut excuses = Excuses::load(root)?;
    let mut findings = Vec::new();
    findings.extend(edges::check(&files));
    findings.extend(sizes::check(&files));
    findings.extend(rules::check(&files));
    findings.extend(panics::check(&files));
    findings.extend(anchors::check(&files));
    findings.extend(decoders::check(root, &files)?);
    findings.extend(stale_mutants(root)?);
    findings.retain(|finding| !excuses.covers(finding));
    findings.extend(excuses.unused(&files));
    findings.sort();
    Ok((files.count(), findings))
}

/// The functions of a source: name, line of `fn` from 1, and how many lines they have.
pub(crate) fn functions_of(text: &str) -> Vec<(String, usize, usize)> {
    code::functions(&code::blank(text)).into_iter().map(|f| (f.name, f.line, f.lines)).collect()
}

/// Planted bugs whose patches do not apply any more.
fn stale_mutants(root: &Path) -> Outcome<Vec<Finding>> {
    let finding = |(file, message)| Finding { file, line: 0, rule: "mutant", message };
    Ok(mutants::stale(root)?.into_iter().map(finding).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let (count, findings) = check(workspace::root()).unwrap();
        assert!(count > 10, "only {count} files read");
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    }
}
