//! Records of the log as `key=value` pairs.

use crate::json;
use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// `ts=... level=... msg="..." key=value`.
pub(crate) struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut pairs = Pairs::default();
        event.record(&mut pairs);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        writeln!(
            writer,
            "ts={} level={level} msg={}{}",
            json::timestamp(),
            quoted(&pairs.message),
            pairs.others
        )
    }
}

/// The fields of a record.
#[derive(Default)]
struct Pairs {
    message: String,
    others: String,
}

impl Pairs {
    fn add(&mut self, key: &str, value: &str) {
        if key == "message" {
            value.clone_into(&mut self.message);
        } else {
            // Writing to a string cannot fail.
            write!(self.others, " {key}={}", quoted(value)).expect("a string takes all");
        }
    }
}

impl Visit for Pairs {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }
}

/// A value, in quotes where a reader would otherwise lose its end.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    if !value.is_empty() && value.chars().all(plain) { value.to_owned() } else { format!("{value:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_they_must_be() {
        let values = ["", "a", "a b", "a=b", "\"", "ä", "a\nb", "/x/y:1"].map(quoted);
        assert_eq!(values, ["\"\"", "a", "\"a b\"", "\"a=b\"", "\"\\\"\"", "\"ä\"", "\"a\\nb\"", "/x/y:1"]);
    }
}
