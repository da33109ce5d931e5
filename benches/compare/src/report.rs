//! The generated part of RESULTS.md, between two marks, and the charts: both from all results that are kept.

use std::fs;
use std::path::Path;

use crate::chart;
use crate::failure::{Doing, Outcome};
use crate::record::{self, Record, Run};
use crate::table;
use crate::targets;
use crate::workloads;

const BEGIN: &str = "<!-- compare: begin; written by `cargo xtask bench compare` -->";
const END: &str = "<!-- compare: end -->";

/// How the figures are made; the same for all.
const METHOD: &str = "Two hosts in network namespaces of one machine, joined by a wire of the lab, each pinned to one core; content on a tmpfs, \
     noise that does not compress. Every tool copies once a round, and each round begins with another tool; its serving side is started freshly \
     before the clock starts. The clock runs from the start of the client's process until the copy has ended (of a tool whose receiver ends on its own: \
     until that has). A small copy, uncounted, comes first. Memory is kept in pieces too small to be given back to the machine's host, which whoever touches it next would wait for. Content is compared after every copy; a copy that differs does not count. CPU seconds are those of \
     the processes on each side, as the kernel accounts them; RSS is the largest process of each side. Peers have the options shown, TCP buffers may grow to 64 MiB. \
     quinn and s2n-quic are moved by small programs of ours (`benches/compare/quic`): one stream from one buffer that stays in the cache, windows of 8 MiB, packets of the wire's MTU, \
     segmentation offload, AES-128-GCM.\n";

/// Before the table of targets.
const ELSEWHERE: &str = "From the medians below, each of the worst of its cases; T8, T10 to T12 and T15 are measured elsewhere (above).\n";

/// Writes section and charts below `dir` from `dir`/results.
pub(crate) fn write(dir: &Path) -> Outcome {
    let (mut parts, mut found) = (String::new(), Vec::new());
    let charts = dir.join("charts");
    chart::clear(&charts)?;
    for workload in workloads::ALL {
        let Some((run, records)) = record::load(&dir.join("results"), workload.name)? else { continue };
        parts += &part(workload.about, &run, &records);
        found.extend(targets::rows(&run, &records));
        chart::write(&charts, &run, &records)?;
    }
    targets::settle(&mut found);
    let table = targets::markdown(&found);
    let section = format!(
        "## Beside other tools\n\n{METHOD}\n### Against the targets\n\n{ELSEWHERE}\n{table}\n{parts}"
    );
    let path = dir.join("RESULTS.md");
    let before = if path.exists() {
        fs::read_to_string(&path).doing(format_args!("read {}", path.display()))?
    } else {
        String::new()
    };
    fs::write(&path, replace(&before, &section)).doing(format_args!("write {}", path.display()))
}

fn part(about: &str, run: &Run, records: &[Record]) -> String {
    let mut text = format!("### {}\n\n", capital(about));
    let (minutes, seconds) = (run.seconds / 60, run.seconds % 60);
    text += &format!(
        "`{}`, {}, commit {}, {}; {minutes} min {seconds} s.\n\n",
        run.command, run.day, run.commit, run.machine
    );
    for (index, (case, records)) in table::cases(records).iter().enumerate() {
        if let Some(file) = chart::file_name(&run.workload, index, records) {
            text += &format!("![{case}](charts/{file})\n\n");
        }
        text += &table::markdown(case, records);
    }
    text
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `text` with `section` between the marks; at its end where it has none.
fn replace(text: &str, section: &str) -> String {
    let marked = format!("{BEGIN}\n{}\n{END}", section.trim_end());
    let found =
        text.find(BEGIN).and_then(|from| text[from..].find(END).map(|to| (from, from + to + END.len())));
    match found {
        Some((from, to)) => format!("{}{marked}{}", &text[..from], &text[to..]),
        None if text.trim().is_empty() => format!("{marked}\n"),
        None => format!("{}\n\n{marked}\n", text.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Unit;
    use crate::record::tests::{run, sample};

    #[test]
    fn what_people_wrote_stays() {
        let first = replace("# Results\n\nby hand\n", "## One\n");
        assert_eq!(first, format!("# Results\n\nby hand\n\n{BEGIN}\n## One\n{END}\n"));
        let more = format!("{first}\nmore by hand\n");
        let second = replace(&more, "## Two\n");
        assert_eq!(second, format!("# Results\n\nby hand\n\n{BEGIN}\n## Two\n{END}\n\nmore by hand\n"));
        assert_eq!(replace(&second, "## Two\n"), second);
        assert_eq!(replace("", "x"), format!("{BEGIN}\nx\n{END}\n"));
    }

    #[test]
    fn section_and_charts_come_from_the_results() {
        let dir = tempfile::tempdir().unwrap();
        let run = run("big");
        let records =
            [sample("xferctl", Unit::Gbit, &[13.0, 12.0]), sample("tar | <nc>", Unit::Gbit, &[5.0])];
        record::save(&dir.path().join("results"), &run, &records).unwrap();
        write(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join("RESULTS.md")).unwrap();
        assert!(text.contains("![MTU 1500](charts/big.svg)"), "{text}");
        assert!(text.contains("`cargo xtask bench compare --only big`, 2026-11-21"), "{text}");
        let chart = fs::read_to_string(dir.path().join("charts/big.svg")).unwrap();
        assert!(chart.starts_with("<svg") && chart.contains("xferctl") && chart.contains("12.5"), "{chart}");
        assert!(!chart.contains("<nc>"), "names are escaped");
    }
}
