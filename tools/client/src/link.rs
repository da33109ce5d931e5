//! The `xfer://` string: a node's token, certificate fingerprint and addresses, and what follows as a raw path.
//!
//! Grammar: `xfer://TOKEN.FINGERPRINT@HOST:PORT[,HOST:PORT...]`, then nothing or `/` and a path. No query, no percent-decoding. A link
//! is a secret: `Debug` hides the token, only [`Link::reveal`] writes it out.

use crate::limits::{LINK_ADDRESSES_MAX, LINK_HOST_LEN_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use std::net::Ipv6Addr;
use xfer_engine::{Class, Error};

/// How a link begins.
pub const SCHEME: &str = "xfer://";

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What a client needs to reach one node and to know it.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// The node's bearer secret.
    pub token: [u8; 32],
    /// SHA-256 of the node's certificate in DER.
    pub fingerprint: [u8; 32],
    /// Where the node listens, at least one.
    pub addresses: Vec<HostPort>,
}

impl fmt::Debug for Link {
    /// Never shows the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Link {
    /// Reads a link without a path; a trailing slash is allowed.
    ///
    /// # Errors
    /// `Usage`, without the token in the message.
    pub fn parse(text: &[u8]) -> Result<Link, Error> {
        match Link::parse_with_path(text)? {
            (link, path) if path.is_empty() => Ok(link),
            _ => Err(malformed("a link to a node has no path")),
        }
    }

    /// Reads a link and the raw path after it, empty when there is none. Leading slashes are not part of the path.
    ///
    /// # Errors
    /// `Usage`, without the token in the message.
    pub fn parse_with_path(text: &[u8]) -> Result<(Link, Vec<u8>), Error> {
        let rest =
            text.strip_prefix(SCHEME.as_bytes()).ok_or_else(|| malformed("a link begins with xfer://"))?;
        let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
        let authority =
            std::str::from_utf8(&rest[..end]).map_err(|_| malformed("it is not text before the path"))?;
        let slashes = rest[end..].iter().take_while(|b| **b == b'/').count();
        let path = rest[end + slashes..].to_vec();
        let (secrets, hosts) = authority.split_once('@').ok_or_else(|| malformed("there is no @"))?;
        let (token, fingerprint) = secrets
            .split_once('.')
            .ok_or_else(|| malformed("there is no . between token and fingerprint"))?;
        let addresses = hosts.split(',').map(host_port).collect::<Result<Vec<_>, _>>()?;
        if addresses.len() > LINK_ADDRESSES_MAX {
            return Err(malformed("it has too many addresses"));
        }
        let link = Link {
            token: secret(token).ok_or_else(|| malformed("the token is not 32 bytes in base64url"))?,
            fingerprint: secret(fingerprint)
                .ok_or_else(|| malformed("the fingerprint is not 32 bytes in base64url"))?,
            addresses,
        };
        Ok((link, path))
    }

    /// The link as text, token included: it gives all access to the node.
    pub fn reveal(&self) -> String {
        let hosts: Vec<String> = self.addresses.iter().map(HostPort::to_string).collect();
        format!(
            "{SCHEME}{}.{}@{}",
            URL_SAFE_NO_PAD.encode(self.token),
            URL_SAFE_NO_PAD.encode(self.fingerprint),
            hosts.join(",")
        )
    }

    /// The node as messages name it: its first address.
    pub fn display_name(&self) -> String {
        self.addresses.first().map(HostPort::to_string).unwrap_or_default()
    }
}

fn malformed(why: &str) -> Error {
    Error::new(Class::Usage, "this is not a link xfer://TOKEN.FINGERPRINT@HOST:PORT").because(why)
}

fn secret(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

fn host_port(text: &str) -> Result<HostPort, Error> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| malformed("an address has no port"))?;
    let host = if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        inner.parse::<Ipv6Addr>().map_err(|_| malformed("what is in brackets is no IPv6 address"))?;
        inner
    } else {
        host
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    let bracketed = text.starts_with('[');
    if host.is_empty() || host.len() > LINK_HOST_LEN_MAX || !host.bytes().all(plain) {
        return Err(malformed("an address has no valid host"));
    }
    if host.contains(':') && !bracketed {
        return Err(malformed("an IPv6 address is written in brackets"));
    }
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed("a port is a number"));
    }
    match port.parse() {
        Ok(port) if port > 0 => Ok(HostPort { host: host.to_owned(), port }),
        _ => Err(malformed("a port is a number from 1 to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const F: &str = "__________________________________________8";

    fn parse(tail: &str) -> Result<(Link, Vec<u8>), Error> {
        Link::parse_with_path(format!("xfer://{T}.{F}@{tail}").as_bytes())
    }

    #[test]
    fn addresses_and_paths() {
        type Case = (&'static str, &'static [(&'static str, u16)], &'static [u8]);
        let cases: [Case; 7] = [
            ("10.0.0.2:7700", &[("10.0.0.2", 7700)], b""),
            ("10.0.0.2:7700/", &[("10.0.0.2", 7700)], b""),
            ("10.0.0.2:7700///a//b/", &[("10.0.0.2", 7700)], b"a//b/"),
            ("[fd77:1::2]:1,h.example:65535/x", &[("fd77:1::2", 1), ("h.example", 65535)], b"x"),
            ("h:1/a:b@c,d?e=%20", &[("h", 1)], b"a:b@c,d?e=%20"),
            ("h:1/xfer://y", &[("h", 1)], b"xfer://y"),
            ("h:1/..", &[("h", 1)], b".."),
        ];
        for (tail, addresses, path) in cases {
            let (link, got) = parse(tail).unwrap_or_else(|e| panic!("{tail}: {e}"));
            let expected: Vec<HostPort> =
                addresses.iter().map(|(h, p)| HostPort { host: (*h).to_owned(), port: *p }).collect();
            assert_eq!(link.addresses, expected, "{tail}");
            assert_eq!(got, path, "{tail}");
            assert_eq!(link.token, [0; 32]);
            assert_eq!(link.fingerprint, [255; 32]);
        }
    }

    #[test]
    fn paths_need_not_be_text() {
        let mut text = format!("xfer://{T}.{F}@h:1/").into_bytes();
        text.extend_from_slice(b"\xff\n");
        assert_eq!(Link::parse_with_path(&text).unwrap().1, b"\xff\n");
    }

    #[test]
    fn malformed_links_are_usage_errors_that_hide_the_token() {
        let tails = [
            "", "h", "h:", "h:0", "h:65536", "h:+1", "h:1,", ":1", "::1:1", "[::1:1", "[x]:1", "h:1?q",
            "h h:1",
        ];
        for tail in tails {
            let error = parse(tail).expect_err(tail);
            assert_eq!(error.class, Class::Usage, "{tail}");
            assert!(!error.to_string().contains(T), "{tail}");
        }
        for text in
            ["", "xfer:/", "http://a.b@h:1", &format!("xfer://{T}@h:1"), &format!("xfer://{T}A.{F}@h:1")]
        {
            assert_eq!(Link::parse_with_path(text.as_bytes()).expect_err(text).class, Class::Usage);
        }
        let too_many = vec!["h:1"; LINK_ADDRESSES_MAX + 1].join(",");
        assert!(parse(&too_many).is_err());
        assert!(parse(&too_many[4..]).is_ok());
    }

    #[test]
    fn formats_back() {
        for tail in ["10.0.0.2:7700", "[fd77:1::2]:1,h.example:65535"] {
            let text = format!("xfer://{T}.{F}@{tail}");
            let link = Link::parse(text.as_bytes()).unwrap();
            assert_eq!(link.reveal(), text);
            assert!(!format!("{link:?}").contains(T));
        }
        assert!(Link::parse(format!("xfer://{T}.{F}@h:1/x").as_bytes()).is_err());
    }
}
