//! Metrics as text, in the format that Prometheus scrapes (version 0.0.4): families with help and type, a line for each sample.

use std::fmt::{Display, Write as _};

/// What a family's numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Grows and falls.
    Gauge,
    /// Buckets with upper bounds.
    Histogram,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Names and values of a sample's labels.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page in the making.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        self.write(format_args!("# HELP {name} {}\n", escape(help, false)));
        self.write(format_args!("# TYPE {name} {}\n", kind.word()));
    }

    /// A sample of the family that was begun last, or with the ending of a histogram's part.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            self.write(format_args!("{before}{label}=\"{}\"", escape(text, true)));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.write(format_args!(" {value}\n"));
    }

    /// A histogram: `buckets` are upper bounds, ascending, each with what fell below it and not below the one before; what is above all is
    /// in `above`.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        buckets: impl Iterator<Item = (f64, u64)>,
        above: u64,
        sum: f64,
    ) {
        let (part, mut below) = (format!("{name}_bucket"), 0);
        for (end, count) in buckets {
            below += count;
            let end = end.to_string();
            self.sample(&part, &[labels, &[("le", end.as_str())]].concat(), below);
        }
        let all = below + above;
        self.sample(&part, &[labels, &[("le", "+Inf")]].concat(), all);
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, all);
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes all there is.
        self.0.write_fmt(text).unwrap_or_default();
    }
}

/// A text as help or as a label's value has it.
fn escape(text: &str, quoted: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quoted => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_samples() {
        let mut page = Page::default();
        page.family("xfer_a_total", Kind::Counter, "How many \\ \"a\".\nReally");
        page.sample("xfer_a_total", &[], 3);
        page.sample("xfer_a_total", &[("nic", "e\"t\\h\n0"), ("x", "y")], 0.5);
        assert_eq!(
            page.into_text(),
            "# HELP xfer_a_total How many \\\\ \"a\".\\nReally\n# TYPE xfer_a_total counter\nxfer_a_total 3\n\
             xfer_a_total{nic=\"e\\\"t\\\\h\\n0\",x=\"y\"} 0.5\n"
        );
    }

    #[test]
    fn buckets_add_up() {
        let mut page = Page::default();
        page.histogram("h", &[("n", "1")], [(0.5, 2), (1.0, 0), (2.0, 3)].into_iter(), 4, 7.5);
        assert_eq!(
            page.into_text(),
            "h_bucket{n=\"1\",le=\"0.5\"} 2\nh_bucket{n=\"1\",le=\"1\"} 2\nh_bucket{n=\"1\",le=\"2\"} 5\n\
             h_bucket{n=\"1\",le=\"+Inf\"} 9\nh_sum{n=\"1\"} 7.5\nh_count{n=\"1\"} 9\n"
        );
    }
}
