//! Folders that a verb makes anew, so that nothing of an earlier run is in them.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::step::{Doing, Outcome};

/// Removes a folder with all that is in it, where it is there.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove(folder: &Path) -> Outcome {
    let removed = fs::remove_dir_all(folder).or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    removed.doing(format_args!("remove {}", folder.display()))
}

/// Makes an empty folder, with those that it is in.
///
/// # Errors
/// It cannot be made, or what is in it not be removed.
pub(crate) fn empty(folder: &Path) -> Outcome {
    remove(folder)?;
    fs::create_dir_all(folder).doing(format_args!("make {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_emptied_whether_it_is_there_or_not() {
        let top = std::env::temp_dir().join(format!("xtask-folder-{}", std::process::id()));
        let inner = top.join("inner");
        for _ in 0..2 {
            empty(&inner).unwrap();
            assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);
            fs::write(inner.join("left"), "x").unwrap();
        }
        assert!(remove(&inner.join("left")).unwrap_err().to_string().starts_with("remove "));
        for _ in 0..2 {
            remove(&top).unwrap();
            assert!(!top.exists());
        }
    }
}
