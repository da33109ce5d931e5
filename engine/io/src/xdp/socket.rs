//! The AF_XDP socket: registers memory, makes and maps the four rings, binds to a queue of an interface, wakes the kernel
//! (Documentation/networking/af_xdp.rst). What was obtained beyond that is told, and what was not is noted.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use super::channel::{Kernel, Rings, Sizes};
use super::ring::{Consumer, Entry, Place, Producer};
use super::umem::Umem;
use crate::error::{IoError, check, check_size};
use crate::limits::XDP_SEND_BUDGET;

/// `XDP_MAX_TX_SKB_BUDGET` of `linux/if_xdp.h`, Linux 6.17.
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;
/// `SO_PREFER_BUSY_POLL` and `SO_BUSY_POLL_BUDGET`.
const SO_PREFER_BUSY_POLL: i32 = 69;
const SO_BUSY_POLL_BUDGET: i32 = 70;
/// Packets that a busy poll may take at once: the most that needs no right.
const BUSY_POLL_BUDGET: i32 = 64;
/// Bytes of `struct xsk_tx_metadata`.
pub(super) const METADATA_BYTES: usize = 24;

/// Whether this process may have AF_XDP sockets at all.
///
/// # Errors
/// `EAFNOSUPPORT` from a kernel without them, `EPERM` without `CAP_NET_RAW`.
pub fn available() -> Result<(), IoError> {
    new_socket().map(drop).map_err(|error| IoError::new("open", "an AF_XDP socket", &error))
}

fn new_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes no pointers.
    let fd = check(unsafe { libc::socket(libc::AF_XDP, kind, 0) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A socket that is not bound yet, so that its fill ring can be filled first: some drivers look at it only then.
pub(super) struct Unbound {
    fd: OwnedFd,
    metadata: bool,
}

/// How a socket is to be bound.
#[derive(Clone, Copy)]
pub(super) struct Binding {
    pub(super) interface: u32,
    pub(super) queue: u32,
    /// Ask the driver to use the memory itself; copied if it cannot.
    pub(super) zero_copy: bool,
    /// Packets in several frames.
    pub(super) several_frames: bool,
    /// Microseconds that the kernel may poll the device, preferring that to its interrupts.
    pub(super) busy_poll_us: Option<u32>,
}

/// What a bound socket obtained.
#[derive(Clone, Debug, Default)]
pub(super) struct Obtained {
    pub(super) zero_copy: bool,
    pub(super) several_frames: bool,
    pub(super) busy_poll: bool,
    pub(super) notes: Vec<String>,
}

/// A bound socket.
pub(super) struct XdpSocket {
    fd: OwnedFd,
    busy_poll: bool,
}

fn set<T>(fd: BorrowedFd<'_>, name: i32, value: &T) -> io::Result<()> {
    set_at(fd, libc::SOL_XDP, name, value)
}

/// `value` is a plain structure, or integer, of the option's own layout.
fn set_at<T>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes from `value`, which lives until the call returns.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const *value).cast(), len) }).map(drop)
}

/// Reads a structure of integers.
fn get<T>(fd: BorrowedFd<'_>, name: i32) -> io::Result<T> {
    // SAFETY: every structure read here is of integers, for which zeroes are values.
    let mut value: T = unsafe { mem::zeroed() };
    let mut len = size_of::<T>() as libc::socklen_t;
    let (to, to_len) = ((&raw mut value).cast(), &raw mut len);
    // SAFETY: the kernel writes at most `len` bytes, the size of `value`; both live until the call returns.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_XDP, name, to, to_len) })?;
    Ok(value)
}

/// A ring's mapping, unmapped on drop.
struct Mapped {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is tied to no thread.
unsafe impl Send for Mapped {}
// SAFETY: who reaches into it is told by the ring's sides.
unsafe impl Sync for Mapped {}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: exactly what mmap returned; the ring's sides, which reach into it, are gone: each keeps it.
        let returned = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        assert_eq!(returned, 0, "a ring's mapping is not given back");
    }
}

/// Maps a ring of `size` entries.
fn map<T: Entry>(
    fd: BorrowedFd<'_>,
    page: libc::off_t,
    size: u32,
    offsets: &libc::xdp_ring_offset,
) -> io::Result<Place<T>> {
    let len = offsets.desc as usize + size as usize * size_of::<T>();
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd.as_raw_fd(), page) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start: NonNull<u8> = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("null"))?;
    let keeper = Arc::new(Mapped { start, len });
    let at = |offset: u64| {
        assert!((offset as usize) < len, "a ring's word outside its mapping");
        // SAFETY: the offset is inside the mapping, as just checked.
        unsafe { start.add(offset as usize) }
    };
    Ok(Place {
        producer: at(offsets.producer).cast(),
        consumer: at(offsets.consumer).cast(),
        flags: at(offsets.flags).cast(),
        entries: at(offsets.desc).cast(),
        size,
        _keeper: keeper,
    })
}

impl Unbound {
    /// Makes a socket over `umem`, with rings.
    pub(super) fn new(umem: &Umem, sizes: Sizes) -> io::Result<(Self, Rings)> {
        let fd = new_socket()?;
        let metadata = register(fd.as_fd(), umem)?;
        set(fd.as_fd(), libc::XDP_UMEM_FILL_RING, &sizes.receive)?;
        set(fd.as_fd(), libc::XDP_UMEM_COMPLETION_RING, &sizes.send)?;
        set(fd.as_fd(), libc::XDP_RX_RING, &sizes.receive)?;
        set(fd.as_fd(), libc::XDP_TX_RING, &sizes.send)?;
        let at: libc::xdp_mmap_offsets = get(fd.as_fd(), libc::XDP_MMAP_OFFSETS)?;
        let fill = map(fd.as_fd(), libc::XDP_UMEM_PGOFF_FILL_RING as libc::off_t, sizes.receive, &at.fr)?;
        let done = libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t;
        let completion = map(fd.as_fd(), done, sizes.send, &at.cr)?;
        let receive = map(fd.as_fd(), libc::XDP_PGOFF_RX_RING, sizes.receive, &at.rx)?;
        let send = map(fd.as_fd(), libc::XDP_PGOFF_TX_RING, sizes.send, &at.tx)?;
        let rings = Rings {
            // SAFETY: the kernel consumes this ring; it was just made, so nobody else fills it.
            fill: unsafe { Producer::new(fill) },
            // SAFETY: the kernel fills this ring; it was just made, so nobody else reads it.
            completion: unsafe { Consumer::new(completion) },
            // SAFETY: the kernel fills this ring; it was just made, so nobody else reads it.
            receive: unsafe { Consumer::new(receive) },
            // SAFETY: the kernel consumes this ring; it was just made, so nobody else fills it.
            send: unsafe { Producer::new(send) },
        };
        Ok((Unbound { fd, metadata }, rings))
    }

    /// Whether packets may carry metadata before them: without, checksums are computed here.
    pub(super) fn takes_metadata(&self) -> bool {
        self.metadata
    }

    /// Binds to a queue. Packets arrive once the socket is in the program's map too.
    pub(super) fn bind(self, binding: Binding) -> io::Result<(XdpSocket, Obtained)> {
        let mut obtained = Obtained::default();
        let fd = self.fd.as_fd();
        obtained.several_frames = bind(fd, binding, &mut obtained.notes)?;
        let options: libc::xdp_options = get(fd, libc::XDP_OPTIONS)?;
        obtained.zero_copy = options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0;
        // Older kernels send 32 packets a call; each call of ours goes on until all are sent.
        let budget = set(fd, XDP_MAX_TX_SKB_BUDGET, &XDP_SEND_BUDGET);
        if let Err(error) = budget {
            obtained.notes.push(format!("32 packets a call are sent (XDP_MAX_TX_SKB_BUDGET): {error}"));
        }
        send_buffer(fd, &mut obtained.notes)?;
        if let Some(us) = binding.busy_poll_us {
            match prefer_busy_poll(fd, us) {
                Ok(()) => obtained.busy_poll = true,
                Err(error) => obtained.notes.push(format!("no preferred busy polling: {error}")),
            }
        }
        Ok((XdpSocket { fd: self.fd, busy_poll: obtained.busy_poll }, obtained))
    }
}

/// Registers the memory, with room for metadata where the kernel knows it (Linux 6.8). Says whether it does.
fn register(fd: BorrowedFd<'_>, umem: &Umem) -> io::Result<bool> {
    let mut request = libc::xdp_umem_reg {
        addr: umem.start().as_ptr() as u64,
        len: umem.len() as u64,
        chunk_size: umem.frame_bytes() as u32,
        headroom: 0,
        flags: libc::XDP_UMEM_TX_METADATA_LEN,
        tx_metadata_len: METADATA_BYTES as u32,
    };
    match set(fd, libc::XDP_UMEM_REG, &request) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            (request.flags, request.tx_metadata_len) = (0, 0);
            set(fd, libc::XDP_UMEM_REG, &request).map(|()| false)
        }
        done => done.map(|()| true),
    }
}

/// Binds, asking for less where the kernel or driver refuses. Says whether packets may be in several frames.
fn bind(fd: BorrowedFd<'_>, binding: Binding, notes: &mut Vec<String>) -> io::Result<bool> {
    let copies: &[u16] =
        if binding.zero_copy { &[libc::XDP_ZEROCOPY, libc::XDP_COPY] } else { &[libc::XDP_COPY] };
    let shapes: &[u16] = if binding.several_frames { &[libc::XDP_USE_SG, 0] } else { &[0] };
    let mut last = io::Error::from_raw_os_error(libc::EINVAL);
    for shape in shapes {
        for copy in copies {
            match bind_with(fd, binding, libc::XDP_USE_NEED_WAKEUP | shape | copy) {
                Ok(()) => return Ok(*shape != 0),
                Err(error) => {
                    if *copy == libc::XDP_ZEROCOPY {
                        notes.push(format!("packets are copied, the driver has no zero-copy: {error}"));
                    }
                    last = error;
                }
            }
        }
    }
    Err(last)
}

fn bind_with(fd: BorrowedFd<'_>, binding: Binding, flags: u16) -> io::Result<()> {
    let name = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: binding.interface,
        sxdp_queue_id: binding.queue,
        sxdp_shared_umem_fd: 0,
    };
    let len = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
    // SAFETY: `name` is a sockaddr_xdp of the length given and outlives the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const name).cast(), len) }).map(drop)
}

/// In copy mode a packet on its way counts against this buffer; the rings alone are to limit them.
fn send_buffer(fd: BorrowedFd<'_>, notes: &mut Vec<String>) -> io::Result<()> {
    const BYTES: i32 = 16 << 20;
    if set_at(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &BYTES).is_err() {
        set_at(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &BYTES)?;
        notes.push("the send buffer is what net.core.wmem_max allows".to_owned());
    }
    Ok(())
}

fn prefer_busy_poll(fd: BorrowedFd<'_>, us: u32) -> io::Result<()> {
    set_at(fd, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, &1i32)?;
    set_at(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, &i32::try_from(us).unwrap_or(i32::MAX))?;
    set_at(fd, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, &BUSY_POLL_BUDGET)
}

impl AsFd for XdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Kernel for XdpSocket {
    fn send(&mut self) -> io::Result<()> {
        let (fd, flags) = (self.fd.as_raw_fd(), libc::MSG_DONTWAIT);
        // SAFETY: no bytes and no address are named; the rings tell what is sent.
        check_size(unsafe { libc::sendto(fd, std::ptr::null(), 0, flags, std::ptr::null(), 0) }).map(drop)
    }

    fn receive(&mut self) -> io::Result<()> {
        let (fd, flags, none) = (self.fd.as_raw_fd(), libc::MSG_DONTWAIT, std::ptr::null_mut());
        // SAFETY: no bytes and no address are named; the rings tell what is received.
        check_size(unsafe { libc::recvfrom(fd, none, 0, flags, none.cast(), none.cast()) }).map(drop)
    }

    fn polls(&self) -> bool {
        self.busy_poll
    }
}

/// Drops and oddities that the kernel counted for a socket.
pub(super) fn statistics(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_statistics> {
    get(fd, libc::XDP_STATISTICS)
}
