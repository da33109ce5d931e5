//! Records as tables: on the terminal and in Markdown.

use crate::record::Record;
use crate::statistics::digits;

const HEAD: [&str; 8] = [
    "tool",
    "content is",
    "median",
    "min",
    "max",
    "runs",
    "CPU s/GB client + server",
    "RSS MiB client + server",
];

/// One row: the cells of [`HEAD`].
fn row(record: &Record) -> [String; 8] {
    let spread = record.spread();
    let figure = |pick: fn(crate::statistics::Spread) -> f64| {
        spread.map_or_else(|| "-".to_owned(), |spread| digits(pick(spread)))
    };
    let pair = |first: f64, second: f64| {
        let shown = |value: f64| if value > 0.0 { digits(value) } else { "-".into() };
        if first > 0.0 || second > 0.0 { format!("{} + {}", shown(first), shown(second)) } else { "-".into() }
    };
    let cpu = record.cpu_s_per_gb().unwrap_or_default();
    let mib = |kib: u64| kib as f64 / 1024.0;
    [
        record.peer.clone(),
        record.guards().to_owned(),
        figure(|spread| spread.median),
        figure(|spread| spread.min),
        figure(|spread| spread.max),
        spread.map_or(0, |spread| spread.runs).to_string(),
        pair(cpu[0], cpu[1]),
        pair(mib(record.client_rss_kib), mib(record.server_rss_kib)),
    ]
}

/// The records of one case, best first, those without figures last.
pub(crate) fn ranked(records: &[Record]) -> Vec<&Record> {
    let mut sorted: Vec<&Record> = records.iter().collect();
    let rank = |record: &Record| {
        let median = record.spread().map(|spread| spread.median);
        median.map_or(f64::INFINITY, |median| if record.unit.is_rate() { -median } else { median })
    };
    sorted.sort_by(|one, other| rank(one).total_cmp(&rank(other)));
    sorted
}

/// The cases of a workload in the order of their records, each with its records.
pub(crate) fn cases(records: &[Record]) -> Vec<(String, Vec<Record>)> {
    let mut cases: Vec<(String, Vec<Record>)> = Vec::new();
    for record in records {
        match cases.iter_mut().find(|(name, _)| *name == record.case) {
            Some((_, found)) => found.push(record.clone()),
            None => cases.push((record.case.clone(), vec![record.clone()])),
        }
    }
    cases
}

fn unit(records: &[Record]) -> &'static str {
    records.first().map_or("", |record| record.unit.name())
}

/// For the terminal: aligned columns, notes below.
pub(crate) fn plain(case: &str, records: &[Record]) -> String {
    let mut head = HEAD.map(str::to_owned);
    head[2] = format!("median {}", unit(records));
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(ranked(records).into_iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = format!("\n{case}\n");
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 | 1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    for record in ranked(records).into_iter().filter(|record| !record.note.is_empty()) {
        text += &format!("  {}: {}\n", record.peer, record.note);
    }
    text
}

/// For RESULTS.md: the table, and the commands in a block that can be unfolded.
pub(crate) fn markdown(case: &str, records: &[Record]) -> String {
    let mut head = HEAD.map(str::to_owned);
    head[2] = format!("median {}", unit(records));
    let cells = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("**{case}**\n\n{}|---|---|---|---|---|---|---|---|\n", cells(&head));
    let shown: Vec<&Record> = ranked(records).into_iter().filter(|one| one.spread().is_some()).collect();
    for record in &shown {
        let mut row = row(record);
        row.iter_mut().for_each(|cell| *cell = cell.replace('|', "\\|"));
        if record.ours {
            row[0] = format!("**{}**", row[0]);
        }
        text += &cells(&row);
    }
    text += "\n<details><summary>Commands</summary>\n\n```\n";
    for record in &shown {
        text += &record.servers.iter().map(|line| format!("b$ {line}\n")).collect::<String>();
        text += &format!("a$ {}\n", record.client);
    }
    text += "```\n\n</details>\n\n";
    for record in ranked(records).into_iter().filter(|record| !record.note.is_empty()) {
        text += &format!("- {}: {}\n", record.peer.replace('|', "\\|"), record.note);
    }
    text.trim_end().to_owned() + "\n\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Unit;
    use crate::record::tests::sample;

    #[test]
    fn the_best_comes_first_and_the_failed_last() {
        let rates = [
            sample("slow", Unit::Gbit, &[1.0]),
            sample("none", Unit::Gbit, &[]),
            sample("fast", Unit::Gbit, &[9.0, 3.0, 2.0]),
        ];
        let names =
            |records: &[Record]| ranked(records).iter().map(|one| one.peer.clone()).collect::<Vec<_>>();
        assert_eq!(names(&rates), ["fast", "slow", "none"]);
        let times = rates.map(|record| Record { unit: Unit::Millis, ..record });
        assert_eq!(names(&times), ["slow", "fast", "none"]);
    }

    #[test]
    fn a_table_shows_median_spread_and_cost() {
        let mut failed = sample("broken", Unit::Gbit, &[]);
        failed.note = "no broken here".into();
        let records = [failed, sample("tar | nc", Unit::Gbit, &[3.0, 1.0, 2.0])];
        let text = plain("MTU 1500", &records);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").filter(|c| !c.is_empty()).map(str::trim).collect())
            .collect();
        assert_eq!(lines[1], ["MTU 1500"]);
        assert_eq!(lines[2][..3], ["tool", "content is", "median Gbit/s"]);
        assert_eq!(
            lines[3],
            ["tar | nc", "verified", "2.00", "1.00", "3.00", "3", "0.500 + 0.250", "2.00 + -"]
        );
        assert_eq!(lines[5], ["broken: no broken here"]);
    }

    #[test]
    fn markdown_escapes_pipes_and_names_commands() {
        let text = markdown(
            "MTU 1500",
            &[sample("tar | nc", Unit::Seconds, &[1.0]), sample("xferctl", Unit::Seconds, &[2.0])],
        );
        assert!(text.contains("| tar \\| nc | verified | 1.00 | 1.00 | 1.00 | 1 |"), "{text}");
        assert!(text.contains("| **xferctl** |"), "{text}");
        assert!(text.contains("b$ serve\na$ tar | nc a b\n"), "{text}");
    }

    #[test]
    fn cases_keep_their_order() {
        let mut other = sample("b", Unit::Gbit, &[1.0]);
        other.case = "MTU 9000".into();
        let records = [sample("a", Unit::Gbit, &[1.0]), other, sample("c", Unit::Gbit, &[1.0])];
        let found: Vec<(String, usize)> =
            cases(&records).into_iter().map(|(name, records)| (name, records.len())).collect();
        assert_eq!(found, [("MTU 1500".to_owned(), 2), ("MTU 9000".to_owned(), 1)]);
    }
}
