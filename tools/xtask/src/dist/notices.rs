//! Licences of what is linked: their terms ask that they go along. In: the crates' sources. Out: one text, each licence once, with the
//! crates that are under it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::step::{Doing, Outcome};
use crate::workspace;

use super::crates::Crate;

/// How the names of such files begin, in capitals.
const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];
/// Folders below a crate's that are looked into: C sources bring their own.
const DEPTH: u32 = 1;

/// The text.
///
/// # Errors
/// A crate's folder cannot be read.
pub(super) fn collect(crates: &[Crate]) -> Outcome<String> {
    let others = crates.iter().filter(|one| one.linked && !one.folder.starts_with(workspace::root()));
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut list = String::from("xfer is linked with these crates:\n\n");
    for one in others {
        let name = format!("{} {}", one.id.0, one.id.1);
        list += &format!("{name}: {}\n", one.licence.as_deref().unwrap_or("no licence told"));
        for text in licences(&one.folder, DEPTH)? {
            let under = texts.entry(text).or_default();
            if under.last() != Some(&name) {
                under.push(name.clone());
            }
        }
    }
    let mut sections: Vec<(Vec<String>, String)> =
        texts.into_iter().map(|(text, under)| (under, text)).collect();
    sections.sort();
    for (under, text) in sections {
        list += &format!("\n{}\n{}\n\n{}\n", "-".repeat(80), under.join(", "), text);
    }
    Ok(list)
}

/// The texts of the files that are called like licences.
fn licences(dir: &Path, depth: u32) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).doing(format_args!("list {}", dir.display()))? {
        let entry = entry.doing(format_args!("list {}", dir.display()))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if path.is_dir() && depth > 0 {
            found.extend(licences(&path, depth - 1)?);
        } else if path.is_file()
            && NAMES.iter().any(|start| name.starts_with(start))
            && !name.ends_with(".RS")
        {
            let bytes = fs::read(&path).doing(format_args!("read {}", path.display()))?;
            found.push(String::from_utf8_lossy(&bytes).trim_end().to_owned());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_there_once_with_all_its_crates() {
        let dir = std::env::temp_dir().join(format!("xtask-notices-{}", std::process::id()));
        let crates = ["a", "b"].map(|name| {
            let folder = dir.join(name);
            fs::create_dir_all(folder.join("c-source/deeper")).unwrap();
            fs::write(folder.join("LICENSE-MIT"), "take it\n").unwrap();
            fs::write(folder.join("c-source/deeper/LICENSE"), "too deep").unwrap();
            let id = (name.to_owned(), "1.0.0".to_owned());
            Crate { id, licence: None, sum: None, linked: true, needs: Vec::new(), folder }
        });
        fs::write(dir.join("b/c-source/COPYING"), "of the C part").unwrap();
        let text = collect(&crates).unwrap();
        assert_eq!(text.matches("take it").count(), 1);
        assert!(text.contains("\na 1.0.0, b 1.0.0\n\ntake it\n"), "{text}");
        assert!(text.contains("\nb 1.0.0\n\nof the C part\n") && !text.contains("too deep"), "{text}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
