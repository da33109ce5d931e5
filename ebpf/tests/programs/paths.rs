//! Figures of paths.

use std::time::Duration;

use xfer_ebpf::{Fate, Point, Row, Verdict, limits};

use crate::frame::{Frame, data};
use crate::{KNOWN, expect, program};

/// The figures of path 2 after packets with these numbers came.
fn row(numbers: &[u64]) -> Row {
    let program = program();
    for number in numbers {
        program.try_frame(&Frame::new(data(KNOWN, 2, *number)).bytes(), 1).unwrap();
    }
    let paths = program.paths().unwrap();
    let [(key, row)] = paths[..] else { panic!("one path, not {paths:?}") };
    assert_eq!((key.connection, key.path, key.point), (KNOWN, 2, Point::Xdp));
    assert_eq!(row.packets, numbers.len() as u64);
    assert_eq!(row.bytes, 1_048 * row.packets);
    assert_eq!(row.between.iter().sum::<u64>(), (row.arrivals + 6) / limits::TIMED_EVERY);
    row
}

#[test]
fn an_orderly_path_has_no_gaps() {
    let row = row(&[40, 41, 42]);
    assert_eq!((row.gaps, row.missing, row.late, row.late_max), (0, 0, 0, 0));
}

#[test]
fn gaps_and_late_packets_are_counted_with_their_extent() {
    let gap = row(&[1, 2, 6, 7]);
    assert_eq!((gap.gaps, gap.missing, gap.late), (1, 3, 0));
    let late = row(&[1, 2, 6, 3, 4, 7, 5]);
    assert_eq!((late.gaps, late.missing, late.late, late.late_max), (1, 3, 3, 4));
    let again = row(&[1, 1]);
    assert_eq!((again.gaps, again.late, again.late_max), (0, 1, 1));
}

#[test]
fn the_time_between_packets_falls_into_buckets() {
    let row = row(&[1; 50]);
    assert_eq!(row.arrivals, 50);
    // A call of the kernel lies between two.
    assert!(row.waited_ns > 7 * 128, "{}", row.waited_ns);
    assert_eq!(row.between[1..limits::GAP_BUCKETS].iter().sum::<u64>(), 7, "{:?}", row.between);
}

#[test]
fn without_metrics_nothing_is_kept() {
    let program = program();
    program.set_metrics(false).unwrap();
    program.try_frame(&Frame::new(data(KNOWN, 0, 1)).bytes(), 10).unwrap();
    assert!(program.paths().unwrap().is_empty());
}

#[test]
fn there_is_room_for_so_many_paths_and_idle_ones_make_room() {
    let program = program();
    let of = |path| Frame::new(data(KNOWN, path, 1));
    for path in 0..limits::PATHS_MAX as u16 {
        expect(&program, &of(path), Verdict::Pass, Fate::Socketless);
    }
    let one_more = of(limits::PATHS_MAX as u16);
    program.try_frame(&one_more.bytes(), 1).unwrap();
    let fates = program.fates().unwrap();
    assert_eq!(fates.of(Fate::Untracked), 1);
    assert_eq!(fates.packets(), u64::from(limits::PATHS_MAX) + 1);
    program.sweep(Duration::from_secs(3_600)).unwrap();
    assert_eq!(program.paths().unwrap().len(), limits::PATHS_MAX as usize);
    program.sweep(Duration::ZERO).unwrap();
    assert!(program.paths().unwrap().is_empty());
    // Rows come back empty, each once.
    for path in 0..limits::PATHS_MAX as u16 {
        expect(&program, &of(path), Verdict::Pass, Fate::Socketless);
    }
    assert!(program.paths().unwrap().iter().all(|(_, row)| row.packets == 1));
    program.try_frame(&one_more.bytes(), 1).unwrap();
    assert_eq!(program.fates().unwrap().of(Fate::Untracked), 2);
    program.retire(KNOWN).unwrap();
    assert!(program.paths().unwrap().is_empty());
    // What was forgotten stays in the totals.
    let totals = program.totals().unwrap();
    assert_eq!(totals.map(|row| row.packets), [2 * u64::from(limits::PATHS_MAX), 0, 0]);
}
