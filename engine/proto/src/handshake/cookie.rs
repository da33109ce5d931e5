//! Proof of an address without state: a MAC that only the acceptor can make (PROTOCOL.md#cookie).

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::crypto::{TicketId, wipe};
use crate::limits;
use crate::time::Time;
use core::net::{IpAddr, SocketAddr};
use hkdf::hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a cookie: bucket and MAC.
pub const COOKIE_LEN: usize = 8 + MAC_LEN;

const MAC_LEN: usize = 16;

/// The acceptor's own key for cookies.
pub(super) struct CookieKey([u8; 32]);

impl CookieKey {
    pub(super) const fn new(key: [u8; 32]) -> Self {
        CookieKey(key)
    }

    #[expect(clippy::indexing_slicing, reason = "the MAC is cut, not stretched")]
    pub(super) fn make(&self, now: Time, source: SocketAddr, ticket: TicketId) -> [u8; COOKIE_LEN] {
        let bucket = bucket(now);
        let mac = self.mac(source, ticket, bucket).finalize().into_bytes();
        let mut cookie = [0; COOKIE_LEN];
        cookie[..8].copy_from_slice(&bucket.to_le_bytes());
        cookie[8..].copy_from_slice(&mac[..MAC_LEN]);
        cookie
    }

    /// Whether this acceptor made the cookie for this address and ticket in this bucket or the one before.
    #[expect(clippy::expect_used, reason = "all lengths are constants")]
    pub(super) fn verify(
        &self,
        now: Time,
        source: SocketAddr,
        ticket: TicketId,
        cookie: &[u8; COOKIE_LEN],
    ) -> bool {
        let (made, mac) = cookie.split_first_chunk().expect("longer than a bucket");
        let made = u64::from_le_bytes(*made);
        let recent = bucket(now).checked_sub(made).is_some_and(|age| age <= 1);
        recent && self.mac(source, ticket, made).verify_truncated_left(mac).is_ok()
    }

    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    fn mac(&self, source: SocketAddr, ticket: TicketId, bucket: u64) -> Hmac<Sha256> {
        let address = match source.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0).expect("any key length is good");
        mac.update(&address.octets());
        mac.update(&source.port().to_le_bytes());
        mac.update(&ticket.0);
        mac.update(&bucket.to_le_bytes());
        mac
    }
}

impl Drop for CookieKey {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

#[expect(clippy::arithmetic_side_effects, reason = "a bucket is longer than nothing")]
fn bucket(now: Time) -> u64 {
    now.as_nanos() / limits::COOKIE_BUCKET.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    const TICKET: TicketId = TicketId([4; 16]);

    fn seconds(s: u64) -> Time {
        Time::from_nanos(s * 1_000_000_000)
    }

    fn v4(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), port))
    }

    #[test]
    fn cookie_is_good_for_its_address_port_ticket_and_key() {
        let key = CookieKey::new([1; 32]);
        let cookie = key.make(seconds(100), v4(1, 5), TICKET);
        assert!(key.verify(seconds(100), v4(1, 5), TICKET, &cookie));
        assert!(!key.verify(seconds(100), v4(2, 5), TICKET, &cookie));
        assert!(!key.verify(seconds(100), v4(1, 6), TICKET, &cookie));
        assert!(!key.verify(seconds(100), v4(1, 5), TicketId([5; 16]), &cookie));
        assert!(!CookieKey::new([2; 32]).verify(seconds(100), v4(1, 5), TICKET, &cookie));
        for i in 0..COOKIE_LEN {
            let mut changed = cookie;
            changed[i] ^= 1;
            assert!(!key.verify(seconds(100), v4(1, 5), TICKET, &changed), "byte {i}");
        }
    }

    #[test]
    fn cookie_is_good_for_its_bucket_and_the_next() {
        let key = CookieKey::new([1; 32]);
        let cookie = key.make(seconds(105), v4(1, 5), TICKET);
        for (s, good) in [(99, false), (100, true), (119, true), (120, false), (1_000, false)] {
            assert_eq!(key.verify(seconds(s), v4(1, 5), TICKET, &cookie), good, "{s}");
        }
    }

    #[test]
    fn mapped_address_is_the_same_address() {
        let key = CookieKey::new([1; 32]);
        let mapped: Ipv6Addr = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped();
        let cookie = key.make(seconds(1), v4(1, 5), TICKET);
        assert!(key.verify(seconds(1), SocketAddr::from((mapped, 5)), TICKET, &cookie));
    }
}
