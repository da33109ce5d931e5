//! The table of log events, LOG.md, and the code: each event of one is in the other, with its level.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// Sections of the table, and where their events are.
const PLACES: [(&str, &[&str]); 3] =
    [("Engine", &["engine"]), ("Node", &["tools/node"]), ("Client", &["tools/client", "tools/xferctl"])];

/// Level and text.
type Event = (String, String);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Rust files of a folder's `src` folders.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("tests") && !path.ends_with("examples") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The arguments of a macro, from behind its opening parenthesis, and its last text.
fn last_text(code: &str) -> String {
    let (mut depth, mut last, mut letters) = (1, None, code.char_indices());
    while depth > 0 {
        match letters.next().expect("it closes").1 {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '"' => {
                let mut text = String::new();
                loop {
                    match letters.next().expect("it closes").1 {
                        '"' => break,
                        '\\' => text.extend(letters.next().map(|(_, letter)| letter)),
                        letter => text.push(letter),
                    }
                }
                last = Some(text);
            }
            _ => {}
        }
    }
    last.unwrap_or_else(|| panic!("an event without a text: {}", &code[..code.len().min(80)]))
}

fn events_of(code: &str) -> BTreeSet<Event> {
    let mut found = BTreeSet::new();
    for level in LEVELS {
        let call = format!("tracing::{level}!(");
        for (at, _) in code.match_indices(&call) {
            found.insert((level.to_owned(), last_text(&code[at + call.len()..])));
        }
    }
    found
}

/// The rows of a section.
fn rows(table: &str, section: &str) -> BTreeSet<Event> {
    let head = format!("\n## {section}\n");
    let (_, behind) = table.split_once(&head).unwrap_or_else(|| panic!("no section {section}"));
    let own = behind.split("\n## ").next().unwrap();
    let cells = own.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut found = BTreeSet::new();
    for line in cells {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{line}");
        assert!(LEVELS.contains(&cells[0]) && !cells[3].is_empty(), "{line}");
        assert!(found.insert((cells[0].to_owned(), cells[1].to_owned())), "twice: {line}");
    }
    found
}

#[test]
fn the_table_has_what_the_code_says_and_nothing_else() {
    let table = fs::read_to_string(repository().join("LOG.md")).unwrap();
    for (section, folders) in PLACES {
        let mut files = Vec::new();
        folders.iter().for_each(|folder| sources(&repository().join(folder), &mut files));
        let said: BTreeSet<Event> =
            files.iter().flat_map(|file| events_of(&fs::read_to_string(file).unwrap())).collect();
        assert!(said.len() > 10, "{section}: the events are found");
        let told = rows(&table, section);
        let missing: Vec<_> = said.difference(&told).collect();
        let gone: Vec<_> = told.difference(&said).collect();
        assert!(
            missing.is_empty() && gone.is_empty(),
            "{section}: not in LOG.md {missing:?}, not in the code {gone:?}"
        );
    }
}

#[test]
fn events_are_read_as_they_are_written() {
    let code = "tracing::warn!(a = f(\")\"), %b, \"one: \\\"x\\\"\"); tracing::info!(\"{text}\");\ntracing::warn!(\"two\")";
    let found: Vec<_> = events_of(code).into_iter().map(|(level, text)| format!("{level} {text}")).collect();
    assert_eq!(found, ["info {text}", "warn one: \"x\"", "warn two"]);
}
