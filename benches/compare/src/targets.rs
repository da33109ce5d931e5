//! What the figures say of the targets: for each its ratio or figure from the kept results, and whether it is reached.

use crate::record::{Record, Run, Unit};
use crate::statistics::digits;
use crate::table;
use Wanted::{AtLeast, AtMost};

const OURS: &str = "xferctl";
const OURS_PLAIN: &str = "xferctl plain";
/// The target of big frames, which is about others.
const JUMBO: &str = "T3";
const FLOW: &str = "xferctl bench run";
const FLOW_PLAIN: &str = "xferctl bench run --no-encrypt";
const FLOW_LARGE: &str = "xferctl bench run --source 256MiB";

/// What of its wire's rate is content at MTU 1500: ours, and TCP with time stamps.
const GOODPUT: f64 = 1_424.0 / 1_538.0;
const TCP_GOODPUT: f64 = 1_448.0 / 1_538.0;

/// One target: what it is about, what was found, what is wanted.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) target: &'static str,
    what: String,
    found: f64,
    wanted: Wanted,
    unit: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    fn is_met(&self) -> bool {
        match self.wanted {
            AtLeast(wanted) => self.found >= wanted,
            AtMost(wanted) => self.found <= wanted,
        }
    }
}

/// Collects rows; what lacks a figure gives none.
struct Rows<'a> {
    cases: &'a [(String, Vec<Record>)],
    rows: Vec<Row>,
}

impl Rows<'_> {
    fn add(
        &mut self,
        target: &'static str,
        what: impl Into<String>,
        found: Option<f64>,
        wanted: Wanted,
        unit: &'static str,
    ) {
        self.rows.extend(found.map(|found| Row { target, what: what.into(), found, wanted, unit }));
    }

    /// Ours by the best of the others that `is_meant`, the least of all cases that have both: more is better for us.
    fn beside(&self, ours: &str, is_meant: impl Fn(&Record) -> bool) -> Option<f64> {
        let ratios = self.cases.iter().filter_map(|(_, records)| {
            let own = median(records, ours)?;
            let others = records.iter().filter(|record| !record.ours && is_meant(record));
            let figures = others.filter_map(|record| Some((record.unit.is_rate(), record.spread()?.median)));
            let ratios = figures.map(|(is_rate, other)| if is_rate { own / other } else { other / own });
            ratios.min_by(f64::total_cmp)
        });
        ratios.min_by(f64::total_cmp)
    }

    /// Percent that ours is of the stages' limit for the same kind.
    fn of_limit(&self, ours: &str, kind: &str) -> Option<f64> {
        let shares = self.cases.iter().filter_map(|(_, records)| {
            let own = records.iter().find(|record| record.peer == ours)?;
            let is_limit = |record: &&Record| {
                record.peer == format!("limit of the stages, {kind}")
                    && (record.encrypted, record.verified) == (own.encrypted, own.verified)
            };
            let limit = records.iter().find(is_limit)?.spread()?.median;
            Some(own.spread()?.median / limit * 100.0)
        });
        shares.min_by(f64::total_cmp)
    }

    /// Most memory of either side of ours, MiB.
    fn memory(&self) -> Option<f64> {
        let own = self.cases.iter().flat_map(|(_, records)| records).filter(|record| record.ours);
        let most = own.map(|record| record.client_rss_kib.max(record.server_rss_kib)).max()?;
        (most > 0).then(|| most as f64 / 1_024.0)
    }

    /// Seconds of CPU for 10^9 bytes, both sides, of ours by those of curl over HTTPS; the greatest of all cases.
    fn cost_beside_https(&self) -> Option<f64> {
        let sum = |record: &Record| record.cpu_s_per_gb().map(|sides| sides[0] + sides[1]);
        let ratios = self.cases.iter().filter_map(|(_, records)| {
            let own = records.iter().find(|record| record.peer == OURS).and_then(sum)?;
            let https = records.iter().filter(|record| record.peer.starts_with("curl https")).filter_map(sum);
            Some(own / https.min_by(f64::total_cmp)?)
        });
        ratios.max_by(f64::total_cmp)
    }
}

fn median(records: &[Record], peer: &str) -> Option<f64> {
    records.iter().find(|record| record.peer == peer)?.spread().map(|spread| spread.median)
}

/// The rows that the records of a run give.
pub(crate) fn rows(run: &Run, records: &[Record]) -> Vec<Row> {
    let cases = table::cases(records);
    let mut rows = Rows { cases: &cases, rows: Vec::new() };
    match run.workload.as_str() {
        "big" => {
            // The file that the targets speak of; beside all other tools there is a smaller one.
            rows.cases = cases.get(..1).unwrap_or_default();
            ratios(&mut rows, ["T1", "T2"]);
            let memory = rows.memory();
            rows.add("T13", "memory of the greater side, full rate", memory, AtMost(96.0), " MiB");
            let cost = rows.cost_beside_https();
            rows.add(
                "T14",
                "CPU seconds per GB, both sides, by those of curl over HTTPS",
                cost,
                AtMost(1.0),
                "x",
            );
        }
        "jumbo" => ratios(&mut rows, [JUMBO, JUMBO]),
        "memory" => memory(&mut rows, run.machine.contains("AMD")),
        "small" => {
            let beside = rows.beside(OURS, |_| true);
            rows.add("T5", "10,000 files, beside the fastest", beside, AtLeast(1.0), "x");
        }
        "linear" => linear(&mut rows),
        "cold" => {
            let beside = rows.beside(OURS, |record| record.peer.starts_with("curl https"));
            rows.add(
                "T6",
                "cold 1 KiB, beside curl over HTTPS, the worse of both wires",
                beside,
                AtLeast(1.0),
                "x",
            );
        }
        "far-small" => {
            let beside = rows.beside(OURS, |record| record.peer == "tar | nc");
            rows.add("T6b", "1,000 files far away, beside tar through nc", beside, AtLeast(1.0), "x");
        }
        "wires" => wires(&mut rows),
        "wan" => far(&mut rows),
        "wan-file" => far_file(&mut rows),
        _ => {}
    }
    rows.rows
}

/// Of a big file.
fn ratios(rows: &mut Rows<'_>, [guarded, plain]: [&'static str; 2]) {
    let ssh = ["scp", "sftp", "rsync over ssh"];
    let share = rows.of_limit(OURS, "file to file");
    rows.add(guarded, "encrypted and verified, of the limit", share, AtLeast(85.0), "%");
    let beside = rows.beside(OURS, |record| record.encrypted);
    rows.add(guarded, "encrypted and verified, beside the fastest encrypted", beside, AtLeast(1.2), "x");
    let beside = rows.beside(OURS, |record| ssh.contains(&record.peer.as_str()));
    rows.add(guarded, "the same, beside scp, sftp, rsync over ssh", beside, AtLeast(2.5), "x");
    let beside = rows.beside(OURS, |record| record.peer.contains("-verify-checksum"));
    rows.add(guarded, "the same, beside GridFTP with checksum", beside, AtLeast(4.5), "x");
    let share = rows.of_limit(OURS_PLAIN, "file to file");
    rows.add(plain, "plain, of the limit", share, AtLeast(75.0), "%");
    let beside = rows.beside(OURS_PLAIN, |record| !record.encrypted && !record.verified);
    rows.add(plain, "plain, beside the fastest plain", beside, AtLeast(1.3), "x");
}

/// One kernel flow on an AMD machine is slower beside ours than on an Intel one.
fn memory(rows: &mut Rows<'_>, is_amd: bool) {
    let kind = "memory to memory";
    let share = rows.of_limit(FLOW, kind);
    rows.add("T4", "encrypted, of the limit", share, AtLeast(80.0), "%");
    let share = rows.of_limit(FLOW_PLAIN, kind);
    rows.add("T4", "plain, of the limit", share, AtLeast(70.0), "%");
    let share = rows.of_limit(FLOW_LARGE, &format!("{kind}, source of 256 MiB"));
    rows.add("T4", "encrypted from 256 MiB, of its limit", share, AtLeast(80.0), "%");
    let beside = rows.beside(FLOW, |record| record.peer == "iperf3 bbr");
    rows.add("T4", "encrypted, beside iperf3 with BBR", beside, AtLeast(if is_amd { 1.6 } else { 1.3 }), "x");
    for library in ["quinn", "s2n-quic"] {
        let beside = rows.beside(FLOW, |record| record.peer.starts_with(library));
        rows.add("T4", format!("encrypted, beside {library}"), beside, AtLeast(2.0), "x");
    }
    let beside = rows.beside(FLOW_PLAIN, |record| record.peer.starts_with("iperf3"));
    rows.add("T4", "plain, beside the better of iperf3 with CUBIC and BBR", beside, AtLeast(1.3), "x");
}

fn linear(rows: &mut Rows<'_>) {
    let seconds: Vec<f64> = rows.cases.iter().filter_map(|(_, records)| median(records, OURS)).collect();
    if let [few, many] = seconds[..] {
        rows.add("T5", "100,000 files by 10,000", Some(many / few), AtMost(11.0), "x");
    }
    let memory = rows.memory();
    rows.add("T13", "memory of the greater side, 100,000 files", memory, AtMost(96.0), " MiB");
}

/// The share was noted with the figures that it is made of.
fn wires(rows: &mut Rows<'_>) {
    for (case, records) in rows.cases {
        let share = |peer: &str| {
            let record =
                records.iter().find(|record| record.peer.starts_with(peer) && record.note.contains('%'))?;
            record.note.split(' ').next()?.parse::<f64>().ok()
        };
        let wanted = if case.matches('+').count() == 1 { 99.0 } else { 98.0 };
        let own = share(FLOW);
        rows.add("T7", format!("{case}, of what its wires give alone"), own, AtLeast(wanted), "%");
        if let (Some(own), Some(theirs)) = (own, share("MPTCP")) {
            rows.add(
                "T7",
                format!("{case}, the same beside MPTCP's share"),
                Some(own / theirs),
                AtLeast(1.0),
                "x",
            );
        }
    }
}

/// Share of a gigabit's goodput.
fn share_of_gigabit(records: &[Record], peer: &str, goodput: f64) -> Option<f64> {
    let is_known = records.first().is_some_and(|record| record.unit == Unit::Mbit);
    median(records, peer).filter(|_| is_known).map(|mbit| mbit / 10.0 / goodput)
}

fn far(rows: &mut Rows<'_>) {
    let wanted = |case: &str| match case {
        _ if case.contains("late") => 90.0,
        _ if case.contains("200 ms") => 88.0,
        _ if case.ends_with(" 0 % loss") => 97.0,
        _ if case.ends_with(" 0.1 % loss") => 96.0,
        _ if case.ends_with(" 1 % loss") => 95.0,
        _ => 93.0,
    };
    for (case, records) in rows.cases {
        let own = share_of_gigabit(records, FLOW, GOODPUT);
        rows.add("T9", format!("{case}, of wire goodput"), own, AtLeast(wanted(case)), "%");
        if let (Some(own), Some(theirs)) = (own, share_of_gigabit(records, "iperf3 bbr", TCP_GOODPUT)) {
            let what = format!("{case}, the same beside one kernel BBR flow's share");
            rows.add("T9", what, Some(own / theirs), AtLeast(1.0), "x");
        }
    }
    let near: Vec<_> = rows.cases.iter().filter(|(case, _)| case.contains(" 50 ms")).cloned().collect();
    let memory = Rows { cases: &near, rows: Vec::new() }.memory();
    rows.add("T13", "memory of the greater side, 1 Gbit/s, 50 ms RTT", memory, AtMost(48.0), " MiB");
}

fn far_file(rows: &mut Rows<'_>) {
    for (case, records) in rows.cases {
        if case.contains("50 ms") && (case.ends_with(" 0 % loss") || case.ends_with(" 1 % loss")) {
            let own = share_of_gigabit(records, OURS, GOODPUT);
            rows.add("T9", format!("{case}, start included, of wire goodput"), own, AtLeast(85.0), "%");
        }
    }
}

/// At MTU 9000 each ratio is wanted as it was found at 1500, within 5 %.
pub(crate) fn settle(rows: &mut [Row]) {
    let standard: Vec<(String, f64)> = rows
        .iter()
        .filter(|row| ["T1", "T2"].contains(&row.target))
        .map(|row| (row.what.clone(), row.found))
        .collect();
    for row in rows.iter_mut().filter(|row| row.target == JUMBO) {
        if let Some((_, found)) = standard.iter().find(|(what, _)| *what == row.what) {
            row.wanted = AtLeast(found * 0.95);
        }
        row.what = format!("MTU 9000: {}", row.what);
    }
}

/// A table of the rows of all workloads, in Markdown.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = "| target | what | found | wanted | |\n|---|---|---|---|---|\n".to_owned();
    for row in rows {
        let (sign, wanted) = match row.wanted {
            AtLeast(wanted) => (">=", wanted),
            AtMost(wanted) => ("<=", wanted),
        };
        let verdict = if row.is_met() { "" } else { "**short**" };
        let shown = |value: f64| format!("{}{}", digits(value), row.unit);
        text += &format!(
            "| {} | {} | {} | {sign} {} | {verdict} |\n",
            row.target,
            row.what,
            shown(row.found),
            shown(wanted)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{run, sample};

    fn guarded(peer: &str, unit: Unit, value: f64) -> Record {
        Record { encrypted: true, ..sample(peer, unit, &[value]) }
    }

    fn found(rows: &[Row], what: &str) -> Option<(f64, bool)> {
        rows.iter().find(|row| row.what.contains(what)).map(|row| (row.found, row.is_met()))
    }

    #[test]
    fn a_big_file_is_compared_with_each_kind_of_peer() {
        let plain = |peer: &str, value| Record { verified: false, ..sample(peer, Unit::Gbit, &[value]) };
        let limit = "limit of the stages, file to file";
        let mut https = guarded("curl https/1.1, nginx", Unit::Gbit, 8.0);
        https.server_cpu_s = 9.0;
        let records = [
            guarded(OURS, Unit::Gbit, 12.0),
            Record { ours: true, ..guarded(limit, Unit::Gbit, 15.0) },
            Record { ours: true, ..plain(limit, 30.0) },
            plain(OURS_PLAIN, 14.0),
            plain("socat", 7.0),
            https,
            guarded("scp", Unit::Gbit, 4.0),
            sample("GridFTP -p 8 -verify-checksum", Unit::Gbit, &[3.0]),
        ];
        let rows = rows(&run("big"), &records);
        assert_eq!(found(&rows, "verified, of the limit"), Some((80.0, false)));
        assert_eq!(found(&rows, "fastest encrypted"), Some((1.5, true)));
        assert_eq!(found(&rows, "scp, sftp"), Some((3.0, true)));
        assert_eq!(found(&rows, "with checksum"), Some((4.0, false)));
        assert_eq!(found(&rows, "fastest plain"), Some((2.0, true)));
        assert_eq!(found(&rows, "memory"), Some((2.0, true)));
        assert_eq!(found(&rows, "CPU"), Some((0.15, true)));
    }

    #[test]
    fn big_frames_are_wanted_as_good_as_small_ones() {
        let of = |workload: &str, ours, theirs| {
            let records = [guarded(OURS, Unit::Gbit, ours), guarded("scp", Unit::Gbit, theirs)];
            rows(&run(workload), &records)
        };
        let mut all: Vec<Row> = of("big", 12.0, 4.0);
        all.extend(of("jumbo", 14.0, 5.0));
        settle(&mut all);
        let jumbo = all
            .iter()
            .find(|row| row.what == "MTU 9000: the same, beside scp, sftp, rsync over ssh")
            .unwrap();
        assert!(matches!(jumbo.wanted, AtLeast(wanted) if digits(wanted) == "2.85"), "{jumbo:?}");
        assert_eq!((jumbo.found, jumbo.is_met()), (2.8, false));
    }

    #[test]
    fn the_worst_case_counts_and_less_time_is_better() {
        let at =
            |case: &str, peer: &str, ms| Record { case: case.into(), ..sample(peer, Unit::Millis, &[ms]) };
        let https = "curl https/1.1, nginx";
        let records = [
            at("near", OURS, 10.0),
            at("near", https, 12.0),
            at("far", OURS, 200.0),
            at("far", https, 190.0),
        ];
        let rows = rows(&run("cold"), &records);
        assert_eq!((rows.len(), rows[0].found, rows[0].is_met()), (1, 0.95, false));
        assert!(markdown(&rows).contains("| 0.950x | >= 1.00x | **short** |"), "{}", markdown(&rows));
    }

    #[test]
    fn shares_of_wires_and_goodput() {
        let case = |case: &str, record: Record| Record { case: case.into(), ..record };
        let mut ours = sample(FLOW, Unit::Mbit, &[3_900.0]);
        ours.note = "98.5 % of the 3960 Mbit/s that its wires give alone".into();
        let rows_of = rows(&run("wires"), &[case("2 + 2 Gbit/s", ours)]);
        assert_eq!(found(&rows_of, "alone"), Some((98.5, false)));
        let name = "1 Gbit/s, 50 ms RTT, 1 % loss";
        let far = [
            case(name, sample(FLOW, Unit::Mbit, &[900.0])),
            case(name, sample("iperf3 bbr", Unit::Mbit, &[900.0])),
        ];
        let rows_of = rows(&run("wan"), &far);
        let (share, is_met) = found(&rows_of, "of wire goodput").unwrap();
        assert!((share - 97.2).abs() < 0.1 && is_met);
        assert!(found(&rows_of, "kernel BBR").unwrap().1);
        assert!(rows(&run("nothing"), &far).is_empty() && rows(&run("memory"), &[]).is_empty());
    }
}
