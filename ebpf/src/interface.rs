//! What rtnetlink knows of an interface's XDP program (RTM_GETLINK, include/uapi/linux/if_link.h).

use std::io;
use std::os::fd::AsRawFd;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use crate::limits::{LINK_ANSWER_BYTES, LINK_ATTRIBUTES_MAX};

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
/// Bytes of `struct nlmsghdr` and of `struct ifinfomsg`.
const MESSAGE_HEAD: usize = 16;
const LINK_HEAD: usize = 16;
const ATTRIBUTE_HEAD: usize = 4;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
/// The bits of an attribute's type that are not flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the kernel's stack, on any interface.
    Generic,
}

impl XdpMode {
    /// `native` or `generic`.
    pub const fn word(self) -> &'static str {
        match self {
            XdpMode::Native => "native",
            XdpMode::Generic => "generic",
        }
    }
}

/// The XDP program of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Its id; 0 where several run at once.
    pub(crate) id: u32,
    /// Where it runs; none where it is in the NIC itself, or in several places.
    pub(crate) mode: Option<XdpMode>,
}

/// The index of an interface; none when there is no such one.
pub(crate) fn index(interface: &str) -> Option<u32> {
    if_nametoindex(interface).ok()
}

/// The XDP program that the interface with `index` runs, if any.
///
/// # Errors
/// There is no such interface any more, or the kernel does not answer.
pub(crate) fn running(index: u32) -> io::Result<Option<Running>> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    send(socket.as_raw_fd(), &request(index), MsgFlags::empty())?;
    let mut answer = vec![0; LINK_ANSWER_BYTES];
    let len = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    answer.truncate(len);
    parse(&answer)
}

fn request(index: u32) -> [u8; MESSAGE_HEAD + LINK_HEAD] {
    let mut request = [0; MESSAGE_HEAD + LINK_HEAD];
    request[..4].copy_from_slice(&((MESSAGE_HEAD + LINK_HEAD) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    request[MESSAGE_HEAD + 4..MESSAGE_HEAD + 8].copy_from_slice(&index.to_ne_bytes());
    request
}

fn parse(answer: &[u8]) -> io::Result<Option<Running>> {
    let short = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = u16_at(answer, 4).ok_or_else(short)?;
    if kind == NLMSG_ERROR {
        let code = u32_at(answer, MESSAGE_HEAD).ok_or_else(short)? as i32;
        return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
    }
    let attributes = answer.get(MESSAGE_HEAD + LINK_HEAD..).ok_or_else(short)?;
    if kind != RTM_NEWLINK {
        return Err(short());
    }
    Ok(find(attributes, IFLA_XDP).and_then(program))
}

/// What IFLA_XDP says.
fn program(xdp: &[u8]) -> Option<Running> {
    let mode = match find(xdp, IFLA_XDP_ATTACHED)?.first()? {
        0 => return None,
        1 => Some(XdpMode::Native),
        2 => Some(XdpMode::Generic),
        _ => None,
    };
    let id = find(xdp, IFLA_XDP_PROG_ID).and_then(|id| u32_at(id, 0)).unwrap_or_default();
    Some(Running { id, mode })
}

/// The content of the first attribute of type `wanted`.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    for _ in 0..LINK_ATTRIBUTES_MAX {
        let len = usize::from(u16_at(attributes, 0)?);
        let kind = u16_at(attributes, 2)? & ATTRIBUTE_TYPE;
        let content = attributes.get(ATTRIBUTE_HEAD..len)?;
        if kind == wanted {
            return Some(content);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
        let len = (ATTRIBUTE_HEAD + content.len()) as u16;
        let mut out = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn answer(attributes: &[u8]) -> Vec<u8> {
        let mut out = vec![0; MESSAGE_HEAD + LINK_HEAD];
        out[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
        out.extend_from_slice(attributes);
        out
    }

    #[test]
    fn a_program_is_found_behind_other_attributes() {
        let id = attribute(IFLA_XDP_PROG_ID, &77_u32.to_ne_bytes());
        for (attached, mode) in [(1, Some(XdpMode::Native)), (2, Some(XdpMode::Generic)), (4, None)] {
            let xdp = [attribute(IFLA_XDP_ATTACHED, &[attached]), id.clone()].concat();
            let all = [attribute(3, b"veth0\0"), attribute(IFLA_XDP | 0x8000, &xdp)].concat();
            assert_eq!(parse(&answer(&all)).unwrap(), Some(Running { id: 77, mode }));
        }
    }

    #[test]
    fn none_runs_and_no_answer_is_an_error() {
        let xdp = attribute(IFLA_XDP, &attribute(IFLA_XDP_ATTACHED, &[0]));
        assert_eq!(parse(&answer(&xdp)).unwrap(), None);
        assert_eq!(parse(&answer(&[])).unwrap(), None);
        for cut in [0, 5, MESSAGE_HEAD + LINK_HEAD - 1] {
            assert!(parse(&answer(&[])[..cut]).is_err(), "{cut}");
        }
        let mut refused = answer(&[]);
        refused[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        refused[MESSAGE_HEAD..MESSAGE_HEAD + 4].copy_from_slice(&(-19_i32).to_ne_bytes());
        assert_eq!(parse(&refused).unwrap_err().raw_os_error(), Some(19));
    }

    #[test]
    fn loopback_is_asked_and_runs_none() {
        let lo = index("lo").expect("every namespace has one");
        assert_eq!(running(lo).unwrap(), None);
        assert_eq!(index("no-such-one"), None);
    }
}
