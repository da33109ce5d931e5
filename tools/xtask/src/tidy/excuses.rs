//! The exceptions of `tidy.txt`: `RULE PATH REASON` a line, `#` comments.

use std::fs;
use std::path::Path;

use crate::step::{Doing, Failure, Outcome};

use super::Finding;
use super::files::Files;

/// Where the exceptions are written, below the workspace root.
const FILE: &str = "tools/xtask/tidy.txt";

/// A rule that one file may break.
struct Excuse {
    rule: String,
    path: String,
    line: usize,
    used: bool,
}

/// All exceptions and which of them were needed.
pub(super) struct Excuses {
    all: Vec<Excuse>,
}

impl Excuses {
    /// Reads the exceptions of the tree below `root`.
    ///
    /// # Errors
    /// The file cannot be read, or a line has no reason.
    pub(super) fn load(root: &Path) -> Outcome<Excuses> {
        Excuses::parse(&fs::read_to_string(root.join(FILE)).doing(format_args!("read {FILE}"))?)
    }

    fn parse(text: &str) -> Outcome<Excuses> {
        let mut all = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(rule), Some(path), Some(_reason)) = (words.next(), words.next(), words.next()) else {
                return Err(Failure::new(format!("{FILE}:{}: expected RULE PATH REASON", index + 1)));
            };
            all.push(Excuse { rule: rule.to_owned(), path: path.to_owned(), line: index + 1, used: false });
        }
        Ok(Excuses { all })
    }

    /// Whether a finding is excused.
    pub(super) fn covers(&mut self, finding: &Finding) -> bool {
        let excuse = self.all.iter_mut().find(|e| e.rule == finding.rule && e.path == finding.file);
        excuse.map(|excuse| excuse.used = true).is_some()
    }

    /// Entries that excused nothing in a file that is there.
    pub(super) fn unused(&self, files: &Files) -> Vec<Finding> {
        let there = |path: &str| files.sources.iter().any(|source| source.path == path);
        let unused = self.all.iter().filter(|excuse| !excuse.used && there(&excuse.path));
        let finding = |excuse: &Excuse| Finding {
            file: FILE.to_owned(),
            line: excuse.line,
            rule: "unused",
            message: format!("{} does not break the rule `{}`: remove this line", excuse.path, excuse.rule),
        };
        unused.map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::Source;
    use super::*;

    #[test]
    fn an_excuse_covers_its_rule_in_its_file_only() {
        let mut excuses = Excuses::parse("# why\n\nunsafe a/b.rs system calls\nlines c.rs table\n").unwrap();
        let finding =
            |file: &str, rule| Finding { file: file.to_owned(), line: 7, rule, message: String::new() };
        assert!(excuses.covers(&finding("a/b.rs", "unsafe")));
        assert!(excuses.covers(&finding("a/b.rs", "unsafe")));
        assert!(!excuses.covers(&finding("a/b.rs", "lines")));
        assert!(!excuses.covers(&finding("b.rs", "unsafe")));
        assert!(excuses.unused(&Files::default()).is_empty());
        let files = Files { sources: vec![Source::new("c.rs", "")], ..Files::default() };
        let unused = excuses.unused(&files);
        assert_eq!((unused.len(), unused[0].line), (1, 4));
    }

    #[test]
    fn an_excuse_needs_a_reason() {
        let failure = Excuses::parse("unsafe a.rs").err().unwrap();
        assert!(failure.to_string().ends_with("tidy.txt:1: expected RULE PATH REASON"), "{failure}");
    }
}
