//! Progress on a terminal: a bar for the whole, files and the present limit, under them a line for each path with rate, RTT and loss.

use super::line;
use super::meter::State;
use crate::json::stage_text;
use crate::output;
use crate::units::{show_rate, show_size};
use xfer_client::{PathReport, Stage};

/// Columns of the bar at least, for it to be shown at all, and at most.
const BAR_MIN: usize = 8;
const BAR_MAX: usize = 40;

/// The lines of one copy.
pub(super) struct Bars {
    colors: bool,
}

impl Bars {
    pub(super) fn new(colors: bool) -> Self {
        Bars { colors }
    }

    pub(super) fn show(&self, state: &State) {
        output::show_lines(|width| lines(state, width, self.colors));
    }

    /// Takes them off the terminal.
    pub(super) fn end(&self) {
        output::end_lines();
    }
}

fn lines(state: &State, width: usize, colors: bool) -> Vec<String> {
    let mut lines = vec![whole(state, width, colors), second(state)];
    lines.extend(state.paths.iter().map(|(path, rate)| path_text(path, *rate)));
    lines
}

/// `[====>     ] 126 MiB of 300 MiB, 96 Mbit/s, 16s left`: the text first of all, a bar where it leaves room.
fn whole(state: &State, width: usize, colors: bool) -> String {
    let totals = &state.totals;
    let more = if totals.scanning { "+" } else { "" };
    let (done, total) = (show_size(state.done), show_size(totals.total_bytes));
    let text = format!("{done} of {total}{more}, {}{}", show_rate(state.rate), line::left(state));
    // Brackets, a space, and the last column.
    let room = width.saturating_sub(text.chars().count() + 4).min(BAR_MAX);
    if room < BAR_MIN {
        return text;
    }
    let part = if totals.total_bytes == 0 { 0.0 } else { state.done as f64 / totals.total_bytes as f64 };
    let full = ((room as f64 * part) as usize).min(room);
    let tip = if full < room { ">" } else { "" };
    let (bar, rest) = (format!("{}{tip}", "=".repeat(full)), " ".repeat(room - full - tip.len()));
    let (on, off) = if colors { ("\x1b[36m", "\x1b[0m") } else { ("", "") };
    format!("[{on}{bar}{off}{rest}] {text}")
}

fn second(state: &State) -> String {
    let totals = &state.totals;
    let more = if totals.scanning { "+" } else { "" };
    let limit = match totals.limited_by {
        Stage::None => String::new(),
        limit => format!(", limited by {}", stage_text(limit)),
    };
    format!("  {} of {}{more} files{limit}", totals.files + totals.skipped, totals.total_files)
}

/// Figures first: addresses may be long.
fn path_text(path: &PathReport, rate: f64) -> String {
    let (local, remote) = (path.pair.local, path.pair.remote.ip());
    if !path.up {
        return format!("  {:>10}  {:>30}{local} > {remote}", "down", "");
    }
    let (rate, rtt_ms, loss) = (show_rate(rate), path.rtt.as_secs_f64() * 1e3, path.loss * 100.0);
    format!("  {rate:>11}  rtt {rtt_ms:>6.1} ms  loss {loss:>5.2} %  {local} > {remote}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use xfer_client::{PathPair, Progress};

    fn state(done: u64, scanning: bool) -> State {
        let totals = Progress {
            total_bytes: 100 << 20,
            files: 3,
            total_files: 8,
            scanning,
            limited_by: Stage::RateLimit,
            ..Progress::default()
        };
        State { totals, done, rate: 9.6e7, eta: Some(Duration::from_secs(16)), paths: Vec::new() }
    }

    #[test]
    fn the_bar_takes_the_room_that_is_left() {
        let text = "50 MiB of 100 MiB, 96 Mbit/s, 16s left";
        let at = |width| whole(&state(50 << 20, false), width, false);
        assert_eq!((at(0), at(text.len() + 4 + BAR_MIN - 1)), (text.to_owned(), text.to_owned()));
        assert_eq!(at(text.len() + 4 + BAR_MIN), format!("[====>   ] {text}"));
        let widest = format!("[{}>{}] {text}", "=".repeat(20), " ".repeat(19));
        assert_eq!((at(text.len() + 4 + BAR_MAX), at(300)), (widest.clone(), widest));
        let colored = whole(&state(50 << 20, false), text.len() + 12, true);
        assert_eq!(colored, format!("[\x1b[36m====>\x1b[0m   ] {text}"));
    }

    #[test]
    fn the_bar_is_empty_at_first_and_full_at_last() {
        let bar = |state: &State| whole(state, 300, false)[1..=BAR_MAX].to_owned();
        assert_eq!(bar(&state(0, false)), format!(">{}", " ".repeat(BAR_MAX - 1)));
        assert_eq!(bar(&state(100 << 20, false)), "=".repeat(BAR_MAX));
        assert_eq!(bar(&state(101 << 20, false)), "=".repeat(BAR_MAX));
        let mut unknown = state(0, true);
        unknown.totals.total_bytes = 0;
        assert_eq!(bar(&unknown), bar(&state(0, false)));
    }

    #[test]
    fn what_grows_is_marked() {
        let shown = lines(&state(50 << 20, true), 20, false);
        assert_eq!(
            shown,
            ["50 MiB of 100 MiB+, 96 Mbit/s, at least 16s left", "  3 of 8+ files, limited by rate limit"]
        );
    }

    #[test]
    fn a_path_is_one_line() {
        let pair =
            PathPair { local: "10.77.1.1".parse().unwrap(), remote: "10.77.1.2:7700".parse().unwrap() };
        let mut path = PathReport {
            pair,
            up: true,
            bytes: 0,
            rtt: Duration::from_micros(1_250),
            loss: 0.0123,
            mtu: 1_500,
            window: 0,
            packets_sent: 0,
            packets_received: 0,
        };
        let up = path_text(&path, 9.4e8);
        assert_eq!(up, "   940 Mbit/s  rtt    1.2 ms  loss  1.23 %  10.77.1.1 > 10.77.1.2");
        path.up = false;
        let down = path_text(&path, 0.0);
        assert_eq!(down.trim(), format!("down{}10.77.1.1 > 10.77.1.2", " ".repeat(32)));
        assert_eq!(down.find("10.77"), up.find("10.77"), "addresses stand under each other");
    }
}
