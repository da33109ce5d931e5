//! The XDP program's maps, typed: what user space tells the program, and what it counts.

use std::os::fd::{AsRawFd, BorrowedFd};

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, Queue, XskMap};
use nix::libc::{E2BIG, ENOENT};

use crate::error::{Doing, EbpfError};
use crate::layout::{
    FateWords, Fates, OrderWords, PathKey, PathRow, Point, ROW_ZERO, Row, RowWords, SettingsWords,
    order_last_ns, order_row,
};
use crate::limits::{CONNECTIONS_MAX, PATHS_MAX, PORT_WORDS, QUEUES_MAX};

/// Bits of UDP ports, 64 to a word.
pub(crate) struct Ports(Array<MapData, u64>);

impl Ports {
    pub(crate) fn new(map: Map) -> Result<Self, MapError> {
        Ok(Ports(map.try_into()?))
    }

    pub(crate) fn set(&mut self, port: u16, open: bool) -> Result<(), MapError> {
        let word = u32::from(port) / 64;
        debug_assert!(word < PORT_WORDS);
        let bit = 1 << (port % 64);
        let before = self.0.get(&word, 0)?;
        self.0.set(word, if open { before | bit } else { before & !bit }, 0)
    }

    /// All that are open, ascending.
    pub(crate) fn open(&self) -> Result<Vec<u16>, MapError> {
        let mut open = Vec::new();
        for word in 0..PORT_WORDS {
            let bits = self.0.get(&word, 0)?;
            open.extend((0..64).filter(|bit| bits >> bit & 1 == 1).map(|bit| (word * 64 + bit) as u16));
        }
        Ok(open)
    }

    /// Closes all.
    pub(crate) fn clear(&mut self) -> Result<(), MapError> {
        (0..PORT_WORDS).try_for_each(|word| self.0.set(word, 0, 0))
    }
}

/// Figures of paths: one entry a path, and a row for each processor.
pub(crate) struct Paths {
    orders: HashMap<MapData, u64, OrderWords>,
    rows: PerCpuArray<MapData, RowWords>,
    spare: Queue<MapData, u32>,
    /// Figures of paths that were forgotten, by point.
    past: [Row; Point::ALL.len()],
}

impl Paths {
    pub(crate) fn new(orders: Map, rows: Map, spare: Map) -> Result<Self, MapError> {
        let (orders, rows, spare) = (orders.try_into()?, rows.try_into()?, spare.try_into()?);
        Ok(Paths { orders, rows, spare, past: [Row::default(); Point::ALL.len()] })
    }

    /// Hands all rows to the program; once, directly after it was loaded.
    pub(crate) fn fill(&mut self) -> Result<(), MapError> {
        (0..PATHS_MAX).try_for_each(|row| self.spare.push(row, 0))
    }

    /// The paths and their figures, by key.
    pub(crate) fn read(&self) -> Result<Vec<PathRow>, MapError> {
        let mut found = Vec::new();
        for entry in self.orders.iter().take(PATHS_MAX as usize) {
            let (word, order) = entry?;
            if let Some(key) = PathKey::from_word(word) {
                let rows = self.rows.get(&order_row(&order), 0)?;
                found.push((key, Row::sum(&rows)));
            }
        }
        found.sort_unstable_by_key(|(key, _)| *key);
        Ok(found)
    }

    /// What all paths have together at each point, those that were forgotten included: it never decreases.
    pub(crate) fn totals(&self) -> Result<[Row; Point::ALL.len()], MapError> {
        let mut totals = self.past;
        for (key, row) in self.read()? {
            totals[key.point as usize].add(&row);
        }
        Ok(totals)
    }

    /// Forgets the paths that `gone` says so of, given their key and when their last packet came; their rows are free again, from zero.
    pub(crate) fn forget(&mut self, gone: impl Fn(PathKey, u64) -> bool) -> Result<(), MapError> {
        let mut lost = Vec::new();
        for entry in self.orders.iter().take(PATHS_MAX as usize) {
            let (word, order) = entry?;
            let key = PathKey::from_word(word);
            if key.is_none_or(|key| gone(key, order_last_ns(&order))) {
                lost.push((key, word, order_row(&order)));
            }
        }
        for (key, word, row) in lost {
            // A walk along a map that changes may meet an entry twice; its row is free once.
            if !removed(self.orders.remove(&word))? {
                continue;
            }
            let rows = self.rows.get(&row, 0)?;
            if let Some(key) = key {
                self.past[key.point as usize].add(&Row::sum(&rows));
            }
            let zeros = vec![ROW_ZERO; rows.len()];
            self.rows.set(row, zeros.try_into().map_err(MapError::IoError)?, 0)?;
            self.spare.push(row, 0)?;
        }
        Ok(())
    }
}

/// All maps of the XDP program.
pub(crate) struct XdpMaps {
    ports: Ports,
    settings: Array<MapData, SettingsWords>,
    fates: PerCpuArray<MapData, FateWords>,
    connections: HashMap<MapData, u32, u32>,
    sockets: XskMap<MapData>,
    paths: Paths,
    /// What the settings hold: beat, metrics, sockets, stamps.
    set: SettingsWords,
}

impl XdpMaps {
    /// Takes each map by its name from `take`.
    pub(crate) fn new(mut take: impl FnMut(&'static str) -> Result<Map, MapError>) -> Result<Self, MapError> {
        let settings = Array::try_from(take("settings")?)?;
        let set = settings.get(&0, 0)?;
        Ok(XdpMaps {
            ports: Ports::new(take("ports")?)?,
            settings,
            fates: take("fates")?.try_into()?,
            connections: take("connections")?.try_into()?,
            sockets: take("sockets")?.try_into()?,
            paths: Paths::new(take("orders")?, take("rows")?, take("spare_rows")?)?,
            set,
        })
    }

    /// Figures of paths.
    pub(crate) fn paths(&mut self) -> &mut Paths {
        &mut self.paths
    }

    /// Our ports.
    pub(crate) fn ports(&mut self) -> &mut Ports {
        &mut self.ports
    }

    /// When user space last gave a sign of life.
    pub(crate) fn beat_ns(&self) -> Result<u64, MapError> {
        Ok(self.settings.get(&0, 0)?[0])
    }

    /// Forgets ports, connections and paths, which another process left.
    pub(crate) fn clear(&mut self) -> Result<(), MapError> {
        self.set_sockets(false)?;
        self.set_stamps(false)?;
        self.ports.clear()?;
        let known: Vec<u32> =
            self.connections.keys().take(CONNECTIONS_MAX as usize).collect::<Result<_, _>>()?;
        known.iter().try_for_each(|connection| absent_is_fine(self.connections.remove(connection)))?;
        self.paths.forget(|_, _| true)
    }

    pub(crate) fn beat(&mut self, now_ns: u64) -> Result<(), MapError> {
        self.set[0] = now_ns;
        self.settings.set(0, self.set, 0)
    }

    pub(crate) fn set_metrics(&mut self, on: bool) -> Result<(), MapError> {
        self.set[1] = u64::from(on);
        self.settings.set(0, self.set, 0)
    }

    pub(crate) fn set_stamps(&mut self, on: bool) -> Result<(), MapError> {
        self.set[3] = u64::from(on);
        self.settings.set(0, self.set, 0)
    }

    fn set_sockets(&mut self, used: bool) -> Result<(), MapError> {
        self.set[2] = u64::from(used);
        self.settings.set(0, self.set, 0)
    }

    pub(crate) fn set_socket(
        &mut self,
        queue: u32,
        fd: BorrowedFd<'_>,
        doing: Doing<'_>,
    ) -> Result<(), EbpfError> {
        if queue >= QUEUES_MAX {
            return Err(full(doing, QUEUES_MAX));
        }
        self.sockets.set(queue, fd.as_raw_fd(), 0).map_err(|error| doing.map(error))?;
        self.set_sockets(true).map_err(|error| doing.map(error))
    }

    pub(crate) fn unset_socket(&mut self, queue: u32) -> Result<(), MapError> {
        absent_is_fine(self.sockets.unset(queue))
    }

    pub(crate) fn admit(&mut self, connection: u32, queue: u32, doing: Doing<'_>) -> Result<(), EbpfError> {
        let moved = self.connections.get(&connection, 0).is_ok_and(|before| before != queue);
        match self.connections.insert(connection, queue, 0) {
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(E2BIG) => {
                return Err(full(doing, CONNECTIONS_MAX));
            }
            done => done.map_err(|error| doing.map(error))?,
        }
        if moved { self.forget_paths(connection).map_err(|error| doing.map(error)) } else { Ok(()) }
    }

    pub(crate) fn retire(&mut self, connection: u32) -> Result<(), MapError> {
        absent_is_fine(self.connections.remove(&connection))?;
        self.forget_paths(connection)
    }

    /// Entries of paths tell their queue too, so they go with their connection.
    fn forget_paths(&mut self, connection: u32) -> Result<(), MapError> {
        self.paths.forget(|key, _| key.connection == connection)
    }

    pub(crate) fn fates(&self) -> Result<Fates, MapError> {
        Ok(Fates::sum(self.fates.get(&0, 0)?.iter()))
    }
}

fn full(doing: Doing<'_>, limit: u32) -> EbpfError {
    EbpfError::Full { interface: doing.interface.into(), what: doing.what, limit }
}

/// To remove what is not there is no failure.
fn absent_is_fine(done: Result<(), MapError>) -> Result<(), MapError> {
    removed(done).map(|_| ())
}

/// Whether there was something to remove.
fn removed(done: Result<(), MapError>) -> Result<bool, MapError> {
    match done {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(false),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(ENOENT) => Ok(false),
        done => done.map(|()| true),
    }
}
