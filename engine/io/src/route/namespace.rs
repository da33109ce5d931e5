//! For tests: a network namespace for one thread, with nothing in it but a loopback that can be set up at will.

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

/// Switches the loopback on or off and sets its MTU.
pub(crate) fn set_loopback(up: bool, mtu: u32) {
    let mut body = vec![0; 16];
    body[4..8].copy_from_slice(&LOOPBACK.to_ne_bytes());
    body[8..12].copy_from_slice(&u32::from(up).to_ne_bytes());
    body[12..16].copy_from_slice(&1u32.to_ne_bytes());
    body.extend(8u16.to_ne_bytes());
    body.extend(libc::IFLA_MTU.to_ne_bytes());
    body.extend(mtu.to_ne_bytes());
    netlink::ask(&message::request(libc::RTM_NEWLINK, libc::NLM_F_ACK, &body)).unwrap();
}
