//! How an engine's packets leave and enter: by kernel UDP alone, or by AF_XDP sockets on its interfaces with kernel UDP beside them.
//!
//! Here is which interface has the XDP program, and which worker has which of its queues; the workers' queues are made here. What the
//! program lets through is kept in step with the connections there are: an id is admitted before a peer hears of it.

use crate::api::{Backend, EngineConfig, XdpOptions};
use crate::error::{Class, Error};
use crate::limits;
use crate::queues::QueueOptions;
use crate::worker::random;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xfer_io::error::IoError;
use xfer_io::queue::{Capabilities, Counters, Flushed, Meta, Queue, SendFailure, Transmit};
use xfer_io::route::{self, Interface};
use xfer_io::udp::UdpQueue;
use xfer_io::xdp::{Attached, EbpfError, Fates, XdpConfig, XdpInterface, XdpPort, XdpQueue, adopt, attach};

/// The name of our program, as the kernel tells it.
const OWN_PROGRAM: &str = "xfer_xdp";

/// What notes about interfaces without a socket begin with.
const NONE_HERE: &str = "no AF_XDP on";

/// A queue of either backend: the worker's loop is made for both, without a table of functions between.
#[expect(clippy::large_enum_variant, reason = "few of them, and most are the large one")]
pub(crate) enum AnyQueue {
    Udp(UdpQueue),
    Xdp(Box<XdpQueue>),
}

macro_rules! either {
    ($queue:expr, $found:ident => $call:expr) => {
        match $queue {
            AnyQueue::Udp($found) => $call,
            AnyQueue::Xdp($found) => $call,
        }
    };
}

impl AsFd for AnyQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, queue => queue.as_fd())
    }
}

impl Queue for AnyQueue {
    fn local_addr(&self) -> SocketAddr {
        either!(self, queue => queue.local_addr())
    }

    fn capabilities(&self) -> &Capabilities {
        either!(self, queue => queue.capabilities())
    }

    fn counters(&self) -> Counters {
        either!(self, queue => queue.counters())
    }

    fn reserve(&mut self) -> Option<&mut [u8]> {
        either!(self, queue => queue.reserve())
    }

    fn commit(&mut self, transmit: Transmit) {
        either!(self, queue => queue.commit(transmit));
    }

    fn queued(&self) -> usize {
        either!(self, queue => queue.queued())
    }

    fn flush(&mut self) -> Result<Flushed, IoError> {
        either!(self, queue => queue.flush())
    }

    fn failures(&self) -> &[SendFailure] {
        either!(self, queue => queue.failures())
    }

    fn receive(&mut self) -> Result<usize, IoError> {
        either!(self, queue => queue.receive())
    }

    fn received(&mut self, index: usize) -> (Meta, &mut [u8]) {
        either!(self, queue => queue.received(index))
    }
}

/// The worker of each queue of an interface.
struct Owners(Vec<Option<usize>>);

impl Owners {
    fn of(queues: u32) -> Self {
        Owners(vec![None; queues as usize])
    }

    /// A free queue for a worker: its own number, else any. `None` when it has one already, or none is left.
    fn free(&self, worker: usize) -> Option<usize> {
        if self.queue_of(worker).is_some() {
            return None;
        }
        let own = Some(worker).filter(|own| matches!(self.0.get(*own), Some(None)));
        own.or_else(|| self.0.iter().position(Option::is_none))
    }

    fn queue_of(&self, worker: usize) -> Option<usize> {
        self.0.iter().position(|owner| *owner == Some(worker))
    }

    fn take(&mut self, queue: usize, worker: usize) {
        if let Some(owner) = self.0.get_mut(queue) {
            *owner = Some(worker);
        }
    }

    /// The queue that the program is told for connections of a worker; one without a socket passes its packets on to the kernel's.
    fn named(&self, worker: usize) -> u32 {
        self.queue_of(worker).map_or(limits::QUEUE_NONE, |queue| queue as u32)
    }
}

/// An interface with the program, and who has its queues.
struct Nic {
    interface: XdpInterface,
    program: Attached,
    owners: Owners,
}

struct Xdp {
    options: XdpOptions,
    nics: Mutex<Vec<Nic>>,
}

/// What workers send and receive by; cheap to clone.
#[derive(Clone)]
pub(crate) struct Datapath(Option<Arc<Xdp>>);

impl Datapath {
    /// Attaches the program to the interfaces that the configuration names, and to those of the addresses it listens on.
    ///
    /// # Errors
    /// `Usage` for an interface that is not there, `Fatal` where the program cannot be attached, naming interface and cause.
    pub(crate) fn start(config: &EngineConfig) -> Result<Self, Error> {
        let Backend::Xdp(options) = &config.backend else { return Ok(Datapath(None)) };
        let xdp = Xdp { options: options.clone(), nics: Mutex::new(Vec::new()) };
        let all = interfaces()?;
        for name in &options.interfaces {
            let found = all.iter().find(|interface| interface.name == *name);
            let text = || Error::new(Class::Usage, format!("there is no interface {name}"));
            xdp.add(found.ok_or_else(text)?)?;
        }
        for address in &config.listen {
            xdp.cover(&all, address.ip())?;
        }
        Ok(Datapath(Some(Arc::new(xdp))))
    }

    /// Sees to it that the interface of `local` has the program, so that queues on that address can use it.
    ///
    /// # Errors
    /// As [`Datapath::start`].
    pub(crate) fn cover(&self, local: IpAddr) -> Result<(), Error> {
        let Some(xdp) = &self.0 else { return Ok(()) };
        xdp.cover(&interfaces()?, local)
    }

    /// Whether there is AF_XDP at all.
    pub(crate) fn is_xdp(&self) -> bool {
        self.0.is_some()
    }

    /// Opens a worker's queue on a local address, with a port that tells the queue it sends by: so the peer's worker of the same number
    /// takes the connection, and packets arrive where they belong. What a NIC does with ports is its own affair.
    pub(crate) fn open(
        &self,
        worker: usize,
        options: &QueueOptions,
        local: IpAddr,
    ) -> Result<AnyQueue, IoError> {
        let udp = self.bind(worker, local, |address| UdpQueue::open(&options.socket(address)))?;
        self.queue(worker, udp)
    }

    /// Binds by `open` to a port that tells the queue of a worker.
    pub(crate) fn bind<T, E>(
        &self,
        worker: usize,
        local: IpAddr,
        mut open: impl FnMut(SocketAddr) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(queue) = self.queue_for(worker, local) {
            let residues = limits::PORT_RESIDUES;
            let [low, high, ..] = random();
            let start = u16::from_le_bytes([low, high]) % limits::PORT_ATTEMPTS;
            for nth in 0..limits::PORT_ATTEMPTS {
                let step = (start + nth) % limits::PORT_ATTEMPTS;
                let port = limits::PORT_FIRST + step * residues + queue % residues;
                let address = SocketAddr::new(local, port);
                // A port that is shared would be shared with other processes of this user too.
                let unused = UdpSocket::bind(address).is_ok();
                if let Some(opened) = unused.then(|| open(address)).and_then(Result::ok) {
                    return Ok(opened);
                }
            }
        }
        open(SocketAddr::new(local, 0))
    }

    /// The queue that a worker has, or would get, for packets from an address.
    fn queue_for(&self, worker: usize, local: IpAddr) -> Option<u16> {
        let xdp = self.0.as_ref()?;
        let owner = owner(&route::interfaces().ok()?, local);
        let nics = xdp.nics();
        let nic = nics.iter().find(|nic| Some(nic.interface.index) == owner)?;
        let queue = nic.owners.queue_of(worker).or_else(|| nic.owners.free(worker))?;
        u16::try_from(queue).ok()
    }

    /// Makes a worker's queue of its kernel socket. Where it gets no AF_XDP socket, its notes say why.
    pub(crate) fn queue(&self, worker: usize, udp: UdpQueue) -> Result<AnyQueue, IoError> {
        let Some(xdp) = &self.0 else { return Ok(AnyQueue::Udp(udp)) };
        let local = udp.local_addr();
        let owner = owner(&route::interfaces()?, local.ip());
        let (mut ports, mut notes) = (Vec::new(), Vec::new());
        for nic in xdp.nics().iter_mut() {
            if !local.ip().is_unspecified() && owner != Some(nic.interface.index) {
                continue;
            }
            match nic.open(worker, local.port()) {
                Ok(port) => ports.push(port),
                Err(why) => notes.push(format!("{NONE_HERE} {}: {why}", nic.interface.name)),
            }
        }
        let queue = XdpQueue::new(udp, ports, notes)?;
        Ok(AnyQueue::Xdp(Box::new(queue)))
    }

    /// Whether some queue of those that listen got an AF_XDP socket, where interfaces have the program.
    ///
    /// # Errors
    /// `Fatal`: none did; why, one by one.
    pub(crate) fn check(&self, queues: &[Vec<AnyQueue>]) -> Result<(), Error> {
        let Some(xdp) = &self.0 else { return Ok(()) };
        let all = || queues.iter().flatten().map(Queue::capabilities);
        if xdp.nics().is_empty() || all().next().is_none() || all().any(|c| !c.xdp.is_empty()) {
            return Ok(());
        }
        let error = Error::new(Class::Fatal, "use AF_XDP for the addresses that are listened on");
        let whys = all().flat_map(|c| &c.notes).filter(|note| note.starts_with(NONE_HERE));
        Err(whys.take(1).fold(error, Error::because))
    }

    /// Lets packets to a connection id of a worker through.
    pub(crate) fn admit(&self, worker: usize, connection: u32) {
        self.each(
            |nic| nic.program.admit(connection, nic.owners.named(worker)),
            |nic| {
                // What is not known is dropped: rather let all pass.
                drop(nic.program.stop_heart());
            },
        );
    }

    /// Drops what still comes to a connection id.
    pub(crate) fn retire(&self, connection: u32) {
        self.each(|nic| nic.program.retire(connection), |_| {});
    }

    /// Tells the programs that the engine lives; without, they let everything pass.
    pub(crate) fn beat(&self) {
        self.each(|nic| nic.program.heartbeat(), |_| {});
    }

    /// What became of packets on each interface that has the program, by its name.
    pub(crate) fn fates(&self) -> Vec<(String, Fates)> {
        let Some(xdp) = &self.0 else { return Vec::new() };
        let told = |nic: &Nic| Some((nic.interface.name.clone(), nic.program.fates().ok()?));
        xdp.nics().iter().filter_map(told).collect()
    }

    fn each(&self, act: impl Fn(&Nic) -> Result<(), EbpfError>, amend: impl Fn(&Nic)) {
        let Some(xdp) = &self.0 else { return };
        for nic in xdp.nics().iter() {
            if let Err(error) = act(nic) {
                tracing::warn!(%error, "the XDP program was not told");
                amend(nic);
            }
        }
    }
}

impl Nic {
    /// Opens the worker's socket and lets it have packets to `port`.
    fn open(&mut self, worker: usize, port: u16) -> Result<XdpPort, String> {
        let Some(queue) = self.owners.free(worker) else {
            return Err(format!(
                "its {} queues are taken, or the worker has one already",
                self.owners.0.len()
            ));
        };
        let config = XdpConfig::new(self.interface.clone(), queue as u32);
        let opened = XdpPort::open(&config).map_err(|error| error.to_string())?;
        self.program.set_socket(queue as u32, opened.as_fd()).map_err(|error| error.to_string())?;
        self.program.set_port(port, true).map_err(|error| error.to_string())?;
        self.owners.take(queue, worker);
        Ok(opened)
    }
}

impl Drop for Nic {
    /// Tells what became of the packets to our ports; the program goes with its handle.
    fn drop(&mut self) {
        let Ok(fates) = self.program.fates() else { return };
        let told: Vec<String> = fates
            .iter()
            .filter(|(_, packets)| *packets > 0)
            .map(|(fate, packets)| format!("{fate:?}={packets}"))
            .collect();
        let (interface, packets) = (self.interface.name.as_str(), told.join(" "));
        tracing::info!(interface, packets, "the XDP program is detached");
    }
}

impl Xdp {
    fn nics(&self) -> MutexGuard<'_, Vec<Nic>> {
        self.nics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches to the interface of an address, if that is one that may be used. The wildcard decides none.
    fn cover(&self, all: &[Interface], local: IpAddr) -> Result<(), Error> {
        if !self.options.interfaces.is_empty() {
            return Ok(());
        }
        if local.is_unspecified() {
            let text = "the address does not decide which interface AF_XDP is for; name it with --interface";
            return if self.nics().is_empty() { Err(Error::new(Class::Usage, text)) } else { Ok(()) };
        }
        let owner = owner(all, local);
        match all.iter().find(|interface| Some(interface.index) == owner) {
            Some(interface) => self.add(interface),
            None => Err(Error::new(Class::Usage, format!("no interface has the address {local}"))),
        }
    }

    /// The program that a privileged step pinned for this user, or one of our own.
    fn program(&self, interface: &str) -> Result<Attached, EbpfError> {
        match adopt(interface, &[])? {
            Some(program) => Ok(program),
            None => attach(interface, self.options.mode, &[]),
        }
    }

    fn add(&self, interface: &Interface) -> Result<(), Error> {
        let mut nics = self.nics();
        if nics.iter().any(|nic| nic.interface.index == interface.index) {
            return Ok(());
        }
        let fail = |cause: &dyn std::fmt::Display| {
            Error::new(Class::Fatal, format!("use AF_XDP on {}", interface.name)).because(cause)
        };
        let found = XdpInterface::find(interface.index).map_err(|error| fail(&error))?;
        let program = match self.program(&found.name) {
            Ok(program) => program,
            Err(error) if is_taken(&error) => {
                let name = found.name.as_str();
                tracing::warn!(interface = name, "another xfer process has AF_XDP here; kernel UDP is used");
                return Ok(());
            }
            Err(error) => return Err(fail(&error)),
        };
        let (name, mode, queues) = (found.name.as_str(), program.mode().word(), found.queues);
        tracing::info!(interface = name, mode, queues, "the XDP program is attached");
        let owners = Owners::of(found.queues);
        nics.push(Nic { interface: found, program, owners });
        Ok(())
    }
}

/// Whether another process of ours has the interface.
fn is_taken(error: &EbpfError) -> bool {
    match error {
        EbpfError::Occupied { program, .. } => program == OWN_PROGRAM,
        EbpfError::InUse { .. } => true,
        _ => false,
    }
}

fn interfaces() -> Result<Vec<Interface>, Error> {
    route::interfaces().map_err(|error| Error::new(Class::Fatal, "list interfaces").because(error))
}

/// The interface that has an address.
fn owner(all: &[Interface], ip: IpAddr) -> Option<u32> {
    all.iter().find(|interface| interface.addresses.contains(&ip)).map(|interface| interface.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_gets_the_queue_of_its_number_or_another() {
        let mut owners = Owners::of(2);
        assert_eq!((owners.free(1), owners.named(1)), (Some(1), limits::QUEUE_NONE));
        owners.take(1, 1);
        assert_eq!((owners.queue_of(1), owners.named(1)), (Some(1), 1));
        // One each; a worker beyond the queues takes what is left.
        assert_eq!((owners.free(1), owners.free(7)), (None, Some(0)));
        owners.take(0, 7);
        assert_eq!((owners.named(7), owners.free(0)), (0, None));
    }

    #[test]
    fn without_queues_nobody_gets_one() {
        assert_eq!(Owners::of(0).free(0), None);
    }

    #[test]
    fn kernel_udp_binds_to_any_port() {
        let datapath = Datapath(None);
        let local = "127.0.0.1".parse().unwrap();
        let bound = datapath.bind(0, local, Ok::<_, ()>);
        assert_eq!(bound, Ok(SocketAddr::new(local, 0)));
        assert!(!datapath.is_xdp());
    }
}
