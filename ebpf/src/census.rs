//! What hangs on the interfaces of this machine, ours and others', and the figures of ours: for people and for `xferctl ebpf`.
//!
//! Reads maps of programs that other processes own by their ids, which the kernel allows to root alone; without that right the
//! programs are still named by what rtnetlink tells everybody.

use std::io;

use aya::maps::{Map, MapData, MapError, MapInfo};
use aya::programs::tc::{SchedClassifier, TcAttachType};
use aya::programs::{ProgramInfo, loaded_programs};
use nix::libc::EPERM;
use nix::net::if_::if_nameindex;

use crate::attach::PROGRAM;
use crate::clock::now_ns;
use crate::error::{Doing, EbpfError};
use crate::interface::{self, XdpMode};
use crate::layout::{Fates, PathRow, Point};
use crate::limits::{BEAT_NS_MAX, INTERFACES_MAX, PROGRAMS_MAX};
use crate::maps::XdpMaps;
use crate::pins;
use crate::watch::{PROGRAMS, Sights, TcxMaps};

/// A program on an interface.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The interface's name.
    pub interface: String,
    /// Where on it.
    pub point: Point,
    /// Where an XDP program runs, as far as the kernel says.
    pub mode: Option<XdpMode>,
    /// The program's id.
    pub id: u32,
    /// Its name; `?` where this process may not ask.
    pub program: String,
    /// Whether it is one of ours.
    pub ours: bool,
    /// Whether it stays without a process.
    pub pinned: bool,
    /// What it counts, when it is ours and this process may look.
    pub figures: Option<Figures>,
}

/// What a program of ours knows and counts.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Our ports.
    pub ports: Vec<u16>,
    /// Whether user space lives; an XDP program passes everything without it.
    pub alive: bool,
    /// What became of packets (XDP).
    pub fates: Option<Fates>,
    /// What was seen, both directions together (tcx).
    pub sights: Option<Sights>,
    /// The paths that were seen at this point.
    pub paths: Vec<PathRow>,
}

/// All programs on interfaces, and why some is missing.
#[derive(Debug, Default)]
pub struct Census {
    /// By interface, then point.
    pub hooks: Vec<Hook>,
    /// The first thing that this process may not know.
    pub hidden: Option<EbpfError>,
}

/// Looks at `only`, or at all interfaces of this network namespace.
///
/// # Errors
/// There is no interface of that name, or the kernel does not list them.
pub fn census(only: Option<&str>) -> Result<Census, EbpfError> {
    let mut census = Census::default();
    let pinned = pins::pinned().unwrap_or_default();
    for (index, name) in interfaces(only)? {
        let doing = Doing { interface: &name, what: "look for programs" };
        if let Some(running) = interface::running(index).map_err(|error| doing.system(error))? {
            let found = program(running.id);
            let program = found.as_ref().and_then(ProgramInfo::name_as_str).unwrap_or("?").to_owned();
            let ours = program == PROGRAM;
            let pinned = ours && pinned.contains(&name);
            let read = match &found {
                Some(info) if ours => Some(xdp_figures(info).map_err(|error| doing.map(error))),
                Some(_) => None,
                None => Some(Err(doing.system(io::Error::from_raw_os_error(EPERM)))),
            };
            let figures = read.and_then(|read| census.keep(read));
            let (mode, id) = (running.mode, running.id);
            let hook =
                Hook { interface: name.clone(), point: Point::Xdp, mode, id, program, ours, pinned, figures };
            census.hooks.push(hook);
        }
        for (own, place) in PROGRAMS {
            tcx_hooks(&mut census, doing, own, place);
        }
    }
    Ok(census)
}

impl Census {
    /// The value, or none and the first error noted.
    fn keep<T>(&mut self, result: Result<T, EbpfError>) -> Option<T> {
        result.map_err(|error| self.hidden.get_or_insert(error)).ok()
    }
}

/// Programs of one direction; kernels without tcx have none.
fn tcx_hooks(census: &mut Census, doing: Doing<'_>, own: &str, place: TcAttachType) {
    let programs = match SchedClassifier::query_tcx(doing.interface, place) {
        Ok((_, programs)) => programs,
        Err(error) => {
            if let error @ EbpfError::NoRight { .. } = doing.program(error) {
                census.hidden.get_or_insert(error);
            }
            return;
        }
    };
    let point = if matches!(place, TcAttachType::Egress) { Point::Egress } else { Point::Ingress };
    for info in programs {
        let program = info.name_as_str().unwrap_or("?").to_owned();
        let ours = program == own;
        let read = ours.then(|| tcx_figures(&info, point).map_err(|error| doing.map(error)));
        let figures = read.and_then(|read| census.keep(read));
        let interface = doing.interface.to_owned();
        let id = info.id();
        census.hooks.push(Hook { interface, point, mode: None, id, program, ours, pinned: false, figures });
    }
}

fn xdp_figures(info: &ProgramInfo) -> Result<Figures, MapError> {
    let maps = maps_of(info)?;
    let mut maps = XdpMaps::new(|name| open(&maps, name))?;
    Ok(Figures {
        ports: maps.ports().open()?,
        alive: now_ns().saturating_sub(maps.beat_ns()?) < BEAT_NS_MAX,
        fates: Some(maps.fates()?),
        sights: None,
        paths: maps.paths().read()?,
    })
}

fn tcx_figures(info: &ProgramInfo, point: Point) -> Result<Figures, MapError> {
    let maps = maps_of(info)?;
    let maps = TcxMaps::new(|name| open(&maps, name))?;
    let (ports, sights, mut paths) = maps.read()?;
    paths.retain(|(key, _)| key.point == point);
    Ok(Figures { ports, alive: true, fates: None, sights: Some(sights), paths })
}

/// Names and ids of the maps that a program uses.
fn maps_of(info: &ProgramInfo) -> Result<Vec<(String, u32)>, MapError> {
    let ids = info.map_ids().map_err(|_| MapError::ElementNotFound)?.unwrap_or_default();
    let named = |id| MapInfo::from_id(id).map(|map| (map.name_as_str().unwrap_or_default().to_owned(), id));
    ids.into_iter().map(named).collect()
}

fn open(maps: &[(String, u32)], name: &str) -> Result<Map, MapError> {
    let (_, id) = maps.iter().find(|(known, _)| known == name).ok_or(MapError::ElementNotFound)?;
    Map::from_map_data(MapData::from_id(*id)?)
}

/// A loaded program by its id; none where this process may not ask, or it is gone.
pub(crate) fn program(id: u32) -> Option<ProgramInfo> {
    loaded_programs().take(PROGRAMS_MAX).flatten().find(|program| program.id() == id)
}

/// Index and name of `only`, or of all interfaces.
fn interfaces(only: Option<&str>) -> Result<Vec<(u32, String)>, EbpfError> {
    if let Some(name) = only {
        let missing = || EbpfError::NoInterface { interface: name.to_owned() };
        return Ok(vec![(interface::index(name).ok_or_else(missing)?, name.to_owned())]);
    }
    let doing = Doing { interface: "any interface", what: "list the interfaces" };
    let all = if_nameindex().map_err(|error| doing.system(error.into()))?;
    let named = all.iter().take(INTERFACES_MAX);
    Ok(named.map(|one| (one.index(), one.name().to_string_lossy().into_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        assert!(matches!(census(Some("no-such-one")), Err(EbpfError::NoInterface { .. })));
        assert!(census(Some("lo")).unwrap().hooks.iter().all(|hook| hook.interface == "lo"));
    }

    #[test]
    fn a_program_that_is_gone_is_none() {
        assert!(program(u32::MAX).is_none());
    }
}
