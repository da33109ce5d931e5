//! Links, locations and pairs of addresses, as they are written on a command line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use xfer_client::paths::PathChoice;
use xfer_client::{Book, Link, Location};

/// A link comes back from what it shows, and an error does not tell its token.
pub(crate) fn run(input: &[u8]) {
    match Link::parse_with_path(input) {
        Ok((link, path)) => {
            let shown = link.reveal();
            assert_eq!(Link::parse(shown.as_bytes()).as_ref().ok(), Some(&link), "{shown}");
            let whole = [shown.as_bytes(), b"/", &path].concat();
            assert_eq!(Link::parse_with_path(&whole).ok(), Some((link, path)));
        }
        Err(error) => {
            let token = input.strip_prefix(b"xfer://").and_then(|rest| rest.get(..43));
            let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            let token = token.filter(|token| token.iter().all(|b| letter(*b)));
            let token = token.and_then(|token| std::str::from_utf8(token).ok());
            assert!(token.is_none_or(|token| !error.to_string().contains(token)), "an error tells a token");
        }
    }
    if let Ok(location) = Location::parse(OsStr::from_bytes(input), &Book::empty()) {
        assert!(!location.display().is_empty());
    }
    if let Some(choice) = std::str::from_utf8(input).ok().and_then(|text| PathChoice::parse(text).ok()) {
        assert!(choice.remote.is_none_or(|remote| remote.is_ipv4() == choice.local.is_ipv4()));
    }
}
