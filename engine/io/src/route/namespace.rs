//! For tests: a network namespace for one thread, with nothing in it but a loopback and what the test adds.

use std::net::{Ipv4Addr, Ipv6Addr};

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

/// Makes an interface, on, that takes every frame as it lies and drops it. Returns its index, or says that the kernel has
/// no such interfaces.
pub(crate) fn add_sink(name: &str) -> Option<u32> {
    let info = attribute(libc::IFLA_INFO_KIND, b"ifb");
    let name_attribute = attribute(libc::IFLA_IFNAME, name.as_bytes());
    let body = [link(0, true), name_attribute, attribute(libc::IFLA_LINKINFO, &info)].concat();
    let request = message::request(libc::RTM_NEWLINK, libc::NLM_F_ACK | libc::NLM_F_CREATE, &body);
    if let Err(error) = netlink::ask(&request) {
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}");
        eprintln!("skipped: this kernel has no ifb interfaces");
        return None;
    }
    let made = super::interfaces().unwrap();
    made.iter().find(|interface| interface.name == name).map(|interface| interface.index)
}

/// Lets an interface send `bytes_per_second` and keep the rest queued, up to 16 MiB (tc-tbf(8)).
pub(crate) fn slow_down(index: u32, bytes_per_second: u32) {
    const PARMS: u16 = 1;
    const BURST: u16 = 6;
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(0u32.to_ne_bytes());
    body.extend(0xffff_ffffu32.to_ne_bytes());
    body.extend(0u32.to_ne_bytes());
    // tc_tbf_qopt: rate and peak rate of 12 bytes each, then limit, buffer, mtu.
    let mut options = vec![0, 1, 0, 0, 0, 0, 0, 0];
    options.extend(bytes_per_second.to_ne_bytes());
    options.extend([0; 12]);
    options.extend((16u32 << 20).to_ne_bytes());
    options.extend([0; 8]);
    let options = [attribute(PARMS, &options), attribute(BURST, &(1u32 << 17).to_ne_bytes())].concat();
    body.extend(attribute(libc::TCA_KIND, b"tbf\0"));
    body.extend(attribute(libc::TCA_OPTIONS, &options));
    tell(libc::RTM_NEWQDISC, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &body);
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

/// Makes an interface with so many queues and that MTU; the other end of its wire is in the namespace of thread `other`. Both are off.
pub(crate) fn add_wire_to(other: libc::pid_t, [name, other_name]: [&str; 2], queues: u32, mtu: u32) {
    const VETH_INFO_PEER: u16 = 1;
    let shape = |name: &str| {
        [
            attribute(libc::IFLA_IFNAME, name.as_bytes()),
            attribute(libc::IFLA_MTU, &mtu.to_ne_bytes()),
            attribute(libc::IFLA_NUM_RX_QUEUES, &queues.to_ne_bytes()),
            attribute(libc::IFLA_NUM_TX_QUEUES, &queues.to_ne_bytes()),
        ]
        .concat()
    };
    let there = attribute(libc::IFLA_NET_NS_PID, &other.to_ne_bytes());
    let peer = [link(0, false), shape(other_name), there].concat();
    let data = attribute(libc::IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer));
    let info = [attribute(libc::IFLA_INFO_KIND, b"veth"), data].concat();
    let body = [link(0, false), shape(name), attribute(libc::IFLA_LINKINFO, &info)].concat();
    tell(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body);
}

/// Switches an interface on and gives it an address of each family. Returns its index.
pub(crate) fn set_up(name: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> u32 {
    let made = super::interfaces().unwrap();
    let index = made.iter().find(|interface| interface.name == name).unwrap().index;
    tell(libc::RTM_NEWLINK, 0, &link(index, true));
    add_address(index, v4, 24);
    // Nobody else has it: it is usable at once.
    let mut body = vec![libc::AF_INET6 as u8, 64, libc::IFA_F_NODAD as u8, 0];
    body.extend(index.to_ne_bytes());
    body.extend(attribute(libc::IFA_LOCAL, &v6.octets()));
    tell(libc::RTM_NEWADDR, libc::NLM_F_CREATE, &body);
    index
}

/// Takes an interface away.
pub(crate) fn remove(index: u32) {
    tell(libc::RTM_DELLINK, 0, &link(index, false));
}

/// Sets the MTU of an interface.
pub(crate) fn set_mtu(index: u32, mtu: u32) {
    let body = [link(index, true), attribute(libc::IFLA_MTU, &mtu.to_ne_bytes())].concat();
    tell(libc::RTM_NEWLINK, 0, &body);
}

/// Gives an interface an address, and its network of `prefix` bits.
pub(crate) fn add_address(index: u32, ip: Ipv4Addr, prefix: u8) {
    let mut body = vec![libc::AF_INET as u8, prefix, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend(attribute(libc::IFA_LOCAL, &ip.octets()));
    tell(libc::RTM_NEWADDR, libc::NLM_F_CREATE, &body);
}

/// Tells an interface who has an address, for ever.
pub(crate) fn add_neighbour(index: u32, ip: Ipv4Addr, mac: [u8; 6]) {
    let mut body = vec![libc::AF_INET as u8, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend(libc::NUD_PERMANENT.to_ne_bytes());
    body.extend([0, 0]);
    body.extend(attribute(1, &ip.octets()));
    body.extend(attribute(2, &mac));
    tell(libc::RTM_NEWNEIGH, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &body);
}
