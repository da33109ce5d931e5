//! Which capabilities this process has, from /proc/self/status.

use std::fs;

/// The capabilities that loading and attaching need, by number (include/uapi/linux/capability.h).
const NEEDED: [(u32, &str); 3] = [(39, "CAP_BPF"), (12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON")];
/// Stands for all but CAP_NET_ADMIN.
const CAP_SYS_ADMIN: u32 = 21;

/// The needed capabilities that this process lacks, as a list; empty when it has all, or cannot tell.
pub(crate) fn missing() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective(&status).map(lacking).unwrap_or_default()
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn lacking(effective: u64) -> String {
    let has = |bit: u32| effective >> bit & 1 == 1;
    let lacks = |(bit, name): (u32, &'static str)| {
        let stands_in = name != "CAP_NET_ADMIN" && has(CAP_SYS_ADMIN);
        (!has(bit) && !stands_in).then_some(name)
    };
    NEEDED.into_iter().filter_map(lacks).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(lacking(0), "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON");
        assert_eq!(lacking(1 << 12), "CAP_BPF, CAP_PERFMON");
        assert_eq!(lacking(1 << 12 | 1 << 38 | 1 << 39), "");
        assert_eq!(lacking(1 << 12 | 1 << 21), "");
        assert_eq!(effective("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
