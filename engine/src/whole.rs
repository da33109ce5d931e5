//! The digest of what was copied: of the file, or of the tree (PRODUCT.md, "Copying, exactly").

use crate::api::FileEnd;
use crate::digest::TreeDigest;
use crate::sink::Action;

/// Collects the digests of objects as they end, in any order.
#[derive(Debug)]
pub struct CopyDigest {
    tree: TreeDigest,
    told: u32,
    files: u32,
    /// The last file's own.
    single: Option<[u8; 32]>,
    /// A digest is missing, so that there is none of the whole.
    broken: bool,
    /// The first component of names is not part of paths relative to the destination.
    strip_first: bool,
}

impl CopyDigest {
    /// Of nothing yet. `strip_first`: the first component of names is not part of paths relative to the destination.
    pub fn new(strip_first: bool) -> Self {
        CopyDigest::of(TreeDigest::new(), strip_first)
    }

    /// The same, with at most `bytes` of records that wait for one before them; with more there is no digest.
    pub fn within(bytes: usize, strip_first: bool) -> Self {
        CopyDigest::of(TreeDigest::within(bytes), strip_first)
    }

    fn of(tree: TreeDigest, strip_first: bool) -> Self {
        CopyDigest { tree, told: 0, files: 0, single: None, broken: false, strip_first }
    }

    /// An object ended.
    pub fn tell(&mut self, file: &FileEnd) {
        self.told += 1;
        if self.broken {
            return;
        }
        let told = match (file.is_directory, file.action, &file.digest) {
            (true, _, _) => self.tree.skip(file.object),
            (false, Action::Failed, _) | (false, _, None) => {
                self.broken = true;
                return;
            }
            (false, _, Some(digest)) => {
                self.files += 1;
                self.single = Some(*digest);
                self.tree.push(file.object, self.relative(&file.name), digest)
            }
        };
        self.broken = told.is_err();
        if self.broken {
            self.tree = TreeDigest::new();
        }
    }

    fn relative<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        match name.iter().position(|b| *b == b'/') {
            Some(slash) if self.strip_first => &name[slash + 1..],
            _ => name,
        }
    }

    /// The digest: of the only file when `one_file` was named, else of the tree.
    pub fn finish(&self, one_file: bool) -> Option<[u8; 32]> {
        if self.broken {
            return None;
        }
        if one_file && self.told == 1 && self.files == 1 {
            return self.single;
        }
        self.tree.finish(self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::root;

    fn end(object: u32, name: &str, digest: Option<[u8; 32]>) -> FileEnd {
        FileEnd {
            object,
            name: name.as_bytes().to_vec(),
            is_directory: name.ends_with('d'),
            action: Action::Copied,
            bytes: 1,
            reused: 0,
            skipped: 0,
            digest,
            error: None,
        }
    }

    fn record(digest: &[u8; 32], path: &str) -> String {
        let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        format!("{hex}  {path}\0")
    }

    #[test]
    fn a_file_is_itself_and_a_tree_its_records() {
        let mut one = CopyDigest::new(false);
        one.tell(&end(0, "f", Some([7; 32])));
        assert_eq!(one.finish(true), Some([7; 32]));
        assert_eq!(one.finish(false), Some(root(record(&[7; 32], "f").as_bytes())));
    }

    #[test]
    fn names_are_relative_to_the_destination() {
        for (strip, path) in [(false, "x.d/f"), (true, "f")] {
            let mut tree = CopyDigest::new(strip);
            tree.tell(&end(1, "x.d/f", Some([7; 32])));
            tree.tell(&end(0, "x.d", None));
            assert_eq!(tree.finish(false), Some(root(record(&[7; 32], path).as_bytes())));
        }
    }

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let record = crate::digest::WAITING_ROOM + record(&[7; 32], "a").len();
        for (bytes, expected) in [(2 * record, true), (2 * record - 1, false)] {
            let mut tree = CopyDigest::within(bytes, false);
            for (object, name) in [(2, "c"), (1, "b"), (0, "a")] {
                tree.tell(&end(object, name, Some([7; 32])));
            }
            assert_eq!(tree.finish(false).is_some(), expected, "{bytes}");
        }
    }

    #[test]
    fn a_missing_digest_leaves_none() {
        let mut tree = CopyDigest::new(false);
        tree.tell(&end(0, "a", Some([7; 32])));
        tree.tell(&end(1, "b", None));
        tree.tell(&end(2, "c", Some([7; 32])));
        assert_eq!(tree.finish(false), None);
    }
}
