//! Anchors: a section of PROTOCOL.md that code cites has to exist.

use std::collections::BTreeSet;

use super::Finding;
use super::files::Files;

const CITED: &str = "PROTOCOL.md#";

pub(super) fn check(files: &Files) -> Vec<Finding> {
    let known = anchors(&files.protocol);
    let mut findings = Vec::new();
    for source in &files.sources {
        for (index, line) in source.text.lines().enumerate() {
            for anchor in cited(line).filter(|anchor| !known.contains(*anchor)) {
                let message = format!("PROTOCOL.md has no heading for `#{anchor}`");
                findings.push(Finding {
                    file: source.path.clone(),
                    line: index + 1,
                    rule: "anchor",
                    message,
                });
            }
        }
    }
    findings
}

/// The anchors that a line cites; the bare prefix is none.
fn cited(line: &str) -> impl Iterator<Item = &str> {
    let end =
        |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').unwrap_or(text.len());
    line.match_indices(CITED)
        .map(move |(at, found)| &line[at + found.len()..])
        .map(move |text| text[..end(text)].trim_end_matches('-'))
        .filter(|anchor| !anchor.is_empty())
}

/// The anchors that GitHub makes of the headings: small letters, spaces as hyphens, other marks dropped; a repeated
/// one gets a number.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut fenced = false;
    for line in markdown.lines() {
        fenced ^= line.starts_with("```");
        let title = line.trim_start_matches('#');
        let level = line.len() - title.len();
        if fenced || !(1..=6).contains(&level) || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title.trim());
        let numbered = (1..).map(|number| format!("{slug}-{number}"));
        let free = std::iter::once(slug.clone()).chain(numbered).find(|anchor| !known.contains(anchor));
        known.extend(free);
    }
    known
}

fn slug(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::super::files::Source;
    use super::*;

    #[test]
    fn headings_become_anchors() {
        let text =
            "# The wire, version 1\n## ACK\n### Frame: `DATA`\n```\n# no heading\n```\n## ACK\n#none\n";
        let expected = ["ack", "ack-1", "frame-data", "the-wire-version-1"];
        assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_citation_without_a_heading_is_found() {
        let cite = |anchor: &str| format!("// as {CITED}{anchor}.\n");
        let source = Source::new("a.rs", &[cite("ack"), cite("nack"), cite("")].concat());
        let files = Files { sources: vec![source], protocol: "## ACK\n".to_owned(), ..Files::default() };
        let found: Vec<_> =
            check(&files).into_iter().map(|finding| (finding.line, finding.message)).collect();
        assert_eq!(found, [(2, "PROTOCOL.md has no heading for `#nack`".to_owned())]);
    }
}
