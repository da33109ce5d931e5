//! What `--preserve` adds to an entry: owner, extended attributes, access control lists, hard links.

use super::spec::Preserve;
use crate::limits;
use std::collections::HashMap;
use xfer_io::file::{File, FileError, Kind, Stat};
use xfer_proto::limits::EXTRAS_LEN_MAX;
use xfer_proto::wire::Attribute;

const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
const USER: &[u8] = b"user.";
/// Type and length before each attribute, and the NUL in an extended one.
const HEAD_LEN: usize = 4;

/// Attributes that were read, and whether some had to be left out.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) list: Vec<Attribute>,
    pub(super) too_many: bool,
    len: usize,
}

impl Attributes {
    /// Reads those of a file or directory. `open` is called only when something is asked for that needs it.
    pub(super) fn read(
        preserve: Preserve,
        stat: &Stat,
        open: impl FnOnce() -> Result<File, FileError>,
    ) -> Result<Self, FileError> {
        let mut attributes = Attributes::default();
        if preserve.owner {
            attributes.add(8, Attribute::Owner { uid: stat.uid, gid: stat.gid });
        }
        if (preserve.xattr || preserve.acl) && matches!(stat.kind, Kind::File | Kind::Dir) {
            attributes.extended(preserve, &open()?)?;
        }
        Ok(attributes)
    }

    fn extended(&mut self, preserve: Preserve, file: &File) -> Result<(), FileError> {
        let mut names = file.xattr_names()?;
        names.sort_unstable();
        for name in names {
            let is_acl = name == ACL_ACCESS || name == ACL_DEFAULT;
            if !(preserve.acl && is_acl || preserve.xattr && name.starts_with(USER)) {
                continue;
            }
            let Some(value) = file.xattr(&name)? else { continue };
            let len = name.len() + value.len();
            match &name[..] {
                ACL_ACCESS => self.add(len, Attribute::AclAccess(value)),
                ACL_DEFAULT => self.add(len, Attribute::AclDefault(value)),
                _ => self.add(len, Attribute::Xattr { name, value }),
            }
        }
        Ok(())
    }

    /// Adds an attribute of at most `len` bytes if it fits.
    pub(super) fn add(&mut self, len: usize, attribute: Attribute) {
        if self.len + HEAD_LEN + len > EXTRAS_LEN_MAX {
            self.too_many = true;
            return;
        }
        self.len += HEAD_LEN + len;
        self.list.push(attribute);
    }
}

/// Files with several names, and the object that their first name became.
#[derive(Default)]
pub(super) struct HardLinks {
    /// (device, inode) to the first name's object and how many names are still to come.
    first: HashMap<(u64, u64), (u32, u64)>,
}

impl HardLinks {
    /// The object with the file's first name, if it was listed; else `object` becomes that.
    pub(super) fn first_name(&mut self, stat: &Stat, object: u32) -> Option<u32> {
        if stat.kind != Kind::File || stat.nlink < 2 {
            return None;
        }
        let key = (stat.dev, stat.ino);
        if let Some((first, left)) = self.first.get_mut(&key) {
            let first = *first;
            *left -= 1;
            if *left == 0 {
                self.first.remove(&key);
            }
            return Some(first);
        }
        if self.first.len() < limits::HARD_LINKS_MAX {
            self.first.insert(key, (object, stat.nlink - 1));
        }
        None
    }
}
