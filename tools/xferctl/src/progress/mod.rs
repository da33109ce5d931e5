//! How far a copy is: bars on a terminal, else a plain line every few seconds, or JSON.

mod bars;
mod line;
mod meter;
pub(crate) mod screen;

use crate::args::{GlobalArgs, ProgressArg};
use crate::json;
use crate::limits::{BAR_INTERVAL, JSON_INTERVAL, LINE_INTERVAL};
use crate::output;
use bars::Bars;
use meter::Meter;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};
use xfer_client::Progress;

/// What is shown, and where.
enum Way {
    Bars(Bars),
    Lines,
    JsonOnStderr,
    JsonOnStdout,
    Nothing,
}

/// Shows the progress of one copy.
pub(crate) struct Shown {
    way: Way,
    meter: Meter,
    next: Instant,
}

impl Shown {
    /// `json`: stdout has JSON lines.
    pub(crate) fn new(asked: ProgressArg, json: bool, global: &GlobalArgs) -> Self {
        let way = match asked {
            ProgressArg::None => Way::Nothing,
            ProgressArg::Json => Way::JsonOnStderr,
            ProgressArg::Auto if json => Way::JsonOnStdout,
            _ if global.quiet => Way::Nothing,
            ProgressArg::Auto | ProgressArg::Bar if takes_bars() => {
                Way::Bars(Bars::new(output::colors(global.color)))
            }
            ProgressArg::Auto | ProgressArg::Bar | ProgressArg::Line => Way::Lines,
        };
        let now = Instant::now();
        let next = match way {
            Way::Bars(_) => now,
            _ => now + interval(&way),
        };
        Shown { way, meter: Meter::new(now), next }
    }

    /// Takes the totals by now. Returns a line for stdout when one is due there.
    pub(crate) fn take(&mut self, progress: Progress) -> Option<String> {
        let now = Instant::now();
        self.meter.add(now, &progress);
        if now < self.next {
            return None;
        }
        self.next = now + interval(&self.way);
        let state = self.meter.state(progress);
        match &mut self.way {
            Way::Bars(bars) => bars.show(&state),
            Way::Lines => output::tell(&line::text(&state)),
            Way::JsonOnStderr => output::tell(json::line("progress", &line::Json::new(&state)).trim_end()),
            Way::JsonOnStdout => return Some(json::line("progress", &line::Json::new(&state))),
            Way::Nothing => {}
        }
        None
    }

    /// Takes bars away.
    pub(crate) fn end(&mut self) {
        if let Way::Bars(bars) = &self.way {
            bars.end();
        }
    }
}

/// Whether stderr is a terminal that can move its cursor.
fn takes_bars() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|name| name != "dumb")
}

fn interval(way: &Way) -> Duration {
    match way {
        Way::Bars(_) => BAR_INTERVAL,
        Way::Lines => LINE_INTERVAL,
        Way::JsonOnStderr | Way::JsonOnStdout | Way::Nothing => JSON_INTERVAL,
    }
}
