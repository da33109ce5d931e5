//! `ebpf stats`: what our programs count.

use crate::json;
use crate::output::Stdout;
use crate::units::show_size;
use serde::Serialize;
use xfer_client::Error;
use xfer_ebpf::{Census, Fates, Figures, Hook, PathKey, Row, Seen, Sights, bucket_end_ns};

/// A line of type `packets`: what became of some of the packets to our ports.
#[derive(Serialize)]
struct PacketsLine<'a> {
    interface: &'a str,
    point: &'static str,
    action: &'static str,
    reason: &'static str,
    packets: u64,
}

/// A line of type `path`.
#[derive(Serialize)]
struct PathLine<'a> {
    interface: &'a str,
    point: &'static str,
    /// The receiver's id, in hex.
    connection: String,
    path: u16,
    packets: u64,
    bytes: u64,
    arrivals: u64,
    gaps: u64,
    missing: u64,
    late: u64,
    late_max: u64,
    /// Time between arrivals: the end of each bucket that has some (null: no end), and how many.
    between_ns: Vec<(Option<u64>, u64)>,
}

pub(super) fn write(stdout: &mut Stdout, census: &Census, as_json: bool) -> Result<(), Error> {
    for hook in &census.hooks {
        let Some(figures) = &hook.figures else { continue };
        let text = if as_json { lines(hook, figures) } else { show(hook, figures) };
        stdout.write(text.as_bytes())?;
    }
    Ok(())
}

fn lines(hook: &Hook, figures: &Figures) -> String {
    let (interface, point) = (hook.interface.as_str(), hook.point.word());
    let packets = |action, reason, packets| {
        json::line("packets", &PacketsLine { interface, point, action, reason, packets })
    };
    let fates = figures.fates.iter().flat_map(Fates::iter);
    let mut text: String = fates.map(|(fate, count)| packets(fate.action(), fate.reason(), count)).collect();
    if let Some(sights) = &figures.sights {
        text.extend(Seen::ALL.map(|seen| packets("seen", seen.word(), sights.of(seen))));
    }
    text.extend(figures.paths.iter().map(|(key, row)| json::line("path", &path(interface, key, row))));
    text
}

fn path<'a>(interface: &'a str, key: &PathKey, row: &Row) -> PathLine<'a> {
    let buckets = row.between.iter().enumerate().filter(|(_, count)| **count > 0);
    PathLine {
        interface,
        point: key.point.word(),
        connection: format!("{:08x}", key.connection),
        path: key.path,
        packets: row.packets,
        bytes: row.bytes,
        arrivals: row.arrivals,
        gaps: row.gaps,
        missing: row.missing,
        late: row.late,
        late_max: row.late_max,
        between_ns: buckets.map(|(index, count)| (bucket_end_ns(index), *count)).collect(),
    }
}

fn show(hook: &Hook, figures: &Figures) -> String {
    let mut text = format!("{} {}: ", hook.interface, hook.point.word());
    text.push_str(&figures.fates.as_ref().map_or_else(String::new, show_fates));
    text.push_str(&figures.sights.as_ref().map_or_else(String::new, show_sights));
    text.push('\n');
    for (key, row) in &figures.paths {
        text.push_str(&show_path(key, row));
    }
    text
}

/// `12 packets to our ports; redirected 10 known; dropped 2 unknown`.
fn show_fates(fates: &Fates) -> String {
    let mut text = format!("{} packets to our ports", fates.packets());
    for (fate, count) in fates.iter().filter(|(_, count)| *count > 0) {
        text.push_str(&format!("; {} {count} {}", fate.action(), fate.reason()));
    }
    text
}

/// Both directions have the same counters.
fn show_sights(sights: &Sights) -> String {
    let told = Seen::ALL.map(|seen| format!("{} {}", sights.of(seen), seen.word()));
    format!("datagrams and trains of both directions: {}", told.join(", "))
}

fn show_path(key: &PathKey, row: &Row) -> String {
    let between = |part| row.between_quantile(part).map_or_else(|| "0.5 s and more".to_owned(), show_ns);
    format!(
        "  {:08x} path {}: {} packets in {} arrivals, {}; {} gaps, {} missing, {} late by at most {}; \
         half within {} of the one before, 99 % within {}\n",
        key.connection,
        key.path,
        row.packets,
        row.arrivals,
        show_size(row.bytes),
        row.gaps,
        row.missing,
        row.late,
        row.late_max,
        between(0.5),
        between(0.99),
    )
}

fn show_ns(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} us", ns / 1_000),
        _ => format!("{} ms", ns / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xfer_ebpf::Point;

    fn row() -> (PathKey, Row) {
        let mut row =
            Row { packets: 100, bytes: 1 << 20, arrivals: 100, gaps: 1, missing: 3, ..Row::default() };
        row.between[3] = 60;
        row.between[10] = 39;
        row.between[23] = 1;
        (PathKey { connection: 0xab, path: 2, point: Point::Ingress }, row)
    }

    #[test]
    fn a_path_in_one_line() {
        let (key, row) = row();
        assert_eq!(
            show_path(&key, &row),
            "  000000ab path 2: 100 packets in 100 arrivals, 1 MiB; 1 gaps, 3 missing, 0 late by at most 0; \
             half within 1 us of the one before, 99 % within 131 us\n"
        );
    }

    #[test]
    fn buckets_without_packets_are_left_out() {
        let (key, row) = row();
        let line = path("eth0", &key, &row);
        assert_eq!(line.between_ns, [(Some(1_024), 60), (Some(131_072), 39), (None, 1)]);
    }
}
