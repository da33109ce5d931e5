//! Decoders and fuzz targets: what reads bytes of a peer or of a file is named in `tools/fuzz/decoders.txt` with the target that feeds it, and
//! every call of a node is one that a target makes.
//!
//! A decoder is known by its name: a function `decode...` or `parse...`, or a call of a parser that comes as a crate.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::step::{Doing, Outcome};

use super::Finding;
use super::code::functions;
use super::files::{Files, Source};

/// Says which target feeds which decoder.
const TABLE: &str = "tools/fuzz/decoders.txt";
/// A folder for each target.
const INPUTS: &str = "tools/fuzz/inputs";
/// Names the calls that a target makes.
const CALLS: &str = "tools/node/src/fuzz.rs";
/// Where the product's code is.
const PRODUCT: [&str; 6] = [
    "engine/proto/src/",
    "engine/io/src/",
    "engine/src/",
    "tools/client/src/",
    "tools/node/src/",
    "tools/xferctl/src/",
];
/// What decoders are called.
const NAMES: [&str; 2] = ["decode", "parse"];
/// Parsers of others, and what a line of the table calls them.
const PARSERS: [(&str, &str); 3] =
    [("toml::from_str", "toml"), ("serde_json::from_", "json"), ("Details::decode", "protobuf")];
/// Stands for a target where a decoder needs none.
const NONE: &str = "none,";

/// A line of the table: file, decoder, targets or why there is none.
type Line<'a> = (usize, &'a str, &'a str, &'a str);

/// # Errors
/// The table or the folder of inputs cannot be read.
pub(super) fn check(root: &Path, files: &Files) -> Outcome<Vec<Finding>> {
    let table = fs::read_to_string(root.join(TABLE)).doing(format_args!("read {TABLE}"))?;
    let entries = fs::read_dir(root.join(INPUTS)).doing(format_args!("list {INPUTS}"))?.flatten();
    let targets = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let mut findings = compare(&decoders(files), &table, &targets);
    findings.extend(calls(files));
    Ok(findings)
}

/// File and name of each decoder.
fn decoders(files: &Files) -> BTreeSet<(String, String)> {
    let product = |source: &&Source| {
        let tests = source.path.contains("/tests") || source.path.ends_with("tests.rs");
        PRODUCT.iter().any(|folder| source.path.starts_with(folder))
            && !tests
            && !source.path.ends_with("fuzz.rs")
    };
    let mut found = BTreeSet::new();
    for source in files.sources.iter().filter(product) {
        let code = source.code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let named = |name: &&str| NAMES.iter().any(|prefix| name.starts_with(prefix));
        let functions = functions(code);
        let names = functions.iter().map(|function| function.name.as_str()).filter(named);
        let parsers = PARSERS.iter().filter(|(word, _)| code.contains(word)).map(|(_, name)| *name);
        found.extend(names.chain(parsers).map(|name| (source.path.clone(), name.to_owned())));
    }
    found
}

fn finding(file: &str, line: usize, message: String) -> Finding {
    Finding { file: file.to_owned(), line, rule: "decoder", message }
}

fn compare(decoders: &BTreeSet<(String, String)>, table: &str, targets: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut known = BTreeSet::new();
    for (line, file, name, fed) in table.lines().enumerate().filter_map(read) {
        known.insert((file.to_owned(), name.to_owned()));
        if !decoders.contains(&(file.to_owned(), name.to_owned())) {
            findings.push(finding(TABLE, line, format!("{file} has no decoder `{name}`")));
        }
        let strange = fed.split_whitespace().find(|target| !targets.contains(*target));
        if let Some(target) = strange.filter(|_| !fed.starts_with(NONE)) {
            findings.push(finding(TABLE, line, format!("there is no target `{target}`")));
        }
    }
    let unknown = decoders.difference(&known);
    let message = |name| format!("no fuzz target for `{name}`: {TABLE} names it, or says why none is needed");
    findings.extend(unknown.map(|(file, name)| finding(file, 0, message(name))));
    findings
}

/// `FILE DECODER: TARGET...`; other lines are for people.
fn read((index, line): (usize, &str)) -> Option<Line<'_>> {
    let (decoder, fed) = line.split_once(": ")?;
    let (file, name) = decoder.split_once(' ')?;
    file.ends_with(".rs").then_some((index + 1, file, name, fed))
}

/// The calls of the protobuf files that no target makes.
fn calls(files: &Files) -> Vec<Finding> {
    let made = files.sources.iter().find(|source| source.path == CALLS).map_or("", |source| &source.text);
    let mut findings = Vec::new();
    for source in files.sources.iter().filter(|source| source.path.ends_with(".proto")) {
        let mut service = "";
        for (index, line) in source.text.lines().enumerate() {
            if let Some(rest) = line.strip_prefix("service ") {
                service = rest.trim_end_matches(['{', ' ']);
            }
            let Some(rest) = line.trim().strip_prefix("rpc ") else { continue };
            let method = rest.split('(').next().unwrap_or_default();
            if !made.contains(&format!("/xfer.v1.{service}/{method}\"")) {
                findings.push(finding(
                    &source.path,
                    index + 1,
                    format!("{CALLS} does not call {service}/{method}"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sources: &[(&str, &str)]) -> Files {
        let sources = sources.iter().map(|(path, text)| Source::new(path, text)).collect();
        Files { sources, ..Files::default() }
    }

    fn messages(sources: &[(&str, &str)], table: &str) -> Vec<String> {
        let targets = BTreeSet::from(["frames".to_owned()]);
        let findings = compare(&decoders(&files(sources)), table, &targets);
        findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_decoder_without_a_target_is_found() {
        let code = "fn decode_frame() {}\nfn encode() {}\n#[cfg(test)]\nmod tests {\n    fn parse() {}\n}\n";
        let sources = [("engine/src/a.rs", code), ("tools/lab/src/b.rs", "fn parse() {}\n")];
        assert_eq!(messages(&sources, "").len(), 1);
        assert!(messages(&sources, "engine/src/a.rs decode_frame: frames\n").is_empty());
        assert!(messages(&sources, "engine/src/a.rs decode_frame: none, the kernel's\n").is_empty());
        assert_eq!(
            messages(&sources, "engine/src/a.rs decode_frame: flames\n"),
            ["there is no target `flames`"]
        );
        let gone = "engine/src/a.rs decode_frame: frames\nengine/src/a.rs parse: frames\n";
        assert_eq!(messages(&sources, gone), ["engine/src/a.rs has no decoder `parse`"]);
    }

    #[test]
    fn parsers_of_others_count() {
        assert_eq!(messages(&[("tools/node/src/a.rs", "fn f() { toml::from_str(x) }\n")], "").len(), 1);
    }

    #[test]
    fn calls_that_no_target_makes_are_found() {
        let proto =
            ("x.proto", "service Files {\n  rpc List(A) returns (B);\n  rpc Stat(A) returns (B);\n}\n");
        let made = (CALLS, "const METHODS: [&str; 1] = [\"/xfer.v1.Files/List\"];\n");
        let found = calls(&files(&[proto, made]));
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [3]);
    }
}
