//! Rules on the text of single files: headers, unfinished work, names, `unsafe`, `cfg`, std and clocks.

use super::Finding;
use super::code::{has_word, lines_with};
use super::files::{Files, Source};

/// Where unsafe code lives; single files elsewhere are listed in `tidy.txt`.
const UNSAFE_FOLDERS: &[&str] = &["engine/io/", "engine/dpdk-sys/", "ffi/", "ebpf/"];

/// Where neither code nor tests may read a clock or sleep: time is an argument.
const TIMELESS_FOLDERS: &[&str] = &["engine/proto/", "engine/netem/"];
const CLOCKS: &[&str] = &["thread::sleep", "Instant::now", "SystemTime::now"];

/// Names that say nothing about what a module is for.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "manager", "managers", "common"];

/// Marks of unfinished work, written so that this file does not hold them.
const UNFINISHED: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!"), concat!("unimplemented", "!")];

/// Words of `cfg` predicates that may stand on any item; others, such as `feature`, stand on `mod` lines only.
const CFG_WORDS: &[&str] = &["all", "any", "not", "test", "unix", "debug_assertions", "true", "false"];
/// The first words of items; a field, variant or match arm begins with none of them.
const ITEM_WORDS: &[&str] = &[
    "mod",
    "use",
    "fn",
    "impl",
    "struct",
    "enum",
    "union",
    "const",
    "static",
    "type",
    "trait",
    "unsafe",
    "extern",
    "async",
    "macro_rules",
];

/// The crate root of the protocol.
const PROTOCOL_ROOT: &str = "engine/proto/src/lib.rs";

pub(super) fn check(files: &Files) -> Vec<Finding> {
    files.sources.iter().flat_map(check_source).collect()
}

fn check_source(source: &Source) -> Vec<Finding> {
    let mut found = Found { file: &source.path, findings: Vec::new() };
    for mark in UNFINISHED {
        found.add(lines_with(&source.text, mark), "unfinished", &format!("`{mark}`"));
    }
    if source.is_rust() {
        header(source, &mut found);
        module_names(source, &mut found);
        if !UNSAFE_FOLDERS.iter().any(|folder| source.path.starts_with(folder)) {
            found.add(lines_with(&source.code, "unsafe"), "unsafe", "unsafe code outside its folders");
        }
        if TIMELESS_FOLDERS.iter().any(|folder| source.path.starts_with(folder)) {
            for clock in CLOCKS {
                found.add(
                    lines_with(&source.code, clock),
                    "clock",
                    &format!("`{clock}`: time is an argument here"),
                );
            }
        }
        bare_ignores(source, &mut found);
        no_std(source, &mut found);
        cfgs(source, &mut found);
    }
    found.findings
}

/// Findings of one file.
struct Found<'a> {
    file: &'a str,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, lines: impl IntoIterator<Item = usize>, rule: &'static str, message: &str) {
        let file = self.file;
        let finding = |line| Finding { file: file.to_owned(), line, rule, message: message.to_owned() };
        self.findings.extend(lines.into_iter().map(finding));
    }
}

fn header(source: &Source, found: &mut Found<'_>) {
    let first = source.text.lines().next().unwrap_or_default();
    if first.strip_prefix("//!").is_none_or(|text| text.trim().is_empty()) {
        found.add([1], "header", "the first line is not `//!` with what the file is for");
    }
}

fn module_names(source: &Source, found: &mut Found<'_>) {
    let stem = source.path.trim_end_matches(".rs");
    for name in stem.split('/').filter(|name| EMPTY_NAMES.contains(name)) {
        found.add([0], "name", &format!("`{name}` does not say what the module is for"));
    }
    for name in EMPTY_NAMES {
        found.add(lines_with(&source.code, &format!("mod {name}")), "name", &format!("`{name}` as a module"));
    }
}

fn bare_ignores(source: &Source, found: &mut Found<'_>) {
    let bare = source.code.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("#[ignore]"));
    found.add(bare.map(|(index, _)| index + 1), "ignore", "an ignored test says why: #[ignore = \"...\"]");
}

/// The protocol is `no_std`, and takes std back for its own unit tests at most.
fn no_std(source: &Source, found: &mut Found<'_>) {
    if source.path == PROTOCOL_ROOT && !source.code.contains("#![no_std]") {
        found.add([1], "no-std", "the protocol's crate root lacks #![no_std]");
    }
    if source.path.starts_with("engine/proto/src/") {
        let lines: Vec<&str> = source.code.lines().collect();
        let linked = (0..lines.len()).filter(|at| has_word(lines[*at], "extern crate std"));
        let outside = linked.filter(|at| *at == 0 || lines[*at - 1].trim() != "#[cfg(test)]");
        found.add(outside.map(|at| at + 1), "no-std", "the protocol links std outside its tests");
    }
}

/// `cfg` chooses between modules, tests and targets; it does not cut through types and matches.
fn cfgs(source: &Source, found: &mut Found<'_>) {
    let code = &source.code;
    for (at, opening) in
        ["#[cfg(", "#![cfg(", "#[cfg_attr(", "cfg!("].iter().flat_map(|o| code.match_indices(o))
    {
        let line = 1 + code[..at].matches('\n').count();
        let inside = &code[at + opening.len()..];
        let end = closing(inside);
        let predicate =
            if opening.ends_with("attr(") { first_argument(&inside[..end]) } else { &inside[..end] };
        let word = if opening.starts_with("#[cfg(") { item_word(&inside[end..]) } else { "" };
        let stray = words(predicate).find(|word| !CFG_WORDS.contains(word) && !word.starts_with("target_"));
        match stray {
            Some(stray) if word != "mod" => {
                found.add(
                    [line],
                    "cfg",
                    &format!("`{stray}` chooses between modules only: put it on a `mod` line"),
                );
            }
            None if opening.starts_with("#[cfg(") && !ITEM_WORDS.contains(&word) => {
                found.add(
                    [line],
                    "cfg",
                    "not on an item: no cfg on fields, variants, match arms or statements",
                );
            }
            _ => {}
        }
    }
}

/// Bytes before the parenthesis that closes the one already open.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn first_argument(text: &str) -> &str {
    let mut depth = 0;
    let end = text.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    &text[..end.unwrap_or(text.len())]
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The word that begins the item after an attribute, whose `)]` comes first: visibility and more attributes are
/// passed over.
fn item_word(after: &str) -> &str {
    let mut rest = after.strip_prefix(")]").unwrap_or(after).trim_start();
    while let Some(attribute) = rest.strip_prefix("#[") {
        rest = attribute.find("]\n").map_or("", |end| attribute[end + 1..].trim_start());
    }
    if let Some(public) = rest.strip_prefix("pub") {
        let scope = public.strip_prefix('(').map(|scope| &scope[scope.len().min(closing(scope) + 1)..]);
        rest = scope.unwrap_or(public).trim_start();
    }
    words(rest).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules that a file with the header and this text breaks, by line of the text.
    fn broken(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let findings = check_source(&Source::new(path, &format!("//! Header.\n{text}")));
        findings.into_iter().map(|finding| (finding.line - 1, finding.rule)).collect()
    }

    #[test]
    fn a_file_opens_with_what_it_is_for() {
        let rules = |text: &str| check_source(&Source::new("a.rs", text)).len();
        assert_eq!([rules("//! What.\n"), rules("// What.\n"), rules("//!\n"), rules("")], [0, 1, 1, 1]);
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_comments() {
        for mark in UNFINISHED {
            assert_eq!(broken("a.rs", &format!("fn f() {{}}\n// {mark}()\n")), [(2, "unfinished")]);
        }
        assert!(broken("a.rs", "let mastodon = \"todos\";\n").is_empty());
    }

    #[test]
    fn unsafe_has_its_folders() {
        let text = "#![forbid(unsafe_code)]\n// unsafe\nunsafe { x() }\n";
        assert_eq!(broken("engine/src/a.rs", text), [(3, "unsafe")]);
        assert!(broken("engine/io/src/a.rs", text).is_empty());
    }

    #[test]
    fn clocks_are_refused_below_the_engine_only() {
        let text = "let now = Instant::now();\nstd::thread::sleep(x);\n";
        assert_eq!(broken("engine/proto/tests/sim/a.rs", text), [(2, "clock"), (1, "clock")]);
        assert!(broken("engine/src/a.rs", text).is_empty());
    }

    #[test]
    fn empty_names_are_refused() {
        assert_eq!(check_source(&Source::new("a/util/b.rs", "//! B.\n"))[0].rule, "name");
        assert_eq!(broken("a.rs", "mod common;\nmod commonplace;\n"), [(1, "name")]);
    }

    #[test]
    fn the_protocol_takes_std_for_tests_only() {
        assert_eq!(broken(PROTOCOL_ROOT, "extern crate alloc;\n"), [(0, "no-std")]);
        assert!(broken(PROTOCOL_ROOT, "#![no_std]\n#[cfg(test)]\nextern crate std;\n").is_empty());
        assert_eq!(broken(PROTOCOL_ROOT, "#![no_std]\nextern crate std;\n"), [(2, "no-std")]);
    }

    #[test]
    fn cfg_chooses_modules_tests_and_targets() {
        let fine = [
            "#[cfg(test)]\nmod tests {}\n",
            "#[cfg(feature = \"dpdk\")]\n#[path = \"absent.rs\"]\npub(crate) mod dpdk;\n",
            "#[cfg(all(target_os = \"linux\", not(test)))]\npub fn f() {}\n",
            "#![cfg(test)]\n",
            "#[cfg_attr(test, derive(Debug))]\nstruct S;\n",
            "if cfg!(debug_assertions) {}\n",
            "// #[cfg(feature = \"x\")]\n",
        ];
        for text in fine {
            assert!(broken("a.rs", text).is_empty(), "{text}");
        }
        let wrong = [
            "#[cfg(feature = \"x\")]\nfn f() {}\n",
            "#[cfg(test)]\nfield: u8,\n",
            "#[cfg(test)]\nVariant,\n",
            "#[cfg(test)]\nSome(x) => {}\n",
            "#[cfg_attr(feature = \"x\", derive(Debug))]\nstruct S;\n",
            "if cfg!(feature = \"x\") {}\n",
        ];
        for text in wrong {
            assert_eq!(broken("a.rs", text), [(1, "cfg")], "{text}");
        }
    }

    #[test]
    fn an_ignored_test_says_why() {
        assert_eq!(broken("a.rs", "#[ignore]\n#[ignore = \"makes files\"]\n"), [(1, "ignore")]);
    }
}
