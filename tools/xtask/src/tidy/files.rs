//! The files of the tree, read once for all rules.

use std::fs;
use std::path::Path;

use crate::step::{Doing, Outcome};

use super::code::blank;

/// A source file.
pub(super) struct Source {
    /// Path below the workspace root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// Rust only: the text with comments, strings and characters blanked out, line by line the same.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { blank(text) } else { String::new() };
        Source { path: path.to_owned(), text: text.to_owned(), code }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// What the rules look at.
#[derive(Default)]
pub(super) struct Files {
    /// Rust, C, Python and shell sources.
    pub(super) sources: Vec<Source>,
    /// Cargo.toml files.
    pub(super) manifests: Vec<Source>,
    /// PROTOCOL.md, empty when there is none.
    pub(super) protocol: String,
}

impl Files {
    /// Reads the tree below `root`, build results and hidden folders excepted.
    ///
    /// # Errors
    /// A folder or file cannot be read.
    pub(super) fn load(root: &Path) -> Outcome<Files> {
        let mut files = Files::default();
        files.walk(root, "")?;
        Ok(files)
    }

    /// Files read.
    pub(super) fn count(&self) -> usize {
        self.sources.len() + self.manifests.len()
    }

    fn walk(&mut self, dir: &Path, prefix: &str) -> Outcome {
        for entry in fs::read_dir(dir).doing(format_args!("list {}", dir.display()))? {
            let entry = entry.doing(format_args!("list {}", dir.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().doing(format_args!("look at {}", entry.path().display()))?;
            if name.starts_with('.') || name == "target" || name == "__pycache__" {
                continue;
            }
            let path = format!("{prefix}{name}");
            if kind.is_dir() {
                self.walk(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() {
                self.read(&entry.path(), &path)?;
            }
        }
        Ok(())
    }

    fn read(&mut self, place: &Path, path: &str) -> Outcome {
        let text = || fs::read_to_string(place).doing(format_args!("read {path}"));
        let kind = path.rsplit_once('.').map_or("", |(_, kind)| kind);
        if path == "PROTOCOL.md" {
            self.protocol = text()?;
        } else if path.rsplit('/').next() == Some("Cargo.toml") {
            self.manifests.push(Source::new(path, &text()?));
        } else if matches!(kind, "rs" | "c" | "h" | "py" | "sh" | "proto") {
            self.sources.push(Source::new(path, &text()?));
        }
        Ok(())
    }
}
