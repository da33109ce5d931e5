//! No panic reachable from the network: which modules handle a peer's bytes, and that each refuses by lint what may panic.
//!
//! Clippy finds the places; here is only checked that it is asked to, where it has to be, and that each exception says why it is none.

use super::Finding;
use super::files::{Files, Source};

/// What may panic without saying so.
const PANICS: &[&str] =
    &["expect_used", "indexing_slicing", "panic", "string_slice", "unreachable", "unwrap_used"];
/// What wraps or panics, by the profile: refused where numbers of a peer are read.
const ARITHMETIC: &[&str] = &["arithmetic_side_effects"];

/// The modules that handle what a peer sends, by their topmost file, and what they refuse.
const REFUSING: &[(&str, &[&str])] = &[
    ("engine/proto/src/lib.rs", PANICS),
    ("engine/proto/src/wire/mod.rs", ARITHMETIC),
    ("engine/proto/src/handshake/packet.rs", ARITHMETIC),
    ("engine/proto/src/handshake/payload.rs", ARITHMETIC),
    ("engine/proto/src/handshake/cookie.rs", ARITHMETIC),
    ("engine/src/codec/mod.rs", PANICS),
    ("engine/src/crypto.rs", PANICS),
    ("engine/src/digest.rs", PANICS),
    ("engine/src/sink/mod.rs", PANICS),
    ("engine/src/transfer/mod.rs", PANICS),
    ("engine/src/worker/mod.rs", PANICS),
    ("tools/node/src/lib.rs", PANICS),
];

pub(super) fn check(files: &Files) -> Vec<Finding> {
    let find = |path: &str| files.sources.iter().find(|source| source.path == path);
    let missing = REFUSING.iter().filter_map(|(path, lints)| match find(path) {
        Some(source) => refuses(source, lints).err(),
        None => Some(finding(path, 0, "the module handles what a peer sends, and is not there".to_owned())),
    });
    missing.chain(files.sources.iter().filter(|source| is_covered(&source.path)).flat_map(excuses)).collect()
}

fn finding(file: &str, line: usize, message: String) -> Finding {
    Finding { file: file.to_owned(), line, rule: "panic", message }
}

/// Whether the file denies each of `lints` outside its tests.
fn refuses(source: &Source, lints: &[&str]) -> Result<(), Finding> {
    let code: String = source.code.split_whitespace().collect();
    let denied =
        code.split("#![cfg_attr(not(test),deny(").skip(1).filter_map(|rest| rest.split("))]").next());
    let denied: Vec<&str> = denied.flat_map(|list| list.split(',')).collect();
    match lints.iter().find(|lint| !denied.contains(&format!("clippy::{lint}").as_str())) {
        None => Ok(()),
        Some(lint) => {
            Err(finding(&source.path, 1, format!("what handles a peer's bytes denies `clippy::{lint}`")))
        }
    }
}

/// Whether a file belongs to one of the modules.
fn is_covered(path: &str) -> bool {
    REFUSING.iter().any(|(top, _)| {
        let folder = top.strip_suffix("mod.rs").or_else(|| top.strip_suffix("lib.rs"));
        folder.map_or(path == *top, |folder| path.starts_with(folder))
    })
}

/// Exceptions that say nothing, or that hold for good.
fn excuses(source: &Source) -> Vec<Finding> {
    let refused = |text: &str| {
        PANICS.iter().chain(ARITHMETIC).any(|lint| super::code::has_word(text, &format!("clippy::{lint}")))
    };
    let mut findings = Vec::new();
    for (opening, rule) in [("[allow(", false), ("[warn(", false), ("[expect(", true)] {
        for (at, _) in source.code.match_indices(opening) {
            let inside = &source.code[at..];
            let inside = &inside[..inside.find(")]").unwrap_or(inside.len())];
            if refused(inside) && !(rule && inside.contains("reason =")) {
                let line = 1 + source.code[..at].matches('\n').count();
                let message = "an exception is `#[expect(..., reason = \"why it cannot\")]`".to_owned();
                findings.push(finding(&source.path, line, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lint_has_to_be_denied() {
        let all = "#![cfg_attr(\n    not(test),\n    deny(clippy::one, clippy::two)\n)]\n";
        let source = |text: &str| Source::new("a.rs", text);
        assert!(refuses(&source(all), &["one", "two"]).is_ok());
        assert!(refuses(&source(all), &["one", "three"]).is_err());
        assert!(refuses(&source("// deny(clippy::one)\n"), &["one"]).is_err());
        assert!(refuses(&source("#![warn(clippy::one)]\n"), &["one"]).is_err());
    }

    #[test]
    fn an_exception_says_why() {
        let found = |text: &str| excuses(&Source::new("engine/proto/src/a.rs", text)).len();
        assert_eq!(found("#[expect(clippy::panic, reason = \"it is caught\")]\nfn f() {}\n"), 0);
        assert_eq!(found("#[allow(missing_docs)]\nfn f() {}\n"), 0);
        assert_eq!(found("#[expect(clippy::panic)]\nfn f() {}\n"), 1);
        assert_eq!(found("#[allow(clippy::panic, reason = \"never\")]\nfn f() {}\n"), 1);
        assert_eq!(found("#![allow(clippy::unwrap_used)]\n"), 1);
    }

    #[test]
    fn modules_cover_their_folders() {
        for (path, covered) in [
            ("engine/proto/src/wire/frame.rs", true),
            ("engine/src/digest.rs", true),
            ("engine/src/sink/tests/files.rs", true),
            ("engine/src/source/files.rs", false),
            ("tools/node/src/roots.rs", true),
        ] {
            assert_eq!(is_covered(path), covered, "{path}");
        }
    }
}
