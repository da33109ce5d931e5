//! Socket addresses as the kernel lays them out (`sockaddr_in`, `sockaddr_in6`), built and read as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

const V4_BYTES: usize = size_of::<libc::sockaddr_in>();
const V6_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// Room for either kind of address.
#[derive(Clone, Copy, Default)]
#[repr(C, align(8))]
pub(super) struct Name {
    bytes: [u8; 32],
}

const _: () = assert!(size_of::<Name>() >= V6_BYTES && size_of::<Name>() >= V4_BYTES);

impl Name {
    /// Writes `address`; on a socket of the IPv6 family an IPv4 address is written mapped. Returns the length.
    pub(super) fn write(&mut self, address: SocketAddr, family_v6: bool) -> usize {
        match address {
            SocketAddr::V4(v4) if !family_v6 => self.write_v4(v4),
            SocketAddr::V4(v4) => self.write_v6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0)),
            SocketAddr::V6(v6) => self.write_v6(v6),
        }
    }

    fn write_v4(&mut self, address: SocketAddrV4) -> usize {
        self.bytes[0..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        self.bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        self.bytes[4..8].copy_from_slice(&address.ip().octets());
        self.bytes[8..16].fill(0);
        V4_BYTES
    }

    fn write_v6(&mut self, address: SocketAddrV6) -> usize {
        self.bytes[0..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        self.bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        self.bytes[4..8].copy_from_slice(&address.flowinfo().to_ne_bytes());
        self.bytes[8..24].copy_from_slice(&address.ip().octets());
        self.bytes[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
        V6_BYTES
    }

    /// Reads the address that the kernel wrote with the given length; mapped IPv4 becomes IPv4.
    pub(super) fn read(&self, len: usize) -> Option<SocketAddr> {
        let family = u16::from_ne_bytes([self.bytes[0], self.bytes[1]]);
        let port = u16::from_be_bytes([self.bytes[2], self.bytes[3]]);
        match i32::from(family) {
            libc::AF_INET if len >= V4_BYTES => Some(SocketAddr::new(self.array::<4>(4).into(), port)),
            libc::AF_INET6 if len >= V6_BYTES => {
                let ip = Ipv6Addr::from(self.array::<16>(8));
                let scope = u32::from_ne_bytes(self.array(24));
                Some(match ip.to_ipv4_mapped() {
                    Some(v4) => SocketAddr::new(v4.into(), port),
                    None => SocketAddrV6::new(ip, port, 0, scope).into(),
                })
            }
            _ => None,
        }
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes[at..at + N]);
        out
    }
}

/// An IPv6 address with mapped IPv4 written as IPv4.
pub(super) fn unmapped(ip: Ipv6Addr) -> IpAddr {
    ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
}

/// The address as IPv4, if it is one, mapped or not.
pub(super) fn as_v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(v6) => v6.to_ipv4_mapped(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str, family_v6: bool) -> (usize, SocketAddr) {
        let mut name = Name::default();
        let len = name.write(text.parse().unwrap(), family_v6);
        (len, name.read(len).unwrap())
    }

    #[test]
    fn both_families_survive() {
        assert_eq!(round_trip("10.1.2.3:7700", false), (V4_BYTES, "10.1.2.3:7700".parse().unwrap()));
        assert_eq!(round_trip("[fd77::1]:65535", true), (V6_BYTES, "[fd77::1]:65535".parse().unwrap()));
        assert_eq!(round_trip("[fe80::1%3]:1", true), (V6_BYTES, "[fe80::1%3]:1".parse().unwrap()));
    }

    #[test]
    fn ipv4_is_mapped_on_the_wire_and_not_above() {
        assert_eq!(round_trip("10.1.2.3:7700", true), (V6_BYTES, "10.1.2.3:7700".parse().unwrap()));
    }

    #[test]
    fn a_short_or_unknown_name_is_none() {
        let mut name = Name::default();
        assert!(name.read(0).is_none());
        let len = name.write("10.1.2.3:7700".parse().unwrap(), false);
        assert!(name.read(len - 1).is_none());
    }

    #[test]
    fn layout_is_that_of_libc() {
        let mut name = Name::default();
        let len = name.write("[1:2:3:4:5:6:7:8]:4660".parse().unwrap(), true);
        assert_eq!(std::mem::offset_of!(libc::sockaddr_in6, sin6_addr), 8);
        assert_eq!(std::mem::offset_of!(libc::sockaddr_in6, sin6_scope_id), 24);
        assert_eq!(std::mem::offset_of!(libc::sockaddr_in, sin_addr), 4);
        assert_eq!(name.bytes[2..4], [0x12, 0x34]);
        assert_eq!(len, V6_BYTES);
    }
}
