//! Bars on a terminal: one for the whole, under it a line for each path with rate, RTT and loss.

use super::line;
use super::meter::State;
use crate::output;
use crate::units::{show_rate, show_size};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use xfer_client::{PathReport, Stage};

/// The bars of one copy.
pub(super) struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
    paths: Vec<ProgressBar>,
}

/// The whole: a bar with text behind it.
const WHOLE: &str = "{bar:24} {msg}";
const WHOLE_COLORED: &str = "{bar:24.cyan/blue} {msg}";

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file, and a test reads them.
    ProgressStyle::with_template(template).expect("the template is one").progress_chars("=> ")
}

impl Bars {
    pub(super) fn new(colors: bool) -> Self {
        let all = MultiProgress::new();
        let whole = all.add(ProgressBar::new(0));
        whole.set_style(style(if colors { WHOLE_COLORED } else { WHOLE }));
        output::set_bars(Some(all.clone()));
        Bars { all, whole, paths: Vec::new() }
    }

    pub(super) fn show(&mut self, state: &State) {
        self.whole.set_length(state.totals.total_bytes);
        self.whole.set_position(state.done);
        self.whole.set_message(whole_text(state));
        while self.paths.len() < state.paths.len() {
            let bar = self.all.add(ProgressBar::new_spinner());
            bar.set_style(style("{msg}"));
            self.paths.push(bar);
        }
        for (bar, (path, rate)) in self.paths.iter().zip(&state.paths) {
            bar.set_message(path_text(path, *rate));
        }
    }

    /// Takes them off the terminal.
    pub(super) fn end(&self) {
        for bar in self.paths.iter().chain([&self.whole]) {
            bar.finish_and_clear();
        }
        output::set_bars(None);
    }
}

fn whole_text(state: &State) -> String {
    let totals = &state.totals;
    let more = if totals.scanning { "+" } else { "" };
    let limit = match totals.limited_by {
        Stage::None => String::new(),
        limit => format!(", limited by {}", limit.name().replace('_', " ")),
    };
    format!(
        "{}/{}{more} {}{}{limit}",
        show_size(state.done),
        show_size(totals.total_bytes),
        show_rate(state.rate),
        line::left(state),
    )
}

fn path_text(path: &PathReport, rate: f64) -> String {
    let (local, remote) = (path.pair.local, path.pair.remote.ip());
    if !path.up {
        return format!("  {local} > {remote}  down");
    }
    let rtt_ms = path.rtt.as_secs_f64() * 1e3;
    format!("  {local} > {remote}  {}  rtt {rtt_ms:.1} ms  loss {:.2} %", show_rate(rate), path.loss * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use xfer_client::PathPair;

    #[test]
    fn the_templates_are_templates() {
        style(WHOLE);
        style(WHOLE_COLORED);
        style("{msg}");
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
        assert_eq!(path_text(&path, 9.4e8), "  10.77.1.1 > 10.77.1.2  940 Mbit/s  rtt 1.2 ms  loss 1.23 %");
        path.up = false;
        assert_eq!(path_text(&path, 0.0), "  10.77.1.1 > 10.77.1.2  down");
    }
}
