//! What an object has besides content: mode, times, and what `--preserve` adds.

use crate::source::Preserve;
use xfer_io::file::{File, FileError, Root, Timestamp};
use xfer_proto::wire::{Attribute, Entry};

/// Mode bits that are kept: permissions and sticky, neither setuid nor setgid.
const MODE_KEPT: u32 = 0o1777;
/// The name space that a sender may set attributes in: the others mean something to the system.
const XATTR_SPACE: &[u8] = b"user.";
const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// An object's attributes, as far as they are kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Permission bits.
    pub mode: u32,
    /// Modification time.
    pub mtime: Timestamp,
    owner: Option<(u32, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Kept {
    pub(super) fn of(entry: &Entry, preserve: Preserve) -> Self {
        let mut kept = Kept {
            mode: u32::from(entry.mode) & MODE_KEPT,
            mtime: Timestamp { seconds: entry.mtime_s, nanoseconds: entry.mtime_ns },
            owner: None,
            xattrs: Vec::new(),
        };
        for attribute in &entry.attributes {
            match attribute {
                Attribute::Owner { uid, gid } if preserve.owner => kept.owner = Some((*uid, *gid)),
                Attribute::Xattr { name, value } if preserve.xattr && name.starts_with(XATTR_SPACE) => {
                    kept.xattrs.push((name.clone(), value.clone()));
                }
                Attribute::AclAccess(value) if preserve.acl => {
                    kept.xattrs.push((ACL_ACCESS.to_vec(), value.clone()));
                }
                Attribute::AclDefault(value) if preserve.acl => {
                    kept.xattrs.push((ACL_DEFAULT.to_vec(), value.clone()));
                }
                _ => {}
            }
        }
        kept
    }

    /// Bytes of what has no fixed size.
    pub(super) fn bytes(&self) -> usize {
        self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Whether a file's mode differs in what is kept.
    pub(super) fn differs_in_mode(&self, mode: u32) -> bool {
        mode & MODE_KEPT != self.mode
    }

    /// Sets all on an open file or directory. The owner comes first, because changing it changes the mode, and the time last.
    pub(super) fn set(&self, file: &File) -> Result<(), FileError> {
        if let Some((uid, gid)) = self.owner {
            file.set_owner(uid, gid)?;
        }
        file.set_mode(self.mode)?;
        for (name, value) in &self.xattrs {
            file.set_xattr(name, value)?;
        }
        file.set_mtime(self.mtime)
    }

    /// Sets what a symlink has: owner and time.
    pub(super) fn set_on_symlink(&self, root: &Root, name: &[u8]) -> Result<(), FileError> {
        if let Some((uid, gid)) = self.owner {
            root.set_owner(name, uid, gid)?;
        }
        root.set_mtime(name, self.mtime)
    }
}

/// The first name of a hard link, when links are kept and this is not the first.
pub(super) fn link_to(entry: &Entry, object: u32, preserve: Preserve) -> Option<u32> {
    let first = entry.attributes.iter().find_map(|a| match a {
        Attribute::HardLink(first) => Some(*first),
        _ => None,
    })?;
    (preserve.links && first < object).then_some(first)
}

/// Whether two times are the same at the coarser one's resolution: what a file system cannot hold ends in zeros.
pub(super) fn same_time(a: Timestamp, b: Timestamp) -> bool {
    let grain = grain(a.nanoseconds).max(grain(b.nanoseconds));
    a.seconds == b.seconds && a.nanoseconds / grain == b.nanoseconds / grain
}

/// The resolution that a time seems to have: nanoseconds, 100 of them, micro- or milliseconds, seconds.
fn grain(nanoseconds: u32) -> u32 {
    [1_000_000_000, 1_000_000, 1_000, 100].into_iter().find(|g| nanoseconds.is_multiple_of(*g)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp { seconds, nanoseconds }
    }

    #[test]
    fn times_are_compared_at_the_coarser_resolution() {
        let exact = time(-5, 123_456_789);
        for coarse in [123_456_789, 123_456_700, 123_456_000, 123_000_000, 0] {
            assert!(same_time(exact, time(-5, coarse)) && same_time(time(-5, coarse), exact), "{coarse}");
        }
        for other in [123_456_788, 123_456_800, 123_455_000, 124_000_000] {
            assert!(!same_time(exact, time(-5, other)), "{other}");
        }
        assert!(!same_time(exact, time(-4, 0)));
    }
}
