//! For tests: a network namespace for one thread, with nothing in it but a loopback and what the test adds.

use std::net::Ipv4Addr;

use super::{message, netlink};

/// Index of the loopback in a new namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// Runs `work` on a thread in a network namespace that ends with it. Without the right to make one it says so and
/// does not run.
pub(crate) fn run(work: impl FnOnce() + Send + 'static) {
    let run = || match enter() {
        true => work(),
        false => eprintln!("skipped: a network namespace needs CAP_SYS_ADMIN"),
    };
    std::thread::spawn(run).join().unwrap();
}

fn enter() -> bool {
    // SAFETY: unshare takes no pointers; the network namespace becomes that of this thread alone.
    let entered = crate::error::check(unsafe { libc::unshare(libc::CLONE_NEWNET) });
    match entered {
        Ok(_) => true,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => false,
        Err(error) => panic!("unshare: {error}"),
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An `ifinfomsg` that switches the interface on or off.
fn link(index: u32, up: bool) -> Vec<u8> {
    let mut body = vec![0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&u32::from(up).to_ne_bytes());
    body[12..16].copy_from_slice(&1u32.to_ne_bytes());
    body
}

fn tell(kind: u16, flags: i32, body: &[u8]) {
    netlink::ask(&message::request(kind, libc::NLM_F_ACK | flags, body)).unwrap();
}

/// Switches the loopback on or off and sets its MTU.
pub(crate) fn set_loopback(up: bool, mtu: u32) {
    let body = [link(LOOPBACK, up), attribute(libc::IFLA_MTU, &mtu.to_ne_bytes())].concat();
    tell(libc::RTM_NEWLINK, 0, &body);
}

/// Makes an interface `name` and the other end of its wire, both on. Returns the index of the first.
pub(crate) fn add_wire(name: &str, other: &str) -> u32 {
    const VETH_INFO_PEER: u16 = 1;
    let peer = [link(0, false), attribute(libc::IFLA_IFNAME, other.as_bytes())].concat();
    let data = attribute(libc::IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer));
    let info = [attribute(libc::IFLA_INFO_KIND, b"veth"), data].concat();
    let name_attribute = attribute(libc::IFLA_IFNAME, name.as_bytes());
    let body = [link(0, false), name_attribute, attribute(libc::IFLA_LINKINFO, &info)].concat();
    tell(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body);
    let made = super::interfaces().unwrap();
    let index = |name| made.iter().find(|interface| interface.name == name).unwrap().index;
    for end in [other, name] {
        tell(libc::RTM_NEWLINK, 0, &link(index(end), true));
    }
    index(name)
}

/// Gives an interface an address, and its network of `prefix` bits.
pub(crate) fn add_address(index: u32, ip: Ipv4Addr, prefix: u8) {
    let mut body = vec![libc::AF_INET as u8, prefix, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend(attribute(libc::IFA_LOCAL, &ip.octets()));
    tell(libc::RTM_NEWADDR, libc::NLM_F_CREATE, &body);
}
