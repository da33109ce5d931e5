//! The tcx programs on an interface: figures of the paths of a node on kernel UDP, both directions.
//!
//! They see trains whole, before the kernel cuts and after it joined them, and say nothing about what becomes of a packet, so they
//! stand beside whatever else hangs there. They go when the value is dropped, and when the process dies.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray};
use aya::programs::links::LinkOrder;
use aya::programs::tc::{SchedClassifier, TcAttachOptions, TcAttachType};
use aya::programs::{ProgramError, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use nix::libc::{EACCES, EPERM};

use crate::clock::idle_since;
use crate::error::{Doing, EbpfError};
use crate::interface;
use crate::layout::{PathRow, Point, Row, Seen, SeenWords, sum};
use crate::maps::{Paths, Ports};

/// What clang makes of `programs/tcx.c`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../objects/tcx.o");
/// Names of the programs in it, and where each hangs.
pub(crate) const PROGRAMS: [(&str, TcAttachType); 2] =
    [("xfer_ingress", TcAttachType::Ingress), ("xfer_egress", TcAttachType::Egress)];

/// The tcx programs on an interface; dropping it takes them off. All calls may come from any thread.
pub struct Watched {
    interface: String,
    maps: Mutex<TcxMaps>,
    /// The programs and the links that hold them.
    programs: Ebpf,
}

/// How many datagrams and trains with one of our ports the programs saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sights(SeenWords);

impl Sights {
    /// Those that the programs made this of.
    pub const fn of(&self, seen: Seen) -> u64 {
        self.0[seen as usize]
    }
}

/// All maps of the tcx programs.
pub(crate) struct TcxMaps {
    ports: Ports,
    settings: Array<MapData, u64>,
    seen: PerCpuArray<MapData, SeenWords>,
    paths: Paths,
}

impl TcxMaps {
    /// Takes each map by its name from `take`.
    pub(crate) fn new(mut take: impl FnMut(&'static str) -> Result<Map, MapError>) -> Result<Self, MapError> {
        Ok(TcxMaps {
            ports: Ports::new(take("ports")?)?,
            settings: take("settings")?.try_into()?,
            seen: take("seen")?.try_into()?,
            paths: Paths::new(take("orders")?, take("rows")?, take("spare_rows")?)?,
        })
    }

    fn sights(&self) -> Result<Sights, MapError> {
        Ok(Sights(sum(self.seen.get(&0, 0)?.iter())))
    }

    /// Ports, counters and figures.
    pub(crate) fn read(&self) -> Result<(Vec<u16>, Sights, Vec<PathRow>), MapError> {
        Ok((self.ports.open()?, self.sights()?, self.paths.read()?))
    }
}

/// Hangs the tcx programs on `interface`. They count DATA and CONTROL that come to `ports`, and that go from them.
///
/// # Errors
/// [`EbpfError`]: no such interface, missing capabilities, locked memory, the verifier's refusal with its log, a kernel before 6.6,
/// which has no tcx.
pub fn watch(interface: &str, ports: &[u16]) -> Result<Watched, EbpfError> {
    let doing = Doing { interface, what: "attach the tcx programs" };
    if interface::index(interface).is_none() {
        return Err(EbpfError::NoInterface { interface: interface.to_owned() });
    }
    let mut watched = load(interface)?;
    for port in ports {
        watched.set_port(*port, true)?;
    }
    for (name, place) in PROGRAMS {
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        let program = classifier(&mut watched.programs, name, doing)?;
        program.attach_with_options(interface, place, options).map_err(|error| not_attached(doing, error))?;
    }
    Ok(watched)
}

/// The tcx programs in the kernel, but on no interface: for [`Watched::try_frame`].
///
/// # Errors
/// As [`watch()`], as far as no interface is concerned.
pub fn watch_only() -> Result<Watched, EbpfError> {
    load("no interface")
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.interface)
    }
}

impl Watched {
    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Minds UDP to and from `port` too, or not any more.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_port(&self, port: u16, ours: bool) -> Result<(), EbpfError> {
        let doing = self.doing("set a port");
        self.maps().ports.set(port, ours).map_err(|error| doing.map(error))
    }

    /// Whether figures are kept; they are from the start.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_metrics(&self, on: bool) -> Result<(), EbpfError> {
        let doing = self.doing("switch metrics");
        self.maps().settings.set(0, u64::from(on), 0).map_err(|error| doing.map(error))
    }

    /// What the programs saw since they were attached.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn sights(&self) -> Result<Sights, EbpfError> {
        let doing = self.doing("read counters");
        self.maps().sights().map_err(|error| doing.map(error))
    }

    /// The paths that were seen and are not forgotten, with their figures; what comes in and what goes out apart.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn paths(&self) -> Result<Vec<PathRow>, EbpfError> {
        let doing = self.doing("read the figures of paths");
        self.maps().paths.read().map_err(|error| doing.map(error))
    }

    /// What all paths have together at each point, in the order of [`Point::ALL`], those that were forgotten included.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn totals(&self) -> Result<[Row; Point::ALL.len()], EbpfError> {
        let doing = self.doing("read the figures of paths");
        self.maps().paths.totals().map_err(|error| doing.map(error))
    }

    /// Forgets paths that no packet came for in `idle`, so that there is room for others. Anybody who can send to our ports can fill the
    /// room, so this is to be called now and then.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn sweep(&self, idle: Duration) -> Result<(), EbpfError> {
        let doing = self.doing("forget idle paths");
        let before = idle_since(idle);
        self.maps().paths.forget(|_, last_ns| last_ns < before).map_err(|error| doing.map(error))
    }

    /// Runs one of the programs on `frame`, or on a train when `segment`, the bytes of UDP payload in each packet, is not 0
    /// (BPF_PROG_TEST_RUN). Gives the program's verdict, -1 for "whoever comes next decides", and the time of one run of `repeat`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn try_frame(
        &self,
        egress: bool,
        frame: &[u8],
        segment: u32,
        repeat: u32,
    ) -> Result<(i32, Duration), EbpfError> {
        let doing = self.doing("try a frame");
        let name = PROGRAMS[usize::from(egress)].0;
        let program =
            self.programs.program(name).ok_or_else(|| doing.object("the object lacks a program"))?;
        let program: &SchedClassifier = program.try_into().map_err(|error| doing.program(error))?;
        let context = context(segment);
        let options =
            TestRunOptions { data_in: Some(frame), ctx_in: Some(&context), repeat, ..TestRunOptions::new() };
        let ran = program.test_run(options).map_err(|error| doing.program(error))?;
        Ok((ran.return_value as i32, ran.duration))
    }

    const fn doing(&self, what: &'static str) -> Doing<'_> {
        Doing { interface: self.interface.as_str(), what }
    }

    /// A panic elsewhere leaves the maps as the kernel has them, so they stay usable.
    fn maps(&self) -> MutexGuard<'_, TcxMaps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `struct __sk_buff` with nothing but the size of a train's packets, which is its last field but one.
fn context(segment: u32) -> [u8; CONTEXT_BYTES] {
    let mut context = [0; CONTEXT_BYTES];
    context[CONTEXT_GSO_SIZE..CONTEXT_GSO_SIZE + 4].copy_from_slice(&segment.to_ne_bytes());
    context
}

const CONTEXT_GSO_SIZE: usize = 176;
const CONTEXT_BYTES: usize = 192;

fn load(interface: &str) -> Result<Watched, EbpfError> {
    let doing = Doing { interface, what: "load the tcx programs" };
    let mut programs = EbpfLoader::new().load(OBJECT).map_err(|error| doing.load(error))?;
    for (name, _) in PROGRAMS {
        classifier(&mut programs, name, doing)?.load().map_err(|error| doing.program(error))?;
    }
    let maps = TcxMaps::new(|name| programs.take_map(name).ok_or(MapError::ElementNotFound));
    let mut maps = maps.map_err(|error| doing.map(error))?;
    maps.paths.fill().map_err(|error| doing.map(error))?;
    maps.settings.set(0, 1, 0).map_err(|error| doing.map(error))?;
    Ok(Watched { interface: interface.to_owned(), maps: Mutex::new(maps), programs })
}

fn classifier<'a>(
    programs: &'a mut Ebpf,
    name: &str,
    doing: Doing<'_>,
) -> Result<&'a mut SchedClassifier, EbpfError> {
    let found = programs.program_mut(name).ok_or_else(|| doing.object("the object lacks a program"))?;
    found.try_into().map_err(|error| doing.program(error))
}

fn not_attached(doing: Doing<'_>, error: ProgramError) -> EbpfError {
    match error {
        ProgramError::SyscallError(error)
            if !matches!(error.io_error.raw_os_error(), Some(EPERM | EACCES)) =>
        {
            EbpfError::Unsupported {
                interface: doing.interface.to_owned(),
                mode: "tcx",
                cause: error.io_error,
            }
        }
        other => doing.program(other),
    }
}
