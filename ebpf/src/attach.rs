//! The XDP program on an interface: load, attach, tell it of ports, sockets and connections, read what it counts.
//!
//! In come the object that clang made of `programs/xdp.c` and the names of AF_XDP sockets; out go redirected frames, which the
//! kernel moves, and figures. The program hangs on the interface by a link of this process: it goes when the value is dropped, and
//! when the process dies. What to admit, and when, is decided elsewhere.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aya::maps::MapError;
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpLinkId;
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp, XdpMode as AyaMode};
use aya::{Ebpf, EbpfLoader};
use nix::libc::{EACCES, EBUSY, EEXIST, EPERM};

use crate::census;
use crate::clock::{idle_since, now_ns};
use crate::error::{Doing, EbpfError};
use crate::interface::{self, XdpMode};
use crate::layout::{Fates, PathRow, Point, Row};
use crate::maps::XdpMaps;

/// What clang makes of `programs/xdp.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../objects/xdp.o");
/// Name of the program in it.
pub(crate) const PROGRAM: &str = "xfer_xdp";
/// Bytes of metadata that may stand before a frame that was tried.
pub(crate) const META_ROOM: usize = 256;

/// The XDP program on an interface; dropping it takes it off. All calls may come from any thread.
pub struct Attached {
    interface: String,
    index: u32,
    mode: XdpMode,
    program_id: u32,
    maps: Mutex<XdpMaps>,
    /// The program and the link that holds it on the interface; none when both are pinned.
    program: Option<Ebpf>,
}

/// Attaches the XDP program to `interface`. It minds UDP to `ports` alone, and passes them too until the first packet that
/// [`Attached::admit`] lets it know, as [`Fate`](crate::Fate) says: unknown connections are dropped from the start. Without
/// [`Attached::set_socket`] it is a filter, and what it knows goes to the kernel's socket. It counts paths from the start.
///
/// # Errors
/// [`EbpfError`]: no such interface, another program there (which stays), missing capabilities, locked memory, the verifier's refusal
/// with its log, a mode that the driver cannot.
pub fn attach(interface: &str, mode: XdpMode, ports: &[u16]) -> Result<Attached, EbpfError> {
    hang(interface, mode, ports, None).map(|(attached, _)| attached)
}

/// As [`attach()`], with all maps pinned in `folder` and the link beside them as `link`.
pub(crate) fn attach_and_pin(
    interface: &str,
    mode: XdpMode,
    folder: &Path,
    link: &str,
) -> Result<(), EbpfError> {
    let doing = Doing { interface, what: "pin the XDP program" };
    let (mut attached, id) = hang(interface, mode, &[], Some(folder))?;
    attached.stop_heart()?;
    let program = attached.program.as_mut().ok_or_else(|| doing.object("it was not loaded here"))?;
    let taken = xdp(program, doing)?.take_link(id).map_err(|error| doing.program(error))?;
    let taken = FdLink::try_from(taken).map_err(|error| doing.link(error))?;
    taken.pin(folder.join(link)).map_err(|error| doing.pin(error)).map(drop)
}

/// Loads, prepares and attaches.
fn hang(
    interface: &str,
    mode: XdpMode,
    ports: &[u16],
    pins: Option<&Path>,
) -> Result<(Attached, XdpLinkId), EbpfError> {
    let doing = Doing { interface, what: "attach the XDP program" };
    let index = interface::index(interface)
        .ok_or_else(|| EbpfError::NoInterface { interface: interface.to_owned() })?;
    refuse_others(doing, index)?;
    let mut attached = load(interface, index, mode, pins)?;
    attached.maps().paths().fill().map_err(|error| doing.map(error))?;
    attached.begin(ports)?;
    let aya_mode = match mode {
        XdpMode::Native => AyaMode::Driver,
        XdpMode::Generic => AyaMode::Skb,
    };
    let program = attached.program.as_mut().ok_or_else(|| doing.object("it was not loaded here"))?;
    let link = xdp(program, doing)?
        .attach_to_if_index(index, aya_mode)
        .map_err(|error| not_attached(doing, index, mode, error))?;
    Ok((attached, link))
}

/// The XDP program in the kernel, but on no interface: for [`Attached::try_frame`], and to see whether this kernel takes it.
///
/// # Errors
/// As [`attach()`], as far as no interface is concerned.
pub fn load_only() -> Result<Attached, EbpfError> {
    let attached = load("no interface", 0, XdpMode::Generic, None)?;
    let doing = attached.doing("prepare the XDP program");
    attached.maps().paths().fill().map_err(|error| doing.map(error))?;
    attached.begin(&[])?;
    Ok(attached)
}

/// What the program did with a frame that [`Attached::try_frame`] gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The program's verdict.
    pub verdict: Verdict,
    /// Time of one run, on average.
    pub duration: Duration,
    /// The frame afterwards, behind whatever metadata stands before it.
    pub frame: Vec<u8>,
}

/// What an XDP program may say of a frame (enum xdp_action).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The program failed.
    Aborted,
    /// The frame ends here.
    Drop,
    /// To the kernel.
    Pass,
    /// Back where it came from.
    Return,
    /// To a socket.
    Redirect,
    /// Not one that the kernel knows.
    Unknown,
}

impl Verdict {
    const fn from_code(code: u32) -> Self {
        match code {
            0 => Verdict::Aborted,
            1 => Verdict::Drop,
            2 => Verdict::Pass,
            3 => Verdict::Return,
            4 => Verdict::Redirect,
            _ => Verdict::Unknown,
        }
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attached { interface, mode, program_id, .. } = self;
        write!(f, "Attached({interface}, {}, program {program_id})", mode.word())
    }
}

impl Drop for Attached {
    /// One that is pinned stays, and passes everything from now on rather than when it misses the heartbeat.
    fn drop(&mut self) {
        if self.program.is_none() {
            // Where the kernel refuses, the missing heartbeat does the same a little later.
            self.stop_heart().ok();
        }
    }
}

impl Attached {
    /// One whose link and maps are pinned, taken over with these ports.
    pub(crate) fn adopted(
        interface: &str,
        index: u32,
        mode: XdpMode,
        program_id: u32,
        maps: XdpMaps,
        ports: &[u16],
    ) -> Result<Attached, EbpfError> {
        let interface = interface.to_owned();
        let attached = Attached { interface, index, mode, program_id, maps: Mutex::new(maps), program: None };
        let doing = attached.doing("clear the XDP program");
        attached.maps().clear().map_err(|error| doing.map(error))?;
        attached.begin(ports)?;
        Ok(attached)
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The interface's index.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Where the program runs.
    pub const fn mode(&self) -> XdpMode {
        self.mode
    }

    /// The program's id, as `bpftool prog` shows it.
    pub const fn program_id(&self) -> u32 {
        self.program_id
    }

    /// Makes `fd`, an AF_XDP socket that is bound to `queue` of this interface, take the packets that come by that queue for
    /// connections that were admitted to it.
    ///
    /// # Errors
    /// A queue of [`QUEUES_MAX`](crate::limits::QUEUES_MAX) or more, or a socket that is not bound so.
    pub fn set_socket(&self, queue: u32, fd: BorrowedFd<'_>) -> Result<(), EbpfError> {
        self.maps().set_socket(queue, fd, self.doing("set a socket"))
    }

    /// Takes the socket of `queue` away; its packets go to the kernel's socket from now on. It may be absent.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn unset_socket(&self, queue: u32) -> Result<(), EbpfError> {
        let doing = self.doing("take a socket away");
        self.maps().unset_socket(queue).map_err(|error| doing.map(error))
    }

    /// Lets packets to `connection`, an id that this end chose, through: to the socket of `queue` where they come by it, else to the
    /// kernel's. Again with another queue moves it.
    ///
    /// # Errors
    /// [`EbpfError::Full`] at [`CONNECTIONS_MAX`](crate::limits::CONNECTIONS_MAX), or the kernel refuses.
    pub fn admit(&self, connection: u32, queue: u32) -> Result<(), EbpfError> {
        self.maps().admit(connection, queue, self.doing("admit a connection"))
    }

    /// Packets to `connection` are dropped from now on, and the figures of its paths are forgotten. It may be unknown.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn retire(&self, connection: u32) -> Result<(), EbpfError> {
        let doing = self.doing("retire a connection");
        self.maps().retire(connection).map_err(|error| doing.map(error))
    }

    /// Minds UDP to `port` too, or not any more.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_port(&self, port: u16, ours: bool) -> Result<(), EbpfError> {
        let doing = self.doing("set a port");
        self.maps().ports().set(port, ours).map_err(|error| doing.map(error))
    }

    /// Tells the program that user space lives. Without it for [`BEAT_NS_MAX`](crate::limits::BEAT_NS_MAX) everything passes.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn heartbeat(&self) -> Result<(), EbpfError> {
        let doing = self.doing("give a sign of life");
        self.maps().beat(now_ns()).map_err(|error| doing.map(error))
    }

    /// Makes the program pass everything from now on, until the next [`Attached::heartbeat`].
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn stop_heart(&self) -> Result<(), EbpfError> {
        let doing = self.doing("stop steering");
        self.maps().beat(0).map_err(|error| doing.map(error))
    }

    /// Whether figures of paths are kept; they are from the start.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_metrics(&self, on: bool) -> Result<(), EbpfError> {
        let doing = self.doing("switch metrics");
        self.maps().set_metrics(on).map_err(|error| doing.map(error))
    }

    /// Whether [`Meta`](crate::Meta) stands before frames that go to sockets; it does not from the start, since reading the clock costs
    /// much of what a packet costs here.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_stamps(&self, on: bool) -> Result<(), EbpfError> {
        let doing = self.doing("switch metadata");
        self.maps().set_stamps(on).map_err(|error| doing.map(error))
    }

    /// What became of the packets to our ports since it was attached.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn fates(&self) -> Result<Fates, EbpfError> {
        let doing = self.doing("read counters");
        self.maps().fates().map_err(|error| doing.map(error))
    }

    /// The paths that were seen and are not forgotten, with their figures.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn paths(&self) -> Result<Vec<PathRow>, EbpfError> {
        let doing = self.doing("read the figures of paths");
        self.maps().paths().read().map_err(|error| doing.map(error))
    }

    /// What all paths have together at each point, in the order of [`Point::ALL`], those that were forgotten included.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn totals(&self) -> Result<[Row; Point::ALL.len()], EbpfError> {
        let doing = self.doing("read the figures of paths");
        self.maps().paths().totals().map_err(|error| doing.map(error))
    }

    /// Forgets paths that no packet came for in `idle`, so that there is room for others.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn sweep(&self, idle: Duration) -> Result<(), EbpfError> {
        let doing = self.doing("forget idle paths");
        let before = idle_since(idle);
        self.maps().paths().forget(|_, last_ns| last_ns < before).map_err(|error| doing.map(error))
    }

    /// Runs the program on `frame` as if it had come by queue 0, `repeat` times (BPF_PROG_TEST_RUN): everything is counted, nothing
    /// moves.
    ///
    /// # Errors
    /// The kernel refuses, as with a frame shorter than an Ethernet header.
    pub fn try_frame(&self, frame: &[u8], repeat: u32) -> Result<Tried, EbpfError> {
        let doing = self.doing("try a frame");
        let loaded = self.program.as_ref().ok_or_else(|| doing.object("it was not loaded here"))?;
        let program = loaded.program(PROGRAM).ok_or_else(|| doing.object("the object has no program"))?;
        let xdp: &Xdp = program.try_into().map_err(|error| doing.program(error))?;
        let mut after = vec![0; frame.len() + META_ROOM];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut after),
            repeat,
            ..TestRunOptions::new()
        };
        let ran = xdp.test_run(options).map_err(|error| doing.program(error))?;
        after.truncate(ran.data_size_out as usize);
        Ok(Tried { verdict: Verdict::from_code(ran.return_value), duration: ran.duration, frame: after })
    }

    /// What the program has to find in its maps before the first packet.
    fn begin(&self, ports: &[u16]) -> Result<(), EbpfError> {
        let doing = self.doing("prepare the XDP program");
        let mut maps = self.maps();
        let mut prepare = || {
            maps.set_metrics(true)?;
            maps.beat(now_ns())?;
            ports.iter().try_for_each(|port| maps.ports().set(*port, true))
        };
        prepare().map_err(|error| doing.map(error))
    }

    const fn doing(&self, what: &'static str) -> Doing<'_> {
        Doing { interface: self.interface.as_str(), what }
    }

    /// A panic elsewhere leaves the maps as the kernel has them, so they stay usable.
    fn maps(&self) -> MutexGuard<'_, XdpMaps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loads the program into the kernel, attached to nothing yet.
fn load(interface: &str, index: u32, mode: XdpMode, pins: Option<&Path>) -> Result<Attached, EbpfError> {
    let doing = Doing { interface, what: "load the XDP program" };
    let mut program = EbpfLoader::new().load(OBJECT).map_err(|error| doing.load(error))?;
    let loaded = xdp(&mut program, doing)?;
    loaded.load().map_err(|error| doing.program(error))?;
    let program_id = loaded.info().map_err(|error| doing.program(error))?.id();
    let maps = XdpMaps::new(|name| {
        let map = program.take_map(name).ok_or(MapError::ElementNotFound)?;
        let pinned = pins.map_or(Ok(()), |folder| map.pin(folder.join(name)));
        pinned.map(|()| map).map_err(|error| MapError::PinError { name: None, error })
    });
    let maps = Mutex::new(maps.map_err(|error| doing.map(error))?);
    Ok(Attached { interface: interface.to_owned(), index, mode, program_id, maps, program: Some(program) })
}

/// The XDP program of a loaded object.
fn xdp<'a>(program: &'a mut Ebpf, doing: Doing<'_>) -> Result<&'a mut Xdp, EbpfError> {
    let found = program.program_mut(PROGRAM).ok_or_else(|| doing.object("the object has no program"))?;
    found.try_into().map_err(|error| doing.program(error))
}

/// An error when the interface runs a program already.
fn refuse_others(doing: Doing<'_>, index: u32) -> Result<(), EbpfError> {
    match interface::running(index).map_err(|error| doing.system(error))? {
        Some(running) => Err(occupied(doing.interface, running.id)),
        None => Ok(()),
    }
}

fn occupied(interface: &str, id: u32) -> EbpfError {
    EbpfError::Occupied { interface: interface.to_owned(), program: program_name(id), id }
}

/// The name of a loaded program; `?` where this process may not ask.
fn program_name(id: u32) -> String {
    let found = census::program(id);
    found.and_then(|program| program.name_as_str().map(str::to_owned)).unwrap_or_else(|| "?".to_owned())
}

/// Why the kernel did not attach.
fn not_attached(doing: Doing<'_>, index: u32, mode: XdpMode, error: ProgramError) -> EbpfError {
    let cause = match error {
        ProgramError::SyscallError(error) => error.io_error,
        ProgramError::XdpError(error) => netlink_cause(error),
        other => return doing.program(other),
    };
    match cause.raw_os_error() {
        Some(EBUSY | EEXIST) => {
            let running = interface::running(index).ok().flatten();
            occupied(doing.interface, running.map_or(0, |running| running.id))
        }
        Some(EPERM | EACCES) => doing.system(cause),
        _ => EbpfError::Unsupported { interface: doing.interface.to_owned(), mode: mode.word(), cause },
    }
}

fn netlink_cause(error: aya::programs::xdp::XdpError) -> std::io::Error {
    let aya::programs::xdp::XdpError::NetlinkError(error) = error;
    match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code),
        None => std::io::Error::other(error.to_string()),
    }
}
