//! Names of files beneath a root: raw bytes, components separated by `/`, none of them `.`, `..` or empty.

use std::ffi::{CStr, CString};
use std::io;

use crate::limits::NAME_BYTES_MAX;

/// The root itself, for the system.
pub(super) const HERE: &CStr = c".";

/// Refuses what the kernel might take otherwise than meant: `EXDEV` for `..` and absolute names, `EINVAL` for empty
/// components, `.` and NUL.
pub(super) fn check(name: &[u8]) -> io::Result<()> {
    if name.first() == Some(&b'/') {
        return Err(io::Error::from_raw_os_error(libc::EXDEV));
    }
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b".." => return Err(io::Error::from_raw_os_error(libc::EXDEV)),
            b"" | b"." => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
            _ if component.contains(&0) => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
            _ => {}
        }
    }
    Ok(())
}

/// Directory part and last component.
pub(super) fn split_last(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (&[], name),
    }
}

/// The longest leading part that one system call takes, and the rest; `None` when all of it fits.
pub(super) fn split_long(name: &[u8]) -> io::Result<Option<(&[u8], &[u8])>> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(None);
    }
    match name[..=NAME_BYTES_MAX].iter().rposition(|byte| *byte == b'/') {
        Some(slash) => Ok(Some((&name[..slash], &name[slash + 1..]))),
        None => Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG)),
    }
}

/// For the system; the empty name is the directory itself.
pub(super) fn c_string(name: &[u8]) -> io::Result<CString> {
    if name.is_empty() {
        return Ok(HERE.to_owned());
    }
    CString::new(name).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errno(name: &[u8]) -> Option<i32> {
        check(name).err().and_then(|error| error.raw_os_error())
    }

    #[test]
    fn only_plain_relative_names_pass() {
        for good in [&b"a"[..], b"a/b", b"...", b"a:b\n\xff", b"..a/b.."] {
            assert_eq!(errno(good), None, "{good:?}");
        }
        for out in [&b".."[..], b"a/../b", b"../a", b"a/..", b"/", b"/a"] {
            assert_eq!(errno(out), Some(libc::EXDEV), "{out:?}");
        }
        for bad in [&b""[..], b".", b"a//b", b"a/", b"a/./b", b"a\0b"] {
            assert_eq!(errno(bad), Some(libc::EINVAL), "{bad:?}");
        }
    }

    #[test]
    fn long_names_are_split_where_they_fit() {
        let fits = vec![b'x'; NAME_BYTES_MAX];
        assert_eq!(split_long(&fits).unwrap(), None);
        assert!(split_long(&vec![b'x'; NAME_BYTES_MAX + 1]).is_err());
        let mut one_more = fits.clone();
        one_more.extend(b"/y");
        assert_eq!(split_long(&one_more).unwrap(), Some((&fits[..], &b"y"[..])));
    }

    #[test]
    fn the_last_component_is_what_follows_the_last_slash() {
        assert_eq!(split_last(b"a"), (&b""[..], &b"a"[..]));
        assert_eq!(split_last(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
    }
}
