//! Names and addresses: everything that follows from lab, host and wire numbers.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::limits::HOSTS_MAX;

/// The letter of host `index`, from 0.
pub(crate) fn host(index: usize) -> String {
    debug_assert!(index < HOSTS_MAX);
    char::from(b'a' + index as u8).to_string()
}

/// Prefix of all namespaces of lab `lab`.
fn prefix(lab: &str) -> String {
    if lab == "xfer" { "xfer".into() } else { format!("xfer-{lab}") }
}

/// Namespace of host `index`.
pub(crate) fn namespace(lab: &str, index: usize) -> String {
    format!("{}-{}", prefix(lab), host(index))
}

/// Namespace of bridges and of the emulator.
pub(crate) fn hub(lab: &str) -> String {
    format!("{}-hub", prefix(lab))
}

/// Whether `namespace` is one that lab `lab` makes, for any number of hosts.
pub(crate) fn is_ours(lab: &str, namespace: &str) -> bool {
    namespace == hub(lab) || (0..HOSTS_MAX).any(|index| namespace == self::namespace(lab, index))
}

/// Interface of wire `wire`, from 1, in each host.
pub(crate) fn interface(wire: usize) -> String {
    format!("x{wire}")
}

/// End of wire `wire` towards host `index` in the hub.
pub(crate) fn hub_port(wire: usize, index: usize) -> String {
    format!("w{wire}{}", host(index))
}

/// Bridge of wire `wire` in the hub.
pub(crate) fn bridge(wire: usize) -> String {
    format!("br{wire}")
}

/// Address of host `index` on wire `wire`, in a /24.
pub(crate) fn ipv4(wire: usize, index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, wire as u8, index as u8 + 1)
}

/// Address of host `index` on wire `wire`, in a /64. The wire's number is written in decimal digits, as people do.
pub(crate) fn ipv6(wire: usize, index: usize) -> Ipv6Addr {
    let digits = u16::from_str_radix(&wire.to_string(), 16).expect("a wire number has at most three digits");
    Ipv6Addr::new(0xfd77, digits, 0, 0, 0, 0, 0, index as u16 + 1)
}

/// Locally administered hardware address of host `index` on wire `wire`.
pub(crate) fn mac(wire: usize, index: usize) -> [u8; 6] {
    [0x02, b'x', b'f', 0, wire as u8, index as u8 + 1]
}

/// The same as text.
pub(crate) fn mac_text(wire: usize, index: usize) -> String {
    mac(wire, index).map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_spelling() {
        assert_eq!((namespace("xfer", 0), namespace("t", 2)), ("xfer-a".into(), "xfer-t-c".into()));
        assert_eq!(
            (ipv4(2, 1).to_string(), ipv6(10, 2).to_string()),
            ("10.77.2.2".into(), "fd77:10::3".into())
        );
        assert_eq!((interface(1), mac_text(1, 1)), ("x1".into(), "02:78:66:00:01:02".into()));
    }

    #[test]
    fn a_lab_knows_its_own() {
        assert!(is_ours("xfer", "xfer-a") && is_ours("xfer", "xfer-hub") && is_ours("t", "xfer-t-b"));
        for foreign in ["xfer-t-a", "xfer-aa", "xfer", "a", "xfer-A"] {
            assert!(!is_ours("xfer", foreign), "{foreign}");
        }
    }
}
