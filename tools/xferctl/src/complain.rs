//! Errors for people: what failed, on which end, why, and what to do about it.

use crate::names;
use crate::output;
use crate::units::show_size;
use xfer_client::{Class, Error};

/// Prints an error on stderr: `xferctl: src n1 (10.0.0.2): read /a/b at 4 MiB: Input/output error`, and what to do on a line of its own.
pub(crate) fn complain(error: &Error) {
    output::tell(&format!("xferctl: {}", render(error)));
    if let Some(hint) = hint(error) {
        output::tell(&format!("  {hint}"));
    }
}

/// An error on one line.
pub(crate) fn render(error: &Error) -> String {
    let mut text = String::new();
    let end: Vec<&str> = error.side.map(crate::json::side).into_iter().chain(error.node.as_deref()).collect();
    if !end.is_empty() {
        text.push_str(&end.join(" "));
        text.push_str(": ");
    }
    text.push_str(&error.message);
    if let Some(name) = &error.name {
        text.push(' ');
        text.push_str(&names::show(name));
    }
    if let Some(offset) = error.offset {
        text.push_str(" at ");
        text.push_str(&offset_text(offset));
    }
    for cause in &error.causes {
        text.push_str(": ");
        text.push_str(cause);
    }
    let text = without_numbers(&text);
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The text without the numbers that Rust puts behind the kernel's words: `(os error 2)`.
fn without_numbers(text: &str) -> String {
    const MARK: &str = " (os error ";
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    while let Some(at) = rest.find(MARK) {
        let behind = &rest[at + MARK.len()..];
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        let (to, from) = if digits > 0 && behind[digits..].starts_with(')') {
            (at, at + MARK.len() + digits + 1)
        } else {
            (at + MARK.len(), at + MARK.len())
        };
        kept.push_str(&rest[..to]);
        rest = &rest[from..];
    }
    kept + rest
}

/// `4 MiB` where that is exact, else `4194305 bytes`.
fn offset_text(offset: u64) -> String {
    let exact = [1_u64 << 30, 1 << 20, 1 << 10].iter().any(|unit| offset > 0 && offset.is_multiple_of(*unit));
    if exact { show_size(offset) } else { format!("byte {offset}") }
}

/// Linux: no space left, quota exceeded, address in use.
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
const EADDRINUSE: i32 = 98;

/// What to do, if there is something to do and the error does not say so itself.
fn hint(error: &Error) -> Option<&'static str> {
    let says = |text: &str| error.message.contains(text) || error.causes.iter().any(|c| c.contains(text));
    match (error.class, error.errno) {
        (_, Some(ENOSPC | EDQUOT)) => {
            Some("make room at the destination and run the same command: it goes on where it stopped")
        }
        (_, Some(EADDRINUSE)) if !says("--listen") => {
            Some("end what uses the port, or choose another one with --listen IP:PORT and --data IP:PORT")
        }
        _ if says("Cannot assign requested address") => {
            Some("no interface of this host has that address; `xferctl doctor` lists those that there are")
        }
        (Class::NoDestination, _) => Some("make the directory first"),
        (Class::Temporary, _) if says("cannot reach") => {
            Some("is the node up, and TCP to it open? `xferctl doctor LINK` tries each address")
        }
        (Class::Refused, _) if says("read-only") => Some("the node is served with --read-only"),
        (Class::Denied, _) if says("token") && !says("link") => {
            Some("take the link that the node prints now")
        }
        (Class::Digest, _) => {
            Some("run the same command again; if it comes back, look at the memory and disks of both ends")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_client::Side;

    #[test]
    fn an_error_names_end_object_offset_and_causes() {
        let error = Error::new(Class::Fatal, "read")
            .on(Side::Source)
            .node("n1 (10.0.0.2)")
            .object("/a/b")
            .at(4 << 20)
            .because("Input/output error");
        assert_eq!(render(&error), "src n1 (10.0.0.2): read /a/b at 4 MiB: Input/output error");
        let bare = Error::new(Class::Other, "x\ny").object(&b"\xff\x1b"[..]).at(5);
        assert_eq!(render(&bare), "x y \\xff\\u{1b} at byte 5");
        assert_eq!(render(&Error::new(Class::Other, "x").node("n").at(0)), "n: x at byte 0");
        let numbered =
            Error::new(Class::Other, "a (os error 2)").because("b (os error x) (os error 13): c (os error ");
        assert_eq!(render(&numbered), "a: b (os error x): c (os error ");
    }

    #[test]
    fn what_can_be_mended_says_how() {
        let mut full = Error::new(Class::Fatal, "write");
        assert_eq!(hint(&full), None);
        full.errno = Some(ENOSPC);
        assert!(hint(&full).unwrap().contains("make room"));
        let foreign =
            Error::new(Class::Fatal, "receive").because("bind 9.9.9.9:1: Cannot assign requested address");
        assert!(hint(&foreign).unwrap().contains("doctor"));
        let away = Error::new(Class::Temporary, "cannot reach the node h:1");
        assert!(hint(&away).unwrap().contains("doctor"));
    }
}
