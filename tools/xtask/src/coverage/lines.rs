//! How often each line ran, as lcov tells it, and which function a line belongs to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::step::{Doing, Outcome};
use crate::tidy;

/// Runs by line, by file below the workspace root.
#[derive(Default)]
pub(super) struct Lines {
    files: BTreeMap<String, BTreeMap<usize, u64>>,
}

/// Lines of one function that no test runs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Function {
    /// `first-last` for each range.
    pub(super) ranges: Vec<(usize, usize)>,
    pub(super) lines: usize,
}

/// Lines in all, lines that ran, and the functions with lines that did not, by `FILE: NAME`.
type Share = (u64, u64, BTreeMap<String, Function>);

impl Lines {
    /// Adds the counts of one program; a line counts as often as where it ran most.
    pub(super) fn add(&mut self, root: &Path, lcov: &str) {
        let root = format!("{}/", root.display());
        let mut file = None;
        for line in lcov.lines() {
            if let Some(path) = line.strip_prefix("SF:") {
                file = path.strip_prefix(&root).map(str::to_owned);
            } else if let (Some(file), Some(told)) = (&file, line.strip_prefix("DA:")) {
                let mut numbers = told.split(',').map_while(|word| word.parse::<u64>().ok());
                if let (Some(line), Some(count)) = (numbers.next(), numbers.next()) {
                    let known = self.files.entry(file.clone()).or_default().entry(line as usize).or_default();
                    *known = count.max(*known);
                }
            }
        }
    }

    /// The share of the files below `folder`, test modules left out.
    ///
    /// # Errors
    /// A source cannot be read.
    pub(super) fn below(&self, root: &Path, folder: &str) -> Outcome<Share> {
        let mut share = Share::default();
        for (file, lines) in self.files.iter().filter(|(file, _)| file.starts_with(folder)) {
            let text = fs::read_to_string(root.join(file)).doing(format_args!("read {file}"))?;
            of_file(file, &text, lines, &mut share);
        }
        Ok(share)
    }
}

fn of_file(file: &str, text: &str, lines: &BTreeMap<usize, u64>, (all, run, uncovered): &mut Share) {
    if file.ends_with("tests.rs") || file.contains("/tests/") {
        return;
    }
    let end = tests_from(text);
    let functions = tidy::functions_of(text);
    let mut before: Option<String> = None;
    for (line, count) in lines.range(..end) {
        *all += 1;
        *run += u64::from(*count > 0);
        if *count > 0 {
            before = None;
            continue;
        }
        // The innermost is the one that begins last.
        let holder = functions.iter().filter(|f| (f.1..f.1 + f.2).contains(line)).max_by_key(|f| f.1);
        let name = format!("{file}: {}", holder.map_or("-", |f| f.0.as_str()));
        let function = uncovered.entry(name.clone()).or_default();
        function.lines += 1;
        match function.ranges.last_mut() {
            Some(last) if before.as_ref() == Some(&name) => last.1 = *line,
            _ => function.ranges.push((*line, *line)),
        }
        before = Some(name);
    }
}

/// The line from which on a file holds nothing but its tests.
fn tests_from(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let opens = |at: usize| lines[at] == "#[cfg(test)]" && lines[at + 1].starts_with("mod tests {");
    (0..lines.len().saturating_sub(1)).find(|at| opens(*at)).map_or(usize::MAX, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "fn a() {\n  x\n  y\n  z\n}\nfn b() {\n}\n#[cfg(test)]\nmod tests {\n  fn c() {}\n}\n";

    #[test]
    fn lines_that_did_not_run_are_told_by_function() {
        let mut lines = Lines::default();
        lines.add(
            Path::new("/w"),
            "SF:/w/s/a.rs\nDA:1,1\nDA:2,0\nDA:3,0\nDA:4,0\nDA:6,0\nDA:10,0\nSF:/x/b.rs\nDA:1,0\n",
        );
        lines.add(Path::new("/w"), "SF:/w/s/a.rs\nDA:3,7\n");
        assert_eq!(lines.files.keys().collect::<Vec<_>>(), ["s/a.rs"]);
        let mut share = Share::default();
        of_file("s/a.rs", TEXT, &lines.files["s/a.rs"], &mut share);
        let (all, run, uncovered) = share;
        assert_eq!((all, run), (5, 2));
        let a = Function { ranges: vec![(2, 2), (4, 4)], lines: 2 };
        let b = Function { ranges: vec![(6, 6)], lines: 1 };
        assert_eq!(uncovered, BTreeMap::from([("s/a.rs: a".to_owned(), a), ("s/a.rs: b".to_owned(), b)]));
    }

    #[test]
    fn tests_of_their_own_files_do_not_count() {
        let mut share = Share::default();
        of_file("s/more_tests.rs", TEXT, &BTreeMap::from([(1, 0)]), &mut share);
        assert_eq!(share, Share::default());
        assert_eq!((tests_from(TEXT), tests_from("fn a() {}\n")), (8, usize::MAX));
    }
}
