//! What the file system says of a file, and of itself.

/// Seconds since 1970 and nanoseconds of that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds, negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Nanoseconds since 1970.
    pub fn ns(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }

    /// From nanoseconds since 1970; what 64 bits of seconds cannot hold becomes the nearest they can.
    pub fn from_ns(ns: i128) -> Self {
        let (seconds, nanoseconds) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000) as u32);
        match i64::try_from(seconds) {
            Ok(seconds) => Timestamp { seconds, nanoseconds },
            Err(_) if ns < 0 => Timestamp { seconds: i64::MIN, nanoseconds: 0 },
            Err(_) => Timestamp { seconds: i64::MAX, nanoseconds: 999_999_999 },
        }
    }
}

/// What kind of thing a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A FIFO, socket or device.
    Other,
}

impl Kind {
    fn from_mode(mode: libc::mode_t) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Dir,
            libc::S_IFLNK => Kind::Symlink,
            _ => Kind::Other,
        }
    }
}

/// State of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Bytes of content.
    pub size: u64,
    /// Blocks of 512 bytes that it takes.
    pub blocks: u64,
    /// Permission bits, with setuid, setgid and sticky: 12 bits.
    pub mode: u32,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of content or state.
    pub ctime: Timestamp,
    /// Number of the file on its device.
    pub ino: u64,
    /// Device.
    pub dev: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names it has.
    pub nlink: u64,
}

impl From<&libc::stat> for Stat {
    fn from(stat: &libc::stat) -> Self {
        Stat {
            kind: Kind::from_mode(stat.st_mode),
            size: stat.st_size as u64,
            blocks: stat.st_blocks as u64,
            mode: stat.st_mode & 0o7777,
            mtime: Timestamp { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
            ctime: Timestamp { seconds: stat.st_ctime, nanoseconds: stat.st_ctime_nsec as u32 },
            ino: stat.st_ino,
            dev: stat.st_dev,
            uid: stat.st_uid,
            gid: stat.st_gid,
            nlink: stat.st_nlink,
        }
    }
}

/// Room on a file system, as an unprivileged user has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can be written.
    pub bytes_free: u64,
    /// Bytes in all.
    pub bytes_total: u64,
    /// Files that can be created; `None` where there is no such limit.
    pub inodes_free: Option<u64>,
    /// Bytes of one block.
    pub block_bytes: u64,
}

impl From<&libc::statvfs> for Space {
    fn from(stat: &libc::statvfs) -> Self {
        Space {
            bytes_free: stat.f_bavail * stat.f_frsize,
            bytes_total: stat.f_blocks * stat.f_frsize,
            inodes_free: (stat.f_files > 0).then_some(stat.f_favail),
            block_bytes: stat.f_frsize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_survive_on_both_sides_of_1970() {
        for ns in [0, 1, -1, 999_999_999, 1_000_000_000, -1_000_000_000, 1_766_000_000_123_456_789] {
            let time = Timestamp::from_ns(ns);
            assert_eq!(time.ns(), ns);
            assert!(time.nanoseconds < 1_000_000_000);
        }
    }

    #[test]
    fn times_out_of_bounds_become_the_nearest() {
        assert_eq!(Timestamp::from_ns(i128::MAX).seconds, i64::MAX);
        assert_eq!(Timestamp::from_ns(i128::MIN), Timestamp { seconds: i64::MIN, nanoseconds: 0 });
    }
}
