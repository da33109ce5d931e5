//! Sizes: files to 600 lines, functions to 100.

use super::Finding;
use super::code::functions;
use super::files::{Files, Source};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 100;

pub(super) fn check(files: &Files) -> Vec<Finding> {
    files.sources.iter().flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Vec<Finding> {
    let finding = |line, rule, message| Finding { file: source.path.clone(), line, rule, message };
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(finding(
            0,
            "file-lines",
            format!("{lines} lines, at most {FILE_LINES_MAX}: split by noun"),
        ));
    }
    for function in functions(&source.code).iter().filter(|function| function.lines > FUNCTION_LINES_MAX) {
        let message =
            format!("`{}` has {} lines, at most {FUNCTION_LINES_MAX}", function.name, function.lines);
        findings.push(finding(function.line, "function-lines", message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_inclusive() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "x;\n".repeat(lines - 2));
        let rules = |text: &str| -> Vec<_> {
            check_source(&Source::new("a.rs", text)).into_iter().map(|finding| finding.rule).collect()
        };
        assert!(rules(&"\n".repeat(FILE_LINES_MAX)).is_empty());
        assert_eq!(rules(&"\n".repeat(FILE_LINES_MAX + 1)), ["file-lines"]);
        assert!(rules(&function(FUNCTION_LINES_MAX)).is_empty());
        assert_eq!(rules(&function(FUNCTION_LINES_MAX + 1)), ["function-lines"]);
    }
}
